use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use serde::Deserialize;
use sm2::SecretKey;
use sm2::elliptic_curve::common::getrandom::SysRng;
use sm2::pke::{EncryptingKey, Mode};

use super::form::POINT_FULL;
use super::*;
use crate::seal::text::{BASE64, KEY_CHARACTERS_MAX};

/// A made-up number: area code 110199, born 1980-03-07, valid check character.
const NUMBER: &str = "110199198003074013";
const SCALAR: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";

#[derive(Deserialize)]
struct Vectors {
    plain: String,
    key_hex: String,
    key_pkcs8: String,
    key_sec1: String,
    vector: Vec<Vector>,
}

#[derive(Deserialize)]
struct Vector {
    made_by: String,
    form: String,
    text: String,
}

fn vectors() -> Vectors {
    toml::from_str(include_str!("../../../tests/fixtures/sm2.toml")).unwrap()
}

fn key() -> Sm2Key {
    Sm2Key::from_pem_or_hex(SCALAR).unwrap()
}

fn open(key: &Sm2Key, text: &str) -> Result<String, Sm2Fault> {
    key.decrypt(text, None).map(|(plain, _)| plain)
}

fn encrypting(mode: Mode) -> EncryptingKey {
    let secret = SecretKey::from_slice(&hex::decode(SCALAR).unwrap()).unwrap();
    EncryptingKey::new_with_mode(secret.public_key(), mode)
}

/// The bytes of `plain` in every layout.
fn layouts(plain: &[u8]) -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for mode in [Mode::C1C3C2, Mode::C1C2C3] {
        let full = encrypting(mode).encrypt(&mut SysRng, plain).unwrap();
        assert_eq!(full[0], POINT_FULL);
        let mut compressed = vec![2 + (full[64] & 1)];
        compressed.extend(&full[1..33]);
        compressed.extend(&full[65..]);
        all.extend([full[1..].to_vec(), full, compressed]);
    }
    all.push(encrypting(Mode::C1C3C2).encrypt_der(&mut SysRng, plain).unwrap());
    all
}

/// `bytes` in every encoding.
fn encodings(bytes: &[u8]) -> Vec<String> {
    let hex = hex::encode(bytes);
    let base64 = BASE64_STANDARD.encode(bytes);
    let folded: Vec<&str> =
        base64.as_bytes().chunks(76).map(|line| std::str::from_utf8(line).unwrap()).collect();
    vec![
        hex.to_uppercase(),
        format!("0x{hex}"),
        format!(" {hex}\n"),
        hex,
        folded.join("\r\n"),
        base64,
        BASE64_URL_SAFE_NO_PAD.encode(bytes),
    ]
}

#[test]
fn every_layout_in_every_encoding_is_read() {
    let key = key();
    for _ in 0..8 {
        for bytes in layouts(NUMBER.as_bytes()) {
            for text in encodings(&bytes) {
                assert_eq!(open(&key, &text).as_deref(), Ok(NUMBER), "{text}");
                assert!(looks_encrypted(&text) || text.starts_with("0x"), "{text}");
            }
        }
    }
}

#[test]
fn what_other_implementations_made_is_read_under_every_form_of_the_key() {
    let vectors = vectors();
    assert!(vectors.vector.len() >= 8);
    for text in [&vectors.key_hex, &vectors.key_pkcs8, &vectors.key_sec1] {
        let key = Sm2Key::from_pem_or_hex(text).unwrap();
        for Vector { made_by, form, text } in &vectors.vector {
            let plain = open(&key, text);
            assert_eq!(plain.as_deref(), Ok(vectors.plain.as_str()), "{made_by} {form}");
        }
    }
    let vector = &vectors.vector[0].text;
    assert_eq!(open(&key(), vector), Err(Sm2Fault::Ciphertext), "another key");
}

#[test]
fn keys_are_read_in_every_form_and_refused_with_a_reason() {
    let vectors = vectors();
    let secret = SecretKey::from_slice(&hex::decode(&vectors.key_hex).unwrap()).unwrap();
    let der = secret.to_sec1_der().unwrap();
    let text = &vectors.vector[0].text;
    let parameters = "-----BEGIN EC PARAMETERS-----\nBggqgRzPVQGCLQ==\n\
                      -----END EC PARAMETERS-----\n";
    for form in [
        vectors.key_hex.to_uppercase(),
        format!("00{}", vectors.key_hex),
        format!("0x{}\n", vectors.key_hex),
        BASE64_STANDARD.encode(hex::decode(&vectors.key_hex).unwrap()),
        BASE64_STANDARD.encode(&der),
        hex::encode(&der),
        format!("{parameters}{}", vectors.key_sec1),
        vectors.key_pkcs8.replace('\n', "\r\n"),
    ] {
        let key = Sm2Key::from_pem_or_hex(&form).unwrap();
        assert_eq!(open(&key, text).as_deref(), Ok(vectors.plain.as_str()));
    }
    let refused = |text: &str| Sm2Key::from_pem_or_hex(text).map(|_| ()).unwrap_err();
    for text in ["", "00", "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----"] {
        assert_eq!(refused(text), Sm2Fault::KeyUnread);
    }
    assert_eq!(refused(&"0".repeat(64)), Sm2Fault::KeyUnread, "zero is no key");
    assert_eq!(refused(&"f".repeat(64)), Sm2Fault::KeyUnread, "beyond the order");
    assert_eq!(refused(&"a".repeat(KEY_CHARACTERS_MAX + 1)), Sm2Fault::KeyUnread);
    let encrypted = vectors.key_pkcs8.replace("PRIVATE", "ENCRYPTED PRIVATE");
    assert_eq!(refused(&encrypted), Sm2Fault::KeyEncrypted);
    assert_eq!(format!("{:?}", key()), "Sm2Key(…)");
}

