//! A study that somebody opens before it is here.
//!
//! For: a doctor whose patient was never registered, or came earlier than planned. Always holds:
//! however many open a study, it is fetched once; who opened it reads what is whole as it arrives
//! and is told how it ended, so that an answer cut short never looks whole; a slow reader holds
//! nothing up, because readers follow the cache and not the source; sources are asked for a study
//! that nobody registered only for those who may, a bounded number at a time, and not again for a
//! while when none has it. What a reader gets may not be durable yet (docs/decisions/0004): a
//! power cut takes it from the cache, and nobody was promised it. Refused: a fetch that ends
//! with its last reader, which a page that is loaded again would begin anew. Start at
//! [`Prefetch::open`].

use std::collections::{HashMap, VecDeque};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use forepost_cache::{Cache, Study, Uid};
use tokio::sync::{Semaphore, watch};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

use super::{Prefetch, lock};
use crate::breaker::Permit;
use crate::fault::{Blame, Fault};
use crate::ledger::{FetchEnd, LedgerError};
use crate::limits::{ABSENT_KEEP_MS, ABSENT_MAX, ASK_WAIT_S, ASKED_MAX, FOLLOW_LOOK_MS};
use crate::model::{FetchState, FoundStudy, Time, Wanted};

/// How the fetch of a followed study ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Everything is here.
    Whole,
    /// No source has it, or it is not to be shown.
    Absent,
    /// It broke off; what is here is not the whole study.
    Broken {
        /// The fault, without anything personal.
        fault: String,
        /// Whose it is.
        blame: Blame,
    },
}

/// A study that is being fetched, or that somebody waits for.
pub(super) struct Fetching {
    /// The source that the fetch began at; `None` while it waits for its turn.
    source: Mutex<Option<String>>,
    followers: AtomicUsize,
    /// Asks a fetch that nobody follows to make room.
    pub yields: CancellationToken,
    /// What the followers want first.
    first: Mutex<VecDeque<Wanted>>,
    ended: watch::Sender<Option<Ended>>,
}

impl Fetching {
    fn new() -> Fetching {
        Fetching {
            source: Mutex::default(),
            followers: AtomicUsize::new(0),
            yields: CancellationToken::new(),
            first: Mutex::default(),
            ended: watch::Sender::new(None),
        }
    }

    /// Whether somebody reads it as it arrives.
    pub fn followed(&self) -> bool {
        self.followers.load(Ordering::Relaxed) > 0
    }

    /// What a follower wants before all else.
    pub fn next_first(&self) -> Option<Wanted> {
        lock(&self.first).pop_front()
    }

    /// Wakes the followers: something is here that was not.
    pub fn grew(&self) {
        self.ended.send_modify(|_| {});
    }

    /// Where it was begun, if it was.
    pub fn source(&self) -> Option<String> {
        lock(&self.source).clone()
    }
}

/// The studies in hands, and those that are nowhere.
pub(super) struct Openings {
    under_way: Mutex<HashMap<String, Arc<Fetching>>>,
    absent: Mutex<HashMap<Uid, Time>>,
    /// Bounds the questions about studies that nobody registered.
    asking: Semaphore,
}

impl Openings {
    /// Nothing in hands.
    pub fn new() -> Openings {
        Openings {
            under_way: Mutex::default(),
            absent: Mutex::default(),
            asking: Semaphore::new(ASKED_MAX),
        }
    }

    /// Fetches that have begun.
    pub fn begun(&self) -> usize {
        lock(&self.under_way).values().filter(|one| one.source().is_some()).count()
    }

    /// Whether a fetch of the study has begun.
    pub fn has_begun(&self, study: &str) -> bool {
        lock(&self.under_way).get(study).is_some_and(|one| one.source().is_some())
    }

    /// Begins the fetch of a study at a source.
    pub fn begin(&self, study: &str, source: &str) -> Arc<Fetching> {
        let mut under_way = lock(&self.under_way);
        let fetching = under_way.entry(study.to_owned()).or_insert_with(|| Fetching::new().into());
        *lock(&fetching.source) = Some(source.to_owned());
        Arc::clone(fetching)
    }

    /// The sources of the fetches that have begun, each with whether somebody follows it.
    pub fn sources(&self) -> Vec<(String, bool)> {
        let under_way = lock(&self.under_way);
        under_way.values().filter_map(|one| Some((one.source()?, one.followed()))).collect()
    }

