//! The pages of a doctor's window: the notices, a patient's studies, one study.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use forepost_cache::{Study, Uid};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, header};

use super::access::Reader;
use super::content::{self, Content};
use super::html::Language;
use super::report::{self, Report};
use super::{Refusal, Workstations, access, app, respond, waiting};
use crate::http::{read_form, see};
use crate::ledger::Session;
use crate::model::{NoticeKind, NoticeUse};
use crate::notice::NoticeShown;

/// Bytes of a document that is shown: scanned pages come to a few megabytes.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// Characters of a reason that is kept.
pub(super) const REASON_CHARACTERS_MAX: usize = 200;

/// Characters of a reason that opens a patient: a word at least.
pub(super) const REASON_CHARACTERS_MIN: usize = 2;

/// Where the notices are.
const WINDOW: &str = "/workstation/";

/// The notice window. With a code it becomes the window of that login's session.
pub(super) async fn window(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let shown = async {
        let (session, cookie) = enter(&workstations, &parts).await?;
        let (server, of) = (Arc::clone(&workstations), session.clone());
        let notices = waiting(move || server.notices.shown(&of, (server.clock)())).await?;
        let content = content::window(&session, &notices, &workstations.options);
        Ok::<_, Refusal>((content, cookie))
    };
    let (content, cookie) = match shown.await {
        Ok((content, cookie)) => (Ok(content), cookie),
        Err(refusal) => (Err(refusal), None),
    };
    let mut response = app::answer(&workstations.options, content, &parts);
    if let Some(cookie) = cookie
        && let Ok(cookie) = HeaderValue::from_str(&cookie)
    {
        response.headers_mut().insert(header::SET_COOKIE, cookie);
    }
    response
}

/// The session of a request for the window, with the cookie that its code earned.
async fn enter(
    workstations: &Workstations,
    parts: &Parts,
) -> Result<(Session, Option<String>), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let Some(code) = query.split('&').find_map(|pair| pair.strip_prefix("code=")) else {
        return Ok((workstations.session(parts).await?, None));
    };
    let secret = access::secret().ok_or(Refusal::NoSession)?;
    let address = access::address(parts, &workstations.options.proxies);
    let address = address.map(|one| one.to_string()).unwrap_or_default();
    let now = (workstations.clock)();
    let (code, window) = (access::hashed(code), access::hashed(&secret));
    let former = access::shown(&parts.headers, access::WINDOW);
    let of = address.clone();
    let opened = workstations.ledger.open_window(code, window, former, of, now).await?;
    let Some((session, ended)) = opened else {
        // The page may have been loaded again: its session goes on.
        metrics::counter!("workstation_refused_total", "why" => "code").increment(1);
        workstations.ledger.note_refused("code refused", None, address, now).await?;
        return Ok((workstations.session(parts).await?, None));
    };
    if let Some(ended) = ended {
        workstations.notices.ended(ended);
    }
    Ok((session, Some(cookie(access::WINDOW, &secret, parts))))
}

/// A cookie for our pages alone.
fn cookie(name: &str, secret: &str, parts: &Parts) -> String {
    let tls = parts.extensions.get::<Scheme>() == Some(&Scheme::HTTPS);
    let secure = if tls { "; Secure" } else { "" };
    // Lax: a HIS that is a web page leads here from another site. What changes anything is asked
    // by our own pages only, which their requests show.
    format!("{name}={secret}; Path=/workstation; HttpOnly; SameSite=Lax{secure}")
}

/// A patient's studies made elsewhere.
pub(super) async fn patient(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let language = Language::of(&parts.headers);
    let shown = async {
        let (session, shown) = opened(&workstations, &parts, notice).await?;
        let now = (workstations.clock)();
        let deed = ("outside studies shown", None);
        workstations.ledger.note_deed(&session, notice, deed, now).await?;
        workstations.notices.acknowledge(session.clone(), notice, now).await?;
        Ok::<_, Refusal>(content::patient(language, &session, &shown, &workstations.options))
    };
    app::answer(&workstations.options, shown.await, &parts)
}

/// How far the studies of a notice are. Nothing that its page does not know, so nothing to audit.
pub(super) async fn progress(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    match opened(&workstations, &parts, notice).await {
        Ok((_, shown)) => {
            let rows = shown.studies.iter().map(|one| {
                let study = one.shown.study.study.as_str().to_owned();
                (study, content::progress(one))
            });
            let rows: std::collections::BTreeMap<_, _> = rows.collect();
            respond(app::JSON, serde_json::to_string(&rows).unwrap_or_default())
        }
        Err(refusal) => app::answer(&workstations.options, Err(refusal), &parts),
    }
}

