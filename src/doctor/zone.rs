//! Our own doors: whether the addresses are this machine's, who listens there, and until when the
//! certificate is good.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::peer::{certificate_finding, first_end, is_made_out_to};
use super::{Finding, Words};
use crate::config::Zone;
use crate::http::{self, Certificate};
use crate::model::Time;

/// Processes that are asked which of them holds a socket.
const PROCESSES_MAX: usize = 20_000;

/// What is told of a zone.
pub(super) fn findings(subject: &str, zone: &Zone, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(address) = zone.listen {
        findings.push(listening(subject, address));
    }
    if let Some((address, certificate)) = &zone.listen_tls {
        findings.push(listening(subject, *address));
        findings.extend(of_certificate(subject, *address, certificate, now));
    }
    findings
}

/// Binds the address for a moment, or says who has it.
fn listening(subject: &str, address: SocketAddr) -> Finding {
    let error = match TcpListener::bind(address) {
        Ok(_) => {
            let words = Words::new(
                format!("{address} 空闲，服务未运行"),
                format!("{address} is free; the service does not run"),
            );
            return Finding::fine(subject, "listen", words);
        }
        Err(error) => error,
    };
    let port = address.port();
    let (zh, en, next) = match error.kind() {
        std::io::ErrorKind::AddrInUse => match holder(address) {
            Some(name) if name == "forepost" || name == "systemd" => {
                let words = Words::new(
                    format!("{address} 由 {name} 监听"),
                    format!("{name} listens on {address}"),
                );
                return Finding::fine(subject, "listen", words);
            }
            Some(name) => (
                format!("{address} 被 {name} 占用"),
                format!("{address} is taken by {name}"),
                Words::new(
                    format!("停用 {name}，或换一个端口"),
                    format!("stop {name}, or take another port"),
                ),
            ),
            None => {
                let words = Words::new(
                    format!("{address} 已被监听，看不到是谁"),
                    format!("somebody listens on {address}; who cannot be seen"),
                );
                let next = Words::new(
                    format!("以 root 运行：`ss -ltnp 'sport = :{port}'`，应为 forepost 或 systemd"),
                    format!(
                        "as root: `ss -ltnp 'sport = :{port}'`; it should be forepost or systemd"
                    ),
                );
                return Finding::warning(subject, "listen", words, next);
            }
        },
        std::io::ErrorKind::AddrNotAvailable => (
            format!("{} 不是本机的地址", address.ip()),
            format!("{} is no address of this machine", address.ip()),
            Words::new(
                "`ip -br address` 列出本机地址；改正 `listen`，或配置该网卡",
                "`ip -br address` lists what it has; correct `listen`, or set up that network card",
            ),
        ),
        std::io::ErrorKind::PermissionDenied => {
            let words = Words::new(
                format!("当前用户不能监听 {port} 端口"),
                format!("this user may not listen on port {port}"),
            );
            let next = Words::new(
                "由 systemd 打开端口（软件包自带的 socket 单元），或以 root 再查",
                "let systemd open it (the package's socket units), or look again as root",
            );
            return Finding::warning(subject, "listen", words, next);
        }
        _ => (
            format!("{address} 无法监听：{error}"),
            format!("{address} cannot be listened on: {error}"),
            Words::new("改正 `listen`", "correct `listen`"),
        ),
    };
    Finding::failing(subject, "listen", Words::new(zh, en), next)
}

/// The name of the process that listens there, where the kernel lets us see it.
fn holder(address: SocketAddr) -> Option<String> {
    let inodes: BTreeSet<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|path| fs::read_to_string(path).ok())
        .flat_map(|table| listeners(&table, address.port()))
        .collect();
    let processes = fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    for process in processes {
        let Ok(open) = fs::read_dir(process.path().join("fd")) else { continue };
        let holds = open.flatten().filter_map(|one| fs::read_link(one.path()).ok()).any(|link| {
            let link = link.to_string_lossy();
            let inode = link.strip_prefix("socket:[").and_then(|rest| rest.strip_suffix(']'));
            inode.is_some_and(|inode| inodes.contains(inode))
        });
        if holds {
            let name = fs::read_to_string(process.path().join("comm")).ok()?;
            return Some(name.trim().to_owned());
        }
    }
    None
}

/// The inodes of listening sockets of a port (proc(5), /proc/net/tcp: state 0A).
fn listeners(table: &str, port: u16) -> Vec<String> {
    let ending = format!(":{port:04X}");
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        (local.ends_with(&ending) && *state == "0A").then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(row).collect()
}

