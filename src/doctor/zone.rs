//! Our own doors: whether the addresses are this machine's, who listens there, and until when the
//! certificate is good.

use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::process::{Command, Stdio};

use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;

use super::peer::{certificate_finding, first_end, is_made_out_to};
use super::{Finding, Words};
use crate::config::{Listen, Zone};
use crate::host;
use crate::http::{self, Certificate};
use crate::model::Time;

/// Processes that are asked which of them holds a socket.
const PROCESSES_MAX: usize = 20_000;

/// What is told of a zone.
pub(super) fn findings(subject: &str, zone: &Zone, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some(listen) = &zone.listen {
        heard(subject, listen, &mut findings);
    }
    if let Some((listen, certificate)) = &zone.listen_tls {
        let addresses = heard(subject, listen, &mut findings);
        findings.extend(of_certificate(subject, &addresses, certificate, now));
    }
    findings
}

/// Tells of a listener; the addresses at which it is reached, as far as they are known.
fn heard(subject: &str, listen: &Listen, findings: &mut Vec<Finding>) -> Vec<SocketAddr> {
    match listen {
        Listen::Address(address) => {
            findings.push(own_listener(subject, *address));
            vec![*address]
        }
        Listen::Passed(name) => {
            let (finding, addresses) = passed(subject, name);
            findings.push(finding);
            addresses
        }
    }
}

/// The addresses of a listener, for who wants to call it.
pub(super) fn addresses(listen: &Listen) -> Vec<SocketAddr> {
    match listen {
        Listen::Address(address) => vec![*address],
        Listen::Passed(name) => unit(name).map_or_else(|_| Vec::new(), |(_, addresses)| addresses),
    }
}

/// The state of the socket unit behind a name, and where it listens (systemctl(1), show).
fn unit(name: &str) -> Result<(String, Vec<SocketAddr>), String> {
    let unit = format!("forepost-{name}.socket");
    let asked = Command::new("systemctl")
        .args(["show", &unit, "--property=ActiveState,Listen"])
        .stdin(Stdio::null())
        .output();
    let output = asked.map_err(|error| error.to_string())?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).trim().to_owned());
    }
    Ok(shown(&String::from_utf8_lossy(&output.stdout)))
}

/// What `systemctl show` prints: `ActiveState=active`, `Listen=0.0.0.0:80 (Stream)`.
fn shown(text: &str) -> (String, Vec<SocketAddr>) {
    let values = |key: &'static str| text.lines().filter_map(move |line| line.strip_prefix(key));
    let state = values("ActiveState=").next().unwrap_or("unknown").to_owned();
    let address = |value: &str| value.split_whitespace().next()?.parse().ok();
    (state, values("Listen=").filter_map(address).collect())
}

/// A socket that systemd opens.
fn passed(subject: &str, name: &str) -> (Finding, Vec<SocketAddr>) {
    let unit_name = format!("forepost-{name}.socket");
    let (state, addresses) = match unit(name) {
        Ok(told) => told,
        Err(error) => {
            let words = Words::new(
                format!("端口由 systemd 打开（{unit_name}），状态看不到：{error}"),
                format!("systemd opens it ({unit_name}); its state cannot be seen: {error}"),
            );
            return (Finding::fine(subject, "listen", words), Vec::new());
        }
    };
    let list: Vec<String> = addresses.iter().map(SocketAddr::to_string).collect();
    let list = list.join(" ");
    let words = Words::new(
        format!("{unit_name} {state}：{list}"),
        format!("{unit_name} is {state}: {list}"),
    );
    let finding = match state.as_str() {
        "active" => Finding::fine(subject, "listen", words),
        _ => {
            let next = Words::new(
                format!("`systemctl enable --now {unit_name}`，然后 `systemctl restart forepost`"),
                format!("`systemctl enable --now {unit_name}`, then `systemctl restart forepost`"),
            );
            Finding::failing(subject, "listen", words, next)
        }
    };
    (finding, addresses)
}

/// Whether the address is this machine's, and who listens there. The port itself is never bound: a
/// service that starts at that moment would not get it.
fn own_listener(subject: &str, address: SocketAddr) -> Finding {
    if let Err(error) = TcpListener::bind((address.ip(), 0)) {
        let words = Words::new(
            format!("{} 不是本机的地址：{error}", address.ip()),
            format!("{} is no address of this machine: {error}", address.ip()),
        );
        let next = Words::new(
            "`ip -br address` 列出本机地址；改正 `listen`，或配置该网卡",
            "`ip -br address` lists what it has; correct `listen`, or set up that network card",
        );
        return Finding::failing(subject, "listen", words, next);
    }
    let inodes = listeners(address);
    if inodes.is_empty() {
        let words = Words::new(
            format!("{address} 是本机地址，端口空闲"),
            format!("{address} is ours, and nobody listens there"),
        );
        return Finding::fine(subject, "listen", words);
    }
    let port = address.port();
    match holder(&inodes) {
        Some(name) if name == "forepost" || name == "systemd" => {
            let words = Words::new(
                format!("{address} 由 {name} 监听"),
                format!("{name} listens on {address}"),
            );
            Finding::fine(subject, "listen", words)
        }
        Some(name) => {
            let words = Words::new(
                format!("{address} 被 {name} 占用"),
                format!("{address} is taken by {name}"),
            );
            let next = Words::new(
                format!("停用 {name}，或换一个端口"),
                format!("stop {name}, or take another port"),
            );
            Finding::failing(subject, "listen", words, next)
        }
        None => {
            let words = Words::new(
                format!("{address} 已被监听，看不到是谁"),
                format!("somebody listens on {address}; who cannot be seen"),
            );
            let next = Words::new(
                format!("以 root 运行：`ss -ltnp 'sport = :{port}'`，应为 forepost 或 systemd"),
                format!("as root: `ss -ltnp 'sport = :{port}'`; it should be forepost or systemd"),
            );
            Finding::warning(subject, "listen", words, next)
        }
    }
}

