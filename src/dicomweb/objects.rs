//! The body of a WADO-RS answer: Part 10 files, one after the other (PS3.18 10.4.3, 8.6.1.2).
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
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use forepost_cache::{Instance, Study, Uid};
use hyper::body::{Body, Frame, SizeHint};
use tokio::task::{JoinHandle, spawn_blocking};

use super::limits::{MAPPED_PIECE_BYTES, PIECE_BYTES};
use super::reply::DicomwebError;
use crate::http::{Files, Mapped};

/// What is sent: instances of a study, by their places in it.
pub(super) struct Selection {
    /// The snapshot that they are part of.
    pub(super) study: Arc<Study>,
    /// Places in its list of instances, in the order of sending; never empty.
    pub(super) places: Vec<u32>,
    /// What maps files for the connection, if it can send them without copying.
    pub(super) files: Option<Files>,
}

impl Selection {
    /// The instances, in order.
    pub(super) fn instances(&self) -> impl Iterator<Item = &Instance> {
        self.places.iter().map(|place| self.at(*place))
    }

    fn at(&self, place: u32) -> &Instance {
        &self.study.instances()[place as usize]
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
    /// What stands before an object.
    fn before(&self, first: bool, instance: &Instance) -> String {
        format!(
            "{}--{}\r\nContent-Type: application/dicom; transfer-syntax={}\r\n\
             Content-Length: {}\r\n\r\n",
            if first && self.extent.opens { "" } else { "\r\n" },
            self.text,
            instance.transfer_syntax,
            instance.bytes
        )
    }

    /// What stands behind the last object.
    fn end(&self) -> String {
        if self.extent.closes { closing(&self.text) } else { String::new() }
    }

    /// Bytes of a whole body.
    fn total(&self, selection: &Selection) -> u64 {
        let parts = selection
            .instances()
            .enumerate()
            .map(|(n, instance)| self.before(n == 0, instance).len() as u64 + instance.bytes);
        parts.sum::<u64>() + self.end().len() as u64
    }
}

/// What ends a multipart.
pub(super) fn closing(boundary: &str) -> String {
    format!("\r\n--{boundary}--\r\n")
}

/// The object that is sent next.
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
    /// Places sent or being sent.
    begun: usize,
    /// The object being sent.
    part: Option<Part>,
    /// The object behind it.
    next: Option<Next>,
    /// A piece of the object being read where the kernel did not have it.
    piece: Option<JoinHandle<Result<(Part, Bytes), DicomwebError>>>,
    /// Text between parts.
    framing: VecDeque<Bytes>,
    left: u64,
    ended: bool,
}

impl Objects {
    /// The body of these instances; without a boundary, of one instance alone. Its first object
    /// is open, so that what is missing is known before anything is sent.
    pub(super) fn new(selection: Selection, boundary: Option<Boundary>, first: Part) -> Objects {
        let left = match &boundary {
            Some(boundary) => boundary.total(&selection),
            None => selection.instances().map(|instance| instance.bytes).sum(),
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
            let instance = self.selection.at(self.selection.places[self.begun]);
            self.framing.push_back(boundary.before(self.begun == 0, instance).into());
        }
        self.part = Some(part);
        self.begun += 1;
    }

    /// Opens the next object, if there is one and it is not asked for yet.
    fn look_ahead(&mut self) -> Result<(), DicomwebError> {
        if self.next.is_some() || self.begun >= self.selection.places.len() {
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
                if part.left == 0 {
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

/// An open object, with what of it was not sent yet.
pub(super) struct Part {
    source: Source,
    sop: Uid,
    offset: u64,
    left: u64,
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
    /// Opens the object at a place of the selection and has the kernel begin to read it. Waits
    /// for the disk.
    pub(super) fn open(selection: &Selection, place: usize) -> Result<Part, DicomwebError> {
        let instance = selection.at(selection.places[place]);
        let part = Part::of(selection, instance, selection.study.object(instance)?)?;
        // SAFETY: the descriptor is open; the call takes no pointer.
        unsafe { libc::posix_fadvise(part.file().as_raw_fd(), 0, 0, libc::POSIX_FADV_WILLNEED) };
        Ok(part)
    }

    /// The same, if the kernel has the file and its first piece in memory.
    pub(super) fn open_at_once(
        selection: &Selection,
        place: usize,
    ) -> Result<Option<Part>, DicomwebError> {
        let instance = selection.at(selection.places[place]);
        let Some(file) = selection.study.object_at_once(instance)? else { return Ok(None) };
        let mut part = Part::of(selection, instance, file)?;
        part.known = match &part.source {
            Source::Read(_) => true,
            Source::Mapped(mapped, _) => mapped.is_resident(0, part.piece_bytes()),
        };
        Ok(part.known.then_some(part))
    }

    fn of(selection: &Selection, instance: &Instance, file: File) -> Result<Part, DicomwebError> {
        let failed = |source| DicomwebError::Read { sop: instance.sop.to_string(), source };
        let source = match &selection.files {
            None => Source::Read(file),
            Some(files) => {
                let mapped = files.map(file, instance.bytes).map_err(failed)?;
                let bytes = mapped.bytes();
                Source::Mapped(mapped, bytes)
            }
        };
        Ok(Part {
            source,
            sop: instance.sop.clone(),
            offset: 0,
            left: instance.bytes,
            known: false,
        })
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
