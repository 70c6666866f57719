//! The configuration file, checked once into typed values.
//!
//! TOML. Every mistake is found in one run and named with its key; an unknown key is a mistake.
//! Secrets stand in files of their own (`*_file`), which nobody but the owner may read. The keys
//! are described in docs/OPERATING.md. Start at [`Config::read`].

mod backup;
mod deliveries;
mod dictionaries;
mod section;
mod sources;
mod views;

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;

use crate::catalog::{Mode, Overlay};
use crate::dicom::AeTitle;
use crate::http::{Caller, Certificate, Hospital};
use crate::model::{IdentifierKind, UtcOffset};
use crate::prefetch::choice::{OwnHospital, Rules};
use crate::prefetch::eviction::Marks;
use crate::seal::sm2::Sm2Key;
use crate::upstream::DictionaryOptions;
use crate::views::{DatabaseOptions, ViewOptions};
use crate::workstation;
pub use backup::{BackupOptions, Kept};
pub use deliveries::Deliveries;
use section::{Mistakes, Section};
pub use sources::{SourceOptions, TITLE_DEFAULT};

/// Days after its admission that a stay is taken to be over, if nobody tells of a discharge: three
/// times the mean of a general hospital.
const STAY_DAYS_DEFAULT: i64 = 30;

/// Everything that the configuration says.
pub struct Config {
    /// The folder of ledger, keys and cache.
    pub data: PathBuf,
    /// The folder of the cache, when it lies on a disk of its own.
    pub cache: PathBuf,
    /// The hospital's wall clock.
    pub offset: UtcOffset,
    /// The host (`host[:port]`) by whose time `doctor` judges the machine's clock.
    pub time_server: Option<String>,
    /// The hospitals served.
    pub hospitals: Vec<Hospital>,
    /// HIS, PACS, LIS, workstations.
    pub hospital_zone: Zone,
    /// Platforms that call in.
    pub cloud_zone: Zone,
    /// Administrators, health and metrics.
    pub console_zone: Zone,
    /// Archives that call by DICOM's own protocol.
    pub dicom_zone: Zone,
    /// The title by which they call.
    pub ae_title: AeTitle,
    /// Who may call.
    pub callers: Vec<Caller>,
    /// Where studies are looked for, in the order of preference.
    pub sources: Vec<SourceOptions>,
    /// What is chosen.
    pub rules: Rules,
    /// Milliseconds after the visit at which an unready plan ends.
    pub grace_ms: i64,
    /// Milliseconds after which a stay that nobody declared over is taken to be.
    pub stay_ms: i64,
    /// When studies leave the cache, and when fetches wait for room.
    pub marks: Marks,
    /// Parts of the names of departments whose patients cannot wait.
    pub emergency_departments: Vec<String>,
    /// The numbers that this hospital's viewers know as Patient ID.
    pub patient_numbers: Vec<IdentifierKind>,
    /// Opens identity numbers under SM2.
    pub sm2: Option<Sm2Key>,
    /// The site's changes to the catalogue's rules.
    pub overlay: Overlay,
    /// What leaves, and where to.
    pub deliveries: Deliveries,
    /// Share of a dictionary's codes that may vanish unasked, in percent.
    pub shrink_percent_max: u32,
    /// Where whole dictionaries are asked for.
    pub dictionary_sources: Vec<DictionaryOptions>,
    /// The hospital's databases.
    pub databases: Vec<DatabaseOptions>,
    /// Their views.
    pub views: Vec<ViewOptions>,
    /// What doctors see.
    pub workstation: workstation::Options,
    /// Where backups go, for whom, and which of them stay.
    pub backup: BackupOptions,
    /// Every path that a key of the file names: folders, secrets, certificates.
    pub paths: Vec<PathBuf>,
}

/// Where a listener comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Listen {
    /// It is opened here.
    Address(SocketAddr),
    /// systemd opened it, and passes it under this name.
    Passed(String),
}

