//! The other side: a provincial cloud with studies, and a national index that only knows where
//! they lie.
//!
//! Both are this product's own DICOMweb server over a cache of phantoms. The cloud answers over a
//! line as counties have it ([`Line`]), or the demo would compare a disk with itself.

use std::future::Future;
use std::net::SocketAddr;
use std::path::Path;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::Response;
use bytes::Bytes;
use forepost_cache::{Cache, StudyQuery, Uid};
use hyper::body::{Frame, SizeHint};
use tokio::task::JoinHandle;
use tokio::time::{Instant, Sleep};
use tokio_util::sync::CancellationToken;

use super::people;
use super::phantoms::Phantom;
use super::words::{say, under};
use super::{Addresses, DemoError};
use crate::app::open_ledger;
use crate::clock;
use crate::dicomweb::{self, Server};
use crate::http::{self, Door};
use crate::ledger::Ledger;
use crate::listen::Service;
use crate::lookup::Lookup;

/// Instances that are made ahead of the disk, over all threads: 20 MB of films at most.
const MADE_AHEAD_MAX: usize = 8;

/// The made-up line between hospital and cloud.
#[derive(Clone)]
pub(super) struct Line {
    delay: Duration,
    bytes_per_second: u64,
    /// When the line has carried everything that was put on it.
    free_at: Arc<Mutex<Instant>>,
}

impl Line {
    /// 40 ms to the provincial capital and back, and a line of 160 Mbit/s.
    pub fn provincial() -> Line {
        Line {
            delay: Duration::from_millis(40),
            bytes_per_second: 20_000_000,
            free_at: Arc::new(Mutex::new(Instant::now())),
        }
    }

    /// When so many bytes, put on the line at `now`, have arrived.
    fn carry(&self, bytes: usize, now: Instant) -> Instant {
        let mut free_at = self.free_at.lock().expect("nothing panics while it holds the line");
        let takes = Duration::from_secs_f64(bytes as f64 / self.bytes_per_second as f64);
        *free_at = (*free_at).max(now) + takes;
        *free_at
    }

    /// Answers later, and no faster than the line.
    async fn slow(State(line): State<Line>, request: Request, next: Next) -> Response {
        tokio::time::sleep(line.delay).await;
        let response = next.run(request).await;
        response.map(|body| Body::new(Carried { body, line, under_way: None }))
    }
}

/// A body on its way over the line.
struct Carried {
    body: Body,
    line: Line,
    under_way: Option<(Pin<Box<Sleep>>, Frame<Bytes>)>,
}

impl hyper::body::Body for Carried {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        loop {
            if let Some((arrives, _)) = &mut self.under_way {
                ready!(arrives.as_mut().poll(context));
                return Poll::Ready(self.under_way.take().map(|(_, frame)| Ok(frame)));
            }
            match ready!(Pin::new(&mut self.body).poll_frame(context)) {
                Some(Ok(frame)) => {
                    let bytes = frame.data_ref().map_or(0, Bytes::len);
                    let arrives = self.line.carry(bytes, Instant::now());
                    let arrives = tokio::time::sleep_until(arrives);
                    self.under_way = Some((Box::pin(arrives), frame));
                }
                other => return Poll::Ready(other),
            }
        }
    }

    fn size_hint(&self) -> SizeHint {
        let waiting = self.under_way.as_ref().and_then(|(_, frame)| frame.data_ref());
        let waiting = waiting.map_or(0, |data| data.len() as u64);
        let mut hint = self.body.size_hint();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper + waiting);
        }
        hint.set_lower(hint.lower() + waiting);
        hint
    }
}

/// Which of the two.
pub(super) enum Role {
    /// Holds the studies, behind a line.
    Cloud(Line),
    /// Holds rows that point to the cloud.
    Index,
}

