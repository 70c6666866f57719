//! What only the release in `target/package` can show: against which glibc it is linked, how large
//! it is, on which systems it runs, and that the same sources give the same bytes.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

use crate::life;
use crate::packages::{Packages, ROOT};
use crate::system::System;

/// The newest glibc whose symbols may be asked for: that of 麒麟 V10, openEuler 20.03 and Debian 10.
const GLIBC_MAX: [u32; 2] = [2, 28];

/// Bytes of each package.
const PACKAGE_BYTES_MAX: u64 = 30_000_000;

/// The libraries that glibc itself consists of. Any other could be missing somewhere.
const GLIBC: [&str; 5] =
    ["libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "ld-linux-x86-64.so.2"];

/// The binary out of the `.deb`.
fn binary(folder: &TempDir) -> PathBuf {
    let deb = Packages::release().file(".deb");
    let to = folder.path();
    let status = Command::new("dpkg-deb").arg("-x").args([&deb, to]).status().unwrap();
    assert!(status.success());
    to.join("usr/bin/forepost")
}

fn readelf(option: &str, binary: &Path) -> String {
    let output = Command::new("readelf").args(["--wide", option]).arg(binary).output();
    let output = output.expect("readelf starts; packaging/tools installs binutils");
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap()
}

/// The versions of glibc's symbols that a text of `readelf --version-info` names.
fn versions(text: &str) -> BTreeSet<Vec<u32>> {
    let number = |word: &str| -> Option<Vec<u32>> {
        let parts = word.strip_prefix("GLIBC_")?.split('.');
        parts.map(|part| part.parse().ok()).collect()
    };
    text.split_whitespace().filter_map(number).collect()
}

#[test]
fn a_symbol_of_a_newer_glibc_is_seen() {
    let text = "0x0060: Name: GLIBC_2.34  Flags: none  Version: 6\n Name: GLIBC_2.2.5 Flags: none";
    let newest = versions(text).into_iter().next_back().unwrap();
    assert!(newest.as_slice() > GLIBC_MAX.as_slice(), "{newest:?}");
    assert!(versions("Name: GLIBC_2.28").into_iter().all(|one| one <= GLIBC_MAX.to_vec()));
}

#[test]
fn night_the_release_asks_for_no_symbol_newer_than_glibc_2_28() {
    let folder = TempDir::new().unwrap();
    let binary = binary(&folder);
    let text = readelf("--version-info", &binary);
    let versions = versions(&text);
    println!("symbols of glibc: {versions:?}");
    assert!(versions.len() > 3, "the list is not read any more:\n{text}");
    let newer: Vec<_> = versions.iter().filter(|one| one.as_slice() > &GLIBC_MAX[..]).collect();
    assert!(newer.is_empty(), "these are newer than 2.28: {newer:?}");
    let needed = readelf("--dynamic", &binary);
    let libraries = needed.lines().filter(|line| line.contains("(NEEDED)"));
    for line in libraries {
        assert!(GLIBC.iter().any(|name| line.contains(name)), "not of glibc: {line}");
    }
}

#[test]
fn night_the_release_is_small_and_holds_neither_symbols_nor_paths_of_its_builder() {
    let packages = Packages::release();
    for ending in [".deb", ".rpm", ".tar.gz"] {
        let file = packages.file(ending);
        let bytes = fs::metadata(&file).unwrap().len();
        assert!(bytes < PACKAGE_BYTES_MAX, "{}: {bytes} bytes", file.display());
    }
    let folder = TempDir::new().unwrap();
    let binary = binary(&folder);
    let sections = readelf("--section-headers", &binary);
    for section in [".symtab", ".debug_info"] {
        assert!(!sections.contains(section), "{section} is in\n{sections}");
    }
    let bytes = fs::read(&binary).unwrap();
    let home = std::env::var("HOME").unwrap();
    for path in [ROOT, &format!("{home}/.cargo")] {
        let found = bytes.windows(path.len()).any(|window| window == path.as_bytes());
        assert!(!found, "{path} stands in the binary");
    }
}

#[test]
fn night_the_release_is_whole() {
    let packages = Packages::release();
    let folder = packages.file(".deb").parent().unwrap().to_owned();
    let status = Command::new("sha256sum")
        .args(["--check", "--strict", "--quiet", "SHA256SUMS"])
        .current_dir(folder)
        .status()
        .unwrap();
    assert!(status.success());
    life::check_rpm(&packages.file(".rpm"));
}

/// The binary once more into packages: date, order and owners come from the sources alone.
#[test]
fn night_the_release_is_packed_again_to_the_same_bytes() {
    let again = TempDir::new().unwrap();
    let packed = Path::new(ROOT).join("target/x86_64-unknown-linux-gnu/release/forepost");
    let output = Command::new(Path::new(ROOT).join("packaging/pack"))
        .args([packed.as_path(), again.path()])
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let sums = |folder: &Path| fs::read_to_string(folder.join("SHA256SUMS")).unwrap();
    let release = Path::new(ROOT).join("target/package");
    assert_eq!(sums(again.path()), sums(&release));
}

/// The oldest glibc that is still served, and the newest. The later version is the release again:
/// the binary of the tests is linked against this machine's glibc.
#[test]
fn night_the_release_runs_on_older_and_newer_systems() {
    let (release, later) = (Packages::release(), Packages::release_as_later());
    for name in ["bullseye", "trixie"] {
        let system = System::other(name);
        println!("{name}: {}", system.run("ldd --version | head -n 1").done().trim());
        life::by_dpkg(&system, &release, &later);
    }
}
