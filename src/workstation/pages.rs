//! The pages of a doctor's window: the notices, a patient's studies, one study.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::{Path, State};
use forepost_cache::{Study, Uid};
use http::request::Parts;
use http::uri::Scheme;
use http::{HeaderValue, Request, Response, header};

use super::html::{Language, date, escaped, masked, name, page};
use super::{Refusal, Workstations, access, report, respond, see, waiting};
use crate::http::read_body;
use crate::ledger::{LedgerError, Session};
use crate::model::{FoundStudy, Link, NoticeKind, NoticeUse};
use crate::notice::{NoticeShown, OutsideStudy, Progress};

/// Bytes of a document that is shown: scanned pages come to a few megabytes.
const DOCUMENT_BYTES_MAX: u64 = 64 << 20;

/// Bytes of a form: a reason in percent signs, and a button.
const FORM_BYTES_MAX: usize = 8_192;

/// Characters of a reason that is kept.
const REASON_CHARACTERS_MAX: usize = 200;

/// Characters of a reason that opens a patient: a word at least.
const REASON_CHARACTERS_MIN: usize = 2;

/// Where the notices are.
const WINDOW: &str = "/workstation/";

const HTML: &str = "text/html;charset=UTF-8";

/// Modalities of objects that are reports (PS3.3 C.7.3.1.1.1): structured reports, encapsulated
/// documents.
const REPORTS: [&str; 2] = ["SR", "DOC"];

/// The notice window. With a code it becomes the window of that login's session.
pub(super) async fn window(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let language = Language::of(&parts.headers);
    let shown = async {
        let (session, cookie) = enter(&workstations, &parts).await?;
        let (server, of) = (Arc::clone(&workstations), session.clone());
        let notices = waiting(move || server.notices.shown(&of, (server.clock)())).await?;
        Ok::<_, Refusal>((window_page(language, &session, &notices), cookie))
    };
    match shown.await {
        Ok((page, cookie)) => {
            let mut response = respond(HTML, page);
            if let Some(cookie) = cookie
                && let Ok(cookie) = HeaderValue::from_str(&cookie)
            {
                response.headers_mut().insert(header::SET_COOKIE, cookie);
            }
            response
        }
        Err(refusal) => refused(&refusal, &parts),
    }
}

/// The session of a request for the window, with the cookie that its code earned.
async fn enter(
    workstations: &Workstations,
    parts: &Parts,
) -> Result<(Session, Option<String>), Refusal> {
    let query = parts.uri.query().unwrap_or_default();
    let Some(code) = query.split('&').find_map(|pair| pair.strip_prefix("code=")) else {
        return Ok((workstations.session(parts)?, None));
    };
    let secret = access::secret().ok_or(Refusal::NoSession)?;
    let address = access::address(parts, &workstations.options.proxies);
    let address = address.map(|one| one.to_string()).unwrap_or_default();
    let now = (workstations.clock)();
    let (code, window) = (access::hashed(code), access::hashed(&secret));
    let former = access::shown(&parts.headers);
    let opened = workstations.ledger.open_window(code, window, former, address, now).await?;
    let Some((session, ended)) = opened else {
        // The page may have been loaded again: its session goes on.
        metrics::counter!("workstation_refused_total", "why" => "code").increment(1);
        return Ok((workstations.session(parts)?, None));
    };
    if let Some(ended) = ended {
        workstations.notices.ended(ended);
    }
    let tls = parts.extensions.get::<Scheme>() == Some(&Scheme::HTTPS);
    let secure = if tls { "; Secure" } else { "" };
    let name = access::COOKIE;
    // Lax: a HIS that is a web page leads here from another site. What changes anything is asked
    // by our own pages only, which their requests show.
    let cookie = format!("{name}={secret}; Path=/workstation; HttpOnly; SameSite=Lax{secure}");
    Ok((session, Some(cookie)))
}

