//! The DICOMweb door: what is in the cache, found by QIDO-RS and opened by WADO-RS (PS3.18).
//!
//! For: viewers, workstations and PACS of the hospital, which see one archive. Always holds: who
//! is not a caller that may see images gets nothing; who was shown a study stands in the audit
//! before the first byte leaves; what leaves are the bytes and the metadata as received; an answer
//! that cannot be completed is cut, never ended; the query string, which holds patients, reaches
//! no log. On the wire: `/dicom-web/…`, the path that Orthanc uses, so that a viewer changes the
//! host only. Refused: XML (nobody asks), conversion between transfer syntaxes, rendered images
//! (not made by this version), STOW-RS. No thread of the runtime waits for the disk: what is not
//! in memory is asked for on a thread that may wait. Start at [`router`]; `target` reads paths,
//! `query` and `search` are QIDO-RS, `objects`, `frames` and `metadata` are WADO-RS, `reply` is the
//! map from fault to answer.

mod accept;
mod attribute;
mod frames;
mod json;
mod limits;
mod metadata;
mod objects;
mod query;
mod reply;
mod search;
mod target;
#[cfg(test)]
mod tests;
mod times;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::routing::any;
use forepost_cache::{Cache, Instance, Study, Uid};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Method, Request, Response, StatusCode, Uri, Version, header};
use tokio::task::spawn_blocking;

use crate::http::{Callers, Files, Peer, RequestId};
use crate::ledger::AccessKind;
use crate::lookup::Lookup;
use crate::model::Time;
use accept::Form;
use frames::{Asked, Wanted, Within};
use metadata::Metadata;
use objects::{Boundary, Content, Objects, Part, Selection};
use query::Query;
use reply::DicomwebError;
use search::Search;
use target::{Level, Scope, Target};

/// What every address of this door begins with.
const BASE: &str = "/dicom-web";

/// The name in log and audit of who calls a door that everyone may call.
const EVERYONE: &str = "everyone";

/// What stands behind the door.
pub struct Server {
    /// The flow.
    pub lookup: Lookup,
    /// Who may call: those configured to see images. `None`: everyone, for the demo's cloud.
    pub callers: Option<Callers>,
    /// The machine's clock.
    pub clock: fn() -> Time,
    /// What Retrieve URLs (0008,1190) begin with, without a slash at the end, where this is an
    /// index that points elsewhere. `None`: scheme and host of the request and the base path.
    pub retrieve_base: Option<String>,
}

/// Answers everything below `/dicom-web`.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route(BASE, any(answer))
        .route(&format!("{BASE}/"), any(answer))
        .route(&format!("{BASE}/{{*resource}}"), any(answer))
        .with_state(server)
}

/// An answer with what the log says of it.
struct Answered {
    caller: String,
    service: &'static str,
    study: Option<Uid>,
    result: Result<Response<Body>, DicomwebError>,
}

async fn answer(State(server): State<Arc<Server>>, request: Request<Body>) -> Response<Body> {
    let began = (server.clock)();
    // A body is not asked for by GET; what comes all the same is left to the connection.
    let (parts, _) = request.into_parts();
    let answered = Arc::clone(&server).answered(&parts).await;
    let Answered { caller, service, study, result } = answered;
    let number = parts.extensions.get::<RequestId>().map_or("", |id| &*id.0);
    let study = study.as_ref().map_or("", Uid::as_str);
    let response = match result {
        Ok(response) => response,
        Err(error) => {
            if error.status().is_server_error() {
                log::error!(request = number, study, error:?; "not answered");
            } else {
                log::debug!(request = number; "refused: {error}");
            }
            error.reply()
        }
    };
    let code = response.status().as_u16();
    let ms = (server.clock)().since_ms(began);
    log::info!(request = number, caller = caller.as_str(), service, study, code, ms; "dicomweb");
    metrics::counter!("dicomweb_requests_total", "service" => service, "code" => code.to_string())
        .increment(1);
    response
}

