//! The dictionaries of the hospitals: always answered, filled from wherever they come.
//!
//! For: a cloud that asks for examination items and departments (imaging cloud's document, 3.5,
//! 3.7) and gets them while the HIS is down. Always holds: what is answered is one whole copy; a
//! copy that drops more codes than the configured share, or that is empty, waits for a person; a
//! row that cannot be read is left out and named, and does not stop the others. On disk: rows of
//! the ledger (`dictionary`, `dictionary_row`, `dictionary_copy`, `dictionary_change`). Refused:
//! counting rows to see a source shrink, because one that answers with another hospital's items
//! has as many rows as before; so the codes that vanish are counted. Start at
//! [`Dictionary::take_whole`]; the polling of sources is [`Dictionary::run`].

mod rows;
mod source;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use aws_lc_rs::digest::{Context, SHA256};
use tokio_util::sync::CancellationToken;

use crate::catalog::Record;
use crate::fault::Fault;
use crate::ledger::{Ledger, NewCopy};
use crate::limits::{DICTIONARY_REMARKS_MAX, DICTIONARY_ROWS_MAX, DICTIONARY_TRIES_MAX};
use crate::model::{DictionaryChange, DictionaryKind, DictionaryRow, Time};

pub use rows::interface;
pub use source::{Source, Work};

/// The flow. Cheap to clone.
#[derive(Clone)]
pub struct Dictionary {
    /// The disk of record.
    pub ledger: Ledger,
    /// The hospitals served, by code.
    pub hospitals: Arc<[String]>,
    /// Share of a dictionary's codes that a copy may drop and still be published unasked.
    pub shrink_percent_max: u32,
}

/// What became of a whole copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Taken {
    /// One for each hospital that the copy speaks of.
    pub hospitals: Vec<TakenHospital>,
    /// Rows that were left out, with the reason; the first [`DICTIONARY_REMARKS_MAX`].
    pub left_out: Vec<Remark>,
    /// How many rows were left out.
    pub left_out_count: usize,
    /// What is odd about rows that were taken; the first [`DICTIONARY_REMARKS_MAX`].
    pub warnings: Vec<Remark>,
}

/// A sentence about one row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Remark {
    /// The row's place in the copy, counted from 1.
    pub row: usize,
    /// The field that is meant.
    pub field: &'static str,
    /// What is wrong with it: a phrase that may name the row's code.
    pub words: String,
}

/// What became of the copy for one hospital.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TakenHospital {
    /// The hospital's code.
    pub hospital: String,
    /// Published, held, or nothing new.
    pub fate: Fate,
    /// Its rows.
    pub rows: usize,
    /// What it changes, by code.
    pub changes: Vec<DictionaryChange>,
}

/// What became of a copy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// It is what is answered now.
    Published,
    /// It waits for a person, for this reason.
    Held(String),
    /// It is what was answered already.
    Unchanged,
}

impl TakenHospital {
    /// How many codes are added, changed, removed.
    pub fn counts(&self) -> (usize, usize, usize) {
        let count = |word| self.changes.iter().filter(|change| change.word() == word).count();
        (count("added"), count("changed"), count("removed"))
    }
}

impl Dictionary {
    /// Takes a whole dictionary: every row there is, as records that the catalogue checked by the
    /// view of this kind ([`interface`]). A row without a hospital's code is of
    /// `hospital_default`. Hospitals without a row count as emptied when they are the default, or
    /// when what they answer came from the same `origin`. `origin` names the source, for history
    /// and log.
    ///
    /// # Errors
    /// More than [`DICTIONARY_ROWS_MAX`] rows, and nothing has changed; the ledger's own faults,
    /// and each hospital has its old copy or its new one.
    pub async fn take_whole(
        &self,
        hospital_default: &str,
        kind: DictionaryKind,
        records: Vec<Record>,
        origin: &str,
        now: Time,
    ) -> Result<Taken, Fault> {
        let (groups, mut taken) = self.group(hospital_default, kind, &records, origin)?;
        drop(records);
        for (hospital, rows) in groups {
            taken.hospitals.push(self.take(hospital, kind, rows, origin, now).await?);
        }
        self.tell(kind, origin, &taken);
        Ok(taken)
    }

