//! The DICOMweb door: what is in the cache, found by QIDO-RS and opened by WADO-RS, and what comes
//! into it by STOW-RS (PS3.18).
//!
//! For: viewers, workstations and PACS of the hospital, which see one archive. Always holds: who
//! is not a caller that may see images gets nothing; who was shown a study stands in the audit
//! before the first byte leaves; what leaves are the bytes and the metadata as received; an answer
//! that cannot be completed is cut, never ended; the query string, which holds patients, reaches
//! no log. On the wire: `/dicom-web/…`, the path that Orthanc uses, so that a viewer changes the
//! host only. A study that is not whole here is fetched while its reader follows it. Refused: XML
//! (nobody asks), conversion between transfer syntaxes, rendered images (not made by this version),
//! STOW-RS of metadata apart from its pixels. No thread of the runtime waits for the disk: what is
//! not in memory is asked for on a thread that may wait. Start at [`router`]; `target` reads paths,
//! `query` and `search` are QIDO-RS, `objects`, `frames`, `metadata` and `follow` are WADO-RS,
//! `store` is STOW-RS, `reply` is the map from fault to answer.

mod accept;
mod attribute;
mod follow;
mod frames;
mod json;
mod limits;
mod metadata;
mod objects;
mod query;
mod reply;
mod search;
mod store;
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

use crate::http::{Caller, Callers, Files, Peer, RequestId, host};
use crate::ledger::AccessKind;
use crate::lookup::Lookup;
use crate::model::{self, Time};
use crate::prefetch::{Ended, Opening, Prefetch};
use crate::storage::Storage;
use accept::{Form, Syntaxes};
use follow::{Follow, What};
use frames::{Asked, Wanted, Within};
use limits::FIRST_WAIT;
use metadata::Metadata;
use objects::{Boundary, Content, Extent, Objects, Part, Selection};
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
    /// Fetches what is opened and not here. `None`: nothing is fetched, as in the demo's cloud.
    pub prefetch: Option<Arc<Prefetch>>,
    /// Who may call: those configured to see images. `None`: everyone, for the demo's cloud.
    pub callers: Option<Callers>,
    /// The machine's clock.
    pub clock: fn() -> Time,
    /// What Retrieve URLs (0008,1190) begin with, without a slash at the end, where this is an
    /// index that points elsewhere. `None`: scheme and host of the request and the base path.
    pub retrieve_base: Option<String>,
    /// What takes studies; `None`: nothing is taken.
    pub storage: Option<Arc<Storage>>,
}

/// Answers everything below `/dicom-web`.
pub fn router(server: Arc<Server>) -> Router {
    Router::new()
        .route(BASE, any(answer))
        .route(&format!("{BASE}/"), any(answer))
        .route(&format!("{BASE}/{{*resource}}"), any(answer))
        .with_state(server)
}

/// Somebody who may see images, or put them here.
struct Reader {
    /// For log and audit.
    name: String,
    /// Whether sources are asked for a study that nobody registered.
    asks: bool,
}

/// What is to be sent of.
enum Opened {
    /// A study that arrives: more of the scope may come.
    Arriving(Opening),
    /// Everything that the scope will ever hold is here; the study, where it was in memory.
    Here(Option<Arc<Study>>),
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
    let (parts, body) = request.into_parts();
    let answered = Arc::clone(&server).answered(&parts, body).await;
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
    async fn answered(self: Arc<Server>, parts: &Parts, body: Body) -> Answered {
        let mut answered = Answered {
            caller: String::new(),
            service: "none",
            study: None,
            result: Err(DicomwebError::UnknownCaller),
        };
        let path = parts.uri.path();
        let path = path.strip_prefix(BASE).unwrap_or(path);
        let target = Target::parse(path.strip_prefix('/').unwrap_or(path));
        if parts.method == Method::POST
            && let Some(storage) = self.storage.clone()
            && let Ok(Some(study)) = target.as_ref().map(Target::store)
        {
            answered.service = "store";
            answered.study = study.cloned();
            answered.result = match self.reader(parts, |caller| caller.store) {
                Some(sender) => {
                    answered.caller = sender.name;
                    self.store(storage, parts, body, &answered.caller, study.cloned()).await
                }
                None => match self.reader(parts, |caller| caller.images) {
                    Some(reader) => {
                        answered.caller = reader.name;
                        Err(store::StoreError::MayNotStore.into())
                    }
                    None => Err(DicomwebError::UnknownCaller),
                },
            };
            return answered;
        }
        let Some(reader) = self.reader(parts, |caller| caller.images) else { return answered };
        answered.caller.clone_from(&reader.name);
        if !matches!(parts.method, Method::GET | Method::HEAD) {
            let stores = target.as_ref().is_ok_and(|target| target.store().is_some());
            answered.result =
                Err(DicomwebError::Method { stores: stores && self.storage.is_some() });
            return answered;
        }
        let target = match target {
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
            Target::Metadata(scope) => self.metadata(parts, &reader, scope).await,
            Target::Objects(scope) => self.objects(parts, &reader, scope).await,
            Target::Frames(scope, numbers) => {
                self.pieces(parts, &reader, scope, Wanted::Frames(numbers)).await
            }
            Target::Bulk(scope, name) => {
                self.pieces(parts, &reader, scope, Wanted::Value(name)).await
            }
        };
        answered
    }

