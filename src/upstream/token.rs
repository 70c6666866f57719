//! The token that a platform wants in the head of every call (regional remote imaging's document,
//! 3.2.2.5).
//!
//! What for: calls to the platform ask here for the token and say when it was refused. What always
//! holds: one renewal at a time, however many wait for it, and all of them get what it brought, the
//! fault too; a token is renewed before it ends, and an old one that still counts goes on where the
//! renewal fails; a refusal renews once, and a platform that refuses the new one as well is left
//! alone for a while; every wait is bounded. No secret and no token is in a fault or a log line. On
//! the wire: a POST of `{"sign": …}`; behind a good HTTP status the body says whether it is one.
//! Refused: to renew on a timer, which would ask for tokens that nobody needs. Start at
//! [`TokenKeeper::token`].

mod answer;

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::BytesMut;
use http::Method;
use http::header::{self, HeaderValue};
use log::{info, warn};
use reqwest::{Client, Url};
use secrecy::{ExposeSecret, SecretString};
use tokio::time::{Instant, timeout};

use super::limits::{TOKEN_ANSWER_BYTES_MAX, TOKEN_PAUSE_MS, TOKEN_REFUSED_MS};
use super::options::{ClientCertificate, OptionsError, Waits};
use super::peer;
use crate::fault::Fault;
use crate::model::{Time, UtcOffset};
use crate::seal::rsa::RsaKey;

pub use answer::{body_code, says_unauthorized};

/// What is configured of a platform's token.
#[derive(Debug, Clone)]
pub struct TokenOptions {
    /// The platform's name in the configuration, in logs and in metrics.
    pub name: String,
    /// The whole address of `getToken`, `http` or `https`, without user and query.
    pub url: String,
    /// The platform's public key.
    pub public_key: RsaKey,
    /// What is encrypted, in this order, with commas between. The document's rule is appId, orgId,
    /// license ([`SignPart::DOCUMENT`]); its table names appId, license, time.
    pub parts: Vec<SignPart>,
    /// As the platform gave it out.
    pub app_id: SecretString,
    /// The hospital's number on the platform.
    pub org_id: SecretString,
    /// As the platform gave it out.
    pub license: SecretString,
    /// The wall clock of [`SignPart::Time`].
    pub offset: UtcOffset,
    /// After which a token is renewed; the document says two hours.
    pub life: Duration,
    /// For which a token still counts after its life, where the renewal fails; the document says a
    /// quarter of an hour.
    pub grace: Duration,
    /// Certificates (PEM) trusted besides the public authorities; may be empty.
    pub authorities_pem: String,
    /// Shown to the platform.
    pub client_certificate: Option<ClientCertificate>,
    /// Timeouts; `head` is for a renewal as a whole, whose answer is a line.
    pub waits: Waits,
}

/// A part of what is encrypted into `sign`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SignPart {
    /// [`TokenOptions::app_id`].
    AppId,
    /// [`TokenOptions::org_id`].
    OrgId,
    /// [`TokenOptions::license`].
    License,
    /// The moment, as `2026-11-21 12:04:10`.
    Time,
}

impl SignPart {
    /// Every part.
    pub const ALL: [SignPart; 4] =
        [SignPart::AppId, SignPart::OrgId, SignPart::License, SignPart::Time];

    /// The joining rule of the document.
    pub const DOCUMENT: [SignPart; 3] = [SignPart::AppId, SignPart::OrgId, SignPart::License];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            SignPart::AppId => "appId",
            SignPart::OrgId => "orgId",
            SignPart::License => "license",
            SignPart::Time => "time",
        }
    }

    /// The part of that name.
    pub fn from_name(name: &str) -> Option<SignPart> {
        SignPart::ALL.into_iter().find(|part| part.name() == name)
    }
}

/// A token. Its text is never printed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Token {
    value: HeaderValue,
    /// Which renewal brought it, so that a late refusal of an older one changes nothing.
    number: u64,
}

impl Token {
    /// What goes into the head of a call.
    pub fn value(&self) -> &HeaderValue {
        &self.value
    }
}

