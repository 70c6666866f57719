//! What leaves the cache when its disk becomes full, and what stops first.
//!
//! For: a disk that never has to be cleared by hand. Always holds: what an open plan wants, what
//! arrives and what somebody reads stays, however full the disk is; a study leaves in the ledger
//! before it leaves the disk, so that a crash between the two costs room and no promise; fetches
//! stop starting while there is still room for what others bring. Refused: leaving by age alone
//! (an empty disk keeps what may be asked for again); a list of what was opened beside the audit,
//! which knows it already. Start at [`choose`].
//!
//! Two marks say when studies leave: above the high one until the low one is reached. Two floors
//! of free room say who stops: [`Marks::floor`], below which no fetch begins unless a patient
//! cannot wait or somebody has opened the study, and the cache's own
//! [`forepost_cache::limits::SPARE_BYTES`], below which nothing is taken in, so that the ledger has
//! room for what senders are promised.

use std::cmp::Reverse;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use forepost_cache::limits::SPARE_BYTES;
use forepost_cache::{Cache, CacheError, Held, IndexState, Leaving, Room, Uid};

use super::Prefetch;
use super::fetch::blocking;
use crate::fault::Fault;
use crate::ledger::{Footing, Ledger, LedgerError};
use crate::limits::{
    EVICTION_PAUSE_MS, EVICTIONS_MAX, FETCH_FLOOR_BYTES_MAX, FETCH_FLOOR_BYTES_MIN,
    FETCH_FLOOR_SHARE, OPEN_MS, ROOM_LOOK_MS, UNMATCHED_MS,
};
use crate::model::Time;

const DAY_MS: i64 = 86_400_000;

/// Who evicts when nobody is named: the service.
const OURSELVES: &str = "forepost";

/// When studies leave, and below which room no fetch begins.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Marks {
    /// Share of the disk in use, by whomever, in percent, above which studies leave.
    pub high_percent: u64,
    /// Share at which they stop leaving.
    pub low_percent: u64,
    /// Bytes of objects above which studies leave even where the disk has room; the low mark lies
    /// below it in proportion.
    pub bytes_max: Option<u64>,
    /// Free bytes below which no fetch begins; `None`: by the size of the disk.
    pub fetch_floor: Option<u64>,
}

impl Default for Marks {
    fn default() -> Marks {
        Marks { high_percent: 90, low_percent: 80, bytes_max: None, fetch_floor: None }
    }
}

impl Marks {
    /// Bytes that have to leave: 0 below the high mark and above the floor. `held` are the bytes
    /// of objects.
    pub fn surplus(&self, room: Room, held: u64) -> u64 {
        let used = room.bytes.saturating_sub(room.free);
        let full = used > percent(room.bytes, self.high_percent);
        let many = self.bytes_max.is_some_and(|max| held > max);
        // On a small disk the floor may lie above the high mark.
        let tight = room.free < self.floor(room);
        if full || many || tight { self.above_low(room, held) } else { 0 }
    }

    /// Bytes that are above the low mark, or missing for fetches to go on.
    pub fn above_low(&self, room: Room, held: u64) -> u64 {
        let used = room.bytes.saturating_sub(room.free);
        let by_disk = used.saturating_sub(percent(room.bytes, self.low_percent));
        let low = |max: u64| percent(max, 100 * self.low_percent / self.high_percent.max(1));
        let by_bytes = self.bytes_max.map_or(0, |max| held.saturating_sub(low(max)));
        let missing = self.again(room).saturating_sub(room.free);
        by_disk.max(by_bytes).max(missing)
    }

    /// Free bytes below which no fetch begins.
    pub fn floor(&self, room: Room) -> u64 {
        let share = room.bytes / FETCH_FLOOR_SHARE;
        let floor = share.clamp(FETCH_FLOOR_BYTES_MIN, FETCH_FLOOR_BYTES_MAX);
        self.fetch_floor.unwrap_or(floor).max(SPARE_BYTES)
    }

    /// Free bytes with which fetches go on that were held back: a quarter more than the floor, so
    /// that they do not stop and go with every object.
    fn again(&self, room: Room) -> u64 {
        let floor = self.floor(room);
        floor + floor / 4
    }
}

