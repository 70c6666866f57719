//! What lies in a backup, and how it is written and read: a tar, as a stream.
//!
//! Always holds: `manifest.json` comes first and says what follows and where it belongs;
//! `SHA256SUMS` comes last, in the form that `sha256sum -c` reads, so that an archive without it
//! was cut short. Nothing is written to a place that the archive names: names are of a fixed form,
//! and where things belong is decided by who restores. Nothing but the manifest and the files that
//! the configuration names is ever in memory.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use aws_lc_rs::digest::{Context, SHA256};
use serde::{Deserialize, Serialize};

use crate::limits::NAMED_FILE_BYTES_MAX;
use crate::seal::age::{AgeFault, Identity, Opener, VERSION};

/// The manifest's first words.
pub const FORMAT: &str = "forepost backup 1";
/// The manifest's place.
const MANIFEST: &str = "manifest.json";
/// The ledger's place.
pub const LEDGER: &str = "ledger/forepost.db";
/// Where the configuration lies.
pub const CONFIG: &str = "config/forepost.toml";
/// Where the sums lie.
const SUMS: &str = "SHA256SUMS";
/// Bytes of the manifest and of the sums that are read.
const LIST_BYTES_MAX: u64 = 4 << 20;

/// What a backup says of itself. Holds nothing personal and no secret.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Manifest {
    /// [`FORMAT`].
    pub format: String,
    /// The version of the program that made it.
    pub program: String,
    /// The first hospital's code.
    pub hospital: String,
    /// The moment of which the ledger is, in milliseconds since 1970.
    pub taken_at_ms: i64,
    /// The same by the hospital's clock.
    pub taken_at: String,
    /// The data folder.
    pub data: PathBuf,
    /// What it holds beside the ledger.
    pub files: Vec<Entry>,
    /// The ledger in numbers.
    pub ledger: LedgerFacts,
}

/// The ledger in numbers.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct LedgerFacts {
    /// Bytes of its file.
    pub bytes: u64,
    /// The version of its tables.
    pub version: i64,
    /// The oldest version of programs that may read it.
    pub oldest_reader: i64,
    /// Its registrations.
    pub registrations: i64,
    /// By interface: accepted, and every state.
    pub interfaces: crate::ledger::Accounts,
    /// Lines of evidence.
    pub evidence_lines: i64,
    /// The hash of the last of them, hexadecimal.
    pub evidence_last: String,
}

/// What a file is to the machine.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The configuration file.
    Config,
    /// A secret or certificate that it names, or one that lies beside those.
    Named,
    /// A key in the data folder.
    Key,
}

/// A file in a backup.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Entry {
    /// Its name in the archive.
    pub name: String,
    /// What it is.
    pub role: Role,
    /// Where it lay.
    pub path: PathBuf,
    /// Its permission bits.
    pub mode: u32,
    /// Whether it belonged to whom the data belongs to.
    pub of_service: bool,
}

