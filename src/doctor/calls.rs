//! One harmless call to each peer, and what its answer means to an engineer.

use std::time::Instant;

use tokio::time::timeout;

use super::limits::{CALL_SLOW_MS, CALL_WAIT, HANDSHAKE_WAIT};
use super::peer::{Endpoint, own_certificate, own_tokens, seconds};
use super::{Finding, Words};
use crate::dicom::{Association, Proposal, services};
use crate::dictionary::Source as _;
use crate::fault::Fault;
use crate::model::Time;
use crate::upstream::{
    ClientCertificate, DestinationOptions, DicomwebOptions, DicomwebSource, DictionaryOptions,
    DictionarySource, DimseOptions, Login, OptionsError, Platform, Probed, TlsOptions, TokenKeeper,
    TokenOptions, dimse_node,
};

/// A source of DICOMweb and the hosts that its addresses may lead to.
pub(super) async fn dicomweb(subject: &str, options: &DicomwebOptions, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    own_certificate(subject, options.client_certificate.as_ref(), now, &mut findings);
    own_tokens(subject, &options.headers, now, &mut findings);
    let trust = trusting(&options.authorities_pem, options.client_certificate.as_ref());
    let reached = reach(subject, &options.base_url, trust, now, &mut findings).await;
    if reached {
        let credentialed = !options.headers.is_empty();
        findings.extend(search(subject, options, credentialed).await);
    }
    for host in &options.hosts {
        own_tokens(subject, &host.headers, now, &mut findings);
        let trust = trusting(&options.authorities_pem, None);
        reach(subject, &host.origin, trust, now, &mut findings).await;
    }
    findings
}

fn trusting(authorities_pem: &str, certificate: Option<&ClientCertificate>) -> TlsOptions {
    TlsOptions {
        authorities_pem: authorities_pem.to_owned(),
        client_certificate: certificate.cloned(),
    }
}

async fn reach(
    subject: &str,
    url: &str,
    trust: TlsOptions,
    now: Time,
    findings: &mut Vec<Finding>,
) -> bool {
    match Endpoint::of_url(subject, url, trust) {
        Ok(endpoint) => endpoint.reach(now, findings).await,
        Err(finding) => {
            findings.push(*finding);
            false
        }
    }
}

/// A search for a study that nobody has.
async fn search(subject: &str, options: &DicomwebOptions, credentialed: bool) -> Vec<Finding> {
    let source = match DicomwebSource::new(options) {
        Ok(source) => source,
        Err(error) => return vec![unusable(subject, &error)],
    };
    let began = Instant::now();
    let answered = timeout(CALL_WAIT, source.probe()).await.unwrap_or_else(|_| Err(silent()));
    let mut findings = Vec::new();
    match answered {
        Ok(rows) => {
            if credentialed {
                findings.push(accepted(subject));
            }
            let milliseconds = began.elapsed().as_millis();
            findings.push(match rows {
                0 => answered_within(subject, "QIDO-RS", milliseconds),
                _ => {
                    let words = Words::new(
                        "对没有的 StudyInstanceUID 仍返回了检查：该服务器不认此查询条件",
                        "it answered a study for a StudyInstanceUID that nobody has: it disregards \
                         that key",
                    );
                    let next = Words::new(
                        "检索会取到多余的结果并被丢弃；请对方支持 QIDO-RS 的查询条件",
                        "searches bring more than they should, which is dropped; have the operator \
                         make the keys of QIDO-RS work",
                    );
                    Finding::warning(subject, "call", words, next)
                }
            });
        }
        Err(fault) => findings.push(of_http(subject, &fault, "url")),
    }
    findings
}

fn silent() -> Fault {
    Fault::peer("timeout", format!("no answer within {} s", seconds(CALL_WAIT)))
}

fn accepted(subject: &str) -> Finding {
    let words = Words::new("身份信息被接受", "the credentials are accepted");
    Finding::fine(subject, "credentials", words)
}

fn answered_within(subject: &str, what: &str, milliseconds: u128) -> Finding {
    let words = Words::new(
        format!("{what} 已应答（{milliseconds} 毫秒）"),
        format!("{what} answered ({milliseconds} ms)"),
    );
    if milliseconds < CALL_SLOW_MS {
        return Finding::fine(subject, "call", words);
    }
    let next = Words::new(
        "应答太慢，医生会等待：请对方检查其负载，请网络管理员检查线路",
        "slow, and doctors wait for it: have the peer's load and the line looked at",
    );
    Finding::warning(subject, "call", words, next)
}

