//! The way to a peer: its name, a connection, TLS with the days left, what we show ourselves by.
//! Each step is told only when it was reached.

use std::net::{IpAddr, SocketAddr};
use std::time::{Duration, Instant};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{AlertDescription, CertificateError};
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::limits::{ADDRESSES_MAX, CONNECT_WAIT, HANDSHAKE_WAIT, NAME_WAIT};
use super::{Finding, Measured, Words};
use crate::codec::{certificate, token};
use crate::limits::EXPIRY_DAYS;
use crate::model::Time;
use crate::upstream::{ClientCertificate, HandshakeFault, TlsOptions, handshake};

const DAY_MS: i64 = 86_400_000;

/// Where a peer listens, and how it is trusted where it speaks TLS.
pub(super) struct Endpoint<'a> {
    pub subject: &'a str,
    pub host: String,
    pub port: u16,
    pub tls: Option<TlsOptions>,
}

impl Endpoint<'_> {
    /// Of an address, `http` or `https`; or the finding that it is none.
    pub fn of_url<'a>(
        subject: &'a str,
        url: &str,
        tls: TlsOptions,
    ) -> Result<Endpoint<'a>, Box<Finding>> {
        let parsed = reqwest::Url::parse(url).ok();
        let parsed = parsed.as_ref().and_then(|url| Some((url, url.host_str()?)));
        let Some((url, host)) = parsed else {
            let words =
                Words::new("地址不是 http 或 https", "the address is neither http nor https");
            let next = Words::new("改正配置中的 `url`", "correct `url` in the configuration");
            return Err(Box::new(Finding::failing(subject, "address", words, next)));
        };
        let is_tls = url.scheme() == "https";
        Ok(Endpoint {
            subject,
            host: host.trim_start_matches('[').trim_end_matches(']').to_owned(),
            port: url.port_or_known_default().unwrap_or(80),
            tls: is_tls.then_some(tls),
        })
    }

    /// Name, connection and TLS. True when a call has a chance.
    pub async fn reach(&self, now: Time, findings: &mut Vec<Finding>) -> bool {
        let Some(addresses) = self.resolve(findings).await else { return false };
        let Some(stream) = self.connect(&addresses, findings).await else { return false };
        match &self.tls {
            None => true,
            Some(trust) => self.shake(stream, trust, now, findings).await,
        }
    }

    async fn resolve(&self, findings: &mut Vec<Finding>) -> Option<Vec<SocketAddr>> {
        if let Ok(address) = self.host.parse::<IpAddr>() {
            return Some(vec![SocketAddr::new(address, self.port)]);
        }
        let (host, began) = (self.host.as_str(), Instant::now());
        let found = timeout(NAME_WAIT, tokio::net::lookup_host((host, self.port))).await;
        let milliseconds = began.elapsed().as_millis();
        let words = match found {
            Ok(Ok(found)) => {
                let addresses: Vec<SocketAddr> = found.take(ADDRESSES_MAX).collect();
                if !addresses.is_empty() {
                    let list: Vec<String> =
                        addresses.iter().map(|one| one.ip().to_string()).collect();
                    let list = list.join(" ");
                    let words = Words::new(
                        format!("{host} 解析为 {list}（{milliseconds} 毫秒）"),
                        format!("{host} is {list} ({milliseconds} ms)"),
                    );
                    findings.push(Finding::fine(self.subject, "dns", words));
                    return Some(addresses);
                }
                Words::new(format!("{host} 没有地址"), format!("{host} has no address"))
            }
            Ok(Err(error)) => Words::new(
                format!("域名 {host} 无法解析：{error}"),
                format!("the name {host} does not resolve: {error}"),
            ),
            Err(_) => Words::new(
                format!("域名服务器 {} 秒内没有回答 {host}", NAME_WAIT.as_secs()),
                format!("no name server answered for {host} within {} s", NAME_WAIT.as_secs()),
            ),
        };
        let next = Words::new(
            format!(
                "核对名称；用 `getent hosts {host}` 复查；检查 /etc/resolv.conf 中的域名服务器，或\
                 请网络管理员添加该名称（也可写入 /etc/hosts）"
            ),
            format!(
                "check the spelling; try `getent hosts {host}`; look at the name servers in \
                 /etc/resolv.conf, or have the name entered there or in /etc/hosts"
            ),
        );
        findings.push(Finding::failing(self.subject, "dns", words, next));
        None
    }

    async fn connect(
        &self,
        addresses: &[SocketAddr],
        findings: &mut Vec<Finding>,
    ) -> Option<TcpStream> {
        let mut last = None;
        for address in addresses {
            let began = Instant::now();
            match timeout(CONNECT_WAIT, TcpStream::connect(address)).await {
                Ok(Ok(stream)) => {
                    let milliseconds = began.elapsed().as_millis();
                    let words = Words::new(
                        format!("{address} 已连接（{milliseconds} 毫秒）"),
                        format!("connected to {address} ({milliseconds} ms)"),
                    );
                    findings.push(Finding::fine(self.subject, "tcp", words));
                    return Some(stream);
                }
                Ok(Err(error)) => last = Some((address, Some(error))),
                Err(_) => last = Some((address, None)),
            }
        }
        let (address, error) = last?;
        findings.push(not_connected(self.subject, *address, error));
        None
    }

    async fn shake(
        &self,
        stream: TcpStream,
        trust: &TlsOptions,
        now: Time,
        findings: &mut Vec<Finding>,
    ) -> bool {
        let shaken = timeout(HANDSHAKE_WAIT, handshake(stream, &self.host, trust)).await;
        let subject = self.subject;
        let shaken = match shaken {
            Ok(Ok(shaken)) => shaken,
            Ok(Err(error)) => {
                let words = Words::new(
                    format!("我方的 TLS 设置不可用：{error}"),
                    format!("our own TLS settings do not work: {error}"),
                );
                let next = Words::new(
                    "检查 `ca_files`、`client_certificate` 和 `client_key` 所指的文件",
                    "look at the files of `ca_files`, `client_certificate` and `client_key`",
                );
                findings.push(Finding::failing(subject, "tls", words, next));
                return false;
            }
            Err(_) => {
                let seconds = HANDSHAKE_WAIT.as_secs();
                let words = Words::new(
                    format!("{seconds} 秒内没有完成 TLS 握手"),
                    format!("no TLS handshake within {seconds} s"),
                );
                let next = Words::new(
                    "端口可能不是 TLS：核对 http/https 与端口，并询问中间的网闸或防火墙",
                    "perhaps the port speaks no TLS: check http or https and the port, and ask who \
                     runs the gateway in between",
                );
                findings.push(Finding::failing(subject, "tls", words, next));
                return false;
            }
        };
        let ends = first_end(&shaken.chain);
        match shaken.fault {
            Some(fault) => {
                findings.push(untrusted(subject, &self.host, &fault, ends, now));
                false
            }
            None => {
                findings.push(certificate_finding(subject, "tls", ends, now));
                true
            }
        }
    }
}

