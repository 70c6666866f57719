//! Our ciphers against those of others, both ways: gmssl for Python, OpenSSL, and Java where a JDK
//! is installed.

use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use forepost::seal::aes::{AesKey, KeyForm, Lines};
use forepost::seal::rsa::RsaKey;
use forepost::seal::sm2::{Encoding, Form, Sm2Key, Sm2PublicKey};
use forepost::seal::sm3;
use forepost::seal::sm4::Sm4Key;
use secrecy::ExposeSecret;
use serde_json::json;

use crate::support::programs::{java, openssl, python};

/// Made up: area code 110199, born 1980-03-07, valid check character.
const NUMBER: &str = "110199198003074013";

/// The private key of the example of GB/T 32918.5, annex C.
const SCALAR: &str = "3945208f7b2144b13f36e38ac6d39f95889393692860b51a42fb81ef4df7c5b8";

const SM4_KEY: &str = "0123456789abcdeffedcba9876543210";
const SM4_START: &str = "000102030405060708090a0b0c0d0e0f";

fn bytes16(digits: &str) -> [u8; 16] {
    hex::decode(digits).unwrap().try_into().unwrap()
}

#[test]
fn gmssl_reads_what_we_make_and_we_read_what_gmssl_makes() {
    let key = Sm2Key::from_pem_or_hex(SCALAR).unwrap();
    let (x, y) = key.public().coordinates();
    let ours = |form| key.public().encrypt(NUMBER, form, Encoding::Hex).unwrap();
    for _ in 0..3 {
        let task = json!({
            "public": format!("{x}{y}"), "private": SCALAR, "plain": NUMBER,
            "ours": {"1": ours(Form::BareC1C3C2), "0": ours(Form::BareC1C2C3)},
            "key": SM4_KEY, "start": SM4_START,
        });
        let theirs = python("ciphers.py", &[&task.to_string()]);
        assert_eq!(theirs["opened"], json!({"1": NUMBER, "0": NUMBER}));
        for (mode, bare, full) in
            [("1", Form::BareC1C3C2, Form::C1C3C2), ("0", Form::BareC1C2C3, Form::C1C2C3)]
        {
            let text = theirs["sm2"][mode].as_str().unwrap();
            let base64 = BASE64_STANDARD.encode(hex::decode(text).unwrap());
            for (text, form) in [(text, bare), (&format!("04{text}"), full), (&base64, bare)] {
                assert_eq!(key.decrypt(text, None), Ok((NUMBER.to_owned(), form)), "{text}");
            }
        }
        let plain = NUMBER.as_bytes();
        let sm4 = Sm4Key::new(bytes16(SM4_KEY));
        assert_eq!(theirs["sm3"], hex::encode(sm3::digest(plain)));
        assert_eq!(theirs["ecb"], hex::encode(sm4.encrypt_ecb(plain)));
        assert_eq!(theirs["cbc"], hex::encode(sm4.encrypt_cbc(&bytes16(SM4_START), plain)));
    }
}

#[test]
fn openssl_reads_our_keys_and_sm2_texts_and_we_read_its() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, content: &[u8]| {
        let path = folder.path().join(name);
        std::fs::write(&path, content).unwrap();
        path.to_str().unwrap().to_owned()
    };
    let ours = Sm2Key::generate().unwrap();
    let theirs = openssl(&["genpkey", "-algorithm", "SM2"], b"");
    let their_key = Sm2Key::from_pem_or_hex(std::str::from_utf8(&theirs).unwrap()).unwrap();
    let (our_pem, our_public) = (ours.to_pem(), ours.public());
    for (key, private) in
        [(&ours, our_pem.expose_secret().as_bytes()), (&their_key, theirs.as_slice())]
    {
        let public = openssl(&["pkey", "-pubout"], private);
        let public = String::from_utf8(public).unwrap();
        assert_eq!(key.public().pem().trim(), public.trim(), "OpenSSL writes it alike");
        assert_eq!(Sm2PublicKey::from_text(&public), Ok(key.public()));
        let (public, private) = (file("public.pem", public.as_bytes()), file("key.pem", private));
        for _ in 0..5 {
            let sealed = ["pkeyutl", "-encrypt", "-pubin", "-inkey", &public];
            let sealed = openssl(&sealed, NUMBER.as_bytes());
            for text in [hex::encode(&sealed), BASE64_STANDARD.encode(&sealed)] {
                assert_eq!(key.decrypt(&text, None), Ok((NUMBER.to_owned(), Form::Der)));
            }
            let sealed = key.public().encrypt(NUMBER, Form::Der, Encoding::Base64).unwrap();
            let sealed = BASE64_STANDARD.decode(sealed).unwrap();
            let opened = openssl(&["pkeyutl", "-decrypt", "-inkey", &private], &sealed);
            assert_eq!(opened, NUMBER.as_bytes());
        }
    }
    let shown = openssl(&["pkey", "-pubin", "-text", "-noout"], our_public.pem().as_bytes());
    let digits: String =
        String::from_utf8(shown).unwrap().chars().filter(|c| c.is_ascii_hexdigit()).collect();
    assert!(digits.contains(&our_public.hex()), "OpenSSL shows the point that we show");
}