/// A cloud that answers.
pub(super) struct Cloud {
    cache: Cache,
    ledger: Ledger,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Cloud {
    /// Opens the store, makes what is missing in it, and serves it.
    pub async fn open(role: Role, folder: &Path, at: Addresses) -> Result<Cloud, DemoError> {
        std::fs::create_dir_all(folder)
            .map_err(|source| DemoError::Disk { what: folder.to_owned(), source })?;
        let cache = Cache::open(&folder.join("cache"))?;
        let filling = cache.clone();
        let (address, line) = match &role {
            Role::Cloud(line) => (at.cloud, Some(line.clone())),
            Role::Index => (at.index, None),
        };
        let filled = tokio::task::spawn_blocking(move || match role {
            Role::Cloud(_) => fill_cloud(&filling),
            Role::Index => fill_index(&filling),
        });
        let made = match filled.await {
            Ok(made) => made?,
            Err(panic) => std::panic::resume_unwind(panic.into_panic()),
        };
        announce(&cache, made, address, line.as_ref());
        let ledger = open_ledger(folder)?;
        let retrieve_base = match line {
            Some(_) => None,
            None => Some(format!("http://{}/dicom-web", at.cloud)),
        };
        let mut router = dicomweb::router(Arc::new(Server {
            lookup: Lookup::new(ledger.clone(), cache.clone(), Vec::new()),
            callers: None,
            clock: clock::now,
            prefetch: None,
            retrieve_base,
            storage: None,
        }));
        let zone = if line.is_some() { "demo cloud" } else { "demo index" };
        if let Some(line) = line {
            router = router.layer(middleware::from_fn_with_state(line, Line::slow));
        }
        let listener = http::bind(zone, address).await?;
        let stop = CancellationToken::new();
        let service = Service { tls: None, allow: Vec::new(), behind: router };
        let door = Door::new(zone, zone.into(), service);
        let serving = tokio::spawn(door.serve(listener, stop.clone()));
        Ok(Cloud { cache, ledger, stop, serving })
    }

    /// Lets what is open end and closes the store.
    pub async fn stop(self) {
        self.stop.cancel();
        if self.serving.await.is_err() {
            log::error!("a cloud of the demo panicked");
        }
        if let Err(error) = self.cache.close() {
            log::error!("closing a cloud of the demo: {error}");
        }
        self.ledger.close();
    }
}

/// Says who listens where, with what.
fn announce(cache: &Cache, made: usize, address: SocketAddr, line: Option<&Line>) {
    let stats = cache.stats();
    let (studies, instances) = (stats.studies, stats.instances);
    let Some(line) = line else {
        return say(
            &format!("国家索引 http://{address}：{studies} 项检查的目录，影像在省级云"),
            &format!("national index: {studies} studies, kept in the cloud"),
        );
    };
    let megabytes = stats.bytes / 1_000_000;
    let size = format!("{studies} 项检查，{instances} 幅，{megabytes} MB");
    say(
        &format!("省级影像云 http://{address}：{size}"),
        &format!("provincial cloud: {studies} studies, {instances} images"),
    );
    match made {
        0 => under("影像沿用上次生成的", "images are kept from the last run"),
        made => under(&format!("新生成 {made} 幅"), &format!("{made} images were generated now")),
    }
    let (ms, mbit) = (line.delay.as_millis(), line.bytes_per_second * 8 / 1_000_000);
    under(
        &format!("线路是模拟的：{ms} 毫秒，{mbit} Mbit/s"),
        &format!("its line is simulated: {ms} ms, {mbit} Mbit/s"),
    );
}

fn fill_cloud(cache: &Cache) -> Result<usize, DemoError> {
    let phantoms: Vec<Phantom> =
        people::holdings().into_iter().map(|holding| holding.phantom).collect();
    fill(cache, &phantoms, Phantom::write)
}

fn fill_index(cache: &Cache) -> Result<usize, DemoError> {
    let phantoms: Vec<Phantom> =
        people::holdings().into_iter().filter_map(|holding| holding.indexed).collect();
    fill(cache, &phantoms, Phantom::write_header)
}

/// Makes what is missing and removes what is not of this version's cast. Returns how many
/// instances were made.
fn fill(
    cache: &Cache,
    phantoms: &[Phantom],
    write: fn(&Phantom, usize) -> Vec<u8>,
) -> Result<usize, DemoError> {
    let uids: Vec<Uid> = phantoms.iter().map(uid).collect();
    for row in cache.search_studies(&StudyQuery::default()) {
        if !uids.contains(&row.study) {
            cache.remove_study(&row.study)?;
        }
    }
    let mut made = 0;
    for (phantom, uid) in phantoms.iter().zip(&uids) {
        if cache.instances_here(uid) as usize != phantom.instances() {
            made += fill_study(cache, phantom, uid, write)?;
        }
    }
    Ok(made)
}

fn uid(phantom: &Phantom) -> Uid {
    Uid::try_from(phantom.study_uid().as_str()).expect("a phantom's UIDs are UIDs")
}

/// Makes the missing instances of one study on all processors, and keeps them.
fn fill_study(
    cache: &Cache,
    phantom: &Phantom,
    study: &Uid,
    write: fn(&Phantom, usize) -> Vec<u8>,
) -> Result<usize, DemoError> {
    let mut arrival = cache.arrival(study)?;
    let is_missing = |number: &usize| {
        Uid::try_from(phantom.instance_uid(*number).as_str()).is_ok_and(|sop| !arrival.has(&sop))
    };
    let missing: Vec<usize> = (0..phantom.instances()).filter(is_missing).collect();
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    let next = AtomicUsize::new(0);
    let (sender, made) = mpsc::sync_channel::<Vec<u8>>(MADE_AHEAD_MAX);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            let (sender, next, missing) = (sender.clone(), &next, &missing);
            scope.spawn(move || {
                while let Some(number) = missing.get(next.fetch_add(1, Ordering::Relaxed)) {
                    // A closed channel means that keeping failed; its fault is told there.
                    if sender.send(write(phantom, *number)).is_err() {
                        return;
                    }
                }
            });
        }
        drop(sender);
        for bytes in made {
            let mut object = arrival.begin()?;
            object.write(&bytes)?;
            let whole = arrival.complete(object)?;
            arrival.keep(whole)?;
        }
        Ok::<(), DemoError>(())
    })?;
    arrival.seal()?;
    Ok(missing.len())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::verbs::demo::phantoms::Kind;

    /// A small study that is not in the cast.
    fn small() -> Phantom {
        let mut phantom = people::holdings().remove(0).phantom;
        phantom.kind = Kind::Mr { slices: 3 };
        phantom
    }

    #[test]
    fn a_store_is_filled_once_and_loses_what_is_no_longer_played() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(folder.path()).unwrap();
        let phantom = small();
        let one = std::slice::from_ref(&phantom);
        assert_eq!(fill(&cache, one, Phantom::write).unwrap(), 3);
        assert_eq!(fill(&cache, one, Phantom::write).unwrap(), 0);
        let study = cache.study(&uid(&phantom)).unwrap().unwrap();
        let mut here: Vec<u64> = study.instances().iter().map(|one| one.bytes).collect();
        let mut made: Vec<u64> = (0..3).map(|one| phantom.write(one).len() as u64).collect();
        here.sort_unstable();
        made.sort_unstable();
        assert_eq!(here, made);
        let other = Phantom { seed: 1, ..phantom.clone() };
        assert_eq!(fill(&cache, &[other], Phantom::write_header).unwrap(), 3);
        assert_eq!(cache.instances_here(&uid(&phantom)), 0);
        cache.close().unwrap();
    }

    #[test]
    fn a_line_takes_its_time_over_all_that_is_put_on_it() {
        let line = Line::provincial();
        let began = Instant::now();
        line.carry(20_000_000, began);
        let both = line.carry(10_000_000, began).duration_since(began);
        assert_eq!(both, Duration::from_millis(1_500));
        let later = began + Duration::from_secs(10);
        let idle = line.carry(20_000, later).duration_since(later);
        assert_eq!(idle, Duration::from_millis(1), "an idle line does not save up");
    }
}