impl Server {
    async fn answered(self: Arc<Server>, parts: &Parts) -> Answered {
        let mut answered = Answered {
            caller: String::new(),
            service: "none",
            study: None,
            result: Err(DicomwebError::UnknownCaller),
        };
        let Some(caller) = self.caller(parts) else { return answered };
        answered.caller = caller;
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            answered.result = Err(DicomwebError::Method);
            return answered;
        }
        let path = parts.uri.path();
        let path = path.strip_prefix(BASE).unwrap_or(path);
        let target = match Target::parse(path.strip_prefix('/').unwrap_or(path)) {
            Ok(target) => target,
            Err(error) => {
                answered.result = Err(error);
                return answered;
            }
        };
        answered.service = target.service();
        answered.study = target.study().cloned();
        answered.result = match target {
            Target::Search { level, study, series } => {
                self.search(parts, &answered.caller, level, study, series).await
            }
            Target::Metadata(scope) => self.metadata(parts, &answered.caller, scope).await,
            Target::Objects(scope) => self.objects(parts, &answered.caller, scope).await,
            Target::Frames(scope, numbers) => {
                self.pieces(parts, &answered.caller, scope, Wanted::Frames(numbers)).await
            }
            Target::Bulk(scope, name) => {
                self.pieces(parts, &answered.caller, scope, Wanted::Value(name)).await
            }
        };
        answered
    }

    /// The name of who calls, if it may see images.
    fn caller(&self, parts: &Parts) -> Option<String> {
        let Some(callers) = &self.callers else { return Some(EVERYONE.to_owned()) };
        let peer = parts.extensions.get::<Peer>()?;
        let caller = callers.identify(*peer, &parts.headers, |caller| caller.images)?;
        Some(caller.name.clone())
    }

    /// What URLs of objects begin with.
    fn base(&self, parts: &Parts) -> String {
        self.retrieve_base.clone().unwrap_or_else(|| own_base(parts))
    }

    async fn search(
        self: Arc<Server>,
        parts: &Parts,
        caller: &str,
        level: Level,
        study: Option<Uid>,
        series: Option<Uid>,
    ) -> Result<Response<Body>, DicomwebError> {
        let mut query = Query::parse(parts.uri.query().unwrap_or_default(), level)?;
        let media = accept::json(&parts.headers, query.accept.as_deref())?;
        let mut warnings = std::mem::take(&mut query.warnings);
        let base = self.base(parts);
        let server = Arc::clone(&self);
        let found = waiting(move || {
            let lookup = &server.lookup;
            Search { lookup, query, level, study, series, base }.run()
        });
        let found = found.await?;
        self.lookup.audit(caller, AccessKind::Search, &found.studies, (self.clock)()).await?;
        if found.more {
            // The wording of PS3.18 8.3.4.4, whose number would cost a search to the end.
            warnings.push("There are additional results that can be requested".into());
        }
        let length = found.body.len() as u64;
        metrics::counter!("dicomweb_bytes_total").increment(length);
        let mut response = respond(parts, media, Some(length), Body::from(found.body))?;
        for text in warnings {
            let text = format!("299 forepost \"{text}\"");
            if let Ok(value) = HeaderValue::from_str(&text) {
                response.headers_mut().append(header::WARNING, value);
            }
        }
        Ok(response)
    }

    async fn metadata(
        self: Arc<Server>,
        parts: &Parts,
        caller: &str,
        scope: Scope,
    ) -> Result<Response<Body>, DicomwebError> {
        let media = accept::json(&parts.headers, accept_parameter(&parts.uri)?.as_deref())?;
        let (study, base) = (scope.study.clone(), self.base(parts));
        let server = Arc::clone(&self);
        let body = waiting(move || {
            let snapshot = snapshot(server.lookup.cache(), &scope.study)?;
            Metadata::open(select(snapshot, &scope, None)?, &base)
        });
        let body = body.await?;
        self.lookup.audit(caller, AccessKind::Metadata, &[study], (self.clock)()).await?;
        let length = hyper::body::Body::size_hint(&body).exact();
        respond(parts, media, length, Body::new(body))
    }

    async fn objects(
        self: Arc<Server>,
        parts: &Parts,
        caller: &str,
        scope: Scope,
    ) -> Result<Response<Body>, DicomwebError> {
        let parameter = accept_parameter(&parts.uri)?;
        let one = scope.instance.is_some();
        let form = accept::objects(&parts.headers, parameter.as_deref(), one)?;
        let (boundary, syntaxes, media) = match form {
            Form::Multipart(syntaxes) => {
                let boundary = boundary();
                let media =
                    format!("multipart/related; type=\"application/dicom\"; boundary={boundary}");
                (Some(Boundary(boundary)), syntaxes, media)
            }
            Form::Bare(syntaxes) => (None, syntaxes, "application/dicom".to_owned()),
        };
        let files = files(parts);
        let study = scope.study.clone();
        let choose = move |snapshot| {
            let selection = select(snapshot, &scope, files)?;
            let other = selection.instances().find(|one| !syntaxes.hold(&one.transfer_syntax));
            if let Some(other) = other {
                return Err(DicomwebError::Syntax { stored: other.transfer_syntax.to_string() });
            }
            Ok(Chosen { selection, boundary, media, within: None })
        };
        self.send(parts, caller, study, |_| true, choose).await
    }

    async fn pieces(
        self: Arc<Server>,
        parts: &Parts,
        caller: &str,
        scope: Scope,
        wanted: Wanted,
    ) -> Result<Response<Body>, DicomwebError> {
        let (parameter, study) = (accept_parameter(&parts.uri)?, scope.study.clone());
        let (mut headers, files) = (parts.headers.clone(), files(parts));
        if parts.method != Method::GET {
            // It means nothing elsewhere (RFC 9110, 14.2).
            headers.remove(header::RANGE);
        }
        let asked = Arc::new(Asked { scope, wanted, headers, parameter, files });
        let at_hand = |study: &Study| asked.at_hand(study);
        let chosen = Arc::clone(&asked);
        let choose = move |snapshot| frames::choose(&chosen, snapshot);
        self.send(parts, caller, study, at_hand, choose).await
    }

    /// Sends what is chosen of a study. What is in memory is sent from here: waking another thread
    /// costs more than all else.
    async fn send(
        self: Arc<Server>,
        parts: &Parts,
        caller: &str,
        study: Uid,
        at_hand: impl Fn(&Study) -> bool,
        choose: impl FnOnce(Arc<Study>) -> Result<Chosen, DicomwebError> + Send + 'static,
    ) -> Result<Response<Body>, DicomwebError> {
        let cache = self.lookup.cache();
        let open = |chosen: Chosen| {
            let Chosen { selection, boundary, media, within } = chosen;
            Ok((Objects::open(selection, boundary)?, media, within))
        };
        let (body, media, within) = match cache.study_at_hand(&study).filter(|one| at_hand(one)) {
            Some(snapshot) => {
                let chosen = choose(snapshot)?;
                match Part::open_at_once(&chosen.selection, 0)? {
                    Some(first) => {
                        let Chosen { selection, boundary, media, within } = chosen;
                        (Objects::new(selection, boundary, first), media, within)
                    }
                    None => waiting(move || open(chosen)).await?,
                }
            }
            None => {
                let (cache, study) = (cache.clone(), study.clone());
                waiting(move || open(choose(snapshot(&cache, &study)?)?)).await?
            }
        };
        self.lookup.audit(caller, AccessKind::Retrieve, &[study], (self.clock)()).await?;
        let length = body.bytes();
        let mut response = respond(parts, &media, Some(length), Body::new(body))?;
        if let Some((first, last, of)) = within
            && let Ok(value) = HeaderValue::from_str(&format!("bytes {first}-{last}/{of}"))
        {
            *response.status_mut() = StatusCode::PARTIAL_CONTENT;
            response.headers_mut().insert(header::CONTENT_RANGE, value);
        }
        Ok(response)
    }
}

