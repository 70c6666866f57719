//! The file format age (age-encryption.org/v1) with X25519 keys: what a backup is wrapped in.
//!
//! For: backups that a hospital opens with Debian's `age`, without us. Always holds: a file opens
//! with any one of its recipients' keys and no other; a byte that was changed, left out or added
//! is found before what it would have become is handed on; a file that was cut short ends in an
//! error, never in an end. On the wire: a header of lines (the file key, wrapped for each
//! recipient, and an HMAC over them), 16 random bytes, then chunks of 64 KiB under
//! ChaCha20-Poly1305, the last one marked as such. Refused: the crate `age`, which brings 80 crates
//! and a second set of ciphers for what is 200 lines over aws-lc-rs; passphrases, which a person
//! chooses too short. What is read and written is a stream; no file is ever whole in memory. Start
//! at [`Sealer`].

use std::fmt;
use std::io::{self, BufRead, Read, Write};

use aws_lc_rs::aead::{Aad, CHACHA20_POLY1305, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, PrivateKey, UnparsedPublicKey, X25519};
use aws_lc_rs::{hkdf, hmac, rand};
use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use bech32::{Bech32, Hrp};
use secrecy::{ExposeSecret, SecretString};

/// The first line of every file.
pub const VERSION: &str = "age-encryption.org/v1";

/// What a recipient's line and key derivation are called.
const X25519_INFO: &[u8] = b"age-encryption.org/v1/X25519";

/// Bytes of plain text in a chunk; only the last has fewer.
const CHUNK: usize = 64 * 1024;

/// Bytes of a chunk's tag.
const TAG: usize = 16;

/// Bytes of the key that all recipients unwrap.
const FILE_KEY: usize = 16;

/// Recipients of one file: a recovery key, the hospital's, their predecessors, another's.
pub const RECIPIENTS_MAX: usize = 20;

/// Bytes of a header that are read: each recipient's two lines many times over.
const HEADER_BYTES_MAX: usize = 64 * 1024;

/// Why a key was not read or a file not opened.
#[derive(Debug, thiserror::Error)]
pub enum AgeFault {
    /// Not a public key of this kind.
    #[error("not an age recipient, expected a line that begins with age1")]
    Recipient,
    /// No secret key in the text.
    #[error("no age key in it, expected a line that begins with AGE-SECRET-KEY-1")]
    Identity,
    /// None, or more than are taken.
    #[error("{got} recipients, expected 1 to {RECIPIENTS_MAX}")]
    Recipients {
        /// How many.
        got: usize,
    },
    /// Another format, or a damaged header.
    #[error("not an age file, or its header is damaged")]
    Header,
    /// Nobody of the recipients is here.
    #[error("none of the given keys opens it: it was sealed to other recipients")]
    NoKey,
    /// The library refused. Says nothing of the keys.
    #[error("age: the cipher failed")]
    Failed,
    /// Reading or writing.
    #[error(transparent)]
    Stream(#[from] io::Error),
}

/// Whom a file is for: the public half of a key.
#[derive(Clone, PartialEq, Eq)]
pub struct Recipient([u8; 32]);

impl Recipient {
    /// Reads `age1…`.
    pub fn parse(text: &str) -> Result<Recipient, AgeFault> {
        let (prefix, bytes) = bech32::decode(text.trim()).map_err(|_| AgeFault::Recipient)?;
        let bytes = bytes.try_into().map_err(|_| AgeFault::Recipient)?;
        match prefix.as_str() == "age" {
            true => Ok(Recipient(bytes)),
            false => Err(AgeFault::Recipient),
        }
    }

    /// The file key, wrapped under an agreement with a key that is used once: two lines.
    fn wrap(&self, file_key: &[u8; FILE_KEY]) -> Result<String, AgeFault> {
        let once = private(random::<32>())?;
        let share = public(&once)?;
        let key = agree(&once, &self.0, &share, &self.0)?;
        let mut body = file_key.to_vec();
        key.seal_in_place_append_tag(nonce(0, false), Aad::empty(), &mut body)
            .map_err(|_| AgeFault::Failed)?;
        let [share, body] = [&share[..], &body].map(|bytes| BASE64_STANDARD_NO_PAD.encode(bytes));
        Ok(format!("-> X25519 {share}\n{body}\n"))
    }
}

impl fmt::Display for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = bech32::encode::<Bech32>(Hrp::parse_unchecked("age"), &self.0);
        f.write_str(&text.map_err(|_| fmt::Error)?)
    }
}

