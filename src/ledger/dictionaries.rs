//! Dictionaries: what is answered, every copy that came, and what waits for a person.
//!
//! A copy is kept as its changes against what was published when it came. So a daily poll that
//! changes nothing writes one time stamp, the history is the copies themselves, and publishing a
//! held copy is applying its changes: always possible, because every publication replaces what is
//! held. Rows are not personal and lie open. A copy is taken in one commit: a reader sees the old
//! one or the new one, whole.

use std::collections::BTreeMap;

use rusqlite::{Connection, OptionalExtension, Row, params};
use serde::{Deserialize, Serialize};

use super::{Ledger, LedgerError, audit};
use crate::limits::{DICTIONARY_CHANGES_KEPT_MAX, DICTIONARY_COPIES_MAX};
use crate::model::{CopyState, DictionaryChange, DictionaryKind, DictionaryRow, Time};

pub(super) const MIGRATION: &str = "
CREATE TABLE dictionary(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  kind TEXT NOT NULL,                -- exam, dept
  version INTEGER NOT NULL DEFAULT 0,  -- the published copy; 0 before the first
  rows INTEGER NOT NULL DEFAULT 0,
  seen_at INTEGER,                   -- when a good copy last came, changed or not
  origin TEXT NOT NULL DEFAULT '',   -- where the published copy came from
  held_by TEXT,                      -- who holds every copy back; NULL when nobody does
  UNIQUE(hospital, kind)
) STRICT;

CREATE TABLE dictionary_row(
  dictionary INTEGER NOT NULL,
  code TEXT NOT NULL,
  name TEXT NOT NULL,
  modality TEXT NOT NULL,
  body_part TEXT NOT NULL,
  price TEXT NOT NULL,
  check_status TEXT NOT NULL,
  source_type TEXT NOT NULL,
  remark TEXT NOT NULL,
  PRIMARY KEY(dictionary, code)
) STRICT, WITHOUT ROWID;

CREATE TABLE dictionary_copy(
  id INTEGER PRIMARY KEY,
  dictionary INTEGER NOT NULL,
  state TEXT NOT NULL,
  origin TEXT NOT NULL,
  reason TEXT NOT NULL,              -- why it was held, empty when it was not
  fingerprint BLOB NOT NULL,         -- of its content
  rows INTEGER NOT NULL,
  added INTEGER NOT NULL,
  changed INTEGER NOT NULL,
  removed INTEGER NOT NULL,
  taken_at INTEGER NOT NULL,
  decided_at INTEGER,
  decided_by TEXT NOT NULL DEFAULT ''
) STRICT;
CREATE INDEX dictionary_copy_of ON dictionary_copy(dictionary, id);

CREATE TABLE dictionary_change(
  copy INTEGER NOT NULL,
  code TEXT NOT NULL,
  before TEXT,                       -- StoredRow as JSON
  after TEXT,
  PRIMARY KEY(copy, code)
) STRICT, WITHOUT ROWID;
";

/// One dictionary as it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DictionaryShown {
    /// The hospital's code.
    pub hospital: String,
    /// Which dictionary.
    pub kind: DictionaryKind,
    /// The published copy; 0 before the first.
    pub version: i64,
    /// Its rows.
    pub rows: u64,
    /// When a good copy last came.
    pub seen_at: Option<Time>,
    /// Where the published copy came from.
    pub origin: String,
    /// Who holds every copy back.
    pub held_by: Option<String>,
    /// The copy that waits for a person.
    pub held: Option<CopyShown>,
}

impl DictionaryShown {
    /// A dictionary of which no copy ever came.
    pub fn never(hospital: String, kind: DictionaryKind) -> DictionaryShown {
        DictionaryShown {
            hospital,
            kind,
            version: 0,
            rows: 0,
            seen_at: None,
            origin: String::new(),
            held_by: None,
            held: None,
        }
    }
}

/// One copy that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyShown {
    /// Its number.
    pub id: i64,
    /// `published`, `held`, `replaced`.
    pub state: String,
    /// Where it came from.
    pub origin: String,
    /// Why it was held; empty when it was not.
    pub reason: String,
    /// SHA-256 of its content.
    pub fingerprint: Vec<u8>,
    /// Its rows.
    pub rows: u64,
    /// Codes that were not there before.
    pub added: u64,
    /// Codes whose row differs.
    pub changed: u64,
    /// Codes that are not there any more.
    pub removed: u64,
    /// When it came.
    pub taken_at: Time,
    /// When it was published or replaced.
    pub decided_at: Option<Time>,
    /// By whom; empty where no person was needed.
    pub decided_by: String,
}