    /// Who calls, if it may do what it asks for.
    fn reader(&self, parts: &Parts, may: impl Fn(&Caller) -> bool) -> Option<Reader> {
        let Some(callers) = &self.callers else {
            return Some(Reader { name: EVERYONE.to_owned(), asks: false });
        };
        let peer = parts.extensions.get::<Peer>()?;
        let caller = callers.identify(*peer, &parts.headers, may)?;
        Some(Reader { name: caller.name.clone(), asks: caller.ask_sources })
    }

    /// Has what is not here fetched. One instance is waited for.
    async fn open(&self, scope: &Scope, reader: &Reader) -> Result<Opened, DicomwebError> {
        let Some(prefetch) = &self.prefetch else { return Ok(Opened::Here(None)) };
        let first = match (&scope.series, &scope.instance) {
            (Some(series), Some(sop)) => {
                if let Some(study) = self.study_with(&scope.study, sop).await? {
                    return Ok(Opened::Here(Some(study)));
                }
                Some(model::Wanted::Instance(series.clone(), sop.clone()))
            }
            (Some(series), None) => Some(model::Wanted::Series(series.clone())),
            (None, _) => None,
        };
        let Some(mut opening) = prefetch.open(&scope.study, first, reader.asks).await? else {
            return Ok(Opened::Here(None));
        };
        let Some(sop) = &scope.instance else { return Ok(Opened::Arriving(opening)) };
        let arrives = async {
            let mut known = 0;
            loop {
                match opening.more(known).await {
                    Ok(study) if study.instance(sop).is_some() => {
                        return Ok(Opened::Here(Some(study)));
                    }
                    Ok(study) => known = study.instances().len(),
                    Err(Ended::Whole | Ended::Absent) => return Ok(Opened::Here(None)),
                    Err(Ended::Broken { fault, blame }) => {
                        return Err(DicomwebError::Interrupted { fault, blame });
                    }
                }
            }
        };
        tokio::time::timeout(FIRST_WAIT, arrives).await.map_err(|_| DicomwebError::NotYet)?
    }

    /// The study, if it holds the instance.
    async fn study_with(
        &self,
        study: &Uid,
        sop: &Uid,
    ) -> Result<Option<Arc<Study>>, DicomwebError> {
        let cache = self.lookup.cache();
        let here = match cache.study_at_hand(study) {
            Some(study) => Some(study),
            None => {
                let (cache, study) = (cache.clone(), study.clone());
                waiting(move || Ok(cache.study(&study)?)).await?
            }
        };
        Ok(here.filter(|study| study.instance(sop).is_some()))
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
        reader: &Reader,
        scope: Scope,
    ) -> Result<Response<Body>, DicomwebError> {
        let media = accept::json(&parts.headers, accept_parameter(&parts.uri)?.as_deref())?;
        let (study, base) = (scope.study.clone(), self.base(parts));
        let here = match self.open(&scope, reader).await? {
            Opened::Arriving(opening) => {
                let follow = Follow::new(opening, scope, What::Metadata { base });
                let body = self.followed(follow, reader, AccessKind::Metadata, study).await?;
                return respond(parts, media, None, body);
            }
            Opened::Here(here) => here,
        };
        let server = Arc::clone(&self);
        let body = waiting(move || {
            let snapshot = match here {
                Some(study) => study,
                None => snapshot(server.lookup.cache(), &scope.study)?,
            };
            Metadata::open(select(snapshot, &scope, None)?, &base, Extent::WHOLE)
        });
        let body = body.await?;
        self.audit(reader, AccessKind::Metadata, study).await?;
        let length = hyper::body::Body::size_hint(&body).exact();
        respond(parts, media, length, Body::new(body))
    }

