//! Whether a disk has room, belongs to the service, and keeps what is written to it.

use std::fs;
use std::io::Write;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use std::time::Instant;

use forepost_cache::Room;
use forepost_cache::limits::SPARE_BYTES;

use super::limits::{INODES_PERCENT, SYNC_FAILING_MS, SYNC_SLOW_MS};
use super::{Finding, Words};
use crate::host::{self, Space};
use crate::prefetch::eviction::Marks;

/// Entries of a folder whose owner is looked at.
const OWNED_MAX: usize = 1_000;

/// What is told of the disk below `folder`, which may not be there yet. May wait for the disk.
pub(super) fn findings(subject: &str, folder: &Path, marks: &Marks) -> Vec<Finding> {
    let mut findings = Vec::new();
    let there = nearest(folder);
    match host::space(&there) {
        Ok(Space { bytes, free, inodes, inodes_free }) => {
            findings.push(room_finding(subject, &there, Room { bytes, free }, marks));
            findings.extend(inodes_finding(subject, (inodes, inodes_free)));
        }
        Err(error) => findings.push(unreadable(subject, "room", &there, &error)),
    }
    if there == folder {
        findings.push(mode_finding(subject, folder));
        findings.push(owner_finding(subject, folder));
    }
    findings.push(sync_finding(subject, &there));
    findings
}

/// The folder itself, or what is there above it.
fn nearest(folder: &Path) -> PathBuf {
    let found = folder.ancestors().find(|one| one.is_dir());
    found.unwrap_or(Path::new("/")).to_owned()
}

fn unreadable(subject: &str, step: &'static str, path: &Path, error: &std::io::Error) -> Finding {
    let shown = path.display();
    let words = Words::new(format!("{shown} 无法读取：{error}"), format!("{shown}: {error}"));
    let next = Words::new(
        "以 root 或服务的用户运行；检查该磁盘是否已挂载（`findmnt`）",
        "run it as root or as the service's user; see whether the disk is mounted (`findmnt`)",
    );
    Finding::failing(subject, step, words, next)
}

fn gigabytes(bytes: u64) -> String {
    match bytes {
        10_000_000_000.. => format!("{} GB", bytes / 1_000_000_000),
        _ => format!("{} MB", bytes / 1_000_000),
    }
}

fn room_finding(subject: &str, folder: &Path, room: Room, marks: &Marks) -> Finding {
    let used = room.bytes.saturating_sub(room.free);
    let percent = used.saturating_mul(100).checked_div(room.bytes).unwrap_or(100);
    let (free, all) = (gigabytes(room.free), gigabytes(room.bytes));
    let zh = format!("{}：剩余 {free} / {all}，已用 {percent}%", folder.display());
    let en = format!("{}: {free} of {all} free, {percent}% in use", folder.display());
    let next = Words::new(
        "找出占用者：`du -xh --max-depth=2 / | sort -h | tail`；不属于本程序的移走；影像缓存可用 \
         `forepost cache evict` 腾出，或换更大的磁盘",
        "find what takes it: `du -xh --max-depth=2 / | sort -h | tail`; move what is not ours; \
         make room among the studies by `forepost cache evict`, or take a larger disk",
    );
    if room.free < SPARE_BYTES {
        let words = Words::new(
            format!("{zh}：不再接收任何影像，账本即将写满"),
            format!("{en}: nothing is taken in any more, and the ledger is close to its end"),
        );
        return Finding::failing(subject, "room", words, next);
    }
    if room.free < marks.floor(room) {
        let words = Words::new(
            format!("{zh}：预取已暂停，低于 {}", gigabytes(marks.floor(room))),
            format!("{en}: below {}, fetches are held back", gigabytes(marks.floor(room))),
        );
        return Finding::warning(subject, "room", words, next);
    }
    if percent > marks.high_percent {
        let mark = marks.high_percent;
        let words = Words::new(
            format!("{zh}：高于 {mark}%，正在腾出空间"),
            format!("{en}: above {mark}%, studies leave to make room"),
        );
        return Finding::warning(subject, "room", words, next);
    }
    Finding::fine(subject, "room", Words::new(zh, en))
}

/// Nothing for a file system that counts none.
fn inodes_finding(subject: &str, (all, free): (u64, u64)) -> Option<Finding> {
    let used = all.saturating_sub(free);
    let percent = used.saturating_mul(100).checked_div(all)?;
    let words =
        Words::new(format!("inode 已用 {percent}%"), format!("{percent}% of the inodes in use"));
    if percent < INODES_PERCENT {
        return Some(Finding::fine(subject, "inodes", words));
    }
    let next = Words::new(
        "小文件过多：`df -i`；删除不属于本程序的文件，或重建文件系统时增加 inode",
        "too many small files: `df -i`; delete what is not ours, or make the file system with more \
         inodes",
    );
    Some(match free {
        0 => Finding::failing(subject, "inodes", words, next),
        _ => Finding::warning(subject, "inodes", words, next),
    })
}

fn mode_finding(subject: &str, folder: &Path) -> Finding {
    let metadata = match fs::metadata(folder) {
        Ok(metadata) => metadata,
        Err(error) => return unreadable(subject, "mode", folder, &error),
    };
    let (mode, shown) = (metadata.mode() & 0o7777, folder.display());
    let words =
        Words::new(format!("{shown} 的权限为 {mode:o}"), format!("{shown} has mode {mode:o}"));
    let next = Words::new(format!("`chmod 750 {shown}`"), format!("`chmod 750 {shown}`"));
    match mode {
        _ if mode & 0o002 != 0 => Finding::failing(subject, "mode", words, next),
        _ if mode & 0o005 != 0 => Finding::warning(subject, "mode", words, next),
        _ => Finding::fine(subject, "mode", words),
    }
}

