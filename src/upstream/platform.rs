//! Deliveries over HTTP: one attempt, judged by the body.
//!
//! What must hold: what is told of an attempt is what is known of it. Nothing left when there was
//! no connection; the content was refused only when the destination said so in its envelope, or by
//! a status that means nothing else; whatever is in doubt is ambiguous. No fault holds a body, a
//! header or a query.

use std::collections::HashMap;
use std::future::Future;
use std::num::NonZeroUsize;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use http::header::{self, HeaderValue};
use http::{Method, StatusCode};
use reqwest::{Client, Response, Url};
use secrecy::SecretString;

use super::credentials::Credentials;
use super::limits::CONNECT_WAIT;
use super::options::{ClientCertificate, OptionsError};
use super::peer;
use super::token::{TokenKeeper, TokenOptions};
use crate::catalog::table::Address;
use crate::catalog::{self, Interface, Outcome};
use crate::clock;
use crate::codec::json;
use crate::delivery::Carrier;
use crate::fault::Fault;
use crate::ledger::ClaimedDelivery;
use crate::limits::{
    DELIVERIES_PARALLEL, JSON_DEPTH_MAX, JSON_NODES_MAX, RECEIPT_BYTES_MAX, REPLY_BYTES_MAX,
};
use crate::model::{AttemptEnd, Receipt, Time};
use crate::seal::sm2::{self, Encoding, Form, Sm2Fault, Sm2PublicKey};

/// From the request to the end of the answer, unless the configuration says otherwise.
const ANSWER_WAIT: Duration = Duration::from_secs(30);

/// What is configured of a destination.
#[derive(Debug, Clone)]
pub struct DestinationOptions {
    /// Its name in the configuration, in the ledger, in logs and metrics.
    pub name: String,
    /// What the paths of the documents are put behind, without a slash at its end.
    pub base_url: String,
    /// Ids of the interfaces that go there.
    pub interfaces: Vec<String>,
    /// Paths that differ from the documents', by id of interface.
    pub paths: HashMap<String, String>,
    /// How calls show who makes them.
    pub login: Login,
    /// Encrypts identity numbers on their way out.
    pub seal: Option<Seal>,
    /// Certificates (PEM) trusted besides the public authorities.
    pub authorities_pem: String,
    /// For mutual TLS.
    pub client_certificate: Option<ClientCertificate>,
    /// Name, address, TCP and TLS.
    pub connect_wait: Duration,
    /// From the request to the end of the answer.
    pub answer_wait: Duration,
    /// Attempts at a time.
    pub parallel: NonZeroUsize,
}

impl DestinationOptions {
    /// With the usual waits and parallelism.
    pub fn new(name: String, base_url: String, interfaces: Vec<String>) -> DestinationOptions {
        DestinationOptions {
            name,
            base_url,
            interfaces,
            paths: HashMap::new(),
            login: Login::Headers(Vec::new()),
            seal: None,
            authorities_pem: String::new(),
            client_certificate: None,
            connect_wait: CONNECT_WAIT,
            answer_wait: ANSWER_WAIT,
            parallel: NonZeroUsize::new(DELIVERIES_PARALLEL).unwrap_or(NonZeroUsize::MIN),
        }
    }
}

/// How calls show who makes them.
#[derive(Debug, Clone)]
pub enum Login {
    /// Headers with their values; none is nothing.
    Headers(Vec<(String, SecretString)>),
    /// User and password (RFC 7617).
    Basic(String, SecretString),
    /// A token, in the header of that name.
    Token(String, Box<TokenOptions>),
}

impl Login {
    fn credentials(&self) -> Result<Credentials, OptionsError> {
        match self {
            Login::Headers(pairs) => Credentials::headers(pairs),
            Login::Basic(user, password) => Credentials::basic(user, password),
            Login::Token(header, options) => {
                let keeper = Arc::new(TokenKeeper::new((**options).clone())?);
                Credentials::token(header, keeper)
            }
        }
    }
}

