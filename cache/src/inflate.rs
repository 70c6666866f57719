//! Inflating (RFC 1951) of deflated data sets (PS3.5 §A.5), one pass, bounded memory.
//!
//! The whole stream is run through to know that it is whole and how long the data set is; only
//! its beginning is kept.

use std::io::{self, Read};

use flate2::{Decompress, FlushDecompress, Status};

use crate::limits::INFLATED_BYTES_MAX;

/// Bytes read, and bytes inflated, at a time.
const STEP_BYTES: usize = 32 << 10;

/// What inflating gave.
pub(crate) struct Inflated {
    /// The beginning, up to the limit asked for.
    pub(crate) head: Vec<u8>,
    /// Bytes of the whole data set.
    pub(crate) bytes: u64,
}

/// Why a stream could not be inflated.
#[derive(Debug)]
pub(crate) enum InflateError {
    /// The input ended first.
    CutOff,
    /// The bits are not a deflate stream.
    Broken,
    /// More than [`INFLATED_BYTES_MAX`].
    TooLarge,
    /// Reading failed.
    Io(io::Error),
}

/// Runs through a deflate stream, keeping its first `head_max` bytes.
pub(crate) fn inflate(mut input: impl Read, head_max: usize) -> Result<Inflated, InflateError> {
    let mut stream = Decompress::new(false);
    let (mut packed, mut plain) = (vec![0; STEP_BYTES], vec![0; STEP_BYTES]);
    let (mut from, mut to) = (0, 0);
    let mut head = Vec::new();
    loop {
        if from == to {
            (from, to) = (0, input.read(&mut packed).map_err(InflateError::Io)?);
        }
        let (taken, made) = (stream.total_in(), stream.total_out());
        let status = stream
            .decompress(&packed[from..to], &mut plain, FlushDecompress::None)
            .map_err(|_| InflateError::Broken)?;
        from += (stream.total_in() - taken) as usize;
        let made = (stream.total_out() - made) as usize;
        let room = head_max - head.len();
        head.extend_from_slice(&plain[..made.min(room)]);
        if stream.total_out() > INFLATED_BYTES_MAX {
            return Err(InflateError::TooLarge);
        }
        if status == Status::StreamEnd {
            return Ok(Inflated { head, bytes: stream.total_out() });
        }
        if to == 0 && made == 0 {
            return Err(InflateError::CutOff);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fixed_block_a_stored_block_and_every_cut_of_them() {
        // Made with zlib: raw deflate of "forepost forepost forepost\n".
        let fixed = [
            0x4b, 0xcb, 0x2f, 0x4a, 0x2d, 0xc8, 0x2f, 0x2e, 0x51, 0x48, 0x43, 0x67, 0x70, 0x01,
            0x00,
        ];
        let whole = inflate(&fixed[..], 100).unwrap();
        assert_eq!(whole.head, b"forepost forepost forepost\n");
        assert_eq!(whole.bytes, 27);
        let stored = [1, 3, 0, 0xfc, 0xff, b'a', b'b', b'c'];
        assert_eq!(inflate(&stored[..], 2).unwrap().head, b"ab");
        for data in [&fixed[..], &stored[..]] {
            for cut in 0..data.len() {
                assert!(matches!(inflate(&data[..cut], 100), Err(InflateError::CutOff)), "{cut}");
            }
        }
    }
}