/// The name of the process that holds one of these sockets, where the kernel lets us see it.
fn holder(inodes: &BTreeSet<String>) -> Option<String> {
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

/// The inodes of the sockets that listen where a connection to the address would arrive.
fn listeners(address: SocketAddr) -> BTreeSet<String> {
    // By our own process: `/proc` of the service's unit shows processes only.
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"].map(fs::read_to_string);
    tables.into_iter().flatten().flat_map(|table| listed(&table, address)).collect()
}

/// Those of one table (proc(5), /proc/net/tcp: state 0A).
fn listed(table: &str, wanted: SocketAddr) -> Vec<String> {
    let row = |line: &str| {
        let words: Vec<&str> = line.split_whitespace().collect();
        let (local, state, inode) = (words.get(1)?, words.get(3)?, words.get(9)?);
        let (ip, port) = local.split_once(':')?;
        let ip = ip_of(ip)?;
        let meets = ip == wanted.ip() || ip.is_unspecified() || wanted.ip().is_unspecified();
        let listens = *state == "0A" && u16::from_str_radix(port, 16).ok()? == wanted.port();
        (listens && meets).then(|| (*inode).to_owned())
    };
    table.lines().skip(1).filter_map(row).collect()
}

/// An address as the kernel writes it: words of 32 bits, the bytes of each turned around.
fn ip_of(hex: &str) -> Option<IpAddr> {
    let word = |at: usize| {
        let word = u32::from_str_radix(hex.get(at * 8..at * 8 + 8)?, 16).ok()?;
        Some(word.to_le_bytes())
    };
    match hex.len() {
        8 => Some(IpAddr::from(word(0)?)),
        32 => {
            let words = [word(0)?, word(1)?, word(2)?, word(3)?];
            Some(IpAddr::from(<[u8; 16]>::try_from(words.concat()).ok()?).to_canonical())
        }
        _ => None,
    }
}

fn of_certificate(
    subject: &str,
    addresses: &[SocketAddr],
    certificate: &Certificate,
    now: Time,
) -> Vec<Finding> {
    if let Err(fault) = http::acceptor(certificate, &[]) {
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
        findings.extend(names(subject, addresses, first));
    }
    findings
}

/// Whether the certificate is made out to an address under which the door is reached. Nothing where
/// no address is known: the service's unit may not ask for those of the network cards.
fn names(subject: &str, at: &[SocketAddr], certificate: &CertificateDer<'_>) -> Option<Finding> {
    let named = at.iter().map(SocketAddr::ip).filter(|ip| !ip.is_unspecified());
    let mut addresses: BTreeSet<IpAddr> = named.collect();
    if addresses.is_empty() {
        addresses = own_addresses();
    }
    if addresses.is_empty() {
        return None;
    }
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
        return Some(Finding::fine(subject, "names", words));
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
    Some(Finding::warning(subject, "names", words, next))
}

/// The addresses of this machine's network cards, those that reach no further than itself left out
/// where there are others.
fn own_addresses() -> BTreeSet<IpAddr> {
    let found: BTreeSet<IpAddr> =
        host::card_addresses().into_iter().map(|one| one.address).collect();
    let far: BTreeSet<IpAddr> = found.iter().copied().filter(|one| !one.is_loopback()).collect();
    if far.is_empty() { found } else { far }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_listening_socket_is_found_by_its_address() {
        for own in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(own) else { continue };
            let inodes = listeners(listener.local_addr().unwrap());
            assert!(holder(&inodes).is_some(), "our own sockets can be seen by us: {own}");
        }
        let table = "  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   \
                     uid  timeout inode\n   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 \
                     00:00000000 00000000     0        0 4711 1\n   1: 0100007F:1F90 \
                     0100007F:C001 01 00000000:00000000 00:00000000 00000000 0 0 4712 1\n";
        let found = |address: &str| listed(table, address.parse().unwrap());
        assert_eq!(found("127.0.0.1:8080"), ["4711"]);
        assert_eq!(found("0.0.0.0:8080"), ["4711"]);
        assert!(found("127.0.0.1:8081").is_empty() && found("192.0.2.1:8080").is_empty());
    }

    #[test]
    fn a_socket_unit_tells_where_it_listens() {
        let told =
            shown("Listen=0.0.0.0:80 (Stream)\nListen=[::]:80 (Stream)\nActiveState=active\n");
        let addresses: Vec<SocketAddr> =
            ["0.0.0.0:80", "[::]:80"].map(|at| at.parse().unwrap()).into();
        assert_eq!(told, ("active".to_owned(), addresses));
        assert_eq!(shown("").0, "unknown");
    }

    #[test]
    fn this_machine_has_an_address() {
        assert!(!own_addresses().is_empty());
    }
}