fn not_connected(subject: &str, address: SocketAddr, error: Option<std::io::Error>) -> Finding {
    let port = address.port();
    let Some(error) = error else {
        let seconds = CONNECT_WAIT.as_secs();
        let words = Words::new(
            format!("{address} 在 {seconds} 秒内没有回应"),
            format!("{address} did not answer within {seconds} s"),
        );
        let next = Words::new(
            format!("多为防火墙或路由：请网络管理员放行本机到 {} 的 TCP {port} 端口", address.ip()),
            format!(
                "mostly a firewall or a route: have TCP port {port} opened from this machine to {}",
                address.ip()
            ),
        );
        return Finding::failing(subject, "tcp", words, next);
    };
    let (zh, next) = match error.kind() {
        std::io::ErrorKind::ConnectionRefused => (
            "拒绝连接",
            Words::new(
                format!("机器在，但 {port} 端口没有程序：核对端口，并请对方启动服务"),
                format!(
                    "the machine is there, but nothing listens on port {port}: check the port, and \
                     have the service started there"
                ),
            ),
        ),
        _ => (
            "无法连接",
            Words::new(
                "检查网线、网关和路由：`ip route get 地址`",
                "look at cable, gateway and route: `ip route get ADDRESS`",
            ),
        ),
    };
    let words = Words::new(
        format!("{address} {zh}：{error}"),
        format!("no connection to {address}: {error}"),
    );
    Finding::failing(subject, "tcp", words, next)
}

