//! What is known of the rows of hospitals' views: hashes of those that were taken, and the rows
//! that could not be.
//!
//! A row's hash is written only after what was made of the row is; a parked row is known by its
//! hash too, so that it is not tried again until it changes or a person says so.

use rusqlite::{Connection, OptionalExtension, params};

use super::{Ledger, LedgerError};
use crate::model::Time;
use crate::seal::Lookup;

pub(super) const TABLES: &str = "
CREATE TABLE polled_view(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,         -- as configured
  whole_at INTEGER,                  -- when the last whole poll ended
  whole_rows INTEGER,                -- rows of that poll
  polled_at INTEGER,                 -- when the last poll ended, whole or not
  outcome TEXT                       -- of that poll: whole, or the step that failed
) STRICT;

CREATE TABLE view_row(
  view INTEGER NOT NULL,
  hash BLOB NOT NULL,                -- HMAC of the row as it was read
  PRIMARY KEY(view, hash)
) STRICT, WITHOUT ROWID;

CREATE TABLE view_parked(
  id INTEGER PRIMARY KEY,
  view INTEGER NOT NULL,
  hash BLOB NOT NULL,
  at INTEGER NOT NULL,
  reason TEXT NOT NULL,              -- names fields and rules, no value
  sealed BLOB NOT NULL,              -- the row as it was read
  UNIQUE(view, hash)
) STRICT;
";

/// How a poll ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewPoll {
    /// `whole`, or the step that failed.
    pub outcome: &'static str,
    /// Rows of the view, when the poll was whole.
    pub whole_rows: Option<u64>,
    /// Its end.
    pub at: Time,
}

/// A view's last polls and what is known of its rows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ViewShown {
    /// Its number in the ledger.
    pub id: i64,
    /// As configured.
    pub name: String,
    /// When the last whole poll ended.
    pub whole_at: Option<Time>,
    /// Rows of that poll.
    pub whole_rows: Option<u64>,
    /// When the last poll ended, whole or not.
    pub polled_at: Option<Time>,
    /// How: `whole`, or the step that failed.
    pub outcome: Option<String>,
    /// Rows that could not be taken.
    pub parked: u64,
}

/// A row that could not be taken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedRow {
    /// Its hash.
    pub hash: Lookup,
    /// Why; holds no value.
    pub reason: String,
    /// The row as it was read.
    pub row: Vec<u8>,
}

/// The same without the row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ParkedShown {
    /// Its number.
    pub id: i64,
    /// Since when.
    pub at: Time,
    /// Why.
    pub reason: String,
}

impl Ledger {
    /// The hash of a row of this view as it was read.
    pub fn view_row_hash(&self, view: &str, row: &[u8]) -> Lookup {
        self.keys().view_row(view, row)
    }

    /// What is kept of a view; it is made known when it is not yet.
    pub async fn view(&self, name: &str) -> Result<ViewShown, LedgerError> {
        let name = name.to_owned();
        self.commit(move |writing| {
            let insert = "INSERT OR IGNORE INTO polled_view(name) VALUES(?1)";
            writing.connection.prepare_cached(insert)?.execute([&name])?;
            let found = shown(writing.connection)?.into_iter().find(|view| view.name == name);
            found.ok_or(LedgerError::Unreadable { what: "view" })
        })
        .await
    }

    /// Every view that was ever polled, by name.
    pub fn views(&self) -> Result<Vec<ViewShown>, LedgerError> {
        self.read(shown)
    }

    /// The hashes of a view's known rows in ascending order.
    pub fn view_rows(&self, view: i64) -> Result<Vec<Lookup>, LedgerError> {
        self.read(|connection| {
            let mut select = connection
                .prepare_cached("SELECT hash FROM view_row WHERE view = ?1 ORDER BY hash")?;
            let hashes = select.query_map([view], |row| row.get(0))?;
            Ok(hashes.collect::<Result<_, _>>()?)
        })
    }