fn window_page(language: Language, session: &Session, notices: &[NoticeShown]) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = say("外院影像提醒", "Outside studies");
    let (doctor, department) = (escaped(&session.doctor.name), escaped(&session.doctor.department));
    let texts = [
        ("opened", say("外院检查", "outside studies")),
        ("same", say("与所开检查相同", "the examination that is ordered")),
        ("here", say("已到本院", "here")),
        ("list", say("仅列表", "list only")),
        ("seen", say("知道了", "Seen")),
        ("look", say("查看", "Look")),
        ("lost", say("连接中断，正在重连…", "Connection lost, trying again…")),
        ("live", say("已连接", "Connected")),
        ("ended", say("已退出登录", "Logged out")),
    ];
    let texts: String =
        texts.iter().map(|(key, text)| format!(" data-{key}=\"{}\"", escaped(text))).collect();
    let quiet = say("免打扰", "Do not disturb");
    let log_out = say("退出", "Log out");
    let none = say("暂无提醒", "Nothing yet");
    let alert = say("桌面提醒", "Desktop alerts");
    // For a browser without scripts, or without streams: the same, as of now.
    let told = notices.iter().filter(|shown| shown.is_told());
    let plain: String = told.map(|shown| plain_row(language, shown)).collect();
    let hidden = if plain.is_empty() { "" } else { " hidden" };
    page(
        language,
        title,
        &format!(
            "<header><h1>{title}</h1><p>{doctor} · {department} \
             <span id=\"state\" role=\"status\"></span></p>\
             <form method=\"post\" action=\"/workstation/logout\"><label><input type=\"checkbox\" \
             id=\"quiet\"> {quiet}</label> <button type=\"button\" id=\"alerts\" hidden>{alert}\
             </button> <button>{log_out}</button></form></header>\
             <main><ol id=\"plain\">{plain}</ol><p id=\"none\"{hidden}>{none}</p>\
             <ol id=\"notices\" aria-live=\"polite\"{texts}></ol></main>\
             <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>\
             <script src=\"/workstation/window.js\"></script>"
        ),
    )
}

fn plain_row(language: Language, shown: &NoticeShown) -> String {
    let NoticeShown { notice, studies } = shown;
    let patient = escaped(&masked(&notice.patient));
    let here = shown.here();
    let same = match shown.same() {
        0 => String::new(),
        n => {
            let words = language.say("与所开检查相同", "the examination that is ordered");
            format!(" <em>{words} × {n}</em>")
        }
    };
    let class = if notice.acknowledged_at.is_some() { "seen" } else { "new" };
    let (outside, is_here, look) = (
        language.say("外院检查", "outside studies"),
        language.say("已到本院", "here"),
        language.say("查看", "Look"),
    );
    let (id, count) = (notice.id, studies.len());
    format!(
        "<li class=\"{class}\"><strong>{patient}</strong> {count} {outside} · {is_here} {here}\
         {same} <a href=\"/workstation/patient/{id}\">{look}</a></li>"
    )
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
        let (session, shown) = opened(&workstations, &parts, notice, None).await?;
        let now = (workstations.clock)();
        let deed = ("outside studies shown", None);
        workstations.ledger.note_deed(&session, notice, deed, now).await?;
        workstations.ledger.acknowledge(session, notice, now).await?;
        Ok::<_, Refusal>(patient_page(language, &shown, workstations.options.idle_seconds))
    };
    answer(shown.await, &parts)
}

/// The notice of a request's session, with its studies; `study` must be one of them. What is
/// refused is audited.
async fn opened(
    workstations: &Arc<Workstations>,
    parts: &Parts,
    notice: i64,
    study: Option<&Uid>,
) -> Result<(Session, NoticeShown), Refusal> {
    let session = workstations.session(parts)?;
    let now = (workstations.clock)();
    let (server, of) = (Arc::clone(workstations), session.clone());
    let shown = waiting(move || server.notices.one(&of, notice, now)).await?;
    let holds = |shown: &NoticeShown| {
        study.is_none_or(|study| shown.studies.iter().any(|one| one.shown.study.study == *study))
    };
    match shown.filter(holds) {
        Some(shown) => Ok((session, shown)),
        None => {
            metrics::counter!("workstation_refused_total", "why" => "patient").increment(1);
            let refusal = if study.is_some() { Refusal::NotOpened } else { Refusal::Glass(notice) };
            let study = study.map(|study| study.as_str().to_owned());
            workstations.ledger.note_deed(&session, notice, ("refused", study), now).await?;
            Err(refusal)
        }
    }
}

