//! What must survive this machine: once the service runs, the recovery key of the backups is made
//! and shown, the first backup is made where a folder was named, and the ledger's keys are sealed
//! to the machine.
//!
//! In this order, because keys that only this machine opens are a loss waiting for its disk until
//! a backup holds them too. And after the start, because the service makes its folders as its own
//! user. Each step is a verb or a unit that a person may run as well; nothing is done twice.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::answers::{Answers, line};
use super::ending::Ending;
use super::site::{Site, systemctl};
use super::words::{self, filled};
use super::words_of;

/// Who made the recovery key, for the remark beside it.
const BY: &str = "forepost setup";

/// Does what is not done yet. `is_new`: there was no configuration before.
pub fn keep_safe(ending: &mut Ending, answers: &Answers, site: &Site, is_new: bool) {
    let data = line(&answers.one("machine"), "data").unwrap_or_default();
    let keys = Path::new(&data).join("keys");
    if !keys.join("backup.recipients").exists() {
        match own_verb(site, &["backup", "key", "--json", "--by", BY]) {
            Ok(told) => {
                let made: Value = serde_json::from_str(&told).unwrap_or_default();
                ending.recovery_key(made["secret"].as_str().unwrap_or_default());
            }
            Err(told) => ending.failed(told),
        }
    }
    let Some(to) = line(&answers.one("backup"), "to").map(PathBuf::from) else {
        return ending.note(words_of(&words::BACKUP_LATER));
    };
    if let Err(error) = give_folder(&to, site) {
        return ending.failed(format!("{}: {error}", to.display()));
    }
    let unit = |words: &[&str]| {
        systemctl(&words.iter().map(|word| (*word).to_owned()).collect::<Vec<_>>())
    };
    let made = unit(&["enable", "--now", "forepost-backup.timer"])
        .and_then(|()| unit(&["start", "forepost-backup.service"]));
    if let Err(told) = made {
        ending.failed(told);
        return ending.note(words_of(&words::NOT_BACKED_UP));
    }
    ending.note(filled(&words::BACKED_UP, &to.display().to_string()));
    if !is_new {
        return;
    }
    match own_verb(site, &["keys", "seal", "--yes"]) {
        // Started again, so that what was sealed is seen to open.
        Ok(_) => match unit(&["restart", "forepost.service"]) {
            Ok(()) => ending.note(words_of(&words::SEALED)),
            Err(told) => ending.failed(told),
        },
        // An older systemd has no credentials: the file stays, 0600, and is in the backups.
        Err(told) => ending.note(filled(&words::NOT_SEALED, &told)),
    }
}

/// Makes the folder, or takes an empty one, for the service's user.
fn give_folder(to: &Path, site: &Site) -> io::Result<()> {
    fs::create_dir_all(to)?;
    let Some((user, group)) = site.user() else { return Ok(()) };
    let is_empty =
        fs::read_dir(to)?.all(|one| one.is_ok_and(|one| one.file_name() == "lost+found"));
    if is_empty && fs::metadata(to)?.uid() != user {
        chown(to, Some(user), Some(group))?;
    }
    Ok(())
}

/// What another verb of this program printed; or its complaint.
fn own_verb(site: &Site, words: &[&str]) -> Result<String, String> {
    let own = std::env::current_exe().map_err(|error| error.to_string())?;
    let output = Command::new(own).args(words).arg("--config").arg(&site.config).output();
    let output = output.map_err(|error| error.to_string())?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim().to_owned();
    match output.status.success() {
        true => Ok(text(&output.stdout)),
        false => Err(format!("forepost {}: {}", words[..2].join(" "), text(&output.stderr))),
    }
}