    /// Asks the fetches at a source that nobody follows to make room.
    pub fn make_room(&self, source: &str) {
        for one in lock(&self.under_way).values() {
            if !one.followed() && one.source().as_deref() == Some(source) {
                one.yields.cancel();
            }
        }
    }

    /// Tells the followers how it ended; who opens the study from now on begins anew.
    pub fn end(&self, study: &str, ended: Ended) {
        let mut under_way = lock(&self.under_way);
        if let Some(fetching) = under_way.remove(study) {
            // Still under the lock, so that nobody follows who is not told.
            fetching.ended.send_replace(Some(ended));
        }
    }

    /// Follows a study; the second value is whether nobody had it in hands.
    fn follow(&self, cache: &Cache, study: &Uid, first: Option<Wanted>) -> (Opening, bool) {
        let mut under_way = lock(&self.under_way);
        let new = !under_way.contains_key(study.as_str());
        let fetching =
            under_way.entry(study.as_str().to_owned()).or_insert_with(|| Fetching::new().into());
        fetching.followers.fetch_add(1, Ordering::Relaxed);
        lock(&fetching.first).extend(first);
        let opening = Opening {
            study: study.clone(),
            cache: cache.clone(),
            ended: fetching.ended.subscribe(),
            fetching: Arc::clone(fetching),
        };
        (opening, new)
    }

    fn is_absent(&self, study: &Uid, now: Time) -> bool {
        let absent = lock(&self.absent);
        absent.get(study).is_some_and(|since| now.since_ms(*since) < ABSENT_KEEP_MS)
    }

    fn note_absent(&self, study: &Uid, now: Time) {
        let mut absent = lock(&self.absent);
        if absent.len() >= ABSENT_MAX {
            absent.retain(|_, since| now.since_ms(*since) < ABSENT_KEEP_MS);
        }
        if absent.len() < ABSENT_MAX {
            absent.insert(study.clone(), now);
        }
    }
}

/// A study that is followed as it arrives. Dropped: it is followed by one reader less.
pub struct Opening {
    study: Uid,
    cache: Cache,
    fetching: Arc<Fetching>,
    ended: watch::Receiver<Option<Ended>>,
}

