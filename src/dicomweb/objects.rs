//! The body of a WADO-RS answer: Part 10 files, one after the other, or ranges of one (PS3.18
//! 10.4.3, 8.6.1.2).
//!
//! What must hold: the bytes are those of the files; an object that is missing, short or
//! unreadable ends the body with an error, so that the connection is cut and never looks whole;
//! memory is bounded whatever the study; no thread of the runtime waits for a disk. So objects are
//! opened on threads that may wait, the next while the one before is sent, and a piece is sent at
//! once only where the kernel has it already.
//!
//! Over a plain connection a piece is a range of the mapped file, which the kernel sends by itself
//! (`http::ZeroCopy`); elsewhere it is read into memory.

use std::collections::VecDeque;
use std::fs::File;
use std::iter;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use forepost_cache::{Instance, Study, Uid};
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::frames::{self, Pieces};
use super::limits::{MAPPED_PIECE_BYTES, PIECE_BYTES};
use super::reply::DicomwebError;
use crate::http::{Files, Mapped};

/// What is sent: instances of a study, by their places in it.
pub(super) struct Selection {
    /// The snapshot that they are part of.
    pub(super) study: Arc<Study>,
    /// Places in its list of instances, in the order of sending; never empty.
    pub(super) places: Vec<u32>,
    /// What of them.
    pub(super) content: Content,
    /// What maps files for the connection, if it can send them without copying.
    pub(super) files: Option<Files>,
}

/// What of the instances is sent.
pub(super) enum Content {
    /// Their objects, each a part.
    Objects,
    /// Parts of the only one's.
    Pieces {
        /// What the head of each part says that it is.
        media: String,
        /// Where they lie.
        pieces: Pieces,
    },
}

impl Selection {
    /// The instances, in order.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.places.iter().map(|place| self.at(*place))
    }

    fn at(&self, place: u32) -> &Instance {
        &self.study.instances()[place as usize]
    }

    /// Parts in all.
    fn parts(&self) -> usize {
        match &self.content {
            Content::Objects => self.places.len(),
            Content::Pieces { pieces, .. } => pieces.count(),
        }
    }

    /// The instance whose file holds a part.
    fn instance(&self, part: usize) -> &Instance {
        match &self.content {
            Content::Objects => self.at(self.places[part]),
            Content::Pieces { .. } => self.at(self.places[0]),
        }
    }

    /// Where in that file.
    fn ranges(&self, part: usize) -> Vec<Range<u64>> {
        match &self.content {
            Content::Objects => iter::once(0..self.instance(part).bytes).collect(),
            Content::Pieces { pieces, .. } => pieces.ranges(part),
        }
    }

    /// Bytes of a part.
    fn bytes(&self, part: usize) -> u64 {
        match &self.content {
            Content::Objects => self.instance(part).bytes,
            Content::Pieces { pieces, .. } => frames::bytes(&pieces.ranges(part)),
        }
    }
}

/// The text between the parts of a multipart (RFC 2046, 5.1.1).
pub(super) struct Boundary {
    /// The boundary itself.
    pub(super) text: String,
    /// Which part of the answer this body is.
    pub(super) extent: Extent,
}

/// Which part of an answer a body is: of a study that is still arriving, one is sent after another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extent {
    /// The first.
    pub(super) opens: bool,
    /// The last.
    pub(super) closes: bool,
}

impl Extent {
    /// All of it.
    pub(super) const WHOLE: Extent = Extent { opens: true, closes: true };
}

impl Boundary {
    /// What stands before a part.
    fn before(&self, selection: &Selection, part: usize) -> String {
        let between = if part == 0 && self.extent.opens { "" } else { "\r\n" };
        let boundary = &self.text;
        let (media, syntax) = match &selection.content {
            Content::Objects => {
                let syntax = &*selection.instance(part).transfer_syntax;
                ("application/dicom; transfer-syntax=", syntax)
            }
            Content::Pieces { media, .. } => (&**media, ""),
        };
        let length = selection.bytes(part);
        format!(
            "{between}--{boundary}\r\nContent-Type: {media}{syntax}\r\n\
             Content-Length: {length}\r\n\r\n"
        )
    }

