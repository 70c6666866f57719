//! A public key: our own, to be handed out, or a cloud's, to encrypt to.

use base64::Engine;
use sm2::PublicKey;
use sm2::elliptic_curve::common::getrandom::SysRng;
use sm2::elliptic_curve::sec1::ToSec1Point;
use sm2::pkcs8::{DecodePublicKey, EncodePublicKey, LineEnding};
use sm2::pke::{EncryptingKey, Mode};

use super::form::POINT_FULL;
use super::{Encoding, Form, PLAIN_BYTES_MAX, Sm2Fault};
use crate::seal::text::{BASE64, KEY_CHARACTERS_MAX, compact, pem_body, readings};

/// A public key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Sm2PublicKey(PublicKey);

impl Sm2PublicKey {
    pub(super) fn new(key: PublicKey) -> Sm2PublicKey {
        Sm2PublicKey(key)
    }

    /// Reads a key from PEM (SubjectPublicKeyInfo, RFC 5280, 4.1.2.7), from the same DER in base64
    /// or hexadecimal, or from the point in either, compressed or in full, with or without its
    /// first byte 04.
    pub fn from_text(text: &str) -> Result<Sm2PublicKey, Sm2Fault> {
        if text.len() > KEY_CHARACTERS_MAX {
            return Err(Sm2Fault::PublicKeyUnread);
        }
        let body = pem_body(text, "PUBLIC KEY").unwrap_or(text);
        let read = readings(&compact(body)).into_iter().find_map(|bytes| public_key(&bytes));
        read.map(Sm2PublicKey).ok_or(Sm2Fault::PublicKeyUnread)
    }

    /// Encrypts a text of 1 to [`PLAIN_BYTES_MAX`] bytes. Two ciphertexts of one text are never
    /// the same.
    pub fn encrypt(&self, plain: &str, form: Form, encoding: Encoding) -> Result<String, Sm2Fault> {
        if plain.is_empty() || plain.len() > PLAIN_BYTES_MAX {
            return Err(Sm2Fault::Plain { got: plain.len() });
        }
        let key = |mode| EncryptingKey::new_with_mode(self.0, mode);
        let bytes = match form {
            Form::Der => key(Mode::C1C3C2).encrypt_der(&mut SysRng, plain.as_bytes()),
            Form::C1C3C2 | Form::BareC1C3C2 => {
                key(Mode::C1C3C2).encrypt(&mut SysRng, plain.as_bytes())
            }
            Form::C1C2C3 | Form::BareC1C2C3 => {
                key(Mode::C1C2C3).encrypt(&mut SysRng, plain.as_bytes())
            }
        };
        let bytes = bytes.map_err(|_| Sm2Fault::Random)?;
        let bare = matches!(form, Form::BareC1C3C2 | Form::BareC1C2C3);
        Ok(encoding.write(if bare { &bytes[1..] } else { &bytes }))
    }

    /// The point in hexadecimal, 130 digits that begin with 04.
    pub fn hex(&self) -> String {
        hex::encode(self.point())
    }

    /// The two coordinates, 64 hexadecimal digits each.
    pub fn coordinates(&self) -> (String, String) {
        let point = self.point();
        (hex::encode(&point[1..33]), hex::encode(&point[33..]))
    }

    /// The point in base64.
    pub fn base64(&self) -> String {
        BASE64.encode(self.point())
    }

    /// SubjectPublicKeyInfo as DER, in base64 (what Java calls X.509).
    pub fn der_base64(&self) -> String {
        let der = self.0.to_public_key_der().expect("a key of a known curve");
        BASE64.encode(der.as_bytes())
    }

    /// SubjectPublicKeyInfo as PEM.
    pub fn pem(&self) -> String {
        self.0.to_public_key_pem(LineEnding::LF).expect("a key of a known curve")
    }

    fn point(&self) -> Vec<u8> {
        self.0.to_sec1_point(false).as_bytes().to_vec()
    }
}

fn public_key(bytes: &[u8]) -> Option<PublicKey> {
    let bare = || PublicKey::from_sec1_bytes(&[&[POINT_FULL], bytes].concat()).ok();
    match bytes.len() {
        64 => bare(),
        33 | 65 => PublicKey::from_sec1_bytes(bytes).ok(),
        _ => PublicKey::from_public_key_der(bytes).ok(),
    }
}
