//! The ledger's tables and how older ones become these.
//!
//! Migrations only expand: tables and columns are added; what is no longer used goes a release
//! later. So the program of the last release runs on a ledger that this one has written
//! (docs/UPGRADING/). `meta.oldest_reader` tells an older program whether it may still read. A test
//! reads every step and refuses what is none of the few statements that an older program does not
//! notice.

use rusqlite::Connection;

use super::LedgerError;
use crate::limits::{LEDGER_LOG_BYTES, LEDGER_TURN_WAIT_MS};
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
    &[super::backup::TABLES],
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
    connection.pragma_update(None, "journal_size_limit", LEDGER_LOG_BYTES)?;
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
    migrate_to(connection, MIGRATIONS.len())
}

fn migrate_to(connection: &mut Connection, steps: usize) -> Result<(), LedgerError> {
    connection.execute_batch(
        "CREATE TABLE IF NOT EXISTS meta(key TEXT PRIMARY KEY, value INTEGER NOT NULL) STRICT",
    )?;
    check_readable(connection)?;
    let taken = meta(connection, "version")?.unwrap_or(0);
    let open = MIGRATIONS.iter().enumerate().take(steps).skip(taken.max(0) as usize);
    for (step, tables) in open {
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

/// Whether a verb may write beside a service: the tables have all that this program knows, and
/// what a newer one has added it need not know.
pub(super) fn check_same(connection: &Connection) -> Result<(), LedgerError> {
    check_readable(connection)?;
    let ours = MIGRATIONS.len() as i64;
    let found = meta(connection, "version")?.unwrap_or(0);
    if found >= ours { Ok(()) } else { Err(LedgerError::Other { found, ours }) }
}

/// The version of its tables, and the oldest that may read them.
pub(super) fn versions(connection: &Connection) -> Result<(i64, i64), LedgerError> {
    let number = |key| Ok::<_, LedgerError>(meta(connection, key)?.unwrap_or(0));
    Ok((number("version")?, number("oldest_reader")?))
}

/// A write that changes nothing anybody reads, for the health probe.
pub(super) fn touch(connection: &Connection) -> Result<(), LedgerError> {
    count(connection, "probe")
}

/// One more of what `meta` counts under that key.
pub(super) fn count(connection: &Connection, key: &str) -> Result<(), LedgerError> {
    connection
        .prepare_cached(
            "INSERT INTO meta(key, value) VALUES(?1, 1)
             ON CONFLICT(key) DO UPDATE SET value = value + 1",
        )?
        .execute([key])?;
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

pub(super) fn meta(connection: &Connection, key: &str) -> Result<Option<i64>, LedgerError> {
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

/// The version of this program's tables.
#[cfg(test)]
pub(super) fn newest() -> i64 {
    MIGRATIONS.len() as i64
}

/// Makes the tables of that version in an empty database, as its program would have.
#[cfg(test)]
pub(super) fn as_version(connection: &mut Connection, version: i64) {
    migrate_to(connection, version as usize).expect("the steps can be taken");
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

    /// What no rule lets through and was looked at one by one.
    const LOOKED_AT: [(&str, &str); 8] = [
        // No program ever named this index; without it a claim reads `fetch_due`.
        ("DROP INDEX fetch_next", "an index that no statement names"),
        ("DROP INDEX settlement_key", "an index that no statement names"),
        // Of columns that the same step adds, which an older program does not know.
        ("UPDATE fetch SET source =", "fills a new column"),
        ("UPDATE considered SET contradicted = 1", "fills a new column"),
        // They count into a table of their own step and refuse nothing.
        ("CREATE TRIGGER registration_", "counts"),
        ("CREATE TRIGGER plan_", "counts"),
        ("CREATE TRIGGER fetch_", "counts"),
        ("CREATE TRIGGER delivery_", "counts"),
    ];

    /// The statements of a step, each in one line and without its remarks.
    fn statements(sql: &str) -> Vec<String> {
        let mut all = Vec::new();
        let mut open = String::new();
        for line in sql.lines() {
            let line = line.split("--").next().unwrap_or_default().trim();
            open.push_str(line);
            open.push(' ');
            let in_trigger = open.contains("CREATE TRIGGER") && !line.ends_with("END;");
            if line.ends_with(';') && !in_trigger {
                all.push(open.split_whitespace().collect::<Vec<_>>().join(" "));
                open.clear();
            }
        }
        assert_eq!(open.trim(), "", "a step ends with a semicolon");
        all
    }

    /// Why an older program might notice this statement; `made` are the tables of its own step.
    fn noticed(statement: &str, made: &[String]) -> Option<String> {
        let words: Vec<&str> = statement.split([' ', '(', ')', ',', ';']).collect();
        let is_new = |table: &str| made.iter().any(|one| one == table);
        let upper = statement.to_uppercase();
        match words.as_slice() {
            ["CREATE", "TABLE", ..] => None,
            ["CREATE", "INDEX", ..] => None,
            ["CREATE", "UNIQUE", "INDEX", _, "ON", table, ..] if is_new(table) => None,
            ["CREATE", "UNIQUE", ..] => Some("would refuse what it writes".into()),
            ["INSERT", "INTO", table, ..] if is_new(table) => None,
            ["ALTER", "TABLE", _, "ADD", "COLUMN", ..] => {
                let defaulted = !upper.contains("NOT NULL") || upper.contains(" DEFAULT ");
                let bound = ["REFERENCES", "CHECK", "UNIQUE", "GENERATED", " AS "];
                let bound = bound.into_iter().find(|word| upper.contains(word));
                match (defaulted, bound) {
                    (true, None) => None,
                    (false, _) => Some("a column that it must give a value".into()),
                    (_, Some(word)) => Some(format!("a column with {word}")),
                }
            }
            _ if LOOKED_AT.iter().any(|(begin, _)| statement.starts_with(begin)) => None,
            _ => Some("takes away or changes what is there".into()),
        }
    }

    fn complaints(step: &[&str]) -> Vec<String> {
        let all: Vec<String> = step.iter().flat_map(|sql| statements(sql)).collect();
        let made: Vec<String> = all
            .iter()
            .filter_map(|one| one.strip_prefix("CREATE TABLE "))
            .filter_map(|rest| rest.split(['(', ' ']).next())
            .map(str::to_owned)
            .collect();
        let complain = |one: &String| noticed(one, &made).map(|why| format!("{why}: {one}"));
        all.iter().filter_map(complain).collect()
    }

    #[test]
    fn every_step_only_adds_what_the_program_before_it_does_not_notice() {
        for (at, step) in MIGRATIONS.iter().enumerate() {
            assert_eq!(complaints(step), [""; 0], "step {}", at + 1);
            assert!(!step.iter().flat_map(|sql| statements(sql)).collect::<Vec<_>>().is_empty());
        }
        for bad in [
            "DROP TABLE audit;",
            "DROP INDEX plan_open;",
            "ALTER TABLE audit RENAME TO deed;",
            "ALTER TABLE audit RENAME COLUMN at TO moment;",
            "ALTER TABLE audit DROP COLUMN study;",
            "ALTER TABLE audit ADD COLUMN who TEXT NOT NULL;",
            "ALTER TABLE audit ADD COLUMN plan INTEGER REFERENCES plan(registration);",
            "CREATE UNIQUE INDEX audit_at ON audit(at);",
            "DELETE FROM audit;",
            "UPDATE audit SET at = 0;",
            "INSERT INTO audit(at) VALUES(1);",
            "CREATE TRIGGER full BEFORE INSERT ON audit BEGIN\n SELECT RAISE(ABORT, 'x');\nEND;",
            "CREATE VIEW deed AS SELECT * FROM audit;",
            "PRAGMA user_version = 3;",
        ] {
            assert_eq!(complaints(&[bad]).len(), 1, "{bad}");
        }
        for good in [
            "CREATE TABLE a(i INT);\nCREATE UNIQUE INDEX a_i ON a(i);\nINSERT INTO a VALUES(1);",
            "ALTER TABLE audit ADD COLUMN who TEXT;  -- remark; with a semicolon",
            "ALTER TABLE audit ADD COLUMN who TEXT NOT NULL DEFAULT '';",
        ] {
            assert_eq!(complaints(&[good]), [""; 0], "{good}");
        }
    }

    /// A step that an older program would stumble over has to say so here, and in docs/UPGRADING/.
    #[test]
    fn programs_of_every_version_so_far_may_read_what_is_written_now() {
        assert_eq!(OLDEST_READER, 1);
        let connection = Connection::open_in_memory().unwrap();
        as_version_one(&connection);
        let mut connection = connection;
        migrate(&mut connection).unwrap();
        assert_eq!(versions(&connection).unwrap(), (MIGRATIONS.len() as i64, 1));
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
