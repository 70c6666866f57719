//! The disk of record: what was accepted, what is planned, what was done and who looked.
//!
//! For: everything that must be there after a power cut. Always holds: success leaves
//! [`Ledger::commit`] only after the sync that makes it durable (`synchronous=FULL`, one
//! `fsync` of the write-ahead log a commit); no write bypasses the one writer thread; a job that
//! fails undoes itself alone (a savepoint each), never its neighbours; personal columns and bodies
//! are sealed with their row id. On disk: `<folder>/forepost.db` with `-wal` and `-shm`, and
//! `<folder>/reserve`, which is given up when the disk is full so that repair has room. A failed
//! sync ends the process: what the kernel did with the pages is unknown, and only a fresh start
//! reads the truth. Refused: sled, whose flush does not sync; a write from a door's own
//! connection, which would wait behind the writer under `SQLITE_BUSY`; SQLite's automatic
//! checkpoint, which makes one unlucky sender wait for it. Start at `writer.rs`, then
//! `registrations.rs`; the files of keys, the ledger's and the hospital's, are in `keys.rs` and
//! `sm2_keys.rs`.

mod audit;
mod backup;
mod counts;
mod deliveries;
mod departments;
mod dictionaries;
mod evictions;
mod evidence;
mod fetches;
mod inspection;
mod keys;
mod links;
mod mappings;
mod notices;
mod ordered;
mod plans;
mod pushed;
mod queue;
mod readers;
mod registrations;
mod schema;
mod sessions;
mod settlements;
mod sm2_keys;
mod stored;
mod views;
mod writer;

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use rusqlite::{Connection, OpenFlags};

use crate::fault::Fault;
use crate::limits::LEDGER_READERS_MAX;
use crate::seal::{Keys, SealFault};

pub use audit::{Access, AccessKind, Deed, Deeds};
pub use backup::{
    Accounts, BackupNoted, EvidenceEnd, Facts, Lacking, RestoreFault, Restored, Snapshot, lacking,
    verify_restored,
};
pub use deliveries::{
    AttemptShown, Attempted, ClaimedDelivery, CutOff, Decided, Decision, DeliveryShown, Enqueued,
    OnTime, Tally,
};
pub use departments::{DepartmentMapping, DepartmentRefusal, UnlistedDepartment, key_of};
pub use dictionaries::{CopyShown, DictionaryShown, NewCopy};
pub use evictions::Footing;
pub use evidence::{Chain, Evidence};
pub use fetches::{ClaimedFetch, FetchEnd, Judged, Want};
pub use inspection::FileCheck;
pub use keys::{
    KeyFault, has as has_keys, load_or_make as load_or_make_keys, read as read_keys,
    text as keys_text,
};
pub use links::{LinkFault, Linked};
pub use mappings::{MappingShown, StandardCode};
pub use notices::{NewNotice, Notice, NoticeFigures, Reason};
pub use ordered::{Call, Ordered};
pub use plans::{
    ClaimedPlan, Considered, FetchShown, PlanShown, SearchEnd, SearchShown, Settled, StudyShown,
};
pub use pushed::{Awaited, Push, PushEnd, UnmatchedShown};
use queue::Turn;
pub use registrations::{Arriving, LinkedStudy, Registered, Waiting};
pub use sessions::{Digest, Session};
pub use settlements::KeptSettlement;
pub use sm2_keys::{NamedSm2Key, Sm2KeyFault, load_sm2_keys, make_sm2_key};
pub use views::{ParkedRow, ParkedShown, ViewPoll, ViewShown};
use writer::Writer;

