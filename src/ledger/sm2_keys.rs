//! The hospital's SM2 keys: one file each in a folder, made by `forepost keys new`.
//!
//! For: senders who encrypt identity numbers to the hospital. Always holds: a key is never
//! overwritten and never changed, so that a rotation is one new file; the newest is the one to hand
//! out, and every older one still opens what was encrypted to it. On disk: `<folder>/<name>.pem`,
//! mode 0600: three lines that say when and by whom it was made (RFC 7468, 2 lets text stand before
//! the block), then PKCS#8. Written beside, synced, linked to its name, folder synced: a crash
//! leaves no key or a whole one. Refused: a state in the file, which somebody would have to change.
//! Start at [`load_sm2_keys`].

use std::fs::{DirEntry, File, OpenOptions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, fchown};
use std::path::{Path, PathBuf};

use secrecy::ExposeSecret;

use super::{make_private_folder, sync_folder};
use crate::limits::{SM2_KEY_FILE_BYTES_MAX, SM2_KEY_NAME_MAX, SM2_KEYS_MAX};
use crate::model::Time;
use crate::seal::sm2::{Sm2Fault, Sm2Key};

/// What stands before the moment and the maker in a key's file.
const MADE_AT: &str = "made at: ";
const MADE_BY: &str = "made by: ";

/// A key with its history.
#[derive(Debug)]
pub struct NamedSm2Key {
    /// The file's name without its end.
    pub name: String,
    /// When it was made; `None` for a file that does not say, which counts as the oldest.
    pub made_at: Option<Time>,
    /// Who made it, empty where the file does not say.
    pub made_by: String,
    /// The key.
    pub key: Sm2Key,
}

/// Why keys could not be read or made.
#[derive(Debug, thiserror::Error)]
pub enum Sm2KeyFault {
    /// The file or its folder could not be read or written.
    #[error("sm2 key {path}: {source}")]
    File {
        /// The file or folder.
        path: String,
        /// What the system said.
        source: std::io::Error,
    },
    /// Others than the owner may read it.
    #[error("sm2 key {path} has mode {mode:o}, expected 600: chmod 600 it")]
    Open {
        /// The file.
        path: String,
        /// Its permission bits.
        mode: u32,
    },
    /// No key stands in it.
    #[error("sm2 key {path}: {fault}")]
    Unread {
        /// The file.
        path: String,
        /// What is wrong.
        fault: Sm2Fault,
    },
    /// More keys than are tried for one text.
    #[error("{path} holds more than {SM2_KEYS_MAX} sm2 keys: move the oldest away")]
    TooMany {
        /// The folder.
        path: String,
    },
    /// A name that would not do as a file's name.
    #[error("a key's name has 1 to {SM2_KEY_NAME_MAX} of a-z, A-Z, 0-9, _ and -, first no -")]
    Name,
    /// Empty, too long or of several lines.
    #[error("who makes a key is told in one line of 1 to {SM2_KEY_NAME_MAX} characters")]
    Maker,
    /// There is one of that name; it stays.
    #[error("there is a key called {name} already; nothing was changed")]
    Exists {
        /// The name.
        name: String,
    },
    /// No new key could be made.
    #[error(transparent)]
    Make(#[from] Sm2Fault),
}

/// The keys in `folder`, the newest first; none when there is no folder.
pub fn load_sm2_keys(folder: &Path) -> Result<Vec<NamedSm2Key>, Sm2KeyFault> {
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(fault(folder, error)),
    };
    let mut keys = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| fault(folder, error))?;
        let Some(name) = name_of(&entry) else { continue };
        if keys.len() == SM2_KEYS_MAX {
            return Err(Sm2KeyFault::TooMany { path: folder.display().to_string() });
        }
        keys.push(read(&entry.path(), name)?);
    }
    keys.sort_by(|a, b| (b.made_at, &b.name).cmp(&(a.made_at, &a.name)));
    Ok(keys)
}

