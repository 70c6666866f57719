//! One sender's bytes become objects, on a thread of their own.
//!
//! An object that cannot be kept is read to its end and forgotten, so that the others still come.

use std::collections::{HashSet, VecDeque};
use std::sync::Arc;

use forepost_cache::{Header, Object, Uid, Whole};
use tokio::runtime::Handle;
use tokio::sync::{mpsc, oneshot};

use super::limits::{REFUSALS_SAID_MAX, SHELF_MAX, UNSETTLED_MAX};
use super::shelf::Offered;
use super::{Kept, Named, Outcome, Refusal, Storage};
use crate::ledger::{Awaited, Push};
use crate::prefetch::Piece;

pub(super) struct Receiver {
    storage: Arc<Storage>,
    /// The sender's name, where it is a source that pushes.
    source: Option<String>,
    /// The study that the sender named.
    study: Option<Uid>,
    /// Studies of which the ledger knows that this sender sends them.
    begun: HashSet<Uid>,
    /// The object that is coming, or why it will not be kept.
    object: Option<Result<Object, Refusal>>,
    outcomes: Vec<Outcome>,
    /// Broken objects of which the log has heard.
    said: u32,
    /// Objects of one study that are not on their shelf yet. Nobody is told before the sender ends,
    /// so they wait for each other and share a sync.
    held: Vec<Offered>,
    /// The objects that were taken, by their place among the outcomes.
    unsettled: VecDeque<(usize, oneshot::Receiver<Result<Kept, Refusal>>)>,
}

impl Receiver {
    pub fn new(storage: Arc<Storage>, source: Option<String>, study: Option<Uid>) -> Receiver {
        let (object, begun, outcomes, held, unsettled) = Default::default();
        Receiver { storage, source, study, begun, object, outcomes, said: 0, held, unsettled }
    }

    /// Takes what comes until the door ends it or breaks off; returns when all of it is settled.
    pub fn run(mut self, mut queue: mpsc::Receiver<Piece>, runtime: &Handle) -> Vec<Outcome> {
        while let Some(piece) = queue.blocking_recv() {
            self.take(piece, runtime);
        }
        // One that has begun and not ended was cut off: its file goes.
        self.object = None;
        self.shelve();
        while !self.unsettled.is_empty() {
            self.settle_oldest();
        }
        for outcome in &self.outcomes {
            let word = match outcome.end {
                Ok(Kept::Stored) => "stored",
                Ok(Kept::Duplicate) => "duplicate",
                Err(refusal) => refusal.name(),
            };
            metrics::counter!("stored_objects_total", "outcome" => word).increment(1);
        }
        self.outcomes
    }

    fn take(&mut self, piece: Piece, runtime: &Handle) {
        match piece {
            Piece::Begin => {
                let begun = self.storage.parts.cache.incoming();
                self.object = Some(begun.map_err(|error| Refusal::of(&error)));
            }
            Piece::Bytes(bytes) => {
                if let Some(Ok(object)) = &mut self.object
                    && let Err(error) = object.write(&bytes)
                {
                    self.object = Some(Err(Refusal::of(&error)));
                }
            }
            Piece::End => {
                let whole = self.object.take().unwrap_or(Err(Refusal::Illegible));
                let whole = whole.and_then(|object| {
                    object.complete().map_err(|error| {
                        self.said += 1;
                        if self.said <= REFUSALS_SAID_MAX {
                            log::warn!("an object that came is refused: {error}");
                        }
                        Refusal::of(&error)
                    })
                });
                match whole {
                    Ok(whole) => self.offer(whole, runtime),
                    Err(refusal) => {
                        self.outcomes.push(Outcome { object: None, end: Err(refusal) });
                    }
                }
            }
        }
    }

    fn offer(&mut self, whole: Whole, runtime: &Handle) {
        let header = &whole.header;
        let object = Named {
            study: header.study.clone(),
            series: header.series.clone(),
            sop: header.sop.clone(),
            class: header.class.clone(),
        };
        let study = object.study.clone();
        let refused = match &self.study {
            Some(named) if *named != study => Err(Refusal::OtherStudy),
            _ => self.begin(&whole.header, runtime),
        };
        // Until the shelf says otherwise; what waits is told by nobody.
        let end = Err(refused.err().unwrap_or(Refusal::Failed));
        self.outcomes.push(Outcome { object: Some(object), end });
        if refused.is_err() {
            return;
        }
        let (answer, told) = oneshot::channel();
        let pushed = self.source.is_some();
        let other = self.held.last().is_some_and(|held| held.whole.header.study != study);
        if other || self.held.len() >= SHELF_MAX {
            self.shelve();
        }
        self.held.push(Offered { whole, pushed, answer });
        self.unsettled.push_back((self.outcomes.len() - 1, told));
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.settle_oldest();
        }
    }

    /// Tells the ledger of a study that a source pushes, before anything of it is listed; that a
    /// study is not, or no longer, only pushed, where the hospital itself sends it.
    fn begin(&mut self, header: &Header, runtime: &Handle) -> Result<(), Refusal> {
        let (parts, study) = (&self.storage.parts, &header.study);
        let now = (parts.clock)();
        if self.source.is_some() {
            self.storage.touch(study.clone(), now);
        }
        if self.begun.contains(study) {
            return Ok(());
        }
        let told = match &self.source {
            None => runtime.block_on(parts.ledger.push_forgotten(study.as_str().to_owned())),
            Some(source) => {
                let of = Awaited {
                    source: source.clone(),
                    patient: header.patient_id.clone(),
                    issuer: header.issuer_of_patient_id.clone(),
                };
                let new = parts.cache.instances_here(study) == 0;
                let push = Push { study: study.as_str().to_owned(), of, new };
                runtime.block_on(parts.ledger.push_began(push, now))
            }
        };
        told.map_err(|error| {
            log::error!(study = study.as_str(); "who sends a study is not kept: {error}");
            Refusal::Failed
        })?;
        self.begun.insert(study.clone());
        Ok(())
    }

    /// Puts what is held on its study's shelf.
    fn shelve(&mut self) {
        let held = std::mem::take(&mut self.held);
        if let Some(study) = held.first().map(|offered| offered.whole.header.study.clone()) {
            self.storage.offer(&study, held);
        }
    }

    fn settle_oldest(&mut self) {
        if let Some((place, told)) = self.unsettled.pop_front() {
            self.outcomes[place].end = told.blocking_recv().unwrap_or(Err(Refusal::Failed));
        }
    }
}
