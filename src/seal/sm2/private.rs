//! The hospital's key: it opens what was encrypted to its public half.

use secrecy::SecretString;
use sm2::SecretKey;
use sm2::elliptic_curve::Generate;
use sm2::elliptic_curve::common::getrandom::SysRng;
use sm2::pkcs8::{EncodePrivateKey, LineEnding};
use sm2::pke::DecryptingKey;

use super::{CIPHERTEXT_CHARACTERS_MAX, Form, Sm2Fault, Sm2PublicKey};
use crate::seal::text::{KEY_CHARACTERS_MAX, compact, pem_body, readings};

/// Bytes of the secret scalar.
const SCALAR_BYTES: usize = 32;

/// A private key.
pub struct Sm2Key {
    secret: SecretKey,
    decrypting: DecryptingKey,
}

impl Sm2Key {
    /// A new key from the system's random source.
    pub fn generate() -> Result<Sm2Key, Sm2Fault> {
        let secret = SecretKey::try_generate_from_rng(&mut SysRng);
        Ok(Sm2Key::new(secret.map_err(|_| Sm2Fault::Random)?))
    }

    /// Reads a key from PEM (PKCS#8 or SEC 1, other blocks around it are passed over), from the
    /// same DER in base64 or hexadecimal, or from the scalar in hexadecimal (also with the 00 that
    /// Java puts before a large number).
    pub fn from_pem_or_hex(text: &str) -> Result<Sm2Key, Sm2Fault> {
        if text.len() > KEY_CHARACTERS_MAX {
            return Err(Sm2Fault::KeyUnread);
        }
        let body = match pem_body(text, "PRIVATE KEY") {
            Some(_) if text.contains("ENCRYPTED") => return Err(Sm2Fault::KeyEncrypted),
            Some(body) => body,
            None => text,
        };
        let secret = readings(&compact(body)).into_iter().find_map(|bytes| secret_key(&bytes));
        secret.map(Sm2Key::new).ok_or(Sm2Fault::KeyUnread)
    }

    fn new(secret: SecretKey) -> Sm2Key {
        let decrypting = DecryptingKey::new(secret.clone());
        Sm2Key { secret, decrypting }
    }

    /// The key as PEM, PKCS#8 (RFC 5958). For its own file and nothing else.
    pub fn to_pem(&self) -> SecretString {
        let pem = self.secret.to_pkcs8_pem(LineEnding::LF).expect("a key of a known curve");
        SecretString::from(pem.as_str())
    }

    /// Its public half.
    pub fn public(&self) -> Sm2PublicKey {
        Sm2PublicKey::new(self.secret.public_key())
    }

    /// The plain text and the form that the ciphertext had; `first` is tried before the others, and
    /// the right one halves the time. White space in the ciphertext does not matter.
    pub fn decrypt(&self, text: &str, first: Option<Form>) -> Result<(String, Form), Sm2Fault> {
        if text.len() > CIPHERTEXT_CHARACTERS_MAX {
            return Err(Sm2Fault::Ciphertext);
        }
        let readings = readings(&compact(text));
        let others = Form::ALL.into_iter().filter(|form| Some(*form) != first);
        let (plain, form) = first
            .into_iter()
            .chain(others)
            .find_map(|form| {
                readings.iter().find_map(|bytes| Some((self.open(bytes, form)?, form)))
            })
            .ok_or(Sm2Fault::Ciphertext)?;
        let plain = String::from_utf8(plain).map_err(|_| Sm2Fault::Ciphertext)?;
        if plain.is_empty() { Err(Sm2Fault::Ciphertext) } else { Ok((plain, form)) }
    }

    /// C3 decides.
    fn open(&self, bytes: &[u8], form: Form) -> Option<Vec<u8>> {
        self.decrypting.decrypt_der(&form.to_der(bytes)?).ok()
    }
}

impl std::fmt::Debug for Sm2Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Sm2Key(…)")
    }
}

fn secret_key(bytes: &[u8]) -> Option<SecretKey> {
    match bytes {
        [0, scalar @ ..] if scalar.len() == SCALAR_BYTES => SecretKey::from_slice(scalar).ok(),
        scalar if scalar.len() == SCALAR_BYTES => SecretKey::from_slice(scalar).ok(),
        der => SecretKey::from_der(der).ok(),
    }
}
