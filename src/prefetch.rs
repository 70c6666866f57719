//! From a registration to studies that are here before the visit.
//!
//! For: a doctor who never waits. Always holds: a plan ends, as ready, not ready with its one
//! cause, cancelled or over, whatever dies in between, because every step is settled in the ledger
//! before the next begins; a study is fetched once for all who want it and only what is missing of
//! it; what contradicts the patient's identity is linked to nobody. When an examination is ordered
//! for its patient a plan falls due once more and decides from the answers it has. On disk: rows of
//! the ledger (`plan`, `search`, `considered`, `fetch`, `place`); the claims of what is under way
//! live in memory only, so that a restart simply finds the work still due. Refused: a queue of jobs
//! in memory, which a power cut empties; a state "in progress" on disk, which somebody must repair
//! after a crash. Start at [`Prefetch::run`]; then `search.rs`, `fetch.rs`, `keeper.rs`; what is
//! opened before it is here is in `open.rs`, what leaves again in `eviction.rs`, what is found
//! damaged in `scrub.rs`.

pub mod choice;
pub mod eviction;
pub mod guard;
pub mod names;

mod fetch;
mod keeper;
mod open;
mod order;
mod score;
mod scrub;
mod search;
mod source;

use std::collections::{HashMap, HashSet};
use std::sync::atomic::AtomicBool;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::Duration;

use forepost_cache::{Cache, Uid};
use tokio::sync::{Notify, broadcast};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::breaker::{Breaker, Permit};
use crate::fault::{Fault, Retry};
use crate::ledger::{Awaited, ClaimedFetch, Ledger, LedgerError};
use crate::limits::{
    FETCHES_ALL_MAX, FETCHES_MAX, OPENED_FETCHES_MAX, PLANS_MOVED_MAX, RETRY_MS_MAX, RETRY_MS_MIN,
    SEARCHES_MAX,
};
use crate::model::{Doctor, Registration, Time, UtcOffset};
use choice::Rules;
use eviction::Marks;

use open::{Fetching, Openings};

pub use open::{Ended, Opening};
pub use score::{age_days, is_same_examination};
pub use source::{KnownAs, Lane, PatientKey, Piece, Source, Transform, Work};

/// Milliseconds between two looks at the ledger while work is due but cannot start.
const LOOK_AGAIN_MS: i64 = 200;

/// Milliseconds between two looks when nothing is due.
const IDLE_MS: i64 = 60_000;

/// What the flow is built with.
pub struct Parts {
    /// The disk of record.
    pub ledger: Ledger,
    /// Where studies are kept.
    pub cache: Cache,
    /// What the configuration says of it.
    pub policy: Policy,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

/// What the configuration may change while the flow runs.
pub struct Policy {
    /// In the order of preference.
    pub sources: Vec<Arc<dyn Source>>,
    /// What is chosen.
    pub rules: Rules,
    /// The hospital's wall clock, for ages and look-back.
    pub offset: UtcOffset,
    /// Milliseconds after the visit at which a plan that is not ready ends.
    pub grace_ms: i64,
    /// Milliseconds after which a stay that nobody declared over is taken to be.
    pub stay_ms: i64,
    /// When studies leave, and when fetches wait.
    pub marks: Marks,
}

/// The flow.
pub struct Prefetch {
    ledger: Ledger,
    cache: Cache,
    clock: fn() -> Time,
    policy: RwLock<Arc<Policy>>,
    wake: Notify,
    stop: CancellationToken,
    tasks: TaskTracker,
    searching: Mutex<HashSet<i64>>,
    openings: Openings,
    breakers: Mutex<HashMap<String, Breaker>>,
    held_back: AtomicBool,
    /// Plans whose search or fetch has settled.
    moved: broadcast::Sender<i64>,
}

impl Prefetch {
    /// Builds the flow; nothing runs before [`Prefetch::run`].
    pub fn new(parts: Parts) -> Arc<Prefetch> {
        let Parts { ledger, cache, policy, clock } = parts;
        Arc::new(Prefetch {
            ledger,
            cache,
            clock,
            policy: RwLock::new(Arc::new(policy)),
            wake: Notify::new(),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
            searching: Mutex::default(),
            openings: Openings::new(),
            breakers: Mutex::default(),
            held_back: AtomicBool::new(false),
            moved: broadcast::Sender::new(PLANS_MOVED_MAX),
        })
    }

