//! Hospital databases, where a vendor offers views instead of calls.
//!
//! For: every interface of the documents that is a view (`View_Register_Info` and its like). A
//! view has no time of change, so all of it is read again and again, and a keyed hash of each row
//! tells what is new. Always holds: a vendor's driver runs in a process of its own, with a limit
//! on its silence and its memory; one database has one connection, which only reads; a row's hash
//! is written after what was made of the row, so a crash hands a row over twice and never not at
//! all (takers are idempotent); a poll that did not end whole forgets nothing; a row that cannot
//! be read is parked, sealed, and the others go on. On disk: the ledger's `polled_view`,
//! `view_row`, `view_parked`. Refused: drivers in the daemon, which a vendor's bug would end; a
//! trigger or a table of changes in the hospital's database, which nobody may write; knowing what
//! a row is good for, which is its taker's business. Start reading at `poll.rs`, then [`Taker`].

mod child;
mod columns;
mod inspect;
mod known;
mod limits;
mod options;
mod poll;
pub mod reader;
mod schedule;
mod statement;
mod takers;
mod wire;
mod words;

use std::future::Future;
use std::path::PathBuf;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::catalog::{Overlay, Record};
use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::model::{Time, UtcOffset};
use poll::Poll;

pub use child::ReaderPlace;
pub use inspect::{Inspected, connect, inspect, look};
pub use limits::{INTERVAL_SECONDS, STATEMENT_SECONDS};
pub use options::{DatabaseOptions, DateRange, Served, ViewOptions, addresses};
pub use schedule::Window;
pub use statement::{is_condition, is_date_format};
pub use takers::{Dictionaries, Registrations, Settled, register_push};
pub use wire::Charset;

/// What a taker does, in a box because takers of several kinds stand in one list.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// Who makes something of the rows of an interface's views.
pub trait Taker: Send + Sync {
    /// Which rows it gets.
    fn takes(&self) -> Takes;

    /// Makes something of these rows and returns when it is on the disk: one end for each row, in
    /// their order. The same row may come again after a crash. A fault ends the poll, and the rows
    /// come again with the next one.
    fn take<'a>(&'a self, rows: Vec<CheckedRow>, polled: Polled) -> Work<'a, Vec<RowEnd>>;
}

/// Which rows a taker gets.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// New and changed rows, some hundred at a time, while the poll goes on.
    Changes,
    /// All rows at once, when a poll has ended whole; bounded, for dictionaries.
    Whole,
}

/// A row that the catalogue let through.
#[derive(Debug, Clone)]
pub struct CheckedRow {
    /// What was read of it.
    pub record: Record,
    /// The row as a JSON object of the catalogue's names, for who keeps it as it came.
    pub body: Bytes,
}

/// The poll that rows come from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Polled {
    /// When it began.
    pub began: Time,
    /// When the last whole poll before it ended; `None` for the first.
    pub previous_whole: Option<Time>,
    /// There was no whole poll before it, or it came more than an interval late: a row that is new
    /// may have been in the view for long.
    pub was_down: bool,
    /// Rows of this poll so far that could not be read, those of earlier polls among them. What
    /// is missing from a whole dictionary may be one of these.
    pub unreadable: u64,
}

/// What became of a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RowEnd {
    /// It is on the disk.
    Taken,
    /// Nothing can be made of it, and why; names no value. It is parked.
    Unreadable(String),
}

/// What the door is built with.
pub struct Parts {
    /// The disk of record.
    pub ledger: Ledger,
    /// The databases.
    pub databases: Vec<DatabaseOptions>,
    /// The views with who takes their rows.
    pub views: Vec<(ViewOptions, Arc<dyn Taker>)>,
    /// The hospitals served.
    pub hospitals: Vec<Served>,
    /// The site's changes to the rules.
    pub overlay: Overlay,
    /// The hospitals' wall clock.
    pub offset: UtcOffset,
    /// The machine's clock.
    pub clock: fn() -> Time,
    /// Where readers are had.
    pub reader: ReaderPlace,
}

/// Set by the service's unit: the socket of the service that reads.
const READER_VARIABLE: &str = "FOREPOST_VIEWS_READER";

/// Where this process has its readers: where its unit says, else each is a child of this program,
/// also after its file was replaced by an update.
pub fn reader_place() -> ReaderPlace {
    match std::env::var_os(READER_VARIABLE) {
        Some(socket) => ReaderPlace::Socket(PathBuf::from(socket)),
        None => ReaderPlace::Program(PathBuf::from("/proc/self/exe")),
    }
}

/// Polls every view until told to stop: one task a database, one connection at a time.
pub struct Views {
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl Views {
    /// Begins to poll.
    pub fn start(parts: Parts) -> Views {
        let (stop, tasks) = (CancellationToken::new(), TaskTracker::new());
        let parts = Arc::new(parts);
        for at in 0..parts.databases.len() {
            let (parts, stop) = (Arc::clone(&parts), stop.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = stop.cancelled() => {}
                    () = poll_database(&parts, at) => {}
                }
            });
        }
        tasks.close();
        Views { stop, tasks }
    }

    /// Ends every poll where it stands; its reader is killed. What was taken is known, the rest
    /// comes with the next start.
    pub async fn stop(self) {
        self.stop.cancel();
        self.tasks.wait().await;
    }
}

/// Polls the views of one database in turn, each when it is due.
async fn poll_database(parts: &Parts, at: usize) {
    let database = &parts.databases[at];
    let mut due: Vec<(Time, Poll<'_>)> = parts
        .views
        .iter()
        .filter(|(view, _)| view.database == database.name)
        .map(|(view, taker)| ((parts.clock)(), Poll { parts, database, view, taker: &**taker }))
        .collect();
    while let Some((next, poll)) = due.iter_mut().min_by_key(|(next, _)| *next) {
        let now = (parts.clock)();
        if *next > now {
            let wait = next.since_ms(now).unsigned_abs().min(LOOK_AGAIN_MS);
            tokio::time::sleep(Duration::from_millis(wait)).await;
        } else if poll.is_paused(now) {
            tokio::time::sleep(Duration::from_millis(LOOK_AGAIN_MS)).await;
        } else {
            poll.run().await;
            *next = now.plus_ms(poll.view.interval_ms);
        }
    }
}

/// Milliseconds after which a task looks at the clock again: it may have been set.
const LOOK_AGAIN_MS: u64 = 1_000;