/// Why an archive cannot be read.
#[derive(Debug, thiserror::Error)]
pub enum ArchiveFault {
    /// It is sealed, and no key was given.
    #[error("it is sealed: give the recovery key or the hospital's by --key-file FILE")]
    Sealed,
    /// The key file or the seal.
    #[error("{0}")]
    Age(#[from] AgeFault),
    /// No backup of ours.
    #[error("no backup of Forepost: {0}")]
    Foreign(&'static str),
    /// A newer program's form.
    #[error("its form is `{0}`, this program reads `{FORMAT}`: restore it with a newer Forepost")]
    Newer(String),
    /// A sum does not fit.
    #[error("{0} is not what was backed up: the file is damaged")]
    Damaged(String),
    /// It ends early, or holds more than it says.
    #[error("{0}")]
    Incomplete(String),
    /// Reading it, or writing what came out of it.
    #[error(transparent)]
    Stream(#[from] io::Error),
}

/// Writes an archive.
pub struct Packer<W: Write> {
    tar: tar::Builder<W>,
    sums: String,
    seconds: u64,
}

impl<W: Write> Packer<W> {
    /// Begins with the manifest.
    pub fn new(out: W, manifest: &Manifest) -> io::Result<Packer<W>> {
        let seconds = u64::try_from(manifest.taken_at_ms / 1_000).unwrap_or(0);
        let mut packer = Packer { tar: tar::Builder::new(out), sums: String::new(), seconds };
        let mut text = serde_json::to_vec_pretty(manifest)?;
        text.push(b'\n');
        packer.add(MANIFEST, 0o600, text.len() as u64, &text[..])?;
        Ok(packer)
    }

    /// Adds a file of so many bytes.
    pub fn add(&mut self, name: &str, mode: u32, bytes: u64, from: impl Read) -> io::Result<()> {
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes);
        header.set_mode(mode & 0o777);
        header.set_mtime(self.seconds);
        header.set_entry_type(tar::EntryType::Regular);
        let mut summed = Summed { from: from.take(bytes), context: Context::new(&SHA256), read: 0 };
        self.tar.append_data(&mut header, name, &mut summed)?;
        if summed.read != bytes {
            return Err(io::Error::other(format!("{name} became shorter while it was read")));
        }
        self.sums.push_str(&format!("{}  {name}\n", hex::encode(summed.context.finish())));
        Ok(())
    }

    /// Ends with the sums, and gives back what lies below.
    pub fn finish(mut self) -> io::Result<W> {
        let sums = std::mem::take(&mut self.sums);
        self.add(SUMS, 0o600, sums.len() as u64, sums.as_bytes())?;
        self.tar.into_inner()
    }
}

/// What passes through is hashed and counted.
struct Summed<R> {
    from: R,
    context: Context,
    read: u64,
}

impl<R: Read> Read for Summed<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let read = self.from.read(into)?;
        self.context.update(&into[..read]);
        self.read += read as u64;
        Ok(read)
    }
}

/// Opens a backup, sealed or not, for [`unpack`].
pub fn open(path: &Path, identities: &[Identity]) -> Result<Box<dyn Read>, ArchiveFault> {
    let mut file = BufReader::with_capacity(256 * 1024, File::open(path)?);
    if !file.fill_buf()?.starts_with(VERSION.as_bytes()) {
        return Ok(Box::new(file));
    }
    match identities.is_empty() {
        true => Err(ArchiveFault::Sealed),
        false => Ok(Box::new(Opener::new(file, identities)?)),
    }
}

/// Reads an archive to its end and holds every file against its sum; with `into` the files are
/// written below that folder, by their names in the archive, readable by the owner only, synced.
pub fn unpack(
    mut from: impl Read,
    into: Option<&Path>,
    begun: impl FnOnce(&Manifest) -> Result<(), ArchiveFault>,
) -> Result<Manifest, ArchiveFault> {
    let mut archive = tar::Archive::new(&mut from);
    let mut entries = archive.entries()?;
    let (name, first, sum) = match entries.next() {
        Some(entry) => read_list(entry?)?,
        None => return Err(ArchiveFault::Foreign("it is empty")),
    };
    let manifest = parse(&name, &first)?;
    begun(&manifest)?;
    let mut sums = BTreeMap::from([(name, sum)]);
    let mut told = None;
    for entry in entries {
        let mut entry = entry?;
        let name = name_of(&entry)?;
        if told.is_some() {
            return Err(ArchiveFault::Incomplete("it goes on behind its sums".into()));
        }
        if name == SUMS {
            told = Some(String::from_utf8_lossy(&read_list(entry)?.1).into_owned());
            continue;
        }
        let expected = name == LEDGER || manifest.files.iter().any(|one| one.name == name);
        if !expected || sums.contains_key(&name) || !is_safe(&name) {
            return Err(ArchiveFault::Incomplete(format!("`{name}` does not belong into it")));
        }
        let mut out: Box<dyn Write> = match into {
            Some(folder) => Box::new(create(&folder.join(&name))?),
            None => Box::new(io::sink()),
        };
        let sum = copy(&mut entry, &mut out)?;
        out.flush()?;
        sums.insert(name, sum);
    }
    // The rest of the stream is looked at: only its end proves that nothing was cut off.
    io::copy(&mut from, &mut io::sink())?;
    let told = told.ok_or_else(|| ArchiveFault::Incomplete("it was cut short".into()))?;
    held_against(&sums, &told, manifest.files.len() + 2)?;
    Ok(manifest)
}