    /// What stands behind the last part.
    fn end(&self) -> String {
        if self.extent.closes { closing(&self.text) } else { String::new() }
    }

    /// Bytes of a whole body.
    fn total(&self, selection: &Selection) -> u64 {
        let part = |n: usize| self.before(selection, n).len() as u64 + selection.bytes(n);
        (0..selection.parts()).map(part).sum::<u64>() + self.end().len() as u64
    }
}

/// What ends a multipart.
pub(super) fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// The part that is sent next.
enum Next {
    /// It is open.
    Open(Part),
    /// A thread that may wait opens it.
    Opening(JoinHandle<Result<Part, DicomwebError>>),
}

/// The body.
pub(super) struct Objects {
    selection: Arc<Selection>,
    boundary: Option<Boundary>,
    /// Parts sent or being sent.
    begun: usize,
    /// The one being sent.
    part: Option<Part>,
    /// The one behind it.
    next: Option<Next>,
    /// A piece of the part being read where the kernel did not have it.
    piece: Option<JoinHandle<Result<(Part, Bytes), DicomwebError>>>,
    /// Text between parts.
    framing: VecDeque<Bytes>,
    left: u64,
    ended: bool,
}

impl Objects {
    /// The body of these instances; without a boundary, of one part alone. The first object is
    /// open, so that what is missing is known before anything is sent.
    pub(super) fn new(selection: Selection, boundary: Option<Boundary>, first: Part) -> Objects {
        let left = match &boundary {
            Some(boundary) => boundary.total(&selection),
            None => (0..selection.parts()).map(|part| selection.bytes(part)).sum(),
        };
        let mut objects = Objects {
            selection: Arc::new(selection),
            boundary,
            begun: 0,
            part: None,
            next: None,
            piece: None,
            framing: VecDeque::new(),
            left,
            ended: false,
        };
        objects.begin(first);
        objects
    }

    /// The same, opening the first object here. May wait for the disk.
    pub(super) fn open(
        selection: Selection,
        boundary: Option<Boundary>,
    ) -> Result<Objects, DicomwebError> {
        let first = Part::open(&selection, 0)?;
        Ok(Objects::new(selection, boundary, first))
    }

    /// Bytes of the whole body, as long as none was sent.
    pub(super) fn bytes(&self) -> u64 {
        self.left
    }

    fn begin(&mut self, part: Part) {
        if let Some(boundary) = &self.boundary {
            self.framing.push_back(boundary.before(&self.selection, self.begun).into());
        }
        self.part = Some(part);
        self.begun += 1;
    }

    /// Opens the object of the next part, if there is one and it is not asked for yet.
    fn look_ahead(&mut self) -> Result<(), DicomwebError> {
        if self.next.is_some() || self.begun >= self.selection.parts() {
            return Ok(());
        }
        self.next = Some(match Part::open_at_once(&self.selection, self.begun)? {
            Some(part) => Next::Open(part),
            None => {
                let (selection, place) = (Arc::clone(&self.selection), self.begun);
                Next::Opening(spawn_blocking(move || Part::open(&selection, place)))
            }
        });
        Ok(())
    }

