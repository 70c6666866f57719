//! What prefetch asks of a door: a place that may hold studies made elsewhere.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;
use forepost_cache::Uid;
use tokio::sync::mpsc;

use crate::fault::Fault;
use crate::model::{
    FoundStudy, ListedInstance, ListedSeries, Listing, Place, Registration, Wanted,
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
