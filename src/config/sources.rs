//! `[[source]]`: where studies are looked for.

use std::num::{NonZeroU64, NonZeroUsize};
use std::time::Duration;

use super::deliveries::take_seal;
use super::section::Section;
use crate::dicom::AeTitle;
use crate::http::Caller;
use crate::model::IdentifierKind;
use crate::prefetch::{PatientKey, Transform};
use crate::storage::PushOptions;
use crate::upstream::{
    ClientCertificate, DicomwebOptions, DimseOptions, Host, OBJECT_BYTES_MAX, Seal, TlsOptions,
    Waits,
};

/// A source, by how studies come from it.
#[derive(Debug, Clone)]
pub enum SourceOptions {
    /// QIDO-RS and WADO-RS.
    Dicomweb(DicomwebOptions),
    /// C-FIND and C-GET.
    Dimse(DimseOptions),
    /// It sends unasked.
    Push(PushOptions),
}

impl SourceOptions {
    /// Its name.
    pub fn name(&self) -> &str {
        match self {
            SourceOptions::Dicomweb(options) => &options.name,
            SourceOptions::Dimse(options) => &options.name,
            SourceOptions::Push(options) => &options.name,
        }
    }
}

/// Requests at a time to one source, unless its section says otherwise.
const PARALLEL_DEFAULT: i64 = 4;

/// Our title, unless a section says otherwise.
pub const TITLE_DEFAULT: &str = "FOREPOST";

/// Keys that only a DICOMweb source has.
const DICOMWEB_KEYS: [&str; 4] = ["url", "index", "header", "host"];

/// Keys that only a DIMSE source has.
const DIMSE_KEYS: [&str; 4] = ["address", "called_ae", "calling_ae", "tls"];

/// Keys by which a source asks who reads. An association could say it only in its negotiation
/// (PS3.7 D.3.3.7), and associations are kept for whoever comes next; who pushes is asked nothing.
const READER_KEYS: [&str; 2] = ["reader", "sm2"];

const READER_ELSEWHERE: &str = "only a source of `kind = \"dicomweb\"` can be told who reads";

/// One section. Who pushes is one of the callers.
pub(super) fn take(mut section: Section<'_>, callers: &[Caller]) -> SourceOptions {
    match section.text("kind").as_deref() {
        None | Some("dicomweb") => {
            section.foreign(&DIMSE_KEYS, "goes with `kind = \"dimse\"`; here `url` says where");
            SourceOptions::Dicomweb(take_dicomweb(section))
        }
        Some("dimse") => {
            let words = "goes with `kind = \"dicomweb\"`; here `address` and `called_ae` say where";
            section.foreign(&DICOMWEB_KEYS, words);
            section.foreign(&READER_KEYS, READER_ELSEWHERE);
            SourceOptions::Dimse(take_dimse(section))
        }
        Some("push") => {
            section.foreign(&READER_KEYS, READER_ELSEWHERE);
            SourceOptions::Push(take_push(section, callers))
        }
        Some(_) => {
            section.mistake("kind", "expected \"dicomweb\", \"dimse\" or \"push\"");
            SourceOptions::Dicomweb(take_dicomweb(section))
        }
    }
}

fn take_dimse(mut section: Section<'_>) -> DimseOptions {
    let options = DimseOptions {
        name: take_name(&mut section),
        address: take_address(&mut section),
        called: take_title(&mut section, "called_ae", None),
        calling: take_title(&mut section, "calling_ae", Some(TITLE_DEFAULT)),
        patient_keys: take_patient_keys(&mut section),
        tls: take_tls(&mut section),
        waits: take_waits(&mut section),
        parallel: take_parallel(&mut section),
        bytes_per_second: take_bytes_per_second(&mut section),
        object_bytes_max: OBJECT_BYTES_MAX,
    };
    section.end();
    options
}

fn take_push(mut section: Section<'_>, callers: &[Caller]) -> PushOptions {
    let name = take_name(&mut section);
    if !callers.iter().any(|caller| caller.name == name && caller.store) {
        let words = format!("a [[caller]] with the name `{name}` and `store = true` is needed");
        section.mistake("name", &words);
    }
    let patient_keys = take_patient_keys(&mut section);
    section.end();
    PushOptions { name, patient_keys }
}

fn take_name(section: &mut Section<'_>) -> String {
    section.text("name").unwrap_or_else(|| section.missing("name"))
}

