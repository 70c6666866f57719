//! The associations of one source: as many at once as it allows, and kept for a moment between two
//! requests.
//!
//! What for: a fetch asks for a list of series, then of instances, then for the objects of each; an
//! association for each of these would cost the peer a process and us three trips each time. What
//! always holds: open associations, at work or parked, are never more than the source allows; a
//! parked one is said goodbye to after [`PARK_WAIT`].

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep};

use super::super::limits::PARK_WAIT;
use crate::dicom::{Association, Node, Proposal};
use crate::fault::Fault;

/// The associations of one source.
pub struct Lines {
    node: Node,
    parallel: usize,
    permits: Arc<Semaphore>,
    parked: Arc<Mutex<Vec<Parked>>>,
}

/// An association that waits for more to do.
struct Parked {
    association: Association,
    since: Instant,
}

/// An association at work.
pub struct Line {
    /// It itself.
    pub association: Association,
    /// Whether it was parked before, so that the peer may have ended it meanwhile.
    pub reused: bool,
    _permit: OwnedSemaphorePermit,
}

impl Lines {
    /// Nothing is connected yet.
    pub fn new(node: Node, parallel: usize) -> Lines {
        let parallel = parallel.min(Semaphore::MAX_PERMITS);
        let permits = Arc::new(Semaphore::new(parallel));
        Lines { node, parallel, permits, parked: Arc::default() }
    }

    /// The peer.
    pub fn node(&self) -> &Node {
        &self.node
    }

    /// Waits for a place among the associations, and takes a parked one that has these contexts,
    /// unless a `fresh` one is wanted; else opens one.
    pub async fn line(&self, proposals: &[Proposal], fresh: bool) -> Result<Line, Fault> {
        let permits = Arc::clone(&self.permits);
        let permit = permits.acquire_owned().await.expect("the semaphore is never closed");
        let (found, surplus) = self.choose(proposals, fresh);
        if let Some(association) = found {
            return Ok(Line { association, reused: true, _permit: permit });
        }
        if let Some(association) = surplus {
            association.release().await;
        }
        let association = Association::open(&self.node, proposals).await?;
        Ok(Line { association, reused: false, _permit: permit })
    }

    /// A parked association that fits, or else one that must end to make room.
    fn choose(
        &self,
        proposals: &[Proposal],
        fresh: bool,
    ) -> (Option<Association>, Option<Association>) {
        let mut parked = held(&self.parked);
        let fits = |one: &Parked| !fresh && one.association.covers(proposals);
        if let Some(at) = parked.iter().position(fits) {
            return (Some(parked.swap_remove(at).association), None);
        }
        let at_work = self.parallel - self.permits.available_permits();
        let surplus = at_work + parked.len() > self.parallel && !parked.is_empty();
        (None, surplus.then(|| parked.remove(0).association))
    }

    /// Keeps a line that did its work for the next request.
    pub fn park(&self, line: Line) {
        let since = Instant::now();
        held(&self.parked).push(Parked { association: line.association, since });
        let parked = Arc::clone(&self.parked);
        tokio::spawn(async move {
            sleep(PARK_WAIT).await;
            loop {
                let over = {
                    let mut parked = held(&parked);
                    let at = parked.iter().position(|one| one.since.elapsed() >= PARK_WAIT);
                    at.map(|at| parked.swap_remove(at).association)
                };
                match over {
                    Some(association) => association.release().await,
                    None => return,
                }
            }
        });
    }

    /// Says goodbye on all that are parked.
    pub async fn end(&self) {
        let parked = std::mem::take(&mut *held(&self.parked));
        for one in parked {
            one.association.release().await;
        }
    }
}

/// Whoever panicked while holding it left a list that is whole.
fn held(parked: &Mutex<Vec<Parked>>) -> MutexGuard<'_, Vec<Parked>> {
    parked.lock().unwrap_or_else(PoisonError::into_inner)
}
