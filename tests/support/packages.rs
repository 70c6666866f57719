//! The packages around the binary of the tests, packed once for all tests of a run.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The root of the repository.
pub const ROOT: &str = env!("CARGO_MANIFEST_DIR");

/// The binary of the tests.
pub const BINARY: &str = env!("CARGO_BIN_EXE_forepost");

/// A version that comes after every other.
const LATER: &str = "99.0.0";

/// A folder with a `.deb`, an `.rpm` and a tarball.
pub struct Packages {
    folder: PathBuf,
}

impl Packages {
    /// Around the binary of the tests, under the version of the sources; where FOREPOST_PACKAGES
    /// names a folder, those in it, as `make night` does with the release.
    pub fn own() -> Packages {
        match std::env::var_os("FOREPOST_PACKAGES") {
            Some(folder) => Packages { folder: Path::new(ROOT).join(folder) },
            None => Packages::packed("own", Path::new(BINARY), None),
        }
    }

    /// The same binary as a version that comes later.
    pub fn later() -> Packages {
        Packages::packed("later", Path::new(BINARY), Some(LATER))
    }

    /// What `make package` made.
    pub fn release() -> Packages {
        let folder = Path::new(ROOT).join("target/package");
        assert!(
            folder.join("SHA256SUMS").exists(),
            "there is no release in target/package: run `make package`, or packaging/build"
        );
        Packages { folder }
    }

    /// The release's binary as a version that comes later.
    pub fn release_as_later() -> Packages {
        let binary = Path::new(ROOT).join("target/x86_64-unknown-linux-gnu/release/forepost");
        Packages::packed("release-as-later", &binary, Some(LATER))
    }

    /// Every test is a process of its own, so the first packs and the others wait for it. What was
    /// packed is good as long as the binary is the same file and no file of packaging/ is newer.
    fn packed(name: &str, binary: &Path, version: Option<&str>) -> Packages {
        let all = Path::new(ROOT).join("target/packages-of-tests");
        fs::create_dir_all(&all).unwrap();
        let lock = File::create(all.join(format!("{name}.lock"))).unwrap();
        lock.lock().unwrap();
        let folder = all.join(name);
        let found = fs::metadata(binary).unwrap();
        let wanted = format!("{:?} {} {:?}", found.modified(), found.len(), newest_source());
        let stamp = folder.join("stamp");
        if fs::read_to_string(&stamp).is_ok_and(|found| found == wanted) {
            return Packages { folder };
        }
        let output = Command::new(Path::new(ROOT).join("packaging/pack"))
            .args([binary, &folder])
            .args(version)
            // Smaller takes longer, and nobody keeps these.
            .env("FOREPOST_PACK_LEVEL", "1")
            // Sources without their history have an age, too.
            .env("SOURCE_DATE_EPOCH", "1764374400")
            .output()
            .expect("packaging/pack starts");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "packaging/pack failed:\n{said}");
        fs::write(stamp, wanted).unwrap();
        Packages { folder }
    }

    /// The one file with this ending.
    pub fn file(&self, ending: &str) -> PathBuf {
        let found: Vec<PathBuf> = fs::read_dir(&self.folder)
            .unwrap()
            .map(|entry| entry.unwrap().path())
            .filter(|path| path.to_string_lossy().ends_with(ending))
            .collect();
        assert_eq!(found.len(), 1, "one *{ending} in {}: {found:?}", self.folder.display());
        found[0].clone()
    }
}

/// When something that goes into a package beside the binary was last written.
fn newest_source() -> std::time::SystemTime {
    let newest = |folder: &str| newest_in(&Path::new(ROOT).join(folder));
    let folders = ["packaging", "systemd", "docs", "monitoring"];
    folders.into_iter().filter_map(newest).max().unwrap()
}

fn newest_in(folder: &Path) -> Option<std::time::SystemTime> {
    let entries = fs::read_dir(folder).ok()?.map(|entry| entry.unwrap().path());
    entries
        .filter_map(|path| match path.is_dir() {
            true => newest_in(&path),
            false => Some(fs::metadata(&path).unwrap().modified().unwrap()),
        })
        .max()
}