#[test]
fn openssl_agrees_on_sm3_sm4_and_aes() {
    for length in [0, 1, 15, 16, 17, 100, 1000] {
        let plain = "a".repeat(length);
        let digest = openssl(&["dgst", "-sm3", "-binary"], plain.as_bytes());
        assert_eq!(digest, sm3::digest(plain.as_bytes()));
        let sm4 = Sm4Key::new(bytes16(SM4_KEY));
        let ecb = openssl(&["enc", "-sm4-ecb", "-K", SM4_KEY], plain.as_bytes());
        assert_eq!(sm4.encrypt_ecb(plain.as_bytes()), ecb);
        assert_eq!(sm4.decrypt_ecb(&ecb).unwrap(), plain.as_bytes());
        let cbc = ["enc", "-sm4-cbc", "-K", SM4_KEY, "-iv", SM4_START];
        let cbc = openssl(&cbc, plain.as_bytes());
        assert_eq!(sm4.encrypt_cbc(&bytes16(SM4_START), plain.as_bytes()), cbc);
        assert_eq!(sm4.decrypt_cbc(&bytes16(SM4_START), &cbc).unwrap(), plain.as_bytes());
        let aes = AesKey::from_text(SM4_KEY, KeyForm::Hex).unwrap();
        // Its lines have 64 characters and end behind each.
        let lines = ["enc", "-aes-128-ecb", "-K", SM4_KEY, "-base64"];
        let lines = String::from_utf8(openssl(&lines, plain.as_bytes())).unwrap();
        assert_eq!(aes.decrypt(&lines).as_deref(), Ok(plain.as_str()));
        assert_eq!(aes.encrypt(&plain, Lines::One), lines.replace('\n', ""));
    }
}

#[test]
fn java_reads_what_we_make_and_makes_it_alike() {
    let private = openssl(&["genpkey", "-algorithm", "RSA"], b"");
    let public = String::from_utf8(openssl(&["pkey", "-pubout"], &private)).unwrap();
    let private = openssl(&["pkcs8", "-topk8", "-nocrypt", "-outform", "DER"], &private);
    let private = BASE64_STANDARD.encode(private);
    let sign = RsaKey::from_text(&public).unwrap().encrypt("app-17,45010000,license").unwrap();
    let key = "aes-16-key-chars";
    let aes = AesKey::from_text(key, KeyForm::Text).unwrap();
    // 304 characters of three bytes make 912 bytes under the cipher: sixteen full lines.
    for plain in ["{\"medicarecode\":\"11012345\"}".to_owned(), "影".repeat(303)] {
        let ours = aes.encrypt(&plain, Lines::CrLfBehindAll);
        let arguments = [key, &plain, &ours, "前置机-seed", &private, &sign];
        let Some(lines) = java("Ciphers.java", &arguments) else { return };
        let [opened, one, lf, crlf, seeded, sign] = lines.as_slice() else {
            panic!("six answers, not {lines:?}");
        };
        let shown = |text: String| text.replace('\r', "\\r").replace('\n', "\\n");
        assert_eq!(opened, &plain);
        assert_eq!(one, &aes.encrypt(&plain, Lines::One));
        assert_eq!(lf, &shown(aes.encrypt(&plain, Lines::Lf)));
        assert_eq!(crlf, &shown(aes.encrypt(&plain, Lines::CrLf)));
        let from_seed = AesKey::from_text("前置机-seed", KeyForm::Sha1Prng).unwrap();
        let from_hex = AesKey::from_text(seeded, KeyForm::Hex).unwrap();
        let text = from_seed.encrypt(&plain, Lines::One);
        assert_eq!(text, from_hex.encrypt(&plain, Lines::One), "the same key");
        assert_eq!(sign, "app-17,45010000,license");
    }
}
