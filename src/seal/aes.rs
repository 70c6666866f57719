//! Texts under AES/ECB/PKCS5Padding in base64 (regional remote imaging's document, 3.1).
//!
//! What for: order queries of the primary-care system, request and reply. The document prints Java:
//! key and text as UTF-8, the result through `sun.misc.BASE64Encoder`, which ends its lines as the
//! machine it runs on does. What always holds: white space in a text that is read does not matter;
//! whatever does not open is one and the same fault. ECB shows equal blocks as equal and notices no
//! change: it is spoken because the other side speaks nothing else, and belongs into TLS. Refused:
//! to guess a key's form, since 32 hexadecimal digits are a good key of 32 characters, too. Start
//! at [`AesKey`].

use aes::{Aes128, Aes192, Aes256};
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, digest};
use base64::Engine;

use super::block;
use super::text::{BASE64, base64, compact};
use crate::limits::BODY_BYTES_MAX;

/// Characters of a line of base64 (RFC 2045, 6.8).
const LINE_CHARACTERS: usize = 76;

/// Why a key or a text was refused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum AesFault {
    /// The key is not written as it should be.
    #[error("aes key is not {form}")]
    KeyUnread {
        /// The name of the form that was expected.
        form: &'static str,
    },
    /// AES knows three lengths of keys.
    #[error("aes key has {got} bytes, expected 16, 24 or 32")]
    KeyLength {
        /// Its bytes.
        got: usize,
    },
    /// Not base64, not under this key, or no text. Deliberately says no more.
    #[error("aes text does not open under this key")]
    Text,
}

/// How a key is written down.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum KeyForm {
    /// The characters are the key, as UTF-8.
    Text,
    /// Hexadecimal.
    Hex,
    /// Base64.
    Base64,
    /// The characters are the seed of Java's SHA1PRNG, from which a key of 16 bytes is drawn
    /// (`KeyGenerator` with `SecureRandom.getInstance("SHA1PRNG")` and `setSeed`).
    Sha1Prng,
}

impl KeyForm {
    /// Every form.
    pub const ALL: [KeyForm; 4] = [KeyForm::Text, KeyForm::Hex, KeyForm::Base64, KeyForm::Sha1Prng];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            KeyForm::Text => "text",
            KeyForm::Hex => "hex",
            KeyForm::Base64 => "base64",
            KeyForm::Sha1Prng => "sha1prng",
        }
    }

    /// The form of that name.
    pub fn from_name(name: &str) -> Option<KeyForm> {
        KeyForm::ALL.into_iter().find(|form| form.name() == name)
    }
}

/// How base64 is cut into lines of 76 characters.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Lines {
    /// One line, without an end.
    One,
    /// A line feed between lines (`MimeEncoder` of Java with `\n`).
    Lf,
    /// CR LF between lines (RFC 2045; `Base64.getMimeEncoder()`).
    CrLf,
    /// A line feed behind every full line, also the last (`BASE64Encoder.encode` on Linux).
    LfBehindFull,
    /// CR LF behind every full line, also the last (`BASE64Encoder.encode` on Windows).
    CrLfBehindFull,
    /// A line feed behind every line (`BASE64Encoder.encodeBuffer` on Linux).
    LfBehindAll,
    /// CR LF behind every line (`BASE64Encoder.encodeBuffer` on Windows).
    CrLfBehindAll,
}

impl Lines {
    /// Every way.
    pub const ALL: [Lines; 7] = [
        Lines::One,
        Lines::Lf,
        Lines::CrLf,
        Lines::LfBehindFull,
        Lines::CrLfBehindFull,
        Lines::LfBehindAll,
        Lines::CrLfBehindAll,
    ];

