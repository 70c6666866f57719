//! Examinations that are ordered for patients, so that the plans of these patients prefer studies
//! like them.
//!
//! A row stands under the keyed hash of one number of the patient and holds the hospital's own code
//! of the item; what the item is in words that hospitals share is looked up when it is used, so
//! that a mapping that is confirmed later counts. The item's name is the dictionary's. An order is
//! forgotten after [`ORDERED_MS`]: until then the examination was made.

use rusqlite::{Connection, params};

use super::plans::ids;
use super::writer::Writing;
use super::{Ledger, LedgerError, audit, deliveries};
use crate::limits::{ORDERED_MS, ORDERED_WANTED_MAX};
use crate::model::{Identifier, NewDelivery, Standard, Time};
use crate::seal::Lookup;

pub(super) const TABLES: &str = "
CREATE TABLE ordered(
  hash BLOB NOT NULL,                -- HMAC of kind and number
  hospital TEXT NOT NULL,
  exam_code TEXT NOT NULL,           -- the hospital's own
  at INTEGER NOT NULL,               -- last ordered
  PRIMARY KEY(hash, hospital, exam_code)
) STRICT, WITHOUT ROWID;
CREATE INDEX ordered_at ON ordered(at);
";

/// What a hospital says of one patient beside registrations (imaging cloud's document, 3.2, 3.3).
pub struct Call {
    /// The hospital's code.
    pub hospital: String,
    /// The patient's numbers, as far as they could be read.
    pub numbers: Vec<Identifier>,
    /// The hospital's codes of what is ordered now; empty where a patient is only opened.
    pub exam_codes: Vec<String>,
    /// What goes on to a platform because of it.
    pub onward: Vec<NewDelivery>,
}

/// An examination that is ordered for a patient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Ordered {
    /// The hospital's code of the item.
    pub exam_code: String,
    /// What a person confirmed that it is.
    pub standard: Option<Standard>,
}

impl Ledger {
    /// Keeps calls, with `kind` as the word of the audit: all of them, or on an error none. Plans
    /// of these patients that somebody still counts on fall due, to be decided again; `grace_ms`
    /// is how long after the visit that is. Returns how many.
    pub async fn keep_calls(
        &self,
        kind: &'static str,
        calls: Vec<Call>,
        caller: &str,
        grace_ms: i64,
        now: Time,
    ) -> Result<usize, LedgerError> {
        let hash = |one: &Identifier| self.keys().identifier(one);
        let hashes = |call: &Call| call.numbers.iter().map(hash).collect::<Vec<_>>();
        let calls: Vec<_> = calls.into_iter().map(|call| (hashes(&call), call)).collect();
        let caller = caller.to_owned();
        self.commit_first(move |writing| {
            let mut again = 0;
            for (hashes, call) in &calls {
                again += keep(writing, hashes, call, grace_ms, now)?;
                audit::record(writing.connection, kind, &caller, None, None, now)?;
            }
            Ok(again)
        })
        .await
    }

    /// What is ordered at a hospital for the patient with these numbers, by code; at most
    /// [`ORDERED_WANTED_MAX`].
    pub fn ordered(
        &self,
        hospital: &str,
        numbers: &[Identifier],
        now: Time,
    ) -> Result<Vec<Ordered>, LedgerError> {
        let hashes: Vec<_> = numbers.iter().map(|one| self.keys().identifier(one)).collect();
        self.read(|connection| ordered(connection, hospital, &hashes, now))
    }
}

fn keep(
    writing: &Writing<'_>,
    hashes: &[Lookup],
    call: &Call,
    grace_ms: i64,
    now: Time,
) -> Result<usize, LedgerError> {
    let connection = writing.connection;
    for delivery in &call.onward {
        deliveries::enqueue(writing, delivery, now)?;
    }
    if call.exam_codes.is_empty() {
        return Ok(0);
    }
    connection
        .prepare_cached("DELETE FROM ordered WHERE at < ?1")?
        .execute([now.plus_ms(-ORDERED_MS).0])?;
    let mut put = connection.prepare_cached(
        "INSERT INTO ordered(hash, hospital, exam_code, at) VALUES(?1, ?2, ?3, ?4)
         ON CONFLICT(hash, hospital, exam_code) DO UPDATE SET at = excluded.at",
    )?;
    let mut again = 0;
    for hash in hashes {
        for code in &call.exam_codes {
            put.execute(params![hash, call.hospital, code, now.0])?;
        }
        again += decide_again(connection, hash, &call.hospital, grace_ms, now)?;
    }
    Ok(again)
}

/// The plans of a hospital's patient, by one number, on which somebody still counts: whose visit,
/// or last registration, is not before `since`. The latest visits first.
pub(super) fn counted_on(
    connection: &Connection,
    hash: &Lookup,
    hospital: &str,
    since: Time,
) -> Result<Vec<i64>, LedgerError> {
    ids(
        connection,
        "SELECT p.registration FROM identifier i
         JOIN registration r ON r.id = i.registration
         JOIN plan p ON p.registration = i.registration
         WHERE i.hash = ?1 AND r.hospital = ?2
           AND p.state IN ('searching', 'fetching', 'ready', 'not ready')
           AND max(p.due_at, r.updated_at) >= ?3
         ORDER BY p.due_at DESC",
        params![hash, hospital, since.0],
    )
}

/// Makes plans of the patient due that have found something. No source is asked again: what they
/// answered is here. A plan that was ready keeps that moment unless more is chosen now.
fn decide_again(
    connection: &Connection,
    hash: &Lookup,
    hospital: &str,
    grace_ms: i64,
    now: Time,
) -> Result<usize, LedgerError> {
    let plans = counted_on(connection, hash, hospital, now.plus_ms(-grace_ms))?;
    let mut due = connection.prepare_cached(
        "UPDATE plan SET next_at = ?2,
           state = CASE WHEN state = 'searching' THEN state ELSE 'fetching' END
         WHERE registration = ?1",
    )?;
    for id in &plans {
        due.execute([*id, now.0])?;
    }
    Ok(plans.len())
}

/// See [`Ledger::ordered`].
pub(super) fn ordered(
    connection: &Connection,
    hospital: &str,
    hashes: &[Lookup],
    now: Time,
) -> Result<Vec<Ordered>, LedgerError> {
    let mut statement = connection.prepare_cached(
        "SELECT o.exam_code, m.modality, m.body_part, m.code FROM ordered o
         LEFT JOIN mapping m ON m.hospital = o.hospital AND m.exam_code = o.exam_code
         WHERE o.hash = ?1 AND o.hospital = ?2 AND o.at >= ?3
         ORDER BY o.exam_code LIMIT ?4",
    )?;
    let since = now.plus_ms(-ORDERED_MS).0;
    let mut found: Vec<Ordered> = Vec::new();
    for hash in hashes {
        let parameters = params![hash, hospital, since, ORDERED_WANTED_MAX as i64];
        let mut rows = statement.query(parameters)?;
        while let Some(row) = rows.next()? {
            let standard = match row.get::<_, Option<String>>(1)? {
                Some(modality) => {
                    Some(Standard { modality, body_part: row.get(2)?, code: row.get(3)? })
                }
                None => None,
            };
            let one = Ordered { exam_code: row.get(0)?, standard };
            if !found.contains(&one) {
                found.push(one);
            }
        }
    }
    found.sort_by(|one, other| one.exam_code.cmp(&other.exam_code));
    found.truncate(ORDERED_WANTED_MAX);
    Ok(found)
}