/// A study that may leave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Candidate {
    /// Study Instance UID.
    pub study: Uid,
    /// Bytes of its objects.
    pub bytes: u64,
    /// Why it may, for people; names nobody.
    pub reason: String,
}

/// Chooses what leaves first until `needed` bytes are found or nothing more may leave: what no
/// plan chose, then the visits that are over longest, by days; among those what was opened longest
/// ago, then the largest.
pub fn choose(held: Vec<(Held, Footing)>, needed: u64, now: Time) -> Vec<Candidate> {
    let mut may: Vec<(Held, Footing)> =
        held.into_iter().filter(|(held, footing)| may_leave(held, footing, now)).collect();
    may.sort_by_key(|(held, footing)| {
        let since = footing.over_at.unwrap_or(Time(held.written_ms));
        let day = since.0.div_euclid(DAY_MS);
        let opened = footing.opened_at.map(|at| at.0);
        (footing.matched, day, opened, Reverse(held.bytes), held.study.clone())
    });
    let mut found = 0;
    let enough = |one: &(Held, Footing)| {
        let enough = found >= needed;
        found += one.0.bytes;
        !enough
    };
    let chosen = may.into_iter().take_while(enough);
    chosen
        .map(|(held, footing)| Candidate {
            reason: reason(&held, &footing, now),
            study: held.study,
            bytes: held.bytes,
        })
        .collect()
}

/// The same for what a cache holds; reads the ledger. Takes seconds for a full cache.
pub fn candidates(
    ledger: &Ledger,
    held: Vec<Held>,
    needed: u64,
    now: Time,
) -> Result<Vec<Candidate>, LedgerError> {
    let studies: Vec<&str> = held.iter().map(|one| one.study.as_str()).collect();
    let footings = ledger.footings(&studies)?;
    Ok(choose(held.into_iter().zip(footings).collect(), needed, now))
}

/// Removes a study that is in hands, unless an open plan wants it meanwhile. Returns the bytes.
pub async fn remove(
    ledger: &Ledger,
    leaving: Leaving,
    study: &Uid,
    who: &str,
    now: Time,
) -> Result<Option<u64>, Fault> {
    // The ledger first: whoever wants the study from here on has it fetched.
    if !ledger.evict(study.as_str().to_owned(), who.to_owned(), now).await? {
        return Ok(None);
    }
    let bytes = blocking(move || leaving.remove()).await?;
    metrics::counter!("cache_evicted_studies_total").increment(1);
    metrics::counter!("cache_evicted_bytes_total").increment(bytes);
    Ok(Some(bytes))
}

/// Takes a study into hands; `None`: it arrives, or somebody reads it.
pub fn take(cache: &Cache, study: &Uid) -> Result<Option<Leaving>, Fault> {
    match cache.leaving(study) {
        Ok(leaving) => Ok(Some(leaving)),
        Err(CacheError::Open { .. } | CacheError::Busy { .. }) => Ok(None),
        Err(error) => Err(super::keeper::fault_of(error)),
    }
}

fn may_leave(held: &Held, footing: &Footing, now: Time) -> bool {
    let opened = footing.opened_at.is_some_and(|at| now.since_ms(at) < OPEN_MS);
    let fresh = !footing.matched && now.since_ms(Time(held.written_ms)) < UNMATCHED_MS;
    !footing.wanted && !opened && !fresh
}

fn reason(held: &Held, footing: &Footing, now: Time) -> String {
    let days = |since: Time| now.since_ms(since).max(0) / DAY_MS;
    let opened = match footing.opened_at {
        Some(at) => format!("last opened {} days ago", days(at)),
        None => "never opened".to_owned(),
    };
    match footing.over_at {
        Some(at) if footing.matched => format!("visits over for {} days, {opened}", days(at)),
        _ => format!("no plan chose it, here for {} days, {opened}", days(Time(held.written_ms))),
    }
}

fn percent(of: u64, percent: u64) -> u64 {
    of / 100 * percent
}

