//! Whether the ledger opens, is whole, adds up, and can be read by nobody else.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use super::limits::{DELIVERY_OLD_MS, LEDGER_CHECK_WAIT, LEDGER_LOG_BYTES};
use super::{Finding, Words};
use crate::host::{self, CredentialFault, OpenFault};
use crate::ledger::{FileCheck, KeyFault, Ledger, LedgerError, Tally};
use crate::limits::LEDGER_RESERVE_BYTES;
use crate::model::{DeliveryState, Time};

const SUBJECT: &str = "ledger";

/// What is told of the ledger in `data`. May wait for the disk.
pub(super) fn findings(data: &Path, now: Time) -> Vec<Finding> {
    let folder = data.join("ledger");
    if !folder.join("forepost.db").exists() {
        let words =
            Words::new("还没有账本，首次启动时建立", "no ledger yet; the first start makes it");
        return vec![Finding::fine(SUBJECT, "open", words)];
    }
    let opened = match host::open_to_read(data) {
        Ok(ledger) => of_open(&ledger, &folder, now),
        Err(OpenFault::Ledger(error)) => vec![not_open(&error)],
        Err(OpenFault::Keys(fault)) => return vec![keyless(&fault)],
    };
    let mut findings = vec![key_files(&data.join("keys"))];
    findings.extend(opened);
    findings
}

fn keyless(fault: &CredentialFault) -> Finding {
    let words =
        Words::new(format!("密钥不可用：{fault}"), format!("the keys cannot be had: {fault}"));
    let next = match fault {
        CredentialFault::Keys(KeyFault::Open { path, .. }) => {
            Words::new(format!("`chmod 600 {path}`"), format!("`chmod 600 {path}`"))
        }
        CredentialFault::Keys(_) => Words::new(
            "从备份恢复密钥文件（`forepost restore`）；没有它，账本中的个人信息无人能读",
            "restore the key file from the backup (`forepost restore`); without it nobody reads \
             what is personal in the ledger",
        ),
        _ => Words::new(
            "以 root 运行；凭据只能在封存它的机器上打开，换过主板或 TPM 时从备份恢复（`forepost restore`）",
            "run it as root; the credential opens on the machine that sealed it only: with another \
             board or TPM restore the backup (`forepost restore`)",
        ),
    };
    Finding::failing("keys", "read", words, next)
}

/// The ledger's keys are held to their mode when they are read; those of SM2 are held here.
fn key_files(folder: &Path) -> Finding {
    let open = |path: &Path| fs::metadata(path).ok().map(|one| one.mode() & 0o777);
    let files = fs::read_dir(folder.join("sm2")).into_iter().flatten().flatten();
    let readable = files
        .map(|entry| entry.path())
        .chain([folder.to_owned(), folder.join("ledger.keys")])
        .find_map(|path| open(&path).filter(|mode| mode & 0o077 != 0).map(|mode| (path, mode)));
    match readable {
        None => {
            let words = Words::new(
                "密钥只有服务的用户可读",
                "the keys can be read by the service's user only",
            );
            Finding::fine("keys", "mode", words)
        }
        Some((path, mode)) => {
            let shown = path.display();
            let words = Words::new(
                format!("{shown} 的权限为 {mode:o}，他人可读"),
                format!("{shown} has mode {mode:o}: others may read it"),
            );
            let mode = if path.is_dir() { "700" } else { "600" };
            let next = format!("`chmod {mode} {shown}`");
            Finding::failing("keys", "mode", words, Words::new(next.clone(), next))
        }
    }
}

fn not_open(error: &LedgerError) -> Finding {
    let words =
        Words::new(format!("账本打不开：{error}"), format!("the ledger does not open: {error}"));
    let next = match error {
        LedgerError::Newer { .. } => Words::new(
            "账本由更新的版本写成：安装该版本",
            "a newer version wrote it: install that one",
        ),
        _ => Words::new(
            "以 root 或服务的用户运行；若文件损坏：停止服务，保留 ledger 目录，`forepost restore`",
            "run it as root or as the service's user; if the file is damaged: stop the service, \
             keep the folder, `forepost restore`",
        ),
    };
    Finding::failing(SUBJECT, "open", words, next)
}

fn of_open(ledger: &Ledger, folder: &Path, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    match ledger.versions() {
        Ok((found, ours)) => {
            let words = Words::new(
                format!("已打开，表版本 {found}（本程序 {ours}）"),
                format!("open; tables of version {found} (this program: {ours})"),
            );
            findings.push(Finding::fine(SUBJECT, "open", words));
        }
        Err(error) => findings.push(not_open(&error)),
    }
    findings.push(integrity(ledger));
    findings.extend(files(folder));
    match ledger.tallies() {
        Ok(tallies) => findings.extend(deliveries(&tallies, now)),
        Err(error) => findings.push(not_open(&error)),
    }
    findings.extend(alarms(ledger));
    findings
}

fn integrity(ledger: &Ledger) -> Finding {
    match ledger.check_file(LEDGER_CHECK_WAIT) {
        Ok(FileCheck::Sound) => {
            let words = Words::new("文件完整", "the file is sound");
            Finding::fine(SUBJECT, "integrity", words)
        }
        Ok(FileCheck::Unfinished) => {
            let seconds = LEDGER_CHECK_WAIT.as_secs();
            let words = Words::new(
                format!("文件较大，{seconds} 秒内检查过的部分完整"),
                format!("the file is large; what was checked in {seconds} s is sound"),
            );
            Finding::fine(SUBJECT, "integrity", words)
        }
        Ok(FileCheck::Damaged(lines)) => {
            let lines = lines.join("; ");
            let words =
                Words::new(format!("文件损坏：{lines}"), format!("the file is damaged: {lines}"));
            let next = Words::new(
                "停止服务，保留 ledger 目录的副本，检查磁盘（`smartctl -a`），然后 `forepost restore`",
                "stop the service, keep a copy of the folder, look at the disk (`smartctl -a`), \
                 then `forepost restore`",
            );
            Finding::failing(SUBJECT, "integrity", words, next)
        }
        Err(error) => not_open(&error),
    }
}

