//! The machine around the process: what systemd hands over, and what it is told; where the ledger's
//! keys are kept; the addresses of its network cards and the room on its disks.
//!
//! For: a service that needs no capability and that a restart closes to nobody (sockets are
//! systemd's), that is ended when it no longer gets anything to the disk (the watchdog), and whose
//! ledger's keys lie nowhere in the open (a credential). Always holds: a passed socket is taken by
//! its name and once; the watchdog is fed by an answer of the ledger's writer and by nothing else,
//! so that a timer cannot speak for a blocked disk. Without systemd each of these is absent, and
//! nothing else changes. Refused: a socket by its number, which a new unit would shift. Start at
//! [`Sockets::passed`] and [`watch`].

use std::collections::HashMap;
use std::ffi::{CStr, CString};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener};
use std::os::fd::{FromRawFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use sd_notify::NotifyState;
use secrecy::{ExposeSecret, SecretString};

use crate::ledger::{self, KeyFault, Ledger, LedgerError, Tally};
use crate::limits::STATUS_EVERY_MS;
use crate::model::{DeliveryState, Time};
use crate::seal::Keys;

/// The name of the credential with the ledger's keys.
const KEYS_CREDENTIAL: &str = "forepost-ledger.keys";

/// Where systemd looks for encrypted credentials (systemd.exec(5), `LoadCredentialEncrypted=`).
const CREDENTIAL_STORE: &str = "/etc/credstore.encrypted";

/// Listening sockets that systemd opened, by their `FileDescriptorName=`.
#[derive(Default)]
pub struct Sockets(HashMap<String, OwnedFd>);

/// Why a passed socket is not had.
#[derive(Debug, thiserror::Error)]
pub enum SocketFault {
    /// None of this name came, or it was taken before.
    #[error(
        "systemd passed no socket of the name {name} (passed: {passed}): is its .socket unit \
         started, with FileDescriptorName={name}?"
    )]
    Absent {
        /// The name in the configuration.
        name: String,
        /// The names that came.
        passed: String,
    },
    /// What came is no listening TCP socket.
    #[error("the socket {name} that systemd passed cannot be listened on: {source}")]
    Unusable {
        /// The name in the configuration.
        name: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// `LISTEN_FDS` and its companions are broken.
    #[error("what systemd says of its sockets is unreadable: {0}")]
    Unreadable(std::io::Error),
}

impl Sockets {
    /// What this process was handed when it started. To be asked once: a second set would own the
    /// same descriptors.
    pub fn passed() -> Result<Sockets, SocketFault> {
        let passed = sd_notify::listen_fds_with_names().map_err(SocketFault::Unreadable)?;
        // SAFETY: systemd opened these for this process (sd_listen_fds(3)), nothing else owns
        // them, and nobody asks a second time.
        let own = |(fd, name)| (name, unsafe { OwnedFd::from_raw_fd(fd) });
        Ok(Sockets(passed.map(own).collect()))
    }

    /// The socket of a name, ready for the runtime.
    pub fn take(&mut self, name: &str) -> Result<TcpListener, SocketFault> {
        let passed = self.names();
        let absent = || SocketFault::Absent { name: name.to_owned(), passed };
        let listener = TcpListener::from(self.0.remove(name).ok_or_else(absent)?);
        let unusable = |source| SocketFault::Unusable { name: name.to_owned(), source };
        listener.local_addr().and_then(|_| listener.set_nonblocking(true)).map_err(unusable)?;
        Ok(listener)
    }

    /// The names that nobody took, in order: their senders wait for an answer that never comes.
    pub fn names(&self) -> String {
        let mut names: Vec<&str> = self.0.keys().map(String::as_str).collect();
        names.sort_unstable();
        if names.is_empty() { "none".to_owned() } else { names.join(", ") }
    }

