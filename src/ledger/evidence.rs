//! What can be proved: a chain of lines, each with the hash of the one before it.
//!
//! Always holds: a line is written in the commit of what it tells; its hash covers the line and
//! the hash before it, so that none can be changed, left out or put in without breaking every
//! later one. A day's export begins with the last hash of the day before and ends with its own
//! last; whoever keeps that one number (on paper, with the cloud) can prove the day. A line holds
//! no personal data: bodies and receipts stand in it as their SHA-256.

use aws_lc_rs::digest::{Context, SHA256};
use rusqlite::{Connection, OptionalExtension, ToSql, params};
use serde_json::Value;

use super::{Ledger, LedgerError};
use crate::model::Time;

pub(super) const TABLES: &str = "
CREATE TABLE evidence(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  delivery INTEGER,
  event TEXT NOT NULL,
  detail TEXT NOT NULL,
  hash BLOB NOT NULL
) STRICT;
CREATE INDEX evidence_at ON evidence(at);
CREATE INDEX evidence_delivery ON evidence(delivery);
";

/// The hash before the first line.
const GENESIS: [u8; 32] = [0; 32];

/// A line of the chain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Evidence {
    /// Its number, without gaps.
    pub number: i64,
    /// When.
    pub at: Time,
    /// The delivery that it is about.
    pub delivery: Option<i64>,
    /// One word or two.
    pub event: String,
    /// JSON as it was hashed.
    pub detail: String,
    /// SHA-256 over the hash before it and this line.
    pub hash: [u8; 32],
}

impl Evidence {
    /// The hash that this line must have behind `before`: SHA-256 of that hash, then number,
    /// moment, delivery, event and detail, each as text with a line feed behind it.
    pub fn hash_behind(&self, before: &[u8; 32]) -> [u8; 32] {
        let delivery = self.delivery.map_or_else(String::new, |id| id.to_string());
        hash(before, self.number, self.at, &delivery, &self.event, &self.detail)
    }
}

/// The lines of a span of time with the hash before them.
#[derive(Debug, Clone)]
pub struct Chain {
    /// The hash of the line before the first.
    pub before: [u8; 32],
    /// The lines in order.
    pub lines: Vec<Evidence>,
}

impl Chain {
    /// The number of the first line that does not fit; `None`: the chain is whole.
    pub fn broken_at(&self) -> Option<i64> {
        let mut before = self.before;
        let mut number = self.lines.first()?.number;
        for line in &self.lines {
            if line.number != number || line.hash_behind(&before) != line.hash {
                return Some(line.number);
            }
            (before, number) = (line.hash, number + 1);
        }
        None
    }
}

impl Ledger {
    /// The chain behind the line `number`, at most `limit` lines; behind 0 it begins.
    pub fn evidence_behind(&self, number: i64, limit: usize) -> Result<Chain, LedgerError> {
        self.read(|connection| {
            let lines = lines(connection, "id > ?1", params![number, limit as i64])?;
            Ok(Chain { before: hash_of(connection, number)?.unwrap_or(GENESIS), lines })
        })
    }

    /// The chain from `from` to `to`, at most `limit` lines.
    pub fn evidence(&self, from: Time, to: Time, limit: usize) -> Result<Chain, LedgerError> {
        self.read(|connection| {
            let span = params![from.0, to.0, limit as i64];
            let lines = lines(connection, "at >= ?1 AND at < ?2", span)?;
            let before = match lines.first() {
                Some(first) => hash_of(connection, first.number - 1)?,
                // A span without lines still stands behind the last one before it.
                None => last_before(connection, from)?,
            };
            Ok(Chain { before: before.unwrap_or(GENESIS), lines })
        })
    }
}

/// The lines for which a condition holds, in order; the last parameter is how many at most.
fn lines(
    connection: &Connection,
    condition: &str,
    parameters: &[&dyn ToSql],
) -> Result<Vec<Evidence>, LedgerError> {
    let limit = parameters.len();
    let mut statement = connection.prepare_cached(&format!(
        "SELECT id, at, delivery, event, detail, hash FROM evidence
         WHERE {condition} ORDER BY id LIMIT ?{limit}"
    ))?;
    let rows = statement.query_map(parameters, |row| {
        Ok(Evidence {
            number: row.get(0)?,
            at: Time(row.get(1)?),
            delivery: row.get(2)?,
            event: row.get(3)?,
            detail: row.get(4)?,
            hash: row.get(5)?,
        })
    })?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn hash_of(connection: &Connection, number: i64) -> Result<Option<[u8; 32]>, LedgerError> {
    let found = connection
        .prepare_cached("SELECT hash FROM evidence WHERE id = ?1")?
        .query_row([number], |row| row.get(0))
        .optional()?;
    Ok(found)
}

fn last_before(connection: &Connection, from: Time) -> Result<Option<[u8; 32]>, LedgerError> {
    let found = connection
        .prepare_cached(
            "SELECT hash FROM evidence WHERE at < ?1 ORDER BY at DESC, id DESC LIMIT 1",
        )?
        .query_row([from.0], |row| row.get(0))
        .optional()?;
    Ok(found)
}

/// Adds a line behind the last one.
pub(super) fn add(
    connection: &Connection,
    delivery: Option<i64>,
    event: &str,
    detail: &Value,
    now: Time,
) -> Result<(), LedgerError> {
    let last: Option<(i64, [u8; 32], i64)> = connection
        .prepare_cached("SELECT id, hash, at FROM evidence ORDER BY id DESC LIMIT 1")?
        .query_row([], |row| Ok((row.get(0)?, row.get(1)?, row.get(2)?)))
        .optional()?;
    let (number, before, at) = last.map_or((0, GENESIS, i64::MIN), |last| last);
    // A clock that was set back must not move a line before another: the order is the chain's.
    let (number, now) = (number + 1, Time(now.0.max(at)));
    let detail = detail.to_string();
    let named = delivery.map_or_else(String::new, |id| id.to_string());
    let hash = hash(&before, number, now, &named, event, &detail);
    connection
        .prepare_cached(
            "INSERT INTO evidence(id, at, delivery, event, detail, hash)
             VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
        )?
        .execute(params![number, now.0, delivery, event, detail, hash])?;
    Ok(())
}

fn hash(
    before: &[u8; 32],
    number: i64,
    at: Time,
    delivery: &str,
    event: &str,
    detail: &str,
) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    context.update(before);
    for text in [&number.to_string(), &at.0.to_string(), delivery, event, detail] {
        context.update(text.as_bytes());
        context.update(b"\n");
    }
    context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes")
}
