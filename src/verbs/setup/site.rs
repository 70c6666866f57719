//! The machine that is set up, or the root of an image of it: where things lie, who the service
//! is, which addresses the cards have.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::host::{self, CardAddress};

/// The service's user, and the group that reads the secrets.
const GROUP: &str = "forepost";

/// Where things lie.
#[derive(Debug, Clone)]
pub struct Site {
    /// What every path is below; `/` for this machine.
    pub root: PathBuf,
    /// The configuration, as seen from inside.
    pub config: PathBuf,
    /// Its folder, where secrets and certificates lie, too.
    pub folder: PathBuf,
}

/// A unit that holds a port for the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum SocketUnit {
    /// Plain, for the hospital.
    Hospital,
    /// TLS, for the hospital.
    HospitalTls,
    /// Plain, for clouds.
    Cloud,
    /// TLS, for clouds.
    CloudTls,
    /// For administrators.
    Console,
    /// For archives that call by DICOM.
    Dicom,
}

impl SocketUnit {
    /// All of them.
    pub const ALL: [SocketUnit; 6] = [
        SocketUnit::Hospital,
        SocketUnit::HospitalTls,
        SocketUnit::Cloud,
        SocketUnit::CloudTls,
        SocketUnit::Console,
        SocketUnit::Dicom,
    ];

    /// Its name in `listen = "systemd:NAME"`.
    pub fn name(self) -> &'static str {
        match self {
            SocketUnit::Hospital => "hospital",
            SocketUnit::HospitalTls => "hospital-tls",
            SocketUnit::Cloud => "cloud",
            SocketUnit::CloudTls => "cloud-tls",
            SocketUnit::Console => "console",
            SocketUnit::Dicom => "dicom",
        }
    }

    /// The one of that name.
    pub fn named(name: &str) -> Option<SocketUnit> {
        SocketUnit::ALL.into_iter().find(|one| one.name() == name)
    }

    /// The unit.
    pub fn unit(self) -> String {
        format!("forepost-{}.socket", self.name())
    }

    /// The file that says its address.
    pub fn drop_in(self) -> PathBuf {
        PathBuf::from(format!("/etc/systemd/system/{}.d/address.conf", self.unit()))
    }
}

impl Site {
    /// The machine below `root` with that configuration.
    pub fn new(root: &Path, config: &Path) -> Site {
        let folder = config.parent().unwrap_or(Path::new("/")).to_owned();
        Site { root: root.to_owned(), config: config.to_owned(), folder }
    }

    /// Whether it is the machine that this runs on.
    pub fn is_here(&self) -> bool {
        self.root == Path::new("/")
    }

    /// Where something inside lies from outside.
    pub fn at(&self, inside: &Path) -> PathBuf {
        self.root.join(inside.strip_prefix("/").unwrap_or(inside))
    }

    /// The address that a unit is told to hold, from its drop-in.
    pub fn bound(&self, unit: SocketUnit) -> Option<SocketAddr> {
        let text = fs::read_to_string(self.at(&unit.drop_in())).ok()?;
        let streams = text.lines().filter_map(|line| line.strip_prefix("ListenStream="));
        streams.filter_map(|stream| stream.trim().parse().ok()).next_back()
    }

    /// The names that the authority in a folder signs for; `None` where there is none.
    pub fn certificate_names(&self, folder: &Path) -> Option<Vec<String>> {
        let text = fs::read_to_string(self.at(folder).join("names")).ok()?;
        Some(text.lines().map(str::to_owned).collect())
    }

    /// The number of the service's group, from the groups of that root.
    pub fn group(&self) -> Option<u32> {
        let text = fs::read_to_string(self.at(Path::new("/etc/group"))).ok()?;
        text.lines().find_map(|line| {
            let mut parts = line.split(':');
            (parts.next() == Some(GROUP)).then(|| parts.nth(1)?.parse().ok())?
        })
    }

    /// The numbers of the service's user and of its first group.
    pub fn user(&self) -> Option<(u32, u32)> {
        let text = fs::read_to_string(self.at(Path::new("/etc/passwd"))).ok()?;
        text.lines().find_map(|line| {
            let parts: Vec<&str> = line.split(':').collect();
            let is_own = parts.first() == Some(&GROUP);
            is_own.then(|| Some((parts.get(2)?.parse().ok()?, parts.get(3)?.parse().ok()?)))?
        })
    }

