//! What a page says, whatever shows it: [`plain`](super::plain) writes it as HTML for any browser,
//! the application in `web/` reads it as JSON.

use forepost_cache::Study as Held;
use serde::Serialize;

use super::access::Reader;
use super::html::{Language, date, masked};
use super::report::Report;
use super::{Options, Refusal};
use crate::ledger::Session;
use crate::model::{FoundStudy, Link, NoticeKind};
use crate::notice::{NoticeShown, OutsideStudy, Progress, Sameness};

/// Modalities of objects that are reports (PS3.3 C.7.3.1.1.1): structured reports, encapsulated
/// documents.
const REPORTS: [&str; 2] = ["SR", "DOC"];

/// One page.
#[derive(Serialize)]
#[serde(tag = "page", rename_all = "lowercase")]
pub(super) enum Content {
    Window(Window),
    Patient(Patient),
    Study(Box<Study>),
    Refused(Refused),
}

/// A doctor's notices.
#[derive(Serialize)]
pub(super) struct Window {
    /// By its number, so that a browser tells one session's notices from another's.
    pub(super) session: i64,
    pub(super) doctor: String,
    pub(super) department: String,
    pub(super) notices: Vec<NoticeRow>,
}

/// What a window is told of one notice: enough to decide whether to look.
#[derive(Serialize)]
pub(super) struct NoticeRow {
    pub(super) id: i64,
    pub(super) kind: &'static str,
    /// Milliseconds since 1970.
    pub(super) at: i64,
    /// Whether it went to this window, or stands in the account's list only.
    pub(super) precise: bool,
    pub(super) acknowledged: bool,
    pub(super) patient: String,
    pub(super) exams: Vec<String>,
    pub(super) studies: usize,
    pub(super) here: usize,
    pub(super) same: usize,
    /// The study that says most, in one line.
    pub(super) newest: Option<String>,
    /// Days since that one was made.
    pub(super) days: Option<i32>,
}

/// A patient's studies that were made elsewhere.
#[derive(Serialize)]
pub(super) struct Patient {
    pub(super) session: i64,
    pub(super) notice: i64,
    pub(super) patient: Name,
    /// What is ordered now.
    pub(super) exams: Vec<String>,
    /// Whether the doctor is asked what becomes of the order.
    pub(super) decide: bool,
    pub(super) studies: Vec<StudyRow>,
}

/// A name, and what a screen shows of it until it is pointed at.
#[derive(Serialize)]
pub(super) struct Name {
    pub(super) masked: String,
    pub(super) full: String,
}

/// One study of a patient.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct StudyRow {
    /// Study Instance UID (0020,000D).
    pub(super) study: String,
    /// As people read it.
    pub(super) date: String,
    /// Empty: nothing says it.
    pub(super) hospital: String,
    pub(super) modality: String,
    pub(super) examination: String,
    #[serde(flatten)]
    pub(super) progress: ProgressRow,
    /// Days since it was made.
    pub(super) days: Option<i32>,
    /// By what it is known to be the examination that is ordered now, where it is.
    pub(super) same: Option<&'static str>,
    /// Whether nobody confirmed that it is this patient's.
    pub(super) unconfirmed: bool,
    /// Whether a report belongs to it.
    pub(super) has_report: bool,
    /// Where its source shows the report.
    pub(super) report_link: Option<String>,
    /// Why it was chosen.
    pub(super) why: String,
}

/// How far a study is.
#[derive(Serialize)]
pub(super) struct ProgressRow {
    pub(super) progress: &'static str,
    /// Instances here.
    pub(super) here: u64,
    /// Instances that it has, where its source said so.
    pub(super) expected: Option<u64>,
}

/// One study.
#[derive(Serialize)]
pub(super) struct Study {
    pub(super) session: i64,
    pub(super) notice: i64,
    pub(super) words: String,
    #[serde(flatten)]
    pub(super) row: StudyRow,
    /// Whether a viewer is configured.
    pub(super) viewer: bool,
    /// Shown by a link, to somebody without a window.
    pub(super) linked: bool,
    pub(super) series: Vec<SeriesRow>,
    pub(super) reports: Vec<Report>,
}

/// One series of a study.
#[derive(Serialize)]
pub(super) struct SeriesRow {
    pub(super) number: i32,
    pub(super) modality: String,
    pub(super) description: String,
    pub(super) images: u32,
}

/// A page that is not shown.
#[derive(Serialize)]
pub(super) struct Refused {
    pub(super) why: &'static str,
    /// The notice that a reason may open.
    pub(super) glass: Option<i64>,
    pub(super) words: &'static str,
}

/// The notices of a session, the latest first.
pub(super) fn window(session: &Session, notices: &[NoticeShown], options: &Options) -> Content {
    let told = notices.iter().filter(|shown| shown.is_told());
    Content::Window(Window {
        session: session.id,
        doctor: session.doctor.name.clone(),
        department: session.doctor.department.clone(),
        notices: told.map(|shown| notice(shown, options)).collect(),
    })
}

/// One notice as its window lists it.
pub(super) fn notice(shown: &NoticeShown, options: &Options) -> NoticeRow {
    let NoticeShown { notice, studies } = shown;
    let same = studies.iter().find(|one| one.same.is_some());
    let newest = same.or_else(|| studies.iter().max_by_key(|one| &one.shown.study.study_date));
    NoticeRow {
        id: notice.id,
        kind: notice.kind.name(),
        at: notice.at.0,
        precise: notice.precise,
        acknowledged: notice.acknowledged_at.is_some(),
        patient: name(&notice.patient, options).masked,
        exams: notice.exams.iter().map(|(_, name)| name.clone()).collect(),
        studies: studies.len(),
        here: shown.here(),
        same: shown.same(),
        newest: newest.map(|one| words(&one.shown.study)),
        days: newest.and_then(|one| one.days),
    }
}

