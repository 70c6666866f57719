//! `forepost demo`: a provincial cloud, a national index and a hospital's appliance in one
//! process, and made-up patients on their way through all three.
//!
//! For: a newcomer's first minute, and a check that the whole chain works (`--once`). Always
//! holds: the appliance is the product, started as `serve` starts it, spoken to over HTTP only
//! where a HIS or a viewer would; everybody listens on loopback; all people are made up. On disk,
//! in one folder that is marked as the demo's: the clouds' studies, kept from run to run, and the
//! appliance's ledger and cache, made new at every run so that the chain is seen from its
//! beginning. Refused: a folder with anything else in it, because the appliance's part is deleted.
//! Start at [`run`]; `people` is the cast, `cloud` the other side, `story` what happens.

pub mod phantoms;

mod cloud;
mod people;
mod story;
mod words;

use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use clap::Args;
use forepost_cache::CacheError;
use log::LevelFilter;

use super::serve::{log_to_journal_or_stderr, wait_for_signal};
use super::{DONE, FAILED, fail};
use crate::app::{self, App, StartError};
use crate::config::{Config, ConfigFault};
use crate::host::Sockets;
use crate::http::ServeError;
use crate::ledger::LedgerError;
use cloud::{Cloud, Line, Role};
use story::Story;
use words::say;

/// The file that marks a folder as the demo's.
const MARK: &str = "forepost-demo.txt";

/// Ports that are looked at above the wanted one.
const PORTS_TRIED: u16 = 200;

/// What `demo` takes.
#[derive(Args)]
pub struct DemoArguments {
    /// End by itself: exit 0 if, and only if, the whole chain worked.
    #[arg(long)]
    once: bool,
    /// Where the demo keeps its studies and the appliance's ledger and cache.
    #[arg(long, default_value = "demo-data")]
    data: PathBuf,
}