/// What the ledger answers when it cannot do what was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum LedgerError {
    /// The folder could not be prepared.
    #[error("ledger folder: {0}")]
    Folder(Arc<std::io::Error>),
    /// SQLite refused a statement.
    #[error("ledger: {0}")]
    Sql(Arc<rusqlite::Error>),
    /// No room on the disk; the reserve has been given up.
    #[error("ledger: disk full")]
    DiskFull,
    /// The writer's queue is full.
    #[error("ledger: more than {limit} jobs wait")]
    Overloaded {
        /// [`crate::limits::LEDGER_JOBS_MAX`].
        limit: usize,
    },
    /// The writer has ended; the process is stopping.
    #[error("ledger: closed")]
    Closed,
    /// A newer Forepost wrote this ledger and says that this one must not.
    #[error(
        "ledger is of version {found}, which needs at least reader {oldest_reader}; this is {ours}"
    )]
    Newer {
        /// The version found.
        found: i64,
        /// The oldest version that may read it.
        oldest_reader: i64,
        /// This program's version.
        ours: i64,
    },
    /// An older version's tables, of a service that still runs: a verb changes none.
    #[error(
        "ledger is of version {found}, this program writes version {ours}: restart the service \
         first, which brings the ledger to it"
    )]
    Other {
        /// The version found.
        found: i64,
        /// This program's version.
        ours: i64,
    },
    /// An older state of it is read all the time.
    #[error(
        "ledger: for {tries} tries another process was reading an older state of it; end the verb \
         that reads for so long, or try again later"
    )]
    Read {
        /// How often it was tried.
        tries: u32,
    },
    /// A sealed value did not open.
    #[error("ledger: {0}")]
    Seal(#[from] SealFault),
    /// A stored value is not what this version writes.
    #[error("ledger: stored {what} is unreadable")]
    Unreadable {
        /// The column.
        what: &'static str,
    },
}

impl From<rusqlite::Error> for LedgerError {
    fn from(error: rusqlite::Error) -> LedgerError {
        match error.sqlite_error_code() {
            Some(rusqlite::ErrorCode::DiskFull) => LedgerError::DiskFull,
            _ => LedgerError::Sql(Arc::new(error)),
        }
    }
}

impl From<std::io::Error> for LedgerError {
    fn from(error: std::io::Error) -> LedgerError {
        LedgerError::Folder(Arc::new(error))
    }
}

impl From<LedgerError> for Fault {
    fn from(error: LedgerError) -> Fault {
        Fault::ours("ledger", error.to_string())
    }
}

/// The ledger. Cheap to clone; the last clone that is dropped closes it.
#[derive(Clone)]
pub struct Ledger {
    shared: Arc<Shared>,
}

struct Shared {
    writer: Writer,
    file: PathBuf,
    keys: Arc<Keys>,
    readers: Mutex<Vec<Connection>>,
}

impl Ledger {
    /// Opens or makes the ledger in `folder` and brings its tables to this version.
    pub fn open(folder: &Path, keys: Keys) -> Result<Ledger, LedgerError> {
        Ledger::open_with(folder, keys, "FULL", 0)
    }

    fn open_with(
        folder: &Path,
        keys: Keys,
        synchronous: &str,
        checkpoint_pages: i64,
    ) -> Result<Ledger, LedgerError> {
        make_private_folder(folder)?;
        let file = folder.join("forepost.db");
        let mut connection = Connection::open(&file)?;
        schema::prepare(&connection)?;
        schema::syncs(&connection, synchronous, checkpoint_pages)?;
        schema::migrate(&mut connection)?;
        sync_folder(folder)?;
        writer::keep_reserve(folder)?;
        let keys = Arc::new(keys);
        let writer = Writer::start(connection, &file, Arc::clone(&keys))?;
        Ok(Ledger { shared: Arc::new(Shared { writer, file, keys, readers: Mutex::default() }) })
    }

    /// The same without syncing, for simulated time: what a power cut would lose is nobody's.
    pub fn open_unsynced(folder: &Path, keys: Keys) -> Result<Ledger, LedgerError> {
        Ledger::open_with(folder, keys, "OFF", 1_000)
    }

