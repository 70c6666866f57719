//! The ledger's tables and how older ones become these.
//!
//! Migrations only expand: tables and columns are added; what is no longer used goes a release
//! later. `meta.oldest_reader` tells an older program whether it may still read.

use rusqlite::Connection;

use super::LedgerError;
use crate::limits::LEDGER_TURN_WAIT_MS;
use crate::model::Time;

/// One step a version; the version of a ledger is the number of steps it has taken.
const MIGRATIONS: &[&[&str]] = &[
    &[V1],
    &[super::deliveries::TABLES, super::evidence::TABLES, super::settlements::TABLES],
    &[super::dictionaries::MIGRATION, super::mappings::MIGRATION],
    &[super::views::TABLES],
    &[super::fetches::OPENED],
    &[
        super::ordered::TABLES,
        super::fetches::CONTRADICTED,
        super::settlements::BY_NUMBERS,
        super::deliveries::OF_YEARS,
        super::counts::TABLES,
    ],
    &[super::evictions::MIGRATION],
    &[super::pushed::TABLES],
    &[super::sessions::TABLES, super::notices::TABLES],
    &[super::plans::IN_CHINESE, super::links::TABLES],
    &[super::departments::MIGRATION, super::audit::DETAIL],
    &[super::readers::MIGRATION],
];

/// The version that this program writes.
pub(super) const NEWEST: i64 = MIGRATIONS.len() as i64;

/// The oldest version whose programs read what this one writes.
const OLDEST_READER: i64 = 1;

/// `sealed` and `body` are AES-256-GCM with the row id; every other column is free of personal
/// data: codes of hospitals, times, states, UIDs, hashes under the look-up key.
const V1: &str = "
CREATE TABLE registration(
  id INTEGER PRIMARY KEY,
  hospital TEXT NOT NULL,
  visit BLOB NOT NULL,               -- HMAC of the visit key
  sealed BLOB NOT NULL,              -- StoredRegistration as JSON
  body BLOB NOT NULL,                -- as it came, for replay
  patient_type TEXT NOT NULL,
  received_at INTEGER NOT NULL,
  updated_at INTEGER NOT NULL,
  UNIQUE(hospital, visit)
) STRICT;

CREATE TABLE identifier(              -- of registrations that have studies to be found by
  hash BLOB NOT NULL,                -- HMAC of kind and number
  registration INTEGER NOT NULL,
  PRIMARY KEY(hash, registration)
) STRICT, WITHOUT ROWID;
CREATE INDEX identifier_registration ON identifier(registration);

CREATE TABLE plan(
  registration INTEGER PRIMARY KEY,
  state TEXT NOT NULL,
  urgent INTEGER NOT NULL,
  due_at INTEGER NOT NULL,           -- the visit, or the arrival of a registration without one
  next_at INTEGER,                   -- next search; NULL when none is due
  attempts INTEGER NOT NULL DEFAULT 0,
  cause TEXT,
  ready_at INTEGER,
  lead_ms INTEGER,
  over_at INTEGER,                   -- when the retention clock started
  updated_at INTEGER NOT NULL
) STRICT;
CREATE INDEX plan_open ON plan(urgent DESC, due_at)
  WHERE state IN ('searching', 'fetching', 'no identifier');

CREATE TABLE search(
  registration INTEGER NOT NULL,
  source TEXT NOT NULL,
  answered_at INTEGER,
  attempts INTEGER NOT NULL DEFAULT 0,
  next_at INTEGER,
  fault TEXT,
  PRIMARY KEY(registration, source)
) STRICT, WITHOUT ROWID;

CREATE TABLE considered(
  id INTEGER PRIMARY KEY,
  registration INTEGER NOT NULL,
  study TEXT NOT NULL,
  outcome TEXT NOT NULL,
  link TEXT NOT NULL,
  score INTEGER NOT NULL,
  why TEXT NOT NULL,                 -- the explanation; names no patient
  sealed BLOB NOT NULL,              -- StoredStudy as JSON
  UNIQUE(registration, study)
) STRICT;
CREATE INDEX considered_study ON considered(study);