#[test]
fn no_mutation_panics_or_opens() {
    let key = key();
    let layouts = layouts(NUMBER.as_bytes());
    let mut state = 0x9E37_79B9_7F4A_7C15_u64;
    // SplitMix64, so that a failure can be repeated with the same changes.
    let mut random = move |below: usize| {
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) % below as u64) as usize
    };
    for round in 0..2_000 {
        let mut bytes = layouts[round % layouts.len()].clone();
        match random(4) {
            0 => bytes.truncate(random(bytes.len())),
            1 => bytes.push(random(256) as u8),
            2 => {
                // Not the first: without its 04 a point in full is another form, not damage.
                let at = 1 + random(bytes.len() - 1);
                bytes.remove(at);
            }
            _ => {
                let at = random(bytes.len());
                bytes[at] ^= 1 << random(8);
            }
        }
        let text = if round % 2 == 0 { hex::encode(&bytes) } else { BASE64.encode(&bytes) };
        let opened = open(&key, &text);
        assert_eq!(opened, Err(Sm2Fault::Ciphertext), "round {round}: {text}");
    }
}

#[test]
fn bounds_and_plain_texts_that_are_no_text_are_refused_alike() {
    let key = key();
    let longest = CIPHERTEXT_CHARACTERS_MAX / 2 - 96;
    let at_limit = &layouts("1".repeat(longest).as_bytes())[0];
    let text = hex::encode(at_limit);
    assert_eq!(text.len(), CIPHERTEXT_CHARACTERS_MAX);
    assert_eq!(open(&key, &text).map(|plain| plain.len()), Ok(longest));
    assert!(looks_encrypted(&text));
    assert_eq!(open(&key, &format!("{text} ")), Err(Sm2Fault::Ciphertext));
    let not_text = hex::encode(&layouts(&[0xFF, 0xFE])[0]);
    assert_eq!(open(&key, &not_text), Err(Sm2Fault::Ciphertext));
    for text in ["", "0x", "=", NUMBER, "身份证"] {
        assert_eq!(open(&key, text), Err(Sm2Fault::Ciphertext));
    }
}

#[test]
fn numbers_and_names_do_not_look_encrypted() {
    for text in [NUMBER, "110199800307401", "11019919800307401X", "", "74401972", "王小东"] {
        assert!(!looks_encrypted(text), "{text}");
    }
    assert!(!looks_encrypted(&"王".repeat(40)));
    assert!(!looks_encrypted(&"a".repeat(CIPHERTEXT_CHARACTERS_MIN - 1)));
    assert!(looks_encrypted(&"a".repeat(CIPHERTEXT_CHARACTERS_MIN)));
    assert!(!looks_encrypted(&"a".repeat(CIPHERTEXT_CHARACTERS_MAX + 1)));
}

/// The example of GB/T 32918.5, annex C: key, public key, and the parts of the ciphertext of
/// `encryption standard`.
#[test]
fn the_example_of_the_standard_opens_in_every_form() {
    const X: &str = "09f9df311e5421a150dd7d161e4bc5c672179fad1833fc076bb08ff356f35020";
    const Y: &str = "ccea490ce26775a52dc6ea718cc1aa600aed05fbf35e084a6632f6072da9ad13";
    const C1: &str = "04ebfc718e8d1798620432268e77feb6415e2ede0e073c0f4f640ecd2e149a73\
                      e858f9d81e5430a57b36daab8f950a3c64e6ee6a63094d99283aff767e124df0";
    const C3: &str = "59983c18f809e262923c53aec295d30383b54e39d609d160afcb1908d0bd8766";
    const C2: &str = "21886ca989ca9c7d58087307ca93092d651efa";
    let key = key();
    assert_eq!(key.public().coordinates(), (X.to_owned(), Y.to_owned()));
    for (form, text) in [
        (Form::C1C3C2, format!("04{C1}{C3}{C2}")),
        (Form::C1C2C3, format!("04{C1}{C2}{C3}")),
        (Form::BareC1C3C2, format!("{C1}{C3}{C2}")),
        (Form::BareC1C2C3, format!("{C1}{C2}{C3}")),
    ] {
        for first in [None, Some(form), Some(Form::Der), Some(Form::C1C3C2)] {
            let opened = key.decrypt(&text, first);
            assert_eq!(opened, Ok(("encryption standard".to_owned(), form)), "{form:?} {first:?}");
        }
    }
}