/// Host and port; a name is looked up when it is called.
fn take_address(section: &mut Section<'_>) -> String {
    let Some(text) = section.text("address") else { return section.missing("address") };
    let parts = text.rsplit_once(':').filter(|(host, _)| !host.is_empty());
    if parts.and_then(|(_, port)| port.parse::<u16>().ok()).is_none_or(|port| port == 0) {
        section.mistake("address", "expected a host with a port, such as pacs.hospital.cn:104");
    }
    text
}

/// An AE title; without a default it is needed.
pub(super) fn take_title(section: &mut Section<'_>, key: &str, default: Option<&str>) -> AeTitle {
    let text = section.text(key).or_else(|| default.map(str::to_owned));
    let text = text.unwrap_or_else(|| section.missing(key));
    match AeTitle::try_from(text.as_str()) {
        Ok(title) => title,
        Err(error) => {
            if !text.is_empty() {
                section.mistake(key, &error.to_string());
            }
            AeTitle::try_from(TITLE_DEFAULT).expect("the default is a title")
        }
    }
}

/// Certificates without `tls = true` would be a peer that is talked to in the clear by mistake.
fn take_tls(section: &mut Section<'_>) -> Option<TlsOptions> {
    let wanted = section.flag("tls").unwrap_or(false);
    let authorities_pem = section.files("ca_files");
    let client_certificate = take_client_certificate(section);
    if !wanted && (!authorities_pem.is_empty() || client_certificate.is_some()) {
        section.mistake("tls", "certificates are given: add `tls = true`, or take them out");
    }
    wanted.then_some(TlsOptions { authorities_pem, client_certificate })
}

fn take_parallel(section: &mut Section<'_>) -> NonZeroUsize {
    let parallel = section.number("parallel_max", 1, 64).unwrap_or(PARALLEL_DEFAULT);
    NonZeroUsize::new(parallel as usize).unwrap_or(NonZeroUsize::MIN)
}

fn take_bytes_per_second(section: &mut Section<'_>) -> Option<NonZeroU64> {
    let kilobytes = section.number("kilobytes_per_second_max", 1, 100_000_000)?;
    NonZeroU64::new(kilobytes as u64 * 1000)
}

fn take_dicomweb(mut section: Section<'_>) -> DicomwebOptions {
    let reader = section.flag("reader").unwrap_or(false);
    let options = DicomwebOptions {
        name: take_name(&mut section),
        base_url: section.text("url").unwrap_or_else(|| section.missing("url")),
        index: section.flag("index").unwrap_or(false),
        patient_keys: take_patient_keys(&mut section),
        reader,
        seal: take_reader_seal(&mut section, reader),
        headers: section.secret_headers(),
        hosts: take_hosts(&mut section),
        authorities_pem: section.files("ca_files"),
        client_certificate: take_client_certificate(&mut section),
        waits: take_waits(&mut section),
        parallel: take_parallel(&mut section),
        bytes_per_second: take_bytes_per_second(&mut section),
        object_bytes_max: OBJECT_BYTES_MAX,
    };
    section.end();
    options
}

/// A key without the question would be a number that is thought to leave and does not.
fn take_reader_seal(section: &mut Section<'_>, reader: bool) -> Option<Seal> {
    let seal = section.section_if("sm2")?;
    if !reader {
        section.mistake("sm2", "goes with `reader = true`: nothing else leaves under it");
    }
    take_seal(seal)
}

fn take_hosts(section: &mut Section<'_>) -> Vec<Host> {
    let take = |mut host: Section<'_>| {
        let origin = host.text("origin").unwrap_or_else(|| host.missing("origin"));
        let headers = host.secret_headers();
        host.end();
        Host { origin, headers }
    };
    section.sections("host").into_iter().map(take).collect()
}

pub(super) fn take_client_certificate(section: &mut Section<'_>) -> Option<ClientCertificate> {
    let chain_pem = section.files("client_certificate");
    let key_pem = section.secret("client_key_file");
    match (chain_pem.is_empty(), key_pem) {
        (true, None) => None,
        (false, Some(key_pem)) => Some(ClientCertificate { chain_pem, key_pem }),
        _ => {
            let words = "`client_certificate` and `client_key_file` go together";
            section.mistake("client_certificate", words);
            None
        }
    }
}