/// The notice of a request's session, with its studies. What is refused is audited.
async fn opened(
    workstations: &Arc<Workstations>,
    parts: &Parts,
    notice: i64,
) -> Result<(Session, NoticeShown), Refusal> {
    let session = workstations.session(parts).await?;
    match look(workstations, &session, notice).await? {
        Some(shown) => Ok((session, shown)),
        None => Err(deny(workstations, &session, (notice, None), Refusal::Glass(notice)).await?),
    }
}

/// The same for one study of the notice, which a link may have opened.
async fn opened_study(
    workstations: &Arc<Workstations>,
    parts: &Parts,
    (notice, study): (i64, &Uid),
) -> Result<(Reader, NoticeShown), Refusal> {
    let reader = workstations.reader(parts, notice, study).await?;
    let shown = look(workstations, &reader.session, notice).await?;
    let holds =
        |shown: &NoticeShown| shown.studies.iter().any(|one| one.shown.study.study == *study);
    match shown.filter(holds) {
        Some(shown) => Ok((reader, shown)),
        None => {
            let of = (notice, Some(study.as_str().to_owned()));
            Err(deny(workstations, &reader.session, of, Refusal::NotOpened).await?)
        }
    }
}

/// Who asks, for what a link does not give: it shows a study, and no more.
async fn windows_own(
    workstations: &Arc<Workstations>,
    parts: &Parts,
    of: (i64, &Uid),
) -> Result<Reader, Refusal> {
    let (reader, _) = opened_study(workstations, parts, of).await?;
    if reader.is_linked { Err(Refusal::NoSession) } else { Ok(reader) }
}

async fn look(
    workstations: &Arc<Workstations>,
    session: &Session,
    notice: i64,
) -> Result<Option<NoticeShown>, Refusal> {
    let (server, of) = (Arc::clone(workstations), session.clone());
    let now = (workstations.clock)();
    waiting(move || server.notices.one(&of, notice, now)).await
}

/// Counts and audits what is refused.
async fn deny(
    workstations: &Workstations,
    session: &Session,
    (notice, study): (i64, Option<String>),
    refusal: Refusal,
) -> Result<Refusal, Refusal> {
    metrics::counter!("workstation_refused_total", "why" => "patient").increment(1);
    let now = (workstations.clock)();
    workstations.ledger.note_deed(session, notice, ("refused", study), now).await?;
    Ok(refusal)
}

