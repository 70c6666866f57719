//! The ledger's key file, made at first start.
//!
//! `<folder>/ledger.keys`, mode 0600, one key a line: `cipher <id> <64 hex>` (any number of them,
//! the last one seals) and one `lookup <64 hex>`. Without this file the ledger's personal columns
//! cannot be read by anyone: it belongs into the backup, apart from the ledger.

use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;

use secrecy::{ExposeSecret, SecretString};

use super::{make_private_folder, sync_folder};
use crate::seal::{KEY_BYTES, Keys};

/// Why the keys could not be had.
#[derive(Debug, thiserror::Error)]
pub enum KeyFault {
    /// The file or its folder could not be read or written.
    #[error("key file {path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may read it.
    #[error("key file {path} has mode {mode:o}, expected 600: chmod 600 it")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// A line is not of the form above.
    #[error("key file {path}, line {line}: expected `cipher <id> <64 hex>` or `lookup <64 hex>`")]
    Line {
        /// The file.
        path: String,
        /// The line, from 1.
        line: usize,
    },
    /// A key is missing.
    #[error("key file {path} lacks a {what} key")]
    Missing {
        /// The file.
        path: String,
        /// `cipher` or `lookup`.
        what: &'static str,
    },
}

/// Reads the keys in `folder`, making them when there are none and `make` says that this is a
/// first start. With a ledger already there, lost keys are a fault and are never replaced: new
/// ones would make every stored registration unreadable for good.
pub fn load_or_make(folder: &Path, make: bool) -> Result<Keys, KeyFault> {
    let (text, place) = text(folder, make)?;
    read(text.expose_secret(), &place)
}

/// The key file's own text, unread, and where it stands; made as [`load_or_make`] says.
pub fn text(folder: &Path, make: bool) -> Result<(SecretString, String), KeyFault> {
    let path = folder.join("ledger.keys");
    let shown = path.display().to_string();
    let fault = |source| KeyFault::File { path: shown.clone(), source };
    if make && !path.exists() {
        write_new(folder, &path).map_err(fault)?;
    }
    let file = std::fs::metadata(&path).map_err(fault)?;
    if file.mode() & 0o077 != 0 {
        return Err(KeyFault::Open { path: shown, mode: file.mode() & 0o777 });
    }
    let text = std::fs::read_to_string(&path).map_err(fault)?;
    Ok((SecretString::from(text), shown))
}

/// Written beside, synced, renamed, folder synced: a crash leaves either no keys or all of them,
/// and the ledger is made only after they are on the disk.
fn write_new(folder: &Path, path: &Path) -> std::io::Result<()> {
    make_private_folder(folder)?;
    let mut bytes = [0; 2 * KEY_BYTES];
    aws_lc_rs::rand::fill(&mut bytes)
        .map_err(|_| std::io::Error::other("the system's random source does not answer"))?;
    let beside = path.with_extension("new");
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(0o600)
        .open(&beside)?;
    let (cipher, lookup) = bytes.split_at(KEY_BYTES);
    writeln!(file, "cipher 1 {}\nlookup {}", hex::encode(cipher), hex::encode(lookup))?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    sync_folder(folder)
}

/// Whether the keys lie in `folder`.
pub fn has(folder: &Path) -> bool {
    folder.join("ledger.keys").exists()
}

/// Reads the lines of the file from wherever they came; `path` says where that is.
pub fn read(text: &str, path: &str) -> Result<Keys, KeyFault> {
    let mut ciphers = Vec::new();
    let mut lookup = None;
    for (index, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let bad = || KeyFault::Line { path: path.to_owned(), line: index + 1 };
        let key = |text: &str| -> Result<[u8; KEY_BYTES], KeyFault> {
            let bytes = hex::decode(text).map_err(|_| bad())?;
            bytes.try_into().map_err(|_| bad())
        };
        match words.as_slice() {
            [] => {}
            ["cipher", id, hex] => ciphers.push((id.parse().map_err(|_| bad())?, key(hex)?)),
            ["lookup", hex] => lookup = Some(key(hex)?),
            _ => return Err(bad()),
        }
    }
    let missing = |what| KeyFault::Missing { path: path.to_owned(), what };
    if ciphers.is_empty() {
        return Err(missing("cipher"));
    }
    Ok(Keys::new(&ciphers, &lookup.ok_or_else(|| missing("lookup"))?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt;

    #[test]
    fn keys_are_made_once_and_read_again() {
        let folder = tempfile::tempdir().unwrap();
        let first = load_or_make(folder.path(), true).unwrap();
        let sealed = first.seal("c", 1, b"x");
        let again = load_or_make(folder.path(), true).unwrap();
        assert_eq!(again.open("c", 1, &sealed).unwrap(), b"x");
        let mode = folder.path().join("ledger.keys").metadata().unwrap().mode() & 0o777;
        assert_eq!(mode, 0o600);
    }

    #[test]
    fn keys_that_others_can_read_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        load_or_make(folder.path(), true).unwrap();
        let path = folder.path().join("ledger.keys");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
        assert!(matches!(load_or_make(folder.path(), true), Err(KeyFault::Open { .. })));
    }

    #[test]
    fn lost_keys_of_an_existing_ledger_are_a_fault_not_made_anew() {
        let folder = tempfile::tempdir().unwrap();
        assert!(matches!(load_or_make(folder.path(), false), Err(KeyFault::File { .. })));
        assert!(!folder.path().join("ledger.keys").exists());
    }

    #[test]
    fn a_damaged_line_is_named() {
        let text = format!("cipher 1 {}\nlookup 12\n", "ab".repeat(32));
        assert!(matches!(read(&text, "f"), Err(KeyFault::Line { line: 2, .. })));
        let text = format!("cipher 1 {}\n", "ab".repeat(32));
        assert!(matches!(read(&text, "f"), Err(KeyFault::Missing { what: "lookup", .. })));
    }
}