    /// Whether systemd runs this machine.
    pub fn has_systemd(&self) -> bool {
        // sd_booted(3)
        self.is_here() && Path::new("/run/systemd/system").is_dir()
    }

    /// Starts the service with what was written, in the order in which nobody is refused longer
    /// than needed. Returns what failed.
    pub fn start(&self, units: &[SocketUnit], moved: bool) -> Result<(), String> {
        let sockets: Vec<String> = units.iter().map(|unit| unit.unit()).collect();
        systemctl(&["daemon-reload".to_owned()])?;
        let with = |words: &[&str], units: &[String]| -> Vec<String> {
            words.iter().map(|word| (*word).to_owned()).chain(units.iter().cloned()).collect()
        };
        // A socket cannot change its address below a running service.
        if moved {
            systemctl(&with(&["stop", "forepost.service"], &sockets))?;
        }
        // Those that were set up before and are not wanted any more would hold their ports.
        let unwanted = SocketUnit::ALL.into_iter().filter(|unit| !units.contains(unit));
        let unwanted = unwanted.filter(|unit| self.at(&unit.drop_in()).exists());
        let unwanted: Vec<SocketUnit> = unwanted.collect();
        if !unwanted.is_empty() {
            let names: Vec<String> = unwanted.iter().map(|unit| unit.unit()).collect();
            systemctl(&with(&["disable", "--now"], &names))?;
            // Wanted again, its address is a new one, for which the service is stopped first: a
            // socket does not start beside the service that it is for.
            for unit in &unwanted {
                fs::remove_file(self.at(&unit.drop_in())).map_err(|error| error.to_string())?;
            }
        }
        if !sockets.is_empty() {
            systemctl(&with(&["enable", "--now"], &sockets))?;
        }
        systemctl(&with(&["enable", "forepost.service"], &[]))?;
        // Returns when the service has said that it is ready (Type=notify), or why not.
        systemctl(&with(&["restart", "forepost.service"], &[]))
    }
}

/// What a person types to do the same.
pub fn start_command(units: &[SocketUnit]) -> String {
    let sockets = units.iter().map(|unit| format!(" {}", unit.unit())).collect::<String>();
    format!("systemctl daemon-reload && systemctl enable --now{sockets} forepost.service")
}

/// Tells systemd something, and waits for it.
pub fn systemctl(words: &[String]) -> Result<(), String> {
    let output = Command::new("systemctl").args(words).output().map_err(|e| e.to_string())?;
    if output.status.success() {
        return Ok(());
    }
    let told = String::from_utf8_lossy(&output.stderr).trim().to_owned();
    Err(format!("systemctl {}: {told}", words.join(" ")))
}

/// The addresses of this machine's cards, without those that lead nowhere from outside.
pub fn own_addresses() -> Vec<CardAddress> {
    let leads = |one: &CardAddress| {
        let local = match one.address {
            IpAddr::V4(v4) => v4.is_link_local(),
            IpAddr::V6(v6) => v6.is_unicast_link_local(),
        };
        !one.address.is_loopback() && !local
    };
    host::card_addresses().into_iter().filter(leads).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_group_and_the_sockets_addresses_are_those_of_the_root() {
        let root = tempfile::tempdir().unwrap();
        let site = Site::new(root.path(), Path::new("/etc/forepost/forepost.toml"));
        assert_eq!((site.group(), site.bound(SocketUnit::Hospital)), (None, None));
        fs::create_dir_all(root.path().join("etc")).unwrap();
        fs::write(root.path().join("etc/group"), "root:x:0:\nforepost:x:987:\n").unwrap();
        assert_eq!(site.group(), Some(987));
        let drop_in = site.at(&SocketUnit::Hospital.drop_in());
        fs::create_dir_all(drop_in.parent().unwrap()).unwrap();
        let text = "[Socket]\nListenStream=\nListenStream=192.0.2.10:80\nFreeBind=yes\n";
        fs::write(drop_in, text).unwrap();
        assert_eq!(site.bound(SocketUnit::Hospital), Some("192.0.2.10:80".parse().unwrap()));
    }
}
