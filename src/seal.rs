//! What makes stored personal data unreadable, and what makes it findable all the same.
//!
//! For: the ledger's personal columns and bodies (docs/ARCHITECTURE.md, 7). Always holds: a sealed
//! value opens only in the row and column it was sealed for, because both are associated data; a
//! number is found by an HMAC under a key of its own, so that the cipher key alone betrays no
//! number and the look-up key alone opens nothing. On disk: `[key id u8][nonce 12][cipher
//! text][tag 16]`, AES-256-GCM (NIST SP 800-38D) with a random nonce; a key seals far fewer than
//! 2^32 values in its life (10,000 registrations a day make 10^8 in ten years). Refused:
//! deterministic encryption, which would show equal patients as equal bytes. Start at [`Keys`].
//!
//! The ciphers that other systems speak are modules of their own: `sm2` and `aes` for what comes
//! and goes under them, `rsa` for a platform's token, `sm3` and `sm4` for what is agreed on a site.

pub mod aes;
pub mod age;
pub mod rsa;
pub mod sm2;
pub mod sm3;
pub mod sm4;

mod block;
mod text;

use aws_lc_rs::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use aws_lc_rs::{hmac, rand};

use crate::model::{Identifier, IdentifierKind};

/// Bytes of either key.
pub const KEY_BYTES: usize = 32;

/// A look-up hash: the first half of an HMAC-SHA-256. 128 bits keep two numbers apart by accident
/// (10^8 rows: 1 in 10^22), and rows and indexes half as long.
pub type Lookup = [u8; 16];

/// Why a sealed value did not open.
#[derive(Debug, Clone, thiserror::Error, PartialEq, Eq)]
pub enum SealFault {
    /// Shorter than its own frame.
    #[error("sealed value has {got} bytes, fewer than its frame of {frame}")]
    Short {
        /// Bytes found.
        got: usize,
        /// Bytes of key id, nonce and tag.
        frame: usize,
    },
    /// Sealed under a key that is not loaded.
    #[error("sealed under key {id}, which is not loaded")]
    UnknownKey {
        /// The stored key id.
        id: u8,
    },
    /// Changed, moved to another row, or sealed under another key of the same id.
    #[error("sealed value does not open in this row")]
    Refused,
}

/// The ledger's keys: several for opening, the newest for sealing.
pub struct Keys {
    ciphers: Vec<(u8, LessSafeKey)>,
    lookup: hmac::Key,
}

impl Keys {
    /// Takes the cipher keys by id (the last one seals) and the look-up key.
    ///
    /// # Panics
    /// With an empty list: a ledger has at least one key from its first start.
    pub fn new(ciphers: &[(u8, [u8; KEY_BYTES])], lookup: &[u8; KEY_BYTES]) -> Keys {
        assert!(!ciphers.is_empty(), "a ledger has at least one cipher key");
        let ciphers = ciphers
            .iter()
            .map(|(id, bytes)| {
                let key = UnboundKey::new(&AES_256_GCM, bytes).expect("the key has its length");
                (*id, LessSafeKey::new(key))
            })
            .collect();
        Keys { ciphers, lookup: hmac::Key::new(hmac::HMAC_SHA256, lookup) }
    }

    /// Seals `plain` for one column of one row.
    pub fn seal(&self, column: &str, row: i64, plain: &[u8]) -> Vec<u8> {
        let (id, key) = self.ciphers.last().expect("the constructor saw one");
        let mut nonce = [0; NONCE_LEN];
        rand::fill(&mut nonce).expect("the system's random source answers after start-up");
        let mut sealed = Vec::with_capacity(1 + NONCE_LEN + plain.len() + AES_256_GCM.tag_len());
        sealed.push(*id);
        sealed.extend_from_slice(&nonce);
        sealed.extend_from_slice(plain);
        let tag = key
            .seal_in_place_separate_tag(
                Nonce::assume_unique_for_key(nonce),
                Aad::from(associated(column, row)),
                &mut sealed[1 + NONCE_LEN..],
            )
            .expect("bodies are far below the cipher's limit of 64 GiB");
        sealed.extend_from_slice(tag.as_ref());
        sealed
    }

    /// Opens what [`Keys::seal`] made for the same column and row.
    pub fn open(&self, column: &str, row: i64, sealed: &[u8]) -> Result<Vec<u8>, SealFault> {
        let frame = 1 + NONCE_LEN + AES_256_GCM.tag_len();
        if sealed.len() < frame {
            return Err(SealFault::Short { got: sealed.len(), frame });
        }
        let id = sealed[0];
        let (_, key) = self
            .ciphers
            .iter()
            .find(|(known, _)| *known == id)
            .ok_or(SealFault::UnknownKey { id })?;
        let nonce = Nonce::try_assume_unique_for_key(&sealed[1..1 + NONCE_LEN])
            .map_err(|_| SealFault::Refused)?;
        let mut plain = sealed[1 + NONCE_LEN..].to_vec();
        let opened = key
            .open_in_place(nonce, Aad::from(associated(column, row)), &mut plain)
            .map_err(|_| SealFault::Refused)?
            .len();
        plain.truncate(opened);
        Ok(plain)
    }