fn patient_page(language: Language, shown: &NoticeShown, idle_seconds: u32) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = say("外院影像检查", "Studies made elsewhere");
    let patient = name(&shown.notice.patient);
    let decide = if shown.notice.kind == NoticeKind::Ordered && shown.is_told() {
        decide_form(language, shown.notice.id)
    } else {
        String::new()
    };
    let exams: Vec<String> = shown.notice.exams.iter().map(|(_, name)| escaped(name)).collect();
    let why = match shown.notice.kind {
        NoticeKind::Opened => String::new(),
        NoticeKind::Ordered => {
            format!("<p>{} {}</p>", say("本次所开检查：", "Ordered now:"), exams.join("，"))
        }
    };
    let mut studies: Vec<&OutsideStudy> = shown.studies.iter().collect();
    studies.sort_by(|a, b| {
        (b.same, &b.shown.study.study_date).cmp(&(a.same, &a.shown.study.study_date))
    });
    let rows: String =
        studies.iter().map(|one| study_row(language, shown.notice.id, one)).collect();
    let heads = [
        say("检查日期", "Date"),
        say("医院", "Hospital"),
        say("类型", "Modality"),
        say("检查", "Examination"),
        say("状态", "State"),
        say("说明", "Remarks"),
        "",
    ];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let back = say("返回", "Back");
    let body = format!(
        "<header><h1>{title}</h1><p>{patient} <a href=\"/workstation/\" accesskey=\"b\">{back}</a>\
         </p></header><main>{why}<table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>\
         </table>{decide}</main>"
    );
    patients_page(language, (title, &body), idle_seconds)
}

/// What became of an order whose examination was made elsewhere.
fn decide_form(language: Language, notice: i64) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let (why, anyway, withdrawn) = (
        say("理由", "Reason"),
        say("仍需检查", "Order all the same"),
        say("撤销检查", "Order withdrawn"),
    );
    format!(
        "<form class=\"decide\" method=\"post\" action=\"/workstation/decide/{notice}\">\
         <label>{why} <input name=\"reason\" maxlength=\"{REASON_CHARACTERS_MAX}\" size=\"40\">\
         </label> <button name=\"what\" value=\"anyway\">{anyway}</button> \
         <button name=\"what\" value=\"withdrawn\">{withdrawn}</button></form>"
    )
}

fn study_row(language: Language, notice: i64, one: &OutsideStudy) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let study = &one.shown.study;
    let uid = study.study.as_str();
    let unknown = say("不详", "unknown");
    let hospital = if study.institution_name.is_empty() {
        unknown.to_owned()
    } else {
        escaped(&study.institution_name)
    };
    let expected = one.shown.fetch.as_ref().and_then(|fetch| fetch.expected);
    let (state, action) = match one.progress {
        Progress::Here => (say("已到本院", "here").to_owned(), String::new()),
        Progress::Arriving => {
            let of = expected.map_or_else(|| "?".to_owned(), |m| m.to_string());
            (format!("{} {} / {of}", say("到达中", "arriving"), one.here), String::new())
        }
        Progress::Elsewhere => (
            say("可调取", "can be fetched").to_owned(),
            format!(
                "<form method=\"post\" action=\"/workstation/fetch/{notice}/{uid}\"><button>{}\
                 </button></form>",
                say("立即调取", "Fetch now")
            ),
        ),
    };
    let mut remarks = Vec::new();
    if one.same {
        let same = say("与所开检查相同", "the examination that is ordered");
        remarks.push(format!("<strong>{same}</strong>"));
    }
    if one.shown.link == Link::Unconfirmed.name() {
        let words = say("身份未核实", "identity not confirmed");
        remarks.push(format!("<em>{words}</em>"));
    }
    if !has_report(&study.modalities) {
        remarks.push(say("报告未送达", "no report delivered").to_owned());
    }
    let (day, modality) = (date(&study.study_date), escaped(&study.modalities.join(" ")));
    let (exam, remarks) = (escaped(&examination(study)), remarks.join("；"));
    let open = say("打开", "Open");
    let class = if one.same { " class=\"same\"" } else { "" };
    format!(
        "<tr{class}><td>{day}</td><td>{hospital}</td><td>{modality}</td><td>{exam}</td>\
         <td>{state}</td><td>{remarks}</td><td><a href=\"/workstation/study/{notice}/{uid}\">{open}\
         </a>{action}</td></tr>"
    )
}

