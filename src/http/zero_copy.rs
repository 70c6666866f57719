//! Files that leave over a plain connection without being copied: `sendfile(2)` below hyper.
//!
//! What for: a study goes out at the speed of the disk or the network, not of memory; copying is
//! most of the cost of sending an object that the kernel has in memory already.
//!
//! How: a body yields [`Bytes`] whose memory is a mapping of the file. hyper queues them without
//! looking inside and hands their addresses to the connection; [`ZeroCopy`] knows the addresses
//! and has the kernel send that range of the file instead.
//!
//! What must hold: a mapping is of the real file, so whoever copies the bytes all the same (HTTP/2,
//! another version of hyper) gets the right ones; a mapping is known to one connection, from its
//! making to its end, and lives at least as long as any `Bytes` of it.
//!
//! SIGBUS comes to who touches a mapped page that lies behind the end of its file or cannot be
//! read. Nobody touches one on this path: the kernel reads the file through its descriptor, and
//! what fails there is an error of the call. Should a copy be made, the file is an object of the
//! cache, written before it was named, and never cut short afterwards.
//!
//! Refused: `MSG_ZEROCOPY` (pins pages, tells later when they are free, copies on loopback);
//! `splice` (a pipe a connection); reading into memory, which reaches half the rate.
//! Start at [`ZeroCopy::new`] and [`Files::map`].

use std::fs::File;
use std::io::{self, IoSlice};
use std::os::fd::{AsRawFd, RawFd};
use std::pin::Pin;
use std::ptr::{self, NonNull};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite, Interest, ReadBuf};
use tokio::net::TcpStream;

/// A plain connection that sends mapped files without copying them.
pub struct ZeroCopy {
    stream: TcpStream,
    files: Files,
}

impl ZeroCopy {
    /// The connection, and what its requests map files with.
    pub fn new(stream: TcpStream) -> (ZeroCopy, Files) {
        let files = Files::default();
        (ZeroCopy { stream, files: files.clone() }, files)
    }

