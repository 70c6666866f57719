//! SM3 (GM/T 0004, GB/T 32905): a digest of 32 bytes.
//!
//! None of the five documents uses it by itself; inside SM2 the library has its own. It is here for
//! signatures of messages that a site agrees on with its platform.

use sm3::{Digest, Sm3};

/// Bytes of a digest.
pub const DIGEST_BYTES: usize = 32;

/// The digest of the bytes.
pub fn digest(bytes: &[u8]) -> [u8; DIGEST_BYTES] {
    Sm3::digest(bytes).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// GB/T 32905, annex A.
    #[test]
    fn the_examples_of_the_standard() {
        for (bytes, expected) in [
            ("abc".to_owned(), "66c7f0f462eeedd9d1f2d46bdc10e4e24167c4875cf2f7a2297da02b8f4ba8e0"),
            ("abcd".repeat(16), "debe9ff92275b8a138604889c18e5a4d6fdb70e5387e5765293dcba39c0c5732"),
        ] {
            assert_eq!(hex::encode(digest(bytes.as_bytes())), expected);
        }
    }
}
