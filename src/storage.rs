//! What senders bring: objects that are on the disk before anybody is told that they are kept.
//!
//! For: a PACS of this hospital that puts its studies here, and clouds that push. Always holds: an
//! object is told as kept after the sync that would survive a power cut (file, name, folder,
//! record); what is listed is never overwritten, and the same object a second time is a success
//! that writes nothing; one broken object does not cost the others; a sender that breaks off
//! leaves what was whole and nothing half. On disk: nothing of its own; objects lie in the cache's
//! `incoming/` until their header says whose they are. Refused: holding the study for as long as a
//! sender sends, so that two senders of one study would wait for each other; a sync an object, for
//! that is what a disk has least of. Start at [`Storage::receive`]; then `receiver.rs`, which
//! turns one sender's bytes into objects, `shelf.rs`, where the senders of one study meet, and
//! `push.rs`: what becomes of what clouds send unasked.

mod limits;
mod push;
mod receiver;
mod shelf;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};

use forepost_cache::{Cache, CacheError, Uid};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, mpsc};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::fault::Fault;
use crate::ledger::Ledger;
use crate::model::Time;
use crate::prefetch::{Piece, Prefetch};
use limits::{PIECES_MAX, PUSH_QUIET_MS, SENDERS_MAX};
use receiver::Receiver;
use shelf::Queue;

pub use limits::OBJECTS_MAX;
pub use push::{PushOptions, PushSource};

/// What the flow is built with.
pub struct Parts {
    /// Told of what is pushed.
    pub ledger: Ledger,
    /// Where studies are kept.
    pub cache: Cache,
    /// Told that plans may have become due.
    pub prefetch: Arc<Prefetch>,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

/// The flow.
pub struct Storage {
    parts: Parts,
    /// The senders that are sources too: what they send waits for a registration.
    push_sources: RwLock<Vec<String>>,
    stop: CancellationToken,
    /// Studies that are being pushed, and when something of them came last.
    touched: Mutex<HashMap<Uid, Time>>,
    senders: Arc<Semaphore>,
    shelves: Mutex<HashMap<Uid, Queue>>,
}

/// What an object said of itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Named {
    /// Study Instance UID.
    pub study: Uid,
    /// Series Instance UID.
    pub series: Uid,
    /// SOP Instance UID.
    pub sop: Uid,
    /// SOP Class UID, as it came.
    pub class: String,
}

/// What became of one object, in the order in which they came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Outcome {
    /// What it is; `None` where its header could not be read.
    pub object: Option<Named>,
    /// Whether it is here.
    pub end: Result<Kept, Refusal>,
}

/// How an object is here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kept {
    /// It was written, and synced.
    Stored,
    /// The same data set was here already.
    Duplicate,
}

/// Why an object is not kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// Not a Part 10 object with its identifiers, or cut off.
    Illegible,
    /// Longer than an object may be.
    TooLarge,
    /// Of another study than the sender named.
    OtherStudy,
    /// Pushed, and of another patient than the study's first object.
    OtherPatient,
    /// Another data set is here under its UID.
    Conflict,
    /// The disk is full.
    DiskFull,
    /// The study is being fetched or removed just now.
    Busy,
    /// Something here failed; the log has the reason.
    Failed,
}

impl Refusal {
    /// Whether the object is at fault, and not this machine.
    pub fn is_about_object(self) -> bool {
        match self {
            Refusal::Illegible
            | Refusal::TooLarge
            | Refusal::OtherStudy
            | Refusal::OtherPatient
            | Refusal::Conflict => true,
            Refusal::DiskFull | Refusal::Busy | Refusal::Failed => false,
        }
    }