    /// Opens an existing ledger for reading beside a running service (`plans list`).
    pub fn open_to_read(folder: &Path, keys: Keys) -> Result<Ledger, LedgerError> {
        let file = folder.join("forepost.db");
        let connection = open_reader(&file)?;
        schema::check_readable(&connection)?;
        let shared = Shared {
            writer: Writer::none(),
            file,
            keys: Arc::new(keys),
            readers: Mutex::new(vec![connection]),
        };
        Ok(Ledger { shared: Arc::new(shared) })
    }

    /// Opens an existing ledger for a verb that decides something, beside a running service or
    /// without one (docs/decisions/0003-verbs-write-beside-the-service.md). Nothing is made and
    /// nothing migrated. SQLite's lock lets one of the two writers through at a time; each waits.
    pub fn open_beside(folder: &Path, keys: Keys) -> Result<Ledger, LedgerError> {
        let file = folder.join("forepost.db");
        let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&file, flags)?;
        schema::prepare(&connection)?;
        schema::syncs(&connection, "FULL", 0)?;
        schema::check_same(&connection)?;
        let keys = Arc::new(keys);
        let writer = Writer::start(connection, &file, Arc::clone(&keys))?;
        Ok(Ledger { shared: Arc::new(Shared { writer, file, keys, readers: Mutex::default() }) })
    }

    /// Jobs that wait for the writer, for the metric.
    pub fn waiting(&self) -> usize {
        self.shared.writer.waiting()
    }

    /// Whether a commit reaches the disk now: writes a row of its own and waits for it.
    pub async fn probe(&self) -> Result<(), LedgerError> {
        self.commit(|writing| schema::touch(writing.connection)).await
    }

    /// The last moment that was written down; `None` in an empty ledger.
    pub fn last_moment(&self) -> Result<Option<crate::model::Time>, LedgerError> {
        self.read(schema::last_moment)
    }

    /// Ends the writer after what it has taken; returns when its connection is closed.
    pub fn close(&self) {
        self.shared.writer.close();
    }

    /// The same as [`Ledger::commit`] for an answer that somebody waits for: it goes before the
    /// flows' own work.
    async fn commit_first<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut writer::Writing<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.shared.writer.commit(Turn::First, job).await
    }

    /// Hands `job` to the writer and waits until its commit is on the disk.
    async fn commit<T: Send + 'static>(
        &self,
        job: impl FnOnce(&mut writer::Writing<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        self.shared.writer.commit(Turn::Later, job).await
    }

    /// Runs `read` on a connection of its own. Short: a reader holds back the checkpoint.
    fn read<T>(
        &self,
        read: impl FnOnce(&Connection) -> Result<T, LedgerError>,
    ) -> Result<T, LedgerError> {
        let pooled = self.readers().pop();
        let connection = match pooled {
            Some(connection) => connection,
            None => open_reader(&self.shared.file)?,
        };
        let result = read(&connection);
        let mut readers = self.readers();
        if readers.len() < LEDGER_READERS_MAX {
            readers.push(connection);
        }
        result
    }

    fn readers(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.shared.readers.lock().expect("no reader panics while it holds the pool")
    }

    fn keys(&self) -> &Keys {
        &self.shared.keys
    }
}

fn open_reader(file: &Path) -> Result<Connection, LedgerError> {
    let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(file, flags)?;
    connection.busy_timeout(std::time::Duration::from_secs(5))?;
    connection.set_prepared_statement_cache_capacity(64);
    Ok(connection)
}

/// Makes `folder` readable by its owner only; it may be there already.
fn make_private_folder(folder: &Path) -> Result<(), std::io::Error> {
    use std::os::unix::fs::{DirBuilderExt, PermissionsExt};
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
    std::fs::set_permissions(folder, std::fs::Permissions::from_mode(0o700))
}

fn sync_folder(folder: &Path) -> Result<(), std::io::Error> {
    std::fs::File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests;