/// Whether everything that the service writes belongs to whom the folder belongs to: a verb that
/// was run as root may have left a file that the service then cannot open.
fn owner_finding(subject: &str, folder: &Path) -> Finding {
    let owner = match fs::metadata(folder) {
        Ok(metadata) => metadata.uid(),
        Err(error) => return unreadable(subject, "owner", folder, &error),
    };
    let shown = folder.display();
    let next = Words::new(
        format!("停止服务后 `chown -R 用户:用户组 {shown}`（软件包安装的用户名为 forepost）"),
        format!("stop the service, then `chown -R USER:GROUP {shown}` (the package's is forepost)"),
    );
    // SAFETY: the call takes nothing and always succeeds.
    let ours = unsafe { libc::geteuid() };
    if ours != 0 && ours != owner {
        let words = Words::new(
            format!("{shown} 属于 uid {owner}，而本程序以 uid {ours} 运行"),
            format!("{shown} belongs to uid {owner}, this program runs as uid {ours}"),
        );
        return Finding::failing(subject, "owner", words, next);
    }
    let foreign = ["", "ledger", "keys", "keys/sm2"]
        .iter()
        .filter_map(|name| fs::read_dir(folder.join(name)).ok())
        .flat_map(|entries| entries.take(OWNED_MAX).flatten())
        .filter(|entry| !entry.file_name().as_bytes().starts_with(b"lost+found"))
        .find(|entry| entry.metadata().is_ok_and(|one| one.uid() != owner));
    match foreign {
        Some(entry) => {
            let name = entry.path();
            let words = Words::new(
                format!("{} 不属于 uid {owner}", name.display()),
                format!("{} does not belong to uid {owner}", name.display()),
            );
            Finding::failing(subject, "owner", words, next)
        }
        None => {
            let words =
                Words::new(format!("都属于 uid {owner}"), format!("all belongs to uid {owner}"));
            Finding::fine(subject, "owner", words)
        }
    }
}

/// Writes a file, waits until it would survive a power cut, and takes it away.
fn sync_finding(subject: &str, folder: &Path) -> Finding {
    let path = folder.join(format!(".forepost-doctor-{}", std::process::id()));
    let began = Instant::now();
    let written = fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&path)
        .and_then(|mut file| file.write_all(&[0; 4096]).and_then(|()| file.sync_all()));
    let milliseconds = began.elapsed().as_millis();
    let _ = fs::remove_file(&path);
    let shown = folder.display();
    if let Err(error) = written {
        let words = Words::new(
            format!("无法在 {shown} 写入并落盘：{error}"),
            format!("nothing can be written to {shown} and synced: {error}"),
        );
        let next = match error.kind() {
            std::io::ErrorKind::StorageFull => Words::new(
                "磁盘已满：腾出空间（`df -h`、`du -xh --max-depth=2`）",
                "the disk is full: make room (`df -h`, `du -xh --max-depth=2`)",
            ),
            std::io::ErrorKind::ReadOnlyFilesystem => Words::new(
                "文件系统只读，多为磁盘故障：`dmesg | tail`，更换磁盘并从备份恢复",
                "the file system is read-only, mostly for a broken disk: `dmesg | tail`, replace \
                 it and restore the backup",
            ),
            _ => Words::new(
                "以 root 或服务的用户运行；检查权限与磁盘（`dmesg | tail`）",
                "run it as root or as the service's user; look at modes and disk (`dmesg | tail`)",
            ),
        };
        return Finding::failing(subject, "sync", words, next);
    }
    let words = Words::new(
        format!("写入并落盘用时 {milliseconds} 毫秒"),
        format!("a write is on the disk after {milliseconds} ms"),
    );
    let next = Words::new(
        "磁盘太慢，HIS 会等待：检查 RAID 与其电池、虚拟机的存储；机械硬盘改用固态硬盘",
        "too slow, and the HIS waits for it: look at the RAID and its battery, at the virtual \
         machine's storage; take a solid-state disk",
    );
    match milliseconds {
        SYNC_FAILING_MS.. => Finding::failing(subject, "sync", words, next),
        SYNC_SLOW_MS.. => Finding::warning(subject, "sync", words, next),
        _ => Finding::fine(subject, "sync", words),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_light_follows_the_marks() {
        let marks = Marks::default();
        let state = |free: u64| {
            let room = Room { bytes: 1_000_000_000_000, free };
            room_finding("d", Path::new("/"), room, &marks).state
        };
        assert_eq!(state(500_000_000_000), State::Fine);
        assert_eq!(state(50_000_000_000), State::Warning);
        assert_eq!(state(3_000_000_000), State::Warning);
        assert_eq!(state(SPARE_BYTES - 1), State::Failing);
    }

    #[test]
    fn inodes_that_are_not_counted_are_not_told() {
        assert!(inodes_finding("d", (0, 0)).is_none());
        assert_eq!(inodes_finding("d", (100, 50)).unwrap().state, State::Fine);
        assert_eq!(inodes_finding("d", (100, 5)).unwrap().state, State::Warning);
        assert_eq!(inodes_finding("d", (100, 0)).unwrap().state, State::Failing);
    }
}