/// A copy to be kept, compared with what is published.
#[derive(Debug, Clone)]
pub struct NewCopy {
    /// The hospital's code.
    pub hospital: String,
    /// Which dictionary.
    pub kind: DictionaryKind,
    /// The published copy with which it was compared.
    pub base: i64,
    /// Where it came from.
    pub origin: String,
    /// SHA-256 of its content.
    pub fingerprint: Vec<u8>,
    /// Its rows.
    pub rows: u64,
    /// What it changes.
    pub changes: Vec<DictionaryChange>,
    /// Why it must wait for a person; `None` publishes it.
    pub hold: Option<String>,
}

impl Ledger {
    /// Every dictionary of which a copy ever came, or which somebody holds.
    pub fn dictionaries(&self) -> Result<Vec<DictionaryShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!("SELECT {DICTIONARY} FROM dictionary ORDER BY hospital, kind");
            let mut statement = connection.prepare_cached(&sql)?;
            let mut rows = statement.query([])?;
            let mut found = Vec::new();
            while let Some(row) = rows.next()? {
                found.push(shown(connection, row)?);
            }
            Ok(found)
        })
    }

    /// One dictionary; `None` before its first copy.
    pub fn dictionary(
        &self,
        hospital: &str,
        kind: DictionaryKind,
    ) -> Result<Option<DictionaryShown>, LedgerError> {
        self.read(|connection| find(connection, hospital, kind))
    }

    /// What is published, with its version, the rows by code; version 0 and nothing before the
    /// first copy. One look: the rows are those of the version.
    pub fn dictionary_rows(
        &self,
        hospital: &str,
        kind: DictionaryKind,
    ) -> Result<(i64, Vec<DictionaryRow>), LedgerError> {
        self.read(|connection| {
            let look = connection.unchecked_transaction()?;
            let found: Option<(i64, i64)> = look
                .prepare_cached(
                    "SELECT id, version FROM dictionary WHERE hospital = ?1 AND kind = ?2",
                )?
                .query_row([hospital, kind.name()], |row| Ok((row.get(0)?, row.get(1)?)))
                .optional()?;
            let Some((id, version)) = found else { return Ok((0, Vec::new())) };
            let mut statement = look.prepare_cached(
                "SELECT code, name, modality, body_part, price, check_status, source_type, remark
                 FROM dictionary_row WHERE dictionary = ?1 ORDER BY code",
            )?;
            let rows = statement.query_map([id], |row| {
                Ok(DictionaryRow {
                    code: row.get(0)?,
                    name: row.get(1)?,
                    modality: row.get(2)?,
                    body_part: row.get(3)?,
                    price: row.get(4)?,
                    check_status: row.get(5)?,
                    source_type: row.get(6)?,
                    remark: row.get(7)?,
                })
            })?;
            Ok((version, rows.collect::<Result<_, _>>()?))
        })
    }

    /// The copies that came, the latest first.
    pub fn dictionary_copies(
        &self,
        hospital: &str,
        kind: DictionaryKind,
        limit: usize,
    ) -> Result<Vec<CopyShown>, LedgerError> {
        self.read(|connection| {
            let sql = format!(
                "SELECT {COPY} FROM dictionary_copy c JOIN dictionary d ON d.id = c.dictionary
                 WHERE d.hospital = ?1 AND d.kind = ?2 ORDER BY c.id DESC LIMIT ?3"
            );
            let mut statement = connection.prepare_cached(&sql)?;
            let limit = i64::try_from(limit).unwrap_or(i64::MAX);
            let copies = statement.query_map(params![hospital, kind.name(), limit], copy_shown)?;
            Ok(copies.collect::<Result<_, _>>()?)
        })
    }

    /// What a copy changes, by code, at most `limit`.
    pub fn dictionary_changes(
        &self,
        copy: i64,
        limit: usize,
    ) -> Result<Vec<DictionaryChange>, LedgerError> {
        self.read(|connection| changes(connection, copy, i64::try_from(limit).unwrap_or(i64::MAX)))
    }

    /// Keeps a copy, published or held, in one commit. `None` when another copy has been published
    /// since it was compared, or a person holds the dictionary since: compare again.
    pub async fn keep_dictionary(
        &self,
        new: NewCopy,
        now: Time,
    ) -> Result<Option<i64>, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            let (dictionary, version) = find_or_make(connection, &new.hospital, new.kind)?;
            let held_by: Option<String> = connection
                .prepare_cached("SELECT held_by FROM dictionary WHERE id = ?1")?
                .query_row([dictionary], |row| row.get(0))?;
            if version != new.base || (held_by.is_some() && new.hold.is_none()) {
                return Ok(None);
            }
            replace_held(connection, dictionary, now)?;
            let copy = insert_copy(connection, dictionary, &new, now)?;
            if new.hold.is_none() {
                publish(connection, dictionary, copy, &new.changes, "", now)?;
            }
            prune(connection, dictionary)?;
            Ok(Some(copy))
        })
        .await
    }

    /// Notes that a copy came which is what is published: that is as fresh as it, and what was
    /// held before it has been taken back by its source.
    pub async fn confirm_dictionary(
        &self,
        hospital: String,
        kind: DictionaryKind,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let (dictionary, _) = find_or_make(writing.connection, &hospital, kind)?;
            replace_held(writing.connection, dictionary, now)?;
            writing
                .connection
                .prepare_cached("UPDATE dictionary SET seen_at = ?2 WHERE id = ?1")?
                .execute(params![dictionary, now.0])?;
            Ok(())
        })
        .await
    }

    /// Publishes the held copy in the name of `by`; `None` when nothing is held.
    pub async fn publish_dictionary(
        &self,
        hospital: String,
        kind: DictionaryKind,
        by: String,
        now: Time,
    ) -> Result<Option<i64>, LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            let (dictionary, _) = find_or_make(connection, &hospital, kind)?;
            let held = held(connection, dictionary)?.map(|copy| copy.id);
            if let Some(copy) = held {
                let changes = changes(connection, copy, i64::MAX)?;
                publish(connection, dictionary, copy, &changes, &by, now)?;
                if changes.len() > DICTIONARY_CHANGES_KEPT_MAX {
                    forget_changes(connection, copy)?;
                }
                audit::record(connection, "dictionary published", &by, None, None, now)?;
            }
            Ok(held)
        })
        .await
    }

    /// Holds every copy back from now on, in the name of `by`, or, without one, ends that; `who`
    /// decided it.
    pub async fn hold_dictionary(
        &self,
        hospital: String,
        kind: DictionaryKind,
        hold: bool,
        who: String,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            let (dictionary, _) = find_or_make(connection, &hospital, kind)?;
            connection
                .prepare_cached("UPDATE dictionary SET held_by = ?2 WHERE id = ?1")?
                .execute(params![dictionary, hold.then_some(who.as_str())])?;
            let word = if hold { "dictionary held" } else { "dictionary released" };
            audit::record(connection, word, &who, None, None, now)
        })
        .await
    }
}