    /// The look-up hash of a patient's number. The kind is part of it: a health card and a visit
    /// card may carry the same digits and belong to different people.
    pub fn identifier(&self, identifier: &Identifier) -> Lookup {
        self.lookup_text(identifier.kind.name(), identifier.value())
    }

    /// The look-up hash of a visit within its hospital.
    pub fn visit(&self, hospital: &str, visit: &str) -> Lookup {
        self.lookup_text(hospital, visit)
    }

    /// The look-up hash of something that is delivered: equal for equal things that go to one
    /// destination by one interface.
    pub fn delivery(&self, interface: &str, destination: &str, identity: &str) -> Lookup {
        self.lookup_text(&format!("{interface}\0{destination}"), identity)
    }

    /// The look-up hash of a number of a settlement within its hospital.
    pub fn settlement(&self, hospital: &str, number: &str) -> Lookup {
        self.lookup_text(&format!("settlement\0{hospital}"), number)
    }

    /// The look-up hash of a patient as a source that pushes knows them.
    pub fn pushed(&self, source: &str, patient: &str, issuer: &str) -> Lookup {
        self.lookup_text(&format!("pushed\0{source}\0{issuer}"), patient)
    }

    /// The signature of a link to one study: whoever has not the look-up key cannot make it.
    pub fn link(&self, link: i64, study: &str) -> Lookup {
        self.lookup_text(&format!("link\0{link}"), study)
    }

    /// The look-up hash of a doctor's type, national code and identity number.
    pub fn doctor(&self, kind: &str, code: &str, number: &str) -> Lookup {
        self.lookup_text(&format!("doctor\0{kind}\0{code}"), number)
    }

    /// The hash by which a row of a hospital's view is known again; the same row of another view
    /// hashes differently.
    pub fn view_row(&self, view: &str, row: &[u8]) -> Lookup {
        self.lookup_bytes(&format!("view_row {view}"), row)
    }

    /// The look-up hash of a number of that kind as somebody typed it; `None` when it is empty.
    pub fn typed(&self, kind: IdentifierKind, text: &str) -> Option<Lookup> {
        Identifier::new(kind, text).map(|identifier| self.identifier(&identifier))
    }

    fn lookup_text(&self, domain: &str, value: &str) -> Lookup {
        self.lookup_bytes(domain, value.as_bytes())
    }

    fn lookup_bytes(&self, domain: &str, value: &[u8]) -> Lookup {
        let mut context = hmac::Context::with_key(&self.lookup);
        context.update(domain.as_bytes());
        context.update(&[0]);
        context.update(value);
        let tag = context.sign();
        tag.as_ref()[..16].try_into().expect("SHA-256 has 32 bytes")
    }
}

fn associated(column: &str, row: i64) -> Vec<u8> {
    let mut associated = Vec::with_capacity(column.len() + 9);
    associated.extend_from_slice(column.as_bytes());
    associated.push(0);
    associated.extend_from_slice(&row.to_be_bytes());
    associated
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys() -> Keys {
        Keys::new(&[(1, [7; KEY_BYTES]), (2, [8; KEY_BYTES])], &[9; KEY_BYTES])
    }

    #[test]
    fn a_sealed_value_opens_in_its_own_row_and_column_only() {
        let keys = keys();
        let sealed = keys.seal("registration.body", 4, b"{}");
        assert_eq!(keys.open("registration.body", 4, &sealed).unwrap(), b"{}");
        assert_eq!(keys.open("registration.body", 5, &sealed), Err(SealFault::Refused));
        assert_eq!(keys.open("registration.sealed", 4, &sealed), Err(SealFault::Refused));
        assert_ne!(sealed, keys.seal("registration.body", 4, b"{}"), "nonces differ");
    }

    #[test]
    fn truncation_and_change_at_every_byte_are_refused() {
        let keys = keys();
        let sealed = keys.seal("c", 1, b"0123456789");
        for cut in 0..sealed.len() {
            assert!(keys.open("c", 1, &sealed[..cut]).is_err());
            let mut changed = sealed.clone();
            changed[cut] ^= 1;
            assert!(keys.open("c", 1, &changed).is_err());
        }
    }

    #[test]
    fn an_older_key_still_opens() {
        let old = Keys::new(&[(1, [7; KEY_BYTES])], &[9; KEY_BYTES]);
        let sealed = old.seal("c", 1, b"x");
        assert_eq!(keys().open("c", 1, &sealed).unwrap(), b"x");
        let other = Keys::new(&[(3, [7; KEY_BYTES])], &[9; KEY_BYTES]);
        assert_eq!(other.open("c", 1, &sealed), Err(SealFault::UnknownKey { id: 1 }));
    }

    #[test]
    fn a_number_hashes_alike_however_it_is_typed_and_differs_by_kind() {
        let keys = keys();
        let a = keys.typed(IdentifierKind::HealthNo, " ab12 ");
        assert_eq!(a, keys.typed(IdentifierKind::HealthNo, "AB12"));
        assert_ne!(a, keys.typed(IdentifierKind::InsuranceId, "AB12"));
        assert_eq!(keys.typed(IdentifierKind::HealthNo, "  "), None);
    }
}