#[test]
fn what_is_encrypted_opens_in_the_form_that_was_asked_for_and_in_no_other() {
    let key = key();
    for form in Form::ALL {
        assert_eq!(Form::from_name(form.name()), Some(form));
        for encoding in Encoding::ALL {
            assert_eq!(Encoding::from_name(encoding.name()), Some(encoding));
            let text = key.public().encrypt(NUMBER, form, encoding).unwrap();
            assert_eq!(key.decrypt(&text, None), Ok((NUMBER.to_owned(), form)), "{text}");
            assert!(looks_encrypted(&text));
            let again = key.public().encrypt(NUMBER, form, encoding).unwrap();
            assert_ne!(text, again, "two ciphertexts of one text differ");
        }
    }
    let bytes = hex::decode(key.public().encrypt(NUMBER, Form::C1C3C2, Encoding::Hex).unwrap());
    assert_eq!(bytes.map(|bytes| bytes.len()), Ok(65 + 32 + 18));
    assert_eq!(Form::from_name("c1c3"), None);
    assert_eq!(Encoding::from_name("HEX"), None);
}

#[test]
fn texts_at_the_limit_are_encrypted_and_beyond_it_refused() {
    let key = key();
    let longest = "1".repeat(PLAIN_BYTES_MAX);
    for form in Form::ALL {
        let text = key.public().encrypt(&longest, form, Encoding::Hex).unwrap();
        assert_eq!(open(&key, &text).as_deref(), Ok(longest.as_str()), "{form:?}");
        for refused in [String::new(), "1".repeat(PLAIN_BYTES_MAX + 1)] {
            let fault = key.public().encrypt(&refused, form, Encoding::Hex).unwrap_err();
            assert_eq!(fault, Sm2Fault::Plain { got: refused.len() });
        }
    }
}

#[test]
fn a_public_key_is_read_from_every_form_that_it_is_shown_in() {
    let public = key().public();
    let (x, y) = public.coordinates();
    let last = u8::from_str_radix(&y[62..], 16).unwrap();
    for text in [
        public.hex(),
        public.hex().to_uppercase(),
        format!("{x}{y}"),
        format!("0x{}", public.hex()),
        format!("{:02x}{x}", 2 + (last & 1)),
        public.base64(),
        BASE64_STANDARD.encode(hex::decode(format!("{x}{y}")).unwrap()),
        public.der_base64(),
        hex::encode(BASE64_STANDARD.decode(public.der_base64()).unwrap()),
        public.pem(),
        public.pem().replace('\n', "\r\n"),
    ] {
        assert_eq!(Sm2PublicKey::from_text(&text), Ok(public), "{text}");
    }
    let off_the_curve = format!("{x}{}", "1".repeat(64));
    for text in ["", "04", &"0".repeat(128), &off_the_curve, &"a".repeat(KEY_CHARACTERS_MAX + 1)] {
        assert_eq!(Sm2PublicKey::from_text(text), Err(Sm2Fault::PublicKeyUnread));
    }
}

#[test]
fn a_new_key_is_its_own_and_reads_again_from_its_pem() {
    use secrecy::ExposeSecret;
    let (one, other) = (Sm2Key::generate().unwrap(), Sm2Key::generate().unwrap());
    assert_ne!(one.public(), other.public());
    let again = Sm2Key::from_pem_or_hex(one.to_pem().expose_secret()).unwrap();
    assert_eq!(again.public(), one.public());
    let text = one.public().encrypt(NUMBER, Form::C1C3C2, Encoding::Hex).unwrap();
    assert_eq!(open(&again, &text).as_deref(), Ok(NUMBER));
    assert_eq!(open(&other, &text), Err(Sm2Fault::Ciphertext), "another key, the same fault");
}

proptest::proptest! {
    #[test]
    fn random_texts_never_open_and_never_panic(
        text in "[0-9a-fA-F]{0,300}|[A-Za-z0-9+/=_-]{0,300}|.{0,80}",
    ) {
        proptest::prop_assert_eq!(open(&key(), &text), Err(Sm2Fault::Ciphertext));
        let _ = Sm2PublicKey::from_text(&text);
        let _ = Sm2Key::from_pem_or_hex(&text);
    }
}
