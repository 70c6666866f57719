//! Answers held against the configuration's own rules, and against the peers that they name.
//!
//! The rules read files: keys, tokens, certificates. Those that are not written yet are handed to
//! them as files without a name, which end with this process whatever happens to it.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use toml::{Table, Value};

use super::answers::{Answers, line as answer, number};
use super::compose::Composed;
use super::site::Site;
use super::words::{Language, mark};
use crate::clock;
use crate::config::Config;
use crate::doctor::{self, Finding};
use crate::verbs::wait;

/// Whether peers are asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Check {
    /// They are.
    Peers,
    /// Nobody is called.
    Offline,
}

/// The configuration as it will be; or every mistake in it.
pub fn config(composed: &Composed, site: &Site) -> Result<Config, Vec<String>> {
    let name = site.config.display().to_string();
    let broken = |error: String| vec![format!("{name}: {error}")];
    let mut table: Table =
        composed.text.parse().map_err(|e: toml::de::Error| broken(e.to_string()))?;
    let mut held = HashMap::new();
    for file in &composed.files {
        held.insert(file.path.clone(), hold(&file.text).map_err(|e| broken(e.to_string()))?);
    }
    for (_, value) in table.iter_mut() {
        reachable(value, &held, site);
    }
    let text = toml::to_string(&table).map_err(|error| broken(error.to_string()))?;
    Config::parse(&text, &name).map_err(|fault| fault.0)
}

/// A file without a name: on no disk by any path, and gone with its last handle.
fn hold(text: &str) -> std::io::Result<File> {
    let mut file = tempfile::tempfile()?;
    // The rules refuse a secret that everybody may read.
    file.set_permissions(Permissions::from_mode(0o600))?;
    file.write_all(text.as_bytes())?;
    Ok(file)
}

/// Puts, in place of each path inside, where its file can be read from here.
fn reachable(value: &mut Value, held: &HashMap<PathBuf, File>, site: &Site) {
    match value {
        Value::String(text) => {
            let path = Path::new(text.as_str());
            if let Some(file) = held.get(path) {
                *text = format!("/proc/self/fd/{}", file.as_raw_fd());
            } else if !site.is_here() && path.is_absolute() && site.at(path).exists() {
                *text = site.at(path).display().to_string();
            }
        }
        Value::Array(list) => list.iter_mut().for_each(|one| reachable(one, held, site)),
        Value::Table(table) => table.iter_mut().for_each(|(_, one)| reachable(one, held, site)),
        Value::Integer(_) | Value::Float(_) | Value::Boolean(_) | Value::Datetime(_) => {}
    }
}

/// Whether somebody is called for a section, or one entry of it.
pub fn has_peer(config: &Config, section: &str, name: Option<&str>) -> bool {
    match section {
        "source" => config.sources.iter().any(|one| Some(one.name()) == name),
        "destination" => config.deliveries.destinations.iter().any(|one| Some(&*one.name) == name),
        "database" => config.databases.iter().any(|one| Some(&*one.name) == name),
        "his" => !config.dictionary_sources.is_empty(),
        "machine" => true,
        _ => false,
    }
}

/// What the doctor finds of a section, or of one entry of it.
pub fn findings(
    config: &Config,
    answers: &Answers,
    section: &str,
    name: Option<&str>,
) -> Vec<Finding> {
    let now = clock::now();
    let work = async {
        match section {
            "machine" => machine(config, answers).await,
            "his" => {
                let mut all = Vec::new();
                for one in &config.dictionary_sources {
                    all.extend(doctor::dictionary_source(one, now).await);
                }
                all
            }
            "source" => match config.sources.iter().find(|one| Some(one.name()) == name) {
                Some(one) => doctor::source(one, now).await,
                None => Vec::new(),
            },
            "destination" => {
                let all = &config.deliveries.destinations;
                match all.iter().find(|one| Some(&*one.name) == name) {
                    Some(one) => doctor::destination(one, now).await,
                    None => Vec::new(),
                }
            }
            "database" => match config.databases.iter().find(|one| Some(&*one.name) == name) {
                Some(one) => doctor::database(one, &config.views, now, config.offset).await,
                None => Vec::new(),
            },
            _ => Vec::new(),
        }
    };
    wait(work).unwrap_or_default()
}

/// The clock, and whether our addresses are ours; the certificate is not made yet.
async fn machine(config: &Config, answers: &Answers) -> Vec<Finding> {
    let now = clock::now();
    let machine = answers.one("machine");
    let mut all = doctor::clock(config.time_server.as_deref(), now).await;
    for (name, address, port) in [
        ("hospital", "hospital_address", "hospital_port"),
        ("cloud", "cloud_address", "cloud_port"),
    ] {
        let parts = answer(&machine, address).zip(number(&machine, port));
        let Some((address, port)) = parts else { continue };
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        let text = format!(
            "data = \"/\"\n[[hospital]]\ncode = \"H\"\n[zone.{name}]\nlisten = \"{address}:{port}\"\n"
        );
        let Ok(small) = Config::parse(&text, name) else { continue };
        let zone = if name == "hospital" { &small.hospital_zone } else { &small.cloud_zone };
        all.extend(doctor::zone(name, zone, now).await);
    }
    all
}

/// What the doctor finds of everybody who is named.
pub fn all_peers(config: &Config, answers: &Answers) -> Vec<Finding> {
    let mut all = findings(config, answers, "machine", None);
    all.extend(findings(config, answers, "his", None));
    let sources = config.sources.iter().map(|one| ("source", one.name()));
    let destinations = config.deliveries.destinations.iter();
    let destinations = destinations.map(|one| ("destination", one.name.as_str()));
    let databases = config.databases.iter().map(|one| ("database", one.name.as_str()));
    for (section, name) in sources.chain(destinations).chain(databases) {
        all.extend(findings(config, answers, section, Some(name)));
    }
    all
}

/// A finding in two lines: what it is, and what to do.
pub fn line(finding: &Finding, language: Language) -> String {
    let mark = language.of(&mark(finding.state)).to_owned();
    let said = language.say(&finding.words);
    let mut text = format!("  {mark} {} {}: {said}", finding.subject, finding.step);
    if let Some(next) = &finding.next {
        text.push_str(&format!("\n    → {}", language.say(next)));
    }
    text
}