fn unusable(subject: &str, error: &OptionsError) -> Finding {
    let words =
        Words::new(format!("配置不可用：{error}"), format!("the options do not work: {error}"));
    let next = Words::new(
        "改正配置文件中的这一节，然后 `forepost check`",
        "correct this section of the configuration, then `forepost check`",
    );
    Finding::failing(subject, "call", words, next)
}

/// What an HTTP peer did. `key`: where the configuration has its address.
fn of_http(subject: &str, fault: &Fault, key: &str) -> Finding {
    let detail = &fault.detail;
    let is_refusal = matches!(fault.step, "refused" | "token refused" | "no token" | "sign");
    let step = if is_refusal { "credentials" } else { "call" };
    let (zh, en) = match fault.step {
        _ if is_refusal => ("对方拒绝了身份", "the peer refuses who we are"),
        "absent" => ("服务器在，但没有这个地址", "the server is there, but not this address"),
        "redirect" => ("对方要求转到别处", "the peer sends us elsewhere"),
        "busy" => ("对方暂时忙", "the peer is busy"),
        "timeout" => ("连接已建立，但没有应答", "connected, but not answered"),
        "wrong type" | "broken answer" | "not a dictionary" => {
            ("应答不是所期望的格式", "the answer is not what was asked for")
        }
        _ => {
            let words =
                Words::new(format!("调用失败：{fault}"), format!("the call failed: {fault}"));
            return Finding::failing(subject, step, words, after_http(fault.step, key));
        }
    };
    let words = Words::new(format!("{zh}：{detail}"), format!("{en}: {detail}"));
    Finding::failing(subject, step, words, after_http(fault.step, key))
}

/// What to do about it.
fn after_http(step: &str, key: &str) -> Words {
    match step {
        "refused" | "token refused" | "no token" | "sign" => Words::new(
            "核对该节的身份信息（`header`、`token_file`、密钥文件）是否为对方发放的，并请对方确认账号已\
             启用、本机地址已登记",
            "check the credentials of this section (`header`, key files) against what the peer \
             gave out, and ask whether the account is enabled and this address entered there",
        ),
        "absent" => Words::new(
            format!("核对 `{key}` 中的路径，与对方文档一致"),
            format!("check the path in `{key}` against the peer's document"),
        ),
        "redirect" => Words::new(
            format!("`{key}` 写最终地址，注意 http 与 https"),
            format!("name the final address in `{key}`; mind http and https"),
        ),
        "busy" => {
            Words::new("稍后再查；持续则请对方处理", "look again later; if it stays, call the peer")
        }
        "timeout" => Words::new(
            "请对方检查服务是否停滞；中间的网闸、代理也可能吞掉请求",
            "have the peer see whether its service hangs; a gateway in between may swallow \
             requests as well",
        ),
        "wrong type" | "broken answer" | "not a dictionary" => Words::new(
            format!("多为地址指向了别的程序或登录页：核对 `{key}`"),
            format!("mostly another program or a login page answers: check `{key}`"),
        ),
        _ => Words::new(
            "请对方查看其日志；本机日志：`journalctl -u forepost`",
            "have the peer look at its log; ours is `journalctl -u forepost`",
        ),
    }
}

/// A source of DICOM's own protocol: what it offers, and C-ECHO.
pub(super) async fn dimse(subject: &str, options: &DimseOptions, now: Time) -> Vec<Finding> {
    let mut findings = Vec::new();
    let tls = options.tls.clone();
    let certificate = tls.as_ref().and_then(|tls| tls.client_certificate.as_ref());
    own_certificate(subject, certificate, now, &mut findings);
    let (host, port) = options.address.rsplit_once(':').unwrap_or((&options.address, "104"));
    let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
    let endpoint = Endpoint { subject, host, port: port.parse().unwrap_or(104), tls };
    if endpoint.reach(now, &mut findings).await {
        findings.extend(associate(subject, options).await);
    }
    findings
}

