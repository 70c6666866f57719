//! What takes arriving objects from the doors to the cache, on a thread of its own.
//!
//! The doors hand over bytes; here they are written, parsed, guarded once more and kept in batches.
//! The first header that contradicts every patient ends the fetch: the lanes close, which the
//! doors see at their next piece.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use forepost_cache::{Arrival, CacheError, Header, Object};
use tokio::runtime::Handle;
use tokio::sync::mpsc;

use super::choice::Rules;
use super::guard::{self, Shown};
use super::open::Fetching;
use super::source::Piece;
use crate::fault::Fault;
use crate::ledger::{Judged, Want};
use crate::model::{Link, Person};

/// The step of a fault that a full disk made.
pub(super) const DISK_FULL: &str = "disk full";

/// How long a batch may wait for more (docs/ARCHITECTURE.md, 1).
const TICK: Duration = Duration::from_millis(200);

/// The same while somebody waits for what arrives: about what a sync of one object takes.
const FOLLOWED_TICK: Duration = Duration::from_millis(2);

/// Objects of one request that may be refused before the request is.
const REFUSED_MAX: u32 = 16;

/// What an arrival came to.
#[derive(Default)]
pub(super) struct Kept {
    /// Bytes made durable by this one.
    pub bytes: u64,
    /// The guard's word on the first header, for each registration.
    pub judged: Vec<Judged>,
    /// Why the study is kept apart, when it is.
    pub apart: Option<String>,
    /// What ended it early.
    pub fault: Option<Fault>,
}

pub(super) struct Keeper {
    arrival: Arrival,
    rules: Rules,
    wants: Vec<(i64, Person)>,
    objects: HashMap<usize, Object>,
    refused: u32,
    judged: Option<Shown>,
    kept: Kept,
    fetching: Arc<Fetching>,
}

impl Keeper {
    pub fn new(arrival: Arrival, rules: &Rules, wants: &[Want], fetching: Arc<Fetching>) -> Keeper {
        Keeper {
            arrival,
            rules: rules.clone(),
            wants: wants.iter().map(|want| (want.registration, want.person.clone())).collect(),
            objects: HashMap::new(),
            refused: 0,
            judged: None,
            kept: Kept::default(),
            fetching,
        }
    }

    /// Keeps what comes until the lanes are closed, or something ends it.
    pub fn run(mut self, mut queue: mpsc::Receiver<(usize, Piece)>, runtime: &Handle) -> Kept {
        loop {
            let followed = self.fetching.followed();
            let tick = if followed { FOLLOWED_TICK } else { TICK };
            let next = match queue.try_recv() {
                Ok(piece) => Ok(Some(piece)),
                Err(_) => {
                    runtime.block_on(async { tokio::time::timeout(tick, queue.recv()).await })
                }
            };
            if followed {
                self.arrival.hurry();
            }
            let step = match next {
                Ok(Some((lane, piece))) => self.take(lane, piece),
                Ok(None) => break,
                Err(_) => {
                    self.arrival.tick();
                    Ok(())
                }
            };
            if let Err(fault) = step {
                self.kept.fault = Some(fault);
                break;
            }
            if self.kept.apart.is_some() {
                break;
            }
        }
        drop(queue);
        self.finish()
    }

    fn take(&mut self, lane: usize, piece: Piece) -> Result<(), Fault> {
        match piece {
            Piece::Begin => {
                let object = self.arrival.begin().map_err(fault_of)?;
                self.objects.insert(lane, object);
                Ok(())
            }
            Piece::Bytes(bytes) => match self.objects.get_mut(&lane) {
                Some(object) => object.write(&bytes).map_err(fault_of),
                None => Err(Fault::ours("keeper", "bytes came before an object began")),
            },
            Piece::End => match self.objects.remove(&lane) {
                Some(object) => self.keep(object),
                None => Err(Fault::ours("keeper", "an object ended before it began")),
            },
        }
    }

    fn keep(&mut self, object: Object) -> Result<(), Fault> {
        let whole = match self.arrival.complete(object) {
            Ok(whole) => whole,
            Err(error) => return self.refuse(error),
        };
        if !self.guard(&whole.header) {
            return Ok(());
        }
        self.arrival.keep(whole).map_err(fault_of)?;
        if self.fetching.followed() && self.arrival.show().map_err(fault_of)? {
            self.fetching.grew();
        }
        Ok(())
    }

    /// One broken object does not cost the others; many are the source's fault.
    fn refuse(&mut self, error: CacheError) -> Result<(), Fault> {
        if !is_about_object(&error) {
            return Err(fault_of(error));
        }
        self.refused += 1;
        metrics::counter!("objects_refused_total").increment(1);
        log::warn!(study = self.arrival.study().as_str(); "an arriving object is refused: {error}");
        if self.refused >= REFUSED_MAX {
            return Err(Fault::peer("object", format!("{REFUSED_MAX} objects refused: {error}")));
        }
        Ok(())
    }

    /// Judges the header for every registration; headers of one patient are judged once. Returns
    /// whether the object may be kept.
    fn guard(&mut self, header: &Header) -> bool {
        let shown = shown(header);
        if self.judged.as_ref() == Some(&shown) {
            return true;
        }
        let (name, code) = (&header.institution_name, &header.institution_code);
        // Who opens a study that no registration wanted knows which one.
        let own =
            !self.wants.is_empty() && self.rules.is_own(name, code, &header.issuer_of_accession);
        if own {
            self.kept.apart =
                Some("left out because the objects are this hospital's own".to_owned());
            return false;
        }
        self.kept.judged = self
            .wants
            .iter()
            .map(|(registration, person)| {
                let judgement = guard::judge(person, &shown);
                let words = format!("left out because of the objects: {}", judgement.words());
                Judged { registration: *registration, link: judgement.link(), words }
            })
            .collect();
        let judged = &self.kept.judged;
        if let Some(first) = judged.first()
            && judged.iter().all(|one| one.link == Link::Apart)
        {
            self.kept.apart = Some(first.words.clone());
            return false;
        }
        self.judged = Some(shown);
        true
    }

    fn finish(mut self) -> Kept {
        self.objects.clear();
        if self.kept.apart.is_some() {
            if let Err(error) = self.arrival.abandon() {
                log::error!("removing a study that is kept apart: {error}");
            }
            return self.kept;
        }
        match self.arrival.seal() {
            Ok(sealed) => self.kept.bytes = sealed.bytes,
            Err(error) => {
                self.kept.fault.get_or_insert(fault_of(error));
            }
        }
        self.kept
    }
}

/// What an object's header shows of its patient.
fn shown(header: &Header) -> Shown {
    Shown {
        name: header.patient_name.clone(),
        sex: header.sex.clone(),
        birth_date: header.birth_date.clone(),
        age: header.age.clone(),
        study_date: header.study_date.clone(),
    }
}

/// Whether the object is at fault, and not the disk or ourselves.
fn is_about_object(error: &CacheError) -> bool {
    matches!(
        error,
        CacheError::NotDicom { .. }
            | CacheError::WrongStudy { .. }
            | CacheError::Truncated { .. }
            | CacheError::TooLarge { .. }
    )
}

/// What the cache's error means for the fetch.
pub(super) fn fault_of(error: CacheError) -> Fault {
    match error {
        CacheError::DiskFull { .. } => Fault::ours(DISK_FULL, error.to_string()),
        _ => Fault::ours("cache", error.to_string()),
    }
}