    /// Its name in a configuration.
    pub fn name(self) -> &'static str {
        match self {
            Lines::One => "one",
            Lines::Lf => "lf",
            Lines::CrLf => "crlf",
            Lines::LfBehindFull => "lf-behind-full",
            Lines::CrLfBehindFull => "crlf-behind-full",
            Lines::LfBehindAll => "lf-behind-all",
            Lines::CrLfBehindAll => "crlf-behind-all",
        }
    }

    /// The way of that name.
    pub fn from_name(name: &str) -> Option<Lines> {
        Lines::ALL.into_iter().find(|lines| lines.name() == name)
    }

    fn cut(self, text: &str) -> String {
        let end = match self {
            Lines::One => return text.to_owned(),
            Lines::Lf | Lines::LfBehindFull | Lines::LfBehindAll => "\n",
            Lines::CrLf | Lines::CrLfBehindFull | Lines::CrLfBehindAll => "\r\n",
        };
        let mut cut = String::with_capacity(text.len() + (text.len() / LINE_CHARACTERS + 1) * 2);
        let mut rest = text;
        while rest.len() > LINE_CHARACTERS {
            let (line, behind) = rest.split_at(LINE_CHARACTERS);
            cut.push_str(line);
            cut.push_str(end);
            rest = behind;
        }
        cut.push_str(rest);
        let full = rest.len() == LINE_CHARACTERS;
        let ended = match self {
            Lines::One | Lines::Lf | Lines::CrLf => false,
            Lines::LfBehindFull | Lines::CrLfBehindFull => full,
            Lines::LfBehindAll | Lines::CrLfBehindAll => true,
        };
        if ended {
            cut.push_str(end);
        }
        cut
    }
}

/// A key of 128, 192 or 256 bits. Its bytes are never printed.
pub struct AesKey(Vec<u8>);

impl AesKey {
    /// Reads a key. White space around it does not matter, whichever the form.
    pub fn from_text(text: &str, form: KeyForm) -> Result<AesKey, AesFault> {
        let text = text.trim();
        let unread = AesFault::KeyUnread { form: form.name() };
        let bytes = match form {
            KeyForm::Text => text.as_bytes().to_vec(),
            KeyForm::Hex => hex::decode(text).map_err(|_| unread)?,
            KeyForm::Base64 => base64(text).ok_or(unread)?,
            KeyForm::Sha1Prng => sha1prng(text.as_bytes()),
        };
        match bytes.len() {
            16 | 24 | 32 => Ok(AesKey(bytes)),
            got => Err(AesFault::KeyLength { got }),
        }
    }

    /// The text as base64, cut into `lines`.
    pub fn encrypt(&self, plain: &str, lines: Lines) -> String {
        let (key, plain) = (self.0.as_slice(), plain.as_bytes());
        let sealed = match key.len() {
            16 => block::ecb_encrypt::<Aes128>(key, plain),
            24 => block::ecb_encrypt::<Aes192>(key, plain),
            _ => block::ecb_encrypt::<Aes256>(key, plain),
        };
        lines.cut(&BASE64.encode(sealed.expect("the constructor saw the key's length")))
    }

    /// The plain text of base64 in one line or in many, of at most [`BODY_BYTES_MAX`] bytes.
    pub fn decrypt(&self, text: &str) -> Result<String, AesFault> {
        if text.len() > BODY_BYTES_MAX {
            return Err(AesFault::Text);
        }
        let sealed = base64(&compact(text)).ok_or(AesFault::Text)?;
        let key = self.0.as_slice();
        let plain = match key.len() {
            16 => block::ecb_decrypt::<Aes128>(key, &sealed),
            24 => block::ecb_decrypt::<Aes192>(key, &sealed),
            _ => block::ecb_decrypt::<Aes256>(key, &sealed),
        };
        String::from_utf8(plain.ok_or(AesFault::Text)?).map_err(|_| AesFault::Text)
    }
}

