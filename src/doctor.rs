//! `forepost doctor`: whether this machine and everybody it talks to are in order, and what to do
//! where they are not.
//!
//! What for: an engineer of the hospital runs it when something does not work, `setup` runs its
//! checks on each answer, and the daemon runs it daily for the health page. What always holds: a
//! check changes nothing, sends no record and nothing personal, and ends within its limit; checks
//! run side by side, and their findings stand in the order of the configuration; a step that was
//! not reached is not told. Refused: guessing behind a fault; what a peer said is shown as it is.
//! Start at [`Subjects`].

mod backup;
mod bundle;
mod calls;
mod clock;
mod daily;
mod database;
mod disk;
mod ledger;
pub mod limits;
mod peer;
mod redact;
mod zone;

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::timeout;

use crate::config::{BackupOptions, Config, SourceOptions, Zone};
use crate::model::Time;
pub use crate::model::{Finding, FindingState as State, Measured, Words};
use crate::prefetch::eviction::Marks;
use crate::upstream::{DestinationOptions, DictionaryOptions};
use crate::views::{DatabaseOptions, ViewOptions};
pub use bundle::{Bundle, BundleError};
pub use daily::Daily;
use limits::{DOCTOR_WAIT, SYNC_WAIT};

/// A `[[source]]`: name, connection, certificate, credentials, one search for a UID that nobody
/// has. Who pushes is called by nobody and is only named.
pub async fn source(options: &SourceOptions, now: Time) -> Vec<Finding> {
    let subject = format!("source {}", options.name());
    match options {
        SourceOptions::Dicomweb(options) => calls::dicomweb(&subject, options, now).await,
        SourceOptions::Dimse(options) => calls::dimse(&subject, options, now).await,
        SourceOptions::Push(_) => {
            let words = Words::new("由对方推送，本机不呼叫", "it pushes; nobody is called");
            vec![Finding::fine(&subject, "push", words)]
        }
    }
}

/// A `[[destination]]`: name, connection, certificate, token. Nothing is delivered.
pub async fn destination(options: &DestinationOptions, now: Time) -> Vec<Finding> {
    calls::destination(&format!("destination {}", options.name), options, now).await
}

/// A `[[dictionary_source]]`: name, connection, certificate, its dictionary read and dropped.
pub async fn dictionary_source(options: &DictionaryOptions, now: Time) -> Vec<Finding> {
    let subject = format!("dictionary_source {}", options.name);
    calls::dictionary_source(&subject, options, now).await
}

/// A `[[databases]]` with those of the views that are its own: name, connection, login, and the
/// columns of each view. No row is read.
pub async fn database(options: &DatabaseOptions, views: &[ViewOptions], now: Time) -> Vec<Finding> {
    database::findings(&format!("database {}", options.name), options, views, now).await
}

/// A zone of our own, `hospital`, `cloud` or `console`: the addresses are this machine's, their
/// ports free or ours, the certificate good.
pub async fn zone(name: &str, zone: &Zone, now: Time) -> Vec<Finding> {
    let (subject, zone) = (format!("zone {name}"), zone.clone());
    let looking = move || zone::findings(&subject, &zone, now);
    tokio::task::spawn_blocking(looking).await.unwrap_or_default()
}

/// The machine's clock: believed, kept by somebody, and how far from the time server's.
pub async fn clock(time_server: Option<&str>) -> Vec<Finding> {
    clock::findings(time_server).await
}

/// The disk below a folder: room against the marks, inodes, mode, owner, one synced file.
pub async fn disk(folder: &Path, marks: &Marks) -> Vec<Finding> {
    disk_called("disk", folder, marks).await
}

async fn disk_called(subject: &str, folder: &Path, marks: &Marks) -> Vec<Finding> {
    let looking = {
        let (subject, folder, marks) = (subject.to_owned(), folder.to_owned(), *marks);
        move || disk::findings(&subject, &folder, &marks)
    };
    match timeout(SYNC_WAIT, tokio::task::spawn_blocking(looking)).await {
        Ok(findings) => findings.unwrap_or_default(),
        Err(_) => vec![late(subject, SYNC_WAIT)],
    }
}

/// The ledger and its keys in the folder `data`, read beside a running service.
pub async fn ledger(data: &Path, now: Time) -> Vec<Finding> {
    let data = data.to_owned();
    let looking = move || ledger::findings(&data, now);
    tokio::task::spawn_blocking(looking).await.unwrap_or_default()
}

/// Backups: the last one's age, and the folder for the next.
pub async fn backup(options: &BackupOptions, data: &Path, now: Time) -> Vec<Finding> {
    let (options, data) = (options.clone(), data.to_owned());
    let looking = move || backup::findings(&options, &data, now);
    tokio::task::spawn_blocking(looking).await.unwrap_or_default()
}

/// Everything that the configuration names, in its order.
pub async fn all(config: &Config, now: Time) -> Vec<Finding> {
    Subjects::of(config).check(now).await
}

