//! What waits for the writer: two lines, so that whoever waits for an answer goes before the flows'
//! own work. Each line keeps its order and has its own bound, so that neither fills the other's
//! place.

use std::collections::VecDeque;
use std::sync::{Condvar, Mutex, MutexGuard};

use super::LedgerError;
use crate::limits::{LEDGER_BATCH_MAX, LEDGER_JOBS_MAX, LEDGER_LATER_SHARE};

/// In which line a job waits.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    /// Somebody waits for the answer.
    First,
    /// The flows' own work.
    Later,
}

pub(super) struct Queue<T> {
    lines: Mutex<Lines<T>>,
    arrived: Condvar,
}

struct Lines<T> {
    first: VecDeque<T>,
    later: VecDeque<T>,
    open: bool,
    /// The writer waits: only then does a push wake it, which is a system call.
    idle: bool,
}

impl<T> Queue<T> {
    pub fn open() -> Queue<T> {
        let (first, later) = (VecDeque::new(), VecDeque::new());
        let lines = Mutex::new(Lines { first, later, open: true, idle: false });
        Queue { lines, arrived: Condvar::new() }
    }

    /// A queue that takes nothing.
    pub fn closed() -> Queue<T> {
        let queue = Queue::open();
        queue.close();
        queue
    }

    /// Puts a job at the end of its line, which holds [`LEDGER_JOBS_MAX`].
    pub fn push(&self, turn: Turn, job: T) -> Result<(), LedgerError> {
        let mut lines = self.lines();
        if !lines.open {
            return Err(LedgerError::Closed);
        }
        let line = match turn {
            Turn::First => &mut lines.first,
            Turn::Later => &mut lines.later,
        };
        if line.len() >= LEDGER_JOBS_MAX {
            return Err(LedgerError::Overloaded { limit: LEDGER_JOBS_MAX });
        }
        line.push_back(job);
        let idle = std::mem::take(&mut lines.idle);
        // Woken while the lock is held, the writer would only wait for it.
        drop(lines);
        if idle {
            self.arrived.notify_one();
        }
        Ok(())
    }

    /// Waits for jobs and takes what one commit carries, in the order of its work; `None` when the
    /// queue is closed and empty.
    pub fn take(&self) -> Option<Vec<T>> {
        let mut lines = self.lines();
        while lines.first.is_empty() && lines.later.is_empty() {
            if !lines.open {
                return None;
            }
            lines.idle = true;
            lines = self.arrived.wait(lines).expect("nothing panics while it holds the lines");
        }
        let kept_for_later = lines.later.len().min(LEDGER_LATER_SHARE);
        let first = lines.first.len().min(LEDGER_BATCH_MAX - kept_for_later);
        let later = lines.later.len().min(LEDGER_BATCH_MAX - first);
        let mut jobs: Vec<T> = lines.first.drain(..first).collect();
        jobs.extend(lines.later.drain(..later));
        Some(jobs)
    }

    /// Takes nothing more; what waits is still handed out.
    pub fn close(&self) {
        self.lines().open = false;
        self.arrived.notify_one();
    }

    /// Nobody will take anything any more: what waits is dropped, and who waits for it is told.
    pub fn abandon(&self) {
        let mut lines = self.lines();
        lines.open = false;
        lines.first.clear();
        lines.later.clear();
    }

    pub fn waiting(&self) -> usize {
        let lines = self.lines();
        lines.first.len() + lines.later.len()
    }

    fn lines(&self) -> MutexGuard<'_, Lines<T>> {
        self.lines.lock().expect("nothing panics while it holds the lines")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fill(queue: &Queue<(Turn, usize)>, turn: Turn, jobs: usize) {
        for number in 0..jobs {
            queue.push(turn, (turn, number)).unwrap();
        }
    }

    fn numbers(jobs: &[(Turn, usize)], turn: Turn) -> Vec<usize> {
        jobs.iter().filter(|job| job.0 == turn).map(|job| job.1).collect()
    }

    #[test]
    fn who_waits_for_an_answer_goes_first_and_nobody_is_starved() {
        let queue = Queue::open();
        fill(&queue, Turn::Later, 2 * LEDGER_BATCH_MAX);
        fill(&queue, Turn::First, 2 * LEDGER_BATCH_MAX);
        let jobs = queue.take().unwrap();
        let first = LEDGER_BATCH_MAX - LEDGER_LATER_SHARE;
        assert!(jobs[..first].iter().all(|job| job.0 == Turn::First));
        assert_eq!(numbers(&jobs, Turn::First), (0..first).collect::<Vec<_>>());
        assert_eq!(numbers(&jobs, Turn::Later), (0..LEDGER_LATER_SHARE).collect::<Vec<_>>());
    }

    #[test]
    fn what_one_line_does_not_need_the_other_takes() {
        for (turn, other) in [(Turn::First, Turn::Later), (Turn::Later, Turn::First)] {
            let queue = Queue::open();
            fill(&queue, turn, 3 * LEDGER_BATCH_MAX);
            fill(&queue, other, 1);
            let jobs = queue.take().unwrap();
            assert_eq!(numbers(&jobs, turn).len(), LEDGER_BATCH_MAX - 1);
            assert_eq!(numbers(&jobs, other), [0]);
        }
    }

    #[test]
    fn a_full_line_refuses_and_leaves_the_other_its_place() {
        let queue = Queue::open();
        fill(&queue, Turn::Later, LEDGER_JOBS_MAX);
        let refused = queue.push(Turn::Later, (Turn::Later, 0));
        assert!(matches!(refused, Err(LedgerError::Overloaded { limit: LEDGER_JOBS_MAX })));
        assert!(queue.push(Turn::First, (Turn::First, 0)).is_ok());
        assert_eq!(queue.waiting(), LEDGER_JOBS_MAX + 1);
    }

    #[test]
    fn a_closed_queue_hands_out_what_waits_and_wakes_who_waits_for_it() {
        let queue = Queue::open();
        fill(&queue, Turn::First, 1);
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| {
                let taken = queue.take().map(|jobs| jobs.len());
                (taken, queue.take().is_none())
            });
            queue.close();
            assert_eq!(taking.join().unwrap(), (Some(1), true));
        });
        assert!(matches!(queue.push(Turn::First, (Turn::First, 1)), Err(LedgerError::Closed)));
    }
}