async fn associate(subject: &str, options: &DimseOptions) -> Vec<Finding> {
    let mut node = match dimse_node(options) {
        Ok(node) => node,
        Err(error) => return vec![unusable(subject, &error)],
    };
    node.waits.associate = node.waits.associate.min(HANDSHAKE_WAIT);
    let asked = [services::VERIFICATION, services::FIND, services::GET].map(Proposal::service);
    let mut association = match Association::open(&node, &asked).await {
        Ok(association) => association,
        Err(fault) => return vec![not_associated(subject, options, &fault)],
    };
    let [echoes, finds, gets] = [services::VERIFICATION, services::FIND, services::GET]
        .map(|class| association.context(class, None).is_some());
    let mut findings = vec![offered(subject, options, finds, gets)];
    let began = Instant::now();
    if echoes {
        let echoed = timeout(CALL_WAIT, services::echo(&mut association)).await;
        findings.push(match echoed.unwrap_or_else(|_| Err(silent())) {
            Ok(()) => answered_within(subject, "C-ECHO", began.elapsed().as_millis()),
            Err(fault) => {
                let words =
                    Words::new(format!("C-ECHO 失败：{fault}"), format!("C-ECHO failed: {fault}"));
                let next = Words::new(
                    "请 PACS 工程师查看其日志",
                    "have the archive's engineer look at its log",
                );
                Finding::failing(subject, "call", words, next)
            }
        });
    }
    association.release().await;
    findings
}

fn offered(subject: &str, options: &DimseOptions, finds: bool, gets: bool) -> Finding {
    let (called, calling) = (&options.called, &options.calling);
    let words = match (finds, gets) {
        (true, true) => {
            let words = Words::new(
                format!("{called} 接受 {calling}：C-FIND、C-GET 可用"),
                format!("{called} accepts {calling}: C-FIND and C-GET are offered"),
            );
            return Finding::fine(subject, "association", words);
        }
        (false, _) => Words::new(
            format!("{called} 不向 {calling} 提供 C-FIND（Study Root）"),
            format!("{called} offers {calling} no C-FIND of the Study Root"),
        ),
        (true, false) => Words::new(
            format!("{called} 不向 {calling} 提供 C-GET（Study Root）：能查到，取不回"),
            format!("{called} offers {calling} no C-GET of the Study Root: found, but not fetched"),
        ),
    };
    let next = Words::new(
        format!("请 PACS 工程师为 {calling} 开通 Study Root 的 C-FIND 与 C-GET"),
        format!("have C-FIND and C-GET of the Study Root enabled for {calling} at the archive"),
    );
    Finding::failing(subject, "association", words, next)
}

fn not_associated(subject: &str, options: &DimseOptions, fault: &Fault) -> Finding {
    let (called, calling) = (&options.called, &options.calling);
    let words = Words::new(
        format!("{called} 没有与 {calling} 建立关联：{fault}"),
        format!("no association of {calling} with {called}: {fault}"),
    );
    let next = match fault.step {
        "refused" => Words::new(
            format!(
                "核对 `called_ae`（对方 AE 名，区分大小写）；请 PACS 工程师登记我方 AE 名 {calling} 和\
                 本机地址"
            ),
            format!(
                "check `called_ae` (the archive's title, capitals count); have our title {calling} \
                 and this machine's address entered at the archive"
            ),
        ),
        "timeout" | "connect" | "idle" => Words::new(
            "端口可能不是 DICOM，或对方停滞：核对 `address`，用 `forepost dicom echo` 再试",
            "perhaps the port speaks no DICOM, or the archive hangs: check `address`, and try \
             `forepost dicom echo`",
        ),
        _ => Words::new(
            "请 PACS 工程师查看其日志；用 `forepost dicom echo` 再试",
            "have the archive's engineer look at its log; try `forepost dicom echo`",
        ),
    };
    Finding::failing(subject, "association", words, next)
}

/// A destination: a token where it wants one, and OPTIONS at its first interface. No record is
/// sent.
pub(super) async fn destination(
    subject: &str,
    options: &DestinationOptions,
    now: Time,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    let certificate = options.client_certificate.as_ref();
    own_certificate(subject, certificate, now, &mut findings);
    if let Login::Headers(headers) = &options.login {
        own_tokens(subject, headers, now, &mut findings);
    }
    let trust = trusting(&options.authorities_pem, certificate);
    let reached = reach(subject, &options.base_url, trust, now, &mut findings).await;
    let mut may_call = reached;
    if let Login::Token(_, token) = &options.login {
        let there = match same_origin(&options.base_url, &token.url) {
            true => reached,
            false => {
                let trust = trusting(&token.authorities_pem, token.client_certificate.as_ref());
                reach(subject, &token.url, trust, now, &mut findings).await
            }
        };
        may_call = there && ask_token(subject, token, now, &mut findings).await && reached;
    }
    if may_call {
        findings.extend(ask_options(subject, options, now).await);
    }
    findings
}