    /// The word in metrics.
    fn name(self) -> &'static str {
        match self {
            Refusal::Illegible => "illegible",
            Refusal::TooLarge => "too large",
            Refusal::OtherStudy => "other study",
            Refusal::OtherPatient => "other patient",
            Refusal::Conflict => "conflict",
            Refusal::DiskFull => "disk full",
            Refusal::Busy => "busy",
            Refusal::Failed => "failed",
        }
    }

    /// What the cache's error means; what is ours is logged.
    fn of(error: &CacheError) -> Refusal {
        match error {
            CacheError::NotDicom { .. } | CacheError::Truncated { .. } => Refusal::Illegible,
            CacheError::TooLarge { .. } => Refusal::TooLarge,
            CacheError::WrongStudy { .. } => Refusal::OtherStudy,
            CacheError::DiskFull { .. } => Refusal::DiskFull,
            CacheError::Busy { .. } => Refusal::Busy,
            _ => {
                log::error!(error:?; "an object that came is not kept");
                Refusal::Failed
            }
        }
    }
}

impl Storage {
    /// Builds the flow; what is pushed is settled by [`Storage::run`].
    pub fn new(parts: Parts) -> Arc<Storage> {
        let senders = Arc::new(Semaphore::new(SENDERS_MAX));
        let (push_sources, stop, touched, shelves) = Default::default();
        Arc::new(Storage { parts, push_sources, stop, touched, senders, shelves })
    }

    /// Which senders are sources too, from the next request on.
    pub fn set_push_sources(&self, names: Vec<String>) {
        *self.push_sources.write().unwrap_or_else(PoisonError::into_inner) = names;
    }

    /// Begins to take what `sender` sends; with `study`, of that study only. `None`: as many
    /// senders are sending as may.
    pub fn receive(self: &Arc<Self>, sender: &str, study: Option<Uid>) -> Option<Receiving> {
        let permit = Arc::clone(&self.senders).try_acquire_owned().ok()?;
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let sources = self.push_sources.read().unwrap_or_else(PoisonError::into_inner);
        let source = sources.iter().find(|source| *source == sender).cloned();
        let receiver = Receiver::new(Arc::clone(self), source, study);
        let runtime = tokio::runtime::Handle::current();
        let ended = tokio::task::spawn_blocking(move || receiver.run(queue, &runtime));
        Some(Receiving { pieces, ended, _permit: permit })
    }

    /// Something of a pushed study came just now.
    fn touch(&self, study: Uid, now: Time) {
        self.touched().insert(study, now);
    }

    /// The pushed studies of which nothing came for a while; they are forgotten here.
    fn quiet(&self, now: Time) -> Vec<Uid> {
        let mut touched = self.touched();
        let quiet = |at: &Time| now.since_ms(*at) >= PUSH_QUIET_MS;
        let ended: Vec<Uid> =
            touched.iter().filter(|(_, at)| quiet(at)).map(|(study, _)| study.clone()).collect();
        touched.retain(|_, at| !quiet(at));
        ended
    }

    fn touched(&self) -> MutexGuard<'_, HashMap<Uid, Time>> {
        self.touched.lock().expect("nothing panics while it holds the pushed studies")
    }

    fn shelves(&self) -> MutexGuard<'_, HashMap<Uid, Queue>> {
        self.shelves.lock().expect("nothing panics while it holds the shelves")
    }
}

/// One sender's request under way. Dropped before its end, what came whole is kept all the same.
pub struct Receiving {
    pieces: mpsc::Sender<Piece>,
    ended: JoinHandle<Vec<Outcome>>,
    _permit: OwnedSemaphorePermit,
}

impl Receiving {
    /// Hands on a piece; waits while the disk is behind.
    pub async fn put(&self, piece: Piece) -> Result<(), Fault> {
        let put = self.pieces.send(piece).await;
        put.map_err(|_| Fault::ours("storage", "the thread that keeps objects has ended"))
    }

    /// Nothing more comes. Returns when the fate of every object is on the disk.
    pub async fn end(self) -> Result<Vec<Outcome>, Fault> {
        drop(self.pieces);
        let ended = self.ended.await;
        ended.map_err(|_| Fault::ours("storage", "the thread that keeps objects panicked"))
    }
}