/// A patient's studies: what is ordered now first, then the latest.
pub(super) fn patient(
    language: Language,
    session: &Session,
    shown: &NoticeShown,
    options: &Options,
) -> Content {
    let mut studies: Vec<&OutsideStudy> = shown.studies.iter().collect();
    studies.sort_by(|a, b| {
        (b.same.is_some(), &b.shown.study.study_date)
            .cmp(&(a.same.is_some(), &a.shown.study.study_date))
    });
    let is_order = shown.notice.kind == NoticeKind::Ordered;
    let exams = shown.notice.exams.iter().map(|(_, name)| name.clone());
    Content::Patient(Patient {
        session: session.id,
        notice: shown.notice.id,
        patient: name(&shown.notice.patient, options),
        exams: if is_order { exams.collect() } else { Vec::new() },
        decide: is_order && shown.is_told(),
        studies: studies.into_iter().map(|one| row(language, one, options)).collect(),
    })
}

/// One study with what is here of it.
pub(super) fn study(
    language: Language,
    reader: &Reader,
    (notice, one): (i64, &OutsideStudy),
    (held, reports): (Option<&Held>, Vec<Report>),
    options: &Options,
) -> Content {
    let series = held.map(|study| study.series().to_vec()).unwrap_or_default();
    let series = series.into_iter().map(|row| SeriesRow {
        number: row.number,
        modality: row.texts.modality.to_string(),
        description: row.texts.series_description.to_string(),
        images: row.instances,
    });
    Content::Study(Box::new(Study {
        session: reader.session.id,
        notice,
        words: words(&one.shown.study),
        row: row(language, one, options),
        viewer: options.viewer.is_some() && !reader.is_linked,
        linked: reader.is_linked,
        series: series.collect(),
        reports,
    }))
}

/// Why a page is not shown.
pub(super) fn refused(language: Language, refusal: &Refusal) -> Content {
    let say = |chinese, english| language.say(chinese, english);
    let (why, words) = match refusal {
        Refusal::NoSession => (
            "session",
            say(
                "未登录或已退出。请在 HIS 中重新登录。",
                "Not logged in, or logged out. Log in at the HIS again.",
            ),
        ),
        Refusal::NotOpened | Refusal::Glass(_) => (
            "patient",
            say(
                "该患者不在您最近打开的患者之中。请先在 HIS 中打开该患者。",
                "This is not a patient whom you opened lately. Open the patient in the HIS first.",
            ),
        ),
        Refusal::Link => (
            "link",
            say(
                "链接已使用、已过期或无效。请重新打开影像。",
                "This link was used, is too old, or is not ours. Open the images again.",
            ),
        ),
        Refusal::Broken => ("broken", say("提交的内容不完整。", "What was sent is incomplete.")),
        Refusal::Foreign => {
            ("foreign", say("请求来自其他网站，已拒绝。", "Asked by another site."))
        }
        Refusal::Ledger(_) | Refusal::Panicked => {
            ("busy", say("系统繁忙，请稍后重试。", "Busy. Please try again in a moment."))
        }
    };
    let glass = match refusal {
        Refusal::Glass(notice) => Some(*notice),
        _ => None,
    };
    Content::Refused(Refused { why, glass, words })
}

fn row(language: Language, one: &OutsideStudy, options: &Options) -> StudyRow {
    let (shown, study) = (&one.shown, &one.shown.study);
    let (why, why_zh) = (&shown.why, &shown.why_zh);
    let chinese = language == Language::Chinese && !why_zh.is_empty();
    let uid = study.study.as_str();
    StudyRow {
        study: uid.to_owned(),
        date: date(&study.study_date),
        hospital: study.institution_name.clone(),
        modality: study.modalities.join(" "),
        examination: examination(study),
        progress: progress(one),
        days: one.days,
        same: one.same.map(Sameness::name),
        unconfirmed: shown.link == Link::Unconfirmed.name(),
        has_report: study.modalities.iter().any(|one| REPORTS.contains(&one.as_str())),
        report_link: options.reports.get(&study.place.source).map(|at| at.replace("{study}", uid)),
        why: if chinese { why_zh.clone() } else { why.clone() },
    }
}

/// How far a study is.
pub(super) fn progress(one: &OutsideStudy) -> ProgressRow {
    let progress = match one.progress {
        Progress::Here => "here",
        Progress::Arriving => "arriving",
        Progress::Elsewhere => "elsewhere",
    };
    let expected = one.shown.fetch.as_ref().and_then(|fetch| fetch.expected);
    ProgressRow { progress, here: one.here, expected }
}

fn name(full: &str, options: &Options) -> Name {
    let masked = if options.mask_names { masked(full) } else { full.to_owned() };
    Name { masked, full: full.to_owned() }
}

/// What was examined, in the words of who made it.
fn examination(study: &FoundStudy) -> String {
    if study.description.is_empty() { study.body_part.clone() } else { study.description.clone() }
}

/// Date, modality, examination and hospital of a study in one line.
fn words(study: &FoundStudy) -> String {
    let modalities = study.modalities.join(" ");
    let (day, exam) = (date(&study.study_date), examination(study));
    let parts = [day.as_str(), &modalities, &exam, &study.institution_name];
    let parts: Vec<&str> = parts.into_iter().filter(|part| !part.is_empty()).collect();
    parts.join(" ")
}
