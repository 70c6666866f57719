//! SM4 (GM/T 0002, GB/T 32907) over whole texts: ECB and CBC with PKCS #7 padding.
//!
//! None of the five documents uses it; it is here for messages that a site agrees on with its
//! platform. Neither way notices a change of every kind: what must not be changed on its way needs
//! TLS or a signature. Start at [`Sm4Key`].

use sm4::Sm4;

use super::block::{self, BLOCK_BYTES};

/// Bytes of a key, and of what a chain starts with.
pub const SM4_BYTES: usize = BLOCK_BYTES;

/// The bytes were not encrypted under this key. Deliberately says no more.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("sm4 ciphertext does not open under this key")]
pub struct Sm4Fault;

/// A key. Its bytes are never printed.
pub struct Sm4Key([u8; SM4_BYTES]);

impl Sm4Key {
    /// A key of these bytes.
    pub fn new(bytes: [u8; SM4_BYTES]) -> Sm4Key {
        Sm4Key(bytes)
    }

    /// Each block by itself: equal blocks look equal.
    pub fn encrypt_ecb(&self, plain: &[u8]) -> Vec<u8> {
        block::ecb_encrypt::<Sm4>(&self.0, plain).expect("the key has its length")
    }

    /// What [`Sm4Key::encrypt_ecb`] made.
    pub fn decrypt_ecb(&self, sealed: &[u8]) -> Result<Vec<u8>, Sm4Fault> {
        block::ecb_decrypt::<Sm4>(&self.0, sealed).ok_or(Sm4Fault)
    }

    /// Each block chained to the one before. `start` must be new and random for every text.
    pub fn encrypt_cbc(&self, start: &[u8; SM4_BYTES], plain: &[u8]) -> Vec<u8> {
        block::cbc_encrypt::<Sm4>(&self.0, start, plain).expect("the key has its length")
    }

    /// What [`Sm4Key::encrypt_cbc`] made.
    pub fn decrypt_cbc(&self, start: &[u8; SM4_BYTES], sealed: &[u8]) -> Result<Vec<u8>, Sm4Fault> {
        block::cbc_decrypt::<Sm4>(&self.0, start, sealed).ok_or(Sm4Fault)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use sm4::cipher::{BlockCipherEncrypt, KeyInit};

    use super::*;

    /// GB/T 32907, annex A: the key is the plain text, too.
    const EXAMPLE: &str = "0123456789abcdeffedcba9876543210";

    fn example() -> [u8; SM4_BYTES] {
        hex::decode(EXAMPLE).unwrap().try_into().unwrap()
    }

    #[test]
    fn the_first_example_of_the_standard() {
        let sealed = Sm4Key::new(example()).encrypt_ecb(&example());
        assert_eq!(hex::encode(&sealed[..16]), "681edf34d206965e86b3e94f536e4246");
        assert_eq!(sealed.len(), 32, "a full block gets a block of padding");
        let chained = Sm4Key::new(example()).encrypt_cbc(&[0; SM4_BYTES], &example());
        assert_eq!(chained[..16], sealed[..16], "a chain that starts with nothing");
        assert_ne!(chained[16..], sealed[16..]);
    }

    #[test]
    fn the_second_example_of_the_standard_a_million_times_over() {
        let cipher = Sm4::new(&example().into());
        let mut block = example().into();
        for _ in 0..1_000_000 {
            cipher.encrypt_block(&mut block);
        }
        assert_eq!(hex::encode(block), "595298c7c6fd271f0402f804c33d3f66");
    }

    proptest! {
        #[test]
        fn what_is_sealed_opens_under_its_key_and_damage_is_one_fault(
            plain in prop::collection::vec(any::<u8>(), 0..200),
            key in any::<[u8; SM4_BYTES]>(),
            start in any::<[u8; SM4_BYTES]>(),
        ) {
            let key = Sm4Key::new(key);
            let (ecb, cbc) = (key.encrypt_ecb(&plain), key.encrypt_cbc(&start, &plain));
            prop_assert_eq!(key.decrypt_ecb(&ecb), Ok(plain.clone()));
            prop_assert_eq!(key.decrypt_cbc(&start, &cbc), Ok(plain));
            for cut in 0..ecb.len() {
                if cut % SM4_BYTES != 0 {
                    prop_assert_eq!(key.decrypt_ecb(&ecb[..cut]), Err(Sm4Fault));
                    prop_assert_eq!(key.decrypt_cbc(&start, &cbc[..cut]), Err(Sm4Fault));
                }
            }
            prop_assert_eq!(key.decrypt_ecb(&[]), Err(Sm4Fault));
        }

        #[test]
        fn random_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..100)) {
            let key = Sm4Key::new(example());
            let _ = key.decrypt_ecb(&bytes);
            let _ = key.decrypt_cbc(&[7; SM4_BYTES], &bytes);
        }
    }
}