    fn send(&self, slices: &[IoSlice<'_>]) -> io::Result<usize> {
        let files = self.files.known();
        let mapped = slices.iter().position(|slice| files.iter().any(|one| one.holds(slice)));
        let file = match mapped {
            Some(0) => files.iter().find(|one| one.holds(&slices[0])).copied(),
            Some(_) | None => None,
        };
        drop(files);
        match (file, mapped) {
            (Some(file), _) => send_file(&self.stream, file, &slices[0]),
            // What stands before a file waits in the kernel for its first bytes.
            (None, Some(at)) => send_slices(&self.stream, &slices[..at], libc::MSG_MORE),
            (None, None) => send_slices(&self.stream, slices, 0),
        }
    }
}

/// Sends the range of the file that a slice stands for, as far as the socket takes it.
fn send_file(stream: &TcpStream, file: Range, slice: &IoSlice<'_>) -> io::Result<usize> {
    let mut offset = (slice.as_ptr() as usize - file.start) as libc::off_t;
    // SAFETY: both descriptors are open: the slice keeps its mapping alive, which owns the file's.
    // `offset` outlives the call.
    let sent =
        unsafe { libc::sendfile(stream.as_raw_fd(), file.descriptor, &mut offset, slice.len()) };
    match sent {
        // The file ends before its recorded size: the connection must not look whole.
        0 => Err(io::ErrorKind::UnexpectedEof.into()),
        1.. => Ok(sent as usize),
        _ => Err(io::Error::last_os_error()),
    }
}

fn send_slices(
    stream: &TcpStream,
    slices: &[IoSlice<'_>],
    flags: libc::c_int,
) -> io::Result<usize> {
    // SAFETY: zeroes are a message without address, data and control.
    let mut message: libc::msghdr = unsafe { std::mem::zeroed() };
    // An `IoSlice` is laid out as an `iovec` (std guarantees it), which the call only reads.
    message.msg_iov = slices.as_ptr().cast_mut().cast();
    message.msg_iovlen = slices.len();
    // SAFETY: the descriptor is open; the message names slices that outlive the call.
    let sent = unsafe { libc::sendmsg(stream.as_raw_fd(), &message, flags | libc::MSG_NOSIGNAL) };
    if sent < 0 { Err(io::Error::last_os_error()) } else { Ok(sent as usize) }
}

impl AsyncWrite for ZeroCopy {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.files.known().is_empty() {
            return Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        }
        loop {
            ready!(self.stream.poll_write_ready(cx))?;
            match self.stream.try_io(Interest::WRITABLE, || self.send(slices)) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                sent => return Poll::Ready(sent),
            }
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

impl AsyncRead for ZeroCopy {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

/// The mapped files of one connection; an extension of its requests. Requests over TLS have none,
/// and those of HTTP/2 must not use it: their bytes are copied into frames.
#[derive(Clone, Default)]
pub struct Files(Arc<Mutex<Vec<Range>>>);

impl Files {
    /// Maps the first `bytes` of a file; at least one.
    pub fn map(&self, file: File, bytes: u64) -> io::Result<Arc<Mapped>> {
        let too_long = |_| io::Error::from(io::ErrorKind::FileTooLarge);
        let bytes = usize::try_from(bytes).map_err(too_long)?;
        let (access, shared) = (libc::PROT_READ, libc::MAP_SHARED);
        // SAFETY: a new mapping where the kernel likes, of an open descriptor.
        let at = unsafe { libc::mmap(ptr::null_mut(), bytes, access, shared, file.as_raw_fd(), 0) };
        if at == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let at = NonNull::new(at.cast()).ok_or(io::ErrorKind::AddrNotAvailable)?;
        let descriptor = file.as_raw_fd();
        self.known().push(Range { start: at.as_ptr() as usize, bytes, descriptor });
        Ok(Arc::new(Mapped { at, bytes, file, files: self.clone() }))
    }

    fn known(&self) -> MutexGuard<'_, Vec<Range>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Addresses that stand for a file.
#[derive(Clone, Copy)]
struct Range {
    start: usize,
    bytes: usize,
    descriptor: RawFd,
}

impl Range {
    fn holds(&self, slice: &IoSlice<'_>) -> bool {
        (slice.as_ptr() as usize).wrapping_sub(self.start) < self.bytes && !slice.is_empty()
    }
}

/// A mapped file.
pub struct Mapped {
    at: NonNull<u8>,
    bytes: usize,
    file: File,
    files: Files,
}

// SAFETY: the mapping is read only and belongs to no thread.
unsafe impl Send for Mapped {}
// SAFETY: as above; nothing is changed through it.
unsafe impl Sync for Mapped {}

impl Mapped {
    /// The file as bytes that keep the mapping alive.
    pub fn bytes(self: &Arc<Mapped>) -> Bytes {
        Bytes::from_owner(Owner(Arc::clone(self)))
    }

    /// The file, for reading it in the ordinary way.
    pub fn file(&self) -> &File {
        &self.file
    }

    /// Whether the kernel has these bytes in memory, so that sending them waits for no disk. Pages
    /// that it cannot tell of count as absent.
    pub fn is_resident(&self, offset: usize, bytes: usize) -> bool {
        const PAGE: usize = 4_096;
        let end = offset.saturating_add(bytes).min(self.bytes);
        let from = offset.min(end) / PAGE * PAGE;
        let wanted = (end - from).div_ceil(PAGE);
        if let Some(cached) = pages_cached(&self.file, from, end - from) {
            return cached >= wanted as u64;
        }
        let mut pages = vec![0_u8; wanted];
        // SAFETY: the addresses are of the mapping, `pages` has a byte for each of its pages; on
        // machines with larger pages the call fails or writes fewer.
        let asked = unsafe {
            libc::mincore(self.at.as_ptr().add(from).cast(), end - from, pages.as_mut_ptr())
        };
        asked == 0 && pages.iter().all(|page| page & 1 == 1)
    }
}

impl Drop for Mapped {
    fn drop(&mut self) {
        let start = self.at.as_ptr() as usize;
        // Forgotten before the addresses are free for something else.
        self.files.known().retain(|one| one.start != start);
        // SAFETY: the mapping was made with this length, and nothing refers to it any more.
        unsafe { libc::munmap(self.at.as_ptr().cast(), self.bytes) };
    }
}

/// How many pages of a range of a file the kernel holds (cachestat(2), Linux 6.5). It counts runs
/// of pages where mincore(2) looks at each, which was a fifteenth of the time of an answer; a page
/// that is being read counts, too. `None`: this kernel cannot tell.
fn pages_cached(file: &File, offset: usize, bytes: usize) -> Option<u64> {
    /// The number is the same on every architecture.
    const CACHESTAT: libc::c_long = 451;
    let range = [offset as u64, bytes as u64];
    // In the cache, dirty, being written, evicted, recently evicted.
    let mut pages = [0_u64; 5];
    // SAFETY: the descriptor is open; the arrays are laid out as the call's two structures and
    // outlive it.
    let asked = unsafe {
        libc::syscall(CACHESTAT, file.as_raw_fd(), range.as_ptr(), pages.as_mut_ptr(), 0)
    };
    (asked == 0).then_some(pages[0])
}

struct Owner(Arc<Mapped>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        // SAFETY: the mapping is that long, readable, alive as long as `self`, and of a file that
        // nobody changes (an object of the cache).
        unsafe { std::slice::from_raw_parts(self.0.at.as_ptr(), self.0.bytes) }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    fn file(bytes: usize) -> (File, Vec<u8>) {
        let content: Vec<u8> = (0..bytes).map(|n| (n * 31 % 251) as u8).collect();
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(&content).unwrap();
        (file, content)
    }

    async fn pair() -> (ZeroCopy, Files, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (server, files) = ZeroCopy::new(listener.accept().await.unwrap().0);
        (server, files, client)
    }

    #[tokio::test]
    async fn text_and_files_arrive_in_order_whatever_the_socket_takes() {
        let (mut server, files, mut client) = pair().await;
        // More than any socket buffer, so that the kernel takes it in pieces.
        let (object, content) = file(12_000_000);
        let mapped = files.map(object, 12_000_000).unwrap();
        let bytes = mapped.bytes();
        drop(mapped);
        let sending = tokio::spawn(async move {
            let middle = bytes.slice(1_000..11_999_999);
            drop(bytes);
            let mut queue: Vec<Bytes> =
                vec!["head".into(), middle.clone(), "between".into(), middle, "end".into()];
            while !queue.is_empty() {
                let slices: Vec<IoSlice<'_>> = queue.iter().map(|one| IoSlice::new(one)).collect();
                let mut sent = server.write_vectored(&slices).await.unwrap();
                while sent > 0 {
                    let taken = sent.min(queue[0].len());
                    let _ = queue[0].split_to(taken);
                    sent -= taken;
                    if queue[0].is_empty() {
                        queue.remove(0);
                    }
                }
            }
            server.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        client.read_to_end(&mut got).await.unwrap();
        sending.await.unwrap();
        let middle = &content[1_000..11_999_999];
        let expected = [b"head", middle, b"between", middle, b"end"].concat();
        assert!(got == expected);
        assert!(files.known().is_empty(), "the last bytes took the mapping with them");
    }

    #[tokio::test]
    async fn a_file_that_is_too_short_is_an_error_and_no_signal() {
        let (mut server, files, _client) = pair().await;
        let (object, _) = file(100);
        let bytes = files.map(object, 1 << 20).unwrap().bytes();
        server.write_all(&bytes[..100]).await.unwrap();
        let error = server.write(&bytes.slice(8_192..9_000)).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof);
    }

    #[test]
    fn bytes_that_are_copied_all_the_same_are_those_of_the_file() {
        let files = Files::default();
        let (object, content) = file(10_000);
        let mapped = files.map(object, 10_000).unwrap();
        assert!(mapped.bytes().to_vec() == content);
        assert!(mapped.is_resident(0, 10_000) && mapped.is_resident(5_000, 4_000));
        assert!(files.map(tempfile::tempfile().unwrap(), 0).is_err(), "nothing to map");
    }

    #[tokio::test]
    async fn without_a_file_it_is_the_plain_connection() {
        let (mut server, _files, mut client) = pair().await;
        server.write_all(b"answer").await.unwrap();
        client.write_all(b"question").await.unwrap();
        let mut read = [0; 8];
        server.read_exact(&mut read).await.unwrap();
        assert_eq!(&read, b"question");
        client.read_exact(&mut read[..6]).await.unwrap();
        assert_eq!(&read[..6], b"answer");
    }
}