    /// Whether all were taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// The process serves.
pub fn ready() {
    tell(&[NotifyState::Ready]);
}

/// The process changes its configuration; [`ready`] ends it.
pub fn reloading() {
    match NotifyState::monotonic_usec_now() {
        Ok(now) => tell(&[NotifyState::Reloading, now]),
        Err(_) => tell(&[NotifyState::Reloading]),
    }
}

/// The process drains.
pub fn stopping() {
    tell(&[NotifyState::Stopping, NotifyState::Status("draining")]);
}

fn tell(states: &[NotifyState<'_>]) {
    if let Err(error) = sd_notify::notify(states) {
        log::warn!("telling systemd: {error}");
    }
}

/// Commits a row of its own now and then, and tells systemd that the writer answered and what
/// waits. Ends with the process.
pub async fn watch(ledger: Ledger, clock: fn() -> Time) {
    let limit = sd_notify::watchdog_enabled();
    // A third, so that one late commit does not end the process.
    let every = limit.map_or(Duration::from_millis(STATUS_EVERY_MS), |limit| limit / 3);
    loop {
        // No deadline: while the writer is blocked nothing is told, and that is the point.
        let probed = ledger.probe().await;
        // A full disk is waited out; every other error is a writer that gets nothing to the disk.
        let works = matches!(probed, Ok(()) | Err(LedgerError::DiskFull));
        let tallies = ledger.tallies();
        let status = match (&probed, &tallies) {
            (Err(error), _) | (Ok(()), Err(error)) => format!("not in order: {error}"),
            (Ok(()), Ok(tallies)) => status(tallies, clock()),
        };
        let told = [NotifyState::Status(&status), NotifyState::Watchdog];
        tell(if works { &told } else { &told[..1] });
        tokio::time::sleep(every).await;
    }
}

/// One line for `systemctl status`.
fn status(tallies: &[Tally], now: Time) -> String {
    let of = |state| tallies.iter().map(|one| one.of(state)).sum::<u64>();
    let waiting = of(DeliveryState::Waiting) + of(DeliveryState::InFlight);
    let parked = of(DeliveryState::Parked);
    let mut line = match waiting {
        0 => "serving; nothing waits to leave".to_owned(),
        _ => format!("serving; {waiting} wait to leave"),
    };
    if let Some(oldest) = tallies.iter().filter_map(|one| one.oldest_at).min() {
        let minutes = now.since_ms(oldest).max(0) / 60_000;
        line.push_str(&format!(", the oldest for {} h {} min", minutes / 60, minutes % 60));
    }
    if parked > 0 {
        line.push_str(&format!("; {parked} parked: a person must decide (forepost queue list)"));
    }
    line
}

/// Why a credential cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialFault {
    /// A file of it.
    #[error("{path}: {source}")]
    File {
        /// The file.
        path: String,
        /// What the system says.
        source: std::io::Error,
    },
    /// The file of the keys, or what the credential holds.
    #[error(transparent)]
    Keys(#[from] KeyFault),
    /// The program that opens and closes it.
    #[error("systemd-creds {what} {path}: {words}")]
    Program {
        /// `encrypt` or `decrypt`.
        what: &'static str,
        /// The credential.
        path: String,
        /// Its own words.
        words: String,
    },
}

/// Why a ledger is not read.
#[derive(Debug, thiserror::Error)]
pub enum OpenFault {
    /// Its keys.
    #[error(transparent)]
    Keys(#[from] CredentialFault),
    /// The ledger itself.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
}

/// The keys that seal the ledger of `data`: in their file, else in the credential to which
/// `forepost keys seal` moved them; `make`: made, where there are neither.
pub fn ledger_keys(data: &Path, make: bool) -> Result<Keys, CredentialFault> {
    let (text, place) = kept_keys(data, make)?;
    Ok(ledger::read_keys(text.expose_secret(), &place)?)
}

/// The text of the keys that [`ledger_keys`] opens, wherever they are kept: for a backup.
pub fn ledger_keys_text(data: &Path) -> Result<SecretString, CredentialFault> {
    let (text, place) = kept_keys(data, false)?;
    ledger::read_keys(text.expose_secret(), &place)?;
    Ok(text)
}

/// The ledger of `data`, to be read beside a running service.
pub fn open_to_read(data: &Path) -> Result<Ledger, OpenFault> {
    Ok(Ledger::open_to_read(&data.join("ledger"), ledger_keys(data, false)?)?)
}

/// The text of the keys, and the name of the place where it stands.
fn kept_keys(data: &Path, make: bool) -> Result<(SecretString, String), CredentialFault> {
    let folder = data.join("keys");
    if !ledger::has_keys(&folder)
        && let Some(sealed) = sealed_keys(!make)?
    {
        return Ok(sealed);
    }
    Ok(ledger::keys_text(&folder, make)?)
}

/// The ledger's keys where they are a credential, with the name of the place: of this service; or,
/// with `of_machine`, the machine's own, which root opens. `None`: there is none.
fn sealed_keys(of_machine: bool) -> Result<Option<(SecretString, String)>, CredentialFault> {
    if let Some(folder) = std::env::var_os("CREDENTIALS_DIRECTORY") {
        let path = Path::new(&folder).join(KEYS_CREDENTIAL);
        if path.exists() {
            let shown = path.display().to_string();
            let text = std::fs::read_to_string(&path);
            let file = |source| CredentialFault::File { path: shown.clone(), source };
            return Ok(Some((text.map_err(file)?.into(), shown)));
        }
    }
    let path = Path::new(CREDENTIAL_STORE).join(KEYS_CREDENTIAL);
    // Unreadable counts as absent: who is not root has the file, or nothing.
    if !of_machine || std::fs::File::open(&path).is_err() {
        return Ok(None);
    }
    let text = creds("decrypt", &[path.as_os_str(), "-".as_ref()], b"", &path)?;
    let text = String::from_utf8_lossy(&text).into_owned();
    Ok(Some((text.into(), path.display().to_string())))
}

/// Seals the ledger's keys to this machine (its TPM where it has one, else a secret of
/// root's), and returns where. What was written is opened and compared before that.
pub fn seal_keys(text: &str) -> Result<PathBuf, CredentialFault> {
    let store = Path::new(CREDENTIAL_STORE);
    let file = |path: &Path| {
        let path = path.display().to_string();
        move |source| CredentialFault::File { path, source }
    };
    let made = std::fs::DirBuilder::new().recursive(true).create(store);
    made.map_err(file(store))?;
    let path = store.join(KEYS_CREDENTIAL);
    let beside = store.join(format!("{KEYS_CREDENTIAL}.new"));
    creds("encrypt", &["-".as_ref(), beside.as_os_str()], text.as_bytes(), &beside)?;
    let opened = creds("decrypt", &[beside.as_os_str(), "-".as_ref()], b"", &beside)?;
    if opened != text.as_bytes() {
        let words = "what was sealed does not open to the same keys".to_owned();
        let path = beside.display().to_string();
        return Err(CredentialFault::Program { what: "decrypt", path, words });
    }
    let synced = std::fs::File::open(&beside)
        .and_then(|new| new.sync_all())
        .and_then(|()| std::fs::rename(&beside, &path))
        .and_then(|()| std::fs::File::open(store)?.sync_all());
    synced.map_err(file(&path))?;
    Ok(path)
}

/// Runs systemd-creds on the credential of the ledger's keys.
fn creds(
    what: &'static str,
    arguments: &[&std::ffi::OsStr],
    input: &[u8],
    path: &Path,
) -> Result<Vec<u8>, CredentialFault> {
    use std::io::Write;
    let failed = |words: String| {
        let path = path.display().to_string();
        CredentialFault::Program { what, path, words }
    };
    let mut process = Command::new("systemd-creds")
        .arg(what)
        .arg(format!("--name={KEYS_CREDENTIAL}"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| failed(error.to_string()))?;
    if let Some(mut pipe) = process.stdin.take() {
        pipe.write_all(input).map_err(|error| failed(error.to_string()))?;
    }
    let output = process.wait_with_output().map_err(|error| failed(error.to_string()))?;
    match output.status.success() {
        true => Ok(output.stdout),
        false => Err(failed(String::from_utf8_lossy(&output.stderr).trim().to_owned())),
    }
}

/// An address of one of this machine's network cards.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CardAddress {
    /// The card.
    pub card: String,
    /// Its address.
    pub address: IpAddr,
}

/// Every address of every card, in the kernel's order; none where it tells none.
pub fn card_addresses() -> Vec<CardAddress> {
    let mut first: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, which is here.
    if unsafe { libc::getifaddrs(&mut first) } != 0 {
        return Vec::new();
    }
    let mut all = Vec::new();
    let mut next = first;
    while !next.is_null() {
        // SAFETY: not null, so it points into the list that getifaddrs made and that lives.
        let one = unsafe { &*next };
        next = one.ifa_next;
        // SAFETY: its address is null or a sockaddr of the family that it names.
        let Some(address) = (unsafe { ip_of(one.ifa_addr) }) else { continue };
        // SAFETY: the name of every entry is a C string.
        let card = unsafe { CStr::from_ptr(one.ifa_name) }.to_string_lossy().into_owned();
        all.push(CardAddress { card, address });
    }
    // SAFETY: `first` came from getifaddrs and nothing of the list is used any more.
    unsafe { libc::freeifaddrs(first) };
    all
}

/// # Safety
/// `raw` is null or points to a socket address as long as its family says.
unsafe fn ip_of(raw: *const libc::sockaddr) -> Option<IpAddr> {
    if raw.is_null() {
        return None;
    }
    // SAFETY: not null, and every socket address begins with its family.
    match i32::from(unsafe { (*raw).sa_family }) {
        libc::AF_INET => {
            // SAFETY: the family says that it is one of IPv4.
            let raw = unsafe { &*raw.cast::<libc::sockaddr_in>() };
            Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(raw.sin_addr.s_addr))))
        }
        libc::AF_INET6 => {
            // SAFETY: the family says that it is one of IPv6.
            let raw = unsafe { &*raw.cast::<libc::sockaddr_in6>() };
            Some(IpAddr::V6(Ipv6Addr::from(raw.sin6_addr.s6_addr)))
        }
        _ => None,
    }
}