CREATE TABLE fetch(
  study TEXT PRIMARY KEY,
  state TEXT NOT NULL,
  urgent INTEGER NOT NULL,
  due_at INTEGER NOT NULL,
  next_at INTEGER NOT NULL,
  attempts INTEGER NOT NULL DEFAULT 0,
  expected INTEGER,                  -- m, from the manifest or the search answer
  have INTEGER NOT NULL DEFAULT 0,   -- n, as last counted in the cache
  bytes INTEGER NOT NULL DEFAULT 0,
  fault TEXT,
  disk_full INTEGER NOT NULL DEFAULT 0,
  started_at INTEGER,
  ended_at INTEGER
) STRICT, WITHOUT ROWID;
CREATE INDEX fetch_next ON fetch(urgent DESC, due_at) WHERE state = 'waiting';

CREATE TABLE place(
  study TEXT NOT NULL,
  source TEXT NOT NULL,
  url TEXT NOT NULL DEFAULT '',
  ordinal INTEGER NOT NULL,
  PRIMARY KEY(study, source, url)
) STRICT, WITHOUT ROWID;

CREATE TABLE audit(
  id INTEGER PRIMARY KEY,
  at INTEGER NOT NULL,
  kind TEXT NOT NULL,
  caller TEXT NOT NULL,
  registration INTEGER,
  study TEXT
) STRICT;

CREATE TABLE access(
  caller TEXT NOT NULL,
  study TEXT NOT NULL,
  minute INTEGER NOT NULL,
  kind TEXT NOT NULL,
  at INTEGER NOT NULL,
  PRIMARY KEY(caller, study, minute, kind)
) STRICT, WITHOUT ROWID;
";

/// Bytes of the database that are read through the kernel's cache instead of copies of our own.
const MAPPED_BYTES: i64 = 1 << 30;

/// Settings of the writing connection. The page cache is small: the working set is the open plans.
pub(super) fn prepare(connection: &Connection) -> Result<(), LedgerError> {
    connection.busy_timeout(std::time::Duration::from_millis(LEDGER_TURN_WAIT_MS))?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "cache_size", -16_384)?;
    connection.pragma_update(None, "mmap_size", MAPPED_BYTES)?;
    connection.pragma_update(None, "temp_store", "MEMORY")?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// How far a commit goes, and after how many pages the log is copied by whoever commits; 0: never,
/// the ledger has a thread for it.
pub(super) fn syncs(
    connection: &Connection,
    synchronous: &str,
    checkpoint_pages: i64,
) -> Result<(), LedgerError> {
    connection.pragma_update(None, "synchronous", synchronous)?;
    connection.pragma_update(None, "wal_autocheckpoint", checkpoint_pages)?;
    Ok(())
}

pub(super) fn migrate(connection: &mut Connection) -> Result<(), LedgerError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    )?;
    check_readable(connection)?;
    let taken = meta(connection, "version")?.unwrap_or(0);
    for (step, tables) in MIGRATIONS.iter().enumerate().skip(taken.max(0) as usize) {
        let transaction = connection.transaction()?;
        for sql in *tables {
            transaction.execute_batch(sql)?;
        }
        set_meta(&transaction, "version", step as i64 + 1)?;
        set_meta(&transaction, "oldest_reader", OLDEST_READER)?;
        transaction.commit()?;
    }
    Ok(())
}

/// Whether this program may read the ledger.
pub(super) fn check_readable(connection: &Connection) -> Result<(), LedgerError> {
    let ours = MIGRATIONS.len() as i64;
    let found = meta(connection, "version")?.unwrap_or(0);
    let oldest_reader = meta(connection, "oldest_reader")?.unwrap_or(0);
    if found > ours && oldest_reader > ours {
        return Err(LedgerError::Newer { found, oldest_reader, ours });
    }
    Ok(())
}