    /// Rows are known from now on: those that were taken, and those that could not be.
    pub async fn keep_view_rows(
        &self,
        view: i64,
        taken: Vec<Lookup>,
        parked: Vec<ParkedRow>,
        now: Time,
    ) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            let mut keep = connection
                .prepare_cached("INSERT OR IGNORE INTO view_row(view, hash) VALUES(?1, ?2)")?;
            for hash in taken.iter().chain(parked.iter().map(|row| &row.hash)) {
                keep.execute(params![view, hash])?;
            }
            for row in &parked {
                let id: i64 = connection
                    .prepare_cached("SELECT coalesce(max(id), 0) + 1 FROM view_parked")?
                    .query_row([], |row| row.get(0))?;
                let sealed = writing.keys.seal("view_parked.sealed", id, &row.row);
                connection
                    .prepare_cached(
                        "INSERT OR IGNORE INTO view_parked(id, view, hash, at, reason, sealed)
                         VALUES(?1, ?2, ?3, ?4, ?5, ?6)",
                    )?
                    .execute(params![id, view, row.hash, now.0, row.reason, sealed])?;
            }
            Ok(())
        })
        .await
    }

    /// Rows that are no longer in the view, or that are to be taken up again.
    pub async fn forget_view_rows(&self, view: i64, gone: Vec<Lookup>) -> Result<(), LedgerError> {
        self.commit(move |writing| forget(writing.connection, view, &gone)).await
    }

    /// A poll has ended.
    pub async fn end_view_poll(&self, view: i64, poll: ViewPoll) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            writing
                .connection
                .prepare_cached(
                    "UPDATE polled_view SET polled_at = ?2, outcome = ?3,
                       whole_at = CASE WHEN ?4 IS NULL THEN whole_at ELSE ?2 END,
                       whole_rows = coalesce(?4, whole_rows)
                     WHERE id = ?1",
                )?
                .execute(params![
                    view,
                    poll.at.0,
                    poll.outcome,
                    poll.whole_rows.map(|rows| rows as i64)
                ])?;
            Ok(())
        })
        .await
    }

    /// Rows of a view that could not be taken, the newest first.
    pub fn parked_view_rows(
        &self,
        view: i64,
        limit: usize,
    ) -> Result<Vec<ParkedShown>, LedgerError> {
        self.read(|connection| {
            let mut select = connection.prepare_cached(
                "SELECT id, at, reason FROM view_parked WHERE view = ?1 ORDER BY id DESC LIMIT ?2",
            )?;
            let rows = select.query_map(params![view, limit as i64], |row| {
                Ok(ParkedShown { id: row.get(0)?, at: Time(row.get(1)?), reason: row.get(2)? })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// Takes up every parked row of the view of this name: the next poll finds them new. Returns
    /// how many; `None` when no such view was ever polled.
    pub async fn retry_view(&self, name: &str) -> Result<Option<usize>, LedgerError> {
        let name = name.to_owned();
        self.commit(move |writing| {
            let connection = writing.connection;
            let view: Option<i64> = connection
                .prepare_cached("SELECT id FROM polled_view WHERE name = ?1")?
                .query_row([name], |row| row.get(0))
                .optional()?;
            let Some(view) = view else { return Ok(None) };
            let mut select =
                connection.prepare_cached("SELECT hash FROM view_parked WHERE view = ?1")?;
            let hashes = select.query_map([view], |row| row.get(0))?;
            let hashes: Vec<Lookup> = hashes.collect::<Result<_, _>>()?;
            forget(connection, view, &hashes)?;
            Ok(Some(hashes.len()))
        })
        .await
    }
}

fn forget(connection: &Connection, view: i64, hashes: &[Lookup]) -> Result<(), LedgerError> {
    let mut row =
        connection.prepare_cached("DELETE FROM view_row WHERE view = ?1 AND hash = ?2")?;
    let mut parked =
        connection.prepare_cached("DELETE FROM view_parked WHERE view = ?1 AND hash = ?2")?;
    for hash in hashes {
        row.execute(params![view, hash])?;
        parked.execute(params![view, hash])?;
    }
    Ok(())
}

fn shown(connection: &Connection) -> Result<Vec<ViewShown>, LedgerError> {
    let mut select = connection.prepare_cached(
        "SELECT id, name, whole_at, whole_rows, polled_at, outcome,
           (SELECT count(*) FROM view_parked WHERE view = polled_view.id)
         FROM polled_view ORDER BY name",
    )?;
    let views = select.query_map([], |row| {
        Ok(ViewShown {
            id: row.get(0)?,
            name: row.get(1)?,
            whole_at: row.get::<_, Option<i64>>(2)?.map(Time),
            whole_rows: row.get::<_, Option<i64>>(3)?.map(|rows| rows as u64),
            polled_at: row.get::<_, Option<i64>>(4)?.map(Time),
            outcome: row.get(5)?,
            parked: row.get::<_, i64>(6)? as u64,
        })
    })?;
    Ok(views.collect::<Result<_, _>>()?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::seal::Keys;

    #[tokio::test]
    async fn a_parked_row_is_sealed_known_and_taken_up_again() {
        let folder = tempfile::tempdir().unwrap();
        let keys = || Keys::new(&[(1, [3; 32])], &[4; 32]);
        let ledger = Ledger::open(folder.path(), keys()).unwrap();
        let view = ledger.view("registrations").await.unwrap().id;
        let row = r#"["王小东","74401972"]"#.as_bytes().to_vec();
        let hash = ledger.view_row_hash("registrations", &row);
        assert_ne!(hash, ledger.view_row_hash("settlements", &row));
        let parked = ParkedRow { hash, reason: "patientName: missing".into(), row };
        let taken = [1; 16];
        for _ in 0..2 {
            let (taken, parked) = (vec![taken], vec![parked.clone()]);
            ledger.keep_view_rows(view, taken, parked, Time(7)).await.unwrap();
        }
        let mut known = vec![taken, hash];
        known.sort_unstable();
        assert_eq!(ledger.view_rows(view).unwrap(), known);
        let shown = ledger.parked_view_rows(view, 10).unwrap();
        let expected = ParkedShown { id: 1, at: Time(7), reason: "patientName: missing".into() };
        assert_eq!(shown, [expected]);
        let sealed: Vec<u8> = ledger
            .read(|connection| {
                Ok(connection.query_row("SELECT sealed FROM view_parked", [], |row| row.get(0))?)
            })
            .unwrap();
        assert_eq!(keys().open("view_parked.sealed", 1, &sealed).unwrap(), parked.row);
        assert_eq!(ledger.retry_view("registrations").await.unwrap(), Some(1));
        assert_eq!(ledger.retry_view("others").await.unwrap(), None);
        assert_eq!(ledger.view_rows(view).unwrap(), [taken]);
        ledger.forget_view_rows(view, vec![taken]).await.unwrap();
        assert_eq!(ledger.view_rows(view).unwrap(), [[0; 16]; 0]);
    }

    #[tokio::test]
    async fn a_poll_that_was_not_whole_leaves_the_time_of_the_last_whole_one() {
        let folder = tempfile::tempdir().unwrap();
        let ledger = Ledger::open(folder.path(), Keys::new(&[(1, [3; 32])], &[4; 32])).unwrap();
        let view = ledger.view("a").await.unwrap().id;
        let whole = ViewPoll { outcome: "whole", whole_rows: Some(5), at: Time(10) };
        ledger.end_view_poll(view, whole).await.unwrap();
        let failed = ViewPoll { outcome: "deadline", whole_rows: None, at: Time(20) };
        ledger.end_view_poll(view, failed).await.unwrap();
        let shown = ledger.view("a").await.unwrap();
        assert_eq!((shown.whole_at, shown.whole_rows), (Some(Time(10)), Some(5)));
        assert_eq!((shown.polled_at, shown.outcome.as_deref()), (Some(Time(20)), Some("deadline")));
    }
}
