//! Where the senders of one study meet: a thread that holds the study while objects for it wait.
//!
//! What must hold: an answer is given after the seal that made its object durable. While one batch
//! is synced the next gathers, so the number of syncs follows the disk and not the senders. The
//! thread ends as soon as nothing waits: whoever else wants the study gets it.

use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::thread;

use forepost_cache::{Arrival, CacheError, Header, Texts, Uid, Whole};
use tokio::sync::mpsc::error::SendError;
use tokio::sync::{mpsc, oneshot};

use super::limits::{SHELF_MAX, SHELF_WAITING_MAX, STUDY_LOOK, STUDY_LOOKS_MAX};
use super::{Kept, Refusal, Storage};

/// An object for a shelf, and where its fate is told.
pub(super) struct Offered {
    pub whole: Whole,
    /// By a source that pushes: it must be of the study's one patient.
    pub pushed: bool,
    pub answer: oneshot::Sender<Result<Kept, Refusal>>,
}

/// Where senders put objects of one study.
pub(super) type Queue = mpsc::Sender<Vec<Offered>>;

impl Storage {
    /// Puts objects on their study's shelf; waits while that has enough to do.
    pub(super) fn offer(self: &Arc<Self>, study: &Uid, mut offered: Vec<Offered>) {
        loop {
            let shelf = match self.shelf(study) {
                Ok(shelf) => shelf,
                Err(refusal) => {
                    for one in offered {
                        // Who offered it may have gone; nobody else asks.
                        let _ = one.answer.send(Err(refusal));
                    }
                    return;
                }
            };
            match shelf.blocking_send(offered) {
                Ok(()) => return,
                // The shelf ended between the look and the send.
                Err(SendError(back)) => offered = back,
            }
            let mut shelves = self.shelves();
            if shelves.get(study).is_some_and(|known| known.same_channel(&shelf)) {
                shelves.remove(study);
            }
        }
    }

    fn shelf(self: &Arc<Self>, study: &Uid) -> Result<Queue, Refusal> {
        match self.shelves().entry(study.clone()) {
            Entry::Occupied(known) => Ok(known.get().clone()),
            Entry::Vacant(place) => {
                let (sender, queue) = mpsc::channel(SHELF_WAITING_MAX);
                let (storage, study) = (Arc::clone(self), study.clone());
                let shelf = Shelf { storage, study, queue, arrival: None, patient: None };
                let thread = thread::Builder::new().name("storage-shelf".to_owned());
                thread.spawn(move || shelf.run()).map_err(|error| {
                    log::error!("starting a thread for a study: {error}");
                    Refusal::Failed
                })?;
                Ok(place.insert(sender).clone())
            }
        }
    }
}

struct Shelf {
    storage: Arc<Storage>,
    study: Uid,
    queue: mpsc::Receiver<Vec<Offered>>,
    arrival: Option<Arrival>,
    /// The patient of its first object.
    patient: Option<[String; 4]>,
}

impl Shelf {
    fn run(mut self) {
        while let Some(mut batch) = self.next() {
            while batch.len() < SHELF_MAX
                && let Ok(more) = self.queue.try_recv()
            {
                batch.extend(more);
            }
            self.settle(batch);
        }
    }

    /// The next objects; with none left the shelf is taken down, and `None` comes when those who
    /// still found it have been served.
    fn next(&mut self) -> Option<Vec<Offered>> {
        if let Ok(offered) = self.queue.try_recv() {
            return Some(offered);
        }
        {
            let mut shelves = self.storage.shelves();
            if let Ok(offered) = self.queue.try_recv() {
                return Some(offered);
            }
            if !self.queue.is_closed() {
                shelves.remove(&self.study);
                self.queue.close();
            }
        }
        self.queue.blocking_recv()
    }

    /// Keeps a batch, seals it, and only then tells.
    fn settle(&mut self, batch: Vec<Offered>) {
        let mut told = Vec::with_capacity(batch.len());
        let mut failed = None;
        for Offered { whole, pushed, answer } in batch {
            let end = match failed {
                Some(refusal) => Err(refusal),
                None if pushed && !self.is_of_patient(&whole.header) => Err(Refusal::OtherPatient),
                None => self.keep(whole),
            };
            if let Err(refusal) = end
                && !refusal.is_about_object()
            {
                failed = Some(refusal);
            }
            told.push((answer, end));
        }
        let sealed = match (&mut self.arrival, failed) {
            (Some(arrival), None) => arrival.seal().map(|_| ()).map_err(|e| Refusal::of(&e)),
            (_, failed) => failed.map_or(Ok(()), Err),
        };
        if sealed.is_err() {
            // What was not sealed is not kept; the next batch begins anew.
            self.arrival = None;
        }
        for (answer, end) in told {
            let end = match (end, sealed) {
                (Ok(Kept::Stored), Err(refusal)) => Err(refusal),
                (end, _) => end,
            };
            // Who offered it may have gone; the object stays.
            let _ = answer.send(end);
        }
    }

    /// Whether the object shows the patient that the study shows; what a registration took for one
    /// patient must not become another's by what is pushed later.
    fn is_of_patient(&mut self, header: &Header) -> bool {
        let said = patient(header);
        let row = || self.storage.parts.cache.row(&self.study).map(|row| patient(&row.texts));
        let known = self.patient.get_or_insert_with(|| row().unwrap_or_else(|| said.clone()));
        *known == said
    }

    fn keep(&mut self, whole: Whole) -> Result<Kept, Refusal> {
        self.try_keep(whole).unwrap_or_else(|error| Err(Refusal::of(&error)))
    }

    fn try_keep(&mut self, whole: Whole) -> Result<Result<Kept, Refusal>, CacheError> {
        let mut arrival = match self.arrival.take() {
            Some(arrival) => arrival,
            None => self.claim()?,
        };
        let sop = whole.header.sop.clone();
        let kept = if arrival.has(&sop) {
            alike(&mut arrival, &whole).map(|alike| match alike {
                true => Ok(Kept::Duplicate),
                false => Err(Refusal::Conflict),
            })
        } else {
            arrival.keep(whole).map(|_| Ok(Kept::Stored))
        };
        if matches!(kept, Ok(Err(Refusal::Conflict))) {
            let (study, sop) = (self.study.as_str(), sop.as_str());
            log::warn!(study, sop; "another object came under the UID of one that is here");
        }
        self.arrival = Some(arrival);
        kept
    }

    /// The study, as soon as nobody else holds it.
    fn claim(&self) -> Result<Arrival, CacheError> {
        for _ in 0..STUDY_LOOKS_MAX {
            match self.storage.parts.cache.arrival(&self.study) {
                Err(CacheError::Busy { .. }) => thread::sleep(STUDY_LOOK),
                claimed => return claimed,
            }
        }
        Err(CacheError::Busy { study: self.study.clone() })
    }
}

/// Number, name, birth and sex.
fn patient(texts: &Texts) -> [String; 4] {
    let Texts { patient_id, patient_name, birth_date, sex, .. } = texts;
    [patient_id, patient_name, birth_date, sex].map(String::clone)
}

/// Whether an object that is known is the same as the one that came. One of the same batch is
/// sealed first, so that there is something to compare with.
fn alike(arrival: &mut Arrival, whole: &Whole) -> Result<bool, CacheError> {
    if let Some(alike) = arrival.is_listed_alike(whole)? {
        return Ok(alike);
    }
    arrival.seal()?;
    // Sealed and not listed cannot be; it is told as another object.
    Ok(arrival.is_listed_alike(whole)?.unwrap_or(false))
}