/// A zone's listeners.
#[derive(Debug, Clone, Default)]
pub struct Zone {
    /// Without TLS.
    pub listen: Option<Listen>,
    /// With TLS, and its certificate.
    pub listen_tls: Option<(Listen, Certificate)>,
    /// Addresses that may connect; empty means all.
    pub allow: Vec<IpNet>,
}

/// Every mistake of a configuration, one a line, with file and key.
#[derive(Debug, thiserror::Error)]
#[error("{}", .0.join("\n"))]
pub struct ConfigFault(pub Vec<String>);

impl Config {
    /// Reads and checks a file.
    pub fn read(path: &Path) -> Result<Config, ConfigFault> {
        let shown = path.display();
        let text = std::fs::read_to_string(path)
            .map_err(|error| ConfigFault(vec![format!("{shown}: {error}")]))?;
        Config::parse(&text, &shown.to_string())
    }

    /// Checks the text of a file called `name`.
    pub fn parse(text: &str, name: &str) -> Result<Config, ConfigFault> {
        let table: toml::Table = text
            .parse()
            .map_err(|error: toml::de::Error| ConfigFault(vec![format!("{name}: {error}")]))?;
        let mistakes = Mistakes::new(name, text);
        let mut config = Config::take(Section::root(table, &mistakes));
        config.paths = mistakes.paths();
        match mistakes.into_list() {
            list if list.is_empty() => Ok(config),
            list => Err(ConfigFault(list)),
        }
    }

    fn take(mut root: Section<'_>) -> Config {
        let data = root.path("data").unwrap_or_else(|| root.missing("data"));
        let mut hospitals = Vec::new();
        let mut own = Vec::new();
        let mut insured_only = Vec::new();
        for mut section in root.sections("hospital") {
            let (hospital, names) = take_hospital(&mut section);
            if section.flag("insured_only").unwrap_or(false) {
                insured_only.push(hospital.code.clone());
            }
            own.push(OwnHospital { code: hospital.code.clone(), names });
            hospitals.push(hospital);
            section.end();
        }
        if hospitals.is_empty() {
            root.mistake("hospital", "at least one [[hospital]] with its `code` is needed");
        }
        let offset = take_offset(&mut root);
        let ([hospital_zone, cloud_zone, console_zone, dicom_zone], ae_title) =
            take_zones(root.section("zone"));
        let callers: Vec<Caller> = root.sections("caller").into_iter().map(take_caller).collect();
        let served = |code: &String| hospitals.iter().any(|hospital| hospital.code == *code);
        if !callers.iter().flat_map(|caller| &caller.hospitals).all(served) {
            root.mistake("caller.hospitals", "no [[hospital]] has one of these codes");
        }
        let sources = take_sources(&mut root, &callers);
        let names = sources.iter().map(|source| source.name().to_owned()).collect();
        let (rules, grace_ms) = take_prefetch(root.section("prefetch"), own, names);
        let (marks, stay_ms) = take_eviction(root.section("eviction"));
        let (emergency_departments, sm2, overlay) = take_intake(root.section("intake"));
        let deliveries = deliveries::take(&mut root, insured_only, offset);
        let (shrink_percent_max, dictionary_sources) = dictionaries::take(&mut root, &hospitals);
        let (databases, views) = views::take(&mut root);
        let workstation = take_workstation(root.section("workstation"));
        let backup = backup::take(root.section("backup"));
        let config = Config {
            cache: root.path("cache").unwrap_or_else(|| data.join("cache")),
            data,
            offset,
            time_server: take_time_server(&mut root),
            hospitals,
            hospital_zone,
            cloud_zone,
            console_zone,
            dicom_zone,
            ae_title,
            callers,
            sources,
            rules,
            grace_ms,
            stay_ms,
            marks,
            emergency_departments,
            patient_numbers: take_patient_numbers(&mut root),
            sm2,
            overlay,
            deliveries,
            shrink_percent_max,
            dictionary_sources,
            databases,
            views,
            workstation,
            backup,
            paths: Vec::new(),
        };
        root.end();
        config
    }
}