/// The reserve that repair needs, and a write-ahead log that nobody works off.
fn files(folder: &Path) -> Vec<Finding> {
    let mut findings = Vec::new();
    let size = |name: &str| fs::metadata(folder.join(name)).map_or(0, |one| one.len());
    let megabytes = LEDGER_RESERVE_BYTES >> 20;
    findings.push(if size("reserve") >= LEDGER_RESERVE_BYTES {
        let words = Words::new(
            format!("应急空间 {megabytes} MB 已备"),
            format!("the reserve of {megabytes} MB is there"),
        );
        Finding::fine(SUBJECT, "reserve", words)
    } else {
        let words = Words::new(
            format!("应急空间 {megabytes} MB 不在：磁盘曾写满"),
            format!("the reserve of {megabytes} MB is gone: the disk was full"),
        );
        let next = Words::new(
            "在账本所在磁盘腾出 100 MB 以上，服务会自动重建",
            "make room for 100 MB and more on the ledger's disk; the service makes it again",
        );
        Finding::warning(SUBJECT, "reserve", words, next)
    });
    let log = size("forepost.db-wal");
    if log > LEDGER_LOG_BYTES {
        let log = log >> 20;
        let words = Words::new(
            format!("预写日志已有 {log} MB，没有被合并"),
            format!("the write-ahead log has grown to {log} MB"),
        );
        let next = Words::new(
            "有程序长期占着账本：结束久未结束的 forepost 命令，否则重启服务",
            "a reader holds the ledger: end whatever verb of forepost still runs, or restart the \
             service",
        );
        findings.push(Finding::warning(SUBJECT, "log", words, next));
    }
    findings
}

/// What is accepted to leave is all accounted for, and does leave.
fn deliveries(tallies: &[Tally], now: Time) -> Vec<Finding> {
    let sum = |state| tallies.iter().map(|one| one.of(state)).sum::<u64>();
    let accepted: u64 = tallies.iter().map(|one| one.accepted).sum();
    let mut findings = Vec::new();
    let wrong: Vec<&str> =
        tallies.iter().filter(|one| !one.holds()).map(|one| one.interface.as_str()).collect();
    findings.push(if wrong.is_empty() {
        let delivered = sum(DeliveryState::Delivered);
        let words = Words::new(
            format!("账目平：接收 {accepted}，已送达 {delivered}"),
            format!("the account balances: {accepted} accepted, {delivered} delivered"),
        );
        Finding::fine(SUBJECT, "account", words)
    } else {
        let wrong = wrong.join(", ");
        let words = Words::new(
            format!("账目不平：{wrong}"),
            format!("the account does not balance: {wrong}"),
        );
        let next = Words::new(
            "保留现场：`forepost doctor --bundle 文件.tar.gz`，并联系厂家",
            "keep all as it is: `forepost doctor --bundle FILE.tar.gz`, and call the maker",
        );
        Finding::failing(SUBJECT, "account", words, next)
    });
    let parked = sum(DeliveryState::Parked);
    if parked > 0 {
        let words = Words::new(
            format!("{parked} 条记录等待人工处理"),
            format!("{parked} deliveries wait for a person's decision"),
        );
        let next = Words::new(
            "`forepost queue list --state parked`，逐条 `forepost queue show 编号` 后处理",
            "`forepost queue list --state parked`, then `forepost queue show NUMBER` for each",
        );
        findings.push(Finding::warning(SUBJECT, "parked", words, next));
    }
    let oldest = tallies.iter().filter_map(|one| one.oldest_at).min();
    if let Some(age) = oldest.map(|at| now.since_ms(at)).filter(|age| *age > DELIVERY_OLD_MS) {
        let hours = age / 3_600_000;
        let words = Words::new(
            format!("最早一条未送出的记录已等待 {hours} 小时"),
            format!("the oldest record that has not left waits for {hours} h"),
        );
        let next = Words::new(
            "`forepost queue list` 看原因；检查对应的目的地（本页）",
            "`forepost queue list` says why; look at its destination on this page",
        );
        findings.push(Finding::warning(SUBJECT, "oldest", words, next));
    }
    findings
}

fn alarms(ledger: &Ledger) -> Vec<Finding> {
    let alarms = match ledger.alarms() {
        Ok(alarms) => alarms,
        Err(error) => return vec![not_open(&error)],
    };
    let finding = |(interface, level, _): (String, u32, Time)| {
        let words = Words::new(
            format!("{interface}：时限已用去 {level}%"),
            format!("{interface}: {level}% of the time to the deadline is used"),
        );
        let next = Words::new(
            "`forepost queue list` 看原因，在时限前处理",
            "`forepost queue list` says why; act before the deadline",
        );
        match level {
            0 => None,
            100.. => Some(Finding::failing(SUBJECT, "alarm", words, next)),
            _ => Some(Finding::warning(SUBJECT, "alarm", words, next)),
        }
    };
    alarms.into_iter().filter_map(finding).collect()
}
