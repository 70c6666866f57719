//! The daemon's own looks: one soon after a start, one a day, and one whenever a person asks.

use std::sync::{Arc, Mutex, PoisonError};

use tokio::time::{Instant, sleep_until};

use super::Subjects;
use super::limits::{DAILY_WAIT, FIRST_WAIT, WATCH_WAIT};
use crate::console::{Board, Report};
use crate::model::{FindingState, Time};

/// The doctor that lives in the daemon.
pub struct Daily {
    subjects: Mutex<Arc<Subjects>>,
    board: Arc<Board>,
    clock: fn() -> Time,
}

impl Daily {
    /// Nothing is looked at before [`Daily::run`]; what is found is put up on the board.
    pub fn new(subjects: Subjects, board: Arc<Board>, clock: fn() -> Time) -> Arc<Daily> {
        let subjects = Mutex::new(Arc::new(subjects));
        Arc::new(Daily { subjects, board, clock })
    }

    /// From now on these are looked at, at once for the first time.
    pub fn replace(&self, subjects: Subjects) {
        *self.subjects.lock().unwrap_or_else(PoisonError::into_inner) = Arc::new(subjects);
        self.board.ask();
    }

    /// Looks until it is dropped.
    pub async fn run(self: Arc<Daily>) {
        let mut next = Instant::now() + FIRST_WAIT;
        loop {
            tokio::select! {
                () = self.board.asked() => {}
                () = sleep_until(next) => {}
                () = sleep_until(Instant::now() + WATCH_WAIT) => {
                    self.board.watch((self.clock)());
                    continue;
                }
            }
            self.look().await;
            next = Instant::now() + DAILY_WAIT;
        }
    }

    async fn look(&self) {
        self.board.begin();
        let subjects = Arc::clone(&self.subjects.lock().unwrap_or_else(PoisonError::into_inner));
        let at = (self.clock)();
        let report = Report { findings: subjects.check(at).await, at };
        let failing = report.count(FindingState::Failing);
        let warnings = report.count(FindingState::Warning);
        log::info!(failing, warnings; "the doctor has looked");
        self.board.put(report);
        self.board.watch(at);
    }
}