fn parse(name: &str, text: &[u8]) -> Result<Manifest, ArchiveFault> {
    if name != MANIFEST {
        return Err(ArchiveFault::Foreign("it does not begin with a manifest"));
    }
    let value: serde_json::Value = serde_json::from_slice(text)
        .map_err(|_| ArchiveFault::Foreign("its manifest is no JSON"))?;
    match value["format"].as_str() {
        Some(FORMAT) => {}
        Some(other) if other.starts_with("forepost backup ") => {
            return Err(ArchiveFault::Newer(other.to_owned()));
        }
        _ => return Err(ArchiveFault::Foreign("its manifest says so")),
    }
    serde_json::from_value(value).map_err(|_| ArchiveFault::Foreign("its manifest lacks a field"))
}

fn held_against(
    sums: &BTreeMap<String, String>,
    told: &str,
    files: usize,
) -> Result<(), ArchiveFault> {
    let told: BTreeMap<&str, &str> = told
        .lines()
        .filter_map(|line| line.split_once("  ").map(|(sum, name)| (name, sum)))
        .collect();
    for (name, sum) in sums {
        if told.get(name.as_str()) != Some(&sum.as_str()) {
            return Err(ArchiveFault::Damaged(name.clone()));
        }
    }
    match sums.len() == files && told.len() == files {
        true => Ok(()),
        false => Err(ArchiveFault::Incomplete("files are missing in it".into())),
    }
}

/// An entry that is small enough for memory: its name, its bytes and their sum.
fn read_list(
    mut entry: tar::Entry<'_, impl Read>,
) -> Result<(String, Vec<u8>, String), ArchiveFault> {
    let name = name_of(&entry)?;
    if entry.size() > LIST_BYTES_MAX {
        return Err(ArchiveFault::Foreign("its lists are longer than any of ours"));
    }
    let mut bytes = Vec::new();
    let sum = copy(&mut entry, &mut bytes)?;
    Ok((name, bytes, sum))
}

fn name_of(entry: &tar::Entry<'_, impl Read>) -> Result<String, ArchiveFault> {
    let is_file = entry.header().entry_type() == tar::EntryType::Regular;
    let name = String::from_utf8(entry.path_bytes().into_owned());
    match name {
        Ok(name) if is_file => Ok(name),
        _ => Err(ArchiveFault::Foreign("it holds something that is no file")),
    }
}

/// Parts of letters, digits and `._-`, none of them beginning with a dot.
fn is_safe(name: &str) -> bool {
    let part = |part: &str| {
        let fits = |byte: u8| byte.is_ascii_alphanumeric() || b"._-".contains(&byte);
        !part.is_empty() && !part.starts_with('.') && part.bytes().all(fits)
    };
    name.split('/').all(part)
}

fn create(path: &Path) -> io::Result<Synced> {
    if let Some(folder) = path.parent() {
        std::fs::create_dir_all(folder)?;
    }
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    Ok(Synced(file))
}

/// A flush goes down to the disk.
struct Synced(File);

impl Write for Synced {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.0.sync_all()
    }
}