fn has_report(modalities: &[String]) -> bool {
    modalities.iter().any(|one| REPORTS.contains(&one.as_str()))
}

/// What was examined, in the words of who made it.
fn examination(study: &FoundStudy) -> String {
    if study.description.is_empty() { study.body_part.clone() } else { study.description.clone() }
}

/// Date, modality, examination and hospital of a study in one line, for a notice.
pub(super) fn words(study: &FoundStudy) -> String {
    let modalities = study.modalities.join(" ");
    let (day, exam) = (date(&study.study_date), examination(study));
    let parts = [day.as_str(), &modalities, &exam, &study.institution_name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}

/// One study: its series, and where it opens.
pub(super) async fn study(
    State(workstations): State<Arc<Workstations>>,
    Path((notice, study)): Path<(i64, String)>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let language = Language::of(&parts.headers);
    let shown = async {
        let uid = Uid::try_from(study.as_str()).map_err(|_| Refusal::NotOpened)?;
        let (session, shown) = opened(&workstations, &parts, notice, Some(&uid)).await?;
        let now = (workstations.clock)();
        let opened = (String::new(), Some(uid.as_str().to_owned()));
        let ledger = &workstations.ledger;
        ledger.use_notice(&session, notice, NoticeUse::Opened, opened, now).await?;
        let cache = workstations.cache.clone();
        let here = uid.clone();
        // A folder that cannot be read shows no series; the reader of its objects tells why.
        let read = move || {
            let study = cache.study(&here).ok().flatten();
            let reports = study.as_ref().map(|study| report::shown(language, notice, study));
            let reports = reports.transpose().unwrap_or_else(|error| {
                log::error!(study = here.as_str(); "reading its reports: {error}");
                None
            });
            Ok((study, reports.unwrap_or_default()))
        };
        let (here, reports) = waiting(read).await?;
        let one = shown.studies.iter().find(|one| one.shown.study.study == uid);
        let one = one.ok_or(Refusal::NotOpened)?;
        let shown = (one, here.as_deref(), reports.as_slice());
        Ok::<_, Refusal>(study_page(language, notice, shown, &workstations))
    };
    answer(shown.await, &parts)
}

fn study_page(
    language: Language,
    notice: i64,
    (one, here, reports): (&OutsideStudy, Option<&Study>, &[String]),
    workstations: &Workstations,
) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let study = &one.shown.study;
    let title = escaped(&words(study));
    let series: String = here
        .map(|study| study.series().to_vec())
        .unwrap_or_default()
        .iter()
        .map(|row| {
            let (modality, text) =
                (escaped(&row.texts.modality), escaped(&row.texts.series_description));
            format!(
                "<tr><td>{}</td><td>{modality}</td><td>{text}</td><td>{}</td></tr>",
                row.number, row.instances
            )
        })
        .collect();
    let heads = [
        say("序号", "Series"),
        say("类型", "Modality"),
        say("描述", "Description"),
        say("图像", "Images"),
    ];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let open = match &workstations.options.viewer {
        Some(viewer) => {
            let address = escaped(&viewer.replace("{study}", study.study.as_str()));
            let words = say("打开影像", "Open the images");
            format!("<p><a class=\"open\" href=\"{address}\" accesskey=\"o\">{words}</a></p>")
        }
        None => format!("<p>{}</p>", say("未配置阅片器地址", "No viewer is configured")),
    };
    let report = match (reports, has_report(&study.modalities)) {
        ([], true) => format!("<p>{}</p>", say("报告尚未到达", "The report is on its way")),
        ([], false) => format!("<p>{}</p>", say("报告未送达", "No report delivered")),
        (reports, _) => {
            let title = say("报告", "Report");
            format!("<section class=\"report\"><h2>{title}</h2>{}</section>", reports.join("<hr>"))
        }
    };
    let (back, why) = (say("返回", "Back"), escaped(&one.shown.why));
    let chosen = say("选取原因", "Why it was chosen");
    let body = format!(
        "<header><h1>{title}</h1><p><a href=\"/workstation/patient/{notice}\" accesskey=\"b\">\
             {back}</a></p></header><main>{open}{report}<table><thead><tr>{heads}</tr>\
             </thead><tbody>{series}</tbody></table><details><summary>{chosen}</summary><p>{why}\
             </p></details></main>"
    );
    let page_title = say("外院影像检查", "A study made elsewhere");
    patients_page(language, (page_title, &body), workstations.options.idle_seconds)
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
        let (session, _) = opened(&workstations, &parts, notice, Some(&study)).await?;
        let now = (workstations.clock)();
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
        Err(refusal) => refused(&refusal, &parts),
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
        let (session, _) = opened(&workstations, &parts, notice, Some(&uid)).await?;
        let wanted = Some(uid.as_str().to_owned());
        let now = (workstations.clock)();
        workstations.ledger.note_deed(&session, notice, ("study wanted", wanted), now).await?;
        if let Err(fault) = workstations.notices.fetch(notice, &uid, now).await {
            log::error!(study = uid.as_str(); "a doctor's fetch: {fault}");
        }
        Ok::<_, Refusal>(format!("/workstation/patient/{notice}"))
    };
    then(asked.await, &parts)
}