/// Makes a key called `name` in `folder`. Returns once it is on the disk; what is there stays.
pub fn make_sm2_key(
    folder: &Path,
    name: &str,
    made_by: &str,
    now: Time,
) -> Result<NamedSm2Key, Sm2KeyFault> {
    if !is_name(name) {
        return Err(Sm2KeyFault::Name);
    }
    let maker_fits = (1..=SM2_KEY_NAME_MAX).contains(&made_by.chars().count());
    if !maker_fits || made_by.chars().any(char::is_control) {
        return Err(Sm2KeyFault::Maker);
    }
    let made = NamedSm2Key {
        name: name.to_owned(),
        made_at: Some(now),
        made_by: made_by.to_owned(),
        key: Sm2Key::generate()?,
    };
    prepare(folder).map_err(|error| fault(folder, error))?;
    if load_sm2_keys(folder)?.len() == SM2_KEYS_MAX {
        return Err(Sm2KeyFault::TooMany { path: folder.display().to_string() });
    }
    let path = folder.join(format!("{name}.pem"));
    match write_new(folder, &path, &made, now) {
        Ok(()) => Ok(made),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {
            Err(Sm2KeyFault::Exists { name: name.to_owned() })
        }
        Err(error) => Err(fault(&path, error)),
    }
}

/// Makes the folder and the one above it, owned like the data folder: the verb may be run by root
/// and the service must read what it made.
fn prepare(folder: &Path) -> std::io::Result<()> {
    for one in [folder.parent(), Some(folder)].into_iter().flatten() {
        if !one.exists() {
            make_private_folder(one)?;
            if let Some(above) = one.parent() {
                own_like(above, &File::open(one)?)?;
                sync_folder(above)?;
            }
        }
    }
    Ok(())
}

fn own_like(folder: &Path, file: &File) -> std::io::Result<()> {
    let (theirs, ours) = (std::fs::metadata(folder)?, file.metadata()?);
    match (theirs.uid(), theirs.gid()) == (ours.uid(), ours.gid()) {
        true => Ok(()),
        false => fchown(file, Some(theirs.uid()), Some(theirs.gid())),
    }
}

fn write_new(folder: &Path, path: &Path, made: &NamedSm2Key, now: Time) -> std::io::Result<()> {
    // A name that is not read as a key, and that no other process takes.
    let beside = folder.join(format!(".{}.{}", made.name, std::process::id()));
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&beside)?;
    let at = jiff::Timestamp::from_millisecond(now.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH);
    let written = own_like(folder, &file)
        .and_then(|()| {
            let (by, pem) = (&made.made_by, made.key.to_pem());
            let pem = pem.expose_secret();
            write!(file, "forepost sm2 key\n{MADE_AT}{at}\n{MADE_BY}{by}\n{pem}")
        })
        .and_then(|()| file.sync_all())
        // Unlike a rename, a link never takes the place of what is there.
        .and_then(|()| std::fs::hard_link(&beside, path));
    std::fs::remove_file(&beside)?;
    written?;
    sync_folder(folder)
}

fn read(path: &Path, name: String) -> Result<NamedSm2Key, Sm2KeyFault> {
    let found = std::fs::metadata(path).map_err(|error| fault(path, error))?;
    if found.mode() & 0o077 != 0 {
        let path = path.display().to_string();
        return Err(Sm2KeyFault::Open { path, mode: found.mode() & 0o777 });
    }
    let unread = |fault| Sm2KeyFault::Unread { path: path.display().to_string(), fault };
    if found.len() > SM2_KEY_FILE_BYTES_MAX {
        return Err(unread(Sm2Fault::KeyUnread));
    }
    let text = std::fs::read_to_string(path).map_err(|error| fault(path, error))?;
    let key = Sm2Key::from_pem_or_hex(&text).map_err(unread)?;
    let line = |begin: &str| text.lines().find_map(|line| line.strip_prefix(begin));
    let made_at = line(MADE_AT).and_then(|text| text.trim().parse::<jiff::Timestamp>().ok());
    Ok(NamedSm2Key {
        name,
        made_at: made_at.map(|at| Time(at.as_millisecond())),
        made_by: line(MADE_BY).unwrap_or_default().trim().to_owned(),
        key,
    })
}

/// The name of a key's file; `None` for whatever else lies there.
fn name_of(entry: &DirEntry) -> Option<String> {
    let path = PathBuf::from(entry.file_name());
    let name = path.file_stem()?.to_str()?;
    (path.extension()? == "pem" && is_name(name)).then(|| name.to_owned())
}

fn is_name(name: &str) -> bool {
    let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"_-".contains(&byte);
    (1..=SM2_KEY_NAME_MAX).contains(&name.len()) && !name.starts_with('-') && name.bytes().all(fits)
}