/// The moment at which the first certificate of a chain ends.
pub(super) fn first_end(chain: &[CertificateDer<'_>]) -> Option<Time> {
    chain.iter().filter_map(|one| certificate::validity(one)).map(|(_, end)| end).min()
}

/// `3 days`, or hours where it is less than two days.
fn span(milliseconds: i64) -> Words {
    let milliseconds = milliseconds.abs();
    match milliseconds / DAY_MS {
        0 | 1 => {
            let hours = milliseconds / 3_600_000;
            Words::new(format!("{hours} 小时"), format!("{hours} h"))
        }
        days => Words::new(format!("{days} 天"), format!("{days} days")),
    }
}

/// A good certificate, by the time that is left of it.
pub(super) fn certificate_finding(
    subject: &str,
    step: &'static str,
    ends: Option<Time>,
    now: Time,
) -> Finding {
    let what = match step {
        "client certificate" => ("本机出示的证书", "the certificate that we show"),
        "certificate" => ("本机的证书", "our certificate"),
        _ => ("对方的证书", "its certificate"),
    };
    let renew = match step {
        "certificate" => Words::new(
            "重新签发：`forepost certificate`（见操作手册“证书”），然后重载服务",
            "make a new one: `forepost certificate` (see the manual on certificates), and reload",
        ),
        "client certificate" => Words::new(
            "向签发方申请新证书，替换 `client_certificate` 和 `client_key` 所指的文件，然后重载服务",
            "order a new one from who issued it, replace the files of `client_certificate` and \
             `client_key`, and reload",
        ),
        _ => Words::new(
            "请对方在到期前更换证书",
            "have the peer's operator replace it before it ends",
        ),
    };
    let Some(ends) = ends else {
        let words = Words::new(
            format!("{}有效，到期日无法读出", what.0),
            format!("{} is good; its end cannot be read", what.1),
        );
        return Finding::fine(subject, step, words);
    };
    ending(subject, step, what, ends, now, renew).with(Measured::CertificateEnds(ends))
}

/// Something that ends, by the time that is left.
fn ending(
    subject: &str,
    step: &'static str,
    (zh, en): (&str, &str),
    ends: Time,
    now: Time,
    renew: Words,
) -> Finding {
    let left = ends.since_ms(now);
    let span = span(left);
    if left <= 0 {
        let words =
            Words::new(format!("{zh}已过期 {}", span.zh), format!("{en} ended {} ago", span.en));
        return Finding::failing(subject, step, words, renew);
    }
    let words =
        Words::new(format!("{zh}还有 {}到期", span.zh), format!("{en} ends in {}", span.en));
    let [first, _, last] = EXPIRY_DAYS.map(|days| i64::from(days) * DAY_MS);
    match left {
        // The next daily look would come too late.
        _ if left <= last => Finding::failing(subject, step, words, renew),
        _ if left <= first => Finding::warning(subject, step, words, renew),
        _ => Finding::fine(subject, step, words),
    }
}

/// A handshake that failed.
fn untrusted(
    subject: &str,
    host: &str,
    fault: &HandshakeFault,
    ends: Option<Time>,
    now: Time,
) -> Finding {
    let error = match fault {
        HandshakeFault::Tls(error) => error,
        HandshakeFault::Connection(error) => {
            let words = Words::new(
                format!("TLS 握手中断：{error}"),
                format!("the connection broke in the TLS handshake: {error}"),
            );
            let next = Words::new(
                "端口可能不是 TLS，或对方要求客户端证书（`client_certificate`）",
                "perhaps the port speaks no TLS, or the peer wants a client certificate \
                 (`client_certificate`)",
            );
            return Finding::failing(subject, "tls", words, next);
        }
    };
    let (zh, en, next) = words_of(host, error, ends, now);
    let finding = Finding::failing(subject, "tls", Words::new(zh, en), next);
    match ends {
        Some(ends) => finding.with(Measured::CertificateEnds(ends)),
        None => finding,
    }
}

/// What a TLS fault means, in both languages, and the next step.
fn words_of(
    host: &str,
    error: &rustls::Error,
    ends: Option<Time>,
    now: Time,
) -> (String, String, Words) {
    match error {
        rustls::Error::InvalidCertificate(fault) => refused_certificate(host, fault, ends, now),
        rustls::Error::AlertReceived(
            alert @ (AlertDescription::CertificateRequired
            | AlertDescription::BadCertificate
            | AlertDescription::CertificateUnknown
            | AlertDescription::CertificateExpired
            | AlertDescription::UnknownCA
            | AlertDescription::AccessDenied),
        ) => (
            format!("对方拒绝了本机的证书：{alert:?}"),
            format!("the peer refuses our certificate: {alert:?}"),
            Words::new(
                "核对 `client_certificate`、`client_key`，并请对方登记该证书",
                "check `client_certificate` and `client_key`, and have the certificate entered \
                 there",
            ),
        ),
        other => (
            format!("TLS 握手失败：{other}"),
            format!("the TLS handshake failed: {other}"),
            Words::new(
                "端口可能不是 TLS，或对方只支持旧版 TLS：需要 TLS 1.2 或 1.3",
                "perhaps the port speaks no TLS, or only an old one: TLS 1.2 or 1.3 is needed",
            ),
        ),
    }
}

/// What is wrong with a certificate.
fn refused_certificate(
    host: &str,
    fault: &CertificateError,
    ends: Option<Time>,
    now: Time,
) -> (String, String, Words) {
    let clock = Words::new(
        "请对方更换证书；先用 `forepost doctor --only clock` 确认本机时钟正确",
        "have the peer's certificate replaced; first see by `forepost doctor --only clock` that \
         this machine's clock is right",
    );
    match fault {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            let ago = span(ends.map_or(0, |ends| now.since_ms(ends)));
            let zh = format!("对方的证书已过期 {}", ago.zh);
            (zh, format!("its certificate ended {} ago", ago.en), clock)
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            ("对方的证书尚未生效".to_owned(), "its certificate is not good yet".to_owned(), clock)
        }
        CertificateError::UnknownIssuer | CertificateError::BadSignature => (
            "对方的证书由未知机构签发".to_owned(),
            "its certificate is signed by an authority that is not known here".to_owned(),
            Words::new(
                "向对方索取其 CA 证书（PEM），保存后写入该节的 `ca_files`",
                "ask the peer for the certificate of its authority (PEM) and name the file in \
                 `ca_files` of this section",
            ),
        ),
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => (
            format!("对方的证书不是签给 {host} 的"),
            format!("its certificate is not made out to {host}"),
            Words::new(
                "配置中改用证书上的名称，或请对方重新签发",
                "use the name of the certificate in the configuration, or have it made anew",
            ),
        ),
        other => {
            let next = Words::new("请对方检查其证书", "have the peer look at its certificate");
            (
                format!("对方的证书不可接受：{other}"),
                format!("its certificate is refused: {other}"),
                next,
            )
        }
    }
}

