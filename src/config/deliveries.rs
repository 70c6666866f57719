//! What leaves: destinations, settlements, how long bodies are kept.

use std::num::NonZeroUsize;
use std::time::Duration;

use super::section::Section;
use super::sources::take_client_certificate;
use crate::catalog;
use crate::delivery::{Route, Routes};
use crate::model::UtcOffset;
use crate::seal::rsa::RsaKey;
use crate::seal::sm2::{Encoding, Form, Sm2PublicKey};
use crate::upstream::{DestinationOptions, Login, Seal, SignPart, TokenOptions};

/// Days for which the body of something delivered is kept, unless the configuration says otherwise:
/// a quarter's questions can be answered with the very bytes.
const KEEP_BODIES_DAYS: i64 = 90;

/// Minutes for which a token counts (regional remote imaging's document, 3.2.2.5), and for which
/// it still counts where it cannot be renewed.
const TOKEN_LIFE_MINUTES: i64 = 120;
const TOKEN_GRACE_MINUTES: i64 = 15;

/// What leaves, and where to.
pub struct Deliveries {
    /// Where deliveries go.
    pub destinations: Vec<DestinationOptions>,
    /// The field in which the hospital gives the time of a settlement.
    pub settled_at_field: Option<String>,
    /// Hospitals whose self-pay settlements are not sent.
    pub insured_only: Vec<String>,
    /// Milliseconds for which the body of something delivered is kept.
    pub keep_bodies_ms: i64,
}

impl Deliveries {
    /// Which interfaces go where.
    pub fn routes(&self) -> Routes {
        let route = |one: &DestinationOptions| Route {
            destination: one.name.clone(),
            interfaces: one.interfaces.clone(),
            reseals: one.seal.is_some(),
        };
        Routes::new(self.destinations.iter().map(route).collect())
    }
}

/// Reads `[[destination]]`, `[settlement]` and `[delivery]`.
pub(super) fn take(
    root: &mut Section<'_>,
    insured_only: Vec<String>,
    offset: UtcOffset,
) -> Deliveries {
    let destinations = destinations(root, offset);
    let mut settlement = root.section("settlement");
    let settled_at_field = settlement.text("settled_at_field");
    settlement.end();
    let mut delivery = root.section("delivery");
    let keep_days = delivery.number("keep_bodies_days", 1, 36_500);
    let keep_bodies_ms = keep_days.unwrap_or(KEEP_BODIES_DAYS) * 86_400_000;
    delivery.end();
    Deliveries { destinations, settled_at_field, insured_only, keep_bodies_ms }
}

fn destinations(root: &mut Section<'_>, offset: UtcOffset) -> Vec<DestinationOptions> {
    let sections = root.sections("destination").into_iter();
    let destinations: Vec<_> = sections.map(|one| destination(one, offset)).collect();
    for (at, one) in destinations.iter().enumerate() {
        if destinations[..at].iter().any(|before| before.name == one.name) {
            root.mistake("destination.name", &format!("`{}` is there twice", one.name));
        }
    }
    destinations
}

fn destination(mut section: Section<'_>, offset: UtcOffset) -> DestinationOptions {
    let name = section.text("name").unwrap_or_else(|| section.missing("name"));
    let url = section.text("url").unwrap_or_else(|| section.missing("url"));
    let interfaces = section.texts("interfaces").unwrap_or_else(|| section.missing("interfaces"));
    for id in &interfaces {
        let known = catalog::interfaces().iter().any(|one| one.id == id);
        if !known {
            let words = format!("no interface is called {id}; `forepost catalog list` names them");
            section.mistake("interfaces", &words);
        }
    }
    let mut options = DestinationOptions::new(name, url, interfaces);
    for mut path in section.sections("path") {
        let interface = path.text("interface").unwrap_or_else(|| path.missing("interface"));
        let text = path.text("path").unwrap_or_else(|| path.missing("path"));
        if !text.starts_with('/') {
            path.mistake("path", "begins with a slash");
        }
        options.paths.insert(interface, text);
        path.end();
    }
    options.authorities_pem = section.files("ca_files");
    options.client_certificate = take_client_certificate(&mut section);
    options.login = login(&mut section, &options, offset);
    options.seal = section.section_if("sm2").and_then(take_seal);
    if let Some(seconds) = section.number("connect_seconds", 1, 3_600) {
        options.connect_wait = Duration::from_secs(seconds as u64);
    }
    if let Some(seconds) = section.number("answer_seconds", 1, 3_600) {
        options.answer_wait = Duration::from_secs(seconds as u64);
    }
    if let Some(parallel) = section.number("parallel_max", 1, 64) {
        options.parallel = NonZeroUsize::new(parallel as usize).unwrap_or(NonZeroUsize::MIN);
    }
    section.end();
    options
}

