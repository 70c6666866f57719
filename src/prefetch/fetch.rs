//! One fetch: from place to place until every instance is here.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use forepost_cache::{Arrival, CacheError, Study, Uid};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use super::keeper::{DISK_FULL, Keeper, Kept};
use super::open::{self, Fetching};
use super::order::{Outline, SeriesOrder, fetch_order, put_first};
use super::search::note_ready;
use super::source::{Lane, Source};
use super::{Prefetch, asked_for, retry_at};
use crate::breaker::Permit;
use crate::fault::{Blame, Fault, Retry};
use crate::ledger::{ClaimedFetch, FetchEnd, Judged};
use crate::limits::{LANES_MAX, PIECES_MAX};
use crate::model::{Listing, Place, PlanState, Wanted};

/// How far one place brought the study.
struct Tried {
    kept: Kept,
    /// Every instance of the place's manifest is here.
    whole: bool,
}

impl Prefetch {
    /// Brings a study here, or as much of it as today's places give, and settles the try.
    pub(super) async fn fetch(self: Arc<Self>, fetch: ClaimedFetch, fetching: Arc<Fetching>) {
        let study = fetch.study.clone();
        let ended = match self.fetch_and_settle(fetch, &fetching).await {
            Ok((end, blame)) => open::ended(&end, blame),
            Err(error) => {
                log::error!(study = study.as_str(); "settling a fetch: {error}");
                open::ours(error)
            }
        };
        self.openings.end(&study, ended);
        self.wake();
    }

    async fn fetch_and_settle(
        &self,
        fetch: ClaimedFetch,
        fetching: &Arc<Fetching>,
    ) -> Result<(FetchEnd, Blame), Fault> {
        let uid = Uid::try_from(fetch.study.as_str())
            .map_err(|error| Fault::ours("study uid", error.to_string()).for_good())?;
        if self.is_held_back() && !fetch.urgent && !fetching.followed() {
            let fault = Fault::ours(DISK_FULL, "the disk has no room for fetches that can wait");
            let end = self.failed_end(&fetch, &fault);
            self.settle(&fetch.study, &uid, 0, end.clone(), Vec::new()).await?;
            return Ok((end, Blame::Ours));
        }
        let mut judged: Vec<Judged> = Vec::new();
        let mut bytes = 0;
        let mut fault = Fault::peer("places", "no place is known for the study").for_good();
        let mut end = None;
        for place in &fetch.places {
            let tried = match self.try_place(&uid, place, &fetch, fetching).await {
                Ok(tried) => tried,
                Err(tried_in_vain) => {
                    fault = worse(fault, tried_in_vain);
                    continue;
                }
            };
            bytes += tried.kept.bytes;
            if !tried.kept.judged.is_empty() {
                judged = tried.kept.judged;
            }
            if let Some(reason) = tried.kept.apart {
                end = Some(FetchEnd::Apart { reason });
                break;
            }
            if tried.whole {
                end = Some(FetchEnd::Here);
                break;
            }
            if let Some(told) = tried.kept.fault {
                fault = worse(fault, told);
            }
            if fetching.yields.is_cancelled() {
                end = Some(FetchEnd::Yielded);
                break;
            }
            if self.stop.is_cancelled() {
                break;
            }
        }
        let end = end.unwrap_or_else(|| self.failed_end(&fetch, &fault));
        self.settle(&fetch.study, &uid, bytes, end.clone(), judged).await?;
        Ok((end, fault.blame))
    }

    fn failed_end(&self, fetch: &ClaimedFetch, fault: &Fault) -> FetchEnd {
        if fault.retry == Retry::Never {
            return FetchEnd::Failed { fault: fault.to_string() };
        }
        let now = (self.clock)();
        let salt = fetch.study.bytes().fold(0u64, |sum, b| sum.wrapping_mul(31) + u64::from(b));
        FetchEnd::Again {
            fault: fault.to_string(),
            next_at: retry_at(now, fetch.attempts, fault.retry, salt),
            disk_full: fault.step == DISK_FULL,
        }
    }

