//! One request to one of a source's hosts: credentials, waits, faults, the log line.
//!
//! What for: everything of HTTP that search, manifest and retrieve share. What always holds: an
//! origin gets its own headers and no other's; only the source's own origin sees the client
//! certificate and who reads; no redirect is followed and no proxy of the environment is used; no
//! text that leaves here (fault, log, metric) holds a query, a header, or a path beyond its shape.
//! On the wire: HTTP/1.1 over connections that are kept. HTTP/2 was refused: one window for all
//! streams of a connection makes a slow disk slow the searches, and for long bodies it is slower.
//! Start reading at [`Peer::ask`].

use std::error::Error as _;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use forepost_cache::Uid;
use http::header::{self, HeaderMap, HeaderName, HeaderValue};
use http::{Method, StatusCode};
use reqwest::{Client, Response, Url};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use secrecy::{ExposeSecret, SecretString};
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::time::{Instant, timeout_at};

use super::account::{Account, Asked};
use super::limits::{POOL_IDLE_WAIT, RATE_FLOOR_BYTES, RETRY_AFTER_MS_MAX};
use super::options::{ClientCertificate, DicomwebOptions, OptionsError, Waits};
use super::pace::Pace;
use crate::clock;
use crate::codec::multipart::MediaType;
use crate::fault::Fault;

/// The hosts of a source and the ways to them.
pub struct Peer {
    source: String,
    own: Place,
    others: Vec<Place>,
    waits: Waits,
    permits: Semaphore,
    pace: Option<Pace>,
}

/// An origin, the client that may talk to it, and what it may be told.
struct Place {
    /// As RFC 6454, 6.2 writes it.
    origin: String,
    client: Client,
    headers: HeaderMap,
}

/// A GET.
pub struct Ask<'a> {
    /// What it is for: `search`, `manifest`, `retrieve` or `dictionary` (a metric label).
    pub step: &'static str,
    /// Where. Its origin must be one of the source's.
    pub url: Url,
    /// The path with names in place of values, for the log.
    pub shape: &'static str,
    /// The study, for the log.
    pub study: Option<&'a Uid>,
    /// `Accept`.
    pub accept: &'static str,
    /// Headers that say who reads; only the source's own origin gets them.
    pub reader: Option<&'a HeaderMap>,
    /// The moment at which it must be over, besides the waits for head and body.
    pub deadline: Option<Instant>,
}

impl Peer {
    /// Prepares the clients; nothing is connected yet.
    pub fn new(options: &DicomwebOptions, base: &Url) -> Result<Peer, OptionsError> {
        let authorities = options.authorities_pem.as_str();
        let (connect, parallel) = (options.waits.connect, options.parallel.get());
        let own = tls(authorities, options.client_certificate.as_ref())?;
        let own = client(connect, parallel, own)?;
        let anonymous = client(connect, parallel, tls(authorities, None)?)?;
        let others = options.hosts.iter().map(|host| {
            Ok(Place {
                origin: origin(&host.origin)?,
                client: anonymous.clone(),
                headers: headers(&host.headers)?,
            })
        });
        Ok(Peer {
            source: options.name.clone(),
            own: Place {
                origin: origin_of(base),
                client: own,
                headers: headers(&options.headers)?,
            },
            others: others.collect::<Result<_, OptionsError>>()?,
            waits: options.waits,
            permits: Semaphore::new(options.parallel.get().min(Semaphore::MAX_PERMITS)),
            pace: options.bytes_per_second.map(Pace::new),
        })
    }