/// What leaves of a study.
struct Chosen {
    selection: Selection,
    /// Between its parts; `None`: it is one part that leaves alone.
    boundary: Option<Boundary>,
    media: String,
    /// Only these bytes of the part.
    within: Option<Within>,
}

/// What maps files for the connection. HTTP/2 copies what it sends into its frames.
fn files(parts: &Parts) -> Option<Files> {
    let files = parts.extensions.get::<Files>();
    files.filter(|_| parts.version < Version::HTTP_2).cloned()
}

/// Does on a thread that may wait for the disk what could make a thread of the runtime wait.
async fn waiting<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, DicomwebError> + Send + 'static,
) -> Result<T, DicomwebError> {
    spawn_blocking(work).await.map_err(|_| DicomwebError::Panicked)?
}

/// What is whole of a study. May wait for the disk.
fn snapshot(cache: &Cache, study: &Uid) -> Result<Arc<Study>, DicomwebError> {
    cache.study(study)?.ok_or(DicomwebError::NotHere { level: Level::Study.name() })
}

/// The instances of a scope as far as they are whole.
fn select(
    study: Arc<Study>,
    scope: &Scope,
    files: Option<Files>,
) -> Result<Selection, DicomwebError> {
    let all = study.instances();
    let places: Vec<u32> = match (&scope.series, &scope.instance) {
        (None, _) => (0..all.len() as u32).collect(),
        (Some(series), None) => {
            let inside = |place: &u32| all[*place as usize].series == *series;
            (0..all.len() as u32).filter(inside).collect()
        }
        (Some(series), Some(sop)) => {
            let found = study.instance(sop).filter(|one| one.series == *series);
            found.and_then(|one| place_of(all, one)).into_iter().collect()
        }
    };
    if places.is_empty() {
        let level = if scope.instance.is_some() { Level::Instance } else { Level::Series };
        return Err(DicomwebError::NotHere { level: level.name() });
    }
    Ok(Selection { study, places, content: Content::Objects, files })
}