/// What of a configuration is looked at; a copy, as the application takes the configuration apart.
#[derive(Clone)]
pub struct Subjects {
    data: PathBuf,
    cache: PathBuf,
    backup: BackupOptions,
    marks: Marks,
    time_server: Option<String>,
    zones: [(&'static str, Zone); 4],
    sources: Vec<SourceOptions>,
    destinations: Vec<DestinationOptions>,
    dictionary_sources: Vec<DictionaryOptions>,
    databases: Vec<DatabaseOptions>,
    views: Vec<ViewOptions>,
}

/// One subject's check under way.
type Check<'a> = Pin<Box<dyn Future<Output = Vec<Finding>> + Send + 'a>>;

impl Subjects {
    /// Those of a configuration.
    pub fn of(config: &Config) -> Subjects {
        Subjects {
            data: config.data.clone(),
            cache: config.cache.clone(),
            backup: config.backup.clone(),
            marks: config.marks,
            time_server: config.time_server.clone(),
            zones: [
                ("hospital", config.hospital_zone.clone()),
                ("cloud", config.cloud_zone.clone()),
                ("console", config.console_zone.clone()),
                ("dicom", config.dicom_zone.clone()),
            ],
            sources: config.sources.clone(),
            destinations: config.deliveries.destinations.clone(),
            dictionary_sources: config.dictionary_sources.clone(),
            databases: config.databases.clone(),
            views: config.views.clone(),
        }
    }

    /// Checks all of them side by side; their findings stand in the order of the configuration,
    /// the machine's own last.
    pub async fn check(&self, now: Time) -> Vec<Finding> {
        self.check_some(now, |_| true).await
    }

    /// Checks those whose name is wanted.
    pub async fn check_some(&self, now: Time, wanted: impl Fn(&str) -> bool) -> Vec<Finding> {
        let checks = self.checks(now).into_iter().filter(|(subject, _)| wanted(subject));
        let bounded = checks.map(|(subject, check)| async move {
            let done = timeout(DOCTOR_WAIT, check).await;
            done.unwrap_or_else(|_| vec![late(&subject, DOCTOR_WAIT)])
        });
        join_all(bounded).await.into_iter().flatten().collect()
    }

    /// The names of all subjects.
    pub fn names(&self) -> Vec<String> {
        self.checks(Time(0)).into_iter().map(|(subject, _)| subject).collect()
    }

    fn checks(&self, now: Time) -> Vec<(String, Check<'_>)> {
        let mut checks: Vec<(String, Check<'_>)> = Vec::new();
        for (name, own) in self.zones.iter().filter(|(_, own)| is_open(own)) {
            checks.push((format!("zone {name}"), Box::pin(zone(name, own, now))));
        }
        for one in &self.sources {
            checks.push((format!("source {}", one.name()), Box::pin(source(one, now))));
        }
        for one in &self.destinations {
            checks.push((format!("destination {}", one.name), Box::pin(destination(one, now))));
        }
        for one in &self.dictionary_sources {
            let name = format!("dictionary_source {}", one.name);
            checks.push((name, Box::pin(dictionary_source(one, now))));
        }
        for one in &self.databases {
            let check = database(one, &self.views, now);
            checks.push((format!("database {}", one.name), Box::pin(check)));
        }
        checks.push(("disk".to_owned(), Box::pin(disk(&self.data, &self.marks))));
        if !same_disk(&self.data, &self.cache) {
            let check = disk_called("disk cache", &self.cache, &self.marks);
            checks.push(("disk cache".to_owned(), Box::pin(check)));
        }
        checks.push(("clock".to_owned(), Box::pin(clock(self.time_server.as_deref()))));
        checks.push(("ledger".to_owned(), Box::pin(ledger(&self.data, now))));
        let check = backup(&self.backup, &self.data, now);
        checks.push(("backup".to_owned(), Box::pin(check)));
        checks
    }
}

fn is_open(zone: &Zone) -> bool {
    zone.listen.is_some() || zone.listen_tls.is_some()
}

/// Whether a cache needs no look of its own: it lies on the same disk, or is not there yet.
fn same_disk(data: &Path, cache: &Path) -> bool {
    let disk = |path: &Path| std::fs::metadata(path).ok().map(|one| one.dev());
    disk(cache).is_none() || disk(cache) == disk(data)
}

fn late(subject: &str, wait: Duration) -> Finding {
    let seconds = wait.as_secs();
    let words = Words::new(
        format!("{seconds} 秒内没有查完"),
        format!("the check did not end within {seconds} s"),
    );
    let next = Words::new(
        format!("单独再查：`forepost doctor --only '{subject}'`"),
        format!("look at it alone: `forepost doctor --only '{subject}'`"),
    );
    Finding::failing(subject, "deadline", words, next)
}

/// The worst state of all findings.
pub fn worst(findings: &[Finding]) -> State {
    findings.iter().map(|one| one.state).max().unwrap_or(State::Fine)
}
