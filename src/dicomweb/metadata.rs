//! The body of a metadata answer (PS3.18 10.4.1.1.2): the DICOM JSON of instances as the cache
//! keeps it, copied and not parsed; bulk data are named in full (PS3.18 F.2.6).
//!
//! What must hold: a record that cannot be read ends the body with an error before its array is
//! closed. One piece is sent while the next is read; a piece that holds everything leaves with
//! its length.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::json;
use super::limits::METADATA_PIECE_BYTES;
use super::objects::{Extent, Selection};
use super::reply::DicomwebError;

/// The body.
pub(super) struct Metadata {
    selection: Arc<Selection>,
    extent: Extent,
    base: Arc<str>,
    ready: Option<Piece>,
    next: Option<JoinHandle<Result<Piece, DicomwebError>>>,
}

/// Part of the array.
struct Piece {
    text: Bytes,
    /// The first place behind it; `None`: it is the last.
    next: Option<usize>,
}

impl Metadata {
    /// The body of these instances, its first piece read. URLs begin with `base`. May wait for the
    /// disk.
    pub(super) fn open(
        selection: Selection,
        base: &str,
        extent: Extent,
    ) -> Result<Metadata, DicomwebError> {
        let first = Piece::read(&selection, base, 0, extent)?;
        let (selection, base) = (Arc::new(selection), base.into());
        Ok(Metadata { selection, extent, base, ready: Some(first), next: None })
    }
}

impl Piece {
    /// Reads from a place on until the piece is full. Waits for the disk.
    fn read(
        selection: &Selection,
        base: &str,
        from: usize,
        extent: Extent,
    ) -> Result<Piece, DicomwebError> {
        let study = &selection.study.row().study;
        let (mut text, mut object) = (Vec::with_capacity(8 << 10), Vec::new());
        let mut next = None;
        for (n, instance) in selection.instances().enumerate().skip(from) {
            if text.len() >= METADATA_PIECE_BYTES {
                next = Some(n);
                break;
            }
            text.push(if n == 0 && extent.opens { b'[' } else { b',' });
            object.clear();
            selection.study.append_metadata(instance, &mut object)?;
            json::copy_with_bulk(&object, &json::instance_url(base, study, instance), &mut text);
        }
        if next.is_none() && extent.closes {
            text.push(b']');
        }
        Ok(Piece { text: text.into(), next })
    }
}

impl Body for Metadata {
    type Data = Bytes;
    type Error = DicomwebError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DicomwebError>>> {
        if let Some(next) = &mut self.next {
            let read = ready!(Pin::new(next).poll(cx));
            self.next = None;
            match read.map_err(|_| DicomwebError::Panicked).and_then(|read| read) {
                Ok(piece) => self.ready = Some(piece),
                Err(error) => {
                    let study = self.selection.study.row().study.as_str();
                    log::error!(study, error:?; "metadata stopped, the connection is cut");
                    return Poll::Ready(Some(Err(error)));
                }
            }
        }
        let Some(piece) = self.ready.take() else { return Poll::Ready(None) };
        if let Some(from) = piece.next {
            let (selection, base) = (Arc::clone(&self.selection), Arc::clone(&self.base));
            let extent = self.extent;
            self.next = Some(spawn_blocking(move || Piece::read(&selection, &base, from, extent)));
        }
        metrics::counter!("dicomweb_bytes_total").increment(piece.text.len() as u64);
        Poll::Ready(Some(Ok(Frame::data(piece.text))))
    }

    fn is_end_stream(&self) -> bool {
        self.ready.is_none() && self.next.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        match &self.ready {
            Some(piece) if piece.next.is_none() => SizeHint::with_exact(piece.text.len() as u64),
            Some(piece) => {
                let mut hint = SizeHint::new();
                hint.set_lower(piece.text.len() as u64);
                hint
            }
            None => SizeHint::default(),
        }
    }
}