/// The place of an instance in a list ordered as the cache orders it.
fn place_of(all: &[Instance], wanted: &Instance) -> Option<u32> {
    fn key(one: &Instance) -> (i32, &Uid, i32, &Uid) {
        (one.series_number, &one.series, one.number, &one.sop)
    }
    let found = all.binary_search_by(|one| key(one).cmp(&key(wanted)));
    found.ok().map(|place| place as u32)
}

/// An answer of 200; to HEAD without its body.
fn respond(
    parts: &Parts,
    media: &str,
    length: Option<u64>,
    body: Body,
) -> Result<Response<Body>, DicomwebError> {
    let body = if parts.method == Method::HEAD { Body::empty() } else { body };
    let mut response = Response::new(body);
    let headers = response.headers_mut();
    if let Ok(media) = HeaderValue::from_str(media) {
        headers.insert(header::CONTENT_TYPE, media);
    }
    if let Some(length) = length {
        headers.insert(header::CONTENT_LENGTH, length.into());
    }
    Ok(response)
}

/// The `accept` parameter of a retrieval; other parameters mean nothing there.
fn accept_parameter(uri: &Uri) -> Result<Option<String>, DicomwebError> {
    match uri.query() {
        Some(query) => Ok(Query::parse(query, Level::Study)?.accept),
        None => Ok(None),
    }
}

/// Scheme and host of the request with the base path; the path alone where no host is named, or
/// one that could not stand in a URL. The scheme is what the listener says that it speaks.
fn own_base(parts: &Parts) -> String {
    let named = parts.headers.get(header::HOST).and_then(|value| value.to_str().ok());
    let host = parts.uri.authority().map(|one| one.as_str()).or(named).unwrap_or_default();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b".-_:[]".contains(&byte);
    if host.is_empty() || !host.bytes().all(plain) {
        return BASE.to_owned();
    }
    let scheme = parts.extensions.get::<Scheme>().map_or("http", Scheme::as_str);
    format!("{scheme}://{host}{BASE}")
}

/// A text that no object holds: 128 random bits.
fn boundary() -> String {
    let mut random = [0_u8; 16];
    // Without randomness the text is still long and unlike any content of a file.
    let _ = aws_lc_rs::rand::fill(&mut random);
    format!("forepost-{}", hex::encode(random))
}