impl fmt::Debug for Recipient {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// The secret half of a key.
pub struct Identity {
    secret: [u8; 32],
    key: PrivateKey,
    public: [u8; 32],
}

impl Identity {
    /// A new one.
    pub fn generate() -> Result<Identity, AgeFault> {
        Identity::of(random())
    }

    /// Every key of a file as `age-keygen` writes it: one a line, `#` before remarks.
    pub fn all(text: &str) -> Result<Vec<Identity>, AgeFault> {
        let lines = text.lines().map(str::trim);
        let lines = lines.filter(|line| !line.is_empty() && !line.starts_with('#'));
        let read = |line: &str| {
            let (prefix, bytes) = bech32::decode(line).map_err(|_| AgeFault::Identity)?;
            let bytes = bytes.try_into().map_err(|_| AgeFault::Identity)?;
            match prefix.to_lowercase() == "age-secret-key-" {
                true => Identity::of(bytes),
                false => Err(AgeFault::Identity),
            }
        };
        let all: Vec<Identity> = lines.map(read).collect::<Result<_, _>>()?;
        if all.is_empty() { Err(AgeFault::Identity) } else { Ok(all) }
    }

    fn of(secret: [u8; 32]) -> Result<Identity, AgeFault> {
        let key = private(secret)?;
        Ok(Identity { public: public(&key)?, key, secret })
    }

    /// What files are sealed to.
    pub fn recipient(&self) -> Recipient {
        Recipient(self.public)
    }

    /// The line to keep: `AGE-SECRET-KEY-1…`.
    pub fn to_secret_line(&self) -> SecretString {
        let prefix = Hrp::parse_unchecked("age-secret-key-");
        let text = bech32::encode_upper::<Bech32>(prefix, &self.secret);
        SecretString::from(text.expect("62 characters are no more than bech32 takes"))
    }

    /// The file key, if this recipient's lines are for this key.
    fn unwrap(&self, share: &str, body: &str) -> Option<[u8; FILE_KEY]> {
        let share: [u8; 32] = BASE64_STANDARD_NO_PAD.decode(share).ok()?.try_into().ok()?;
        let mut body = BASE64_STANDARD_NO_PAD.decode(body).ok()?;
        if body.len() != FILE_KEY + TAG {
            return None;
        }
        let key = agree(&self.key, &share, &share, &self.public).ok()?;
        let plain = key.open_in_place(nonce(0, false), Aad::empty(), &mut body).ok()?;
        plain.try_into().ok()
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Identity({})", self.recipient())
    }
}

/// Writes a file for its recipients. What is written to it leaves sealed, a chunk at a time;
/// without [`Sealer::finish`] the file is one that was cut short.
pub struct Sealer<W: Write> {
    out: W,
    key: LessSafeKey,
    chunks: u64,
    plain: Vec<u8>,
}

impl<W: Write> Sealer<W> {
    /// Writes the header.
    pub fn new(mut out: W, recipients: &[Recipient]) -> Result<Sealer<W>, AgeFault> {
        if !(1..=RECIPIENTS_MAX).contains(&recipients.len()) {
            return Err(AgeFault::Recipients { got: recipients.len() });
        }
        let file_key: [u8; FILE_KEY] = random();
        let mut header = format!("{VERSION}\n");
        for recipient in recipients {
            header.push_str(&recipient.wrap(&file_key)?);
        }
        header.push_str("---");
        let tag = hmac::sign(&mac_key(&file_key), header.as_bytes());
        let salt: [u8; 16] = random();
        writeln!(out, "{header} {}", BASE64_STANDARD_NO_PAD.encode(tag))?;
        out.write_all(&salt)?;
        let key = cipher(&derive(&salt, &file_key, b"payload"))?;
        Ok(Sealer { out, key, chunks: 0, plain: Vec::with_capacity(CHUNK + TAG) })
    }

