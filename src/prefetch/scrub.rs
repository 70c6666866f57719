//! Reads every object of the cache again and again, so that a bit that flips is found here and
//! not at a doctor's screen.
//!
//! Always holds: what is found damaged is taken out of the cache before anything else, and is
//! never served after it; the ledger knows, so that who wants the study has the rest fetched;
//! nothing is read while a fetch is under way, nor faster than [`SCRUB_BYTES_PER_SECOND`]. Refused:
//! reading each object once more at its opening: bodies leave by the kernel without passing through
//! our memory, and a first image would wait for the disk twice.

use std::sync::Arc;
use std::time::Duration;

use forepost_cache::{CacheError, Uid};

use super::Prefetch;
use super::fetch::blocking;
use crate::fault::Fault;
use crate::limits::{
    SCRUB_BYTES_PER_SECOND, SCRUB_FIRST_MS, SCRUB_LOOK_MS, SCRUB_REST_MS, SUSPECTS_LOOK_MS,
};

/// Findings of one study that are told one by one; `cache verify` tells all.
const FINDINGS_TOLD_MAX: usize = 16;

/// Who finds damage.
const OURSELVES: &str = "forepost";

impl Prefetch {
    /// Reads until the stop: all that is here, then a rest.
    pub(super) async fn scrub(self: Arc<Self>) {
        self.rest(SCRUB_FIRST_MS).await;
        while !self.stop.is_cancelled() {
            let cache = self.cache.clone();
            let held = blocking(move || Ok(cache.held())).await.unwrap_or_default();
            let mut studies: Vec<Uid> = held.into_iter().map(|one| one.study).collect();
            studies.sort_unstable();
            // Restarts begin at another study each, so that those behind are not forgotten.
            let begin = (self.clock)().0.unsigned_abs() as usize % studies.len().max(1);
            studies.rotate_left(begin);
            for study in studies {
                self.verify_suspects().await;
                self.verify_and_mend(&study, SCRUB_BYTES_PER_SECOND).await;
                if self.stop.is_cancelled() {
                    return;
                }
            }
            for _ in 0..SCRUB_REST_MS / SUSPECTS_LOOK_MS {
                self.verify_suspects().await;
                self.rest(SUSPECTS_LOOK_MS).await;
                if self.stop.is_cancelled() {
                    return;
                }
            }
        }
    }

    /// What a reader stumbled over is not left to the next reader.
    async fn verify_suspects(self: &Arc<Self>) {
        for study in self.cache.suspects() {
            self.verify_and_mend(&study, u64::MAX).await;
        }
    }

    async fn verify_and_mend(self: &Arc<Self>, study: &Uid, bytes_per_second: u64) {
        if let Err(fault) = self.scrub_study(study, bytes_per_second).await {
            let study = study.as_str();
            log::error!(study, fault:% = fault; "a study cannot be verified");
            self.rest(SCRUB_LOOK_MS).await;
        }
    }

    /// Verifies one study. With a rate without bound it does not wait for fetches either.
    async fn scrub_study(
        self: &Arc<Self>,
        study: &Uid,
        bytes_per_second: u64,
    ) -> Result<(), Fault> {
        let (scrub, uid) = (Arc::clone(self), study.clone());
        let found = blocking(move || {
            let mut goes_on = |bytes| scrub.goes_on(bytes, bytes_per_second);
            scrub.cache.verify_study(&uid, &mut goes_on)
        });
        let found = found.await?;
        metrics::counter!("cache_verified_bytes_total").increment(found.bytes);
        if !found.damaged() {
            return Ok(());
        }
        let (cache, uid) = (self.cache.clone(), study.clone());
        let suspects = found.findings.clone();
        let mended = blocking(move || match cache.mend(&uid, &suspects) {
            // It arrives or leaves: what was seen half done is looked at in the next round.
            Err(CacheError::Busy { .. }) => Ok(None),
            mended => mended.map(Some),
        });
        let Some(mended) = mended.await? else { return Ok(()) };
        for finding in found.findings.iter().take(FINDINGS_TOLD_MAX) {
            log::error!("damage in the cache: {finding}");
        }
        let (of, findings) = (study.as_str(), found.findings_count);
        let (taken, left) = (mended.taken, mended.left);
        log::error!(study = of, findings, taken, left; "damaged objects taken out of the cache");
        metrics::counter!("cache_damaged_total").increment(u64::from(mended.taken));
        let now = (self.clock)();
        let (of, who) = (study.as_str().to_owned(), OURSELVES.to_owned());
        self.ledger.damaged(of, mended.left, who, now).await?;
        self.wake();
        Ok(())
    }

    /// Waits, on a thread that may, until as many bytes may be read again and nothing else is
    /// under way. `false`: Forepost stops.
    fn goes_on(&self, bytes: u64, bytes_per_second: u64) -> bool {
        let mut wait_ms = bytes * 1_000 / bytes_per_second;
        while !self.stop.is_cancelled() {
            if wait_ms == 0 && (bytes_per_second == u64::MAX || self.under_way() == 0) {
                return true;
            }
            let step = wait_ms.clamp(1, SCRUB_LOOK_MS);
            std::thread::sleep(Duration::from_millis(step));
            wait_ms = wait_ms.saturating_sub(step);
        }
        false
    }

    async fn rest(&self, milliseconds: u64) {
        tokio::select! {
            () = tokio::time::sleep(Duration::from_millis(milliseconds)) => {}
            () = self.stop.cancelled() => {}
        }
    }
}
