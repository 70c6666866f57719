//! One request's line in the log and its metrics, whatever the protocol.

use forepost_cache::Uid;
use log::info;
use tokio::time::Instant;

use crate::fault::Fault;

/// What a request is for, as the log tells it: nothing personal.
#[derive(Clone, Copy)]
pub struct Asked<'a> {
    /// What it is for, in a word (a metric label).
    pub step: &'static str,
    /// `GET`, `C-FIND`, `C-GET`.
    pub method: &'static str,
    /// The path with names in place of values, or the level of a query.
    pub shape: &'static str,
    /// The study.
    pub study: Option<&'a Uid>,
}

/// A request under way. Its line is written when it is dropped: a request that is given up by its
/// caller is told as well.
pub struct Account {
    source: String,
    host: String,
    step: &'static str,
    method: &'static str,
    shape: &'static str,
    study: String,
    start: Instant,
    bytes: u64,
    counter: metrics::Counter,
    /// Of HTTP or of DIMSE; 0 until there is one.
    pub status: u16,
    /// `ok`, or the fault's step.
    pub outcome: &'static str,
}

impl Account {
    /// Begins now.
    pub fn new(source: &str, host: String, asked: Asked<'_>) -> Account {
        Account {
            source: source.to_owned(),
            host,
            step: asked.step,
            method: asked.method,
            shape: asked.shape,
            study: asked.study.map_or_else(String::new, Uid::to_string),
            start: Instant::now(),
            bytes: 0,
            counter: metrics::counter!("upstream_bytes_total", "source" => source.to_owned()),
            status: 0,
            outcome: "given up",
        }
    }

    /// Counts bytes that came.
    pub fn count(&mut self, bytes: u64) {
        self.bytes += bytes;
        self.counter.increment(bytes);
    }

    /// Ends it with what became of it.
    pub fn close<T>(mut self, result: &Result<T, Fault>) {
        self.outcome = result.as_ref().map_or_else(|fault| fault.step, |_| "ok");
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let labels = [
            ("source", self.source.clone()),
            ("step", self.step.to_owned()),
            ("outcome", self.outcome.to_owned()),
        ];
        metrics::counter!("upstream_requests_total", &labels).increment(1);
        let milliseconds = u64::try_from(self.start.elapsed().as_millis()).unwrap_or(u64::MAX);
        info!(
            source = self.source.as_str(), step = self.step, method = self.method,
            host = self.host.as_str(), path = self.shape, study = self.study.as_str(),
            status = self.status, bytes = self.bytes, milliseconds, outcome = self.outcome;
            "asked a source"
        );
    }
}