/// Keeps one platform's token.
pub struct TokenKeeper {
    options: TokenOptions,
    url: Url,
    client: Client,
    state: Mutex<State>,
    /// Held by whoever renews.
    renewing: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct State {
    held: Option<Held>,
    /// Renewals that ended, well or badly.
    renewals: u64,
    /// Why the last renewal failed, and when.
    failed: Option<(Fault, Time)>,
    /// When a refused token was last replaced.
    refusal_at: Option<Time>,
}

struct Held {
    token: Token,
    made_at: Time,
    refused: bool,
}

impl State {
    /// The token, where it counts for so long after it was made.
    fn usable(&self, now: Time, length: Duration) -> Option<Token> {
        let milliseconds = i64::try_from(length.as_millis()).unwrap_or(i64::MAX);
        let held = self.held.as_ref().filter(|held| !held.refused)?;
        within(now, held.made_at, milliseconds).then(|| held.token.clone())
    }
}

/// Whether the two are less than so many milliseconds apart. Callers that wait for one renewal have
/// read the clock at different moments, so either may be the later one; a clock that was set back
/// by more ends what is counted from it.
fn within(now: Time, then: Time, milliseconds: i64) -> bool {
    now.since_ms(then).abs() < milliseconds
}

impl TokenKeeper {
    /// Prepares the client; nothing is connected yet.
    pub fn new(options: TokenOptions) -> Result<TokenKeeper, OptionsError> {
        let refused = || OptionsError::BaseUrl { got: peer::without_user(&options.url) };
        let url = Url::parse(&options.url).map_err(|_| refused())?;
        if !peer::plain(&url) || url.query().is_some() || url.fragment().is_some() {
            return Err(refused());
        }
        // What cannot be signed now can never be: the parts are always of the same length.
        options.public_key.encrypt(&plain_sign(&options, Time(0)))?;
        let tls = peer::tls(&options.authorities_pem, options.client_certificate.as_ref())?;
        let client = peer::client(options.waits.connect, 1, tls)?;
        let (state, renewing) = (Mutex::default(), tokio::sync::Mutex::default());
        Ok(TokenKeeper { options, url, client, state, renewing })
    }

    /// The token, renewed where that is due. Waits at most for two renewals: another's that breaks
    /// off because its caller goes away, and then its own.
    pub async fn token(&self, now: Time) -> Result<Token, Fault> {
        let seen = self.state().renewals;
        if let Some(known) = self.known(now) {
            return known;
        }
        let renewed = timeout(self.options.waits.head * 2, async {
            let _place = self.renewing.lock().await;
            // Whoever had the place before has renewed for all who waited.
            if self.state().renewals == seen {
                let renewed = self.renew(now).await;
                self.settle(renewed, now);
            }
        });
        match renewed.await {
            Ok(()) => self.outcome(now),
            Err(_) => Err(Fault::peer("timeout", "no token in time")),
        }
    }

    /// Says that a call with this token was answered with 401, in its status or in its body
    /// ([`says_unauthorized`]). The next [`TokenKeeper::token`] renews it, once for all who say so.
    pub fn refused(&self, token: &Token) {
        if let Some(held) = &mut self.state().held
            && held.token.number == token.number
        {
            held.refused = true;
        }
    }

    /// What can be said without a renewal.
    fn known(&self, now: Time) -> Option<Result<Token, Fault>> {
        let state = self.state();
        if let Some(token) = state.usable(now, self.options.life) {
            return Some(Ok(token));
        }
        if let Some((_, at)) = &state.failed
            && within(now, *at, TOKEN_PAUSE_MS)
        {
            drop(state);
            return Some(self.outcome(now));
        }
        let at = state.refusal_at.filter(|at| within(now, *at, TOKEN_REFUSED_MS))?;
        state.held.as_ref().filter(|held| held.refused)?;
        let fault = Fault::peer("token refused", "a new token is refused like the one before");
        Some(Err(fault.after_ms(TOKEN_REFUSED_MS - now.since_ms(at).max(0))))
    }