fn take_hospital(section: &mut Section<'_>) -> (Hospital, Vec<String>) {
    let code = section.text("code").unwrap_or_else(|| section.missing("code"));
    let mode = if section.flag("strict").unwrap_or(false) { Mode::Strict } else { Mode::Lenient };
    (Hospital { code, mode }, section.texts("names").unwrap_or_default())
}

fn take_sources(root: &mut Section<'_>, callers: &[Caller]) -> Vec<SourceOptions> {
    let sources: Vec<SourceOptions> =
        root.sections("source").into_iter().map(|one| sources::take(one, callers)).collect();
    for (at, source) in sources.iter().enumerate() {
        if sources[..at].iter().any(|before| before.name() == source.name()) {
            root.mistake("source.name", &format!("`{}` is there twice", source.name()));
        }
    }
    sources
}

fn take_offset(root: &mut Section<'_>) -> UtcOffset {
    let minutes = root.number("utc_offset_minutes", -1_500, 1_500).unwrap_or(480);
    UtcOffset::from_minutes(minutes as i32).unwrap_or_else(UtcOffset::china)
}

/// A host, or a host with a port; an IPv6 address with a port stands in brackets.
fn take_time_server(root: &mut Section<'_>) -> Option<String> {
    let text = root.text("time_server")?;
    let is_host = |host: &str| !host.is_empty() && !host.contains([' ', '/', '@']);
    let is_whole = match text.rsplit_once(':') {
        Some((host, port)) if !host.contains(':') || host.ends_with(']') => {
            is_host(host) && port.parse::<u16>().is_ok_and(|port| port != 0)
        }
        _ => is_host(&text),
    };
    if !is_whole {
        root.mistake("time_server", "expected a host, or a host with a port: ntp.hospital.cn:123");
    }
    is_whole.then_some(text)
}

fn take_zones(mut zones: Section<'_>) -> ([Zone; 4], AeTitle) {
    let [hospital, cloud, console] = ["hospital", "cloud", "console"].map(|name| {
        let mut section = zones.section(name);
        let zone = take_zone(&mut section);
        section.end();
        zone
    });
    let mut section = zones.section("dicom");
    let dicom = take_zone(&mut section);
    let title = sources::take_title(&mut section, "ae_title", Some(TITLE_DEFAULT));
    section.end();
    zones.end();
    ([hospital, cloud, console, dicom], title)
}

fn take_zone(section: &mut Section<'_>) -> Zone {
    let listen_tls = section.listen("listen_tls");
    let (chain, key) = (section.path("certificate"), section.path("certificate_key"));
    let listen_tls = match (listen_tls, chain, key) {
        (Some(address), Some(chain), Some(key)) => Some((address, Certificate { chain, key })),
        (None, None, None) => None,
        _ => {
            let needs = "`listen_tls`, `certificate` and `certificate_key` go together";
            section.mistake("listen_tls", needs);
            None
        }
    };
    Zone { listen: section.listen("listen"), listen_tls, allow: section.nets("allow") }
}

fn take_caller(mut section: Section<'_>) -> Caller {
    let caller = Caller {
        name: section.text("name").unwrap_or_else(|| section.missing("name")),
        addresses: section.nets("addresses"),
        token: section.secret("token_file"),
        push: section.flag("push").unwrap_or(false),
        images: section.flag("images").unwrap_or(false),
        ask_sources: section.flag("ask_sources").unwrap_or(false),
        store: section.flag("store").unwrap_or(false),
        logins: section.flag("logins").unwrap_or(false),
        dictionaries: section.flag("dictionaries").unwrap_or(false),
        hospitals: section.texts("hospitals").unwrap_or_default(),
        success_code: take_success_code(&mut section),
        mirror_status: section.flag("mirror_status").unwrap_or(false),
    };
    if caller.addresses.is_empty() && caller.token.is_none() {
        section.mistake("addresses", "a caller needs `addresses`, a `token_file`, or both");
    }
    if caller.ask_sources && !caller.images {
        section.mistake("ask_sources", "who may not see images (`images`) opens none");
    }
    section.end();
    caller
}