pub(super) fn take_waits(section: &mut Section<'_>) -> Waits {
    let mut waits = Waits::default();
    let mut take = |key: &str, wait: &mut Duration| {
        if let Some(seconds) = section.number(key, 1, 3_600) {
            *wait = Duration::from_secs(seconds as u64);
        }
    };
    take("connect_seconds", &mut waits.connect);
    take("head_seconds", &mut waits.head);
    take("idle_seconds", &mut waits.idle);
    take("search_seconds", &mut waits.search);
    waits
}

fn take_patient_keys(section: &mut Section<'_>) -> Vec<PatientKey> {
    let keys: Vec<PatientKey> =
        section.sections("patient_key").into_iter().map(take_patient_key).collect();
    if keys.is_empty() {
        section.mistake("patient_key", "at least one [[source.patient_key]] is needed");
    }
    keys
}

fn take_patient_key(mut section: Section<'_>) -> PatientKey {
    let kind = section.text("kind").and_then(|name| IdentifierKind::from_name(&name));
    let kind = kind.unwrap_or_else(|| {
        let known: Vec<_> = IdentifierKind::ALL.iter().map(|kind| kind.name()).collect();
        section.mistake("kind", &format!("expected one of {}", known.join(", ")));
        IdentifierKind::IdCardNo
    });
    let sha256 = section.flag("sha256").unwrap_or(false);
    let key = PatientKey {
        kind,
        transform: if sha256 { Transform::Sha256Hex } else { Transform::Plain },
        template: section.text("template").unwrap_or_else(|| "{}".to_owned()),
        issuer: section.text("issuer"),
    };
    section.end();
    key
}

#[cfg(test)]
mod tests {
    use super::SourceOptions;
    use crate::config::Config;

    fn parsed(source: &str) -> Result<Config, String> {
        let text = format!(
            "data = \"/d\"\n[[hospital]]\ncode = \"H1\"\n[[source]]\nname = \"pacs\"\n\
             {source}\n[[source.patient_key]]\nkind = \"idCardNo\"\n"
        );
        Config::parse(&text, "f").map_err(|fault| fault.to_string())
    }

    #[test]
    fn a_dimse_source_needs_an_address_and_a_title() {
        let config =
            parsed("kind = \"dimse\"\naddress = \"pacs:104\"\ncalled_ae = \"PACS\"").unwrap();
        let SourceOptions::Dimse(options) = &config.sources[0] else { panic!("a DIMSE source") };
        assert_eq!(
            (options.called.to_string().as_str(), options.address.as_str()),
            ("PACS", "pacs:104")
        );
        assert_eq!(options.calling.to_string(), "FOREPOST");
        let all = parsed("kind = \"dimse\"\ncalled_ae = \"A\\\\B\"").err().unwrap();
        for expected in ["source[0].address: is missing", "source[0].called_ae: an AE title has"] {
            assert!(all.contains(expected), "{expected} in\n{all}");
        }
        assert!(parsed("kind = \"dimse\"\naddress = \"pacs\"\ncalled_ae = \"A\"").is_err());
    }

    #[test]
    fn keys_of_the_other_kind_are_refused_with_what_is_allowed() {
        let all = parsed(
            "kind = \"dimse\"\naddress = \"p:104\"\ncalled_ae = \"A\"\nurl = \"http://a/\"\n\
             ca_files = [\"/none\"]",
        )
        .err()
        .unwrap();
        for expected in ["source[0].url: goes with", "source[0].tls: certificates are given"] {
            assert!(all.contains(expected), "{expected} in\n{all}");
        }
        let all = parsed("url = \"http://a/\"\ncalled_ae = \"A\"").err().unwrap();
        assert!(all.contains("source[0].called_ae: goes with `kind = \"dimse\"`"), "{all}");
        for kind in ["dimse\"\naddress = \"p:104\"\ncalled_ae = \"A", "push"] {
            let all = parsed(&format!("kind = \"{kind}\"\nreader = true")).err().unwrap();
            let words = "source[0].reader: only a source of `kind = \"dicomweb\"`";
            assert!(all.contains(words), "{all}");
        }
        let all = parsed("url = \"http://a/\"\nsm2 = { public_key = \"/none\" }").err().unwrap();
        for expected in ["source[0].sm2: goes with `reader = true`", "source[0].sm2.public_key: "] {
            assert!(all.contains(expected), "{expected} in\n{all}");
        }
        let all = parsed("kind = \"ftp\"\nurl = \"http://a/\"").err().unwrap();
        assert!(
            all.contains("source[0].kind: expected \"dicomweb\", \"dimse\" or \"push\""),
            "{all}"
        );
    }
}
