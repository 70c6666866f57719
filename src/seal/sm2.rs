//! Identity numbers under SM2 (GM/T 0003.4, GB/T 32918.4), read in every form that senders use and
//! written in the one that a receiver wants.
//!
//! What for: a HIS may send `idCardNo` encrypted to the hospital's public key, and a cloud may want
//! the same number encrypted to its own (imaging cloud's document, 3.1 to 3.3). The standard fixes
//! the mathematics, not the bytes: hexadecimal or base64, with and without the point's first byte
//! 04, C1C3C2 (the standard's order) or C1C2C3 (older libraries), or ASN.1 DER.
//!
//! What always holds: a text is accepted only when C3, the SM3 digest over the plain text, fits; so
//! a wrong guess of the form cannot pass. All refusals of a ciphertext are one and the same fault,
//! so that a sender learns nothing about the key from them. Pure; bounded by
//! [`CIPHERTEXT_CHARACTERS_MAX`]; keys and plain texts are never printed.
//!
//! What was refused: to strip `0x` before knowing that hexadecimal follows (one base64 text in
//! 4,096 begins so), and to trust a first byte 04 or 30 (it may be the first byte of a bare point).
//!
//! Start reading at [`Sm2Key::decrypt`]; the way out is [`Sm2PublicKey::encrypt`].

mod form;
mod private;
mod public;

use super::text::compact;

pub use form::{Encoding, Form};
pub use private::Sm2Key;
pub use public::Sm2PublicKey;

/// Longest ciphertext that is read, in characters. A number of 18 characters makes 115 bytes, 230
/// hexadecimal digits; this leaves room for line ends and for whoever encrypts a longer text.
pub const CIPHERTEXT_CHARACTERS_MAX: usize = 4_096;
/// Longest text that is encrypted, in bytes: in hexadecimal it makes a ciphertext, of at most 107
/// bytes of DER around it, that is read here too.
pub const PLAIN_BYTES_MAX: usize = CIPHERTEXT_CHARACTERS_MAX / 2 - 128;
/// Shortest text that is taken for a ciphertext, in characters: base64 of a compressed point (33),
/// C3 (32) and one byte, 66 bytes in all. No card or serial number of the documents is so long.
const CIPHERTEXT_CHARACTERS_MIN: usize = 88;
/// Why a key or a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Sm2Fault {
    /// The private key is itself encrypted; its passphrase is not asked for.
    #[error("sm2 private key is encrypted, expected one without a passphrase")]
    KeyEncrypted,
    /// No private key of the curve sm2p256v1 in any form.
    #[error("sm2 private key unreadable, expected PEM, DER in base64 or hex, or 64 hex digits")]
    KeyUnread,
    /// No public key of the curve sm2p256v1 in any form.
    #[error("sm2 public key unreadable, expected PEM, or DER or the point in base64 or hex")]
    PublicKeyUnread,
    /// No form of the ciphertext opens under the key. Deliberately says no more.
    #[error("sm2 ciphertext does not open under this key")]
    Ciphertext,
    /// Nothing, or more than [`PLAIN_BYTES_MAX`], was to be encrypted.
    #[error("sm2 plain text has {got} bytes, expected 1 to {PLAIN_BYTES_MAX}")]
    Plain {
        /// Its bytes.
        got: usize,
    },
    /// The system's random source does not answer.
    #[error("sm2 needs random numbers and the system gives none")]
    Random,
}

/// Whether a field has the shape of a ciphertext and not that of a number: long, and nothing but
/// hexadecimal or base64. It may still be of another cipher or key.
pub fn looks_encrypted(text: &str) -> bool {
    let text = compact(text);
    let coded = |byte: u8| byte.is_ascii_alphanumeric() || b"+/-_=".contains(&byte);
    (CIPHERTEXT_CHARACTERS_MIN..=CIPHERTEXT_CHARACTERS_MAX).contains(&text.len())
        && text.bytes().all(coded)
}

#[cfg(test)]
mod tests;