/// How identity numbers are encrypted to a destination, or to a source.
#[derive(Debug, Clone)]
pub struct Seal {
    /// Its public key.
    pub key: Sm2PublicKey,
    /// The order of the cipher text's parts.
    pub form: Form,
    /// How it is written.
    pub encoding: Encoding,
}

impl Seal {
    /// The body with its identity numbers encrypted; what is no object, or is encrypted already,
    /// stays as it is.
    fn apply(&self, body: &[u8]) -> Result<Vec<u8>, String> {
        let Ok(mut value) = serde_json::from_slice::<serde_json::Value>(body) else {
            return Ok(body.to_vec());
        };
        for field in catalog::IDENTITY_NUMBERS {
            let Some(text) = value.get(field).and_then(|text| text.as_str()) else { continue };
            if text.is_empty() || sm2::looks_encrypted(text) {
                continue;
            }
            value[field] = self.text(text).map_err(|fault| format!("sm2: {fault}"))?.into();
        }
        Ok(value.to_string().into_bytes())
    }

    /// One number, encrypted.
    pub(super) fn text(&self, plain: &str) -> Result<String, Sm2Fault> {
        self.key.encrypt(plain, self.form, self.encoding)
    }
}

/// What a destination answered to [`Platform::probe`].
#[derive(Debug)]
pub struct Probed {
    /// Whether a token was had, where one is needed.
    pub credentials: Result<(), Fault>,
    /// The status of the answer.
    pub status: Result<u16, Fault>,
}

impl Probed {
    fn failed(self, fault: Fault) -> Probed {
        Probed { status: Err(fault), ..self }
    }
}

/// The destinations and the ways to them.
pub struct Platform {
    places: HashMap<String, Place>,
}

struct Place {
    base: Url,
    paths: HashMap<String, String>,
    client: Client,
    credentials: Credentials,
    seal: Option<Arc<Seal>>,
    answer_wait: Duration,
}

impl Platform {
    /// Prepares the clients; nothing is connected yet. Fails with the name of the destination.
    pub fn new(destinations: &[DestinationOptions]) -> Result<Platform, (String, OptionsError)> {
        let place = |one: &DestinationOptions| {
            let place = Place::new(one).map_err(|error| (one.name.clone(), error))?;
            Ok((one.name.clone(), place))
        };
        let places: Result<_, (String, OptionsError)> = destinations.iter().map(place).collect();
        Ok(Platform { places: places? })
    }

    /// Asks a destination what may be done at the address of an interface, as who delivers there;
    /// OPTIONS changes nothing (RFC 9110, 9.3.7). `None`: there is no such destination.
    pub async fn probe(&self, destination: &str, interface: &str, now: Time) -> Option<Probed> {
        let place = self.places.get(destination)?;
        let timeout = |_| Err(Fault::peer("timeout", "no answer in time"));
        let mut probed = Probed { credentials: Ok(()), status: Ok(0) };
        let request = match catalog::find(interface).map(|one| place.request(one, b"")) {
            Some(Ok(request)) => request,
            Some(Err(words)) => return Some(probed.failed(Fault::ours("address", words))),
            None => return Some(probed.failed(Fault::ours("address", "no such interface"))),
        };
        let mut asked = reqwest::Request::new(Method::OPTIONS, request.url().clone());
        if let Err(fault) = place.credentials.put(asked.headers_mut(), now).await {
            probed.credentials = Err(fault);
            return Some(probed);
        }
        let sent = tokio::time::timeout(place.answer_wait, place.client.execute(asked)).await;
        probed.status = sent.map_or_else(timeout, |sent| {
            sent.map(|answer| answer.status().as_u16()).map_err(|error| peer::send_fault(&error))
        });
        Some(probed)
    }

