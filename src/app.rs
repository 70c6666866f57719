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
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::clock;
use crate::config::{Config, Listen, Zone};
use crate::console::Board;
use crate::delivery::Delivery;
use crate::dicom;
use crate::doctor::{Daily, Subjects};
use crate::host::{self, CredentialFault, SocketFault, Sockets};
use crate::http::{self, Door, ServeError, TlsFault};
use crate::intake::Intake;
use crate::ledger::{Ledger, LedgerError, Sm2KeyFault};
use crate::listen::Service;
use crate::notice::Notices;
use crate::prefetch::Prefetch;
use crate::storage::Storage;
use crate::upstream::OptionsError;
use crate::views::Views;
use build::Polled;

pub use build::dictionary_flow;

/// Why Forepost does not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
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
    /// A socket that systemd should have passed.
    #[error("{zone} zone: {source}")]
    Socket {
        /// The zone.
        zone: &'static str,
        /// What is wrong.
        source: SocketFault,
    },
    /// What systemd says of the sockets that it passes.
    #[error(transparent)]
    Sockets(SocketFault),
    /// A change that a running process does not take up.
    #[error("{0}: changed, which takes a restart: systemctl restart forepost")]
    NeedsRestart(String),
    /// The ledger's keys.
    #[error(transparent)]
    Keys(#[from] CredentialFault),
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
    /// Where the DICOM zone listens, plain.
    pub dicom: Option<SocketAddr>,
    /// Where the DICOM zone listens, with TLS.
    pub dicom_tls: Option<SocketAddr>,
    lasting: Lasting,
    flows: Flows,
    fixed: Fixed,
    doors: Vec<Listener<Door>>,
    dicom_doors: Vec<Listener<dicom::Door>>,
    open: TaskTracker,
    /// Let go when everything else is closed.
    _lock: File,
}

/// What outlives a change of the configuration.
struct Lasting {
    ledger: Ledger,
    cache: Cache,
    prefetch: Arc<Prefetch>,
    delivery: Arc<Delivery>,
    storage: Arc<Storage>,
    recorder: PrometheusHandle,
    board: Arc<Board>,
    doctor: Arc<Daily>,
    stop: CancellationToken,
}

/// Makes the process's recorder; once a process.
pub fn recorder() -> Result<PrometheusHandle, StartError> {
    let handle = PrometheusBuilder::new()
        .install_recorder()
        .map_err(|error| StartError::Metrics(error.to_string()))?;
    crate::metrics::describe();
    metrics::gauge!("process_start_time_seconds").set(clock::now().0 as f64 / 1_000.0);
    Ok(handle)
}