/// Why the demo cannot go on.
#[derive(Debug, thiserror::Error)]
pub enum DemoError {
    /// A folder that may hold somebody's own files.
    #[error("{folder} is not empty and was not made by the demo; name another with --data")]
    NotOurs {
        /// Which.
        folder: PathBuf,
    },
    /// Disk.
    #[error("{what}")]
    Disk {
        /// File or folder.
        what: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// The store of one of the clouds; a second demo on the same folder ends here.
    #[error("the store of a cloud")]
    Cache(#[from] CacheError),
    /// A ledger.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// A part did not start.
    #[error(transparent)]
    Start(#[from] StartError),
    /// A door did not open.
    #[error(transparent)]
    Serve(#[from] ServeError),
    /// The embedded configuration, with this folder and these ports in it.
    #[error("{0}")]
    Config(#[from] ConfigFault),
    /// A request to a part of the demo.
    #[error("{what}")]
    Request {
        /// Which.
        what: String,
        /// Why.
        source: reqwest::Error,
    },
    /// A free port.
    #[error("no free port from {wanted} on")]
    Port {
        /// The first that was tried.
        wanted: u16,
    },
}

/// Where everybody listens.
#[derive(Clone, Copy)]
struct Addresses {
    hospital: SocketAddr,
    console: SocketAddr,
    cloud: SocketAddr,
    index: SocketAddr,
}

impl Addresses {
    /// The usual ports, or the next free ones.
    fn free() -> Result<Addresses, DemoError> {
        let cloud = free(8042, &[])?;
        let index = free(8043, &[cloud.port()])?;
        let hospital = free(8080, &[cloud.port(), index.port()])?;
        let console = free(9180, &[cloud.port(), index.port(), hospital.port()])?;
        Ok(Addresses { hospital, console, cloud, index })
    }
}

/// Runs the demo; the exit code.
pub fn run(arguments: DemoArguments) -> u8 {
    log_to_journal_or_stderr(LevelFilter::Error);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let told = runtime.block_on(demonstrate(&arguments));
    let code = told.unwrap_or_else(|error| fail(with_causes(&error)));
    runtime.shutdown_background();
    code
}

/// An error with everything that led to it.
fn with_causes(error: &dyn std::error::Error) -> String {
    let mut words = error.to_string();
    let mut cause = error.source();
    while let Some(next) = cause {
        let text = next.to_string();
        if !words.ends_with(&text) {
            words = format!("{words}: {text}");
        }
        cause = next.source();
    }
    words
}

async fn demonstrate(arguments: &DemoArguments) -> Result<u8, DemoError> {
    let data = claim(&arguments.data)?;
    words::title();
    say(
        &format!("数据在 {}；人物与影像全部虚构", data.display()),
        "data lies there; people and images are all made up",
    );
    words::chapter("三方", "Who takes part");
    let at = Addresses::free()?;
    let line = Line::provincial();
    let cloud = Cloud::open(Role::Cloud(line.clone()), &data.join("cloud"), at).await?;
    let index = Cloud::open(Role::Index, &data.join("index"), at).await?;
    let app = start_appliance(&data, at).await?;
    let mut story = Story::new(at, &data, app.ledger().clone(), app.cache().clone());
    let told = tokio::select! {
        told = tell(&mut story, arguments.once) => told,
        _ = wait_for_signal() => {
            words::stopping();
            Ok(!arguments.once && !story.has_failed())
        }
    };
    app.stop().await;
    index.stop().await;
    cloud.stop().await;
    Ok(if told? { DONE } else { FAILED })
}

/// The whole story; whether it came true. Without `once` it goes on until a signal ends it.
async fn tell(story: &mut Story, once: bool) -> Result<bool, DemoError> {
    story.tell().await?;
    let whole = story.judge();
    if once {
        return Ok(whole);
    }
    story.invite();
    std::future::pending().await
}

/// The demo's own folder, absolute, marked, with the last run's appliance removed.
fn claim(folder: &Path) -> Result<PathBuf, DemoError> {
    let disk = |what: &Path| {
        let what = what.to_owned();
        move |source| DemoError::Disk { what, source }
    };
    std::fs::create_dir_all(folder).map_err(disk(folder))?;
    let folder = folder.canonicalize().map_err(disk(folder))?;
    let mark = folder.join(MARK);
    let empty = std::fs::read_dir(&folder).map_err(disk(&folder))?.next().is_none();
    if !empty && !mark.exists() {
        return Err(DemoError::NotOurs { folder });
    }
    let text = "Made by `forepost demo`; everything in this folder may be deleted.\n";
    std::fs::write(&mark, text).map_err(disk(&mark))?;
    Ok(folder)
}

/// The wanted port on loopback, or the next free one, which is said.
fn free(wanted: u16, taken: &[u16]) -> Result<SocketAddr, DemoError> {
    let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let port = (wanted..wanted.saturating_add(PORTS_TRIED))
        .filter(|port| !taken.contains(port))
        .find(|port| std::net::TcpListener::bind(address(*port)).is_ok())
        .ok_or(DemoError::Port { wanted })?;
    if port != wanted {
        say(
            &format!("端口 {wanted} 已被占用，改用 {port}"),
            &format!("port {wanted} is taken, {port} is used"),
        );
    }
    Ok(address(port))
}

/// The product itself, with an empty ledger and an empty cache.
async fn start_appliance(data: &Path, at: Addresses) -> Result<App, DemoError> {
    let folder = data.join("appliance");
    let disk = |what: &Path| {
        let what = what.to_owned();
        move |source| DemoError::Disk { what, source }
    };
    if folder.exists() {
        std::fs::remove_dir_all(&folder).map_err(disk(&folder))?;
    }
    std::fs::create_dir_all(&folder).map_err(disk(&folder))?;
    let text = configuration(&folder, at);
    let file = data.join("forepost.toml");
    std::fs::write(&file, &text).map_err(disk(&file))?;
    let config = Config::parse(&text, &file.display().to_string())?;
    Ok(App::start(config, app::recorder()?, Sockets::default()).await?)
}

/// What the appliance is told; written beside the data, so that other verbs can read it.
fn configuration(folder: &Path, at: Addresses) -> String {
    let Addresses { hospital, console, cloud, index } = at;
    let (code, name) = (people::OWN_CODE, people::OWN_NAME);
    let data = toml::Value::from(folder.display().to_string());
    format!(
        r#"# Written by `forepost demo` at every start.
data = {data}

[[hospital]]
code = "{code}"
names = ["{name}"]

[zone.hospital]
listen = "{hospital}"

[zone.console]
listen = "{console}"

[[caller]]
name = "demo"
addresses = ["127.0.0.1/32"]
push = true
images = true

# The provincial cloud knows patients by the number of their identity card.
[[source]]
name = "province"
url = "http://{cloud}/dicom-web"
[[source.patient_key]]
kind = "idCardNo"

# The national index knows them by its SHA-256, and keeps no images: it says where they lie.
[[source]]
name = "nation"
url = "http://{index}/dicom-web"
index = true
[[source.patient_key]]
kind = "idCardNo"
sha256 = true
[[source.host]]
origin = "http://{cloud}"

[prefetch]
# The made-up studies have fixed dates, and the demo is to work in ten years as well.
look_back_days = 36500
"#
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::SourceOptions;

    #[test]
    fn the_embedded_configuration_is_in_order() {
        let address = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let at = Addresses {
            hospital: address(1),
            console: address(2),
            cloud: address(3),
            index: address(4),
        };
        let text = configuration(Path::new("/a \"quoted\" folder"), at);
        let config = Config::parse(&text, "demo").unwrap();
        assert_eq!(config.data, Path::new("/a \"quoted\" folder"));
        assert_eq!(config.sources.len(), 2);
        assert!(matches!(&config.sources[1], SourceOptions::Dicomweb(one) if one.index));
    }

    #[test]
    fn a_folder_with_other_files_is_left_alone() {
        let folder = tempfile::tempdir().unwrap();
        claim(folder.path()).unwrap();
        claim(folder.path()).unwrap();
        let other = tempfile::tempdir().unwrap();
        std::fs::write(other.path().join("thesis.txt"), "mine").unwrap();
        assert!(matches!(claim(other.path()), Err(DemoError::NotOurs { .. })));
    }

    #[test]
    fn a_taken_port_gives_the_next_free_one() {
        let taken = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = taken.local_addr().unwrap().port();
        assert_ne!(free(port, &[]).unwrap().port(), port);
        let free_one = free(port, &[]).unwrap().port();
        assert_ne!(free(free_one, &[free_one]).unwrap().port(), free_one);
    }
}