/// How calls show who makes them: headers, or user and password, or a token that is renewed.
fn login(section: &mut Section<'_>, options: &DestinationOptions, offset: UtcOffset) -> Login {
    let headers = section.secret_headers();
    let basic = section.section_if("basic").map(basic);
    let token = section.section_if("token").and_then(|one| token(one, options, offset));
    match (basic, token) {
        (None, None) => Login::Headers(headers),
        (Some(login), None) | (None, Some(login)) if headers.is_empty() => login,
        _ => {
            let words = "a destination has one of `header`, `basic` and `token`, not several";
            section.mistake("token", words);
            Login::Headers(headers)
        }
    }
}

fn basic(mut section: Section<'_>) -> Login {
    let user = section.text("user").unwrap_or_else(|| section.missing("user"));
    let password = section.secret("password_file");
    if password.is_none() {
        section.missing::<()>("password_file");
    }
    section.end();
    Login::Basic(user, password.unwrap_or_default())
}

/// `[destination.token]`: `getToken` of the regional remote imaging's document, 3.2.2.5.
fn token(
    mut section: Section<'_>,
    options: &DestinationOptions,
    offset: UtcOffset,
) -> Option<Login> {
    let header = section.text("header").unwrap_or_else(|| "token".to_owned());
    let key = section.path("public_key").and_then(|path| std::fs::read_to_string(path).ok());
    let public_key = key.and_then(|text| RsaKey::from_text(&text).ok());
    if public_key.is_none() {
        section.mistake("public_key", "a file with the platform's RSA key, PEM or Base64");
    }
    let mut secret = |key: &str| section.secret(key).or_else(|| section.missing(key));
    let (app_id, org_id) = (secret("app_id_file"), secret("org_id_file"));
    let license = secret("license_file");
    let names = section.texts("parts").unwrap_or_default();
    let parts: Vec<SignPart> = names.iter().filter_map(|one| SignPart::from_name(one)).collect();
    if parts.len() != names.len() {
        let known: Vec<_> = SignPart::ALL.iter().map(|part| part.name()).collect();
        section.mistake("parts", &format!("expected some of {}", known.join(", ")));
    }
    let minutes = |number: Option<i64>, default: i64| {
        Duration::from_secs(number.unwrap_or(default) as u64 * 60)
    };
    let taken = TokenOptions {
        name: options.name.clone(),
        url: section.text("url").unwrap_or_else(|| section.missing("url")),
        public_key: public_key?,
        parts: if parts.is_empty() { SignPart::DOCUMENT.to_vec() } else { parts },
        app_id: app_id.unwrap_or_default(),
        org_id: org_id.unwrap_or_default(),
        license: license.unwrap_or_default(),
        offset,
        life: minutes(section.number("life_minutes", 1, 10_080), TOKEN_LIFE_MINUTES),
        grace: minutes(section.number("grace_minutes", 0, 1_440), TOKEN_GRACE_MINUTES),
        authorities_pem: options.authorities_pem.clone(),
        client_certificate: options.client_certificate.clone(),
        waits: Default::default(),
    };
    section.end();
    Some(Login::Token(header, Box::new(taken)))
}

/// `[destination.sm2]`, `[source.sm2]`: identity numbers are encrypted to it on their way out.
pub(super) fn take_seal(mut section: Section<'_>) -> Option<Seal> {
    let text = section.path("public_key").and_then(|path| std::fs::read_to_string(path).ok());
    let key = text.and_then(|text| Sm2PublicKey::from_text(text.trim()).ok());
    if key.is_none() {
        let words = "a file with the platform's SM2 key: hexadecimal, Base64, DER or PEM";
        section.mistake("public_key", words);
    }
    let form = section.text("form").unwrap_or_else(|| "04-c1c3c2".to_owned());
    let encoding = section.text("encoding").unwrap_or_else(|| "hex".to_owned());
    let (read_form, read_encoding) = (Form::from_name(&form), Encoding::from_name(&encoding));
    if read_form.is_none() {
        let words = "expected der, 04-c1c3c2, 04-c1c2c3, c1c3c2 or c1c2c3";
        section.mistake("form", words);
    }
    if read_encoding.is_none() {
        section.mistake("encoding", "expected hex, hex-upper or base64");
    }
    section.end();
    Some(Seal { key: key?, form: read_form?, encoding: read_encoding? })
}