/// The two codes that the document itself prints for a success (3.5.2: 200 in the table, 0 in the
/// example).
fn take_success_code(section: &mut Section<'_>) -> Option<i32> {
    let code = section.number("success_code", 0, 200)?;
    if code != 0 && code != 200 {
        section.mistake("success_code", "expected 200 or 0");
    }
    Some(code as i32)
}

fn take_prefetch(
    mut section: Section<'_>,
    own: Vec<OwnHospital>,
    sources: Vec<String>,
) -> (Rules, i64) {
    let mut rules = Rules { own, sources, ..Rules::default() };
    if let Some(days) = section.number("look_back_days", 1, 36_500) {
        rules.look_back_days = days as u32;
    }
    if let Some(megabytes) = section.number("plan_megabytes_max", 1, 10_000_000) {
        rules.bytes_budget = megabytes as u64 * 1_000_000;
    }
    if let Some(studies) = section.number("plan_studies_max", 1, 1_000) {
        rules.studies_max = studies as usize;
    }
    let grace_hours = section.number("grace_hours", 0, 8_760).unwrap_or(24);
    section.end();
    (rules, grace_hours * 3_600_000)
}

fn take_eviction(mut section: Section<'_>) -> (Marks, i64) {
    let mut marks = Marks::default();
    if let Some(percent) = section.number("high_percent", 2, 99) {
        marks.high_percent = percent as u64;
    }
    if let Some(percent) = section.number("low_percent", 1, 98) {
        marks.low_percent = percent as u64;
    }
    if marks.low_percent >= marks.high_percent {
        section.mistake("low_percent", "expected less than `high_percent`");
    }
    let megabytes = |number: i64| number as u64 * 1_000_000;
    marks.bytes_max = section.number("megabytes_max", 1, 1_000_000_000).map(megabytes);
    marks.fetch_floor = section.number("floor_megabytes", 1, 1_000_000_000).map(megabytes);
    let stay_days = section.number("stay_days", 1, 3_650).unwrap_or(STAY_DAYS_DEFAULT);
    section.end();
    (marks, stay_days * 86_400_000)
}

fn take_intake(mut section: Section<'_>) -> (Vec<String>, Option<Sm2Key>, Overlay) {
    let departments = section.texts("emergency_departments");
    let departments = departments.unwrap_or_else(|| vec!["急诊".to_owned()]);
    let taken = (departments, take_sm2(&mut section), take_overlay(&mut section));
    section.end();
    taken
}

fn take_workstation(mut section: Section<'_>) -> workstation::Options {
    let viewer = section.text("viewer");
    let address = |text: &String| text.starts_with("http://") || text.starts_with("https://");
    if viewer.as_ref().is_some_and(|text| !address(text) || !text.contains("{study}")) {
        section.mistake("viewer", "expected an http or https address with `{study}` in it");
    }
    let mut reports = HashMap::new();
    for mut report in section.sections("report") {
        let source = report.text("source").unwrap_or_else(|| report.missing("source"));
        let at = report.text("address").unwrap_or_else(|| report.missing("address"));
        if !address(&at) || !at.contains("{study}") {
            report.mistake("address", "expected an http or https address with `{study}` in it");
        }
        report.end();
        reports.insert(source, at);
    }
    let options = workstation::Options {
        viewer,
        reports,
        mask_names: section.flag("mask_names").unwrap_or(true),
        proxies: section.nets("proxies"),
        idle_seconds: section.number("idle_seconds", 5, 86_400).unwrap_or(600) as u32,
        opened_ms: section.number("opened_hours", 1, 744).unwrap_or(12) * 3_600_000,
    };
    section.end();
    options
}

