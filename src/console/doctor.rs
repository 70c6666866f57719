//! What the doctor of the machine found last, for health, metrics and a page.
//!
//! Always holds: the clouds are no part of health, so no finding turns `/health` to 503; when a
//! certificate or a token ends is remembered while its peer is away, and counts on. Refused: to
//! check within a request: it takes up to a minute, so a button asks the daemon to.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::{Request, Response, StatusCode, header};
use serde_json::{Value, json};
use tokio::sync::Notify;

use super::Console;
use super::departments::by_address;
use crate::http::{escaped, guarded, is_foreign, see};
use crate::limits::EXPIRY_DAYS;
use crate::model::{Finding, FindingState, Measured, Time, UtcOffset};

const DAY_MS: i64 = 86_400_000;

/// What was found, and when.
#[derive(Debug, Clone)]
pub struct Report {
    /// When it was looked.
    pub at: Time,
    /// What was found, in the order of the configuration.
    pub findings: Vec<Finding>,
}

impl Report {
    /// How many findings are in a state.
    pub fn count(&self, state: FindingState) -> usize {
        self.findings.iter().filter(|one| one.state == state).count()
    }

    /// The report in the fields of `/health` and of `doctor --json`.
    pub fn json(&self, offset: UtcOffset) -> Value {
        json!({
            "at": self.at.wall(offset).strftime("%Y-%m-%d %H:%M:%S").to_string(),
            "at_ms": self.at.0,
            "failing": self.count(FindingState::Failing),
            "warnings": self.count(FindingState::Warning),
            "findings": self.findings.iter().map(finding_json).collect::<Vec<_>>(),
        })
    }
}

fn finding_json(finding: &Finding) -> Value {
    let mut fields = json!({
        "subject": finding.subject,
        "step": finding.step,
        "state": finding.state.name(),
        "zh": finding.words.zh,
        "en": finding.words.en,
    });
    if let Some(next) = &finding.next {
        (fields["next_zh"], fields["next_en"]) = (json!(next.zh), json!(next.en));
    }
    match finding.measured {
        Some(Measured::CertificateEnds(at)) => fields["certificate_ends_ms"] = json!(at.0),
        Some(Measured::TokenEnds(at)) => fields["token_ends_ms"] = json!(at.0),
        Some(Measured::ClockAheadMs(ms)) => fields["clock_ahead_ms"] = json!(ms),
        None => {}
    }
    fields
}

/// What ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Ending {
    Certificate,
    Token,
}

/// Where the daemon's doctor puts what it found, and hears that it is asked for.
#[derive(Default)]
pub struct Board {
    known: Mutex<Known>,
    asked: Notify,
    busy: AtomicBool,
}

#[derive(Default)]
struct Known {
    report: Option<Report>,
    /// When what ends, by its subject.
    ends: BTreeMap<(String, Ending), Time>,
    /// The level of alarm that was last told in the log.
    levels: BTreeMap<String, u32>,
}

impl Board {
    /// Returns when somebody asked for a look now.
    pub async fn asked(&self) {
        self.asked.notified().await;
    }

    /// Asks for a look now; many who ask at once get one.
    pub fn ask(&self) {
        self.asked.notify_one();
    }

    /// Says that a look has begun.
    pub fn begin(&self) {
        self.busy.store(true, Ordering::Relaxed);
    }

    /// Puts up what was found.
    pub fn put(&self, report: Report) {
        let mut known = self.known();
        let named = |subject: &str| report.findings.iter().any(|one| one.subject == subject);
        known.ends.retain(|(subject, _), _| named(subject.trim_end_matches(OURS)));
        known.levels.retain(|subject, level| {
            let stays = named(subject.trim_end_matches(OURS));
            if !stays && *level > 0 {
                metrics::gauge!("expiry_alarm_level", "subject" => subject.clone()).set(0.0);
            }
            stays
        });
        for finding in &report.findings {
            match finding.measured {
                Some(Measured::CertificateEnds(at)) => {
                    known.ends.insert((labelled(finding), Ending::Certificate), at);
                }
                Some(Measured::TokenEnds(at)) => {
                    known.ends.insert((labelled(finding), Ending::Token), at);
                }
                Some(Measured::ClockAheadMs(_)) | None => {}
            }
        }
        known.report = Some(report);
        self.busy.store(false, Ordering::Relaxed);
    }