    /// Marks the last chunk as such and gives back what lies below.
    pub fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = nonce(self.chunks, last);
        self.key
            .seal_in_place_append_tag(nonce, Aad::empty(), &mut self.plain)
            .map_err(|_| io::Error::other(AgeFault::Failed))?;
        self.out.write_all(&self.plain)?;
        self.plain.clear();
        self.chunks += 1;
        Ok(())
    }
}

impl<W: Write> Write for Sealer<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // A full chunk is kept until more comes: it may be the last one.
        if self.plain.len() == CHUNK && !bytes.is_empty() {
            self.seal(false)?;
        }
        let taken = bytes.len().min(CHUNK - self.plain.len());
        self.plain.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Reads a file with one of its keys. Every chunk is authenticated before any of it is handed on.
pub struct Opener<R: BufRead> {
    from: R,
    key: LessSafeKey,
    chunks: u64,
    plain: Vec<u8>,
    given: usize,
    ended: bool,
}

impl<R: BufRead> Opener<R> {
    /// Reads the header and finds the key that opens it.
    pub fn new(mut from: R, identities: &[Identity]) -> Result<Opener<R>, AgeFault> {
        let (file_key, header, tag) = read_header(&mut from, identities)?;
        hmac::verify(&mac_key(&file_key), header.as_bytes(), &tag).map_err(|_| AgeFault::Header)?;
        let mut salt = [0; 16];
        from.read_exact(&mut salt)?;
        let key = cipher(&derive(&salt, &file_key, b"payload"))?;
        let plain = Vec::with_capacity(CHUNK + TAG);
        Ok(Opener { from, key, chunks: 0, plain, given: 0, ended: false })
    }

    fn next_chunk(&mut self) -> io::Result<()> {
        self.plain.clear();
        self.given = 0;
        let limit = (CHUNK + TAG) as u64;
        (&mut self.from).take(limit).read_to_end(&mut self.plain)?;
        let last = self.from.fill_buf()?.is_empty();
        let nonce = nonce(self.chunks, last);
        let opened = self.key.open_in_place(nonce, Aad::empty(), &mut self.plain);
        let opened = opened.map_err(|_| damaged("the file is damaged or was cut short"))?.len();
        // Only a file that holds nothing at all has an empty chunk.
        if opened == 0 && self.chunks > 0 {
            return Err(damaged("the file ends in an empty chunk"));
        }
        self.plain.truncate(opened);
        self.chunks += 1;
        self.ended = last;
        Ok(())
    }
}

impl<R: BufRead> Read for Opener<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        if self.given == self.plain.len() && !self.ended {
            self.next_chunk()?;
        }
        let taken = into.len().min(self.plain.len() - self.given);
        into[..taken].copy_from_slice(&self.plain[self.given..self.given + taken]);
        self.given += taken;
        Ok(taken)
    }
}

/// The file key, the header as it is authenticated, and the tag that it must have.
fn read_header(
    from: &mut impl BufRead,
    identities: &[Identity],
) -> Result<([u8; FILE_KEY], String, Vec<u8>), AgeFault> {
    let mut header = String::new();
    let mut line = |header: &mut String| -> Result<String, AgeFault> {
        let left = HEADER_BYTES_MAX.saturating_sub(header.len()) as u64;
        let mut bytes = Vec::new();
        (&mut *from).take(left).read_until(b'\n', &mut bytes)?;
        let text = String::from_utf8(bytes).map_err(|_| AgeFault::Header)?;
        let text = text.strip_suffix('\n').ok_or(AgeFault::Header)?;
        header.push_str(text);
        header.push('\n');
        Ok(text.to_owned())
    };
    if line(&mut header)? != VERSION {
        return Err(AgeFault::Header);
    }
    let mut file_key = None;
    let mut next = line(&mut header)?;
    loop {
        if let Some(tag) = next.strip_prefix("--- ") {
            let tag = BASE64_STANDARD_NO_PAD.decode(tag).map_err(|_| AgeFault::Header)?;
            header.truncate(header.len() - next.len() - 1);
            header.push_str("---");
            return Ok((file_key.ok_or(AgeFault::NoKey)?, header, tag));
        }
        let words: Vec<String> =
            next.strip_prefix("-> ").ok_or(AgeFault::Header)?.split(' ').map(Into::into).collect();
        // A body ends with a line of fewer than 64 characters, which may have none.
        let mut body = line(&mut header)?;
        let mut end = body.len() < 64;
        while !end {
            let more = line(&mut header)?;
            end = more.len() < 64;
            body.push_str(&more);
        }
        if let [kind, share] = words.as_slice()
            && kind == "X25519"
        {
            let opened = identities.iter().find_map(|one| one.unwrap(share, &body));
            file_key = file_key.or(opened);
        }
        next = line(&mut header)?;
    }
}

