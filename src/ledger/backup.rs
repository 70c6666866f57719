//! What a backup takes of the ledger, and what a restored ledger is held against.
//!
//! For: `forepost backup` and `forepost restore`. Always holds: what is taken is the ledger as it
//! stood at one moment, whatever is written meanwhile; the writer is held up for one commit's time
//! and no longer. How: a reading transaction is begun behind the last commit while the write lock
//! is held, and the log is copied into the database up to there. As long as that reader stays, no
//! checkpoint may write what is newer into the file (sqlite.org/walformat.html, 2.3.1), so that the
//! file itself is the snapshot and is read at any pace; what is written meanwhile stays in the log.
//! Refused: SQLite's backup of pages, which begins anew at every commit of another process, and
//! `VACUUM INTO`: both write a whole ledger more onto the disk that is to be saved, and both need
//! the same long reading transaction (docs/decisions/0006-backup-reads-the-file.md). Start at
//! [`Snapshot::take`].

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read, Take};
use std::path::Path;
use std::time::Duration;

use rusqlite::{Connection, OpenFlags, OptionalExtension, params};
use serde_json::json;

use super::writer::Writing;
use super::{Ledger, LedgerError, audit, evidence, schema};
use crate::limits::{
    BACKUPS_REMEMBERED, LEDGER_TURN_WAIT_MS, SNAPSHOT_PAUSE_MS, SNAPSHOT_TRIES_MAX,
};
use crate::model::{DeliveryState, Time};
use crate::seal::Keys;

pub(super) const TABLES: &str = "
CREATE TABLE backup(
  id INTEGER PRIMARY KEY,
  began_at INTEGER NOT NULL,
  ended_at INTEGER NOT NULL,
  folder TEXT NOT NULL,
  file TEXT NOT NULL,                -- its name; empty where none was made
  bytes INTEGER NOT NULL,
  digest BLOB,                       -- SHA-256 of the file as it lies there
  fault TEXT NOT NULL                -- empty: it was made
) STRICT;
";

/// The key of `meta` that counts failed backups.
const FAILURES: &str = "backup_failures";

/// A backup that was made, or was to be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupNoted {
    /// When it began.
    pub began_at: Time,
    /// When it ended.
    pub ended_at: Time,
    /// The folder it went to.
    pub folder: String,
    /// The file's name; empty where none was made.
    pub file: String,
    /// Its bytes.
    pub bytes: u64,
    /// SHA-256 of the file as it lies there.
    pub digest: Option<[u8; 32]>,
    /// Why there is none; empty: it was made.
    pub fault: String,
}

/// The last line of the evidence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct EvidenceEnd {
    /// Its number; 0: there is none.
    pub lines: i64,
    /// Its hash.
    pub hash: [u8; 32],
}

/// How many deliveries of an interface were ever accepted, and how they stand.
pub type Accounts = BTreeMap<String, BTreeMap<String, i64>>;

/// What a ledger holds, in numbers that name nobody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// The version of its tables.
    pub version: i64,
    /// The oldest version of programs that may read it.
    pub oldest_reader: i64,
    /// Its registrations.
    pub registrations: i64,
    /// By interface: `accepted` and every state.
    pub interfaces: Accounts,
    /// Where its evidence ends.
    pub evidence: EvidenceEnd,
}

/// What a ledger holds that another lacks.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Lacking {
    /// Undelivered, by interface and state.
    pub deliveries: Accounts,
    /// Registrations by hospital: those that the other has not, or has as they were before.
    pub registrations: BTreeMap<String, i64>,
    /// Delivered here, and still to be delivered there.
    pub delivered_since: BTreeMap<String, i64>,
    /// Lines of evidence that the other lacks.
    pub evidence_lines: i64,
    /// Whether the other is an earlier state of this one: its evidence is the beginning of ours.
    pub descends: bool,
}

