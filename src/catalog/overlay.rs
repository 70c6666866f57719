//! A hospital's own levels for the rules of the catalogue.
//!
//! On disk: TOML with one table. A key is a rule id or a whole field; the rule id wins:
//! ```toml
//! [levels]
//! "ic-register-push.mobilePhone" = "off"
//! "ic-register-push.patientAge.required" = "reject"
//! ```
//! What always holds: what lenient mode refuses cannot be kept or found again, and a bound
//! keeps the machine alive; no overlay lowers either.

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

use super::CATALOG;
use super::check::level_of;
use super::table::{Catalog, Field, Interface, Kind, Level, Mode};

/// Most lines in an overlay; every rule of the catalogue once is fewer.
const LEVELS_MAX: usize = 10_000;

/// Levels by rule id or field. The empty overlay changes nothing.
#[derive(Debug, Clone, Default)]
pub struct Overlay {
    levels: BTreeMap<String, Level>,
}

/// One mistake in an overlay.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum OverlayFault {
    /// It does not read as TOML of the expected form.
    #[error("line {line}: {what}")]
    Form {
        /// Line, from 1.
        line: usize,
        /// What the reader says.
        what: String,
    },
    /// More lines than are read.
    #[error("levels: got {got} entries, limit {limit}")]
    TooMany {
        /// Entries.
        got: usize,
        /// The limit.
        limit: usize,
    },
    /// No such rule or field.
    #[error("levels.{key:?}: no such rule or field; known here: {known}")]
    Unknown {
        /// The key.
        key: String,
        /// What could have been meant.
        known: String,
    },
    /// It would lower what cannot be lowered.
    #[error("levels.{key:?}: {rule} is refused in every mode and cannot be lowered")]
    Floor {
        /// The key.
        key: String,
        /// The rule.
        rule: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    #[serde(default)]
    levels: BTreeMap<String, Level>,
}

impl Overlay {
    /// Reads an overlay for the built-in catalogue.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn parse(text: &str) -> Result<Self, Vec<OverlayFault>> {
        Self::parse_for(&CATALOG, text)
    }

    /// Reads an overlay for another catalogue.
    ///
    /// # Errors
    /// All mistakes together.
    pub fn parse_for(catalog: &Catalog, text: &str) -> Result<Self, Vec<OverlayFault>> {
        let file: File = toml::from_str(text).map_err(|fault| {
            let line = fault.span().map_or(1, |at| text[..at.start].matches('\n').count() + 1);
            let what = fault.message().lines().collect::<Vec<_>>().join(" ");
            vec![OverlayFault::Form { line, what }]
        })?;
        if file.levels.len() > LEVELS_MAX {
            return Err(vec![OverlayFault::TooMany { got: file.levels.len(), limit: LEVELS_MAX }]);
        }
        let judged = file.levels.iter().filter_map(|(key, level)| judge(catalog, key, *level));
        let faults: Vec<_> = judged.collect();
        if faults.is_empty() { Ok(Self { levels: file.levels }) } else { Err(faults) }
    }

    /// Nothing is changed.
    pub fn is_empty(&self) -> bool {
        self.levels.is_empty()
    }

    /// How many levels it sets.
    pub fn len(&self) -> usize {
        self.levels.len()
    }

    pub(super) fn level(&self, rule: &str, field: &str) -> Option<Level> {
        self.levels.get(rule).or_else(|| self.levels.get(field)).copied()
    }
}

fn judge(catalog: &Catalog, key: &str, level: Level) -> Option<OverlayFault> {
    let (id, rest) = key.split_once('.').unwrap_or((key, ""));
    let Some(interface) = catalog.interfaces.iter().find(|it| it.id == id) else {
        let known = catalog.interfaces.iter().map(|it| it.id).collect::<Vec<_>>().join(", ");
        return Some(OverlayFault::Unknown { key: key.into(), known });
    };
    let floor = |rule: String| Some(OverlayFault::Floor { key: key.into(), rule });
    if rest == Kind::Unknown.word() {
        return None;
    }
    if let Some(rule) = interface.rules.iter().find(|it| it.id == key) {
        let low = rule.lenient == Level::Reject && level < Level::Reject;
        return if low { floor(rule.id.into()) } else { None };
    }
    let field = fields(interface);
    for kind in KINDS {
        let Some(path) = rest.strip_suffix(&format!(".{}", kind.word())) else { continue };
        if let Some(field) = field.iter().find(|it| it.path == path) {
            return if lowers(field, kind, level) { floor(key.into()) } else { None };
        }
    }
    match field.iter().find(|it| it.path == rest) {
        // A bound stays as it is when a whole field is set.
        Some(field) => KINDS
            .into_iter()
            .find(|kind| *kind != Kind::Bound && lowers(field, *kind, level))
            .and_then(|kind| floor(format!("{key}.{}", kind.word()))),
        None => {
            let known = field.iter().map(|it| it.path).collect::<Vec<_>>().join(", ");
            Some(OverlayFault::Unknown { key: key.into(), known })
        }
    }
}

const KINDS: [Kind; 6] =
    [Kind::Required, Kind::Enum, Kind::Length, Kind::Format, Kind::Type, Kind::Bound];

fn lowers(field: &Field, kind: Kind, level: Level) -> bool {
    let applies = kind != Kind::Required || field.required;
    applies && level_of(field, kind, Mode::Lenient) == Level::Reject && level < Level::Reject
}

fn fields(interface: &Interface) -> Vec<&'static Field> {
    fn collect(fields: &'static [Field], into: &mut Vec<&'static Field>) {
        for field in fields {
            into.push(field);
            collect(field.children, into);
        }
    }
    let mut all = Vec::new();
    collect(interface.fields, &mut all);
    interface.answers.iter().for_each(|it| collect(it.fields, &mut all));
    all
}