/// The doctor has seen a notice.
pub(super) async fn acknowledge(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let kept = async {
        let session = workstations.session(&parts)?;
        let now = (workstations.clock)();
        workstations.ledger.acknowledge(session, notice, now).await?;
        Ok::<_, Refusal>(WINDOW.to_owned())
    };
    then(kept.await, &parts)
}

/// What a form says, by its names; at most [`FORM_BYTES_MAX`], within the time that a body has.
async fn form(body: Body) -> Result<Vec<(String, String)>, Refusal> {
    let body = read_body(body, FORM_BYTES_MAX).await.map_err(|_| Refusal::Broken)?;
    Ok(form_urlencoded::parse(&body).into_owned().collect())
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
        let (session, shown) = opened(&workstations, &parts, notice, None).await?;
        let form = form(body).await?;
        let what = form.iter().find(|(name, _)| name == "what").map(|(_, value)| value.as_str());
        let what = match (shown.notice.kind, what) {
            (NoticeKind::Ordered, Some("anyway")) => NoticeUse::OrderedAnyway,
            (NoticeKind::Ordered, Some("withdrawn")) => NoticeUse::Withdrawn,
            _ => return Err(Refusal::Broken),
        };
        let now = (workstations.clock)();
        let with = (reason(&form), None);
        workstations.ledger.use_notice(&session, notice, what, with, now).await?;
        workstations.ledger.acknowledge(session, notice, now).await?;
        metrics::counter!("notice_decisions_total", "decision" => what.name()).increment(1);
        Ok::<_, Refusal>(WINDOW.to_owned())
    };
    then(decided.await, &parts)
}

/// The doctor gives a reason to see a patient who is not among those opened lately.
pub(super) async fn break_glass(
    State(workstations): State<Arc<Workstations>>,
    Path(notice): Path<i64>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let broken = async {
        let session = workstations.session(&parts)?;
        let reason = reason(&form(body).await?);
        if reason.chars().count() < REASON_CHARACTERS_MIN {
            return Err(Refusal::Glass(notice));
        }
        let now = (workstations.clock)();
        let own = workstations.ledger.break_glass(session, notice, reason, now).await?;
        metrics::counter!("notice_decisions_total", "decision" => "glass broken").increment(1);
        let own = own.ok_or(Refusal::NotOpened)?;
        Ok(format!("/workstation/patient/{own}"))
    };
    then(broken.await, &parts)
}