fn take_patient_numbers(root: &mut Section<'_>) -> Vec<IdentifierKind> {
    let default = vec![
        IdentifierKind::InsuranceId,
        IdentifierKind::OutpatientNumber,
        IdentifierKind::HospitalizationId,
        IdentifierKind::HealthNo,
    ];
    root.kinds("patient_numbers").unwrap_or(default)
}

fn take_sm2(section: &mut Section<'_>) -> Option<Sm2Key> {
    use secrecy::ExposeSecret;
    let text = section.secret("sm2_key_file")?;
    match Sm2Key::from_pem_or_hex(text.expose_secret()) {
        Ok(key) => Some(key),
        Err(error) => {
            section.mistake("sm2_key_file", &error.to_string());
            None
        }
    }
}

fn take_overlay(section: &mut Section<'_>) -> Overlay {
    let Some(path) = section.path("catalogue_overlay") else { return Overlay::default() };
    let parsed =
        std::fs::read_to_string(&path).map_err(|error| vec![error.to_string()]).and_then(|text| {
            Overlay::parse(&text)
                .map_err(|list| list.iter().map(|one| one.to_string()).collect::<Vec<_>>())
        });
    parsed.unwrap_or_else(|list| {
        for one in list {
            section.mistake("catalogue_overlay", &format!("{}: {one}", path.display()));
        }
        Overlay::default()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const SMALL: &str = r#"
        data = "/var/lib/forepost"
        [[hospital]]
        code = "H1"
        [zone.hospital]
        listen = "127.0.0.1:8080"
    "#;

    #[test]
    fn a_small_file_is_enough() {
        let config = Config::parse(SMALL, "f").unwrap();
        assert_eq!(config.cache, Path::new("/var/lib/forepost/cache"));
        assert_eq!(config.grace_ms, 86_400_000);
    }

    #[test]
    fn a_listener_is_an_address_or_a_socket_that_systemd_passes() {
        let listen = |value: &str| {
            Config::parse(&SMALL.replace("127.0.0.1:8080", value), "f")
                .map(|config| config.hospital_zone.listen.expect("the zone listens"))
        };
        let passed = |name: &str| Listen::Passed(name.to_owned());
        assert_eq!(listen("systemd:hospital").ok(), Some(passed("hospital")));
        assert!(matches!(listen("[::1]:80"), Ok(Listen::Address(_))));
        for bad in ["systemd:", "systemd:a b", "systemd:a:b", "hospital", "127.0.0.1"] {
            assert!(listen(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn every_mistake_is_named_in_one_run() {
        let text = r#"
            data = 7
            colour = "red"
            [[hospital]]
            cod = "H1"
            [zone.hospital]
            listen = "somewhere"
            [[caller]]
            name = "his"
            [[source]]
            name = "region"
            parallel_max = 1000
            [[source]]
            name = "cloud"
            kind = "push"
            url = "http://cloud.example"
            [[source]]
            name = "other"
            kind = "pull"
        "#;
        let fault = Config::parse(text, "forepost.toml").err().unwrap();
        let all = fault.to_string();
        // What is missing stands at its table.
        for (line, expected) in [
            (2, "data"),
            (3, "colour"),
            (4, "hospital[0].code"),
            (5, "hospital[0].cod"),
            (7, "zone.hospital.listen"),
            (8, "caller[0].addresses"),
            (10, "source[0].url"),
            (10, "source[0].patient_key"),
            (12, "source[0].parallel_max"),
            (14, "source[1].name"),
            (13, "source[1].patient_key"),
            (16, "source[1].url"),
            (19, "source[2].kind"),
        ] {
            let at = format!("forepost.toml:{line}: {expected}: ");
            assert!(all.contains(&at), "{at} in\n{all}");
        }
        let allowed =
            "hospital[0].cod: is not known here; known are code, insured_only, names, strict";
        assert!(all.contains(allowed), "{all}");
    }
}