impl Lacking {
    /// Undelivered items and registrations together: what would be lost.
    pub fn total(&self) -> i64 {
        let deliveries = self.deliveries.values().flat_map(BTreeMap::values).sum::<i64>();
        deliveries + self.registrations.values().sum::<i64>()
    }
}

/// A ledger as it stood at one moment, to be read as a file.
pub struct Snapshot {
    // Dropped in this order: a file that is closed takes the process's locks on it along.
    _reader: Connection,
    file: Take<File>,
    bytes: u64,
    facts: Facts,
}

impl Snapshot {
    /// Takes the ledger in `folder` as it stands now, beside a running service.
    pub fn take(folder: &Path) -> Result<Snapshot, LedgerError> {
        let path = folder.join("forepost.db");
        // Opened first: see the order in which the fields are dropped.
        let file = File::open(&path)?;
        let lock = open_existing(&path)?;
        let checkpoint = open_existing(&path)?;
        let reader = open_existing(&path)?;
        for attempt in 0..SNAPSHOT_TRIES_MAX {
            if attempt > 0 {
                std::thread::sleep(Duration::from_millis(SNAPSHOT_PAUSE_MS));
            }
            // Most is copied before the writer has to wait.
            copied_whole(&checkpoint)?;
            lock.execute_batch("BEGIN IMMEDIATE")?;
            let begun = begin_reading(&reader).and_then(|()| copied_whole(&checkpoint));
            lock.execute_batch("ROLLBACK")?;
            if begun? {
                let facts = facts(&reader)?;
                let bytes = pragma(&reader, "page_count")? * pragma(&reader, "page_size")?;
                let bytes = bytes as u64;
                return Ok(Snapshot { _reader: reader, file: file.take(bytes), bytes, facts });
            }
            // Somebody still reads an older state, or copies just now.
            reader.execute_batch("ROLLBACK")?;
        }
        Err(LedgerError::Read { tries: SNAPSHOT_TRIES_MAX })
    }

    /// Its bytes.
    pub fn length(&self) -> u64 {
        self.bytes
    }

    /// What it holds.
    pub fn facts(&self) -> &Facts {
        &self.facts
    }
}

impl Read for Snapshot {
    fn read(&mut self, into: &mut [u8]) -> std::io::Result<usize> {
        self.file.read(into)
    }
}

/// Begins a transaction that sees everything committed so far.
fn begin_reading(reader: &Connection) -> Result<(), LedgerError> {
    reader.execute_batch("BEGIN")?;
    reader.query_row("SELECT count(*) FROM meta", [], |_| Ok(()))?;
    Ok(())
}

/// Copies the log into the database as far as readers allow; whether that was all of it.
fn copied_whole(checkpoint: &Connection) -> Result<bool, LedgerError> {
    let (busy, log, copied): (i64, i64, i64) =
        checkpoint.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| {
            Ok((row.get(0)?, row.get(1)?, row.get(2)?))
        })?;
    Ok(busy == 0 && log == copied)
}

fn open_existing(path: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    connection.busy_timeout(Duration::from_millis(LEDGER_TURN_WAIT_MS))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

fn pragma(connection: &Connection, name: &str) -> Result<i64, LedgerError> {
    Ok(connection.query_row(&format!("PRAGMA {name}"), [], |row| row.get(0))?)
}

fn facts(connection: &Connection) -> Result<Facts, LedgerError> {
    let (version, oldest_reader) = schema::versions(connection)?;
    let registrations =
        connection.query_row("SELECT count(*) FROM registration", [], |row| row.get(0))?;
    let mut interfaces = Accounts::new();
    let mut statement = connection.prepare("SELECT interface, what, count FROM tally")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        interfaces.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
    }
    let end = connection
        .query_row("SELECT id, hash FROM evidence ORDER BY id DESC LIMIT 1", [], |row| {
            Ok(EvidenceEnd { lines: row.get(0)?, hash: row.get(1)? })
        })
        .optional()?;
    let evidence = end.unwrap_or(EvidenceEnd { lines: 0, hash: [0; 32] });
    Ok(Facts { version, oldest_reader, registrations, interfaces, evidence })
}