impl Prefetch {
    /// Looks at the room on the cache's disk until the stop: holds fetches back, lets studies
    /// leave, and lets fetches go on.
    pub(super) async fn keep_room(self: Arc<Self>) {
        let mut evict_at = Time(i64::MIN);
        let mut failing = false;
        // What was compared at the start may have been before the cache knew all by heart.
        let mut by_heart = false;
        while !self.stop.is_cancelled() {
            let now = (self.clock)();
            let cache = self.cache.clone();
            match blocking(move || cache.room()).await {
                Ok(room) => {
                    failing = false;
                    self.judge(room, now).await;
                    if now >= evict_at {
                        evict_at = now.plus_ms(self.make_room(room, now).await);
                    }
                }
                Err(fault) if !failing => {
                    failing = true;
                    log::error!(fault:% = fault; "the cache's disk does not tell its room");
                }
                Err(_) => {}
            }
            if !by_heart && self.knows_by_heart() {
                by_heart = true;
                self.compare(false).await;
            }
            tokio::select! {
                () = tokio::time::sleep(Duration::from_millis(ROOM_LOOK_MS)) => {}
                () = self.stop.cancelled() => {}
            }
        }
    }

    /// Whether fetches that can wait do not begin for lack of room.
    pub(super) fn is_held_back(&self) -> bool {
        self.held_back.load(Ordering::Relaxed)
    }

    async fn judge(&self, room: Room, now: Time) {
        let marks = self.policy().marks;
        let floor = marks.floor(room);
        let before = self.is_held_back();
        let held = room.free < if before { marks.again(room) } else { floor };
        metrics::gauge!("cache_disk_free_bytes").set(room.free as f64);
        metrics::gauge!("cache_fetches_held_back").set(f64::from(u8::from(held)));
        self.held_back.store(held, Ordering::Relaxed);
        let free = room.free;
        match (before, held) {
            (false, true) => {
                log::warn!(free, floor; "the disk has no room for fetches, they wait");
            }
            (true, false) => {
                log::warn!(free, floor; "the disk has room again, fetches go on");
                if let Err(error) = self.ledger.room_again(now).await {
                    log::error!("letting fetches go on: {error}");
                }
                self.wake();
            }
            (false, false) | (true, true) => {}
        }
    }

    /// Lets studies leave if it is time. Returns the milliseconds until it may be again.
    async fn make_room(&self, room: Room, now: Time) -> i64 {
        let stats = self.cache.stats();
        let needed = self.policy().marks.surplus(room, stats.bytes);
        if needed == 0 || !self.knows_by_heart() {
            return 0;
        }
        match self.evict(needed, now).await {
            Ok((0, _)) => {
                log::warn!(needed; "the disk is above its high mark and no study may leave");
                EVICTION_PAUSE_MS
            }
            Ok((studies, bytes)) => {
                log::info!(studies, bytes, needed; "studies left the cache");
                self.compare(true).await;
                0
            }
            Err(fault) => {
                log::error!(fault:% = fault; "studies cannot leave the cache");
                EVICTION_PAUSE_MS
            }
        }
    }

    /// One round of at most [`EVICTIONS_MAX`] studies. Returns studies and bytes.
    async fn evict(&self, needed: u64, now: Time) -> Result<(u64, u64), Fault> {
        let (ledger, cache) = (self.ledger.clone(), self.cache.clone());
        let listing = move || candidates(&ledger, cache.held(), needed, now);
        let listed = tokio::task::spawn_blocking(listing)
            .await
            .map_err(|_| Fault::ours("eviction", "listing what may leave panicked"))??;
        let (mut studies, mut bytes) = (0, 0);
        for one in listed.iter().take(EVICTIONS_MAX) {
            if self.stop.is_cancelled() {
                break;
            }
            let Some(leaving) = take(&self.cache, &one.study)? else { continue };
            // A fetch that began before the study was in hands still counts on what it saw.
            if self.openings.has_begun(one.study.as_str()) {
                continue;
            }
            let ledger = &self.ledger;
            if let Some(freed) = remove(ledger, leaving, &one.study, OURSELVES, now).await? {
                let (study, reason) = (one.study.as_str(), one.reason.as_str());
                log::info!(study, bytes = freed, reason; "study evicted");
                studies += 1;
                bytes += freed;
            }
        }
        Ok((studies, bytes))
    }

