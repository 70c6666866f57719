//! Archives that speak DIMSE only: DCMTK's dcmqrscp, and one by pynetdicom that can be told to
//! break off. Each keeps its files in a folder of its own.

use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tempfile::TempDir;

use super::programs::ROOT;
use super::wait_for;

/// Starts that are tried: a port may be taken between its choice and its use.
const STARTS_MAX: usize = 3;

/// What both are called.
pub const TITLE: &str = "ARCHIVE";

/// A running archive. It ends with this value.
pub struct Archive {
    /// `127.0.0.1:port`.
    pub address: String,
    process: Child,
    folder: TempDir,
}

impl Archive {
    /// DCMTK's, empty.
    pub fn dcmqrscp() -> Archive {
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().expect("a folder for dcmqrscp");
            let files = folder.path().join("files");
            fs::create_dir(&files).expect("a folder for its files");
            let config = format!(
                "MaxPDUSize = 131072\nMaxAssociations = 16\nHostTable BEGIN\nHostTable END\n\
                 VendorTable BEGIN\nVendorTable END\nAETable BEGIN\n\
                 {TITLE} {} RW (50, 1024mb) ANY\nAETable END\n",
                files.display()
            );
            let path = folder.path().join("dcmqrscp.cfg");
            fs::write(&path, config).expect("dcmqrscp's configuration");
            let mut command = Command::new("dcmqrscp");
            command.arg("--config").arg(&path);
            if let Some(archive) = Archive::listening(command, folder) {
                return archive;
            }
        }
        panic!("dcmqrscp did not start in {STARTS_MAX} tries");
    }

    /// DCMTK's storescp, which only takes in; in TLS where key, certificate and authority are
    /// given.
    pub fn storescp(tls: Option<[&Path; 3]>) -> Archive {
        for _ in 0..STARTS_MAX {
            let folder = tempfile::tempdir().expect("a folder for storescp");
            let files = folder.path().join("files");
            fs::create_dir(&files).expect("a folder for its files");
            let mut command = Command::new("storescp");
            command.args(["--accept-all", "--bit-preserving", "--aetitle", TITLE]);
            command.arg("--output-directory").arg(&files);
            if let Some([key, certificate, authority]) = tls {
                command.arg("--enable-tls").args([key, certificate]);
                command.arg("--add-cert-file").arg(authority).arg("--require-peer-cert");
            }
            if let Some(archive) = Archive::listening(command, folder) {
                return archive;
            }
        }
        panic!("storescp did not start in {STARTS_MAX} tries");
    }

    /// Starts a program that takes its port as its last argument.
    fn listening(mut command: Command, folder: TempDir) -> Option<Archive> {
        let port = TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port();
        let address = format!("127.0.0.1:{port}");
        let log = File::create(folder.path().join("log")).expect("its log");
        let process = command
            .arg(port.to_string())
            .env("TCP_NODELAY", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("its log"))
            .stderr(log)
            .spawn()
            .expect("it starts; .ci/setup installs dcmtk");
        let mut archive = Archive { address, process, folder };
        let up = wait_for(Duration::from_secs(20), || {
            if archive.process.try_wait().expect("it can be waited for").is_some() {
                return Some(false);
            }
            TcpStream::connect(&archive.address).is_ok().then_some(true)
        });
        (up == Some(true)).then_some(archive)
    }

    /// By pynetdicom. In its first C-GET it does what `fault` says after so many objects; see
    /// `archive_scp.py`.
    pub fn pynetdicom(fault: &str, after: usize) -> Archive {
        let folder = tempfile::tempdir().expect("a folder for the archive");
        let files = folder.path().join("files");
        fs::create_dir(&files).expect("a folder for its files");
        let log = File::create(folder.path().join("log")).expect("its log");
        let mut process = Command::new(Path::new(ROOT).join(".venv/bin/python"))
            .arg(Path::new(ROOT).join("tests/support/archive_scp.py"))
            .arg(&files)
            .args([fault, &after.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(log)
            .spawn()
            .expect("Python starts; .ci/setup makes .venv");
        let mut line = String::new();
        let output = process.stdout.take().expect("its output");
        BufReader::new(output).read_line(&mut line).expect("it says its port");
        let address = format!("127.0.0.1:{}", line.trim());
        let archive = Archive { address, process, folder };
        assert!(!line.trim().is_empty(), "the archive did not start:\n{}", archive.log());
        archive
    }

    /// Its `[[source]]`, with more lines.
    pub fn source(&self, name: &str, more: &str) -> String {
        dimse_source(name, &self.address, TITLE, more)
    }

    /// Where its files lie.
    pub fn files(&self) -> PathBuf {
        self.folder.path().join("files")
    }

    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }
}

impl Drop for Archive {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            eprintln!("--- the archive's log\n{}", self.log());
        }
    }
}

/// A `[[source]]` that speaks DIMSE; `more` are further lines of it.
pub fn dimse_source(name: &str, address: &str, title: &str, more: &str) -> String {
    format!(
        "[[source]]\nname = \"{name}\"\nkind = \"dimse\"\naddress = \"{address}\"\n\
         called_ae = \"{title}\"\n{more}\n[[source.patient_key]]\nkind = \"idCardNo\"\n"
    )
}