fn copy(from: &mut impl Read, to: &mut dyn Write) -> io::Result<String> {
    let mut context = Context::new(&SHA256);
    let mut buffer = vec![0; 256 * 1024];
    loop {
        let read = match from.read(&mut buffer) {
            Ok(0) => return Ok(hex::encode(context.finish())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        context.update(&buffer[..read]);
        to.write_all(&buffer[..read])?;
    }
}

/// A file that is named by the configuration, whole; it is small or refused.
pub fn small(path: &Path) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path)?.take(NAMED_FILE_BYTES_MAX + 1).read_to_end(&mut bytes)?;
    match bytes.len() as u64 <= NAMED_FILE_BYTES_MAX {
        true => Ok(bytes),
        false => Err(io::Error::other(format!("more than {NAMED_FILE_BYTES_MAX} bytes"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        Manifest {
            format: FORMAT.into(),
            program: "0".into(),
            hospital: "H1".into(),
            taken_at_ms: 1_795_893_300_000,
            taken_at: String::new(),
            data: "/d".into(),
            files: vec![Entry {
                name: "files/1".into(),
                role: Role::Named,
                path: "/etc/forepost/token".into(),
                mode: 0o640,
                of_service: false,
            }],
            ledger: LedgerFacts {
                bytes: 6,
                version: 1,
                oldest_reader: 1,
                registrations: 0,
                interfaces: Default::default(),
                evidence_lines: 0,
                evidence_last: String::new(),
            },
        }
    }

    fn packed(names: &[&str]) -> Vec<u8> {
        let mut packer = Packer::new(Vec::new(), &manifest()).unwrap();
        names.iter().for_each(|name| packer.add(name, 0o600, 6, &b"ledger"[..]).unwrap());
        packer.finish().unwrap()
    }

    fn unpacked(bytes: &[u8]) -> Result<Manifest, ArchiveFault> {
        unpack(bytes, None, |_| Ok(()))
    }

    #[test]
    fn what_is_packed_comes_out_and_what_was_cut_or_changed_does_not() {
        let whole = packed(&["files/1", LEDGER]);
        let folder = tempfile::tempdir().unwrap();
        unpack(&whole[..], Some(folder.path()), |_| Ok(())).unwrap();
        assert_eq!(std::fs::read(folder.path().join(LEDGER)).unwrap(), b"ledger");
        // The last blocks are zeroes; without the first of them the sums are still there.
        for end in (0..whole.len() - 1024).step_by(64) {
            assert!(unpacked(&whole[..end]).is_err(), "cut at {end}");
        }
        let at = whole.windows(6).rposition(|six| six == b"ledger").unwrap();
        let at = whole[..at].windows(6).rposition(|six| six == b"ledger").unwrap_or(at);
        let mut changed = whole.clone();
        changed[at] ^= 1;
        assert!(unpacked(&changed).is_err());
    }

    #[test]
    fn what_is_missing_too_much_or_leads_elsewhere_is_refused() {
        assert!(unpacked(&packed(&[LEDGER, "files/1"])).is_ok());
        for names in [
            &[LEDGER][..],
            &["files/1"],
            &["files/1", LEDGER, "files/2"],
            &["files/1", "files/1", LEDGER],
        ] {
            assert!(unpacked(&packed(names)).is_err(), "{names:?}");
        }
        for name in ["", "a//b", "../a", "a/../b", "/a", ".a", "a b", "a\\b"] {
            assert!(!is_safe(name), "{name}");
        }
    }

    #[test]
    fn a_form_of_a_newer_program_is_told_apart_from_what_is_no_backup() {
        let mut newer = manifest();
        newer.format = "forepost backup 2".into();
        let bytes = Packer::new(Vec::new(), &newer).unwrap().finish().unwrap();
        assert!(matches!(unpacked(&bytes), Err(ArchiveFault::Newer(_))));
        for bytes in [&b""[..], b"hello", &[0; 2048]] {
            assert!(matches!(
                unpacked(bytes),
                Err(ArchiveFault::Foreign(_) | ArchiveFault::Stream(_))
            ));
        }
    }
}