impl Drop for Opening {
    fn drop(&mut self) {
        self.fetching.followers.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Opening {
    /// Waits until more than `known` instances of the study are here, listed or on their way to it:
    /// `Ok`, or until its fetch has ended without more: `Err`.
    pub async fn more(&mut self, known: usize) -> Result<Arc<Study>, Ended> {
        let grown = |study: &Arc<Study>| study.instances().len() > known;
        loop {
            // Read before the cache is looked at: what was listed at the end is seen.
            let ended = self.ended.borrow().clone();
            let listed = self.cache.study_at_hand(&self.study).filter(grown);
            let here = listed.or_else(|| self.cache.study_ahead(&self.study).filter(grown));
            if let Some(study) = here {
                return Ok(study);
            }
            if let Some(ended) = ended {
                return self.last().await.filter(grown).ok_or(ended);
            }
            let look = Duration::from_millis(FOLLOW_LOOK_MS);
            // An error: the flow has gone, and the next look finds the same.
            let _ = tokio::time::timeout(look, self.ended.changed()).await;
        }
    }

    /// What the cache has when the fetch is over, read from the disk if it must be.
    async fn last(&self) -> Option<Arc<Study>> {
        let (cache, study) = (self.cache.clone(), self.study.clone());
        let read = tokio::task::spawn_blocking(move || cache.study(&study).ok().flatten());
        read.await.ok().flatten()
    }
}

impl Prefetch {
    /// Somebody opens a study, and wants `first` before the rest of it. `None`: what is here is all
    /// there is to wait for. `ask`: whether sources may be asked for a study that nobody
    /// registered.
    pub async fn open(
        self: &Arc<Self>,
        study: &Uid,
        first: Option<Wanted>,
        ask: bool,
    ) -> Result<Option<Opening>, Fault> {
        let (flow, uid) = (Arc::clone(self), study.clone());
        let read = tokio::task::spawn_blocking(move || {
            let state = flow.ledger.fetch_state(uid.as_str())?;
            // The study itself, not its search row: a folder that somebody deleted has one.
            let here = flow.cache.study(&uid).ok().flatten();
            let here = here.map_or(0, |study| study.instances().len() as u32);
            Ok::<_, LedgerError>((state, here))
        });
        let (state, here) = read
            .await
            .map_err(|_| Fault::ours("ledger", "reading the state of a fetch panicked"))??;
        let nothing_to_come = match state {
            Some(FetchState::Apart) => true,
            Some(FetchState::Here | FetchState::Failed) => here > 0,
            Some(FetchState::Waiting | FetchState::Dropped | FetchState::Evicted) => false,
            None => here > 0 || !ask || self.openings.is_absent(study, (self.clock)()),
        };
        if nothing_to_come {
            return Ok(None);
        }
        let (opening, new) = self.openings.follow(&self.cache, study, first);
        if new {
            // On its own, because the one who opened it may leave and others follow it already.
            let (flow, study) = (Arc::clone(self), study.clone());
            self.tasks.spawn(async move { flow.hasten(study, state.is_some(), here).await });
        } else if let Some(source) = opening.fetching.source() {
            self.openings.make_room(&source);
        }
        Ok(Some(opening))
    }

    /// Makes the fetch of an opened study due, before all others.
    async fn hasten(&self, study: Uid, known: bool, here: u32) {
        let (name, ledger) = (study.as_str().to_owned(), &self.ledger);
        let kept = if !known {
            let found = self.ask_for(&study).await;
            let now = (self.clock)();
            match found {
                Ok(found) if found.is_empty() => {
                    self.openings.note_absent(&study, now);
                    return self.openings.end(&name, Ended::Absent);
                }
                Ok(found) => {
                    let expected = found.iter().find_map(|one| one.instances);
                    let places = found.into_iter().map(|one| one.place).collect();
                    ledger.open_unknown(name.clone(), places, expected, now).await
                }
                Err(fault) => {
                    let (fault, blame) = (fault.to_string(), fault.blame);
                    return self.openings.end(&name, Ended::Broken { fault, blame });
                }
            }
        } else {
            ledger.open_known(name.clone(), here, (self.clock)()).await
        };
        match kept {
            Ok(()) => self.wake(),
            Err(error) => {
                log::error!(study = name.as_str(); "opening a study: {error}");
                self.openings.end(&name, ours("the ledger did not keep it"));
            }
        }
    }

    /// Asks every source for a study that nobody registered. An error when none has it and one
    /// could not say.
    async fn ask_for(&self, study: &Uid) -> Result<Vec<FoundStudy>, Fault> {
        let _turn = self.openings.asking.acquire().await;
        let mut questions = JoinSet::new();
        let mut silent = None;
        let policy = self.policy();
        for (rank, source) in policy.sources.iter().enumerate() {
            let now = (self.clock)();
            if let Permit::Rest(until) = self.permit(source.name(), now) {
                silent = Some(super::resting(until, now));
                continue;
            }
            let (source, study) = (Arc::clone(source), study.clone());
            questions.spawn(async move {
                let wait = Duration::from_secs(ASK_WAIT_S);
                let answer = tokio::time::timeout(wait, source.locate(&study)).await;
                let late = || Err(Fault::peer("locate", "no answer in time"));
                (rank, source.name().to_owned(), answer.unwrap_or_else(|_| late()))
            });
        }
        let mut found = Vec::new();
        while let Some(ended) = questions.join_next().await {
            let Ok((rank, name, answer)) = ended else { continue };
            self.tell_breaker(&name, answer.as_ref().map(|_| ()), (self.clock)());
            match answer {
                Ok(study) => found.extend(study.map(|study| (rank, study))),
                Err(fault) => silent = Some(fault),
            }
        }
        found.sort_by_key(|(rank, _)| *rank);
        match silent {
            Some(fault) if found.is_empty() => Err(fault),
            _ => Ok(found.into_iter().map(|(_, study)| study).collect()),
        }
    }
}

/// What broke off here.
pub(super) fn ours(fault: impl ToString) -> Ended {
    Ended::Broken { fault: fault.to_string(), blame: Blame::Ours }
}

/// What the end of a fetch is to those who follow it.
pub(super) fn ended(end: &FetchEnd, blame: Blame) -> Ended {
    match end {
        FetchEnd::Here => Ended::Whole,
        FetchEnd::Apart { .. } => Ended::Absent,
        FetchEnd::Again { fault, .. } | FetchEnd::Failed { fault } => {
            Ended::Broken { fault: fault.clone(), blame }
        }
        FetchEnd::Yielded => ours("another study was more urgent"),
    }
}
