//! A real Orthanc with its DICOMweb plugin, which plays the archive of a region.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;

use super::http::{self, Reply};
use super::study::Study;
use super::wait_for;

/// Where Debian and Orthanc's own packages put plugins.
const PLUGIN_FOLDERS: [&str; 2] = ["/usr/share/orthanc/plugins", "/usr/lib/orthanc/plugins"];

/// Starts that are tried: a port may be taken between its choice and its use.
const STARTS_MAX: usize = 3;

/// A running Orthanc. It ends with this value.
pub struct Orthanc {
    /// `127.0.0.1:port`.
    pub address: String,
    /// `127.0.0.1:port` of its DICOM door, called [`TITLE`].
    pub dicom: String,
    process: Child,
    folder: TempDir,
}

/// What it is called on its DICOM door, where it lets everybody echo, and `FOREPOST` query.
pub const TITLE: &str = "REGION";

impl Orthanc {
    /// An empty archive.
    pub fn start() -> Orthanc {
        for _ in 0..STARTS_MAX {
            if let Some(orthanc) = Orthanc::try_start() {
                return orthanc;
            }
        }
        panic!("Orthanc did not start in {STARTS_MAX} tries");
    }

    /// An archive with these studies.
    pub fn with(studies: &[&Study]) -> Orthanc {
        let orthanc = Orthanc::start();
        studies.iter().for_each(|study| orthanc.store(study));
        orthanc
    }

    fn try_start() -> Option<Orthanc> {
        let folder = tempfile::tempdir().expect("a folder for Orthanc");
        let (port, dicom_port) = (free_port()?, free_port()?);
        let storage = folder.path().join("storage");
        let config = json!({
            "Name": "region",
            // Its answers to searches; with its own default, Latin-1, they lose Chinese names.
            "DefaultEncoding": "Utf8",
            "StorageDirectory": storage,
            "IndexDirectory": storage,
            "HttpPort": port,
            "HttpBindAddresses": ["127.0.0.1"],
            "RemoteAccessAllowed": false,
            "AuthenticationEnabled": false,
            "DicomServerEnabled": true,
            "DicomPort": dicom_port,
            "DicomAet": TITLE,
            "DicomCheckCalledAet": true,
            "DicomAlwaysAllowFind": false,
            "DicomAlwaysAllowGet": false,
            "DicomModalities": { "forepost": {
                "AET": "FOREPOST", "Host": "127.0.0.1", "Port": 104,
                "AllowFind": true, "AllowGet": true,
            }},
            "HttpThreadsCount": 8,
            "Plugins": [plugin()],
            "DicomWeb": { "Enable": true, "Root": "/dicom-web/" },
        });
        let file = folder.path().join("orthanc.json");
        fs::write(&file, config.to_string()).expect("Orthanc's configuration");
        let log = File::create(folder.path().join("orthanc.log")).expect("Orthanc's log");
        let process = Command::new("Orthanc")
            .arg(&file)
            // DCMTK's delay of 45 ms an object is not what is tested.
            .env("TCP_NODELAY", "1")
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("Orthanc's log"))
            .stderr(log)
            .spawn()
            .expect("Orthanc starts; .ci/setup installs it");
        let address = format!("127.0.0.1:{port}");
        let dicom = format!("127.0.0.1:{dicom_port}");
        let mut orthanc = Orthanc { address, dicom, process, folder };
        let up = wait_for(Duration::from_secs(30), || {
            if orthanc.process.try_wait().expect("Orthanc can be waited for").is_some() {
                return Some(false);
            }
            let answer = http::ask(&orthanc.address, "GET", "/dicom-web/studies?limit=1", &[], b"");
            answer.is_ok_and(|reply| reply.status == 200).then_some(true)
        });
        match up {
            Some(true) => Some(orthanc),
            _ => {
                eprintln!("Orthanc did not answer:\n{}", orthanc.log());
                None
            }
        }
    }

    fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("orthanc.log")).unwrap_or_default()
    }

    /// Takes in a study.
    pub fn store(&self, study: &Study) {
        let mut connection = http::Connection::open(&self.address).expect("Orthanc answers");
        for object in study.objects() {
            let reply = connection
                .ask("POST", "/instances", &[("Expect", "")], &object.bytes)
                .expect("Orthanc answers");
            assert_eq!(reply.status, 200, "Orthanc stores: {}", reply.text());
        }
    }

    /// Takes in a file.
    pub fn store_file(&self, path: &Path) {
        let bytes = fs::read(path).expect("a fixture can be read");
        let reply = self.ask("POST", "/instances", &bytes);
        assert_eq!(reply.status, 200, "Orthanc stores {}: {}", path.display(), reply.text());
    }

    /// Every instance that it holds: SOP Instance UID and the file, byte by byte.
    pub fn instances(&self) -> Vec<(String, Vec<u8>)> {
        let all = self.ask("GET", "/instances?expand", b"").json();
        let all = all.as_array().expect("Orthanc lists instances").clone();
        all.iter()
            .map(|one| {
                let id = one["ID"].as_str().expect("Orthanc's own id");
                let sop = one["MainDicomTags"]["SOPInstanceUID"].as_str().expect("a SOP UID");
                let file = self.ask("GET", &format!("/instances/{id}/file"), b"");
                (sop.to_owned(), file.body)
            })
            .collect()
    }

    /// Asks its own interface.
    pub fn ask(&self, method: &str, target: &str, body: &[u8]) -> Reply {
        http::ask(&self.address, method, target, &[], body).expect("Orthanc answers")
    }

    /// What QIDO-RS tells of a study.
    pub fn qido(&self, study: &str) -> Value {
        let target = format!("/dicom-web/studies?StudyInstanceUID={study}");
        http::ask(&self.address, "GET", &target, &[("Accept", "application/dicom+json")], b"")
            .expect("Orthanc answers")
            .json()
    }
}

impl Drop for Orthanc {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
        if std::thread::panicking() {
            let log = self.log();
            let tail: Vec<&str> = log.lines().rev().take(30).collect();
            eprintln!("--- Orthanc's last lines, the newest first\n{}", tail.join("\n"));
        }
    }
}

fn free_port() -> Option<u16> {
    Some(TcpListener::bind("127.0.0.1:0").ok()?.local_addr().ok()?.port())
}

fn plugin() -> PathBuf {
    let places = PLUGIN_FOLDERS.map(|folder| Path::new(folder).join("libOrthancDicomWeb.so"));
    let found = places.into_iter().find(|path| path.exists());
    found.expect("Orthanc's DICOMweb plugin is installed by .ci/setup")
}