/// Opens the ledger of `data`, with keys made when there is no ledger yet. From then on no moment
/// counts that lies before its last one.
pub fn open_ledger(data: &Path) -> Result<Ledger, StartError> {
    let folder = data.join("ledger");
    let first_start = !folder.join("forepost.db").exists();
    let keys = host::ledger_keys(data, first_start)?;
    let ledger = Ledger::open(&folder, keys)?;
    if let Some(last) = ledger.last_moment()? {
        clock::not_before(last);
    }
    Ok(ledger)
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
    pub async fn start(
        mut config: Config,
        recorder: PrometheusHandle,
        mut sockets: Sockets,
    ) -> Result<App, StartError> {
        let lock = lock_data(&config.data)?;
        let unfinished = config.data.join(RESTORING);
        if unfinished.exists() {
            return Err(StartError::HalfRestored { path: unfinished.display().to_string() });
        }
        let ledger = open_ledger(&config.data)?;
        let cache = Cache::open(&config.cache)?;
        let fixed = Fixed::of(&config);
        let lasting = build::lasting(&config, ledger, cache, recorder)?;
        let intake = build::intake(&mut config, &lasting)?;
        let opened_ms = config.workstation.opened_ms;
        let notices = Arc::new(Notices::new(Arc::clone(&intake), lasting.cache.clone(), opened_ms));
        let wired = build::wire(&mut config, &lasting, &intake, &notices)?;
        let zones = [config.hospital_zone, config.cloud_zone, config.console_zone];
        let (doors, listeners) = bind_all(&zones, wired.routers, &mut sockets).await?;
        if !doors.iter().any(|one| one.door.zone == ZONES[0]) {
            return Err(StartError::NoHospitalZone);
        }
        let services = build::services(&config.dicom_zone, &[], &config.ae_title)?;
        let door = |before: Option<&dicom::Door>, service| match before {
            Some(before) => before.beside(service),
            None => dicom::Door::new(service),
        };
        let (dicom_doors, dicom_listeners) =
            bind_zone(ZONES[3], services, door, &mut sockets).await?;
        if !sockets.is_empty() {
            let names = sockets.names();
            log::warn!(names; "sockets that systemd passed and no zone listens on are closed");
        }
        let address = |zone: &str, tls: bool| {
            doors.iter().find(|one| one.door.zone == zone && one.tls == tls)?.address
        };
        let [hospital, cloud] = ["hospital", "cloud"].map(|zone| address(zone, false));
        let [hospital_tls, cloud_tls] = ["hospital", "cloud"].map(|zone| address(zone, true));
        let console = address("console", false).or_else(|| address("console", true));
        let [dicom, dicom_tls] = [false, true]
            .map(|tls| dicom_doors.iter().find(|one| one.tls == tls).and_then(|one| one.address));
        let open = TaskTracker::new();
        for (one, listener) in doors.iter().zip(listeners) {
            open.spawn(one.door.clone().serve(listener, lasting.stop.clone()));
        }
        for (one, listener) in dicom_doors.iter().zip(dicom_listeners) {
            open.spawn(one.door.clone().serve(listener, lasting.stop.clone()));
        }
        open.close();
        let flows = Flows::start(&lasting, notices, intake, wired.polled);
        Ok(App {
            hospital,
            hospital_tls,
            cloud,
            cloud_tls,
            console,
            dicom,
            dicom_tls,
            lasting,
            flows,
            fixed,
            doors,
            dicom_doors,
            open,
            _lock: lock,
        })
    }

    /// Goes on by another configuration: callers, sources, destinations, views, dictionaries,
    /// certificates and limits. No connection is dropped, what is under way ends as it began. On
    /// an error nothing has changed.
    pub async fn reload(&mut self, mut config: Config) -> Result<(), StartError> {
        self.fixed.same(&Fixed::of(&config))?;
        let subjects = Subjects::of(&config);
        let policy = build::policy(&config, &self.lasting.ledger, &self.lasting.cache)?;
        let outlets = build::outlets(&config.deliveries)?;
        let intake = build::intake(&mut config, &self.lasting)?;
        let push_sources = build::push_sources(&config);
        let opened_ms = config.workstation.opened_ms;
        let wired = build::wire(&mut config, &self.lasting, &intake, &self.flows.notices)?;
        let zones = [config.hospital_zone, config.cloud_zone, config.console_zone];
        let mut services = Vec::new();
        for (zone, router) in zones.iter().zip(wired.routers) {
            services.extend(build::services(zone, http::HTTP, &router)?);
        }
        let dicom_services = build::services(&config.dicom_zone, &[], &config.ae_title)?;
        // From here on nothing fails. The listeners are the same, so are their places.
        self.lasting.prefetch.replace(policy);
        self.lasting.delivery.replace(outlets);
        self.lasting.storage.set_push_sources(push_sources);
        self.flows.notices.replace(Arc::clone(&intake), opened_ms);
        self.lasting.doctor.replace(subjects);
        for (listener, (_, service)) in self.doors.iter().zip(services) {
            listener.door.replace(service);
        }
        for (listener, (_, service)) in self.dicom_doors.iter().zip(dicom_services) {
            listener.door.replace(service);
        }
        self.flows.replace(&self.lasting, intake, wired.polled).await;
        Ok(())
    }

    /// Refuses new connections, lets what is open end, stops the flows, closes cache and ledger.
    pub async fn stop(self) {
        self.lasting.stop.cancel();
        self.lasting.prefetch.stop();
        self.flows.end(&self.lasting, self.open).await;
        if let Err(error) = self.lasting.cache.close() {
            log::error!("closing the cache: {error}");
        }
        self.lasting.ledger.close();
    }

    /// The disk of record, for what runs beside it in the same process.
    pub fn ledger(&self) -> &Ledger {
        &self.lasting.ledger
    }

    /// The studies, likewise.
    pub fn cache(&self) -> &Cache {
        &self.lasting.cache
    }
}

