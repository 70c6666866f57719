//! The one thread that writes: group commit.
//!
//! It takes what is waiting, runs each job in a savepoint of its own, commits once, and only then
//! lets the answers go. Under load a commit carries as many jobs as arrived during the one before
//! it, so the rate follows the load and not the disk's sync time. Where more wait than one commit
//! carries, answers that somebody waits for go first; the flows' own work keeps a share of each
//! commit, so that it is never starved.

use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::Duration;

use rusqlite::{Connection, ErrorCode};
use tokio::sync::oneshot;

use super::queue::{Queue, Turn};
use super::{LedgerError, make_private_folder, sync_folder};
use crate::limits::{
    LEDGER_CHECKPOINT_PAGES, LEDGER_INSIST_MS, LEDGER_LOG_BYTES, LEDGER_RESERVE_BYTES,
    LEDGER_RESERVE_ROOM_BYTES,
};
use crate::seal::Keys;

/// `SQLITE_IOERR_FSYNC` and `SQLITE_IOERR_DIR_FSYNC` (sqlite.org/rescode.html).
const SYNC_FAILURES: [i32; 2] = [1034, 1290];

/// Milliseconds between looks at the size of the write-ahead log.
const CHECKPOINT_EVERY: Duration = Duration::from_millis(500);

/// What a job works with.
pub(super) struct Writing<'a> {
    pub connection: &'a Connection,
    pub keys: &'a Keys,
    /// The next free registration id: known before the row is written, because the row's sealed
    /// columns carry it.
    pub next_registration: &'a mut i64,
    /// This boot, while the clock is not believed.
    pub untrusted_boot: Option<String>,
}