/// Whether the tables are exactly this program's, so that a verb may write beside a service.
pub(super) fn check_same(connection: &Connection) -> Result<(), LedgerError> {
    check_readable(connection)?;
    let ours = MIGRATIONS.len() as i64;
    let found = meta(connection, "version")?.unwrap_or(0);
    if found == ours { Ok(()) } else { Err(LedgerError::Other { found, ours }) }
}

/// A write that changes nothing anybody reads, for the health probe.
pub(super) fn touch(connection: &Connection) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES('probe', 1)
             ON CONFLICT(key) DO UPDATE SET value = value + 1",
        )?
        .execute([])?;
    Ok(())
}

/// Of the tables as they are; 0 where there are none.
pub(super) fn version(connection: &Connection) -> Result<i64, LedgerError> {
    Ok(meta(connection, "version")?.unwrap_or(0))
}

/// The last moment of the two tables that only grow.
pub(super) fn last_moment(connection: &Connection) -> Result<Option<Time>, LedgerError> {
    let mut last = None;
    for table in ["audit", "evidence"] {
        let sql = format!("SELECT max(at) FROM (SELECT at FROM {table} ORDER BY id DESC LIMIT 1)");
        let at: Option<i64> = connection.query_row(&sql, [], |row| row.get(0))?;
        last = last.max(at);
    }
    Ok(last.map(Time))
}

fn meta(connection: &Connection, key: &str) -> Result<Option<i64>, LedgerError> {
    use rusqlite::OptionalExtension;
    let value = connection
        .query_row("SELECT value FROM meta WHERE key = ?1", [key], |row| row.get(0))
        .optional()?;
    Ok(value)
}

fn set_meta(connection: &Connection, key: &str, value: i64) -> Result<(), LedgerError> {
    connection.execute(
        "INSERT INTO meta(key, value) VALUES(?1, ?2)
         ON CONFLICT(key) DO UPDATE SET value = excluded.value",
        rusqlite::params![key, value],
    )?;
    Ok(())
}

/// Makes the tables of version one in an empty database.
#[cfg(test)]
pub(super) fn as_version_one(connection: &Connection) {
    let meta = "CREATE TABLE meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT;";
    connection.execute_batch(&format!("{meta}{V1}")).expect("the tables can be made");
    set_meta(connection, "version", 1).expect("its version can be written");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_of_a_newer_program_is_refused_only_when_it_says_so() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        set_meta(&connection, "version", 99).unwrap();
        assert!(check_readable(&connection).is_ok(), "it still reads as version 1");
        set_meta(&connection, "oldest_reader", 98).unwrap();
        assert!(matches!(check_readable(&connection), Err(LedgerError::Newer { .. })));
    }

    #[test]
    fn a_ledger_of_version_one_gains_what_came_later_and_a_verb_waits_for_that() {
        let mut connection = Connection::open_in_memory().unwrap();
        as_version_one(&connection);
        assert!(matches!(check_same(&connection), Err(LedgerError::Other { found: 1, .. })));
        migrate(&mut connection).unwrap();
        assert!(check_same(&connection).is_ok());
        connection
            .execute_batch("SELECT * FROM dictionary; SELECT * FROM mapping; SELECT * FROM ordered")
            .unwrap();
    }

    #[test]
    fn migrating_twice_changes_nothing() {
        let mut connection = Connection::open_in_memory().unwrap();
        migrate(&mut connection).unwrap();
        connection
            .execute("INSERT INTO search(registration, source) VALUES(1, 'region')", [])
            .unwrap();
        migrate(&mut connection).unwrap();
        let rows: i64 =
            connection.query_row("SELECT count(*) FROM search", [], |row| row.get(0)).unwrap();
        assert_eq!(rows, 1);
    }
}