    /// Waits for a place among the parallel requests.
    pub async fn permit(&self) -> SemaphorePermit<'_> {
        self.permits.acquire().await.expect("the semaphore is never closed")
    }

    /// Waits until so many bytes of objects may have come.
    pub async fn pass(&self, bytes: usize) {
        if let Some(pace) = &self.pace {
            pace.pass(bytes).await;
        }
    }

    /// Sends the request and judges the head of the answer.
    pub async fn ask(&self, ask: Ask<'_>) -> Result<Answer, Fault> {
        let Some(place) = self.place(&ask.url) else {
            return Err(unlisted(&ask.url));
        };
        let asked = Asked { step: ask.step, method: "GET", shape: ask.shape, study: ask.study };
        let mut account = Account::new(&self.source, host(&ask.url), asked);
        let mut request = reqwest::Request::new(Method::GET, ask.url);
        *request.headers_mut() = place.headers.clone();
        if let Some(reader) = ask.reader.filter(|_| place.origin == self.own.origin) {
            request.headers_mut().extend(reader.clone());
        }
        request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static(ask.accept));
        let until = earlier(Instant::now() + self.waits.head, ask.deadline);
        let answered = match timeout_at(until, place.client.execute(request)).await {
            Err(_) => Err(Fault::peer("timeout", "no answer in time")),
            Ok(Err(error)) => Err(send_fault(&error)),
            Ok(Ok(response)) => {
                account.status = response.status().as_u16();
                judge(response.status(), response.headers(), ask.step).map(|()| response)
            }
        };
        match answered {
            Ok(response) => Ok(Answer {
                response,
                account,
                idle: self.waits.idle,
                deadline: ask.deadline,
                waited: Duration::ZERO,
                waited_for: 0,
            }),
            Err(fault) => {
                account.outcome = fault.step;
                Err(fault)
            }
        }
    }

    /// Whether the URL leads to one of the source's hosts and tells no user.
    pub fn reaches(&self, url: &Url) -> bool {
        self.place(url).is_some()
    }

    /// Whether the URL leads to a host other than the source's own.
    pub fn reaches_other(&self, url: &Url) -> bool {
        self.reaches(url) && origin_of(url) != self.own.origin
    }

    fn place(&self, url: &Url) -> Option<&Place> {
        if !plain(url) {
            return None;
        }
        let origin = origin_of(url);
        std::iter::once(&self.own).chain(&self.others).find(|place| place.origin == origin)
    }
}

/// The fault of a URL that leads elsewhere; its host is named, its path and query are not. Trying
/// again may help: the list of hosts is configuration.
pub fn unlisted(url: &Url) -> Fault {
    Fault::ours("unlisted host", format!("{} is no host of this source", host(url)))
}

/// Host and port, as far as they are in the URL.
pub fn host(url: &Url) -> String {
    let name = url.host_str().unwrap_or("");
    url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"))
}

/// Whether it is http(s) without user and password.
pub fn plain(url: &Url) -> bool {
    matches!(url.scheme(), "http" | "https")
        && url.username().is_empty()
        && url.password().is_none()
}

/// An answer with a good head.
pub struct Answer {
    response: Response,
    account: Account,
    idle: Duration,
    deadline: Option<Instant>,
    /// Time spent waiting for the peer, and bytes that came in it, since the last look.
    waited: Duration,
    waited_for: u64,
}

impl Answer {
    /// `Content-Type`.
    pub fn media_type(&self) -> MediaType {
        let value = self.response.headers().get(header::CONTENT_TYPE);
        MediaType::parse(
            &value.map_or("".into(), |value| String::from_utf8_lossy(value.as_bytes())),
        )
    }

    /// `Content-Type` as it came; `None` where it is missing or no text.
    pub fn content_type(&self) -> Option<String> {
        let value = self.response.headers().get(header::CONTENT_TYPE)?;
        value.to_str().ok().map(str::to_owned)
    }

    /// Whether the server said that there is nothing.
    pub fn no_content(&self) -> bool {
        self.response.status() == StatusCode::NO_CONTENT
    }

    /// Whether the server says that more rows exist (PS3.18 8.3.4.4: warning 299).
    pub fn warns_of_more(&self) -> bool {
        let mut warnings = self.response.headers().get_all(header::WARNING).iter();
        warnings.any(|warning| warning.as_bytes().starts_with(b"299"))
    }

