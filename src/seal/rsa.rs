//! RSA with a platform's public key (regional remote imaging's document, 3.2.2.5).
//!
//! What for: the `sign` of `getToken`, which is called a signature and is an encryption: PKCS #1
//! v1.5 (RFC 8017, 7.2), what Java does when it is told nothing but `RSA`, in base64. Always holds:
//! there are no private keys here. The crate's known weakness (RUSTSEC-2023-0071) is in the time
//! that private-key operations take; `clippy.toml` keeps them out. Start at [`RsaKey`].

use base64::Engine;
use rsa::pkcs1::DecodeRsaPublicKey;
use rsa::pkcs8::DecodePublicKey;
use rsa::rand_core::OsRng;
use rsa::traits::PublicKeyParts;
use rsa::{Pkcs1v15Encrypt, RsaPublicKey};

use super::text::{BASE64, KEY_CHARACTERS_MAX, compact, pem_body, readings};

/// Bits of a key. Platforms of the field still give out 1,024; beyond 4,096 nothing is gained.
const KEY_BITS: std::ops::RangeInclusive<usize> = 1_024..=4_096;

/// Bytes that the padding takes (RFC 8017, 7.2.1).
const PADDING_BYTES: usize = 11;

/// Why a key or a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum RsaFault {
    /// No public key in any form.
    #[error("rsa public key unreadable, expected PEM, or DER in base64 or hex")]
    KeyUnread,
    /// Too short to protect anything, or longer than is read.
    #[error("rsa public key has {got} bits, expected 1024 to 4096")]
    KeySize {
        /// Its bits.
        got: usize,
    },
    /// The text does not fit under the key.
    #[error("text has {got} bytes, this rsa key takes {limit}")]
    Long {
        /// Bytes of the text.
        got: usize,
        /// Bytes that fit.
        limit: usize,
    },
    /// The library refused. Says nothing of the text.
    #[error("rsa encryption failed")]
    Failed,
}

/// A public key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RsaKey(RsaPublicKey);

impl RsaKey {
    /// Reads a key from PEM (SubjectPublicKeyInfo or PKCS #1), or from either's DER in base64 or
    /// hexadecimal.
    pub fn from_text(text: &str) -> Result<RsaKey, RsaFault> {
        if text.len() > KEY_CHARACTERS_MAX {
            return Err(RsaFault::KeyUnread);
        }
        let body = pem_body(text, "PUBLIC KEY").unwrap_or(text);
        let key = readings(&compact(body)).into_iter().find_map(|der| {
            let bare = || RsaPublicKey::from_pkcs1_der(&der).ok();
            RsaPublicKey::from_public_key_der(&der).ok().or_else(bare)
        });
        let key = key.ok_or(RsaFault::KeyUnread)?;
        match key.n().bits() {
            bits if KEY_BITS.contains(&bits) => Ok(RsaKey(key)),
            got => Err(RsaFault::KeySize { got }),
        }
    }

    /// The text under the key, in base64 in one line. Two results for one text are never the same.
    pub fn encrypt(&self, plain: &str) -> Result<String, RsaFault> {
        let limit = self.0.size() - PADDING_BYTES;
        if plain.len() > limit {
            return Err(RsaFault::Long { got: plain.len(), limit });
        }
        let sealed = self.0.encrypt(&mut OsRng, Pkcs1v15Encrypt, plain.as_bytes());
        Ok(BASE64.encode(sealed.map_err(|_| RsaFault::Failed)?))
    }
}

#[cfg(test)]
mod tests {
    use base64::prelude::BASE64_STANDARD;
    use proptest::prelude::*;
    use rsa::BigUint;
    use rsa::pkcs1::EncodeRsaPublicKey;
    use rsa::pkcs8::{EncodePublicKey, LineEnding};

    use super::*;

    /// A key of that many bits whose factors nobody needs: only its length and its form count.
    fn key(bits: usize) -> RsaPublicKey {
        let modulus = (BigUint::from(1_u8) << (bits - 1)) + BigUint::from(0x1_0001_u32);
        RsaPublicKey::new_with_max_size(modulus, BigUint::from(65_537_u32), 8_192).unwrap()
    }

    fn read(key: &RsaPublicKey) -> Result<RsaKey, RsaFault> {
        RsaKey::from_text(&key.to_public_key_pem(LineEnding::LF).unwrap())
    }

    #[test]
    fn a_key_is_read_in_every_form() {
        let key = key(1_024);
        let (der, bare) = (key.to_public_key_der().unwrap(), key.to_pkcs1_der().unwrap());
        for text in [
            key.to_public_key_pem(LineEnding::CRLF).unwrap(),
            key.to_pkcs1_pem(LineEnding::LF).unwrap(),
            BASE64_STANDARD.encode(&der),
            BASE64_STANDARD.encode(&bare),
            hex::encode(&der),
            format!(" {}\n", hex::encode_upper(&bare)),
        ] {
            assert_eq!(RsaKey::from_text(&text), Ok(RsaKey(key.clone())), "{text}");
        }
        let private = "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----";
        for text in ["", "AAAA", private, &"A".repeat(KEY_CHARACTERS_MAX + 1)] {
            assert_eq!(RsaKey::from_text(text), Err(RsaFault::KeyUnread));
        }
    }

    #[test]
    fn keys_and_texts_have_their_limits() {
        for (bits, fits) in [(512, false), (1_016, false), (1_024, true), (4_096, true)] {
            assert_eq!(read(&key(bits)).is_ok(), fits, "{bits}");
        }
        assert_eq!(read(&key(512)), Err(RsaFault::KeySize { got: 512 }));
        for (bits, limit) in [(1_024, 117), (2_048, 245)] {
            let key = read(&key(bits)).unwrap();
            let sealed = BASE64_STANDARD.decode(key.encrypt(&"x".repeat(limit)).unwrap());
            assert_eq!(sealed.unwrap().len(), bits / 8);
            let long = key.encrypt(&"x".repeat(limit + 1));
            assert_eq!(long, Err(RsaFault::Long { got: limit + 1, limit }));
        }
        let key = read(&key(1_024)).unwrap();
        assert_ne!(key.encrypt("x"), key.encrypt("x"));
    }

    proptest! {
        #[test]
        fn random_keys_never_panic(text in ".{0,200}|[0-9a-f]{0,400}|[A-Za-z0-9+/=]{0,400}") {
            prop_assert_eq!(RsaKey::from_text(&text), Err(RsaFault::KeyUnread));
        }
    }
}
