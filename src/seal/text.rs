//! What all senders' texts of keys and ciphertexts have in common.

use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

/// Longest text of a key that is read, in characters: PEM with its parameters is under 1 kB, an RSA
/// key of 4,096 bits with its certificate around it under 4 kB.
pub const KEY_CHARACTERS_MAX: usize = 8_192;

/// Both base64 alphabets are folded into one before; padding and the last bits are not insisted on.
pub const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// The text without its white space.
pub fn compact(text: &str) -> String {
    text.chars().filter(|c| !c.is_whitespace()).collect()
}

/// The bytes that a text can mean: as hexadecimal, with or without 0x, else as base64.
pub fn readings(text: &str) -> Vec<Vec<u8>> {
    if let Ok(bytes) = hex::decode(text) {
        return vec![bytes];
    }
    let stripped = text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"));
    let prefixed = stripped.and_then(|digits| hex::decode(digits).ok());
    prefixed.into_iter().chain(base64(text)).collect()
}

/// Base64 in either alphabet.
pub fn base64(text: &str) -> Option<Vec<u8>> {
    BASE64.decode(text.replace('-', "+").replace('_', "/")).ok()
}

/// What stands between the lines of the first key of that kind in a PEM text (RFC 7468).
pub fn pem_body<'a>(text: &'a str, kind: &str) -> Option<&'a str> {
    let (_, after) = text.split_once(kind)?;
    let (body, _) = after.strip_prefix("-----")?.split_once("-----END")?;
    Some(body)
}