/// Why a ledger from a backup is not one to go on with.
#[derive(Debug, thiserror::Error)]
pub enum RestoreFault {
    /// SQLite finds it damaged.
    #[error("the ledger in the backup is damaged: {0}")]
    Damaged(String),
    /// The chain of evidence is broken.
    #[error("line {0} of the evidence in the backup does not fit the one before it")]
    Evidence(i64),
    /// Accepted and the sum of all states differ.
    #[error("the ledger in the backup does not account for every delivery of {0}")]
    Accounts(String),
    /// The keys are another ledger's.
    #[error("the keys in the backup do not open its ledger")]
    Keys,
    /// It cannot be read, or a newer Forepost wrote it and says that this one must not.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// Lines of evidence that are checked at a time.
const CHAIN_PAGE: usize = 10_000;

/// Verifies a ledger that came out of a backup, and brings its tables to this version: every page
/// by SQLite, every line of evidence, every account, and that `keys` are its own. Before anything
/// of the machine's is touched.
pub fn verify_restored(folder: &Path, keys: Keys) -> Result<Facts, RestoreFault> {
    let path = folder.join("forepost.db");
    {
        let connection = open_existing(&path)?;
        let said: String = connection
            .query_row("PRAGMA quick_check(1)", [], |row| row.get(0))
            .map_err(|error| RestoreFault::Damaged(error.to_string()))?;
        if said != "ok" {
            return Err(RestoreFault::Damaged(said));
        }
    }
    let ledger = Ledger::open(folder, keys)?;
    let mut number = 0;
    loop {
        let chain = ledger.evidence_behind(number, CHAIN_PAGE)?;
        if let Some(broken) = chain.broken_at() {
            return Err(RestoreFault::Evidence(broken));
        }
        match chain.lines.last() {
            Some(last) => number = last.number,
            None => break,
        }
    }
    if let Some(odd) = ledger.tallies_recounted()?.into_iter().find(|one| !one.holds()) {
        return Err(RestoreFault::Accounts(odd.interface));
    }
    if !ledger.opens_its_rows()? {
        return Err(RestoreFault::Keys);
    }
    let found = ledger.read(facts)?;
    ledger.close();
    Ok(found)
}

/// What the ledger in `here` holds and the one in `there` lacks. Nobody else may have either open.
pub fn lacking(here: &Path, there: &Path) -> Result<Lacking, LedgerError> {
    let connection = open_existing(&here.join("forepost.db"))?;
    let other = there.join("forepost.db").display().to_string();
    connection.execute("ATTACH ?1 AS there", [other])?;
    let mut found = Lacking::default();
    group(
        &connection,
        "SELECT r.hospital, count(*) FROM main.registration r
         WHERE NOT EXISTS(SELECT 1 FROM there.registration t
           WHERE t.hospital = r.hospital AND t.visit = r.visit AND t.updated_at >= r.updated_at)
         GROUP BY 1",
        &mut found.registrations,
    )?;
    // A ledger of the first version delivers nothing.
    if !has_table(&connection, "delivery")? {
        return Ok(found);
    }
    let mut statement = connection.prepare(
        "SELECT d.interface, d.state, count(*) FROM main.delivery d
         WHERE d.state IN ('waiting', 'in flight', 'parked')
           AND NOT EXISTS(SELECT 1 FROM there.delivery t WHERE t.identity = d.identity
             AND t.digest = d.digest AND t.state NOT IN ('replaced', 'written off'))
         GROUP BY 1, 2",
    )?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        found.deliveries.entry(row.get(0)?).or_default().insert(row.get(1)?, row.get(2)?);
    }
    group(
        &connection,
        "SELECT d.interface, count(*) FROM main.delivery d
         WHERE d.state = 'delivered' AND EXISTS(SELECT 1 FROM there.delivery t
           WHERE t.identity = d.identity AND t.digest = d.digest
             AND t.state IN ('waiting', 'in flight', 'parked'))
         GROUP BY 1",
        &mut found.delivered_since,
    )?;
    let last = |schema: &str| -> Result<(i64, Option<[u8; 32]>), LedgerError> {
        let sql = format!("SELECT id, hash FROM {schema}.evidence ORDER BY id DESC LIMIT 1");
        let row = connection.query_row(&sql, [], |row| Ok((row.get(0)?, Some(row.get(1)?))));
        Ok(row.optional()?.unwrap_or((0, None)))
    };
    let (ours, (number, theirs)) = (last("main")?.0, last("there")?);
    let same: Option<[u8; 32]> = connection
        .query_row("SELECT hash FROM main.evidence WHERE id = ?1", [number], |row| row.get(0))
        .optional()?;
    found.descends = same == theirs;
    found.evidence_lines = if found.descends { ours - number } else { ours };
    Ok(found)
}