const DICTIONARY: &str = "id, hospital, kind, version, rows, seen_at, origin, held_by";

const COPY: &str = "c.id, c.state, c.origin, c.reason, c.fingerprint, c.rows, c.added, c.changed, \
                    c.removed, c.taken_at, c.decided_at, c.decided_by";

fn find(
    connection: &Connection,
    hospital: &str,
    kind: DictionaryKind,
) -> Result<Option<DictionaryShown>, LedgerError> {
    let sql = format!("SELECT {DICTIONARY} FROM dictionary WHERE hospital = ?1 AND kind = ?2");
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query([hospital, kind.name()])?;
    rows.next()?.map(|row| shown(connection, row)).transpose()
}

fn shown(connection: &Connection, row: &Row<'_>) -> Result<DictionaryShown, LedgerError> {
    let kind: String = row.get(2)?;
    let kind = DictionaryKind::from_name(&kind)
        .ok_or(LedgerError::Unreadable { what: "dictionary.kind" })?;
    Ok(DictionaryShown {
        held: held(connection, row.get(0)?)?,
        hospital: row.get(1)?,
        kind,
        version: row.get(3)?,
        rows: row.get::<_, i64>(4)? as u64,
        seen_at: row.get::<_, Option<i64>>(5)?.map(Time),
        origin: row.get(6)?,
        held_by: row.get(7)?,
    })
}

