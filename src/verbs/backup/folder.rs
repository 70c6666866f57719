//! The folder that backups go to: whether it is the one that is meant, what of ours lies in it, and
//! the file that is being written.
//!
//! Always holds: nothing is written where a mount is missing; a file has its name once it is whole
//! and on the disk, and until then ends in `.part`; nothing is deleted that is not ours, and
//! nothing before the new backup is there.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use aws_lc_rs::digest::{Context, SHA256};

use super::kept;
use crate::config::Kept;
use crate::host;
use crate::limits::{BACKUP_BYTES_PER_SECOND, BACKUP_SYNC_BYTES};
use crate::model::{Time, UtcOffset};

/// By this file in it a folder is known again.
const MARKER: &str = "forepost-backups.txt";

/// What it says to people.
const MARKER_TEXT: &str = "\
这里存放前置机 Forepost 的备份。请勿删除本文件：没有它，备份不会写入本文件夹。
Backups of Forepost. Leave this file here: without it no backup is written into this folder.
";

/// The end of a file that is being written.
const PART: &str = ".part";

/// Bytes that stay free on the target, at least.
const SPARE_BYTES: u64 = 16 << 20;

/// Why no backup is written there.
#[derive(Debug, thiserror::Error)]
pub enum FolderFault {
    /// It is not there, or cannot be read.
    #[error("the backup folder {path}: {source}; is the disk connected and mounted?")]
    Absent {
        /// The folder.
        path: String,
        /// What the system said.
        source: io::Error,
    },
    /// It lies on the disk of the data, or of the system.
    #[error(
        "the backup folder {path} is on the disk of {other}: the mount is missing, or set `mounted \
         = false` in [backup] if it is meant to be there"
    )]
    NotMounted {
        /// The folder.
        path: String,
        /// What lies on the same disk.
        other: String,
    },
    /// Backups went there, and it is another folder now.
    #[error(
        "backups went to {path} before, and it lacks {MARKER} now: the mount is missing, or it is \
         another disk. If it is a new one, run `forepost backup --new-folder` once"
    )]
    Other {
        /// The folder.
        path: String,
    },
    /// Too little room.
    #[error(
        "the backup folder {path} has {free} bytes free and the backup needs {needed}; nothing was \
         deleted. Make room, or keep fewer (keep_daily, keep_weekly, keep_monthly)"
    )]
    Full {
        /// The folder.
        path: String,
        /// Bytes free.
        free: u64,
        /// Bytes needed.
        needed: u64,
    },
    /// Writing.
    #[error("writing {path}: {source}; older backups are as they were")]
    Write {
        /// The file.
        path: String,
        /// What the system said.
        source: io::Error,
    },
}

/// The folder, checked.
pub struct Folder {
    path: PathBuf,
    hospital: String,
}

/// A backup that lies there.
#[derive(Debug, Clone)]
pub struct Lying {
    /// Its file's name.
    pub file: String,
    /// The moment of which it is.
    pub at: Time,
    /// Its bytes.
    pub bytes: u64,
}

impl Folder {
    /// To look at.
    pub fn open(path: &Path, hospital: &str) -> Result<Folder, FolderFault> {
        let absent = |source| FolderFault::Absent { path: shown(path), source };
        let found = std::fs::metadata(path).map_err(absent)?;
        match found.is_dir() {
            true => Ok(Folder { path: path.to_owned(), hospital: hospital.to_owned() }),
            false => Err(absent(io::Error::from(io::ErrorKind::NotADirectory))),
        }
    }

    /// Whether it is the one that is meant. `known`: backups went there before.
    pub fn check(
        &self,
        data: &Path,
        mounted: bool,
        known: bool,
        new: bool,
    ) -> Result<(), FolderFault> {
        let device = |path: &Path| std::fs::metadata(path).map(|found| found.dev()).ok();
        let own = device(&self.path);
        if let Some(other) = [data, Path::new("/")]
            .into_iter()
            .find(|other| mounted && device(other).is_some_and(|device| Some(device) == own))
        {
            return Err(FolderFault::NotMounted { path: shown(&self.path), other: shown(other) });
        }
        if known && !new && !self.path.join(MARKER).exists() {
            return Err(FolderFault::Other { path: shown(&self.path) });
        }
        Ok(())
    }