fn has_table(connection: &Connection, name: &str) -> Result<bool, LedgerError> {
    let sql = "SELECT count(*) FROM main.sqlite_schema WHERE type = 'table' AND name = ?1";
    Ok(connection.query_row(sql, [name], |row| row.get::<_, i64>(0))? > 0)
}

fn group(
    connection: &Connection,
    sql: &str,
    into: &mut BTreeMap<String, i64>,
) -> Result<(), LedgerError> {
    let mut statement = connection.prepare(sql)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        into.insert(row.get(0)?, row.get(1)?);
    }
    Ok(())
}

/// What a restored ledger is told of itself.
#[derive(Debug, Clone)]
pub struct Restored {
    /// The backup's file.
    pub file: String,
    /// The moment of which it is.
    pub taken_at: Time,
    /// Who restores.
    pub by: String,
}

impl Ledger {
    /// Takes up a ledger that was restored. What waited when the backup was taken may have been
    /// delivered since, by the machine that the backup is of: of an interface for which `parks`
    /// says so, a person must ask; the others' receivers take the same thing twice. What was in
    /// flight is settled by the next start, which asks the same question. Gives how many were
    /// parked.
    pub async fn take_up_restored(
        &self,
        restored: Restored,
        parks: impl Fn(&str) -> bool + Send + 'static,
        now: Time,
    ) -> Result<usize, LedgerError> {
        self.commit(move |writing| take_up(writing, &restored, parks, now)).await
    }

