//! A multipart body (RFC 2046, 5.1), however it is cut: its parts are the same.
#![no_main]

use bytes::Bytes;
use forepost::codec::multipart::{Event, Reader};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: (u8, &[u8])| {
    let (size, body) = input;
    let whole = parts(body, body.len().max(1));
    let cut = parts(body, usize::from(size).max(1));
    assert_eq!(whole, cut);
});

/// What the reader gives of a body that comes in pieces of `size` bytes: its whole parts, and
/// whether it ended as it should.
fn parts(body: &[u8], size: usize) -> (Vec<Vec<u8>>, bool) {
    let mut reader = Reader::new("b").expect("a boundary");
    let (mut parts, mut part) = (Vec::new(), Vec::new());
    for chunk in body.chunks(size) {
        reader.feed(Bytes::copy_from_slice(chunk));
        loop {
            match reader.event() {
                Ok(None) => break,
                Ok(Some(Event::PartStart { .. })) => part.clear(),
                Ok(Some(Event::Data(bytes))) => part.extend_from_slice(&bytes),
                Ok(Some(Event::PartEnd)) => parts.push(std::mem::take(&mut part)),
                Ok(Some(Event::Finished)) => return (parts, true),
                Err(_) => return (parts, false),
            }
        }
    }
    (parts, reader.end().is_ok())
}
