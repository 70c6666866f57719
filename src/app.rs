//! Wiring: everything is built, every door bound, then it runs until a signal, then it drains.

mod build;

use std::fs::{File, TryLockError};
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::Router;
use forepost_cache::{Cache, CacheError};
use metrics_exporter_prometheus::{PrometheusBuilder, PrometheusHandle};
use secrecy::SecretString;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::{Config, Zone};
use crate::console::{self, Console};
use crate::delivery::Delivery;
use crate::http::{self, Callers, Door, ServeError, TlsFault};
use crate::intake::Intake;
use crate::ledger::{self, KeyFault, Ledger, LedgerError, Sm2KeyFault};
use crate::lookup::Lookup;
use crate::prefetch::Prefetch;
use crate::storage::Storage;
use crate::upstream::OptionsError;
use crate::views::Views;

pub use build::dictionary_flow;

/// Why Forepost does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The key file.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The hospital's SM2 keys.
    #[error(transparent)]
    Sm2Keys(#[from] Sm2KeyFault),
    /// The ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// Another process serves from the data folder, or a restore is under way.
    #[error("{path} is locked: another forepost serves from this data folder, or restores into it")]
    Locked {
        /// The folder.
        path: String,
    },
    /// The data folder cannot be made or locked.
    #[error("{path}: {source}")]
    Data {
        /// The folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// A restore did not come to its end.
    #[error("{path} is there: a restore was cut off; run the same `forepost restore` again")]
    HalfRestored {
        /// The mark that it left.
        path: String,
    },
    /// The cache.
    #[error("cache: {0}")]
    Cache(#[from] CacheError),
    /// A source's certificates or address.
    #[error("source {name}: {error}")]
    Source {
        /// The source.
        name: String,
        /// What is wrong.
        error: OptionsError,
    },
    /// A destination's certificates or address.
    #[error("destination {name}: {error}")]
    Destination {
        /// The destination.
        name: String,
        /// What is wrong.
        error: OptionsError,
    },
    /// A listener's certificate.
    #[error(transparent)]
    Tls(#[from] TlsFault),
    /// A listener's address.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The hospital zone has no address at all.
    #[error("zone.hospital: neither `listen` nor `listen_tls` is set")]
    NoHospitalZone,
    /// A view of an interface that nobody here makes anything of.
    #[error("view {name}: rows of {interface} are not taken by this version")]
    View {
        /// The view.
        name: String,
        /// Its interface.
        interface: &'static str,
    },
    /// The process may not know of metrics twice.
    #[error("metrics: {0}")]
    Metrics(String),
}

/// A running Forepost.
pub struct App {
    /// Where the hospital zone listens, plain.
    pub hospital: Option<SocketAddr>,
    /// Where the hospital zone listens, with TLS.
    pub hospital_tls: Option<SocketAddr>,
    /// Where the cloud zone listens, plain.
    pub cloud: Option<SocketAddr>,
    /// Where the cloud zone listens, with TLS.
    pub cloud_tls: Option<SocketAddr>,
    /// Where the console zone listens.
    pub console: Option<SocketAddr>,
    /// The disk of record, for what runs beside it in the same process.
    pub ledger: Ledger,
    /// The studies, likewise.
    pub cache: Cache,
    flows: Flows,
    stop: CancellationToken,
    doors: TaskTracker,
    /// Let go when everything else is closed.
    _lock: File,
}

/// Makes the process's recorder; once a process.
pub fn recorder() -> Result<PrometheusHandle, StartError> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| StartError::Metrics(error.to_string()))?;
    crate::metrics::describe();
    Ok(handle)
}

/// Opens the ledger of `data`, with keys made when there is no ledger yet. From then on no moment
/// counts that lies before its last one.
pub fn open_ledger(data: &Path) -> Result<Ledger, StartError> {
    let folder = data.join("ledger");
    let first_start = !folder.join("forepost.db").exists();
    let keys = ledger::load_or_make_keys(&data.join("keys"), first_start)?;
    let ledger = Ledger::open(&folder, keys)?;
    if let Some(last) = ledger.last_moment()? {
        clock::not_before(last);
    }
    Ok(ledger)
}

/// The text of the key file of `data`, wherever it is kept: for a backup.
pub fn keys_text(data: &Path) -> Result<SecretString, StartError> {
    Ok(ledger::keys_text(&data.join("keys"))?)
}

/// What a restore leaves in the data folder until it has come to its end.
pub const RESTORING: &str = "restore.unfinished";

/// Takes the data folder for this process alone, as long as the file lives: who serves and who
/// restores exclude each other. Makes the folder where there is none. The folder itself is locked:
/// a file would belong to whoever came first, root or the service.
pub fn lock_data(data: &Path) -> Result<File, StartError> {
    let fault = |source| StartError::Data { path: data.display().to_string(), source };
    std::fs::DirBuilder::new().recursive(true).mode(0o700).create(data).map_err(fault)?;
    let lock = File::open(data).map_err(fault)?;
    match lock.try_lock() {
        Ok(()) => Ok(lock),
        Err(TryLockError::WouldBlock) => {
            Err(StartError::Locked { path: data.display().to_string() })
        }
        Err(TryLockError::Error(error)) => Err(fault(error)),
    }
}

/// Where the hospital's SM2 keys lie.
pub fn sm2_folder(data: &Path) -> PathBuf {
    data.join("keys/sm2")
}

impl App {
    /// Builds all, binds every door and starts. Returns when every door listens.
    pub async fn start(mut config: Config, recorder: PrometheusHandle) -> Result<App, StartError> {
        let lock = lock_data(&config.data)?;
        let unfinished = config.data.join(RESTORING);
        if unfinished.exists() {
            return Err(StartError::HalfRestored { path: unfinished.display().to_string() });
        }
        let ledger = open_ledger(&config.data)?;
        let cache = Cache::open(&config.cache)?;
        let prefetch = build::prefetch_flow(&config, &ledger, &cache)?;
        let delivery = build::start_delivery(&ledger, &config.deliveries)?;
        let taking = build::taking(&mut config, &ledger, &cache, &prefetch, &delivery)?;
        let views = build::view_parts(&mut config, &ledger, &taking)?;
        let asked = build::dictionary_sources(std::mem::take(&mut config.dictionary_sources))?;
        let callers = Callers::new(std::mem::take(&mut config.callers));
        let numbers = std::mem::take(&mut config.patient_numbers);
        let lookup = Lookup::new(ledger.clone(), cache.clone(), numbers);
        let storage = build::storage(&config, &ledger, &cache, &prefetch);
        let stop = CancellationToken::new();
        let doctors =
            build::workstations(&config, &ledger, &cache, callers.clone(), &taking, &stop);
        let images = build::images(lookup, &prefetch, callers.clone(), &storage);
        let cloud = build::cloud_zone(callers.clone(), taking.dictionary.clone());
        let hospital =
            build::hospital_zone(&mut config, callers, &taking).merge(images).merge(doctors);
        let console = console::router(Arc::new(Console {
            ledger: ledger.clone(),
            cache: cache.clone(),
            recorder,
            offset: config.offset,
            clock: clock::now,
        }));
        let mut bound = Bound::default();
        let boot = format!("{:x}", clock::now().0 & 0xffff_ffff);
        let hospital_at = bound.zone("hospital", config.hospital_zone, hospital, &boot).await?;
        let (cloud, cloud_tls) = bound.zone("cloud", config.cloud_zone, cloud, &boot).await?;
        let console_at = bound.zone("console", config.console_zone, console, &boot).await?;
        if hospital_at == (None, None) {
            return Err(StartError::NoHospitalZone);
        }
        let doors = bound.serve(&stop);
        let dictionary = taking.dictionary;
        let keys = Intake::clone(&taking.intake);
        let flows = Flows {
            working: tokio::spawn(Arc::clone(&prefetch).run()),
            settling: tokio::spawn(Arc::clone(&storage).run()),
            polling: tokio::spawn(dictionary.run(asked, clock::now, stop.clone())),
            keys: tokio::spawn(keys.keep_keys(clock::now)),
            notices: tokio::spawn(taking.notices.run(clock::now)),
            delivering: tokio::spawn(Arc::clone(&delivery).run()),
            views: Views::start(views),
            prefetch,
            storage,
            delivery,
        };
        let (hospital, hospital_tls) = hospital_at;
        let console = console_at.0.or(console_at.1);
        Ok(App {
            hospital,
            hospital_tls,
            cloud,
            cloud_tls,
            console,
            ledger,
            cache,
            flows,
            stop,
            doors,
            _lock: lock,
        })
    }

    /// Refuses new connections, lets what is open end, stops the flows, closes cache and ledger.
    pub async fn stop(self) {
        self.stop.cancel();
        self.flows.prefetch.stop();
        let (doors, flows) = (self.doors, self.flows);
        flows.end(doors).await;
        if let Err(error) = self.cache.close() {
            log::error!("closing the cache: {error}");
        }
        self.ledger.close();
    }
}

/// What works beside the doors.
struct Flows {
    prefetch: Arc<Prefetch>,
    working: JoinHandle<()>,
    storage: Arc<Storage>,
    settling: JoinHandle<()>,
    views: Views,
    delivery: Arc<Delivery>,
    delivering: JoinHandle<()>,
    keys: JoinHandle<()>,
    notices: JoinHandle<()>,
    polling: JoinHandle<()>,
}

impl Flows {
    /// Ends them, those behind which something comes in first: what was accepted last may still be
    /// sent, or waits for the next start.
    async fn end(self, doors: TaskTracker) {
        self.views.stop().await;
        doors.wait().await;
        // It may end anywhere: each plan is taken up by one commit.
        self.keys.abort();
        // It only rings: what was found stands in the ledger.
        self.notices.abort();
        self.storage.stop();
        self.delivery.stop();
        let flows = [
            ("storage", self.settling),
            ("prefetch", self.working),
            ("deliveries", self.delivering),
            ("dictionaries", self.polling),
        ];
        for (name, flow) in flows {
            if flow.await.is_err() {
                log::error!("the flow of {name} panicked");
            }
        }
    }
}

/// Doors with the listeners they will serve.
#[derive(Default)]
struct Bound(Vec<(Door, TcpListener)>);

impl Bound {
    /// Opens every door.
    fn serve(self, stop: &CancellationToken) -> TaskTracker {
        let doors = TaskTracker::new();
        for (door, listener) in self.0 {
            doors.spawn(door.serve(listener, stop.clone()));
        }
        doors.close();
        doors
    }

    /// Binds the listeners of a zone; says each address in the log.
    async fn zone(
        &mut self,
        name: &'static str,
        zone: Zone,
        router: Router,
        boot: &str,
    ) -> Result<(Option<SocketAddr>, Option<SocketAddr>), StartError> {
        let door = Door::new(name, router, zone.allow, boot.into());
        let mut addresses = (None, None);
        if let Some(address) = zone.listen {
            addresses.0 = Some(self.bind(door.clone(), address).await?);
        }
        if let Some((address, certificate)) = zone.listen_tls {
            let tls = Some(http::acceptor(&certificate)?);
            addresses.1 = Some(self.bind(Door { tls, ..door }, address).await?);
        }
        Ok(addresses)
    }

    async fn bind(&mut self, door: Door, address: SocketAddr) -> Result<SocketAddr, StartError> {
        let listener = http::bind(door.zone, address).await?;
        let bound = listener.local_addr().unwrap_or(address);
        let (zone, tls) = (door.zone, door.tls.is_some());
        log::info!(zone, tls; "listening on {bound}");
        self.0.push((door, listener));
        Ok(bound)
    }
}