    async fn objects(
        self: Arc<Server>,
        parts: &Parts,
        reader: &Reader,
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
                (Some(boundary), syntaxes, media)
            }
            Form::Bare(syntaxes) => (None, syntaxes, "application/dicom".to_owned()),
        };
        let files = files(parts);
        let study = scope.study.clone();
        let here = match (self.open(&scope, reader).await?, &boundary) {
            (Opened::Arriving(opening), Some(boundary)) => {
                let what = What::Objects { boundary: boundary.clone(), syntaxes, files };
                let follow = Follow::new(opening, scope, what);
                let body = self.followed(follow, reader, AccessKind::Retrieve, study).await?;
                return respond(parts, &media, None, body);
            }
            (Opened::Here(here), _) => here,
            // Only one instance leaves without an envelope, and that was waited for.
            (Opened::Arriving(_), None) => None,
        };
        let boundary = boundary.map(|text| Boundary { text, extent: Extent::WHOLE });
        let choose = move |snapshot| {
            let selection = select(snapshot, &scope, files)?;
            check_syntaxes(&selection, &syntaxes)?;
            Ok(Chosen { selection, boundary, media, within: None })
        };
        self.send(parts, reader, (study, here), |_| true, choose).await
    }

    async fn pieces(
        self: Arc<Server>,
        parts: &Parts,
        reader: &Reader,
        scope: Scope,
        wanted: Wanted,
    ) -> Result<Response<Body>, DicomwebError> {
        let (parameter, study) = (accept_parameter(&parts.uri)?, scope.study.clone());
        let (mut headers, files) = (parts.headers.clone(), files(parts));
        if parts.method != Method::GET {
            // It means nothing elsewhere (RFC 9110, 14.2).
            headers.remove(header::RANGE);
        }
        let here = match self.open(&scope, reader).await? {
            Opened::Here(here) => here,
            Opened::Arriving(_) => None,
        };
        let asked = Arc::new(Asked { scope, wanted, headers, parameter, files });
        let at_hand = |study: &Study| asked.at_hand(study);
        let chosen = Arc::clone(&asked);
        let choose = move |snapshot| frames::choose(&chosen, snapshot);
        self.send(parts, reader, (study, here), at_hand, choose).await
    }

    /// Sends what is chosen of a study. What is in memory is sent from here: waking another thread
    /// costs more than all else.
    async fn send(
        self: Arc<Server>,
        parts: &Parts,
        reader: &Reader,
        (study, here): (Uid, Option<Arc<Study>>),
        at_hand: impl Fn(&Study) -> bool,
        choose: impl FnOnce(Arc<Study>) -> Result<Chosen, DicomwebError> + Send + 'static,
    ) -> Result<Response<Body>, DicomwebError> {
        let cache = self.lookup.cache();
        let chosen = match here.or_else(|| cache.study_at_hand(&study)) {
            Some(snapshot) if at_hand(&snapshot) => choose(snapshot)?,
            Some(snapshot) => waiting(move || choose(snapshot)).await?,
            None => {
                let (cache, study) = (cache.clone(), study.clone());
                waiting(move || choose(snapshot(&cache, &study)?)).await?
            }
        };
        let Chosen { selection, boundary, media, within } = chosen;
        let body = open_objects(selection, boundary).await?;
        self.audit(reader, AccessKind::Retrieve, study).await?;
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

    /// The body of a study that arrives. That it was opened is written down while its first image
    /// is waited for, so that the image does not wait for the ledger's disk: one that never came
    /// stands in the audit, too.
    async fn followed(
        &self,
        follow: Follow,
        reader: &Reader,
        kind: AccessKind,
        study: Uid,
    ) -> Result<Body, DicomwebError> {
        let (body, audited) = tokio::join!(follow.body(), self.audit(reader, kind, study));
        let body = body?;
        audited?;
        Ok(body)
    }

    async fn audit(
        &self,
        reader: &Reader,
        kind: AccessKind,
        study: Uid,
    ) -> Result<(), DicomwebError> {
        Ok(self.lookup.audit(&reader.name, kind, &[study], (self.clock)()).await?)
    }
}

/// Whether the reader takes every object of a selection as it is stored.
fn check_syntaxes(selection: &Selection, syntaxes: &Syntaxes) -> Result<(), DicomwebError> {
    match selection.instances().find(|one| !syntaxes.hold(&one.transfer_syntax)) {
        Some(other) => Err(DicomwebError::Syntax { stored: other.transfer_syntax.to_string() }),
        None => Ok(()),
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

/// The body of what is selected; its first object is open, at once where the kernel has it.
async fn open_objects(
    selection: Selection,
    boundary: Option<Boundary>,
) -> Result<Objects, DicomwebError> {
    match Part::open_at_once(&selection, 0)? {
        Some(first) => Ok(Objects::new(selection, boundary, first)),
        None => waiting(move || Objects::open(selection, boundary)).await,
    }
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

/// Path and query of a request, for the fuzzer.
#[cfg(fuzzing)]
pub fn fuzz_target(target: &str) {
    let (path, query) = target.split_once('?').unwrap_or((target, ""));
    let _ = Target::parse(path);
    for level in [Level::Study, Level::Series, Level::Instance] {
        let _ = Query::parse(query, level);
    }
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
    let host = host(parts).unwrap_or_default();
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
