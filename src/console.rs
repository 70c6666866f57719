//! The console zone: health and metrics.
//!
//! `GET /health` answers 200 with what holds and 503 with what does not. The clouds are no part of
//! it: their absence is what Forepost is for.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::response::IntoResponse;
use axum::routing::get;
use forepost_cache::Cache;
use http::{StatusCode, header};
use metrics_exporter_prometheus::PrometheusHandle;

use crate::clock;
use crate::ledger::{Ledger, LedgerError};
use crate::model::{DeliveryState, Time};

/// What the console reads.
pub struct Console {
    /// The disk of record.
    pub ledger: Ledger,
    /// The studies.
    pub cache: Cache,
    /// Renders what was counted.
    pub recorder: PrometheusHandle,
    /// The machine's clock.
    pub clock: fn() -> Time,
}

/// The zone's answers.
pub fn router(console: Arc<Console>) -> Router {
    Router::new().route("/health", get(health)).route("/metrics", get(render)).with_state(console)
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

fn gauges(console: &Console) -> Result<(), LedgerError> {
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