    /// Marks it, and makes sure that so many bytes fit. What an earlier try left behind goes.
    pub fn prepare(&self, needed: u64) -> Result<(), FolderFault> {
        let marker = self.path.join(MARKER);
        if !marker.exists() {
            std::fs::write(&marker, MARKER_TEXT).map_err(|error| fault(&marker, error))?;
        }
        for name in self.names()? {
            let ours = name.strip_suffix(PART).and_then(|name| kept::moment(name, &self.hospital));
            if ours.is_some() {
                let path = self.path.join(name);
                std::fs::remove_file(&path).map_err(|error| fault(&path, error))?;
            }
        }
        let free = host::space(&self.path).map_err(|error| fault(&self.path, error))?.free;
        let needed = needed + SPARE_BYTES;
        match free >= needed {
            true => Ok(()),
            false => Err(FolderFault::Full { path: shown(&self.path), free, needed }),
        }
    }

    /// The hospital's backups in it, the newest first.
    pub fn backups(&self) -> Result<Vec<Lying>, FolderFault> {
        let mut found = Vec::new();
        for file in self.names()? {
            let Some(at) = kept::moment(&file, &self.hospital) else { continue };
            let bytes = std::fs::metadata(self.path.join(&file)).map_or(0, |found| found.len());
            found.push(Lying { file, at, bytes });
        }
        found.sort_by_key(|one| std::cmp::Reverse((one.at, one.file.clone())));
        Ok(found)
    }

    /// Those in it that are not kept.
    pub fn superfluous(&self, rule: Kept, offset: UtcOffset) -> Result<Vec<Lying>, FolderFault> {
        let found = self.backups()?;
        let moments: Vec<Time> = found.iter().map(|one| one.at).collect();
        let stays = kept::kept(&moments, offset, rule);
        Ok(found.into_iter().zip(stays).filter(|(_, stays)| !stays).map(|(one, _)| one).collect())
    }

    /// Deletes one of them.
    pub fn delete(&self, one: &Lying) -> Result<(), FolderFault> {
        let path = self.path.join(&one.file);
        std::fs::remove_file(&path).map_err(|error| fault(&path, error))
    }

    fn names(&self) -> Result<Vec<String>, FolderFault> {
        let absent = |source| FolderFault::Absent { path: shown(&self.path), source };
        let mut names = Vec::new();
        for entry in std::fs::read_dir(&self.path).map_err(absent)? {
            let entry = entry.map_err(absent)?;
            if let Ok(name) = entry.file_name().into_string() {
                names.push(name);
            }
        }
        Ok(names)
    }

    /// Begins a file of that name.
    pub fn begin(&self, name: &str) -> Result<Writing, FolderFault> {
        let path = self.path.join(format!("{name}{PART}"));
        let opened = OpenOptions::new().write(true).create_new(true).mode(0o600).open(&path);
        let file = opened.map_err(|error| fault(&path, error))?;
        let whole = self.path.join(name);
        Ok(Writing {
            file,
            path,
            whole,
            context: Context::new(&SHA256),
            written: 0,
            unsynced: 0,
            begun: Instant::now(),
        })
    }
}

/// A file that is being written, at a pace that leaves the disk to others. Dropped before
/// [`Writing::finish`], it is removed.
pub struct Writing {
    file: File,
    path: PathBuf,
    whole: PathBuf,
    context: Context,
    written: u64,
    unsynced: u64,
    begun: Instant,
}

impl Writing {
    /// Syncs it and gives it its name. Returns its bytes and their SHA-256.
    pub fn finish(mut self) -> io::Result<(u64, [u8; 32])> {
        self.file.sync_all()?;
        std::fs::rename(&self.path, &self.whole)?;
        self.path.clear();
        if let Some(folder) = self.whole.parent() {
            // Network file systems that sync a name with its file refuse to sync a folder.
            let _ = File::open(folder).and_then(|folder| folder.sync_all());
        }
        let context = self.context.clone();
        let digest = context.finish().as_ref().try_into().expect("SHA-256 has 32 bytes");
        Ok((self.written, digest))
    }

    /// Waits until the pace allows more.
    fn pace(&self) {
        let due = Duration::from_secs_f64(self.written as f64 / BACKUP_BYTES_PER_SECOND as f64);
        if let Some(ahead) = due.checked_sub(self.begun.elapsed()) {
            std::thread::sleep(ahead);
        }
    }
}

impl Write for Writing {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.file.write(bytes)?;
        self.context.update(&bytes[..written]);
        self.written += written as u64;
        self.unsynced += written as u64;
        if self.unsynced >= BACKUP_SYNC_BYTES {
            self.file.sync_data()?;
            self.unsynced = 0;
            self.pace();
        }
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Drop for Writing {
    fn drop(&mut self) {
        if !self.path.as_os_str().is_empty() {
            let _ = std::fs::remove_file(&self.path);
        }
    }
}

fn shown(path: &Path) -> String {
    path.display().to_string()
}

fn fault(path: &Path, source: io::Error) -> FolderFault {
    FolderFault::Write { path: shown(path), source }
}
