//! Files that are written whole or not at all, for verbs that root runs: beside their place, with
//! their owner and mode before they have a byte, synced, and only then renamed.

use std::fs::{self, File, OpenOptions, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt, fchown};
use std::path::Path;

/// Whose a file becomes; `None`: as it is made.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Owner {
    /// The user's number.
    pub user: Option<u32>,
    /// The group's number.
    pub group: Option<u32>,
}

impl Owner {
    /// The owner first: a mode that lets a group read must not do so for another one.
    pub fn take(self, file: &File, mode: u32) -> io::Result<()> {
        if self.user.is_some() || self.group.is_some() {
            fchown(file, self.user, self.group)?;
        }
        file.set_permissions(Permissions::from_mode(mode))
    }
}

/// Writes and syncs a file that has not its last name yet; one that a run left behind goes.
pub(super) fn lay(beside: &Path, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let _ = fs::remove_file(beside);
    let mut new = OpenOptions::new().write(true).create_new(true).mode(0o600).open(beside)?;
    owner.take(&new, mode)?;
    new.write_all(bytes)?;
    new.sync_all()
}

/// Writes a file in the place of the one that is there: after a power cut it is the old one or the
/// new one.
pub(super) fn put(path: &Path, bytes: &[u8], mode: u32, owner: Owner) -> io::Result<()> {
    let name = path.file_name().unwrap_or_default().to_string_lossy();
    let beside = path.with_file_name(format!(".{name}.new"));
    lay(&beside, bytes, mode, owner)?;
    fs::rename(&beside, path)?;
    sync_folder_of(path)
}

/// Syncs the folder in which a file has just got or lost its name.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    File::open(path.parent().unwrap_or(Path::new("/")))?.sync_all()
}