    /// Whether the end of the body can be told from the end of the connection.
    pub fn framed(&self) -> bool {
        let headers = self.response.headers();
        headers.contains_key(header::CONTENT_LENGTH)
            || headers.contains_key(header::TRANSFER_ENCODING)
    }

    /// The next piece of the body; `None` at its end. Fails when nothing, or next to nothing, comes
    /// within the wait.
    pub async fn chunk(&mut self) -> Result<Option<Bytes>, Fault> {
        let start = Instant::now();
        let until = earlier(start + self.idle, self.deadline);
        let chunk = match timeout_at(until, self.response.chunk()).await {
            Err(_) => return Err(Fault::peer("timeout", "the body stood still")),
            Ok(Err(error)) => return Err(Fault::peer("half a body", causes(&error))),
            Ok(Ok(chunk)) => chunk,
        };
        let bytes = chunk.as_ref().map_or(0, Bytes::len) as u64;
        self.account.count(bytes);
        self.waited += start.elapsed();
        self.waited_for += bytes;
        if self.waited >= self.idle {
            let floor = self.waited.as_secs_f64() * RATE_FLOOR_BYTES as f64;
            if (self.waited_for as f64) < floor && chunk.is_some() {
                return Err(Fault::peer("too slow", format!("{} B in a wait", self.waited_for)));
            }
            (self.waited, self.waited_for) = (Duration::ZERO, 0);
        }
        Ok(chunk)
    }