fn copy_shown(row: &Row<'_>) -> Result<CopyShown, rusqlite::Error> {
    Ok(CopyShown {
        id: row.get(0)?,
        state: row.get(1)?,
        origin: row.get(2)?,
        reason: row.get(3)?,
        fingerprint: row.get(4)?,
        rows: row.get::<_, i64>(5)? as u64,
        added: row.get::<_, i64>(6)? as u64,
        changed: row.get::<_, i64>(7)? as u64,
        removed: row.get::<_, i64>(8)? as u64,
        taken_at: Time(row.get(9)?),
        decided_at: row.get::<_, Option<i64>>(10)?.map(Time),
        decided_by: row.get(11)?,
    })
}

fn held(connection: &Connection, dictionary: i64) -> Result<Option<CopyShown>, LedgerError> {
    let sql = format!(
        "SELECT {COPY} FROM dictionary_copy c WHERE c.dictionary = ?1 AND c.state = 'held'"
    );
    Ok(connection.prepare_cached(&sql)?.query_row([dictionary], copy_shown).optional()?)
}

/// The number of a dictionary and its version.
fn find_or_make(
    connection: &Connection,
    hospital: &str,
    kind: DictionaryKind,
) -> Result<(i64, i64), LedgerError> {
    connection
        .prepare_cached("INSERT OR IGNORE INTO dictionary(hospital, kind) VALUES(?1, ?2)")?
        .execute([hospital, kind.name()])?;
    let found = connection
        .prepare_cached("SELECT id, version FROM dictionary WHERE hospital = ?1 AND kind = ?2")?
        .query_row([hospital, kind.name()], |row| Ok((row.get(0)?, row.get(1)?)))?;
    Ok(found)
}

fn insert_copy(
    connection: &Connection,
    dictionary: i64,
    new: &NewCopy,
    now: Time,
) -> Result<i64, LedgerError> {
    let count = |word| new.changes.iter().filter(|change| change.word() == word).count() as i64;
    connection
        .prepare_cached(
            "INSERT INTO dictionary_copy(dictionary, state, origin, reason, fingerprint, rows,
               added, changed, removed, taken_at)
             VALUES(?1, 'held', ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
        )?
        .execute(params![
            dictionary,
            new.origin,
            new.hold.as_deref().unwrap_or_default(),
            new.fingerprint,
            new.rows as i64,
            count("added"),
            count("changed"),
            count("removed"),
            now.0
        ])?;
    let copy = connection.last_insert_rowid();
    if new.hold.is_none() && new.changes.len() > DICTIONARY_CHANGES_KEPT_MAX {
        return Ok(copy);
    }
    let mut insert = connection.prepare_cached(
        "INSERT INTO dictionary_change(copy, code, before, after) VALUES(?1, ?2, ?3, ?4)",
    )?;
    for change in &new.changes {
        let (before, after) = (change.before.as_ref(), change.after.as_ref());
        insert.execute(params![copy, change.code(), before.map(text), after.map(text)])?;
    }
    Ok(copy)
}

/// Makes a copy what is answered: its changes are applied to the rows.
fn publish(
    connection: &Connection,
    dictionary: i64,
    copy: i64,
    changes: &[DictionaryChange],
    by: &str,
    now: Time,
) -> Result<(), LedgerError> {
    let mut delete = connection
        .prepare_cached("DELETE FROM dictionary_row WHERE dictionary = ?1 AND code = ?2")?;
    let mut put = connection.prepare_cached(
        "INSERT OR REPLACE INTO dictionary_row(dictionary, code, name, modality, body_part, price,
           check_status, source_type, remark)
         VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)",
    )?;
    for change in changes {
        match &change.after {
            None => delete.execute(params![dictionary, change.code()])?,
            Some(row) => put.execute(params![
                dictionary,
                row.code,
                row.name,
                row.modality,
                row.body_part,
                row.price,
                row.check_status,
                row.source_type,
                row.remark
            ])?,
        };
    }
    connection
        .prepare_cached(
            "UPDATE dictionary SET version = c.id, rows = c.rows, origin = c.origin,
               seen_at = c.taken_at
             FROM dictionary_copy c WHERE dictionary.id = ?1 AND c.id = ?2",
        )?
        .execute([dictionary, copy])?;
    settle(connection, copy, CopyState::Published, by, now)
}

fn replace_held(connection: &Connection, dictionary: i64, now: Time) -> Result<(), LedgerError> {
    let Some(copy) = held(connection, dictionary)? else { return Ok(()) };
    settle(connection, copy.id, CopyState::Replaced, "", now)?;
    forget_changes(connection, copy.id)
}

