//! Whether there is a backup of yesterday, and a place for the next one.

use std::path::Path;

use super::limits::{BACKUP_LATE_MS, BACKUP_MISSING_MS};
use super::{Finding, Words};
use crate::config::BackupOptions;
use crate::host;
use crate::model::Time;

const SUBJECT: &str = "backup";

/// What is told of backups. Nothing before there is a ledger. May wait for the disk.
pub(super) fn findings(options: &BackupOptions, data: &Path, now: Time) -> Vec<Finding> {
    // Why the ledger is not had is told by its own check.
    let Ok(ledger) = host::open_to_read(data) else { return Vec::new() };
    let Ok((last, _)) = ledger.backup_figures() else { return Vec::new() };
    let mut findings = Vec::new();
    if let Some(folder) = options.to.as_deref().filter(|folder| !folder.is_dir()) {
        let shown = folder.display();
        let words = Words::new(
            format!("备份目录 {shown} 不在"),
            format!("the backups' folder {shown} is not there"),
        );
        let next = Words::new(
            format!("接上并挂载备份盘（`findmnt {shown}`），或改正 `[backup]` 中的 `to`"),
            format!("connect and mount its disk (`findmnt {shown}`), or correct `to` in [backup]"),
        );
        findings.push(Finding::failing(SUBJECT, "folder", words, next));
    }
    findings.push(age(options.to.is_some(), last, now));
    findings
}

fn age(is_set_up: bool, last: Option<Time>, now: Time) -> Finding {
    let again = Words::new(
        "`journalctl -u forepost-backup -n 20` 看原因，处理后 `systemctl start forepost-backup`",
        "`journalctl -u forepost-backup -n 20` says why; then `systemctl start forepost-backup`",
    );
    let Some(last) = last else {
        let words = Words::new("从未备份", "no backup was ever made");
        let next = match is_set_up {
            true => again,
            false => Words::new(
                "`forepost backup key --by 姓名` 生成恢复密钥，并在配置中写 `[backup]` 的 `to`",
                "make the recovery key by `forepost backup key --by NAME`, and name the folder: \
                 `to` in [backup]",
            ),
        };
        return Finding::warning(SUBJECT, "age", words, next);
    };
    let age_ms = now.since_ms(last);
    let hours = age_ms / 3_600_000;
    let words = Words::new(
        format!("上次备份在 {hours} 小时前"),
        format!("the last backup was made {hours} h ago"),
    );
    match age_ms {
        BACKUP_MISSING_MS.. => Finding::failing(SUBJECT, "age", words, again),
        BACKUP_LATE_MS.. => Finding::warning(SUBJECT, "age", words, again),
        _ => Finding::fine(SUBJECT, "age", words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_light_follows_the_age() {
        let now = Time(1_800_000_000_000);
        let state = |hours: i64| age(true, Some(now.plus_ms(-hours * 3_600_000)), now).state;
        let states = [1, 27, 28, 71, 72].map(state);
        let [fine, warning, failing] = [State::Fine, State::Warning, State::Failing];
        assert_eq!(states, [fine, fine, warning, warning, failing]);
        assert_eq!(age(false, None, now).state, State::Warning);
    }
}