    /// From now on by another policy. What is under way ends by the one it began with; sources that
    /// rested are asked anew, because what was wrong with them may be what was changed.
    pub fn replace(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
        lock(&self.breakers).clear();
        self.wake();
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Whether some source understands one of the registration's identifiers. Without any source
    /// there is nothing to understand, and a plan is ready with nothing.
    pub fn understands(&self, registration: &Registration) -> bool {
        let policy = self.policy();
        policy.sources.is_empty()
            || policy.sources.iter().any(|source| source.understands(registration))
    }

    /// Milliseconds after the visit for which somebody still counts on a plan.
    pub fn grace_ms(&self) -> i64 {
        self.policy().grace_ms
    }

    /// By which Patient IDs sources may push studies of the registration.
    pub fn awaits(&self, registration: &Registration) -> Vec<Awaited> {
        self.policy().sources.iter().flat_map(|source| source.awaits(registration)).collect()
    }

    /// Searches and fetches under way.
    pub fn under_way(&self) -> usize {
        lock(&self.searching).len() + self.openings.begun()
    }

    /// Plans of which more is known than before, from now on.
    pub fn moved(&self) -> broadcast::Receiver<i64> {
        self.moved.subscribe()
    }

    /// Says that the ledger has something new.
    pub fn wake(&self) {
        self.wake.notify_one();
    }

    /// Looks at the plans to come and fetches again what the cache has lost, then works until
    /// [`Prefetch::stop`].
    pub async fn run(self: Arc<Self>) {
        self.compare(true).await;
        self.tasks.spawn(Arc::clone(&self).keep_room());
        self.tasks.spawn(Arc::clone(&self).scrub());
        let mut expired_at = Time(i64::MIN);
        while !self.stop.is_cancelled() {
            let now = (self.clock)();
            if now.since_ms(expired_at) >= IDLE_MS {
                expired_at = now;
                self.expire(now).await;
            }
            let wait = match self.start_what_is_due(now) {
                Ok(wait) => wait,
                Err(error) => {
                    log::error!("reading what is due: {error}");
                    LOOK_AGAIN_MS
                }
            };
            let wait = Duration::from_millis(wait.clamp(1, IDLE_MS) as u64);
            tokio::select! {
                () = self.wake.notified() => {}
                () = tokio::time::sleep(wait) => {}
                () = self.stop.cancelled() => {}
            }
        }
        self.tasks.close();
        self.tasks.wait().await;
    }

    /// Starts nothing more and asks what is under way to end; [`Prefetch::run`] returns when it
    /// has.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Compares what the ledger says is here with what the cache has: after a start,
    /// a rebuild or an eviction; `wanted_only`, for what open plans want. What nobody wants now is
    /// compared too once the cache knows it by heart: who wants it next must not count on what is
    /// gone.
    pub async fn recheck(&self, wanted_only: bool) -> Result<(), LedgerError> {
        let lost: Vec<(String, u32)> = self
            .ledger
            .fetches_here(wanted_only)?
            .into_iter()
            .filter_map(|(study, expected)| {
                let here =
                    Uid::try_from(study.as_str()).map_or(0, |uid| self.cache.instances_here(&uid));
                (here < expected).then_some((study, here))
            })
            .collect();
        if lost.is_empty() {
            return Ok(());
        }
        let studies = lost.len();
        log::warn!(studies; "studies are not whole in the cache, who wants them has them fetched");
        self.ledger.lost(lost, (self.clock)()).await
    }

    /// Starts due work as far as there is room. Returns the milliseconds to wait before the next
    /// look, unless something wakes the loop.
    fn start_what_is_due(self: &Arc<Self>, now: Time) -> Result<i64, LedgerError> {
        let room = SEARCHES_MAX.saturating_sub(lock(&self.searching).len());
        if room > 0 {
            let claimed = |id| lock(&self.searching).contains(&id);
            for plan in self.ledger.due_plans(now, room, &claimed)? {
                lock(&self.searching).insert(plan.id);
                self.tasks.spawn(Arc::clone(self).search(plan));
            }
        }
        self.start_fetches(now)?;
        let next = self.ledger.next_due()?;
        Ok(next.map_or(IDLE_MS, |next| next.since_ms(now).max(LOOK_AGAIN_MS)))
    }

    /// What somebody opened goes first, and background fetches of its source make room for it; then
    /// what is wanted before its visit, a bounded number at each source.
    fn start_fetches(self: &Arc<Self>, now: Time) -> Result<(), LedgerError> {
        let begun = |study: &str| self.openings.has_begun(study);
        let under_way = self.openings.sources();
        let followed = under_way.iter().filter(|(_, followed)| *followed).count();
        let room = OPENED_FETCHES_MAX.saturating_sub(followed);
        if room > 0 {
            for fetch in self.ledger.due_opened(now, room, &begun)? {
                let source = fetch.source().to_owned();
                if self.start_fetch(fetch).followed() {
                    self.openings.make_room(&source);
                }
            }
        }
        let mut at: HashMap<String, usize> = HashMap::new();
        let mut in_background = 0;
        for (source, followed) in self.openings.sources() {
            in_background += usize::from(!followed);
            *at.entry(source).or_default() += if followed { FETCHES_MAX } else { 1 };
        }
        let room = FETCHES_ALL_MAX.saturating_sub(in_background).min(FETCHES_MAX);
        let busy: Vec<String> =
            at.iter().filter(|(_, n)| **n >= FETCHES_MAX).map(|(name, _)| name.clone()).collect();
        if room == 0 || busy.len() >= self.policy().sources.len().max(1) {
            return Ok(());
        }
        for fetch in self.ledger.due_fetches(now, room, &begun, &busy)? {
            let at = at.entry(fetch.source().to_owned()).or_default();
            if *at < FETCHES_MAX {
                *at += 1;
                self.start_fetch(fetch);
            }
        }
        Ok(())
    }

    fn start_fetch(self: &Arc<Self>, fetch: ClaimedFetch) -> Arc<Fetching> {
        let fetching = self.openings.begin(&fetch.study, fetch.source());
        self.tasks.spawn(Arc::clone(self).fetch(fetch, Arc::clone(&fetching)));
        fetching
    }

    async fn expire(&self, now: Time) {
        let policy = self.policy();
        let (visit_ms, stay_ms) = (policy.grace_ms, policy.stay_ms);
        match self.ledger.expire_plans(now, visit_ms).await {
            Ok(0) => {}
            Ok(ended) => log::warn!(plans = ended; "plans ended unready after their visit"),
            Err(error) => log::error!("ending plans after their visit: {error}"),
        }
        match self.ledger.end_visits(now, visit_ms, stay_ms).await {
            Ok(0) => {}
            Ok(ended) => log::info!(plans = ended; "visits are taken to be over"),
            Err(error) => log::error!("ending visits: {error}"),
        }
    }

    fn permit(&self, source: &str, now: Time) -> Permit {
        lock(&self.breakers).entry(source.to_owned()).or_default().permit(now)
    }

    /// Tells the breaker how a request ended. Only the source's own faults count: what our disk
    /// or a stop did to a request says nothing about the source.
    fn tell_breaker(&self, source: &str, result: Result<(), &Fault>, now: Time) {
        let mut breakers = lock(&self.breakers);
        let breaker = breakers.entry(source.to_owned()).or_default();
        match result {
            Ok(()) => breaker.answered(),
            Err(fault) if fault.blame == crate::fault::Blame::Peer => {
                if breaker.failed(now) {
                    let source = source.to_owned();
                    metrics::counter!("prefetch_breaker_opened_total", "source" => source.clone())
                        .increment(1);
                    let source = source.as_str();
                    log::warn!(source, fault:% = fault; "source rests after faults in a row");
                }
            }
            Err(_) => {}
        }
    }

    fn source(&self, name: &str) -> Option<Arc<dyn Source>> {
        let policy = self.policy();
        policy.sources.iter().find(|source| source.name() == name).map(Arc::clone)
    }
}

/// A source, as it is asked for a doctor where there is one.
fn asked_for(source: &Arc<dyn Source>, reader: Option<&Doctor>) -> Arc<dyn Source> {
    let named = reader.and_then(|doctor| source.for_reader(doctor));
    named.unwrap_or_else(|| Arc::clone(source))
}

/// The fault of a source that rests.
fn resting(until: Time, now: Time) -> Fault {
    Fault::peer("resting", "the source rests after faults in a row").after_ms(until.since_ms(now))
}

/// When a failed step is tried again: doubling from [`RETRY_MS_MIN`] to [`RETRY_MS_MAX`], spread
/// by `salt` so that what failed together does not return together; never before the wait that
/// the peer asked for.
fn retry_at(now: Time, attempts: u32, retry: Retry, salt: u64) -> Time {
    let doubled = RETRY_MS_MIN.saturating_mul(1 << attempts.min(16)).min(RETRY_MS_MAX);
    let spread = doubled / 2 + (salt % (doubled as u64 / 2 + 1)) as i64;
    let wait = match retry {
        Retry::Later => spread,
        Retry::AfterMs(asked) => spread.max(asked.min(RETRY_MS_MAX)),
        Retry::Never => RETRY_MS_MAX,
    };
    now.plus_ms(wait)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("nothing panics while it holds one of the flow's sets")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_grow_stay_bounded_and_respect_the_peer() {
        for attempts in 0..40 {
            for salt in [0, 1, 12_345, u64::MAX] {
                let wait = retry_at(Time(0), attempts, Retry::Later, salt).0;
                assert!((RETRY_MS_MIN / 2..=RETRY_MS_MAX).contains(&wait));
            }
        }
        assert!(retry_at(Time(0), 0, Retry::AfterMs(60_000), 0).0 >= 60_000);
        assert_eq!(retry_at(Time(0), 0, Retry::AfterMs(i64::MAX), 0).0, RETRY_MS_MAX);
    }
}