    /// Says in the log which levels of alarm have changed.
    pub fn watch(&self, now: Time) {
        let mut known = self.known();
        for (subject, level) in known.levels(now) {
            let before = known.levels.insert(subject.clone(), level).unwrap_or(0);
            let subject = subject.as_str();
            match level {
                _ if level == before => {}
                0 => log::info!(subject; "what was about to end is renewed"),
                1 => {
                    log::error!(subject, level; "a certificate or token ends within a day, or has")
                }
                _ => log::warn!(subject, level; "a certificate or token ends within so many days"),
            }
        }
    }

    /// What was found last.
    pub fn last(&self) -> Option<Report> {
        self.known().report.clone()
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Sets the gauges to what is known now.
    pub(super) fn gauges(&self, now: Time) {
        let known = self.known();
        for ((subject, ending), ends) in &known.ends {
            let (seconds, subject) = (ends.since_ms(now) as f64 / 1_000.0, subject.clone());
            match ending {
                Ending::Certificate => {
                    metrics::gauge!("certificate_expiry_seconds", "subject" => subject)
                        .set(seconds);
                }
                Ending::Token => {
                    metrics::gauge!("token_expiry_seconds", "subject" => subject).set(seconds);
                }
            }
        }
        for (subject, level) in known.levels(now) {
            metrics::gauge!("expiry_alarm_level", "subject" => subject).set(f64::from(level));
        }
        let Some(report) = &known.report else { return };
        for state in FindingState::ALL {
            let count = report.count(state) as f64;
            metrics::gauge!("doctor_findings", "state" => state.name()).set(count);
        }
        for finding in &report.findings {
            if let Some(Measured::ClockAheadMs(ms)) = finding.measured {
                metrics::gauge!("clock_offset_seconds").set(ms as f64 / 1_000.0);
            }
        }
    }
}

impl Known {
    /// The level of each subject, by what of it ends first.
    fn levels(&self, now: Time) -> BTreeMap<String, u32> {
        let mut levels = BTreeMap::new();
        for ((subject, _), ends) in &self.ends {
            let level = alarm_level(*ends, now);
            let known = levels.entry(subject.clone()).or_insert(level);
            // The fewest days are the worst, apart from none at all.
            if level > 0 && (*known == 0 || level < *known) {
                *known = level;
            }
        }
        levels
    }
}

/// 0 while there is time; then the days of the mark that was passed last: 30, 7, 1. What has ended
/// stays at 1.
fn alarm_level(ends: Time, now: Time) -> u32 {
    let left = ends.since_ms(now);
    let passed = EXPIRY_DAYS.into_iter().filter(|days| left <= i64::from(*days) * DAY_MS);
    passed.min().unwrap_or(0)
}

/// Behind a subject whose own certificate is meant, the one that we show to it.
const OURS: &str = " (ours)";

/// The subject in metrics: what we show to a peer is told from what the peer shows to us.
fn labelled(finding: &Finding) -> String {
    let ours = if finding.step == "client certificate" { OURS } else { "" };
    format!("{}{ours}", finding.subject)
}

/// Asks for a look now.
pub(super) async fn check(
    State(console): State<Arc<Console>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, _) = request.into_parts();
    if is_foreign(&parts) || !by_address(&parts) {
        let words = "请用 IP 地址打开本页面并使用页面上的按钮 · Open this page by the machine's IP \
                     address and use its button, or `forepost doctor`";
        let page =
            document(&format!("<p>{}</p><p><a href=\"/doctor\">返回 Back</a></p>", escaped(words)));
        return shown(StatusCode::FORBIDDEN, page);
    }
    console.doctor.begin();
    console.doctor.ask();
    see("/doctor")
}

/// The page of lights.
pub(super) async fn page(State(console): State<Arc<Console>>) -> Response<Body> {
    let mut body = String::from(
        "<form method=\"post\" action=\"/doctor/check\"><button>立即检查 Check now</button></form>",
    );
    if console.doctor.busy.load(Ordering::Relaxed) {
        body.push_str(
            "<p><b>正在检查，约一分钟内完成，请刷新本页 · Checking; it takes up to a minute: reload \
             this page</b></p>",
        );
    }
    match console.doctor.last() {
        None => body.push_str(
            "<p>启动后三分钟做第一次检查，之后每天一次 · The first look comes three minutes after a \
             start, then one a day</p>",
        ),
        Some(report) => body.push_str(&report_html(&report, (console.clock)(), console.offset)),
    }
    shown(StatusCode::OK, document(&body))
}

