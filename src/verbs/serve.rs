//! `forepost serve`.

use std::io::Write;
use std::path::{Path, PathBuf};

use clap::Args;
use log::{LevelFilter, Log, Metadata, Record};
use tokio::signal::unix::{SignalKind, signal};

use super::{ConfigArgument, DONE, FAILED, fail};
use crate::app::{self, App, StartError};
use crate::clock;
use crate::config::{Config, ConfigFault};
use crate::host::{self, Sockets};
use crate::model::UtcOffset;

/// What `serve` takes.
#[derive(Args)]
pub struct ServeArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Write the addresses as JSON into this file once every door listens.
    #[arg(long)]
    ready_file: Option<PathBuf>,
    /// How much is logged: error, warn, info, debug.
    #[arg(long, default_value = "info")]
    log: LevelFilter,
}

/// Runs until SIGTERM or SIGINT.
pub fn run(arguments: &ServeArguments) -> u8 {
    let config = match arguments.config.read() {
        Ok(config) => config,
        Err(code) => return code,
    };
    log_to_journal_or_stderr(arguments.log);
    let runtime = match tokio::runtime::Builder::new_multi_thread().enable_all().build() {
        Ok(runtime) => runtime,
        Err(error) => return fail(error),
    };
    let code = runtime.block_on(serve(config, arguments));
    // A request that hangs past the drain must not hold the process.
    runtime.shutdown_background();
    code
}

async fn serve(config: Config, arguments: &ServeArguments) -> u8 {
    // From here on a hangup asks for a new configuration, and ends nothing.
    let mut hangup = match signal(SignalKind::hangup()) {
        Ok(hangup) => hangup,
        Err(error) => return fail(error),
    };
    let started = async {
        let sockets = Sockets::passed().map_err(StartError::Sockets)?;
        App::start(config, app::recorder()?, sockets).await
    };
    let mut app = match started.await {
        Ok(app) => app,
        Err(error) => {
            log::error!("{error}");
            return FAILED;
        }
    };
    if let Some(path) = arguments.ready_file.as_deref()
        && let Err(error) = write_ready(path, &app)
    {
        log::error!("{}: {error}", path.display());
        app.stop().await;
        return FAILED;
    }
    host::ready();
    let watch = tokio::spawn(host::watch(app.ledger().clone(), clock::now));
    let stopped = wait_for_signal();
    tokio::pin!(stopped);
    let signal = loop {
        tokio::select! {
            signal = &mut stopped => break signal,
            _ = hangup.recv() => reload(&mut app, &arguments.config.config).await,
        }
    };
    log::info!(signal; "draining");
    host::stopping();
    app.stop().await;
    watch.abort();
    log::info!("stopped");
    DONE
}

/// Takes up the configuration as the file has it now, or says why not and goes on by the old one.
async fn reload(app: &mut App, path: &Path) {
    host::reloading();
    let refused = match Config::read(path) {
        Ok(config) => app.reload(config).await.err().map(|error| vec![error.to_string()]),
        Err(ConfigFault(mistakes)) => Some(mistakes),
    };
    match refused {
        None => log::info!("the configuration is taken up"),
        Some(reasons) => {
            for reason in reasons {
                log::error!("{reason}");
            }
            log::error!("the configuration is not taken up, the one before goes on");
        }
    }
    host::ready();
}

/// Waits for SIGTERM or SIGINT and says which.
pub(super) async fn wait_for_signal() -> &'static str {
    let (term, interrupt) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()));
    match (term, interrupt) {
        (Ok(mut term), Ok(mut interrupt)) => tokio::select! {
            _ = term.recv() => "SIGTERM",
            _ = interrupt.recv() => "SIGINT",
        },
        _ => {
            log::error!("signals cannot be received; the process has to be killed");
            std::future::pending().await
        }
    }
}

/// Written beside and renamed, so that whoever waits for the file reads it whole.
fn write_ready(path: &Path, app: &App) -> std::io::Result<()> {
    let shown = |address: Option<std::net::SocketAddr>| address.map(|one| one.to_string());
    let text = serde_json::json!({
        "hospital": shown(app.hospital),
        "hospital_tls": shown(app.hospital_tls),
        "cloud": shown(app.cloud),
        "cloud_tls": shown(app.cloud_tls),
        "console": shown(app.console),
        "dicom": shown(app.dicom),
        "dicom_tls": shown(app.dicom_tls),
    });
    let beside = path.with_extension("new");
    std::fs::write(&beside, text.to_string())?;
    std::fs::rename(&beside, path)
}

/// The journal where stderr is connected to it (systemd), stderr otherwise.
pub(super) fn log_to_journal_or_stderr(level: LevelFilter) {
    let logger: Box<dyn Log> = match journal() {
        Some(journal) => Box::new(Quiet(journal)),
        None => Box::new(Quiet(Lines)),
    };
    if log::set_boxed_logger(logger).is_ok() {
        log::set_max_level(level);
    }
}

fn journal() -> Option<systemd_journal_logger::JournalLog> {
    if !systemd_journal_logger::connected_to_journal() {
        return None;
    }
    systemd_journal_logger::JournalLog::new().ok()
}

/// Libraries speak up only when something is wrong: below a warning they describe their own
/// inside, and some of it is the content of messages.
struct Quiet<L>(L);

impl<L: Log> Log for Quiet<L> {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        let ours = metadata.target().starts_with("forepost");
        ours || metadata.level() <= LevelFilter::Warn
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.0.log(record);
        }
    }

    fn flush(&self) {
        self.0.flush();
    }
}

/// One line an event: time, level, text, then the fields.
struct Lines;

impl Log for Lines {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn log(&self, record: &Record<'_>) {
        let at = clock::now().wall(UtcOffset::china());
        let mut line = format!("{at:.3} {:<5} {}", record.level(), record.args());
        let _ = record.key_values().visit(&mut Fields(&mut line));
        line.push('\n');
        let _ = std::io::stderr().write_all(line.as_bytes());
    }

    fn flush(&self) {}
}

struct Fields<'a>(&'a mut String);

impl<'kv> log::kv::VisitSource<'kv> for Fields<'_> {
    fn visit_pair(
        &mut self,
        key: log::kv::Key<'kv>,
        value: log::kv::Value<'kv>,
    ) -> Result<(), log::kv::Error> {
        use std::fmt::Write;
        let _ = write!(self.0, " {key}={value}");
        Ok(())
    }
}