/// The room on the disk of a folder.
#[derive(Debug, Clone, Copy)]
pub struct Space {
    /// Bytes of the whole disk.
    pub bytes: u64,
    /// Bytes that this process may still write.
    pub free: u64,
    /// Inodes of the whole disk.
    pub inodes: u64,
    /// Inodes that this process may still take.
    pub inodes_free: u64,
}

/// The room on the disk of a folder that is there and may be opened or passed through.
pub fn space(folder: &Path) -> std::io::Result<Space> {
    let path = CString::new(folder.as_os_str().as_bytes()).map_err(std::io::Error::other)?;
    // SAFETY: zeroes are a valid `statvfs`, which holds numbers only.
    let mut told: libc::statvfs = unsafe { std::mem::zeroed() };
    // SAFETY: the path ends with a zero, and the call writes one struct, which is here.
    if unsafe { libc::statvfs(path.as_ptr(), &mut told) } != 0 {
        return Err(std::io::Error::last_os_error());
    }
    Ok(Space {
        bytes: told.f_blocks.saturating_mul(told.f_frsize),
        free: told.f_bavail.saturating_mul(told.f_frsize),
        inodes: told.f_files,
        inodes_free: told.f_favail,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_socket_is_taken_by_its_name_and_once() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let mut sockets = Sockets(HashMap::from([("hospital".to_owned(), listener.into())]));
        let absent = sockets.take("cloud").unwrap_err().to_string();
        assert!(absent.contains("no socket of the name cloud (passed: hospital)"), "{absent}");
        assert_eq!(sockets.take("hospital").unwrap().local_addr().unwrap(), address);
        assert!(sockets.is_empty());
        assert!(matches!(sockets.take("hospital"), Err(SocketFault::Absent { .. })));
    }

    #[test]
    fn what_is_no_socket_is_refused() {
        let file: OwnedFd = tempfile::tempfile().unwrap().into();
        let mut sockets = Sockets(HashMap::from([("hospital".to_owned(), file)]));
        assert!(matches!(sockets.take("hospital"), Err(SocketFault::Unusable { .. })));
    }
}