fn same_origin(one: &str, other: &str) -> bool {
    let origin = |url: &str| reqwest::Url::parse(url).ok().map(|url| url.origin());
    origin(one).is_some() && origin(one) == origin(other)
}

/// Asks for a token, as a delivery would. A platform that counts one token at a time then refuses
/// the service's, which asks for a new one and sends again: whoever refuses a token took nothing.
async fn ask_token(
    subject: &str,
    options: &TokenOptions,
    now: Time,
    findings: &mut Vec<Finding>,
) -> bool {
    let keeper = match TokenKeeper::new(options.clone()) {
        Ok(keeper) => keeper,
        Err(error) => {
            findings.push(unusable(subject, &error));
            return false;
        }
    };
    let asked = timeout(CALL_WAIT, keeper.token(now)).await.unwrap_or_else(|_| Err(silent()));
    findings.push(match &asked {
        Ok(_) => {
            let minutes = options.life.as_secs() / 60;
            let words = Words::new(
                format!("已取得令牌，每 {minutes} 分钟自动更新"),
                format!("a token was had; it is renewed every {minutes} minutes"),
            );
            Finding::fine(subject, "credentials", words)
        }
        Err(fault) => of_http(subject, fault, "token.url"),
    });
    asked.is_ok()
}

/// What may be done at the address of the first interface.
async fn ask_options(subject: &str, options: &DestinationOptions, now: Time) -> Vec<Finding> {
    let platform = match Platform::new(std::slice::from_ref(options)) {
        Ok(platform) => platform,
        Err((_, error)) => return vec![unusable(subject, &error)],
    };
    let Some(interface) = options.interfaces.first() else { return Vec::new() };
    let began = Instant::now();
    let probe = platform.probe(&options.name, interface, now);
    let Ok(probed) = timeout(CALL_WAIT, probe).await else {
        return vec![of_http(subject, &silent(), "url")];
    };
    let Some(Probed { credentials, status }) = probed else { return Vec::new() };
    if let Err(fault) = credentials {
        return vec![of_http(subject, &fault, "token.url")];
    }
    match status {
        Err(fault) => vec![of_http(subject, &fault, "url")],
        Ok(status @ (401 | 403)) => {
            let fault = Fault::peer("refused", format!("status {status}"));
            vec![of_http(subject, &fault, "url")]
        }
        Ok(404) => vec![of_http(subject, &Fault::peer("absent", "status 404"), "url")],
        Ok(status @ 500..) => {
            let words = Words::new(
                format!("服务器应答 {status}，可能故障"),
                format!("the server answered status {status}: perhaps it is out of order"),
            );
            let next = Words::new(
                "用 `forepost queue list` 看记录是否送达；否则联系平台",
                "see by `forepost queue list` whether records arrive; if not, call the platform",
            );
            vec![Finding::warning(subject, "call", words, next)]
        }
        Ok(status) => {
            let what = format!("OPTIONS {interface}: {status}");
            vec![answered_within(subject, &what, began.elapsed().as_millis())]
        }
    }
}

/// A hospital's system that gives a dictionary: it is read whole and dropped, as its document has
/// no smaller call.
pub(super) async fn dictionary_source(
    subject: &str,
    options: &DictionaryOptions,
    now: Time,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    own_certificate(subject, options.client_certificate.as_ref(), now, &mut findings);
    own_tokens(subject, &options.headers, now, &mut findings);
    let trust = trusting(&options.authorities_pem, options.client_certificate.as_ref());
    if !reach(subject, &options.base_url, trust, now, &mut findings).await {
        return findings;
    }
    let source = match DictionarySource::new(options.clone()) {
        Ok(source) => source,
        Err(error) => return vec![unusable(subject, &error)],
    };
    let began = Instant::now();
    let answered = timeout(CALL_WAIT, source.whole()).await.unwrap_or_else(|_| Err(silent()));
    match answered {
        Ok(rows) => {
            if !options.headers.is_empty() {
                findings.push(accepted(subject));
            }
            let what = format!("{} × {}", options.kind.name(), rows.len());
            findings.push(answered_within(subject, &what, began.elapsed().as_millis()));
        }
        Err(fault) => findings.push(of_http(subject, &fault, "url")),
    }
    findings
}
