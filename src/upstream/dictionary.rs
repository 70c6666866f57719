//! A hospital's own `getExamDict` and `getDeptInfo` (imaging cloud's document, 3.5.2, 3.7.2), asked
//! as the platforms would ask them.
//!
//! What always holds: an answer is a whole list under a code of success, or a fault; a number keeps
//! the digits it was written with, because a price of 500.00 is not 500. A row that cannot be used
//! is handed on with the others, so that whoever takes them can name it.

use std::num::NonZeroUsize;
use std::time::Duration;

use reqwest::Url;
use secrecy::SecretString;
use serde_json::Value;
use tokio::time::Instant;

use super::limits::{DICTIONARY_BYTES_MAX, DICTIONARY_NODES_MAX};
use super::options::{ClientCertificate, DicomwebOptions, OptionsError, Waits};
use super::peer::{self, Ask, Peer};
use crate::catalog::table::Address;
use crate::catalog::{self, Interface, Mode, Overlay, Record};
use crate::codec::json;
use crate::dictionary::{Source, Work, interface};
use crate::fault::Fault;
use crate::limits::{DICTIONARY_ROWS_MAX, JSON_DEPTH_MAX};
use crate::model::DictionaryKind;

/// What is configured of a hospital's system that gives a dictionary.
#[derive(Debug, Clone)]
pub struct DictionaryOptions {
    /// Its name in the configuration, in history, logs and metrics.
    pub name: String,
    /// Where its interfaces begin, `http` or `https`, without user and query; or the whole address.
    pub base_url: String,
    /// Which dictionary it gives.
    pub kind: DictionaryKind,
    /// The hospital of rows that name none.
    pub hospital: String,
    /// From one good answer to the next question.
    pub interval: Duration,
    /// Credentials.
    pub headers: Vec<(String, SecretString)>,
    /// Certificates (PEM) trusted besides the public authorities; may be empty.
    pub authorities_pem: String,
    /// Shown to the system.
    pub client_certificate: Option<ClientCertificate>,
    /// Timeouts; `search` is that of the whole answer.
    pub waits: Waits,
}

/// A hospital's system that gives a dictionary over HTTP.
pub struct DictionarySource {
    options: DictionaryOptions,
    asked: &'static Interface,
    path: &'static str,
    url: Url,
    peer: Peer,
}

impl DictionarySource {
    /// Checks the options and prepares the client; nothing is connected yet.
    pub fn new(options: DictionaryOptions) -> Result<DictionarySource, OptionsError> {
        let id = match options.kind {
            DictionaryKind::Exam => "ic-exam-dict-get",
            DictionaryKind::Dept => "ic-dept-get",
        };
        let asked = catalog::find(id).expect("the catalogue has both dictionaries");
        let path = asked.addresses.iter().find_map(|address| match address {
            Address::Http { path, .. } => Some(*path),
            _ => None,
        });
        let path = path.expect("both are asked for by HTTP");
        let url = address(&options.base_url, path)?;
        let peer = Peer::new(&peer_options(&options), &url)?;
        Ok(DictionarySource { options, asked, path, url, peer })
    }

    async fn ask(&self) -> Result<Vec<Record>, Fault> {
        let ask = Ask {
            step: "dictionary",
            url: self.url.clone(),
            shape: self.path,
            study: None,
            accept: "application/json",
            reader: None,
            deadline: Some(Instant::now() + self.options.waits.search),
        };
        let mut answer = self.peer.ask(ask).await?;
        let content_type = answer.content_type();
        let body = answer.body(DICTIONARY_BYTES_MAX).await;
        let body = answer.close(body)?;
        let (asked, kind) = (self.asked, self.options.kind);
        let reading =
            tokio::task::spawn_blocking(move || read(asked, kind, &body, content_type.as_deref()));
        reading.await.map_err(|error| Fault::ours("dictionary", error.to_string()))?
    }
}

impl Source for DictionarySource {
    fn name(&self) -> &str {
        &self.options.name
    }

    fn kind(&self) -> DictionaryKind {
        self.options.kind
    }

    fn hospital(&self) -> &str {
        &self.options.hospital
    }

    fn interval(&self) -> Duration {
        self.options.interval
    }

    fn whole(&self) -> Work<'_, Vec<Record>> {
        Box::pin(self.ask())
    }
}

/// The interface's address below a base, unless the base is that address already.
fn address(base_url: &str, path: &str) -> Result<Url, OptionsError> {
    let refused = || OptionsError::BaseUrl { got: peer::without_user(base_url) };
    let mut url = Url::parse(base_url).map_err(|_| refused())?;
    if !peer::plain(&url) || url.query().is_some() || url.fragment().is_some() {
        return Err(refused());
    }
    let base = url.path().trim_end_matches('/').to_owned();
    if !base.ends_with(path) {
        url.set_path(&format!("{base}{path}"));
    }
    Ok(url)
}

