//! `[backup]`: where backups go, for whom they are sealed, and which of them stay.

use std::path::{Path, PathBuf};

use super::section::Section;
use crate::seal::age::{RECIPIENTS_MAX, Recipient};

/// How many backups stay: of as many days, weeks and months that have any, the last of each; and
/// as many as days, whatever their day.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Kept {
    /// Days.
    pub daily: usize,
    /// Weeks, from Monday.
    pub weekly: usize,
    /// Months.
    pub monthly: usize,
}

impl Default for Kept {
    /// A week to notice a mistake of a day, a month for one of a week, a year for an audit.
    fn default() -> Kept {
        Kept { daily: 7, weekly: 5, monthly: 12 }
    }
}

/// What `[backup]` says.
#[derive(Debug, Clone, Default)]
pub struct BackupOptions {
    /// The folder; `None`: it is told on the command line.
    pub to: Option<PathBuf>,
    /// Who can open backups, beside the recovery key.
    pub recipients: Vec<Recipient>,
    /// Which backups stay.
    pub kept: Kept,
    /// The folder must lie on another disk than the data.
    pub mounted: bool,
    /// Backups are not sealed.
    pub plain: bool,
}

pub(super) fn take(mut section: Section<'_>) -> BackupOptions {
    let mut recipients = Vec::new();
    for text in section.texts("recipients").unwrap_or_default() {
        match Recipient::parse(&text) {
            Ok(recipient) => recipients.push(recipient),
            Err(fault) => section.mistake("recipients", &format!("`{text}`: {fault}")),
        }
    }
    // One place is the recovery key's, one its successor's.
    if recipients.len() + 2 > RECIPIENTS_MAX {
        section.mistake("recipients", &format!("expected at most {}", RECIPIENTS_MAX - 2));
    }
    let to = section.path("to");
    if to.as_deref().is_some_and(Path::is_relative) {
        section.mistake("to", "expected a path that begins with /");
    }
    let default = Kept::default();
    let mut number = |key: &str, min: i64, default: usize| {
        section.number(key, min, 10_000).map_or(default, |number| number as usize)
    };
    let kept = Kept {
        daily: number("keep_daily", 1, default.daily),
        weekly: number("keep_weekly", 0, default.weekly),
        monthly: number("keep_monthly", 0, default.monthly),
    };
    let options = BackupOptions {
        to,
        recipients,
        kept,
        mounted: section.flag("mounted").unwrap_or(false),
        plain: section.flag("plain").unwrap_or(false),
    };
    section.end();
    options
}

#[cfg(test)]
mod tests {
    use crate::config::Config;

    const SMALL: &str = "data = \"/d\"\n[[hospital]]\ncode = \"H1\"\n";

    #[test]
    fn every_mistake_is_named_and_what_is_not_said_has_a_default() {
        let config = Config::parse(&format!("{SMALL}[backup]\nto = \"/mnt/b\"\n"), "f").unwrap();
        let kept = config.backup.kept;
        assert_eq!((kept.daily, kept.weekly, kept.monthly), (7, 5, 12));
        assert!(!config.backup.plain && !config.backup.mounted);
        assert!(config.paths.contains(&"/mnt/b".into()), "{:?}", config.paths);
        let wrong = "[backup]\nto = \"b\"\nrecipients = [\"age1\"]\nkeep_daily = 0\nkeep = 3\n";
        let fault = Config::parse(&format!("{SMALL}{wrong}"), "f").err().unwrap().to_string();
        for key in ["to", "recipients", "keep_daily", "keep"] {
            assert!(fault.contains(&format!("backup.{key}: ")), "{key} in\n{fault}");
        }
    }
}