/// One study: its series, its reports, and where it opens.
pub(super) async fn study(
    State(workstations): State<Arc<Workstations>>,
    Path((notice, study)): Path<(i64, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let shown = async {
        let uid = Uid::try_from(study.as_str()).map_err(|_| Refusal::NotOpened)?;
        let (reader, shown) = opened_study(&workstations, &parts, (notice, &uid)).await?;
        show_study(&workstations, &parts, (notice, uid), (reader, &shown)).await
    };
    app::answer(&workstations.options, shown.await, &parts)
}

/// The page of a study that may be shown; that it was is kept.
async fn show_study(
    workstations: &Workstations,
    parts: &Parts,
    (notice, uid): (i64, Uid),
    (reader, shown): (Reader, &NoticeShown),
) -> Result<Content, Refusal> {
    let now = (workstations.clock)();
    let opened = (String::new(), Some(uid.as_str().to_owned()));
    let ledger = &workstations.ledger;
    ledger.use_notice(&reader.session, notice, NoticeUse::Opened, opened, now).await?;
    let (held, reports) = held(workstations, uid.clone()).await?;
    let one = shown.studies.iter().find(|one| one.shown.study.study == uid);
    let one = (notice, one.ok_or(Refusal::NotOpened)?);
    let language = Language::of(&parts.headers);
    let here = (held.as_deref(), reports);
    Ok(content::study(language, &reader, one, here, &workstations.options))
}

/// What is here of a study, and the reports that came with it.
async fn held(
    workstations: &Workstations,
    uid: Uid,
) -> Result<(Option<Arc<Study>>, Vec<Report>), Refusal> {
    let cache = workstations.cache.clone();
    // A folder that cannot be read shows no series; the reader of its objects tells why.
    let read = move || {
        let study = cache.study(&uid).ok().flatten();
        let reports = study.as_deref().map(report::shown).transpose().unwrap_or_else(|error| {
            log::error!(study = uid.as_str(); "reading its reports: {error}");
            None
        });
        Ok((study, reports.unwrap_or_default()))
    };
    waiting(read).await
}

/// Leads to the viewer, with a ticket where its address has a place for one.
pub(super) async fn open(
    State(workstations): State<Arc<Workstations>>,
    Path((notice, study)): Path<(i64, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let lead = async {
        let uid = Uid::try_from(study.as_str()).map_err(|_| Refusal::NotOpened)?;
        let reader = windows_own(&workstations, &parts, (notice, &uid)).await?;
        let Some(viewer) = &workstations.options.viewer else { return Err(Refusal::NotOpened) };
        let (session, now) = (&reader.session, (workstations.clock)());
        let of = Some(uid.as_str().to_owned());
        workstations.ledger.note_deed(session, notice, ("images opened", of), now).await?;
        let mut address = viewer.replace("{study}", uid.as_str());
        if address.contains("{ticket}") {
            let study = uid.as_str().to_owned();
            let ticket = workstations.ledger.make_link(session, notice, study, now).await?;
            address = address.replace("{ticket}", &ticket);
        }
        Ok::<_, Refusal>(address)
    };
    then(&workstations, lead.await, &parts)
}

/// A link to one study is opened (IHE RAD TF-2 4.106, Invoke Image Display): by the browser of the
/// same workstation, or by a viewer that may see every image.
pub(super) async fn display(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let query = parts.uri.query().unwrap_or_default().as_bytes();
    let asked: Vec<(String, String)> = form_urlencoded::parse(query).into_owned().collect();
    let text = |name: &str| {
        let found = asked.iter().find(|(known, _)| known == name);
        found.map_or("", |(_, value)| value.as_str())
    };
    let shown = async {
        let uid = Uid::try_from(text("studyUID")).map_err(|_| Refusal::Link)?;
        if text("requestType") != "STUDY" {
            return Err(Refusal::Link);
        }
        let secret = access::secret().ok_or(Refusal::Link)?;
        let address = workstations.link_address(&parts);
        let (study, now) = (uid.as_str().to_owned(), (workstations.clock)());
        let window = access::hashed(&secret);
        let ticket = text("ticket");
        let opened = workstations.ledger.open_link(ticket, study, address, window, now).await?;
        let linked = opened.map_err(|fault| {
            log::debug!("a link is refused: {}", fault.name());
            metrics::counter!("workstation_refused_total", "why" => "link").increment(1);
            Refusal::Link
        })?;
        let shown = look(&workstations, &linked.session, linked.notice).await?;
        let shown = shown.ok_or(Refusal::NotOpened)?;
        let reader = Reader { session: linked.session, is_linked: true };
        let content = show_study(&workstations, &parts, (linked.notice, uid), (reader, &shown));
        Ok::<_, Refusal>((content.await?, secret))
    };
    match shown.await {
        Ok((content, secret)) => {
            let mut response = app::answer(&workstations.options, Ok(content), &parts);
            if let Ok(cookie) = HeaderValue::from_str(&cookie(access::STUDY, &secret, &parts)) {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => app::answer(&workstations.options, Err(refusal), &parts),
    }
}

/// An encapsulated document of a study.
pub(super) async fn document(
    State(workstations): State<Arc<Workstations>>,
    Path((notice, study, sop)): Path<(i64, String, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let found = async {
        let uid = |text: &str| Uid::try_from(text).map_err(|_| Refusal::NotOpened);
        let (study, sop) = (uid(&study)?, uid(&sop)?);
        let (reader, _) = opened_study(&workstations, &parts, (notice, &study)).await?;
        let (session, now) = (reader.session, (workstations.clock)());
        let of = Some(study.as_str().to_owned());
        workstations.ledger.note_deed(&session, notice, ("report opened", of), now).await?;
        let Ok(_place) = workstations.documents.acquire().await else {
            return Err(Refusal::Panicked);
        };
        let cache = workstations.cache.clone();
        let read = move || {
            let here = cache.study(&study).ok().flatten();
            let instance = here.as_ref().and_then(|here| here.instance(&sop));
            let (Some(here), Some(instance)) = (&here, instance) else { return Ok(None) };
            if !report::is_document(instance) {
                return Ok(None);
            }
            Ok(report::document(here, instance, DOCUMENT_BYTES_MAX).unwrap_or_else(|error| {
                log::error!(study = study.as_str(); "reading a document: {error}");
                None
            }))
        };
        waiting(read).await?.ok_or(Refusal::NotOpened)
    };
    match found.await {
        Ok(document) => respond("application/pdf", document),
        Err(refusal) => app::answer(&workstations.options, Err(refusal), &parts),
    }
}

/// Has a study fetched now.
pub(super) async fn fetch(
    State(workstations): State<Arc<Workstations>>,
    Path((notice, study)): Path<(i64, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let asked = async {
        let uid = Uid::try_from(study.as_str()).map_err(|_| Refusal::NotOpened)?;
        let session = windows_own(&workstations, &parts, (notice, &uid)).await?.session;
        let wanted = Some(uid.as_str().to_owned());
        let now = (workstations.clock)();
        workstations.ledger.note_deed(&session, notice, ("study wanted", wanted), now).await?;
        if let Err(fault) = workstations.notices.fetch(&session.doctor, notice, &uid, now).await {
            log::error!(study = uid.as_str(); "a doctor's fetch: {fault}");
        }
        Ok::<_, Refusal>(format!("/workstation/patient/{notice}"))
    };
    then(&workstations, asked.await, &parts)
}

/// The doctor has seen a notice.
pub(super) async fn acknowledge(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let kept = async {
        let session = workstations.session(&parts).await?;
        let now = (workstations.clock)();
        workstations.notices.acknowledge(session, notice, now).await?;
        Ok::<_, Refusal>(WINDOW.to_owned())
    };
    then(&workstations, kept.await, &parts)
}

/// The reason of a form, without what does not show.
fn reason(form: &[(String, String)]) -> String {
    let text = form.iter().find(|(name, _)| name == "reason").map_or("", |(_, text)| text.as_str());
    let shown = text.chars().filter(|c| !c.is_control()).take(REASON_CHARACTERS_MAX);
    shown.collect::<String>().trim().to_owned()
}

/// The doctor ordered the examination all the same, or took the order back.
pub(super) async fn decide(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let decided = async {
        let (session, shown) = opened(&workstations, &parts, notice).await?;
        let form = read_form(body).await.ok_or(Refusal::Broken)?;
        let what = form.iter().find(|(name, _)| name == "what").map(|(_, value)| value.as_str());
        let what = match (shown.notice.kind, what) {
            (NoticeKind::Ordered, Some("anyway")) => NoticeUse::OrderedAnyway,
            (NoticeKind::Ordered, Some("withdrawn")) => NoticeUse::Withdrawn,
            _ => return Err(Refusal::Broken),
        };
        let now = (workstations.clock)();
        let with = (reason(&form), None);
        workstations.ledger.use_notice(&session, notice, what, with, now).await?;
        workstations.notices.acknowledge(session, notice, now).await?;
        metrics::counter!("notice_decisions_total", "decision" => what.name()).increment(1);
        Ok::<_, Refusal>(WINDOW.to_owned())
    };
    then(&workstations, decided.await, &parts)
}

/// The doctor gives a reason to see a patient who is not among those opened lately.
pub(super) async fn break_glass(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let broken = async {
        let session = workstations.session(&parts).await?;
        let reason = reason(&read_form(body).await.ok_or(Refusal::Broken)?);
        if reason.chars().count() < REASON_CHARACTERS_MIN {
            return Err(Refusal::Glass(notice));
        }
        let now = (workstations.clock)();
        let own = workstations.ledger.break_glass(session, notice, reason, now).await?;
        metrics::counter!("notice_decisions_total", "decision" => "glass broken").increment(1);
        let own = own.ok_or(Refusal::NotOpened)?;
        Ok(format!("/workstation/patient/{own}"))
    };
    then(&workstations, broken.await, &parts)
}

/// The window logs itself out.
pub(super) async fn log_out(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let ended = async {
        let session = workstations.session(&parts).await?;
        let id = session.id;
        workstations.ledger.close_window(session, (workstations.clock)()).await?;
        workstations.notices.ended(id);
        Ok::<_, Refusal>(())
    };
    match ended.await {
        Ok(()) => {
            let gone = Err(Refusal::NoSession);
            let mut response = app::answer(&workstations.options, gone, &parts);
            let gone = format!("{}=; Path=/workstation; Max-Age=0", access::WINDOW);
            if let Ok(gone) = HeaderValue::from_str(&gone) {
                response.headers_mut().insert(header::SET_COOKIE, gone);
            }
            response
        }
        Err(refusal) => app::answer(&workstations.options, Err(refusal), &parts),
    }
}

/// Where a form leads that was taken.
fn then(
    workstations: &Workstations,
    address: Result<String, Refusal>,
    parts: &Parts,
) -> Response<Body> {
    match address {
        Ok(address) => see(&address),
        Err(refusal) => app::answer(&workstations.options, Err(refusal), parts),
    }
}