    /// What [`Dictionary::take_whole`] would do; nothing is written.
    pub fn preview(
        &self,
        hospital_default: &str,
        kind: DictionaryKind,
        records: &[Record],
        origin: &str,
    ) -> Result<Taken, Fault> {
        let (groups, mut taken) = self.group(hospital_default, kind, records, origin)?;
        for (hospital, rows) in groups {
            let (_, one) = self.compare(hospital, kind, rows)?;
            taken.hospitals.push(one);
        }
        Ok(taken)
    }

    /// Asks the sources at their intervals until `stop`; each in its own time, so that one that
    /// hangs delays no other.
    pub async fn run(
        self,
        sources: Vec<Arc<dyn Source>>,
        clock: fn() -> Time,
        stop: CancellationToken,
    ) {
        let polls = tokio_util::task::TaskTracker::new();
        for source in sources {
            polls.spawn(source::poll(self.clone(), source, clock, stop.clone()));
        }
        polls.close();
        polls.wait().await;
    }

    fn group(
        &self,
        hospital_default: &str,
        kind: DictionaryKind,
        records: &[Record],
        origin: &str,
    ) -> Result<(Groups, Taken), Fault> {
        if records.len() > DICTIONARY_ROWS_MAX {
            let detail = format!("{} rows, limit {DICTIONARY_ROWS_MAX}", records.len());
            return Err(Fault::peer("dictionary too long", detail));
        }
        let mut groups = Groups::from([(hospital_default.to_owned(), BTreeMap::new())]);
        for shown in self.ledger.dictionaries()? {
            if shown.kind == kind && shown.origin == origin && self.serves(&shown.hospital) {
                groups.entry(shown.hospital).or_default();
            }
        }
        let mut taken = Taken::default();
        for (at, record) in records.iter().enumerate() {
            let row = at + 1;
            let read = rows::read(kind, record).and_then(|(hospital, read)| {
                let hospital = hospital.unwrap_or_else(|| hospital_default.to_owned());
                match self.serves(&hospital) {
                    true => Ok((hospital, read)),
                    false => Err(("hospitalld", "not a hospital served here".to_owned())),
                }
            });
            match read {
                Err((field, words)) => taken.leave_out(Remark { row, field, words }),
                Ok((hospital, (read, odd))) => {
                    for field in odd {
                        let words = "not what the document allows; left empty".to_owned();
                        taken.warn(Remark { row, field, words });
                    }
                    let words = format!("{} is there twice; the last row counts", read.code);
                    let group = groups.entry(hospital).or_default();
                    if group.insert(read.code.clone(), read).is_some() {
                        taken.warn(Remark { row, field: rows::code_key(kind), words });
                    }
                }
            }
        }
        Ok((groups, taken))
    }

    fn serves(&self, hospital: &str) -> bool {
        self.hospitals.iter().any(|served| served == hospital)
    }

    async fn take(
        &self,
        hospital: String,
        kind: DictionaryKind,
        rows: BTreeMap<String, DictionaryRow>,
        origin: &str,
        now: Time,
    ) -> Result<TakenHospital, Fault> {
        let fingerprint = fingerprint(&rows);
        for _ in 0..DICTIONARY_TRIES_MAX {
            let (flow, of, compared) = (self.clone(), hospital.clone(), rows.clone());
            let compare = tokio::task::spawn_blocking(move || flow.compare(of, kind, compared));
            let (base, taken) = compare
                .await
                .map_err(|error| Fault::ours("dictionary", format!("comparing: {error}")))??;
            let hold = match &taken.fate {
                Fate::Unchanged => {
                    self.ledger.confirm_dictionary(hospital, kind, now).await?;
                    return Ok(taken);
                }
                Fate::Held(reason) => Some(reason.clone()),
                Fate::Published => None,
            };
            let held = self.ledger.dictionary(&hospital, kind)?.and_then(|shown| shown.held);
            if hold.is_some() && held.is_some_and(|held| held.fingerprint == fingerprint) {
                return Ok(taken);
            }
            let copy = NewCopy {
                hospital: hospital.clone(),
                kind,
                base,
                origin: origin.to_owned(),
                fingerprint: fingerprint.clone(),
                rows: rows.len() as u64,
                changes: taken.changes.clone(),
                hold,
            };
            if self.ledger.keep_dictionary(copy, now).await?.is_some() {
                return Ok(taken);
            }
        }
        Err(Fault::ours("dictionary", "other copies were published all the while"))
    }