/// The zones that speak HTTP, in the order in which their routers are built, then the other one.
const ZONES: [&str; 4] = ["hospital", "cloud", "console", "dicom"];

/// A door that listens.
struct Listener<D> {
    door: D,
    tls: bool,
    address: Option<SocketAddr>,
}

/// Binds every listener of the zones that speak HTTP.
async fn bind_all(
    zones: &[Zone; 3],
    routers: [Router; 3],
    sockets: &mut Sockets,
) -> Result<(Vec<Listener<Door>>, Vec<TcpListener>), StartError> {
    let boot: Arc<str> = format!("{:x}", clock::now().0 & 0xffff_ffff).into();
    let (mut doors, mut listeners): (Vec<_>, Vec<_>) = Default::default();
    for ((name, zone), router) in ZONES.into_iter().zip(zones).zip(routers) {
        let services = build::services(zone, http::HTTP, &router)?;
        let door = |before: Option<&Door>, service| match before {
            Some(before) => before.beside(service),
            None => Door::new(name, Arc::clone(&boot), service),
        };
        let (own, bound) = bind_zone(name, services, door, sockets).await?;
        doors.extend(own);
        listeners.extend(bound);
    }
    Ok((doors, listeners))
}

/// Binds the listeners of a zone, the plain one first, each with a door that is made of the one
/// before it: they share what comes in.
async fn bind_zone<B, D>(
    zone: &'static str,
    services: Vec<(Listen, Service<B>)>,
    door: impl Fn(Option<&D>, Service<B>) -> D,
    sockets: &mut Sockets,
) -> Result<(Vec<Listener<D>>, Vec<TcpListener>), StartError> {
    let (mut doors, mut listeners): (Vec<Listener<D>>, _) = (Vec::new(), Vec::new());
    for (listen, service) in services {
        let tls = service.tls.is_some();
        let door = door(doors.last().map(|before| &before.door), service);
        let listener = bind(zone, tls, &listen, sockets).await?;
        let address = listener.local_addr().ok();
        doors.push(Listener { door, tls, address });
        listeners.push(listener);
    }
    Ok((doors, listeners))
}

/// Opens a listener, or takes the one that systemd opened; says its address in the log.
async fn bind(
    zone: &'static str,
    tls: bool,
    listen: &Listen,
    sockets: &mut Sockets,
) -> Result<TcpListener, StartError> {
    let listener = match listen {
        Listen::Address(address) => http::bind(zone, *address).await?,
        Listen::Passed(name) => {
            let failed = |source| StartError::Socket { zone, source };
            let passed = sockets.take(name).map_err(failed)?;
            let unusable = |source| SocketFault::Unusable { name: name.clone(), source };
            TcpListener::from_std(passed).map_err(|error| failed(unusable(error)))?
        }
    };
    match listener.local_addr() {
        Ok(address) => log::info!(zone, tls; "listening on {address}"),
        Err(error) => log::warn!(zone, tls; "listening on an address that is not told: {error}"),
    }
    Ok(listener)
}

/// What only a start can change.
#[derive(PartialEq)]
struct Fixed {
    data: PathBuf,
    cache: PathBuf,
    listeners: [[Option<Listen>; 2]; 4],
}

impl Fixed {
    fn of(config: &Config) -> Fixed {
        let zones =
            [&config.hospital_zone, &config.cloud_zone, &config.console_zone, &config.dicom_zone];
        let listeners = zones
            .map(|zone| [zone.listen.clone(), zone.listen_tls.as_ref().map(|(at, _)| at.clone())]);
        Fixed { data: config.data.clone(), cache: config.cache.clone(), listeners }
    }

