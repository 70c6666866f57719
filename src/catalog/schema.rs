//! The TOML of `interfaces/`: every key that a person may write there.
//!
//! What always holds: an unknown key is a mistake (`deny_unknown_fields`). The keywords come
//! from `table.rs`. The format and what was refused are told in
//! `docs/decisions/0001-catalogue-format.md`. Start reading at [`InterfaceFile`].

use std::collections::BTreeMap;

use serde::Deserialize;

use super::table::{
    Ambiguous, Carriage, Empty, Encryption, Form, Holds, Kind, Level, Outcome, Parameters, Type,
    Zone,
};

/// `system.toml`: what the interfaces of one document share.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SystemFile {
    pub title: String,
    pub title_en: String,
    pub document: String,
    #[serde(default)]
    pub dictionary: Vec<Dictionary>,
    #[serde(default)]
    pub envelope: Vec<Envelope>,
    #[serde(default)]
    pub field_set: Vec<FieldSet>,
}

/// A code list; `entries` maps codes to meanings.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Dictionary {
    pub name: String,
    pub title: String,
    #[serde(default = "yes")]
    pub complete: bool,
    #[serde(default)]
    pub entries: BTreeMap<String, String>,
}

/// Fields that several interfaces carry alike.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FieldSet {
    pub name: String,
    pub field: Vec<Field>,
}

/// The frame of an answer.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Envelope {
    pub name: String,
    pub form: Form,
    #[serde(default)]
    pub root: String,
    pub slots: Vec<Slot>,
    pub accepted: Vec<i32>,
    pub missing: String,
    pub invalid: String,
    pub reply: Vec<Reply>,
}

/// One key of an envelope.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Slot {
    #[serde(default)]
    pub key: String,
    pub holds: Holds,
    #[serde(default)]
    pub number: bool,
    #[serde(default)]
    pub empty: Empty,
}

/// The code and sentence of one outcome.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Reply {
    pub outcome: Outcome,
    pub code: i32,
    pub message: String,
}

/// `<id>.toml`: one interface.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct InterfaceFile {
    pub id: String,
    #[serde(default)]
    pub names: Vec<String>,
    pub section: String,
    pub title: String,
    pub title_en: String,
    pub purpose: String,
    pub provider: String,
    pub caller: String,
    pub zone: Zone,
    #[serde(default)]
    pub shared_with: Vec<String>,
    pub batch: Option<Vec<String>>,
    pub encryption: Option<Encryption>,
    pub envelope: Option<String>,
    #[serde(default)]
    pub notes: Vec<String>,
    pub delivery: Delivery,
    pub address: Vec<Address>,
    #[serde(default)]
    pub field_sets: Vec<String>,
    #[serde(default)]
    pub field: Vec<Field>,
    #[serde(default)]
    pub rule: Vec<Rule>,
    #[serde(default)]
    pub answer: Vec<Answer>,
}

/// How it is carried.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Delivery {
    pub carriage: Carriage,
    pub deadline_hours: Option<u32>,
    pub ambiguous: Ambiguous,
    pub query: Option<String>,
    #[serde(default)]
    pub identity: Vec<String>,
    #[serde(default)]
    pub money: bool,
}

/// One place at which an interface is found.
#[derive(Debug, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case", deny_unknown_fields)]
pub enum Address {
    Http {
        method: String,
        path: String,
        #[serde(default)]
        parameters: Parameters,
    },
    View {
        name: String,
    },
    Procedure {
        name: String,
    },
    Soap {
        #[serde(default)]
        wsdl: String,
        operation: String,
        #[serde(default)]
        service: String,
    },
    UrlScheme {
        scheme: String,
    },
    Process {
        command: String,
    },
    Dicom {
        service: String,
    },
}

/// One field; `path` tells where it stands.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Field {
    pub path: String,
    #[serde(default)]
    pub aliases: Vec<String>,
    #[serde(rename = "type", default = "text")]
    pub kind: Type,
    pub label: String,
    #[serde(default)]
    pub note: String,
    pub length_min: Option<usize>,
    pub length_max: Option<usize>,
    pub bound: Option<usize>,
    pub dictionary: Option<String>,
    #[serde(default)]
    pub treat: BTreeMap<String, String>,
    #[serde(default)]
    pub required: bool,
    pub when: Option<Condition>,
    #[serde(default)]
    pub lenient: BTreeMap<FieldKind, Level>,
    #[serde(default)]
    pub strict: BTreeMap<FieldKind, Level>,
    #[serde(default)]
    pub personal: bool,
    #[serde(default)]
    pub secret: bool,
    #[serde(default)]
    pub own: bool,
    pub encryption: Option<Encryption>,
}

/// The kinds of fault whose level a field may set; the bound is not among them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FieldKind {
    Required,
    Enum,
    Length,
    Format,
    Type,
}

impl FieldKind {
    /// The same word of the table.
    pub fn kind(self) -> Kind {
        match self {
            FieldKind::Required => Kind::Required,
            FieldKind::Enum => Kind::Enum,
            FieldKind::Length => Kind::Length,
            FieldKind::Format => Kind::Format,
            FieldKind::Type => Kind::Type,
        }
    }
}

/// A neighbouring field holds one of these values.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Condition {
    pub field: String,
    pub is: Vec<String>,
}

/// At least one of the sets is present whole.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rule {
    pub name: String,
    pub any_of: Vec<Vec<String>>,
    pub lenient: Level,
    pub strict: Level,
    #[serde(default)]
    pub message: String,
}

/// One answer; its example is `<id>.answer.example`, of a second one
/// `<id>.answer.<name>.example`.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Answer {
    pub name: String,
    pub when: Option<Condition>,
    #[serde(default)]
    pub field: Vec<Field>,
}

fn yes() -> bool {
    true
}

fn text() -> Type {
    Type::Text
}