    /// What a copy is against what is published, whose version comes first.
    fn compare(
        &self,
        hospital: String,
        kind: DictionaryKind,
        rows: BTreeMap<String, DictionaryRow>,
    ) -> Result<(i64, TakenHospital), Fault> {
        let (base, published) = self.ledger.dictionary_rows(&hospital, kind)?;
        let shown = self.ledger.dictionary(&hospital, kind)?;
        let held_by_person = shown.is_some_and(|shown| shown.held_by.is_some());
        let (before, after) = (published.len(), rows.len());
        let changes = changes(published, rows);
        let removed = changes.iter().filter(|change| change.after.is_none()).count();
        let fate = match () {
            () if base != 0 && changes.is_empty() => Fate::Unchanged,
            () if held_by_person => Fate::Held("a person holds every copy".to_owned()),
            () if after == 0 => Fate::Held("it is empty".to_owned()),
            () if removed * 100 > before * self.shrink_percent_max as usize => {
                let limit = self.shrink_percent_max;
                Fate::Held(format!("{removed} of {before} codes vanish, more than {limit} %"))
            }
            () => Fate::Published,
        };
        Ok((base, TakenHospital { hospital, fate, rows: after, changes }))
    }

    fn tell(&self, kind: DictionaryKind, origin: &str, taken: &Taken) {
        let kind = kind.name();
        for one in &taken.hospitals {
            let (added, changed, removed) = one.counts();
            let (hospital, rows) = (one.hospital.as_str(), one.rows);
            match &one.fate {
                Fate::Unchanged => {
                    log::debug!(kind, hospital, origin, rows; "dictionary confirmed")
                }
                Fate::Published => log::info!(
                    kind, hospital, origin, rows, added, changed, removed; "dictionary published"
                ),
                Fate::Held(reason) => log::warn!(
                    kind, hospital, origin, rows, added, changed, removed;
                    "dictionary held for a person, the one before is answered: {reason}"
                ),
            }
        }
        if let Some(first) = taken.left_out.first() {
            let rows = taken.left_out_count;
            log::warn!(kind, origin, rows; "rows of a dictionary left out, the first is {first}");
        }
        for warning in taken.warnings.iter().take(WARNINGS_LOGGED_MAX) {
            log::warn!(kind, origin; "a row of a dictionary is odd: {warning}");
        }
    }
}

impl std::fmt::Display for Remark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "row {}: {}: {}", self.row, self.field, self.words)
    }
}

/// Warnings about rows that one copy puts into the log; the verb shows them all.
const WARNINGS_LOGGED_MAX: usize = 5;

/// The rows of each hospital by code.
type Groups = BTreeMap<String, BTreeMap<String, DictionaryRow>>;

impl Taken {
    fn leave_out(&mut self, remark: Remark) {
        self.left_out_count += 1;
        if self.left_out.len() < DICTIONARY_REMARKS_MAX {
            self.left_out.push(remark);
        }
    }

    fn warn(&mut self, remark: Remark) {
        if self.warnings.len() < DICTIONARY_REMARKS_MAX {
            self.warnings.push(remark);
        }
    }
}

/// What becomes of each code, by code.
fn changes(
    before: Vec<DictionaryRow>,
    mut after: BTreeMap<String, DictionaryRow>,
) -> Vec<DictionaryChange> {
    let mut changes = Vec::new();
    for row in before {
        match after.remove(&row.code) {
            Some(same) if same == row => {}
            after => changes.push(DictionaryChange { before: Some(row), after }),
        }
    }
    let added = after.into_values();
    changes.extend(added.map(|row| DictionaryChange { before: None, after: Some(row) }));
    changes.sort_by(|one, other| one.code().cmp(other.code()));
    changes
}

/// SHA-256 over the rows by code; a text's length stands before it, so that no two rows look alike.
fn fingerprint(rows: &BTreeMap<String, DictionaryRow>) -> Vec<u8> {
    let mut context = Context::new(&SHA256);
    for row in rows.values() {
        for text in row.texts() {
            context.update(&(text.len() as u64).to_le_bytes());
            context.update(text.as_bytes());
        }
    }
    context.finish().as_ref().to_vec()
}

/// The hospitals that somebody may see: all that are served, or those of a list.
pub fn visible(served: &[String], allowed: &[String]) -> Vec<String> {
    let unique: BTreeSet<&String> =
        served.iter().filter(|code| allowed.is_empty() || allowed.contains(code)).collect();
    unique.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests;