/// Called once the fate of the job's commit is known.
type Answer = Box<dyn FnOnce(Result<(), LedgerError>) + Send>;
/// Given the writer, or the reason why there is none; says whether its savepoint is kept.
type Job = Box<dyn FnOnce(Result<&mut Writing<'_>, LedgerError>) -> (bool, Answer) + Send>;

pub(super) struct Writer {
    queue: Arc<Queue<Job>>,
    untrusted_boot: Arc<Mutex<Option<String>>>,
    threads: Mutex<Vec<JoinHandle<()>>>,
}

impl Writer {
    pub fn start(
        connection: Connection,
        file: &Path,
        keys: Arc<Keys>,
    ) -> Result<Writer, LedgerError> {
        let queue = Arc::new(Queue::open());
        let untrusted_boot: Arc<Mutex<Option<String>>> = Arc::default();
        let (ended, end) = std::sync::mpsc::channel::<()>();
        let checkpoints = open_checkpointer(file)?;
        let folder = file.parent().map(Path::to_owned).unwrap_or_default();
        let next_registration = connection.query_row(
            "SELECT coalesce(max(id), 0) + 1 FROM registration",
            [],
            |row| row.get(0),
        )?;
        let thread = Thread {
            connection,
            keys,
            queue: Arc::clone(&queue),
            folder,
            next_registration,
            untrusted_boot: Arc::clone(&untrusted_boot),
        };
        let write = std::thread::Builder::new().name("ledger".into()).spawn(move || {
            thread.run();
            drop(ended);
        })?;
        let checkpoint = std::thread::Builder::new()
            .name("ledger-checkpoint".into())
            .spawn(move || checkpoint_until(&checkpoints, &end))?;
        Ok(Writer { queue, untrusted_boot, threads: Mutex::new(vec![write, checkpoint]) })
    }

    /// A writer that takes nothing, for a ledger that is only read.
    pub fn none() -> Writer {
        Writer {
            queue: Arc::new(Queue::closed()),
            untrusted_boot: Arc::default(),
            threads: Mutex::default(),
        }
    }

    pub async fn commit<T: Send + 'static>(
        &self,
        turn: Turn,
        job: impl FnOnce(&mut Writing<'_>) -> Result<T, LedgerError> + Send + 'static,
    ) -> Result<T, LedgerError> {
        let (answer, wait) = oneshot::channel();
        let boxed: Job = Box::new(move |writing| {
            let result = writing.and_then(job);
            let keep = result.is_ok();
            let answer: Answer = Box::new(move |committed| {
                // Nobody waits any more when the caller hung up; the commit stands all the same.
                let _ = answer.send(committed.and(result));
            });
            (keep, answer)
        });
        self.queue.push(turn, boxed)?;
        wait.await.unwrap_or(Err(LedgerError::Closed))
    }

    pub fn waiting(&self) -> usize {
        self.queue.waiting()
    }

    pub fn accept_under(&self, boot: Option<String>) {
        *self.untrusted_boot.lock().expect("held for a copy only") = boot;
    }

    pub fn close(&self) {
        self.queue.close();
        let threads = std::mem::take(&mut *self.threads.lock().expect("held for a take only"));
        for thread in threads {
            if thread.join().is_err() {
                log::error!("a thread of the ledger panicked");
            }
        }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.close();
    }
}

struct Thread {
    connection: Connection,
    keys: Arc<Keys>,
    queue: Arc<Queue<Job>>,
    folder: PathBuf,
    next_registration: i64,
    untrusted_boot: Arc<Mutex<Option<String>>>,
}

impl Drop for Thread {
    /// Also when a job panicked: an answer that never comes is worse than none.
    fn drop(&mut self) {
        self.queue.abandon();
    }
}

impl Thread {
    fn run(mut self) {
        while let Some(jobs) = self.queue.take() {
            metrics::histogram!("ledger_commit_jobs").record(jobs.len() as f64);
            let (answers, committed) = self.commit(jobs);
            if let Err(error) = &committed {
                self.after_failure(error);
            }
            for answer in answers {
                answer(committed.clone());
            }
        }
    }

    /// One transaction around all jobs. A failure of `COMMIT` fails every one of them.
    fn commit(&mut self, jobs: Vec<Job>) -> (Vec<Answer>, Result<(), LedgerError>) {
        let mut answers = Vec::with_capacity(jobs.len());
        if let Err(error) = self.execute("BEGIN IMMEDIATE") {
            answers.extend(jobs.into_iter().map(|job| refuse(job, &error)));
            return (answers, Err(error));
        }
        let mut broken = None;
        for job in jobs {
            if let Some(error) = &broken {
                answers.push(refuse(job, error));
                continue;
            }
            match self.run_one(job) {
                Ok(answer) => answers.push(answer),
                Err((answer, error)) => {
                    answers.push(answer);
                    broken = Some(error);
                }
            }
        }
        let committed = match broken {
            None => self.execute("COMMIT"),
            Some(error) => Err(error),
        };
        if committed.is_err() && !self.connection.is_autocommit() {
            // A failed COMMIT may have rolled back already; what is left must not stay open.
            let _ = self.execute("ROLLBACK");
        }
        (answers, committed)
    }

    fn run_one(&mut self, job: Job) -> Result<Answer, (Answer, LedgerError)> {
        if let Err(error) = self.execute("SAVEPOINT job") {
            return Err((refuse(job, &error), error));
        }
        let mut writing = Writing {
            connection: &self.connection,
            keys: &self.keys,
            next_registration: &mut self.next_registration,
            untrusted_boot: self.untrusted_boot.lock().expect("held for a copy only").clone(),
        };
        let (keep, answer) = job(Ok(&mut writing));
        // A full disk or a failed write ends the whole transaction inside SQLite.
        if self.connection.is_autocommit() {
            return Err((answer, LedgerError::DiskFull));
        }
        let undone = if keep { Ok(()) } else { self.execute("ROLLBACK TO job") };
        match undone.and_then(|()| self.execute("RELEASE job")) {
            Ok(()) => Ok(answer),
            Err(error) => Err((answer, error)),
        }
    }

    fn execute(&self, sql: &str) -> Result<(), LedgerError> {
        self.connection.prepare_cached(sql)?.execute([])?;
        Ok(())
    }

    fn after_failure(&self, error: &LedgerError) {
        metrics::counter!("ledger_commits_failed_total").increment(1);
        log::error!("commit failed: {error}");
        match error {
            LedgerError::Sql(sql) if is_sync_failure(sql) => {
                log::error!("a sync failed; the process ends so that a start reads the truth");
                std::process::abort();
            }
            LedgerError::DiskFull => {
                // The reserve gives a person room to repair; it is made again when there is much.
                let _ = std::fs::remove_file(self.folder.join("reserve"));
            }
            _ => {}
        }
    }
}

/// Answers a job that never ran with the fate of its batch.
fn refuse(job: Job, error: &LedgerError) -> Answer {
    job(Err(error.clone())).1
}

fn is_sync_failure(error: &rusqlite::Error) -> bool {
    match error {
        rusqlite::Error::SqliteFailure(failure, _) => {
            failure.code == ErrorCode::SystemIoFailure
                && SYNC_FAILURES.contains(&failure.extended_code)
        }
        _ => false,
    }
}

fn open_checkpointer(file: &Path) -> Result<Connection, LedgerError> {
    let connection = Connection::open(file)?;
    connection.busy_timeout(Duration::from_millis(LEDGER_INSIST_MS))?;
    connection.pragma_update(None, "wal_autocheckpoint", 0)?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    Ok(connection)
}

/// Copies the log into the database when it is long, beside the writer. When readers and writers
/// never pause, the log cannot be started over from outside; past [`LEDGER_LOG_BYTES`] the
/// checkpoint insists (RESTART) and the writer waits for it once, [`LEDGER_INSIST_MS`] at most. It
/// does not insist while somebody reads an old state, a backup or a long list: the writer would
/// wait in vain, every time.
fn checkpoint_until(connection: &Connection, end: &std::sync::mpsc::Receiver<()>) {
    let mut copied = 0;
    let mut told = false;
    let folder = Path::new(connection.path().unwrap_or_default()).parent();
    let folder = folder.map(Path::to_owned).unwrap_or_default();
    while let Err(std::sync::mpsc::RecvTimeoutError::Timeout) = end.recv_timeout(CHECKPOINT_EVERY) {
        renew_reserve(&folder);
        let bytes = std::fs::metadata(wal_of(connection)).map_or(0, |m| m.len() as i64);
        if bytes < LEDGER_CHECKPOINT_PAGES * 4_096 || bytes == copied {
            continue;
        }
        let held = match checkpoint(connection, "PASSIVE") {
            Ok(left) => left > LEDGER_CHECKPOINT_PAGES,
            Err(error) => {
                log::warn!("checkpoint: {error}");
                continue;
            }
        };
        copied = bytes;
        let is_long = bytes > LEDGER_LOG_BYTES;
        if is_long
            && !held
            && let Err(error) = checkpoint(connection, "RESTART")
        {
            log::warn!("checkpoint: {error}");
        }
        // Once a reader, not twice a second.
        if is_long && held && !told {
            log::info!(bytes;
                "the ledger's log grows while somebody reads: a backup, or a long list");
        }
        told = is_long && held;
    }
}

/// Copies the log; gives how many of its pages are left because somebody reads what is older.
fn checkpoint(connection: &Connection, mode: &str) -> Result<i64, rusqlite::Error> {
    let sql = format!("PRAGMA wal_checkpoint({mode})");
    connection.query_row(&sql, [], |row| Ok(row.get::<_, i64>(1)? - row.get::<_, i64>(2)?))
}

/// Makes the reserve again once somebody has made room for it and far more.
fn renew_reserve(folder: &Path) {
    let missing = !folder.join("reserve").exists();
    if missing && free_bytes(folder) >= LEDGER_RESERVE_ROOM_BYTES {
        match keep_reserve(folder) {
            Ok(()) => log::info!("the ledger's reserve is there again"),
            Err(error) => log::warn!("making the ledger's reserve again: {error}"),
        }
    }
}

/// Bytes that are free for us on the disk of `folder`; 0 where it does not tell.
fn free_bytes(folder: &Path) -> u64 {
    let Ok(folder) = std::fs::File::open(folder) else { return 0 };
    // SAFETY: zeroes are a valid `statvfs`, which holds numbers only.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the life of `folder`; `told` outlives the call.
    let failed = unsafe { libc::fstatvfs(folder.as_raw_fd(), &mut told) } != 0;
    if failed { 0 } else { told.f_bavail.saturating_mul(told.f_frsize) }
}

fn wal_of(connection: &Connection) -> String {
    format!("{}-wal", connection.path().unwrap_or_default())
}

/// Makes the reserve file where it is missing and there is room for it.
pub(super) fn keep_reserve(folder: &Path) -> Result<(), std::io::Error> {
    make_private_folder(folder)?;
    let path = folder.join("reserve");
    if path.metadata().is_ok_and(|found| found.len() == LEDGER_RESERVE_BYTES) {
        return Ok(());
    }
    let file = std::fs::File::create(&path)?;
    let zeros = vec![0; 1024 * 1024];
    for _ in 0..LEDGER_RESERVE_BYTES / zeros.len() as u64 {
        if std::io::Write::write_all(&mut &file, &zeros).is_err() {
            log::warn!("no room for the ledger's reserve of {LEDGER_RESERVE_BYTES} bytes");
            drop(file);
            return std::fs::remove_file(&path);
        }
    }
    file.sync_all()?;
    sync_folder(folder)
}