    async fn attempt(&self, claimed: &ClaimedDelivery) -> (AttemptEnd, Receipt) {
        let not_taken =
            |fault: String| (AttemptEnd::NotTaken { fault, wait_ms: None }, Receipt::default());
        let Some(place) = self.places.get(&claimed.destination) else {
            return not_taken("the destination is no longer configured".into());
        };
        let Some(interface) = catalog::find(&claimed.interface) else {
            return not_taken("the interface is no longer in the catalogue".into());
        };
        match tokio::time::timeout(place.answer_wait, place.deliver(interface, claimed)).await {
            Ok(ended) => ended,
            Err(_) => {
                let fault = format!("no answer within {} s", place.answer_wait.as_secs());
                (AttemptEnd::Ambiguous { fault }, Receipt::default())
            }
        }
    }
}

impl Carrier for Platform {
    fn carry<'a>(
        &'a self,
        claimed: &'a ClaimedDelivery,
    ) -> Pin<Box<dyn Future<Output = (AttemptEnd, Receipt)> + Send + 'a>> {
        Box::pin(self.attempt(claimed))
    }
}

impl Place {
    fn new(options: &DestinationOptions) -> Result<Place, OptionsError> {
        let refused = || OptionsError::BaseUrl { got: peer::without_user(&options.base_url) };
        let base = Url::parse(&options.base_url).map_err(|_| refused())?;
        if !peer::plain(&base) || base.query().is_some() || base.fragment().is_some() {
            return Err(refused());
        }
        let tls = peer::tls(&options.authorities_pem, options.client_certificate.as_ref())?;
        Ok(Place {
            base,
            paths: options.paths.clone(),
            client: peer::client(options.connect_wait, options.parallel.get(), tls)?,
            credentials: options.login.credentials()?,
            seal: options.seal.clone().map(Arc::new),
            answer_wait: options.answer_wait,
        })
    }

    /// Sends it; with another token once more where the first one was refused: whoever refuses a
    /// token has taken nothing.
    async fn deliver(
        &self,
        interface: &Interface,
        claimed: &ClaimedDelivery,
    ) -> (AttemptEnd, Receipt) {
        let not_taken = |fault| (AttemptEnd::NotTaken { fault, wait_ms: None }, Receipt::default());
        let body = match self.body(claimed).await {
            Ok(body) => body,
            Err(fault) => return not_taken(fault),
        };
        let mut renewed = false;
        loop {
            let mut request = match self.request(interface, &body) {
                Ok(request) => request,
                Err(fault) => return not_taken(fault),
            };
            let put = match self.credentials.put(request.headers_mut(), clock::now()).await {
                Ok(put) => put,
                Err(fault) => return not_taken(fault.to_string()),
            };
            let (ended, denied) = self.exchange(interface, request).await;
            let again = denied && !renewed && self.credentials.refused(put.as_ref());
            if !again {
                return ended;
            }
            renewed = true;
        }
    }

    /// Encryption takes a millisecond and is not done on a thread that serves sockets.
    async fn body(&self, claimed: &ClaimedDelivery) -> Result<Vec<u8>, String> {
        let body = claimed.body.clone();
        let Some(seal) = self.seal.clone() else { return Ok(body) };
        let sealed = tokio::task::spawn_blocking(move || seal.apply(&body)).await;
        sealed.map_err(|_| "the encryption panicked".to_owned())?
    }

    fn request(&self, interface: &Interface, body: &[u8]) -> Result<reqwest::Request, String> {
        let documented = interface.addresses.iter().find_map(|address| match address {
            Address::Http { method, path, .. } => Some((*method, *path)),
            _ => None,
        });
        let (method, path) = documented.ok_or("the interface has no HTTP address")?;
        let path = self.paths.get(interface.id).map_or(path, String::as_str);
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        let method: Method = method.parse().map_err(|_| "the interface's method is none")?;
        let mut request = reqwest::Request::new(method, url);
        let json = HeaderValue::from_static("application/json;charset=UTF-8");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        *request.body_mut() = Some(body.to_vec().into());
        Ok(request)
    }