    /// Keeps what became of a backup; the oldest go.
    pub async fn note_backup(&self, noted: BackupNoted) -> Result<(), LedgerError> {
        self.commit(move |writing| {
            let connection = writing.connection;
            connection
                .prepare_cached(
                    "INSERT INTO backup(began_at, ended_at, folder, file, bytes, digest, fault)
                     VALUES(?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                )?
                .execute(params![
                    noted.began_at.0,
                    noted.ended_at.0,
                    noted.folder,
                    noted.file,
                    noted.bytes as i64,
                    noted.digest,
                    noted.fault
                ])?;
            // The last good one is told of, however many have failed since.
            connection
                .prepare_cached(
                    "DELETE FROM backup WHERE id <= (SELECT max(id) FROM backup) - ?1
                       AND id <> (SELECT coalesce(max(id), 0) FROM backup WHERE fault = '')",
                )?
                .execute([BACKUPS_REMEMBERED])?;
            if !noted.fault.is_empty() {
                schema::count(connection, FAILURES)?;
            }
            Ok(())
        })
        .await
    }

    /// The last backups that were made or tried, the newest first. None of a ledger that the
    /// service, not yet restarted, still keeps in an older format.
    pub fn backups(&self) -> Result<Vec<BackupNoted>, LedgerError> {
        self.read(|connection| {
            if !has_table(connection, "backup")? {
                return Ok(Vec::new());
            }
            let mut statement = connection.prepare_cached(
                "SELECT began_at, ended_at, folder, file, bytes, digest, fault FROM backup
                 ORDER BY id DESC",
            )?;
            let rows = statement.query_map([], |row| {
                Ok(BackupNoted {
                    began_at: Time(row.get(0)?),
                    ended_at: Time(row.get(1)?),
                    folder: row.get(2)?,
                    file: row.get(3)?,
                    bytes: row.get::<_, i64>(4)? as u64,
                    digest: row.get(5)?,
                    fault: row.get(6)?,
                })
            })?;
            Ok(rows.collect::<Result<_, _>>()?)
        })
    }

    /// When the last backup was made, and how many have ever failed.
    pub fn backup_figures(&self) -> Result<(Option<Time>, u64), LedgerError> {
        self.read(|connection| {
            let last: Option<i64> = connection
                .prepare_cached("SELECT max(ended_at) FROM backup WHERE fault = ''")?
                .query_row([], |row| row.get(0))?;
            let failures = schema::meta(connection, FAILURES)?.unwrap_or(0);
            Ok((last.map(Time), failures as u64))
        })
    }

    /// Whether these keys open the newest sealed row of each kind.
    fn opens_its_rows(&self) -> Result<bool, LedgerError> {
        self.read(|connection| {
            for (column, sql) in [
                (
                    "registration.sealed",
                    "SELECT id, sealed FROM registration ORDER BY id DESC LIMIT 1",
                ),
                (
                    "delivery.body",
                    "SELECT id, body FROM delivery WHERE length(body) > 0 ORDER BY id DESC LIMIT 1",
                ),
            ] {
                let row = connection
                    .query_row(sql, [], |row| Ok((row.get::<_, i64>(0)?, row.get(1)?)))
                    .optional()?;
                let opens =
                    |(id, sealed): (i64, Vec<u8>)| self.keys().open(column, id, &sealed).is_ok();
                if !row.is_none_or(opens) {
                    return Ok(false);
                }
            }
            Ok(true)
        })
    }
}

fn take_up(
    writing: &Writing<'_>,
    restored: &Restored,
    parks: impl Fn(&str) -> bool,
    now: Time,
) -> Result<usize, LedgerError> {
    let connection = writing.connection;
    let detail = json!({
        "file": restored.file, "taken_at": restored.taken_at.0, "by": restored.by,
    });
    evidence::add(connection, None, "restored", &detail, now)?;
    let told = format!("{} of {}", restored.file, restored.taken_at.0);
    audit::record_decision(connection, "restored", &restored.by, &told, now)?;
    let mut waiting = connection
        .prepare("SELECT id, interface FROM delivery WHERE state = 'waiting' ORDER BY id")?;
    let rows = waiting.query_map([], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let rows: Vec<(i64, String)> = rows.collect::<Result<_, _>>()?;
    let mut parked = 0;
    for (id, interface) in rows.into_iter().filter(|(_, interface)| parks(interface)) {
        log::info!(delivery = id, interface = interface.as_str(); "parked: restored from a backup");
        connection
            .prepare_cached("UPDATE delivery SET state = ?2, fault = ?3 WHERE id = ?1")?
            .execute(params![id, DeliveryState::Parked.name(), IN_DOUBT])?;
        evidence::add(connection, Some(id), "parked", &json!({ "fault": IN_DOUBT }), now)?;
        parked += 1;
    }
    // It has waited long enough: how the destination was at the backup's time says nothing now.
    connection
        .prepare_cached(
            "UPDATE delivery SET next_at = ?1 WHERE state = 'waiting' AND next_at > ?1",
        )?
        .execute([now.0])?;
    Ok(parked)
}

/// Why a delivery that waited is parked when its ledger was restored.
const IN_DOUBT: &str = "restored from a backup: it may have been delivered since the backup was \
                        taken; ask the destination, then retry or write it off";