fn of_certificate(
    subject: &str,
    address: SocketAddr,
    certificate: &Certificate,
    now: Time,
) -> Vec<Finding> {
    if let Err(fault) = http::acceptor(certificate) {
        let words = Words::new(
            format!("证书或私钥不可用：{fault}"),
            format!("certificate or key do not work: {fault}"),
        );
        let next = Words::new(
            "核对 `certificate` 与 `certificate_key`，或重新签发：`forepost certificate`",
            "check `certificate` and `certificate_key`, or make new ones: `forepost certificate`",
        );
        return vec![Finding::failing(subject, "certificate", words, next)];
    }
    let chain: Result<Vec<CertificateDer<'_>>, _> =
        CertificateDer::pem_file_iter(&certificate.chain).and_then(Iterator::collect);
    let chain = chain.unwrap_or_default();
    let ends = first_end(&chain);
    let mut findings = vec![certificate_finding(subject, "certificate", ends, now)];
    if let Some(first) = chain.first() {
        findings.push(names(subject, address, first));
    }
    findings
}

/// Whether the certificate is made out to an address under which the door is reached.
fn names(subject: &str, address: SocketAddr, certificate: &CertificateDer<'_>) -> Finding {
    let addresses = match address.ip().is_unspecified() {
        true => own_addresses(),
        false => BTreeSet::from([address.ip()]),
    };
    let fits: Vec<String> = addresses
        .iter()
        .map(IpAddr::to_string)
        .filter(|name| is_made_out_to(certificate, name))
        .collect();
    if !fits.is_empty() {
        let fits = fits.join(" ");
        let words = Words::new(
            format!("证书签给了 {fits}"),
            format!("the certificate is made out to {fits}"),
        );
        return Finding::fine(subject, "names", words);
    }
    let list: Vec<String> = addresses.iter().map(IpAddr::to_string).collect();
    let list = list.join(" ");
    let words = Words::new(
        format!("证书没有签给本机的地址（{list}）：只有按域名访问才能通过"),
        format!("the certificate is made out to no address here ({list}): only a name can fit"),
    );
    let next = Words::new(
        "如果调用方按 IP 访问：`forepost certificate` 时加上该 IP",
        "if callers come by IP, make it anew with that address: `forepost certificate`",
    );
    Finding::warning(subject, "names", words, next)
}

/// The addresses of this machine's network cards, those that reach no further than itself left out
/// where there are others.
fn own_addresses() -> BTreeSet<IpAddr> {
    let mut found = BTreeSet::new();
    let mut list: *mut libc::ifaddrs = std::ptr::null_mut();
    // SAFETY: the call writes one pointer, which is here.
    if unsafe { libc::getifaddrs(&mut list) } != 0 {
        return found;
    }
    let mut next = list;
    while !next.is_null() {
        // SAFETY: the list is the kernel's own and is freed below, after the last look.
        let one = unsafe { &*next };
        found.extend(address_of(one.ifa_addr));
        next = one.ifa_next;
    }
    // SAFETY: it came from getifaddrs, and nothing points into it any more.
    unsafe { libc::freeifaddrs(list) };
    let far: BTreeSet<IpAddr> = found.iter().copied().filter(|one| !one.is_loopback()).collect();
    if far.is_empty() { found } else { far }
}

fn address_of(address: *const libc::sockaddr) -> Option<IpAddr> {
    if address.is_null() {
        return None;
    }
    // SAFETY: a sockaddr that is not null begins with its family, which tells what follows.
    unsafe {
        match i32::from((*address).sa_family) {
            libc::AF_INET => {
                let one = &*address.cast::<libc::sockaddr_in>();
                Some(IpAddr::V4(Ipv4Addr::from(u32::from_be(one.sin_addr.s_addr))))
            }
            libc::AF_INET6 => {
                let one = &*address.cast::<libc::sockaddr_in6>();
                Some(IpAddr::V6(Ipv6Addr::from(one.sin6_addr.s6_addr)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_port() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        assert!(holder(address).is_some(), "our own sockets can be seen by us");
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 \
                     00:00000000 00000000     0        0 4711 1\n   1: 0100007F:1F90 \
                     0100007F:C001 01 00000000:00000000 00:00000000 00000000     0        0 4712 1\n";
        assert_eq!(listeners(table, 8080), ["4711"]);
        assert!(listeners(table, 8081).is_empty());
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!own_addresses().is_empty());
    }
}