fn random<const N: usize>() -> [u8; N] {
    let mut bytes = [0; N];
    rand::fill(&mut bytes).expect("the system's random source answers after start-up");
    bytes
}

fn private(secret: [u8; 32]) -> Result<PrivateKey, AgeFault> {
    PrivateKey::from_private_key(&X25519, &secret).map_err(|_| AgeFault::Failed)
}

fn public(key: &PrivateKey) -> Result<[u8; 32], AgeFault> {
    let public = key.compute_public_key().map_err(|_| AgeFault::Failed)?;
    public.as_ref().try_into().map_err(|_| AgeFault::Failed)
}

/// The key that both sides of an agreement have; it is bound to both public halves.
fn agree(
    own: &PrivateKey,
    other: &[u8; 32],
    share: &[u8; 32],
    recipient: &[u8; 32],
) -> Result<LessSafeKey, AgeFault> {
    let other = UnparsedPublicKey::new(&X25519, other);
    agreement::agree(own, other, AgeFault::Failed, |shared| {
        cipher(&derive(&[&share[..], recipient].concat(), shared, X25519_INFO))
    })
}

fn derive(salt: &[u8], secret: &[u8], info: &[u8]) -> [u8; 32] {
    let mut key = [0; 32];
    hkdf::Salt::new(hkdf::HKDF_SHA256, salt)
        .extract(secret)
        .expand(&[info], hkdf::HKDF_SHA256)
        .and_then(|made| made.fill(&mut key))
        .expect("one block of SHA-256 is not too much to ask for");
    key
}

fn cipher(key: &[u8; 32]) -> Result<LessSafeKey, AgeFault> {
    let key = UnboundKey::new(&CHACHA20_POLY1305, key).map_err(|_| AgeFault::Failed)?;
    Ok(LessSafeKey::new(key))
}

fn mac_key(file_key: &[u8; FILE_KEY]) -> hmac::Key {
    hmac::Key::new(hmac::HMAC_SHA256, &derive(&[], file_key, b"header"))
}

/// Eleven bytes of the chunk's number, then whether it is the last.
fn nonce(chunk: u64, last: bool) -> Nonce {
    let mut bytes = [0; 12];
    bytes[3..11].copy_from_slice(&chunk.to_be_bytes());
    bytes[11] = u8::from(last);
    Nonce::assume_unique_for_key(bytes)
}

fn damaged(words: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidData, words)
}