    /// One request and its answer; and whether it was refused for who makes it.
    async fn exchange(
        &self,
        interface: &Interface,
        request: reqwest::Request,
    ) -> ((AttemptEnd, Receipt), bool) {
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) => {
                let fault = peer::causes(&error);
                let end = match error.is_connect() {
                    true => {
                        AttemptEnd::NotTaken { fault: format!("connect: {fault}"), wait_ms: None }
                    }
                    false => AttemptEnd::Ambiguous { fault: format!("connection lost: {fault}") },
                };
                return ((end, Receipt::default()), false);
            }
        };
        let status = response.status();
        let wait_ms = peer::retry_after_ms(response.headers());
        let body = match read(&mut response).await {
            Ok(body) => body,
            Err(fault) => {
                let receipt = Receipt { status: status.as_u16(), ..Receipt::default() };
                return ((AttemptEnd::Ambiguous { fault }, receipt), false);
            }
        };
        let ended = judge(interface, status, wait_ms, &body);
        let denied = matches!(status, StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN)
            || ended.1.code == "401";
        (ended, denied)
    }
}

async fn read(response: &mut Response) -> Result<Vec<u8>, String> {
    let mut body = Vec::new();
    loop {
        match response.chunk().await {
            Ok(Some(chunk)) if body.len() + chunk.len() > REPLY_BYTES_MAX => {
                return Err(format!("an answer over {REPLY_BYTES_MAX} bytes"));
            }
            Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            Ok(None) => return Ok(body),
            Err(error) => return Err(format!("half an answer: {}", peer::causes(&error))),
        }
    }
}

/// The one map from an answer to what became of the attempt. The body decides where it has a code
/// (the documents answer 200 with the code inside); the status decides where it has none.
fn judge(
    interface: &Interface,
    status: StatusCode,
    wait_ms: Option<i64>,
    body: &[u8],
) -> (AttemptEnd, Receipt) {
    let limits = json::Limits {
        bytes_max: REPLY_BYTES_MAX,
        depth_max: JSON_DEPTH_MAX,
        nodes_max: JSON_NODES_MAX,
    };
    let value = json::parse(body, None, limits).ok().map(|read| read.value);
    let reply = value.and_then(|value| catalog::read_reply(interface, &value));
    let receipt = Receipt {
        status: status.as_u16(),
        code: reply.as_ref().map_or_else(String::new, |reply| short(&reply.code)),
        body: body[..body.len().min(RECEIPT_BYTES_MAX)].to_vec(),
    };
    let said = match &reply {
        Some(reply) => format!("status {}, code {}", status.as_u16(), short(&reply.code)),
        None => format!("status {}, no code", status.as_u16()),
    };
    let busy = |fault| AttemptEnd::NotTaken { fault, wait_ms };
    let outcome = reply.and_then(|reply| reply.outcome);
    let end = match (status, outcome) {
        (StatusCode::TOO_MANY_REQUESTS | StatusCode::SERVICE_UNAVAILABLE, _) => busy(said),
        (_, Some(Outcome::Success)) if status.is_success() => AttemptEnd::Delivered,
        (_, Some(Outcome::Denied)) => busy(said),
        (_, Some(Outcome::Faulty)) => AttemptEnd::Refused { fault: said },
        (_, Some(_)) => AttemptEnd::Ambiguous { fault: said },
        (StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN, None) => busy(said),
        // The path or the method is not theirs: the configuration's fault, not the content's.
        (StatusCode::NOT_FOUND | StatusCode::METHOD_NOT_ALLOWED, None) => busy(said),
        (_, None) if status.is_redirection() => busy(said),
        (
            StatusCode::BAD_REQUEST
            | StatusCode::PAYLOAD_TOO_LARGE
            | StatusCode::UNSUPPORTED_MEDIA_TYPE
            | StatusCode::UNPROCESSABLE_ENTITY,
            None,
        ) => AttemptEnd::Refused { fault: said },
        (_, None) => AttemptEnd::Ambiguous { fault: said },
    };
    (end, receipt)
}

/// A code fit for a log: what is longer than any of the documents' is no code.
fn short(code: &str) -> String {
    let plain = |one: &char| one.is_ascii_alphanumeric() || *one == '-' || *one == '_';
    code.chars().filter(plain).take(16).collect()
}

#[cfg(test)]
mod tests;
