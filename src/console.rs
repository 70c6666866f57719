//! The console zone: health, metrics, how doctors used what was made elsewhere, and which
//! departments theirs are; and whether this machine and its peers are in order.
//!
//! `GET /health` answers 200 with what holds and 503 with what does not. The clouds are no part of
//! it: their absence is what Forepost is for, and `doctor` in the answer only tells of it.

mod departments;
mod doctor;

use std::sync::Arc;

use axum::Router;
use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use forepost_cache::Cache;
use http::{Response, StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::clock;
use crate::http::{escaped, guarded};
use crate::ledger::{Ledger, LedgerError, NoticeFigures};
use crate::model::{DeliveryState, Department, Time, UtcOffset};
use departments::Mappings;
pub use doctor::{Board, Report};

/// What the console reads.
pub struct Console {
    /// The disk of record.
    pub ledger: Ledger,
    /// The studies.
    pub cache: Cache,
    /// Renders what was counted.
    pub recorder: PrometheusHandle,
    /// The hospital's wall clock.
    pub offset: UtcOffset,
    /// The machine's clock.
    pub clock: fn() -> Time,
    /// What the doctor of the machine found last.
    pub doctor: Arc<Board>,
}

/// The zone's answers.
pub fn router(console: Arc<Console>) -> Router {
    Router::new()
        .route("/health", get(health))
        .route("/metrics", get(render))
        .route("/use", get(usage))
        .route("/use.csv", get(usage_table))
        .route("/use/department/map", post(departments::map))
        .route("/use/department/unmap", post(departments::unmap))
        .route("/doctor", get(doctor::page))
        .route("/doctor/check", post(doctor::check))
        .with_state(console)
}

/// Days of which use is shown.
const USE_DAYS: i64 = 92;

/// The columns of use: names for a table of figures, then for people.
const USE_COLUMNS: [(&str, &str); 11] = [
    ("day", "日期 Day"),
    ("hospital", "医院 Hospital"),
    ("departmentCode", "科室编码 Department"),
    ("department", "科室 Name"),
    ("inDictionary", "字典 In the dictionary"),
    ("hisUserId", "账号 Account"),
    ("queried", "查询 Queried"),
    ("notified", "提醒 Notified"),
    ("opened", "调阅 Opened"),
    ("orderedAllTheSame", "仍检查 Ordered all the same"),
    ("withdrawn", "撤销 Withdrawn"),
];

/// The rows of use, each cell as text. Accounts are the HIS's own; no name of anybody.
async fn used(console: &Console) -> Result<Vec<[String; 11]>, LedgerError> {
    let (ledger, offset) = (console.ledger.clone(), console.offset);
    let since = (console.clock)().plus_ms(-USE_DAYS * 86_400_000);
    let read = tokio::task::spawn_blocking(move || ledger.notice_figures(since, offset));
    let figures = read.await.unwrap_or(Err(LedgerError::Closed))?;
    let row = |one: NoticeFigures| {
        let day = one.day.wall(offset).date().to_string();
        let Department { code, name } = one.department;
        let counts = [one.queried, one.notified, one.opened, one.ordered_anyway, one.withdrawn];
        let [queried, notified, opened, anyway, withdrawn] = counts.map(|count| count.to_string());
        let listed = if one.is_listed { "1" } else { "0" }.to_owned();
        [
            day,
            one.hospital,
            code,
            name,
            listed,
            one.user,
            queried,
            notified,
            opened,
            anyway,
            withdrawn,
        ]
    };
    Ok(figures.into_iter().map(row).collect())
}

async fn usage_table(State(console): State<Arc<Console>>) -> Response<Body> {
    let rows = match used(&console).await {
        Ok(rows) => rows,
        Err(error) => return failed(&error),
    };
    // A spreadsheet takes a cell that begins so for a formula.
    let plain = |text: &String| {
        let formula = text.starts_with(['=', '+', '-', '@', '\t', '\r']);
        let text = text.replace('"', "\"\"");
        if formula { format!("\"'{text}\"") } else { format!("\"{text}\"") }
    };
    // With a byte order mark, by which spreadsheets know UTF-8.
    let mut text = String::from("\u{feff}");
    text.push_str(&USE_COLUMNS.map(|(name, _)| name).join(","));
    for row in &rows {
        let cells: Vec<String> = row.iter().map(plain).collect();
        text.push_str(&format!("\r\n{}", cells.join(",")));
    }
    text.push_str("\r\n");
    ([(header::CONTENT_TYPE, "text/csv;charset=UTF-8")], text).into_response()
}

async fn usage(State(console): State<Arc<Console>>) -> Response<Body> {
    let rows = match used(&console).await {
        Ok(rows) => rows,
        Err(error) => return failed(&error),
    };
    let ledger = console.ledger.clone();
    let read = tokio::task::spawn_blocking(move || Mappings::read(&ledger)).await;
    let mappings = match read.unwrap_or(Err(LedgerError::Closed)) {
        Ok(mappings) => mappings,
        Err(error) => return failed(&error),
    };
    let mut page = String::from(
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>使用统计 Use</title><h1>外院影像使用统计 · Use of \
         outside studies</h1><p><a href=\"/use.csv\">CSV</a></p><table border=\"1\"><tr>",
    );
    USE_COLUMNS.iter().for_each(|(_, name)| page.push_str(&format!("<th>{name}</th>")));
    for row in &rows {
        let cells: String = row.iter().map(|cell| format!("<td>{}</td>", escaped(cell))).collect();
        page.push_str(&format!("</tr><tr>{cells}"));
    }
    page.push_str("</tr></table>");
    page.push_str(&mappings.shown());
    guarded(([(header::CONTENT_TYPE, "text/html;charset=UTF-8")], page).into_response())
}

fn failed(error: &LedgerError) -> Response<Body> {
    log::error!("reading how notices were used: {error}");
    StatusCode::INTERNAL_SERVER_ERROR.into_response()
}

async fn health(State(console): State<Arc<Console>>) -> impl IntoResponse {
    let ledger = console.ledger.probe().await;
    let stats = console.cache.stats();
    let status = if ledger.is_ok() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let body = serde_json::json!({
        "status": if ledger.is_ok() { "ok" } else { "failing" },
        "version": env!("CARGO_PKG_VERSION"),
        "ledger": match ledger { Ok(()) => "ok".to_owned(), Err(error) => error.to_string() },
        "ledger_jobs_waiting": console.ledger.waiting(),
        "doctor": console.doctor.last().map(|report| report.json(console.offset)),
        "cache": { "studies": stats.studies, "instances": stats.instances, "bytes": stats.bytes },
    });
    (status, [(header::CONTENT_TYPE, "application/json")], body.to_string())
}

async fn render(State(console): State<Arc<Console>>) -> impl IntoResponse {
    if let Err(error) = gauges(&console) {
        log::error!("reading gauges: {error}");
    }
    let text = console.recorder.render();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text)
}