    async fn settle(
        &self,
        study: &str,
        uid: &Uid,
        bytes: u64,
        end: FetchEnd,
        judged: Vec<Judged>,
    ) -> Result<(), Fault> {
        let (cache, counted) = (self.cache.clone(), uid.clone());
        let have = blocking(move || Ok(cache.instances_here(&counted))).await?;
        let outcome = match &end {
            FetchEnd::Here => "here",
            FetchEnd::Again { .. } => "again",
            FetchEnd::Apart { .. } => "apart",
            FetchEnd::Failed { .. } => "failed",
            FetchEnd::Yielded => "yielded",
        };
        metrics::counter!("fetches_total", "outcome" => outcome).increment(1);
        metrics::counter!("fetched_bytes_total").increment(bytes);
        let fault = match &end {
            FetchEnd::Again { fault, .. } | FetchEnd::Failed { fault } => fault.as_str(),
            FetchEnd::Here | FetchEnd::Apart { .. } | FetchEnd::Yielded => "",
        };
        log::info!(study, outcome, instances = have, bytes, fault; "fetch settled");
        let now = (self.clock)();
        let plans =
            self.ledger.settle_fetch(study.to_owned(), have, bytes, end, judged, now).await?;
        for (plan, settled) in plans {
            let _ = self.moved.send(plan);
            if settled.state == PlanState::Ready && settled.new {
                note_ready(plan, settled.lead_ms);
            }
        }
        Ok(())
    }

    /// Asks one place for its manifest and for what is missing of it.
    async fn try_place(
        &self,
        uid: &Uid,
        place: &Place,
        fetch: &ClaimedFetch,
        fetching: &Arc<Fetching>,
    ) -> Result<Tried, Fault> {
        let source = self.source(&place.source).ok_or_else(|| {
            Fault::ours("source", format!("{} is no longer configured", place.source))
        })?;
        let source = &asked_for(&source, fetch.reader.as_ref());
        let now = (self.clock)();
        if let Permit::Rest(until) = self.permit(&place.source, now) {
            return Err(super::resting(until, now));
        }
        let outlined = self.outline(source, place, uid).await;
        self.tell_breaker(&place.source, outlined.as_ref().map(|_| ()), now);
        let (outline, order) = outlined?;
        let now = (self.clock)();
        if !self.ledger.expect(fetch.study.clone(), outline.instances(), now).await? {
            return Err(Fault::ours("wanted", "nobody wants the study any more"));
        }
        let arrival = self.arrival(uid).await?;
        let (pieces, queue) = mpsc::channel(PIECES_MAX);
        let policy = self.policy();
        let keeper = Keeper::new(arrival, &policy.rules, &fetch.wants, Arc::clone(fetching));
        let keeping = tokio::task::spawn_blocking({
            let runtime = tokio::runtime::Handle::current();
            move || keeper.run(queue, &runtime)
        });
        let asked = self.retrieve_all(source, place, uid, order, pieces, fetching).await;
        let mut kept = keeping
            .await
            .map_err(|_| Fault::ours("keeper", "the keeper of an arriving study panicked"))?;
        let told = match (&kept.fault, &asked) {
            (None, Err(fault)) => Err(fault),
            _ => Ok(()),
        };
        self.tell_breaker(&place.source, told, (self.clock)());
        if kept.fault.is_none() {
            kept.fault = asked.err();
        }
        let mut missing = outline.missing(self.study_here(uid).await?.as_deref());
        if missing > 0 && kept.fault.is_none() {
            (missing, kept.fault) = self.recount(source, place, uid).await?;
        }
        Ok(Tried { whole: missing == 0, kept })
    }

    /// Everything was delivered and the counts say otherwise. Counts may lie where the objects do
    /// not: an archive that holds one instance in two series counts it twice. The list of
    /// instances decides.
    async fn recount(
        &self,
        source: &Arc<dyn Source>,
        place: &Place,
        uid: &Uid,
    ) -> Result<(u32, Option<Fault>), Fault> {
        let outline = Outline::Instances(source.instances(place, uid, &Listing::Study).await?);
        let missing = outline.missing(self.study_here(uid).await?.as_deref());
        let (m, n) = (outline.instances(), outline.instances() - missing);
        let detail = format!("the place delivered {n} of {m} instances");
        Ok((missing, (missing > 0).then(|| Fault::peer("short", detail))))
    }