/// The first 16 bytes that SHA1PRNG gives for a seed: the generator's state is the digest of the
/// seed, and its first output the digest of the state.
fn sha1prng(seed: &[u8]) -> Vec<u8> {
    let state = digest(&SHA1_FOR_LEGACY_USE_ONLY, seed);
    digest(&SHA1_FOR_LEGACY_USE_ONLY, state.as_ref()).as_ref()[..16].to_vec()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key() -> AesKey {
        AesKey::from_text("0123456789abcdef", KeyForm::Text).unwrap()
    }

    /// FIPS 197, annex C: one block, each length of key.
    #[test]
    fn the_examples_of_the_standard() {
        let plain: Vec<u8> = hex::decode("00112233445566778899aabbccddeeff").unwrap();
        let key: String = (0..32).map(|byte| format!("{byte:02x}")).collect();
        let one = |sealed: Result<Vec<u8>, _>| hex::encode(&sealed.ok().unwrap()[..16]);
        let bytes = hex::decode(&key).unwrap();
        for (got, expected) in [
            (
                block::ecb_encrypt::<Aes128>(&bytes[..16], &plain),
                "69c4e0d86a7b0430d8cdb78070b4c55a",
            ),
            (
                block::ecb_encrypt::<Aes192>(&bytes[..24], &plain),
                "dda97ca4864cdfe06eaf70a0ec0d7191",
            ),
            (
                block::ecb_encrypt::<Aes256>(&bytes[..32], &plain),
                "8ea2b7ca516745bfeafc49904b496089",
            ),
        ] {
            assert_eq!(one(got), expected);
        }
        for (digits, bytes) in [(32, 16), (48, 24), (64, 32)] {
            let hex = AesKey::from_text(&key[..digits], KeyForm::Hex).unwrap();
            assert_eq!(hex.0.len(), bytes);
            let plain = "{\"medicarecode\":\"11012345\"}";
            assert_eq!(hex.decrypt(&hex.encrypt(plain, Lines::One)).as_deref(), Ok(plain));
        }
    }

    #[test]
    fn a_key_is_read_in_the_form_that_is_named_and_in_no_other() {
        for form in KeyForm::ALL {
            assert_eq!(KeyForm::from_name(form.name()), Some(form));
        }
        let sealed = key().encrypt("x", Lines::One);
        for (text, form) in [
            (" 0123456789abcdef\n", KeyForm::Text),
            ("30313233343536373839616263646566", KeyForm::Hex),
            ("MDEyMzQ1Njc4OWFiY2RlZg==", KeyForm::Base64),
        ] {
            let key = AesKey::from_text(text, form).unwrap();
            assert_eq!(key.encrypt("x", Lines::One), sealed, "{text}");
        }
        let as_text = AesKey::from_text("30313233343536373839616263646566", KeyForm::Text);
        assert_eq!(as_text.unwrap().0.len(), 32);
        for (text, form, fault) in [
            ("short", KeyForm::Text, AesFault::KeyLength { got: 5 }),
            ("", KeyForm::Hex, AesFault::KeyLength { got: 0 }),
            ("xyz", KeyForm::Hex, AesFault::KeyUnread { form: "hex" }),
            ("*", KeyForm::Base64, AesFault::KeyUnread { form: "base64" }),
        ] {
            assert_eq!(AesKey::from_text(text, form).err(), Some(fault));
        }
    }

    #[test]
    fn lines_end_as_they_are_configured() {
        let cut = |characters: usize, lines: Lines| lines.cut(&"A".repeat(characters));
        let line = "A".repeat(76);
        for (lines, two_full, one_more) in [
            (Lines::One, format!("{line}{line}"), format!("{line}A")),
            (Lines::Lf, format!("{line}\n{line}"), format!("{line}\nA")),
            (Lines::CrLf, format!("{line}\r\n{line}"), format!("{line}\r\nA")),
            (Lines::LfBehindFull, format!("{line}\n{line}\n"), format!("{line}\nA")),
            (Lines::CrLfBehindFull, format!("{line}\r\n{line}\r\n"), format!("{line}\r\nA")),
            (Lines::LfBehindAll, format!("{line}\n{line}\n"), format!("{line}\nA\n")),
            (Lines::CrLfBehindAll, format!("{line}\r\n{line}\r\n"), format!("{line}\r\nA\r\n")),
        ] {
            assert_eq!((cut(152, lines), cut(77, lines)), (two_full, one_more), "{lines:?}");
            assert_eq!(Lines::from_name(lines.name()), Some(lines));
        }
    }

    #[test]
    fn damage_and_other_keys_are_one_fault() {
        let sealed = key().encrypt("{\"yyid00\":\"45010000\"}", Lines::CrLf);
        let other = AesKey::from_text("0123456789abcdeg", KeyForm::Text).unwrap();
        let mut texts = vec![String::new(), "=".into(), "{}".into(), "A".repeat(24)];
        // The last character pads and is not insisted on.
        texts.extend((1..sealed.len() - 1).map(|cut| sealed[..cut].to_owned()));
        texts.push(" ".repeat(BODY_BYTES_MAX + 1));
        for text in &texts {
            assert_eq!(key().decrypt(text), Err(AesFault::Text), "{text}");
        }
        assert_eq!(other.decrypt(&sealed), Err(AesFault::Text));
    }

    proptest! {
        #[test]
        fn every_text_comes_back_whatever_its_lines(plain in ".{0,400}", way in 0..7_usize) {
            let sealed = key().encrypt(&plain, Lines::ALL[way]);
            prop_assert_eq!(key().decrypt(&sealed), Ok(plain));
        }

        #[test]
        fn random_texts_never_panic(text in ".{0,200}|[A-Za-z0-9+/=\\s]{0,300}") {
            let _ = key().decrypt(&text);
            for form in KeyForm::ALL {
                let _ = AesKey::from_text(&text, form);
            }
        }
    }
}
