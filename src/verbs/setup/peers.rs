//! Answers held against the configuration's own rules, and against the peers that they name.
//!
//! The rules read files: keys, tokens, certificates. Those that are not written yet are handed to
//! them as files without a name, which end with this process whatever happens to it.

use std::collections::HashMap;
use std::fs::{File, Permissions};
use std::io::Write;
use std::os::fd::AsRawFd;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;

use toml_edit::{DocumentMut, Item, TomlError, Value};

use super::answers::{Answers, line as answer, number};
use super::compose::Composed;
use super::site::Site;
use super::words::{Language, mark};
use crate::clock;
use crate::config::Config;
use crate::doctor::{self, Finding, Subjects};

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
    let mut document: DocumentMut =
        composed.text.parse().map_err(|error: TomlError| broken(error.to_string()))?;
    let mut held = HashMap::new();
    for file in &composed.files {
        held.insert(file.path.clone(), hold(&file.text).map_err(|e| broken(e.to_string()))?);
    }
    // In place, so that a mistake is told with its own line.
    reachable(document.as_item_mut(), &held, site);
    Config::parse(&document.to_string(), &name).map_err(|fault| fault.0)
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
fn reachable(item: &mut Item, held: &HashMap<PathBuf, File>, site: &Site) {
    if let Some(table) = item.as_table_like_mut() {
        table.iter_mut().for_each(|(_, one)| reachable(one, held, site));
    } else if let Some(list) = item.as_array_of_tables_mut() {
        let all = list.iter_mut().flat_map(|table| table.iter_mut());
        all.for_each(|(_, one)| reachable(one, held, site));
    } else if let Some(value) = item.as_value_mut() {
        reachable_value(value, held, site);
    }
}

fn reachable_value(value: &mut Value, held: &HashMap<PathBuf, File>, site: &Site) {
    match value {
        Value::Array(list) => list.iter_mut().for_each(|one| reachable_value(one, held, site)),
        Value::InlineTable(table) => {
            table.iter_mut().for_each(|(_, one)| reachable_value(one, held, site));
        }
        other => {
            let Some(path) = other.as_str().map(PathBuf::from) else { return };
            let from_here = match held.get(&path) {
                Some(file) => format!("/proc/self/fd/{}", file.as_raw_fd()),
                None if !site.is_here() && path.is_absolute() && site.at(&path).exists() => {
                    site.at(&path).display().to_string()
                }
                None => return,
            };
            let decor = other.decor().clone();
            *other = from_here.into();
            *other.decor_mut() = decor;
        }
    }
}

/// Whether somebody is called for a section, or one entry of it.
pub fn has_peer(config: &Config, site: &Site, section: &str, name: Option<&str>) -> bool {
    match section {
        "source" => config.sources.iter().any(|one| Some(one.name()) == name),
        "destination" => config.deliveries.destinations.iter().any(|one| Some(&*one.name) == name),
        "database" => config.databases.iter().any(|one| Some(&*one.name) == name),
        "his" => !config.dictionary_sources.is_empty(),
        "machine" => site.is_here(),
        _ => false,
    }
}

/// What the doctor finds of a section, of one entry of it, or of everybody who is named.
pub fn findings(
    config: &Config,
    answers: &Answers,
    site: &Site,
    wanted: Wanted<'_>,
) -> Vec<Finding> {
    let now = clock::now();
    let subjects = Subjects::of(config);
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let Ok(runtime) = runtime else { return Vec::new() };
    let found = runtime.block_on(async {
        let mut all = match wanted.takes("machine") && site.is_here() {
            true => machine(config, answers).await,
            false => Vec::new(),
        };
        all.extend(subjects.check_some(now, |subject| wanted.is(subject)).await);
        all
    });
    // A resolver that hangs must not hold the conversation.
    runtime.shutdown_background();
    found
}

/// Whose findings are wanted.
#[derive(Debug, Clone, Copy)]
pub enum Wanted<'a> {
    /// Of everybody who is named, and of the machine.
    All,
    /// Of a section, or of one entry of it.
    Of(&'a str, Option<&'a str>),
}

impl Wanted<'_> {
    fn takes(self, section: &str) -> bool {
        match self {
            Wanted::All => true,
            Wanted::Of(wanted, _) => wanted == section,
        }
    }

    /// Whether it is the doctor's subject.
    fn is(self, subject: &str) -> bool {
        let (kind, name) = subject.split_once(' ').unwrap_or((subject, ""));
        let section = if kind == "dictionary_source" { "his" } else { kind };
        let peers = ["source", "destination", "database", "his"].contains(&section);
        match self {
            Wanted::All => peers,
            Wanted::Of(_, wanted) => {
                self.takes(section) && peers && wanted.is_none_or(|wanted| wanted == name)
            }
        }
    }
}

/// The clock, and whether our addresses are ours; there is no certificate yet.
async fn machine(config: &Config, answers: &Answers) -> Vec<Finding> {
    let now = clock::now();
    let machine = answers.one("machine");
    let mut all = doctor::clock(config.time_server.as_deref()).await;
    let clouds = answers.list("caller");
    let clouds = clouds.iter().filter(|one| answer(one, "kind").as_deref() == Some("cloud"));
    let schemes: Vec<String> = clouds.filter_map(|one| answer(one, "scheme")).collect();
    let has = |scheme: &str| schemes.iter().any(|one| one == scheme);
    let at = |key: &str| answer(&machine, key);
    for (name, address, port) in [
        ("hospital", at("hospital_address"), "hospital_port"),
        ("hospital", at("hospital_address"), "hospital_tls_port"),
        ("cloud", at("cloud_address").filter(|_| has("http")), "cloud_port"),
        ("cloud", at("cloud_address").filter(|_| has("https")), "cloud_tls_port"),
        ("dicom", answers.dicom_address(), "dicom_port"),
    ] {
        let Some((address, port)) = address.zip(number(&machine, port)) else { continue };
        let address = if address.contains(':') { format!("[{address}]") } else { address };
        let text = format!(
            "data = \"/\"\n[[hospital]]\ncode = \"H\"\n\
             [zone.{name}]\nlisten = \"{address}:{port}\"\n"
        );
        let Ok(small) = Config::parse(&text, name) else { continue };
        let zone = match name {
            "hospital" => &small.hospital_zone,
            "cloud" => &small.cloud_zone,
            _ => &small.dicom_zone,
        };
        all.extend(doctor::zone(name, zone, now).await);
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