/// The certificate that is shown to a peer, where there is one.
pub(super) fn own_certificate(
    subject: &str,
    certificate: Option<&ClientCertificate>,
    now: Time,
    findings: &mut Vec<Finding>,
) {
    let Some(certificate) = certificate else { return };
    let chain: Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(certificate.chain_pem.as_bytes()).collect();
    let ends = first_end(&chain.unwrap_or_default());
    findings.push(certificate_finding(subject, "client certificate", ends, now));
}

/// Tokens in headers that say themselves when they end.
pub(super) fn own_tokens(
    subject: &str,
    headers: &[(String, SecretString)],
    now: Time,
    findings: &mut Vec<Finding>,
) {
    for (name, value) in headers {
        let Some(ends) = token::end(value.expose_secret()) else { continue };
        let renew = Words::new(
            format!("向平台申请新令牌，替换标头 {name} 的文件，然后重载服务"),
            format!(
                "ask the platform for a new one, replace the file of header {name}, and reload"
            ),
        );
        let (zh, en) = (format!("标头 {name} 的令牌"), format!("the token in header {name}"));
        let finding = ending(subject, "token", (&zh, &en), ends, now, renew);
        findings.push(finding.with(Measured::TokenEnds(ends)));
    }
}

/// Whether a certificate is made out to a name or an address.
pub(super) fn is_made_out_to(certificate: &CertificateDer<'_>, name: &str) -> bool {
    let parsed = rustls::server::ParsedCertificate::try_from(certificate);
    let (Ok(parsed), Ok(name)) = (parsed, ServerName::try_from(name)) else { return false };
    rustls::client::verify_server_name(&parsed, &name).is_ok()
}

/// How long a wait was, for people.
pub(super) fn seconds(wait: Duration) -> u64 {
    wait.as_secs()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::State;

    #[test]
    fn the_light_follows_the_days_that_are_left() {
        let now = Time(1_800_000_000_000);
        for (hours, state, zh) in [
            (40 * 24, State::Fine, "对方的证书还有 40 天到期"),
            (20 * 24, State::Warning, "对方的证书还有 20 天到期"),
            (5 * 24, State::Warning, "对方的证书还有 5 天到期"),
            (12, State::Failing, "对方的证书还有 12 小时到期"),
            (-72, State::Failing, "对方的证书已过期 3 天"),
        ] {
            let ends = now.plus_ms(hours * 3_600_000);
            let finding = certificate_finding("s", "tls", Some(ends), now);
            assert_eq!((finding.state, finding.words.zh.as_str()), (state, zh));
            assert_eq!(finding.next.is_none(), state == State::Fine);
        }
    }
}
