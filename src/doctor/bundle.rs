//! What the maker needs to help from afar, in one file that may leave the hospital.
//!
//! On disk: `forepost-diagnostics/` in a `.tar.gz`, one small text a subject; README.txt lists
//! them. Always holds: every text goes through [`Filter`]; the configuration goes without its
//! secrets; the ledger is told as numbers; the file is new, readable by its owner only, and whole.
//! Refused: the ledger itself, or rows of it.

use std::fs;
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use flate2::Compression;
use flate2::write::GzEncoder;
use serde_json::{Value, json};
use tokio::process::Command;
use tokio::time::timeout;

use super::limits::{BUNDLE_FILE_BYTES_MAX, BUNDLE_LOG_LINES, PROGRAM_WAIT};
use super::redact::{self, Filter};
use crate::config::{Config, Zone};
use crate::console::Report;
use crate::host;
use crate::ledger::LedgerError;
use crate::model::{DeliveryState, Time};
use crate::upstream;

/// The folder within the archive.
const FOLDER: &str = "forepost-diagnostics";

/// Why there is no bundle.
#[derive(Debug, thiserror::Error)]
pub enum BundleError {
    /// A file of that name is there; nothing is written over.
    #[error("{path} is there already; name a new file")]
    Exists {
        /// The file.
        path: String,
    },
    /// It could not be written.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
}

/// The texts, in memory: a few megabytes at most.
pub struct Bundle {
    at: Time,
    texts: Vec<(&'static str, String)>,
}

impl Bundle {
    /// Collects what can be had; what cannot says why in its place.
    pub async fn collect(file: &Path, config: &Config, report: &Report) -> Bundle {
        let table = fs::read_to_string(file).ok().and_then(|text| text.parse::<toml::Table>().ok());
        let table = table.unwrap_or_default();
        let filter = Filter::of(&table, &config.data);
        let lines = BUNDLE_LOG_LINES.to_string();
        let texts = vec![
            ("findings.json", format!("{:#}\n", report.json(config.offset))),
            ("versions.txt", versions().await),
            ("configuration.toml", redact::configuration(&table)),
            ("ledger.json", format!("{:#}\n", ledger_json(&config.data))),
            ("health.json", from_console(&config.console_zone, "/health").await),
            ("metrics.txt", from_console(&config.console_zone, "/metrics").await),
            (
                "log.txt",
                told(
                    "journalctl",
                    &["-u", "forepost", "-n", &lines, "-o", "short-iso", "--no-pager"],
                )
                .await,
            ),
            (
                "systemd.txt",
                told("systemctl", &["status", "forepost*", "--all", "--no-pager", "-l", "-n", "0"])
                    .await,
            ),
            ("disks.txt", told("df", &["-h", "-T"]).await + &told("df", &["-i"]).await),
            ("memory.txt", files(&["/proc/meminfo", "/proc/loadavg", "/proc/uptime"])),
        ];
        let texts = texts.into_iter().map(|(name, text)| (name, filter.apply(&shortened(text))));
        Bundle { at: report.at, texts: texts.collect() }
    }

    /// Writes it beside and renames it: it is there whole or not at all.
    pub fn write(&self, path: &Path) -> Result<(), BundleError> {
        let shown = path.display().to_string();
        if path.exists() {
            return Err(BundleError::Exists { path: shown });
        }
        let mut beside = path.as_os_str().to_owned();
        beside.push(".new");
        let beside = PathBuf::from(beside);
        let written = self.pack(&beside).and_then(|()| fs::rename(&beside, path));
        written.map_err(|source| {
            let _ = fs::remove_file(&beside);
            BundleError::File { path: shown, source }
        })
    }

    fn pack(&self, path: &Path) -> std::io::Result<()> {
        let file = fs::OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(path)?;
        let mut archive = tar::Builder::new(GzEncoder::new(file, Compression::default()));
        let readme = self.readme();
        let texts = self.texts.iter().map(|(name, text)| (*name, text.as_str()));
        for (name, text) in std::iter::once(("README.txt", readme.as_str())).chain(texts) {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o600);
            header.set_mtime(u64::try_from(self.at.0 / 1_000).unwrap_or(0));
            archive.append_data(&mut header, format!("{FOLDER}/{name}"), text.as_bytes())?;
        }
        let mut file = archive.into_inner()?.finish()?;
        file.flush()?;
        file.sync_all()
    }

    fn readme(&self) -> String {
        let names: Vec<&str> = self.texts.iter().map(|(name, _)| *name).collect();
        format!(
            "前置机诊断包，由 `forepost doctor --bundle` 生成。不含密钥、口令、令牌和个人信息；发出前可自行\
             查看每个文件。\nDiagnostics of a Forepost, made by `forepost doctor --bundle`. No key, \
             password, token or personal data is in it; every file is plain text: look before you \
             send it.\n\n{}\n",
            names.join("\n")
        )
    }
}