fn forget_changes(connection: &Connection, copy: i64) -> Result<(), LedgerError> {
    connection.prepare_cached("DELETE FROM dictionary_change WHERE copy = ?1")?.execute([copy])?;
    Ok(())
}

fn settle(
    connection: &Connection,
    copy: i64,
    state: CopyState,
    by: &str,
    now: Time,
) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "UPDATE dictionary_copy SET state = ?2, decided_by = ?3, decided_at = ?4
             WHERE id = ?1",
        )?
        .execute(params![copy, state.name(), by, now.0])?;
    Ok(())
}

/// Forgets the oldest copies; never the published one or a held one, which are the latest.
fn prune(connection: &Connection, dictionary: i64) -> Result<(), LedgerError> {
    let oldest: Option<i64> = connection
        .prepare_cached(
            "SELECT id FROM dictionary_copy WHERE dictionary = ?1 ORDER BY id DESC
             LIMIT 1 OFFSET ?2",
        )?
        .query_row(params![dictionary, DICTIONARY_COPIES_MAX as i64], |row| row.get(0))
        .optional()?;
    let Some(oldest) = oldest else { return Ok(()) };
    connection
        .prepare_cached(
            "DELETE FROM dictionary_change WHERE copy IN
               (SELECT id FROM dictionary_copy WHERE dictionary = ?1 AND id <= ?2)",
        )?
        .execute([dictionary, oldest])?;
    connection
        .prepare_cached(
            "DELETE FROM dictionary_copy WHERE dictionary = ?1 AND id <= ?2 AND state <> 'held'
               AND id <> (SELECT version FROM dictionary WHERE id = ?1)",
        )?
        .execute([dictionary, oldest])?;
    Ok(())
}

fn changes(
    connection: &Connection,
    copy: i64,
    limit: i64,
) -> Result<Vec<DictionaryChange>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT before, after FROM dictionary_change WHERE copy = ?1 ORDER BY code LIMIT ?2",
    )?;
    let mut rows = statement.query([copy, limit])?;
    let mut found = Vec::new();
    while let Some(row) = rows.next()? {
        let (before, after): (Option<String>, Option<String>) = (row.get(0)?, row.get(1)?);
        let before = before.as_deref().map(row_from).transpose()?;
        found.push(DictionaryChange { before, after: after.as_deref().map(row_from).transpose()? });
    }
    Ok(found)
}

/// A row as version 1 writes it; what is empty is left out.
#[derive(Serialize, Deserialize)]
struct StoredRow {
    v: u8,
    code: String,
    #[serde(flatten)]
    rest: BTreeMap<String, String>,
}

fn text(row: &DictionaryRow) -> String {
    let rest = [
        ("name", &row.name),
        ("modality", &row.modality),
        ("body_part", &row.body_part),
        ("price", &row.price),
        ("check_status", &row.check_status),
        ("source_type", &row.source_type),
        ("remark", &row.remark),
    ];
    let rest = rest.into_iter().filter(|(_, text)| !text.is_empty());
    let rest = rest.map(|(key, text)| (key.to_owned(), text.clone())).collect();
    let stored = StoredRow { v: 1, code: row.code.clone(), rest };
    serde_json::to_string(&stored).expect("strings and numbers are JSON")
}

fn row_from(text: &str) -> Result<DictionaryRow, LedgerError> {
    let mut stored: StoredRow = serde_json::from_str(text)
        .map_err(|_| LedgerError::Unreadable { what: "dictionary_change" })?;
    let mut take = |key: &str| stored.rest.remove(key).unwrap_or_default();
    Ok(DictionaryRow {
        name: take("name"),
        modality: take("modality"),
        body_part: take("body_part"),
        price: take("price"),
        check_status: take("check_status"),
        source_type: take("source_type"),
        remark: take("remark"),
        code: stored.code,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As it lies in ledgers out there; it must be read for ever.
    const V1: &str =
        r#"{"v":1,"code":"CT01","name":"头颅CT平扫","modality":"CT","price":"180.00"}"#;

    #[test]
    fn version_one_is_read_and_written_back_the_same() {
        let row = row_from(V1).unwrap();
        assert_eq!((row.name.as_str(), row.price.as_str()), ("头颅CT平扫", "180.00"));
        assert_eq!(row_from(&text(&row)).unwrap(), row);
    }
}