    /// An error that names every key that differs.
    fn same(&self, new: &Fixed) -> Result<(), StartError> {
        let mut keys = Vec::new();
        if self.data != new.data {
            keys.push("data".to_owned());
        }
        if self.cache != new.cache {
            keys.push("cache".to_owned());
        }
        for ((zone, old), new) in ZONES.iter().zip(&self.listeners).zip(&new.listeners) {
            for (key, (old, new)) in ["listen", "listen_tls"].iter().zip(old.iter().zip(new)) {
                if old != new {
                    keys.push(format!("zone.{zone}.{key}"));
                }
            }
        }
        if keys.is_empty() { Ok(()) } else { Err(StartError::NeedsRestart(keys.join(", "))) }
    }
}

/// What works beside the doors.
struct Flows {
    working: JoinHandle<()>,
    settling: JoinHandle<()>,
    delivering: JoinHandle<()>,
    notices: Arc<Notices>,
    noticing: JoinHandle<()>,
    doctoring: JoinHandle<()>,
    /// `None` only between two configurations.
    polls: Option<Polls>,
}

/// What asks others by the clock, and starts anew with another configuration.
struct Polls {
    views: Views,
    dictionaries: JoinHandle<()>,
    stop: CancellationToken,
    keys: JoinHandle<()>,
}

impl Polls {
    fn start(lasting: &Lasting, intake: Arc<Intake>, polled: Polled) -> Polls {
        let stop = lasting.stop.child_token();
        let run = polled.dictionary.run(polled.dictionary_sources, clock::now, stop.clone());
        Polls {
            views: Views::start(polled.views),
            dictionaries: tokio::spawn(run),
            stop,
            keys: tokio::spawn(Intake::clone(&intake).keep_keys(clock::now)),
        }
    }

    /// Ends them; what a view brought is known, the rest comes with the next start.
    async fn end(self) {
        self.stop.cancel();
        self.views.stop().await;
        // It may end anywhere: each plan is taken up by one commit.
        self.keys.abort();
        ended("dictionaries", self.dictionaries).await;
    }
}

impl Flows {
    fn start(
        lasting: &Lasting,
        notices: Arc<Notices>,
        intake: Arc<Intake>,
        polled: Polled,
    ) -> Flows {
        Flows {
            working: tokio::spawn(Arc::clone(&lasting.prefetch).run()),
            settling: tokio::spawn(Arc::clone(&lasting.storage).run()),
            delivering: tokio::spawn(Arc::clone(&lasting.delivery).run()),
            noticing: tokio::spawn(Arc::clone(&notices).run(clock::now)),
            notices,
            doctoring: tokio::spawn(Arc::clone(&lasting.doctor).run()),
            polls: Some(Polls::start(lasting, intake, polled)),
        }
    }

    /// Ends what asks by the old configuration before anything asks by the new one.
    async fn replace(&mut self, lasting: &Lasting, intake: Arc<Intake>, polled: Polled) {
        if let Some(polls) = self.polls.take() {
            polls.end().await;
        }
        self.polls = Some(Polls::start(lasting, intake, polled));
    }

    /// Ends them, those behind which something comes in first: what was accepted last may still be
    /// sent, or waits for the next start.
    async fn end(self, lasting: &Lasting, doors: TaskTracker) {
        if let Some(polls) = self.polls {
            polls.end().await;
        }
        doors.wait().await;
        // It only rings: what was found stands in the ledger.
        self.noticing.abort();
        // It only looks.
        self.doctoring.abort();
        lasting.storage.stop();
        lasting.delivery.stop();
        ended("storage", self.settling).await;
        ended("prefetch", self.working).await;
        ended("deliveries", self.delivering).await;
    }
}

async fn ended(name: &str, flow: JoinHandle<()>) {
    if flow.await.is_err() {
        log::error!("the flow of {name} panicked");
    }
}
