//! The layouts and encodings of a ciphertext.

use std::borrow::Cow;

use base64::Engine;
use sm2::PublicKey;
use sm2::elliptic_curve::sec1::ToSec1Point;
use sm2::pkcs8::der::asn1::{AnyRef, OctetStringRef, UintRef};
use sm2::pkcs8::der::{Encode, Tag};

use crate::seal::text::BASE64;

/// First byte of a point in full (SEC 1, 2.3.3).
pub(super) const POINT_FULL: u8 = 0x04;
/// Bytes of one coordinate of a point.
const COORDINATE_BYTES: usize = 32;
/// Bytes of C3.
const DIGEST_BYTES: usize = 32;

/// How the parts of a ciphertext follow each other: C1 the point, C3 the digest, C2 the text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Form {
    /// ASN.1 DER: x, y, C3, C2 (GM/T 0009, 7.2).
    Der,
    /// The standard's order, the point with its first byte: 04 in full, 02 or 03 compressed.
    C1C3C2,
    /// The order of older libraries, the point likewise.
    C1C2C3,
    /// The standard's order, the point's 64 bytes without their 04.
    BareC1C3C2,
    /// The order of older libraries, the point without its 04.
    BareC1C2C3,
}

impl Form {
    /// Every form, in the order in which they are tried: those that the first byte speaks for
    /// before those that any bytes may have.
    pub const ALL: [Form; 5] =
        [Form::Der, Form::C1C3C2, Form::C1C2C3, Form::BareC1C3C2, Form::BareC1C2C3];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Form::Der => "der",
            Form::C1C3C2 => "04-c1c3c2",
            Form::C1C2C3 => "04-c1c2c3",
            Form::BareC1C3C2 => "c1c3c2",
            Form::BareC1C2C3 => "c1c2c3",
        }
    }

    /// The form of that name.
    pub fn from_name(name: &str) -> Option<Form> {
        Form::ALL.into_iter().find(|form| form.name() == name)
    }

    /// The same ciphertext as DER; `None` when the bytes cannot have this form. Everything is
    /// opened as DER, because the library's reader of the other layouts multiplies the point once
    /// more, for a cofactor that is 1 on this curve: twice the time for nothing.
    pub(super) fn to_der(self, bytes: &[u8]) -> Option<Cow<'_, [u8]>> {
        if self == Form::Der {
            return (*bytes.first()? == 0x30).then_some(Cow::Borrowed(bytes));
        }
        let (coordinates, rest) = match self {
            Form::BareC1C3C2 | Form::BareC1C2C3 => {
                let (coordinates, rest) = bytes.split_at_checked(2 * COORDINATE_BYTES)?;
                (Cow::Borrowed(coordinates), rest)
            }
            Form::Der | Form::C1C3C2 | Form::C1C2C3 => point(bytes)?,
        };
        let (c3, c2) = match self {
            Form::C1C2C3 | Form::BareC1C2C3 => {
                let (c2, c3) = rest.split_at_checked(rest.len().checked_sub(DIGEST_BYTES)?)?;
                (c3, c2)
            }
            Form::Der | Form::C1C3C2 | Form::BareC1C3C2 => rest.split_at_checked(DIGEST_BYTES)?,
        };
        let (x, y) = coordinates.split_at_checked(COORDINATE_BYTES)?;
        der(x, y, c3, c2).map(Cow::Owned)
    }
}

/// The coordinates of the point that the bytes begin with, and what follows it.
fn point(bytes: &[u8]) -> Option<(Cow<'_, [u8]>, &[u8])> {
    match bytes.first()? {
        &POINT_FULL => {
            let (point, rest) = bytes.split_at_checked(1 + 2 * COORDINATE_BYTES)?;
            Some((Cow::Borrowed(&point[1..]), rest))
        }
        2 | 3 => {
            let (point, rest) = bytes.split_at_checked(1 + COORDINATE_BYTES)?;
            let full = PublicKey::from_sec1_bytes(point).ok()?.to_sec1_point(false);
            Some((Cow::Owned(full.as_bytes()[1..].to_vec()), rest))
        }
        _ => None,
    }
}

fn der(x: &[u8], y: &[u8], c3: &[u8], c2: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::with_capacity(c2.len() + 128);
    UintRef::new(x).ok()?.encode_to_vec(&mut body).ok()?;
    UintRef::new(y).ok()?.encode_to_vec(&mut body).ok()?;
    OctetStringRef::new(c3).ok()?.encode_to_vec(&mut body).ok()?;
    OctetStringRef::new(c2).ok()?.encode_to_vec(&mut body).ok()?;
    AnyRef::new(Tag::Sequence, &body).ok()?.to_der().ok()
}

/// How the bytes of a ciphertext are written as a text.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Encoding {
    /// Hexadecimal in small letters.
    Hex,
    /// Hexadecimal in capitals.
    HexUpper,
    /// Base64 in one line, with padding.
    Base64,
}

impl Encoding {
    /// Every encoding.
    pub const ALL: [Encoding; 3] = [Encoding::Hex, Encoding::HexUpper, Encoding::Base64];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Encoding::Hex => "hex",
            Encoding::HexUpper => "hex-upper",
            Encoding::Base64 => "base64",
        }
    }

    /// The encoding of that name.
    pub fn from_name(name: &str) -> Option<Encoding> {
        Encoding::ALL.into_iter().find(|encoding| encoding.name() == name)
    }

    pub(super) fn write(self, bytes: &[u8]) -> String {
        match self {
            Encoding::Hex => hex::encode(bytes),
            Encoding::HexUpper => hex::encode_upper(bytes),
            Encoding::Base64 => BASE64.encode(bytes),
        }
    }
}