    /// What the place has, and what is to be asked of it. The list of series is cheap everywhere;
    /// a list of instances is asked only of series that are partly here, and of a whole study only
    /// where the source does not count its series.
    async fn outline(
        &self,
        source: &Arc<dyn Source>,
        place: &Place,
        uid: &Uid,
    ) -> Result<(Outline, Vec<Wanted>), Fault> {
        let study = self.study_here(uid).await?;
        let here: HashSet<Uid> = study
            .iter()
            .flat_map(|study| study.instances().iter().map(|one| one.sop.clone()))
            .collect();
        let listed = source.series(place, uid).await?;
        if listed.is_empty() {
            return Err(Fault::peer("series", "the place names no series of the study"));
        }
        let Some(outline) = Outline::of_series(&listed) else {
            let manifest = source.instances(place, uid, &Listing::Study).await?;
            let order = fetch_order(&manifest, &here);
            return Ok((Outline::Instances(manifest), order));
        };
        let mut order = SeriesOrder::new(&listed, study.as_deref());
        for series in std::mem::take(&mut order.partly_here) {
            let manifest = source.instances(place, uid, &Listing::Series(series)).await?;
            order.rest.extend(fetch_order(&manifest, &here));
        }
        for series in std::mem::take(&mut order.first_wanted) {
            // One image to choose the series by; a source that cannot tell one does without.
            if let Some(one) = source.instances(place, uid, &Listing::One(series)).await?.pop() {
                order.first.push(Wanted::Instance(one.series, one.sop));
            }
        }
        Ok((outline, order.wanted()))
    }

    async fn study_here(&self, uid: &Uid) -> Result<Option<Arc<Study>>, Fault> {
        let (cache, uid) = (self.cache.clone(), uid.clone());
        blocking(move || cache.study(&uid)).await
    }

    async fn arrival(&self, uid: &Uid) -> Result<Arrival, Fault> {
        let (cache, uid) = (self.cache.clone(), uid.clone());
        blocking(move || cache.arrival(&uid)).await
    }

    /// Sends the requests in their order, several at a time, until one fails or all are answered.
    /// What a follower wants goes first.
    async fn retrieve_all(
        &self,
        source: &Arc<dyn Source>,
        place: &Place,
        uid: &Uid,
        order: Vec<Wanted>,
        pieces: mpsc::Sender<(usize, super::source::Piece)>,
        fetching: &Fetching,
    ) -> Result<(), Fault> {
        let mut lanes: Vec<usize> = (0..LANES_MAX).collect();
        let mut requests: JoinSet<(usize, Result<(), Fault>)> = JoinSet::new();
        let mut result = Ok(());
        let mut order = VecDeque::from(order);
        loop {
            while let (true, Some(number)) = (result.is_ok(), lanes.pop()) {
                while let Some(first) = fetching.next_first() {
                    put_first(&mut order, first);
                }
                let Some(wanted) = order.pop_front() else {
                    lanes.push(number);
                    break;
                };
                let lane = Lane::new(pieces.clone(), number);
                let source = Arc::clone(source);
                let (place, uid) = (place.clone(), uid.clone());
                requests.spawn(async move {
                    let result = source.retrieve(&place, &uid, &wanted, &lane).await;
                    (number, result)
                });
            }
            let ended = tokio::select! {
                ended = requests.join_next() => ended,
                () = self.stop.cancelled() => {
                    return Err(Fault::ours("stopping", "Forepost is stopping").after_ms(0));
                }
                () = fetching.yields.cancelled() => {
                    return Err(Fault::ours("yielding", "another study is opened").after_ms(0));
                }
            };
            match ended {
                None => return result,
                Some(Ok((number, Ok(())))) => lanes.push(number),
                Some(Ok((_, Err(fault)))) => result = result.and(Err(fault)),
                Some(Err(_)) => {
                    result = result.and(Err(Fault::ours("retrieve", "a request panicked")));
                }
            }
        }
    }
}

/// Of two faults the one that leaves more hope, for it decides when the fetch is tried again.
fn worse(before: Fault, now: Fault) -> Fault {
    if before.retry == Retry::Never || now.retry != Retry::Never { now } else { before }
}

/// Runs what touches the disk beside the network's threads.
pub(super) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, CacheError> + Send + 'static,
) -> Result<T, Fault> {
    let result = tokio::task::spawn_blocking(work)
        .await
        .map_err(|_| Fault::ours("cache", "a task of the cache panicked"))?;
    result.map_err(super::keeper::fault_of)
}