    /// What the last renewal brought.
    fn outcome(&self, now: Time) -> Result<Token, Fault> {
        let state = self.state();
        let Some((fault, at)) = &state.failed else {
            let held = state.held.as_ref().expect("a renewal that did not fail brought a token");
            return Ok(held.token.clone());
        };
        let wait_ms = TOKEN_PAUSE_MS - now.since_ms(*at).clamp(0, TOKEN_PAUSE_MS);
        let old = state.usable(now, self.options.life + self.options.grace);
        old.ok_or_else(|| fault.clone().after_ms(wait_ms))
    }

    fn settle(&self, renewed: Result<HeaderValue, Fault>, now: Time) {
        let mut state = self.state();
        state.renewals += 1;
        match renewed {
            Ok(value) => {
                if state.held.as_ref().is_some_and(|held| held.refused) {
                    state.refusal_at = Some(now);
                }
                let token = Token { value, number: state.renewals };
                state.held = Some(Held { token, made_at: now, refused: false });
                state.failed = None;
            }
            Err(fault) => {
                warn!(source = self.options.name.as_str(); "no new token: {fault}");
                state.failed = Some((fault, now));
            }
        }
    }

    /// Asks for a token, and tells log and metrics how it went.
    async fn renew(&self, now: Time) -> Result<HeaderValue, Fault> {
        let began = Instant::now();
        let asked = timeout(self.options.waits.head, self.ask(now)).await;
        let renewed = asked.unwrap_or_else(|_| Err(Fault::peer("timeout", "no answer in time")));
        let outcome = renewed.as_ref().map_or_else(|fault| fault.step, |_| "ok");
        let name = self.options.name.as_str();
        metrics::counter!("upstream_requests_total", "source" => name.to_owned(),
            "step" => "token", "outcome" => outcome)
        .increment(1);
        let milliseconds = began.elapsed().as_millis() as u64;
        let host = peer::host(&self.url);
        info!(source = name, step = "token", host = host.as_str(), milliseconds, outcome;
            "asked for a token");
        renewed
    }

    async fn ask(&self, now: Time) -> Result<HeaderValue, Fault> {
        let sign = self.options.public_key.encrypt(&plain_sign(&self.options, now));
        let sign = sign.map_err(|fault| Fault::ours("sign", fault.to_string()))?;
        let mut request = reqwest::Request::new(Method::POST, self.url.clone());
        let json = HeaderValue::from_static("application/json;charset=UTF-8");
        request.headers_mut().insert(header::CONTENT_TYPE, json);
        *request.body_mut() = Some(serde_json::json!({ "sign": sign }).to_string().into());
        let sent = self.client.execute(request).await;
        let mut response = sent.map_err(|error| peer::send_fault(&error))?;
        let status = response.status();
        let mut body = BytesMut::new();
        loop {
            match response.chunk().await {
                Err(error) => return Err(Fault::peer("half a body", peer::causes(&error))),
                Ok(None) => break,
                Ok(Some(chunk)) if body.len() + chunk.len() > TOKEN_ANSWER_BYTES_MAX => {
                    let words = format!("an answer over {TOKEN_ANSWER_BYTES_MAX} B");
                    return Err(Fault::peer("too large", words));
                }
                Ok(Some(chunk)) => body.extend_from_slice(&chunk),
            }
        }
        match status.is_success() {
            true => answer::token(&body),
            false => Err(Fault::peer("status", format!("status {}", status.as_u16()))),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What is encrypted into `sign`.
fn plain_sign(options: &TokenOptions, now: Time) -> String {
    let part = |part: &SignPart| match part {
        SignPart::AppId => options.app_id.expose_secret().to_owned(),
        SignPart::OrgId => options.org_id.expose_secret().to_owned(),
        SignPart::License => options.license.expose_secret().to_owned(),
        SignPart::Time => now.wall(options.offset).strftime("%Y-%m-%d %H:%M:%S").to_string(),
    };
    options.parts.iter().map(part).collect::<Vec<_>>().join(",")
}

#[cfg(test)]
mod tests;