    fn poll_bytes(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Bytes, DicomwebError>>> {
        loop {
            if let Some(text) = self.framing.pop_front() {
                return Poll::Ready(Some(Ok(text)));
            }
            if let Some(piece) = &mut self.piece {
                let read = ready!(Pin::new(piece).poll(cx));
                self.piece = None;
                let (part, bytes) = read.map_err(|_| DicomwebError::Panicked)??;
                self.part = Some(part);
                return Poll::Ready(Some(Ok(bytes)));
            }
            self.look_ahead()?;
            if let Some(mut part) = self.part.take() {
                if !part.goes_on() {
                    continue;
                }
                if let Some(bytes) = part.at_once() {
                    self.part = Some(part);
                    return Poll::Ready(Some(Ok(bytes)));
                }
                self.piece = Some(spawn_blocking(move || {
                    let bytes = part.wait()?;
                    Ok((part, bytes))
                }));
                continue;
            }
            let opened = match &mut self.next {
                Some(Next::Opening(opening)) => {
                    ready!(Pin::new(opening).poll(cx)).map_err(|_| DicomwebError::Panicked)??
                }
                Some(Next::Open(_)) | None => match self.next.take() {
                    Some(Next::Open(mut part)) => {
                        // As long ago as the object before it took to leave.
                        part.known = false;
                        part
                    }
                    Some(Next::Opening(_)) | None => {
                        if std::mem::replace(&mut self.ended, true) {
                            return Poll::Ready(None);
                        }
                        let end = self.boundary.as_ref().map(|one| Bytes::from(one.end()));
                        self.framing.extend(end);
                        continue;
                    }
                },
            };
            self.next = None;
            self.begin(opened);
        }
    }
}

impl Body for Objects {
    type Data = Bytes;
    type Error = DicomwebError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, DicomwebError>>> {
        if self.left == 0 {
            return Poll::Ready(None);
        }
        let polled = ready!(self.poll_bytes(cx));
        if let Some(Ok(bytes)) = &polled {
            self.left = self.left.saturating_sub(bytes.len() as u64);
            metrics::counter!("dicomweb_bytes_total").increment(bytes.len() as u64);
        }
        if let Some(Err(error)) = &polled {
            let study = self.selection.study.row().study.as_str();
            log::error!(study, error:?; "sending objects stopped, the connection is cut");
            self.left = 0;
        }
        Poll::Ready(polled.map(|result| result.map(Frame::data)))
    }

    fn is_end_stream(&self) -> bool {
        self.left == 0
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.left)
    }
}

/// A part of an open object, with what of it was not sent yet.
pub(super) struct Part {
    source: Source,
    sop: Uid,
    /// The range being sent: where, and bytes that are left of it.
    offset: u64,
    left: u64,
    /// The ranges behind it.
    behind: std::vec::IntoIter<Range<u64>>,
    /// The kernel was just asked about the next piece and has it in memory.
    known: bool,
}

/// Where the pieces of an object come from.
enum Source {
    /// Read into memory.
    Read(File),
    /// Ranges of the mapped file, with the mapping as bytes.
    Mapped(Arc<Mapped>, Bytes),
}

impl Part {
    /// Opens the object of a part of the selection and has the kernel begin to read it. Waits for
    /// the disk.
    pub(super) fn open(selection: &Selection, place: usize) -> Result<Part, DicomwebError> {
        let file = selection.study.object(selection.instance(place))?;
        let part = Part::of(selection, place, file)?;
        let end = part.behind.as_slice().last().map_or(part.offset + part.left, |last| last.end);
        let (from, bytes) = (part.offset as libc::off_t, (end - part.offset) as libc::off_t);
        let (file, advice) = (part.file().as_raw_fd(), libc::POSIX_FADV_WILLNEED);
        // SAFETY: the descriptor is open; the call takes no pointer.
        unsafe { libc::posix_fadvise(file, from, bytes, advice) };
        Ok(part)
    }

    /// The same, if the kernel has the file and its first piece in memory.
    pub(super) fn open_at_once(
        selection: &Selection,
        place: usize,
    ) -> Result<Option<Part>, DicomwebError> {
        let instance = selection.instance(place);
        let Some(file) = selection.study.object_at_once(instance)? else { return Ok(None) };
        let mut part = Part::of(selection, place, file)?;
        part.known = match &part.source {
            Source::Read(_) => true,
            Source::Mapped(mapped, _) => {
                mapped.is_resident(part.offset as usize, part.piece_bytes())
            }
        };
        Ok(part.known.then_some(part))
    }