fn document(body: &str) -> String {
    format!(
        "<!DOCTYPE html><html lang=\"zh\"><meta charset=\"utf-8\"><title>自检 Doctor</title>\
         <h1>自检 · Doctor</h1>{body}</html>"
    )
}

fn shown(status: StatusCode, page: String) -> Response<Body> {
    let media = [(header::CONTENT_TYPE, "text/html;charset=UTF-8")];
    guarded((status, media, page).into_response())
}

/// A light's colour, and the words that say it without the colour. The colours are attributes, as
/// the page's policy allows no style of its own.
fn light(state: FindingState) -> (&'static str, &'static str) {
    match state {
        FindingState::Fine => ("#c8e6c9", "绿 正常 Fine"),
        FindingState::Warning => ("#ffe0b2", "黄 注意 Warning"),
        FindingState::Failing => ("#ffcdd2", "红 故障 Failing"),
    }
}

fn report_html(report: &Report, now: Time, offset: UtcOffset) -> String {
    let at = report.at.wall(offset).strftime("%Y-%m-%d %H:%M");
    let minutes = now.since_ms(report.at).max(0) / 60_000;
    let (hours, minutes) = (minutes / 60, minutes % 60);
    let [fine, warning, failing] = FindingState::ALL.map(|state| report.count(state));
    let mut page = format!(
        "<p>检查时间 {at}，{hours} 小时 {minutes} 分钟前 · looked at {at}, {hours} h {minutes} min \
         ago</p><p>红 Failing {failing} · 黄 Warning {warning} · 绿 Fine {fine}</p>\
         <table border=\"1\" cellpadding=\"4\"><tr><th>灯 Light</th><th>对象 Subject</th>\
         <th>步骤 Step</th><th>结果 Found</th><th>下一步 Next step</th></tr>"
    );
    // What is to be done stands first; within a light the order of the configuration.
    let mut findings: Vec<&Finding> = report.findings.iter().collect();
    findings.sort_by_key(|one| std::cmp::Reverse(one.state));
    for finding in findings {
        let (colour, word) = light(finding.state);
        // A command is the same in both.
        let both = |zh: &str, en: &str| match zh == en {
            true => escaped(zh),
            false => format!("{}<br>{}", escaped(zh), escaped(en)),
        };
        let words = both(&finding.words.zh, &finding.words.en);
        let next = finding.next.as_ref().map_or_else(String::new, |next| both(&next.zh, &next.en));
        let (subject, step) = (escaped(&finding.subject), finding.step);
        page.push_str(&format!(
            "<tr><td bgcolor=\"{colour}\"><b>{word}</b></td><td>{subject}</td><td>{step}</td>\
             <td>{words}</td><td>{next}</td></tr>"
        ));
    }
    page.push_str("</table>");
    page
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Words;

    fn report(now: Time, days: f64) -> Report {
        let ends = now.plus_ms((days * DAY_MS as f64) as i64);
        let finding = Finding::fine("source <a>", "tls", Words::new("好", "good"));
        Report { at: now, findings: vec![finding.with(Measured::CertificateEnds(ends))] }
    }

    #[test]
    fn the_level_is_the_mark_that_was_passed_last() {
        let now = Time(0);
        for (days, level) in [(40, 0), (30, 30), (8, 30), (7, 7), (2, 7), (1, 1), (0, 1), (-9, 1)] {
            assert_eq!(alarm_level(Time(days * DAY_MS), now), level, "{days} days");
        }
    }

    #[test]
    fn an_end_is_remembered_while_the_peer_is_away_and_forgotten_with_the_peer() {
        let (board, now) = (Board::default(), Time(1_000 * DAY_MS));
        board.put(report(now, 20.0));
        assert_eq!(board.known().levels(now)["source <a>"], 30);
        let away = Finding::fine("source <a>", "dns", Words::new("", ""));
        board.put(Report { at: now, findings: vec![away] });
        let later = now.plus_ms(14 * DAY_MS);
        assert_eq!(board.known().levels(later)["source <a>"], 7);
        board.put(Report { at: now, findings: Vec::new() });
        assert!(board.known().levels(later).is_empty());
    }

    #[test]
    fn what_a_page_shows_is_text_and_has_words_beside_its_colours() {
        let now = Time(0);
        let page = report_html(&report(now, 50.0), now.plus_ms(3_700_000), UtcOffset::china());
        assert!(page.contains("source &lt;a&gt;") && page.contains("绿 正常 Fine"));
        assert!(page.contains("1 小时 1 分钟前"));
    }
}
