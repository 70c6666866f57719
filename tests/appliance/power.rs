//! A disk whose power can be cut: an ext4 in a file, on a loop device.
//!
//! EXT4_IOC_SHUTDOWN without a flush of the log drops everything that was not synced, as a power
//! cut would; the next mount replays the journal. It is lenient in one way: what a drive keeps in a
//! volatile cache of its own is not modelled.

use std::fs::File;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Fewer cuts than this prove nothing.
pub const CUTS_MIN: u32 = 10;
/// The size of the disk, in bytes: all studies of a campaign, three times.
const BYTES: u64 = 256 * 1024 * 1024;
/// `EXT4_IOC_SHUTDOWN`, `_IOR('X', 125, __u32)`.
const SHUTDOWN: libc::c_ulong = 0x8004_587d;
/// `EXT4_GOING_FLAGS_NOLOGFLUSH`.
const WITHOUT_LOG_FLUSH: u32 = 2;

/// The disk. Unmounted when it ends.
pub struct Disk {
    place: TempDir,
    mounted: bool,
}

impl Disk {
    /// A new disk, mounted once for a try; `None` where the machine does not allow that.
    pub fn make() -> Option<Disk> {
        Disk::of(BYTES)
    }

    /// One of so many bytes, of which the machine's own gives what is written.
    pub fn of(bytes: u64) -> Option<Disk> {
        let place = tempfile::tempdir().ok()?;
        std::fs::create_dir(place.path().join("mount")).ok()?;
        let mut disk = Disk { place, mounted: false };
        File::create(disk.image()).ok()?.set_len(bytes).ok()?;
        // The blocks of every disk of a machine's size. With the 1 KB that a small one gets,
        // SQLite's way to make sure of the room of its shared memory, a byte a page, is not
        // enough: the kernel ends the process when the disk is full (SIGBUS).
        let made = run("mkfs.ext4", &["-q", "-F", "-b", "4096"], &[&disk.image()]);
        if made.is_err() || disk.try_mount().is_err() {
            return None;
        }
        disk.prove();
        disk.unmount();
        Some(disk)
    }

    /// A cut must really lose what was not synced, and nothing that was; else a campaign on this
    /// disk would prove nothing.
    fn prove(&mut self) {
        let (synced, unsynced) = (self.folder().join("synced"), self.folder().join("unsynced"));
        std::fs::write(&synced, b"here").expect("the new disk takes a file");
        File::open(&synced).and_then(|file| file.sync_all()).expect("and syncs it");
        File::open(self.folder()).and_then(|folder| folder.sync_all()).expect("and its name");
        std::fs::write(&unsynced, b"gone").expect("the new disk takes another");
        self.cut();
        self.come_back();
        assert_eq!(std::fs::read(&synced).ok().as_deref(), Some(&b"here"[..]));
        assert_ne!(std::fs::read(&unsynced).ok().as_deref(), Some(&b"gone"[..]));
        std::fs::remove_file(&synced).expect("the disk works again");
    }

    pub fn mount(&mut self) {
        self.try_mount().expect("the disk was mounted before");
    }

    /// Where it is mounted.
    pub fn folder(&self) -> PathBuf {
        self.place.path().join("mount")
    }

    /// Cuts the power. Everything on the disk fails from now on.
    pub fn cut(&self) {
        let folder = File::open(self.folder()).expect("the mounted folder can be opened");
        let flag = WITHOUT_LOG_FLUSH;
        // SAFETY: the ioctl reads one u32 behind the pointer, which lives until it returns.
        let result = unsafe { libc::ioctl(folder.as_raw_fd(), SHUTDOWN, &raw const flag) };
        assert_eq!(result, 0, "EXT4_IOC_SHUTDOWN: {}", std::io::Error::last_os_error());
    }

    /// The machine starts again: the journal is replayed, and the file system must be sound.
    pub fn come_back(&mut self) {
        self.unmount();
        self.try_mount().expect("the journal is replayed");
        self.unmount();
        let check = run("e2fsck", &["-f", "-n"], &[&self.image()]);
        check.expect("the file system is sound after the replay");
        self.mount();
    }

    fn image(&self) -> PathBuf {
        self.place.path().join("disk.img")
    }

    fn try_mount(&mut self) -> Result<(), String> {
        run("mount", &["-t", "ext4", "-o", "loop"], &[&self.image(), &self.folder()])?;
        self.mounted = true;
        Ok(())
    }

    fn unmount(&mut self) {
        run("umount", &[], &[&self.folder()]).expect("nobody uses the disk any more");
        self.mounted = false;
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        if self.mounted {
            let _ = run("umount", &["-l"], &[&self.folder()]);
        }
    }
}

fn run(program: &str, arguments: &[&str], paths: &[&Path]) -> Result<(), String> {
    let output = Command::new(program).args(arguments).args(paths).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    match output.status.success() {
        true => Ok(()),
        false => Err(format!("{program}: {}", String::from_utf8_lossy(&output.stderr))),
    }
}
