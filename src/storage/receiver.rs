//! One sender's bytes become objects, on a thread of their own.
//!
//! An object that cannot be kept is read to its end and forgotten, so that the others still come.

use std::collections::VecDeque;
use std::sync::Arc;

use forepost_cache::{Object, Uid, Whole};
use tokio::sync::{mpsc, oneshot};

use super::limits::{REFUSALS_SAID_MAX, UNSETTLED_MAX};
use super::shelf::Offered;
use super::{Kept, Named, Outcome, Refusal, Storage};
use crate::prefetch::Piece;

pub(super) struct Receiver {
    storage: Arc<Storage>,
    /// The study that the sender named.
    study: Option<Uid>,
    /// The object that is coming, or why it will not be kept.
    object: Option<Result<Object, Refusal>>,
    outcomes: Vec<Outcome>,
    /// Broken objects of which the log has heard.
    said: u32,
    /// The objects that were offered, by their place among the outcomes.
    unsettled: VecDeque<(usize, oneshot::Receiver<Result<Kept, Refusal>>)>,
}

impl Receiver {
    pub fn new(storage: Arc<Storage>, study: Option<Uid>) -> Receiver {
        let (outcomes, unsettled) = (Vec::new(), VecDeque::new());
        Receiver { storage, study, object: None, outcomes, said: 0, unsettled }
    }

    /// Takes what comes until the door ends it or breaks off; returns when all of it is settled.
    pub fn run(mut self, mut queue: mpsc::Receiver<Piece>) -> Vec<Outcome> {
        while let Some(piece) = queue.blocking_recv() {
            self.take(piece);
        }
        // One that has begun and not ended was cut off: its file goes.
        self.object = None;
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

    fn take(&mut self, piece: Piece) {
        match piece {
            Piece::Begin => {
                let begun = self.storage.cache.incoming();
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
                    Ok(whole) => self.offer(whole),
                    Err(refusal) => {
                        self.outcomes.push(Outcome { object: None, end: Err(refusal) });
                    }
                }
            }
        }
    }

    fn offer(&mut self, whole: Whole) {
        let header = &whole.header;
        let object = Named {
            study: header.study.clone(),
            series: header.series.clone(),
            sop: header.sop.clone(),
            class: header.class.clone(),
        };
        let study = object.study.clone();
        // Until the shelf says otherwise; what waits is told by nobody.
        let mut end = Err(Refusal::Failed);
        let other = self.study.as_ref().is_some_and(|named| *named != study);
        if other {
            end = Err(Refusal::OtherStudy);
        }
        self.outcomes.push(Outcome { object: Some(object), end });
        if other {
            return;
        }
        let (answer, told) = oneshot::channel();
        self.storage.offer(&study, Offered { whole, answer });
        self.unsettled.push_back((self.outcomes.len() - 1, told));
        if self.unsettled.len() >= UNSETTLED_MAX {
            self.settle_oldest();
        }
    }

    fn settle_oldest(&mut self) {
        if let Some((place, told)) = self.unsettled.pop_front() {
            self.outcomes[place].end = told.blocking_recv().unwrap_or(Err(Refusal::Failed));
        }
    }
}