fn delivery_gauges(ledger: &Ledger) -> Result<(), LedgerError> {
    let now = clock::now();
    for tally in ledger.tallies()? {
        let interface = || ("interface", tally.interface.clone());
        for state in DeliveryState::ALL {
            let labels = [interface(), ("state", state.name().to_owned())];
            metrics::gauge!("deliveries_by_state", &labels).set(tally.of(state) as f64);
        }
        metrics::gauge!("deliveries_accepted", &[interface()]).set(tally.accepted as f64);
        metrics::gauge!("deliveries_attempts", &[interface()]).set(tally.attempts as f64);
        let sum: u64 = tally.states.iter().sum();
        metrics::gauge!("deliveries_unaccounted", &[interface()])
            .set(tally.accepted as f64 - sum as f64);
        let age = tally.oldest_at.map_or(0, |at| now.since_ms(at));
        metrics::gauge!("delivery_oldest_seconds", &[interface()]).set(age as f64 / 1000.0);
        let left = tally.deadline_at.map_or(f64::INFINITY, |at| at.since_ms(now) as f64 / 1000.0);
        metrics::gauge!("delivery_deadline_seconds", &[interface()]).set(left);
    }
    for (interface, level, _) in ledger.alarms()? {
        metrics::gauge!("delivery_alarm_level", "interface" => interface).set(f64::from(level));
    }
    Ok(())
}

/// A verb makes backups, beside the service; the ledger remembers them.
fn backup_gauges(ledger: &Ledger) -> Result<(), LedgerError> {
    let (last, failures) = ledger.backup_figures()?;
    let age = last.map_or(f64::INFINITY, |at| clock::now().since_ms(at) as f64 / 1000.0);
    metrics::gauge!("backup_age_seconds").set(age);
    metrics::counter!("backup_failures_total").absolute(failures);
    Ok(())
}

fn gauges(console: &Console) -> Result<(), LedgerError> {
    backup_gauges(&console.ledger)?;
    let stats = console.cache.stats();
    metrics::gauge!("cache_studies").set(stats.studies as f64);
    metrics::gauge!("cache_instances").set(stats.instances as f64);
    metrics::gauge!("cache_bytes").set(stats.bytes as f64);
    metrics::gauge!("ledger_jobs_waiting").set(console.ledger.waiting() as f64);
    delivery_gauges(&console.ledger)?;
    metrics::gauge!("registrations_kept").set(console.ledger.registrations()? as f64);
    for (state, plans) in console.ledger.plan_counts()? {
        metrics::gauge!("plans_by_state", "state" => state).set(plans as f64);
    }
    for (state, fetches) in console.ledger.fetch_counts()? {
        metrics::gauge!("fetches_by_state", "state" => state).set(fetches as f64);
    }
    console.doctor.gauges((console.clock)());
    dictionary_gauges(console)?;
    view_gauges(console)
}

fn view_gauges(console: &Console) -> Result<(), LedgerError> {
    for view in console.ledger.views()? {
        metrics::gauge!("view_rows_parked", "view" => view.name.clone()).set(view.parked as f64);
        if let Some(whole_at) = view.whole_at {
            let seconds = (console.clock)().since_ms(whole_at) as f64 / 1_000.0;
            metrics::gauge!("view_whole_poll_age_seconds", "view" => view.name).set(seconds);
        }
    }
    Ok(())
}

fn dictionary_gauges(console: &Console) -> Result<(), LedgerError> {
    let now = (console.clock)();
    for shown in console.ledger.dictionaries()? {
        let labels = [("hospital", shown.hospital), ("kind", shown.kind.name().to_owned())];
        metrics::gauge!("dictionary_rows", &labels).set(shown.rows as f64);
        let held = if shown.held.is_some() { 1.0 } else { 0.0 };
        metrics::gauge!("dictionary_held", &labels).set(held);
        if let Some(seen_at) = shown.seen_at {
            let seconds = now.since_ms(seen_at) as f64 / 1_000.0;
            metrics::gauge!("dictionary_age_seconds", &labels).set(seconds);
        }
    }
    Ok(())
}