/// Made public for those who print it: a secret is shown once.
impl From<&Identity> for String {
    fn from(identity: &Identity) -> String {
        identity.to_secret_line().expose_secret().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sealed(plain: &[u8], to: &[&Identity]) -> Vec<u8> {
        let recipients: Vec<Recipient> = to.iter().map(|one| one.recipient()).collect();
        let mut sealer = Sealer::new(Vec::new(), &recipients).unwrap();
        sealer.write_all(plain).unwrap();
        sealer.finish().unwrap()
    }

    fn opened(sealed: &[u8], with: Identity) -> Result<Vec<u8>, AgeFault> {
        let mut plain = Vec::new();
        Opener::new(sealed, &[with])?.read_to_end(&mut plain)?;
        Ok(plain)
    }

    fn again(one: &Identity) -> Identity {
        Identity::all(&String::from(one)).unwrap().pop().unwrap()
    }

    #[test]
    fn what_is_sealed_opens_for_each_recipient_at_every_length_around_a_chunk() {
        let (one, two) = (Identity::generate().unwrap(), Identity::generate().unwrap());
        for length in [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 2 * CHUNK + 7] {
            let plain: Vec<u8> = (0..length).map(|at| (at % 251) as u8).collect();
            let file = sealed(&plain, &[&one, &two]);
            assert_eq!(opened(&file, again(&one)).unwrap(), plain, "{length}");
            assert_eq!(opened(&file, again(&two)).unwrap(), plain, "{length}");
            let other = opened(&file, Identity::generate().unwrap());
            assert!(matches!(other, Err(AgeFault::NoKey)));
        }
    }

    #[test]
    fn a_file_that_was_cut_changed_or_prolonged_anywhere_is_refused() {
        let one = Identity::generate().unwrap();
        let file = sealed(&[7; CHUNK + 100], &[&one]);
        let header = file.len() - (CHUNK + 100 + 2 * TAG);
        let places = (0..header).chain((header..file.len()).step_by(997)).chain([file.len() - 1]);
        for at in places {
            assert!(opened(&file[..at], again(&one)).is_err(), "cut at {at}");
            let mut changed = file.clone();
            changed[at] ^= 1;
            assert!(opened(&changed, again(&one)).is_err(), "changed at {at}");
        }
        // Cut where a chunk ends: each chunk is whole, and the last of them is not the last.
        assert!(opened(&file[..header + CHUNK + TAG], again(&one)).is_err());
        assert!(opened(&[&file[..], &[0]].concat(), again(&one)).is_err());
    }

    /// Made by Debian's age-keygen 1.1.1, and a file that its age made for it.
    const KEYGEN: &str = "# created: 2026-11-29T03:05:36Z
# public key: age10yhl2qx7x5q77u6k5k3l8cmvk35rv39fduc94m76u4rl9vuwsc8s5pckge
AGE-SECRET-KEY-1G536XKP9CM8T6M3U2VJCCR854P2A9WR8G539XNLJ55Y3RZ7QS9JSZRNW9T
";
    const FILE: &str = "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBwdk1QMzNMcHZLWnlqK1gzTUpneUd\
        KM1FlbWFFWVRFVEg1aEt0QVJSMGxZCi9OQjNiS2VHUkhKOGpmWW1KUit3b3FjdjVjbEJwNG9wNWorbmdpZy9seEU\
        KLS0tIFlxMS9ZZVlJakVNdmVmdmlaTzR0elFkVnh3eHZobVd4cjJaNU9OZkZUa2sKQaTM276u0OJc5cs64Hm5Vn8\
        i+aPAZQOYx5LJTu8mTE3ByOhT6n++H5w=";

    #[test]
    fn what_age_itself_made_opens() {
        let file = base64::prelude::BASE64_STANDARD.decode(FILE).unwrap();
        let key = Identity::all(KEYGEN).unwrap().pop().unwrap();
        assert!(KEYGEN.contains(&key.recipient().to_string()));
        assert_eq!(opened(&file, key).unwrap(), b"Forepost\n");
    }

    #[test]
    fn keys_are_read_as_they_are_written_and_no_other_text_is_one() {
        let one = Identity::generate().unwrap();
        let line = String::from(&one);
        assert!(line.starts_with("AGE-SECRET-KEY-1") && line.len() == 74, "{}", line.len());
        assert_eq!(again(&one).recipient(), one.recipient());
        let shown = one.recipient().to_string();
        assert!(shown.starts_with("age1") && shown.len() == 62, "{shown}");
        assert_eq!(Recipient::parse(&shown).unwrap(), one.recipient());
        for text in ["", "age1", &line, "ssh-ed25519 AAAA", &shown[..61], &format!("{shown}q")] {
            assert!(Recipient::parse(text).is_err(), "{text}");
        }
        for text in ["", "# nothing", &shown, &line[..70]] {
            assert!(Identity::all(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_without_recipients_or_with_too_many_is_not_made() {
        let one = Identity::generate().unwrap();
        for count in [0, RECIPIENTS_MAX + 1] {
            let made = Sealer::new(Vec::new(), &vec![one.recipient(); count]);
            assert!(matches!(made, Err(AgeFault::Recipients { got }) if got == count));
        }
    }
}
