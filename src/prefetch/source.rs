//! What prefetch asks of a door: a place that may hold studies made elsewhere.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use bytes::Bytes;
use forepost_cache::Uid;
use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::ledger::Awaited;
use crate::model::{
    Doctor, FoundStudy, IdentifierKind, ListedInstance, ListedSeries, Listing, Place, Registration,
    Wanted,
};

/// What a source does, in a box because sources of several kinds stand in one list.
pub type Work<'a, T> = Pin<Box<dyn Future<Output = Result<T, Fault>> + Send + 'a>>;

/// A place that may hold studies made elsewhere.
pub trait Source: Send + Sync {
    /// The configured name.
    fn name(&self) -> &str;

    /// Studies of the patient known by these numbers, made on `since` or later. Empty when the
    /// source understands none of them.
    fn search<'a>(
        &'a self,
        registration: &'a Registration,
        since: jiff::civil::Date,
    ) -> Work<'a, Vec<FoundStudy>>;

    /// A study by its UID, whoever's it is; `None` when the source does not have it.
    fn locate<'a>(&'a self, study: &'a Uid) -> Work<'a, Option<FoundStudy>>;

    /// Whether the source understands one of the registration's identifiers.
    fn understands(&self, registration: &Registration) -> bool;

    /// By which Patient IDs it may push studies of the registration, unasked. Empty for a source
    /// that is asked.
    fn awaits(&self, _: &Registration) -> Vec<Awaited> {
        Vec::new()
    }

    /// The same source, as it is asked in the name of who reads; `None` where it does not want to
    /// know, or nothing is known that it may be told.
    fn for_reader(&self, _: &Doctor) -> Option<Arc<dyn Source>> {
        None
    }

    /// The series the place has of the study, with how many instances each has.
    fn series<'a>(&'a self, place: &'a Place, study: &'a Uid) -> Work<'a, Vec<ListedSeries>>;

    /// Instances the place has of the study. Dear where the source opens its files for the answer
    /// (Orthanc: 1.5 ms an instance), so it is asked only of what is partly here.
    fn instances<'a>(
        &'a self,
        place: &'a Place,
        study: &'a Uid,
        listing: &'a Listing,
    ) -> Work<'a, Vec<ListedInstance>>;

    /// Streams what is wanted into the lane, object by object.
    fn retrieve<'a>(
        &'a self,
        place: &'a Place,
        study: &'a Uid,
        wanted: &'a Wanted,
        lane: &'a Lane,
    ) -> Work<'a, ()>;
}

/// How a source knows patients.
#[derive(Debug, Clone)]
pub struct PatientKey {
    /// The number of the registration.
    pub kind: IdentifierKind,
    /// What is done to it.
    pub transform: Transform,
    /// What is asked for: `{}` stands for the transformed number, once.
    pub template: String,
    /// Issuer of Patient ID (0010,0021), asked for as well.
    pub issuer: Option<String>,
}

/// What is done to a number before a source sees it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Transform {
    /// Nothing.
    Plain,
    /// SHA-256 of its UTF-8, as 64 small hexadecimal digits.
    Sha256Hex,
}

/// A patient as a source knows them. Personal.
pub struct KnownAs {
    /// Patient ID (0010,0020).
    pub patient: String,
    /// Issuer of Patient ID (0010,0021), where one is configured.
    pub issuer: Option<String>,
}

impl PatientKey {
    /// The registration's patient by this key; `None` where it has no such number, or one that
    /// would find other patients (PS3.4 C.2.2.2: `*` and `?` are wildcards, `\` is a list, and some
    /// servers take a comma for one too).
    pub fn known_as(&self, registration: &Registration) -> Option<KnownAs> {
        let number = registration.identifier(self.kind)?.value();
        let known = match self.transform {
            Transform::Sha256Hex => hex::encode(digest(&SHA256, number.as_bytes())),
            Transform::Plain if number.contains(['*', '?', '\\', ',']) => return None,
            Transform::Plain => number.to_owned(),
        };
        let patient = self.template.replace("{}", &known);
        Some(KnownAs { patient, issuer: self.issuer.clone() })
    }
}

/// Where a door puts the objects that it receives; bounded, so a slow disk slows the peer.
#[derive(Clone)]
pub struct Lane {
    pieces: mpsc::Sender<(usize, Piece)>,
    number: usize,
}

/// A piece of what a source sends. An object that has begun and is not ended is dropped.
#[derive(Debug)]
pub enum Piece {
    /// An object begins; one that has not ended is dropped.
    Begin,
    /// Its next bytes.
    Bytes(Bytes),
    /// It ends.
    End,
}

impl Lane {
    /// One of several lanes to the same keeper, told apart by their numbers.
    pub fn new(pieces: mpsc::Sender<(usize, Piece)>, number: usize) -> Lane {
        Lane { pieces, number }
    }

    /// Hands a piece on, waiting while the disk is behind. Fails when the keeper has ended the
    /// fetch: the study is not the patient's, or cannot be written.
    pub async fn put(&self, piece: Piece) -> Result<(), Fault> {
        self.pieces
            .send((self.number, piece))
            .await
            .map_err(|_| Fault::ours("keeper", "the fetch was ended while it was arriving"))
    }
}