/// What the peer needs to know; it asks for no patients and fetches no objects.
fn peer_options(options: &DictionaryOptions) -> DicomwebOptions {
    DicomwebOptions {
        name: options.name.clone(),
        base_url: options.base_url.clone(),
        index: false,
        patient_keys: Vec::new(),
        reader: false,
        seal: None,
        headers: options.headers.clone(),
        hosts: Vec::new(),
        authorities_pem: options.authorities_pem.clone(),
        client_certificate: options.client_certificate.clone(),
        waits: options.waits,
        parallel: NonZeroUsize::MIN,
        bytes_per_second: None,
        object_bytes_max: 0,
    }
}

/// The rows of an answer, each checked by the catalogue.
fn read(
    asked: &'static Interface,
    kind: DictionaryKind,
    body: &[u8],
    content_type: Option<&str>,
) -> Result<Vec<Record>, Fault> {
    let limits = json::Limits {
        bytes_max: DICTIONARY_BYTES_MAX,
        depth_max: JSON_DEPTH_MAX,
        nodes_max: DICTIONARY_NODES_MAX,
    };
    let parsed = json::parse_with_number_texts(body, content_type, limits)
        .map_err(|fault| Fault::peer("not a dictionary", fault.to_string()))?;
    let Value::Object(mut map) = parsed.value else {
        return Err(Fault::peer("not a dictionary", "no JSON object"));
    };
    let accepted = asked.envelope.map_or(&[][..], |envelope| envelope.accepted);
    let code = map.get("code").and_then(Value::as_str).and_then(|code| code.parse::<i32>().ok());
    match code {
        Some(code) if accepted.contains(&code) => {}
        Some(code) => return Err(Fault::peer("refused", format!("code {code}"))),
        None => return Err(Fault::peer("not a dictionary", "no code")),
    }
    let Some(Value::Array(rows)) = map.remove("datas") else {
        return Err(Fault::peer("not a dictionary", "no list `datas`"));
    };
    if rows.len() > DICTIONARY_ROWS_MAX {
        let detail = format!("{} rows, limit {DICTIONARY_ROWS_MAX}", rows.len());
        return Err(Fault::peer("dictionary too long", detail));
    }
    let overlay = Overlay::default();
    let check = |row| catalog::check(interface(kind), &row, Mode::Lenient, &overlay).record;
    Ok(rows.into_iter().map(check).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn exam(body: &str) -> Result<Vec<Record>, Fault> {
        read(
            catalog::find("ic-exam-dict-get").unwrap(),
            DictionaryKind::Exam,
            body.as_bytes(),
            None,
        )
    }

    #[test]
    fn success_is_200_or_0_as_number_or_text() {
        for code in ["200", "0", "\"200\"", "\"0\""] {
            assert_eq!(
                exam(&format!("{{\"code\":{code},\"datas\":[]}}")),
                Ok(Vec::new()),
                "{code}"
            );
        }
        for (body, step) in [
            (r#"{"code":500,"datas":[]}"#, "refused"),
            (r#"{"datas":[]}"#, "not a dictionary"),
            (r#"{"code":200}"#, "not a dictionary"),
            (r#"{"code":200,"datas":[{"#, "not a dictionary"),
            ("<html></html>", "not a dictionary"),
            ("[]", "not a dictionary"),
            ("", "not a dictionary"),
        ] {
            assert_eq!(exam(body).unwrap_err().step, step, "{body}");
        }
    }

    #[test]
    fn a_price_keeps_the_digits_it_was_written_with() {
        for price in ["500.00", "0.10", "12345678901234567890.05", "\"500.00\"", "7"] {
            let body = format!(
                r#"{{"code":0,"datas":[{{"examCode":"A","examName":"a","examPrice":{price}}}]}}"#
            );
            let rows = exam(&body).unwrap();
            assert_eq!(rows[0].text("examPrice"), Some(price.trim_matches('"')));
        }
    }

    #[test]
    fn the_address_is_the_base_or_the_whole() {
        for base in
            ["http://his:8080", "http://his:8080/", "http://his:8080/standardHttp/getExamDict"]
        {
            let url = address(base, "/standardHttp/getExamDict").unwrap();
            assert_eq!(url.as_str(), "http://his:8080/standardHttp/getExamDict");
        }
        let url = address("https://his/api", "/standardHttp/getDeptInfo").unwrap();
        assert_eq!(url.as_str(), "https://his/api/standardHttp/getDeptInfo");
        assert!(address("http://u:p@his", "/x").is_err());
    }
}