fn fault(path: &Path, source: std::io::Error) -> Sm2KeyFault {
    Sm2KeyFault::File { path: path.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    const NOW: Time = Time(1_795_219_200_123);

    fn names(folder: &Path) -> Vec<String> {
        load_sm2_keys(folder).unwrap().into_iter().map(|key| key.name).collect()
    }

    #[test]
    fn a_key_is_kept_as_it_was_made_and_never_overwritten() {
        let data = tempfile::tempdir().unwrap();
        let folder = data.path().join("keys/sm2");
        assert!(load_sm2_keys(&folder).unwrap().is_empty(), "no folder, no keys");
        let made = make_sm2_key(&folder, "autumn", "李工", NOW).unwrap();
        let read = load_sm2_keys(&folder).unwrap().pop().unwrap();
        assert_eq!((read.name.as_str(), read.made_by.as_str()), ("autumn", "李工"));
        assert_eq!((read.made_at, read.key.public()), (Some(NOW), made.key.public()));
        let path = folder.join("autumn.pem");
        assert_eq!(path.metadata().unwrap().mode() & 0o777, 0o600);
        assert_eq!(folder.metadata().unwrap().mode() & 0o777, 0o700);
        let before = std::fs::read(&path).unwrap();
        let again = make_sm2_key(&folder, "autumn", "x", NOW);
        assert!(matches!(again, Err(Sm2KeyFault::Exists { name }) if name == "autumn"));
        assert_eq!(std::fs::read(&path).unwrap(), before);
        assert_eq!(std::fs::read_dir(&folder).unwrap().count(), 1, "nothing is left beside");
    }

    #[test]
    fn the_newest_comes_first_and_a_file_without_a_date_last() {
        let folder = tempfile::tempdir().unwrap();
        make_sm2_key(folder.path(), "b", "x", NOW).unwrap();
        make_sm2_key(folder.path(), "a", "x", NOW.plus_ms(5)).unwrap();
        let handed = folder.path().join("handed-over.pem");
        std::fs::write(&handed, "11".repeat(32)).unwrap();
        std::fs::set_permissions(&handed, std::fs::Permissions::from_mode(0o600)).unwrap();
        std::fs::write(folder.path().join("notes.txt"), "not a key").unwrap();
        assert_eq!(names(folder.path()), ["a", "b", "handed-over"]);
    }

    #[test]
    fn files_that_are_open_broken_or_too_many_are_named() {
        let folder = tempfile::tempdir().unwrap();
        make_sm2_key(folder.path(), "open", "x", NOW).unwrap();
        let path = folder.path().join("open.pem");
        let mode = |mode| {
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        };
        mode(0o640);
        let fault = load_sm2_keys(folder.path()).unwrap_err();
        assert!(matches!(fault, Sm2KeyFault::Open { mode: 0o640, .. }), "{fault}");
        mode(0o600);
        for broken in ["", "-----BEGIN PRIVATE KEY-----", &"a".repeat(20_000)] {
            std::fs::write(&path, broken).unwrap();
            let fault = load_sm2_keys(folder.path()).unwrap_err().to_string();
            assert!(fault.contains("open.pem"), "{fault}");
        }
        std::fs::remove_file(&path).unwrap();
        for number in 0..SM2_KEYS_MAX {
            make_sm2_key(folder.path(), &format!("k{number}"), "x", NOW).unwrap();
        }
        let one_more = make_sm2_key(folder.path(), "more", "x", NOW);
        assert!(matches!(one_more, Err(Sm2KeyFault::TooMany { .. })));
        assert_eq!(names(folder.path()).len(), SM2_KEYS_MAX);
    }

    #[test]
    fn names_and_makers_that_would_lead_elsewhere_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        for name in ["", "-k", "../k", "a b", "钥", ".k", &"k".repeat(SM2_KEY_NAME_MAX + 1)] {
            let made = make_sm2_key(folder.path(), name, "x", NOW);
            assert!(matches!(made, Err(Sm2KeyFault::Name)), "{name}");
        }
        for maker in ["", "a\nmade by: b", &"王".repeat(SM2_KEY_NAME_MAX + 1)] {
            let made = make_sm2_key(folder.path(), "k", maker, NOW);
            assert!(matches!(made, Err(Sm2KeyFault::Maker)), "{maker}");
        }
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 0);
    }
}