    fn of(selection: &Selection, place: usize, file: File) -> Result<Part, DicomwebError> {
        let instance = selection.instance(place);
        let failed = |source| DicomwebError::Read { sop: instance.sop.to_string(), source };
        let source = match &selection.files {
            None => Source::Read(file),
            Some(files) => {
                let mapped = files.map(file, instance.bytes).map_err(failed)?;
                let bytes = mapped.bytes();
                Source::Mapped(mapped, bytes)
            }
        };
        let (sop, behind) = (instance.sop.clone(), selection.ranges(place).into_iter());
        let mut part = Part { source, sop, offset: 0, left: 0, behind, known: false };
        part.goes_on();
        Ok(part)
    }

    /// Goes to the next range where one is sent; `false`: everything is.
    fn goes_on(&mut self) -> bool {
        while self.left == 0 {
            let Some(range) = self.behind.next() else { return false };
            (self.offset, self.left) = (range.start, range.end - range.start);
        }
        true
    }

    fn file(&self) -> &File {
        match &self.source {
            Source::Read(file) => file,
            Source::Mapped(mapped, _) => mapped.file(),
        }
    }

    /// The next piece, if the kernel has it in memory.
    fn at_once(&mut self) -> Option<Bytes> {
        let wanted = self.piece_bytes();
        // Asking costs as much as a seventh of a small answer's time to its first byte.
        let known = std::mem::take(&mut self.known);
        let piece = match &self.source {
            Source::Read(file) => read_at_once(file, self.offset, wanted)?,
            Source::Mapped(mapped, bytes) => {
                let from = self.offset as usize;
                if !known && !mapped.is_resident(from, wanted) {
                    return None;
                }
                bytes.slice(from..from + wanted)
            }
        };
        Some(self.took(piece))
    }

    /// The next piece. Waits for the disk.
    fn wait(&mut self) -> Result<Bytes, DicomwebError> {
        let wanted = self.piece_bytes();
        let failed = |source| DicomwebError::Read { sop: self.sop.to_string(), source };
        let piece = match &self.source {
            Source::Read(file) => {
                let mut piece = vec![0; wanted];
                file.read_exact_at(&mut piece, self.offset).map_err(failed)?;
                piece.into()
            }
            Source::Mapped(mapped, bytes) => {
                // Read for the kernel's sake: what cannot be read fails here, and what was read
                // is sent from its memory.
                let mut scratch = vec![0; PIECE_BYTES.min(wanted)];
                for at in (0..wanted).step_by(scratch.len()) {
                    let bytes = scratch.len().min(wanted - at);
                    let offset = self.offset + at as u64;
                    mapped.file().read_exact_at(&mut scratch[..bytes], offset).map_err(failed)?;
                }
                let from = self.offset as usize;
                bytes.slice(from..from + wanted)
            }
        };
        Ok(self.took(piece))
    }

    fn piece_bytes(&self) -> usize {
        let most = match &self.source {
            Source::Read(_) => PIECE_BYTES,
            Source::Mapped(..) => MAPPED_PIECE_BYTES,
        };
        usize::try_from(self.left).unwrap_or(most).min(most)
    }

    fn took(&mut self, piece: Bytes) -> Bytes {
        self.offset += piece.len() as u64;
        self.left -= piece.len() as u64;
        piece
    }
}

/// Reads what the kernel has in memory, up to `wanted` bytes. `None`: it has nothing there, or
/// cannot tell, or the file was cut short; a thread that may wait finds out which.
fn read_at_once(file: &File, offset: u64, wanted: usize) -> Option<Bytes> {
    let mut piece: Vec<u8> = Vec::with_capacity(wanted);
    let room = libc::iovec { iov_base: piece.as_mut_ptr().cast(), iov_len: wanted };
    let (file, offset) = (file.as_raw_fd(), offset as libc::off_t);
    // SAFETY: `room` names memory of `piece`, whose capacity is at least that.
    let read = unsafe { libc::preadv2(file, &room, 1, offset, libc::RWF_NOWAIT) };
    let read = usize::try_from(read).ok().filter(|read| *read > 0)?;
    // SAFETY: the kernel has written that many bytes, which is at most the capacity.
    unsafe { piece.set_len(read) };
    Some(piece.into())
}
