//! Names and durable steps of the cache folder.
//!
//! On disk: `lock`, `studies/<Study UID>/{<SOP UID>.dcm, study.records, arriving/}`, `incoming/`,
//! `trash/`, `index/` (sled) and `index.clean`. Only [`Uid`]s and numbers become names.

use std::fs::{self, DirBuilder, File};
use std::io;
use std::os::fd::AsRawFd;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::CacheError;
use crate::uid::Uid;

pub(crate) const LOCK: &str = "lock";
pub(crate) const STUDIES: &str = "studies";
pub(crate) const TRASH: &str = "trash";
pub(crate) const INCOMING: &str = "incoming";
pub(crate) const INDEX: &str = "index";
pub(crate) const CLEAN: &str = "index.clean";
pub(crate) const RECORDS: &str = "study.records";
pub(crate) const ARRIVING: &str = "arriving";
const OBJECT_SUFFIX: &str = ".dcm";

/// File name of an object.
pub(crate) fn object_name(sop: &Uid) -> String {
    format!("{sop}{OBJECT_SUFFIX}")
}

/// The instance whose object a file name is.
pub(crate) fn object_of(name: &str) -> Option<Uid> {
    Uid::try_from(name.strip_suffix(OBJECT_SUFFIX)?).ok()
}

/// Makes what is written in a folder's list of names durable.
pub(crate) fn sync(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

/// Makes a folder that only its owner can look into, if it is not there. `true`: it is new, and
/// its parent must be synced before it counts.
pub(crate) fn make(folder: &Path) -> io::Result<bool> {
    match DirBuilder::new().mode(0o700).create(folder) {
        Ok(()) => Ok(true),
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(false),
        Err(error) => Err(error),
    }
}

/// Makes a folder and its name durable.
pub(crate) fn make_durable(folder: &Path) -> io::Result<()> {
    if make(folder)? {
        sync(folder.parent().unwrap_or(folder))?;
    }
    Ok(())
}

/// The studies that have a folder; other names are left alone.
pub(crate) fn studies(cache: &Path) -> io::Result<Vec<Uid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(cache.join(STUDIES))? {
        if let Some(study) = entry?.file_name().to_str().and_then(|name| Uid::try_from(name).ok()) {
            found.push(study);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// The instances that have an object file in a study folder.
pub(crate) fn objects(study: &Path) -> io::Result<Vec<Uid>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(study)? {
        if let Some(sop) = entry?.file_name().to_str().and_then(object_of) {
            found.push(sop);
        }
    }
    found.sort_unstable();
    Ok(found)
}

/// A name in `trash/` that is free, for something called `name`.
pub(crate) fn trash_place(cache: &Path, name: &str) -> PathBuf {
    static NEXT: AtomicU64 = AtomicU64::new(0);
    let trash = cache.join(TRASH);
    loop {
        let n = NEXT.fetch_add(1, Ordering::Relaxed);
        let place = trash.join(format!("{name}-{n}"));
        if !place.exists() {
            return place;
        }
    }
}

/// How full a disk is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// Bytes that this process may still write.
    pub free: u64,
    /// Bytes of the whole disk.
    pub bytes: u64,
}

/// The room on the disk that an open file or folder lies on.
pub(crate) fn room(file: &File) -> io::Result<Room> {
    // SAFETY: zeroes are a valid `statvfs`, which holds numbers only.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the descriptor is open for the life of `file`; `told` outlives the call.
    if unsafe { libc::fstatvfs(file.as_raw_fd(), &mut told) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let free = told.f_bavail.saturating_mul(told.f_frsize);
    Ok(Room { free, bytes: told.f_blocks.saturating_mul(told.f_frsize) })
}

/// The room on the disk of a folder.
pub(crate) fn room_in(folder: &Path) -> Result<Room, CacheError> {
    File::open(folder).and_then(|file| room(&file)).map_err(CacheError::io("asking for room"))
}

/// Removes a file or a folder with all in it; what is gone already is no error.
pub(crate) fn delete(path: &Path) -> io::Result<()> {
    let gone = match fs::symlink_metadata(path) {
        Ok(at) if at.is_dir() => fs::remove_dir_all(path),
        Ok(_) => fs::remove_file(path),
        Err(error) => Err(error),
    };
    match gone {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        gone => gone,
    }
}