/// The window logs itself out.
pub(super) async fn log_out(
    State(workstations): State<Arc<Workstations>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    let ended = async {
        let session = workstations.session(&parts)?;
        let id = session.id;
        workstations.ledger.close_window(session, (workstations.clock)()).await?;
        workstations.notices.ended(id);
        Ok::<_, Refusal>(())
    };
    match ended.await {
        Ok(()) => {
            let mut response = refused(&Refusal::NoSession, &parts);
            let gone = format!("{}=; Path=/workstation; Max-Age=0", access::COOKIE);
            if let Ok(gone) = HeaderValue::from_str(&gone) {
                response.headers_mut().insert(header::SET_COOKIE, gone);
            }
            response
        }
        Err(refusal) => refused(&refusal, &parts),
    }
}

/// The script of the window.
pub(super) async fn script() -> Response<Body> {
    respond("text/javascript;charset=UTF-8", include_str!("window.js"))
}

/// What leaves a patient's page.
pub(super) async fn idle_script() -> Response<Body> {
    respond("text/javascript;charset=UTF-8", include_str!("idle.js"))
}

/// A page that shows a patient.
fn patients_page(language: Language, (title, body): (&str, &str), idle_seconds: u32) -> String {
    let script =
        format!("<script src=\"/workstation/idle.js\" data-seconds=\"{idle_seconds}\"></script>");
    page(language, title, &format!("{body}{script}"))
}

/// How the pages look.
pub(super) async fn style() -> Response<Body> {
    respond("text/css;charset=UTF-8", include_str!("window.css"))
}

fn answer(page: Result<String, Refusal>, parts: &Parts) -> Response<Body> {
    match page {
        Ok(page) => respond(HTML, page),
        Err(refusal) => refused(&refusal, parts),
    }
}

/// Where a form leads that was taken.
fn then(address: Result<String, Refusal>, parts: &Parts) -> Response<Body> {
    match address {
        Ok(address) => see(&address),
        Err(refusal) => refused(&refusal, parts),
    }
}

/// The one map from a refusal to its page.
pub(super) fn refused(refusal: &Refusal, parts: &Parts) -> Response<Body> {
    let language = Language::of(&parts.headers);
    match refusal {
        Refusal::Ledger(LedgerError::Closed) => log::debug!("a page while stopping"),
        Refusal::Ledger(_) | Refusal::Panicked => log::error!("a page is not shown: {refusal}"),
        Refusal::NoSession
        | Refusal::NotOpened
        | Refusal::Glass(_)
        | Refusal::Foreign
        | Refusal::Broken => {
            log::debug!("a page is refused: {refusal}");
        }
    }
    let words = match refusal {
        Refusal::NoSession => language.say(
            "未登录或已退出。请在 HIS 中重新登录。",
            "Not logged in, or logged out. Log in at the HIS again.",
        ),
        Refusal::NotOpened | Refusal::Glass(_) => language.say(
            "该患者不在您最近打开的患者之中。请先在 HIS 中打开该患者。",
            "This is not a patient whom you opened lately. Open the patient in the HIS first.",
        ),
        Refusal::Broken => language.say("提交的内容不完整。", "What was sent is incomplete."),
        Refusal::Foreign => language.say("请求来自其他网站，已拒绝。", "Asked by another site."),
        Refusal::Ledger(_) | Refusal::Panicked => {
            language.say("系统繁忙，请稍后重试。", "Busy. Please try again in a moment.")
        }
    };
    let glass = match refusal {
        Refusal::Glass(notice) => glass_form(language, *notice),
        _ => String::new(),
    };
    let body = page(language, words, &format!("<main><p>{words}</p>{glass}</main>"));
    let mut response = respond(HTML, body);
    *response.status_mut() = refusal.status();
    response
}

/// Asks for the reason that opens a patient all the same.
fn glass_form(language: Language, notice: i64) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let (why, open, told) = (
        say("调阅理由", "Reason"),
        say("紧急调阅", "Open all the same"),
        say("理由和本次调阅将被审计记录。", "The reason and this opening are audited."),
    );
    format!(
        "<form method=\"post\" action=\"/workstation/glass/{notice}\"><label>{why} <input \
         name=\"reason\" required minlength=\"{REASON_CHARACTERS_MIN}\" \
         maxlength=\"{REASON_CHARACTERS_MAX}\" size=\"40\"></label> <button>{open}</button>\
         <p>{told}</p></form>"
    )
}