/// The end of a long text, which is the newest of a log.
fn shortened(text: String) -> String {
    if text.len() <= BUNDLE_FILE_BYTES_MAX {
        return text;
    }
    let mut from = text.len() - BUNDLE_FILE_BYTES_MAX;
    while !text.is_char_boundary(from) {
        from += 1;
    }
    format!("(the last {BUNDLE_FILE_BYTES_MAX} bytes)\n{}", &text[from..])
}

async fn versions() -> String {
    let ours = format!("forepost {}\n", env!("CARGO_PKG_VERSION"));
    let system = files(&["/etc/os-release", "/proc/version"]);
    ours + &system + &told("systemctl", &["--version"]).await
}

/// Small files of the system, each under its name.
fn files(paths: &[&str]) -> String {
    let text = |path: &&str| {
        let text = fs::read_to_string(path).unwrap_or_else(|error| format!("{error}\n"));
        format!("== {path}\n{text}\n")
    };
    paths.iter().map(text).collect()
}

/// What a program of the system says; or why it says nothing.
async fn told(program: &str, arguments: &[&str]) -> String {
    let head = format!("== {program} {}\n", arguments.join(" "));
    let running = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .env("LC_ALL", "C.UTF-8")
        .kill_on_drop(true)
        .output();
    let said = match timeout(PROGRAM_WAIT, running).await {
        Ok(Ok(output)) => {
            let (out, errors) = (output.stdout, output.stderr);
            format!("{}{}", String::from_utf8_lossy(&out), String::from_utf8_lossy(&errors))
        }
        Ok(Err(error)) => format!("{error}\n"),
        Err(_) => "it did not end in time\n".to_owned(),
    };
    format!("{head}{said}\n")
}

/// What the running service says of itself.
async fn from_console(zone: &Zone, path: &str) -> String {
    let listen = zone.listen.clone();
    let looking = move || listen.map(|listen| super::zone::addresses(&listen)).unwrap_or_default();
    let addresses = tokio::task::spawn_blocking(looking).await.unwrap_or_default();
    let Some(mut address) = addresses.first().copied() else {
        return "the console zone has no plain address that is known\n".to_owned();
    };
    if address.ip().is_unspecified() {
        let own = if address.is_ipv4() {
            [127, 0, 0, 1].into()
        } else {
            std::net::Ipv6Addr::LOCALHOST.into()
        };
        address.set_ip(own);
    }
    let url = format!("http://{address}{path}");
    let asked = upstream::text(&url, BUNDLE_FILE_BYTES_MAX, PROGRAM_WAIT).await;
    asked.unwrap_or_else(|fault| format!("the service does not answer: {fault}\n"))
}

/// The ledger in numbers.
fn ledger_json(data: &Path) -> Value {
    numbers(data).unwrap_or_else(|words| json!({ "error": words }))
}

fn numbers(data: &Path) -> Result<Value, String> {
    let ledger = host::open_to_read(data).map_err(|fault| fault.to_string())?;
    let read = || -> Result<Value, LedgerError> {
        let (version, newest) = ledger.versions()?;
        let mut interfaces = Vec::new();
        for tally in ledger.tallies()? {
            let states =
                DeliveryState::ALL.map(|state| (state.name().to_owned(), json!(tally.of(state))));
            interfaces.push(json!({
                "interface": tally.interface,
                "accepted": tally.accepted,
                "attempts": tally.attempts,
                "states": serde_json::Map::from_iter(states),
                "oldest_at_ms": tally.oldest_at.map(|at| at.0),
                "holds": tally.holds(),
            }));
        }
        Ok(json!({
            "version": version,
            "newest": newest,
            "registrations": ledger.registrations()?,
            "plans": counted(ledger.plan_counts()?),
            "fetches": counted(ledger.fetch_counts()?),
            "deliveries": interfaces,
            "last_moment_ms": ledger.last_moment()?.map(|at| at.0),
        }))
    };
    read().map_err(|error| error.to_string())
}

fn counted(counts: Vec<(String, u64)>) -> Value {
    counts
        .into_iter()
        .map(|(state, count)| (state, json!(count)))
        .collect::<serde_json::Map<_, _>>()
        .into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_long_text_keeps_its_end_and_whole_characters() {
        let text = "诊".repeat(BUNDLE_FILE_BYTES_MAX / 3 + 10) + "end";
        let kept = shortened(text);
        assert!(kept.ends_with("诊end") && kept.len() < BUNDLE_FILE_BYTES_MAX + 100);
    }
}
