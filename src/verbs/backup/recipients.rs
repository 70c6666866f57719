//! Who can open backups: the hospital's own keys, from the configuration, and the recovery key.
//!
//! `<data>/keys/backup.recipients`, mode 0600: one public key a line, `#` before remarks, the form
//! that `age -R` reads. The recovery key's secret is printed once and kept nowhere here: what is on
//! the machine burns with the machine.

use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::Config;
use crate::seal::age::Recipient;
use crate::verbs::whole::{self, Owner};

/// Where the recovery keys' public halves lie.
pub fn file(data: &Path) -> PathBuf {
    data.join("keys/backup.recipients")
}

/// The recovery keys.
pub fn recovery(data: &Path) -> Result<Vec<Recipient>, String> {
    let path = file(data);
    let text = match std::fs::read_to_string(&path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(format!("{}: {error}", path.display())),
    };
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let lines = lines.filter(|line| !line.starts_with('#'));
    let read = |line: &str| {
        Recipient::parse(line).map_err(|fault| format!("{}: `{line}`: {fault}", path.display()))
    };
    lines.map(read).collect()
}

/// Everybody for whom a backup is sealed.
pub fn all(config: &Config) -> Result<Vec<Recipient>, String> {
    let mut all = recovery(&config.data)?;
    for one in &config.backup.recipients {
        if !all.contains(one) {
            all.push(one.clone());
        }
    }
    Ok(all)
}

/// Keeps a recovery key's public half in the place of all others.
pub fn keep(data: &Path, recipient: &Recipient, remark: &str) -> io::Result<()> {
    let path = file(data);
    let folder = path.parent().unwrap_or(data);
    std::fs::create_dir_all(folder)?;
    // The verb may be run by root, and the service's own user makes the backups.
    let theirs = std::fs::metadata(folder)?;
    let owner = Owner { user: Some(theirs.uid()), group: Some(theirs.gid()) };
    let text = format!("# recovery key, {remark}\n{recipient}\n");
    whole::put(&path, text.as_bytes(), 0o600, owner)
}