    /// The whole body, of at most so many bytes.
    pub async fn body(&mut self, bytes_max: usize) -> Result<Bytes, Fault> {
        let mut body = BytesMut::new();
        while let Some(chunk) = self.chunk().await? {
            if body.len() + chunk.len() > bytes_max {
                return Err(Fault::peer("too large", format!("an answer over {bytes_max} B")));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }

    /// Reads on behind the end of what counts, so that the connection can be used again. Gives up
    /// silently: what counts is here.
    pub async fn drain(&mut self, bytes_max: usize, wait: Duration) {
        let until = Instant::now() + wait;
        let mut left = bytes_max;
        while let Ok(Ok(Some(chunk))) = timeout_at(until, self.response.chunk()).await {
            match left.checked_sub(chunk.len()) {
                Some(rest) => left = rest,
                None => return,
            }
        }
    }

    /// Ends the account of the request with what became of it.
    pub fn close<T>(self, result: Result<T, Fault>) -> Result<T, Fault> {
        self.account.close(&result);
        result
    }
}

/// The one map from a status to a fault. The address of a search or a dictionary may be repaired at
/// either end, so its 4xx may pass; those of a study mean that study.
fn judge(status: StatusCode, headers: &HeaderMap, step: &'static str) -> Result<(), Fault> {
    let detail = format!("status {}", status.as_u16());
    let repairable = matches!(step, "search" | "dictionary");
    let lasting = |fault: Fault| if repairable { fault } else { fault.for_good() };
    Err(match status {
        StatusCode::OK | StatusCode::NO_CONTENT | StatusCode::PARTIAL_CONTENT => {
            return encoding(headers);
        }
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => Fault::peer("refused", detail),
        StatusCode::NOT_FOUND | StatusCode::GONE => lasting(Fault::peer("absent", detail)),
        StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE => {
            let fault = Fault::peer("busy", detail);
            match retry_after_ms(headers) {
                Some(milliseconds) => fault.after_ms(milliseconds),
                None => fault,
            }
        }
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY => Fault::peer("busy", detail),
        _ if status.is_redirection() => Fault::peer("redirect", detail).for_good(),
        _ if status.is_client_error() => lasting(Fault::peer("status", detail)),
        _ => Fault::peer("status", detail),
    })
}

/// None is asked for, and none is read.
fn encoding(headers: &HeaderMap) -> Result<(), Fault> {
    match headers.get(header::CONTENT_ENCODING) {
        Some(encoding) if encoding != "identity" => {
            Err(Fault::peer("wrong type", "a content encoding that was not asked for"))
        }
        Some(_) | None => Ok(()),
    }
}

/// RFC 9110, 10.2.3: seconds or a date. A date is measured from the peer's own `Date`, so that its
/// clock need not be right.
pub(super) fn retry_after_ms(headers: &HeaderMap) -> Option<i64> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    let milliseconds = match text.parse::<u32>() {
        Ok(seconds) => i64::from(seconds) * 1_000,
        Err(_) => {
            let date = headers.get(header::DATE).and_then(|date| date.to_str().ok());
            let now = date.and_then(http_date_ms).unwrap_or_else(|| clock::now().0);
            http_date_ms(text)?.saturating_sub(now)
        }
    };
    Some(milliseconds.clamp(0, RETRY_AFTER_MS_MAX))
}

fn http_date_ms(text: &str) -> Option<i64> {
    jiff::fmt::rfc2822::parse(text).ok().map(|date| date.timestamp().as_millisecond())
}

/// A request that got no head.
pub(super) fn send_fault(error: &reqwest::Error) -> Fault {
    let step = if error.is_connect() { "connect" } else { "connection lost" };
    Fault::peer(step, causes(error))
}

/// What lies behind a client's error. Its own text names the URL and is left out.
pub(super) fn causes(error: &reqwest::Error) -> String {
    let (mut text, mut cause) = (String::new(), error.source());
    while let Some(error) = cause {
        let separator = if text.is_empty() { "" } else { ": " };
        text = format!("{text}{separator}{error}");
        cause = error.source();
    }
    if text.is_empty() { "no answer".to_owned() } else { text }
}

fn earlier(moment: Instant, deadline: Option<Instant>) -> Instant {
    deadline.map_or(moment, |deadline| deadline.min(moment))
}

fn origin_of(url: &Url) -> String {
    url.origin().ascii_serialization()
}

fn origin(text: &str) -> Result<String, OptionsError> {
    let refused = || OptionsError::Origin { got: without_user(text) };
    let url = Url::parse(text).map_err(|_| refused())?;
    let bare = url.path() == "/" && url.query().is_none() && url.fragment().is_none();
    (plain(&url) && bare).then(|| origin_of(&url)).ok_or_else(refused)
}

/// The text, unless it may hold a password.
pub fn without_user(text: &str) -> String {
    if text.contains('@') { String::new() } else { text.to_owned() }
}

/// Headers whose values no library prints.
pub(super) fn headers(pairs: &[(String, SecretString)]) -> Result<HeaderMap, OptionsError> {
    let mut map = HeaderMap::new();
    for (name, value) in pairs {
        let refused = || OptionsError::Header { name: name.clone() };
        let header = HeaderName::try_from(name).map_err(|_| refused())?;
        let mut value = HeaderValue::from_str(value.expose_secret()).map_err(|_| refused())?;
        value.set_sensitive(true);
        map.append(header, value);
    }
    Ok(map)
}

/// A client that keeps at most `parallel` idle connections to a host.
pub(super) fn client(
    connect: Duration,
    parallel: usize,
    tls: rustls::ClientConfig,
) -> Result<Client, OptionsError> {
    Client::builder()
        .tls_backend_preconfigured(tls)
        .http1_only()
        .no_proxy()
        .redirect(reqwest::redirect::Policy::none())
        .referer(false)
        .tcp_nodelay(true)
        .connect_timeout(connect)
        .pool_idle_timeout(POOL_IDLE_WAIT)
        .pool_max_idle_per_host(parallel)
        .build()
        .map_err(OptionsError::Client)
}

/// The public authorities and these (PEM, may be empty).
pub(super) fn roots(authorities_pem: &str) -> Result<rustls::RootCertStore, OptionsError> {
    let mut roots = rustls::RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    if !authorities_pem.trim().is_empty() {
        for authority in certificates(authorities_pem, "authorities")? {
            roots.add(authority)?;
        }
    }
    Ok(roots)
}

/// Trusts the public authorities and these (PEM, may be empty); shows the certificate, where there
/// is one.
pub(super) fn tls(
    authorities_pem: &str,
    certificate: Option<&ClientCertificate>,
) -> Result<rustls::ClientConfig, OptionsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let builder = rustls::ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_root_certificates(roots(authorities_pem)?);
    let Some(certificate) = certificate else { return Ok(builder.with_no_client_auth()) };
    let chain = certificates(&certificate.chain_pem, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(certificate.key_pem.expose_secret().as_bytes())
        .map_err(|_| OptionsError::Pem { what: "client key" })?;
    Ok(builder.with_client_auth_cert(chain, key)?)
}

fn certificates(
    pem: &str,
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, OptionsError> {
    let read: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(pem.as_bytes()).collect();
    read.ok().filter(|read| !read.is_empty()).ok_or(OptionsError::Pem { what })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::Retry;

    fn map(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
        pairs
            .iter()
            .map(|(name, value)| (HeaderName::from_static(name), HeaderValue::from_static(value)))
            .collect()
    }

    #[test]
    fn retry_after_is_read_as_seconds_and_as_a_date_and_is_capped() {
        let wait = |pairs: &[_]| retry_after_ms(&map(pairs));
        assert_eq!(wait(&[("retry-after", " 7 ")]), Some(7_000));
        assert_eq!(wait(&[("retry-after", "99999999")]), Some(RETRY_AFTER_MS_MAX));
        let date = ("date", "Sun, 06 Nov 1994 08:49:37 GMT");
        assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:50:07 GMT")]), Some(30_000));
        assert_eq!(wait(&[date, ("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "Sun, 06 Nov 1994 08:00:00 GMT")]), Some(0));
        assert_eq!(wait(&[("retry-after", "soon")]), None);
        assert_eq!(wait(&[]), None);
    }

    #[test]
    fn a_status_says_whether_trying_again_helps() {
        let retry = |status: u16, step| {
            let status = StatusCode::from_u16(status).unwrap();
            judge(status, &HeaderMap::new(), step).err().map(|fault| (fault.step, fault.retry))
        };
        for good in [200, 204, 206] {
            assert_eq!(retry(good, "retrieve"), None);
        }
        assert_eq!(retry(401, "retrieve"), Some(("refused", Retry::Later)));
        assert_eq!(retry(404, "retrieve"), Some(("absent", Retry::Never)));
        assert_eq!(retry(410, "manifest"), Some(("absent", Retry::Never)));
        assert_eq!(retry(404, "search"), Some(("absent", Retry::Later)));
        assert_eq!(retry(406, "retrieve"), Some(("status", Retry::Never)));
        assert_eq!(retry(408, "retrieve"), Some(("busy", Retry::Later)));
        assert_eq!(retry(307, "search"), Some(("redirect", Retry::Never)));
        for later in [500, 502, 504, 507] {
            assert_eq!(retry(later, "retrieve"), Some(("status", Retry::Later)));
        }
        let zipped = map(&[("content-encoding", "gzip")]);
        assert_eq!(judge(StatusCode::OK, &zipped, "search").unwrap_err().step, "wrong type");
    }

    #[test]
    fn an_origin_has_neither_path_nor_user() {
        assert!(origin("https://pacs.example:8443").is_ok());
        for bad in ["pacs.example", "https://pacs.example/x", "ftp://a", "https://a?b"] {
            assert!(origin(bad).is_err(), "{bad}");
        }
        let error = origin("https://u:secret@pacs.example").unwrap_err();
        assert!(!error.to_string().contains("secret"));
    }
}