    /// Whether the cache has every study's row in memory.
    pub(super) fn knows_by_heart(&self) -> bool {
        match self.cache.stats().index {
            IndexState::Whole | IndexState::Lost => true,
            IndexState::Rebuilding { .. } => false,
        }
    }

    pub(super) async fn compare(&self, wanted_only: bool) {
        if let Err(error) = self.recheck(wanted_only).await {
            log::error!("comparing plans with the cache: {error}");
        }
        self.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: Time = Time(1_800_000_000_000);

    fn held(study: &str, megabytes: u64) -> Held {
        let written_ms = NOW.0 - 50 * DAY_MS;
        Held { study: Uid::try_from(study).unwrap(), bytes: megabytes << 20, written_ms }
    }

    fn over(days: i64) -> Footing {
        let over_at = Some(NOW.plus_ms(-days * DAY_MS));
        Footing { matched: true, over_at, ..Footing::default() }
    }

    fn opened(footing: Footing, minutes: i64) -> Footing {
        Footing { opened_at: Some(NOW.plus_ms(-minutes * 60_000)), ..footing }
    }

    #[test]
    fn the_order_of_leaving_is_told_by_day_then_by_opening_then_by_size() {
        let wanted = Footing { wanted: true, ..over(90) };
        let all = vec![
            (held("1.1", 9), over(1)),
            (held("1.2", 1), over(7)),
            (held("1.3", 5), over(7)),
            (held("1.4", 7), opened(over(7), 600)),
            (held("1.5", 7), opened(over(7), 900)),
            (held("1.6", 9), wanted),
            (held("1.7", 9), opened(over(90), 29)),
            (held("1.8", 2), Footing::default()),
            (Held { written_ms: NOW.0 - 3_600_000, ..held("1.9", 9) }, Footing::default()),
        ];
        let order = |needed| -> Vec<String> {
            let chosen = choose(all.clone(), needed, NOW);
            chosen.iter().map(|one| one.study.to_string()).collect()
        };
        // 1.6 is wanted, 1.7 is being looked at, 1.9 has just come.
        assert_eq!(order(u64::MAX), ["1.8", "1.3", "1.2", "1.5", "1.4", "1.1"]);
        assert_eq!(order(3 << 20), ["1.8", "1.3"], "enough is enough");
        assert_eq!(order(0), Vec::<String>::new());
        let first = &choose(all, 1, NOW)[0];
        assert_eq!(first.reason, "no plan chose it, here for 50 days, never opened");
    }

    #[test]
    fn marks_and_floor_follow_disk_and_ceiling() {
        const GB: u64 = 1_000_000_000;
        let room = |free| Room { free: free * GB, bytes: 1_000 * GB };
        let marks = Marks::default();
        assert_eq!(marks.surplus(room(100), 500 * GB), 0, "at the high mark, not above it");
        assert_eq!(marks.surplus(room(99), 500 * GB), 101 * GB);
        let capped = Marks { bytes_max: Some(450 * GB), ..marks };
        assert_eq!(capped.surplus(room(500), 450 * GB), 0);
        assert_eq!(capped.surplus(room(500), 451 * GB), 55 * GB, "88 % of the ceiling stay");
        assert_eq!(marks.floor(room(1)), FETCH_FLOOR_BYTES_MAX);
        let small = Room { free: FETCH_FLOOR_BYTES_MIN, bytes: 256 << 20 };
        assert_eq!(marks.floor(small), FETCH_FLOOR_BYTES_MIN);
        assert_eq!(marks.surplus(small, 0), 0, "69 % in use");
        let tight = Room { free: FETCH_FLOOR_BYTES_MIN - 1, ..small };
        assert_eq!(marks.surplus(tight, 0), FETCH_FLOOR_BYTES_MIN / 4 + 1, "fetches would wait");
        assert!(Marks { fetch_floor: Some(1), ..marks }.floor(small) >= SPARE_BYTES);
    }
}
