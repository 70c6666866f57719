//! The answer about a study that is still arriving.
//!
//! What must hold: it goes on as instances are listed and ends when the study is whole; where the
//! fetch breaks off, the connection is cut; every instance is sent once. It reads the cache alone,
//! so a slow reader holds up nobody.

use std::collections::HashSet;
use std::sync::Arc;

use axum::body::Body;
use bytes::Bytes;
use forepost_cache::{Study, Uid};
use futures_util::stream;
use http_body_util::BodyExt;

use super::accept::Syntaxes;
use super::limits::FIRST_WAIT;
use super::metadata::Metadata;
use super::objects::{Boundary, Content, Extent, Selection, closing};
use super::reply::DicomwebError;
use super::target::{Level, Scope};
use super::{check_syntaxes, open_objects, waiting};
use crate::fault::Blame;
use crate::http::Files;
use crate::prefetch::{Ended, Opening};

/// What is sent of every instance.
pub(super) enum What {
    /// The object, in a multipart.
    Objects {
        /// The text between the parts.
        boundary: String,
        /// What the reader takes.
        syntaxes: Syntaxes,
        /// What maps files for the connection.
        files: Option<Files>,
    },
    /// Its DICOM JSON, in an array.
    Metadata {
        /// What URLs begin with.
        base: String,
    },
}

/// An answer that follows a study.
pub(super) struct Follow {
    opening: Opening,
    scope: Scope,
    what: What,
    sent: HashSet<Uid>,
    known: usize,
    piece: Option<Body>,
    ended: bool,
}

impl Follow {
    /// Follows what is opened; the answer is of the instances in `scope`.
    pub(super) fn new(opening: Opening, scope: Scope, what: What) -> Follow {
        let sent = HashSet::new();
        Follow { opening, scope, what, sent, known: 0, piece: None, ended: false }
    }

    /// Waits for the first instance; the body then begins with it.
    pub(super) async fn body(mut self) -> Result<Body, DicomwebError> {
        let first = tokio::time::timeout(FIRST_WAIT, self.next_piece()).await;
        let Some(piece) = first.map_err(|_| DicomwebError::NotYet)?? else {
            let level = if self.scope.series.is_some() { Level::Series } else { Level::Study };
            return Err(DicomwebError::NotHere { level: level.name() });
        };
        self.piece = Some(piece);
        Ok(Body::from_stream(stream::unfold(self, |mut follow| async move {
            let bytes = follow.next_bytes().await?;
            if let Err(error) = &bytes {
                let study = follow.scope.study.as_str();
                log::error!(study, error:?; "a study broke off, the connection is cut");
                follow.ended = true;
            }
            Some((bytes, follow))
        })))
    }

    async fn next_bytes(&mut self) -> Option<Result<Bytes, DicomwebError>> {
        while !self.ended {
            if let Some(piece) = &mut self.piece {
                match piece.frame().await {
                    Some(Ok(frame)) => match frame.into_data() {
                        Ok(bytes) => return Some(Ok(bytes)),
                        Err(_) => continue,
                    },
                    Some(Err(error)) => {
                        let fault = error.to_string();
                        let blame = Blame::Ours;
                        return Some(Err(DicomwebError::Interrupted { fault, blame }));
                    }
                    None => self.piece = None,
                }
            }
            match self.next_piece().await {
                Ok(Some(piece)) => self.piece = Some(piece),
                Ok(None) => {
                    self.ended = true;
                    return Some(Ok(self.closing()));
                }
                Err(error) => return Some(Err(error)),
            }
        }
        None
    }

    /// What was listed since the last one; `None` when the study is whole.
    async fn next_piece(&mut self) -> Result<Option<Body>, DicomwebError> {
        loop {
            let study = match self.opening.more(self.known).await {
                Ok(study) => study,
                Err(Ended::Whole) => return Ok(None),
                Err(Ended::Absent) if self.known == 0 => return Ok(None),
                Err(Ended::Absent) => {
                    let fault = "it is not to be shown".to_owned();
                    return Err(DicomwebError::Interrupted { fault, blame: Blame::Peer });
                }
                Err(Ended::Broken { fault, blame }) => {
                    return Err(DicomwebError::Interrupted { fault, blame });
                }
            };
            self.known = study.instances().len();
            let opens = self.sent.is_empty();
            let places = self.new_places(&study);
            if !places.is_empty() {
                return self
                    .piece_of(study, places, Extent { opens, closes: false })
                    .await
                    .map(Some);
            }
        }
    }

    fn new_places(&mut self, study: &Study) -> Vec<u32> {
        let mut places = Vec::new();
        for (place, one) in (0..).zip(study.instances()) {
            let inside = self.scope.series.as_ref().is_none_or(|series| one.series == *series);
            if inside && self.sent.insert(one.sop.clone()) {
                places.push(place);
            }
        }
        places
    }

    async fn piece_of(
        &mut self,
        study: Arc<Study>,
        places: Vec<u32>,
        extent: Extent,
    ) -> Result<Body, DicomwebError> {
        match &self.what {
            What::Objects { boundary, syntaxes, files } => {
                let selection =
                    Selection { study, places, files: files.clone(), content: Content::Objects };
                check_syntaxes(&selection, syntaxes)?;
                let boundary = Boundary { text: boundary.clone(), extent };
                Ok(Body::new(open_objects(selection, Some(boundary)).await?))
            }
            What::Metadata { base } => {
                let (base, content) = (base.clone(), Content::Objects);
                let selection = Selection { study, places, files: None, content };
                let open = move || Metadata::open(selection, &base, extent);
                Ok(Body::new(waiting(open).await?))
            }
        }
    }

    fn closing(&self) -> Bytes {
        match &self.what {
            What::Objects { boundary, .. } => closing(boundary).into(),
            What::Metadata { .. } => Bytes::from_static(b"]"),
        }
    }
}
