//! Whether the machine's clock is right: believed by ourselves, kept by the system, and as a time
//! server has it.
//!
//! One question of SNTP (RFC 4330, which RFC 5905 takes up): a packet of 48 bytes there, one back.
//! Refused: setting the clock. The system's own service does that, and two would fight.

use std::time::{Duration, Instant};

use tokio::net::UdpSocket;
use tokio::time::timeout;

use super::limits::{CLOCK_FAILING_MS, CLOCK_WARNING_MS, TIME_ASKED_MAX, TIME_WAIT};
use super::{Finding, Measured, Words};
use crate::clock;
use crate::model::Time;

const SUBJECT: &str = "clock";

/// Seconds from 1900, where NTP begins to count, to 1970 (RFC 5905, A.4).
const NTP_TO_UNIX_SECONDS: i64 = 2_208_988_800;

/// Bytes of a packet without extensions (RFC 5905, 7.3).
const PACKET_BYTES: usize = 48;

/// What is told of the clock.
pub(super) async fn findings(time_server: Option<&str>) -> Vec<Finding> {
    let mut findings = vec![belief()];
    findings.extend(kept());
    match time_server {
        Some(server) => findings.push(against(server).await),
        None => {
            let words = Words::new(
                "没有配置时间服务器，误差未知",
                "no time server is configured; how wrong it is nobody knows",
            );
            let next = Words::new(
                "在配置文件开头写入 `time_server = \"医院的时间服务器\"`",
                "name the hospital's at the top of the configuration: `time_server = \"HOST\"`",
            );
            findings.push(Finding::warning(SUBJECT, "offset", words, next));
        }
    }
    findings
}

fn set_it() -> Words {
    Words::new(
        "校准时钟：`timedatectl set-ntp true`，或 `date -s '2026-11-29 08:00:00'` 后 `hwclock -w`；\
         常停电的机器请换主板电池",
        "set it: `timedatectl set-ntp true`, or `date -s '2026-11-29 08:00:00'` and `hwclock -w`; \
         a machine that forgets the time needs a new battery",
    )
}

/// A clock behind what the ledger has seen is not believed.
fn belief() -> Finding {
    let reading = clock::reading();
    if reading.trusted {
        let words = Words::new("时钟可信", "the clock is believed");
        return Finding::fine(SUBJECT, "belief", words);
    }
    let words = Words::new(
        "时钟早于已有记录，不可信：时限暂按开机时间推算",
        "the clock shows less than what is recorded and is not believed: deadlines go by the time \
         since the machine started",
    );
    Finding::failing(SUBJECT, "belief", words, set_it())
}

/// Whether somebody keeps it, by the kernel's own word. Nothing where it may not be asked: the
/// service's unit forbids every call about the clock, also those that change nothing.
fn kept() -> Option<Finding> {
    let mut state: libc::timex = unsafe_zeroed();
    // SAFETY: with no mode set the call only fills in the struct, which is here.
    let code = unsafe { libc::adjtimex(&mut state) };
    if code < 0 {
        return None;
    }
    if code != libc::TIME_ERROR && state.status & libc::STA_UNSYNC == 0 {
        let words = Words::new("系统在校准时钟", "the system keeps the clock");
        return Some(Finding::fine(SUBJECT, "kept", words));
    }
    let words = Words::new(
        "没有程序在校准时钟（adjtimex：未同步）",
        "nobody keeps the clock (adjtimex: not synchronised)",
    );
    let next = Words::new(
        "启用一个时间服务：chrony（`systemctl enable --now chronyd`）或 systemd-timesyncd，并指向医院的\
         时间服务器；容器内由宿主机负责",
        "enable one: chrony (`systemctl enable --now chronyd`) or systemd-timesyncd, towards the \
         hospital's time server; within a container the host does it",
    );
    Some(Finding::warning(SUBJECT, "kept", words, next))
}

fn unsafe_zeroed() -> libc::timex {
    // SAFETY: the struct is numbers only, for which zeroes are a value.
    unsafe { std::mem::zeroed() }
}

async fn against(server: &str) -> Finding {
    let mut last = "no answer".to_owned();
    for _ in 0..TIME_ASKED_MAX {
        match timeout(TIME_WAIT, ask(server)).await {
            Ok(Ok(ahead_ms)) => return offset(server, ahead_ms),
            Ok(Err(error)) => last = error.to_string(),
            Err(_) => last = format!("no answer within {} s", TIME_WAIT.as_secs()),
        }
    }
    let words = Words::new(
        format!("时间服务器 {server} 没有应答：{last}"),
        format!("the time server {server} does not answer: {last}"),
    );
    let next = Words::new(
        "核对 `time_server`；请网络管理员放行到它的 UDP 123 端口",
        "check `time_server`; have UDP port 123 opened to it",
    );
    Finding::warning(SUBJECT, "offset", words, next)
}

fn offset(server: &str, ahead_ms: i64) -> Finding {
    let seconds = format!("{:.1}", ahead_ms.abs() as f64 / 1_000.0);
    let (zh, en) = if ahead_ms >= 0 { ("快", "ahead of") } else { ("慢", "behind") };
    let words =
        Words::new(format!("比 {server} {zh} {seconds} 秒"), format!("{seconds} s {en} {server}"));
    let finding = match ahead_ms.abs() {
        CLOCK_FAILING_MS.. => Finding::failing(SUBJECT, "offset", words, set_it()),
        CLOCK_WARNING_MS.. => Finding::warning(SUBJECT, "offset", words, set_it()),
        _ => Finding::fine(SUBJECT, "offset", words),
    };
    finding.with(Measured::ClockAheadMs(ahead_ms))
}

/// Asks once; milliseconds by which this machine is ahead.
async fn ask(server: &str) -> std::io::Result<i64> {
    let has_port = server.rsplit_once(':').is_some_and(|(host, port)| {
        port.parse::<u16>().is_ok() && (!host.contains(':') || host.ends_with(']'))
    });
    let whole = match has_port {
        true => server.to_owned(),
        false if server.contains(':') => format!("[{server}]:123"),
        false => format!("{server}:123"),
    };
    let none = || std::io::Error::other("the name has no address");
    let address = tokio::net::lookup_host(&whole).await?.next().ok_or_else(none)?;
    let own = if address.is_ipv4() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(own).await?;
    socket.connect(address).await?;
    let (sent, began) = (clock::wall(), Instant::now());
    // What is sent as our time comes back as `originate`: noise tells an answer from a stranger's,
    // and tells the server nothing of our clock.
    let mut noise = [0; 8];
    aws_lc_rs::rand::fill(&mut noise).map_err(|_| std::io::Error::other("no random numbers"))?;
    socket.send(&question(noise)).await?;
    let mut answer = [0; 4 * PACKET_BYTES];
    loop {
        let length = socket.recv(&mut answer).await?;
        let took = began.elapsed();
        match read(&answer[..length], noise) {
            Some(Ok((received, transmitted))) => {
                return Ok(ahead_ms(sent, received, transmitted, took));
            }
            Some(Err(words)) => return Err(std::io::Error::other(words)),
            None => {}
        }
    }
}

/// Version 4, mode 3 (client), and the noise in place of the time.
fn question(noise: [u8; 8]) -> [u8; PACKET_BYTES] {
    let mut packet = [0; PACKET_BYTES];
    packet[0] = 4 << 3 | 3;
    packet[40..].copy_from_slice(&noise);
    packet
}

/// The server's times of receipt and of sending; `None` for what is no answer to the question; an
/// error for a server that says itself that it does not know the time (RFC 4330, 5).
fn read(packet: &[u8], noise: [u8; 8]) -> Option<Result<(Time, Time), &'static str>> {
    if packet.len() < PACKET_BYTES || packet[24..32] != noise || packet[0] & 7 != 4 {
        return None;
    }
    if packet[0] >> 6 == 3 {
        return Some(Err("the server says that its own clock is not set"));
    }
    if packet[1] == 0 {
        return Some(Err("the server refuses (kiss of death)"));
    }
    Some(Ok((moment(&packet[32..40]), moment(&packet[40..48]))))
}

/// A timestamp: seconds since 1900 and their fraction, each in 32 bits. Below the middle it belongs
/// to the era that begins in 2036 (RFC 4330, 3).
fn moment(bytes: &[u8]) -> Time {
    let number =
        |at: usize| u32::from_be_bytes([bytes[at], bytes[at + 1], bytes[at + 2], bytes[at + 3]]);
    let (seconds, fraction) = (i64::from(number(0)), i64::from(number(4)));
    let seconds = if seconds < 1 << 31 { seconds + (1 << 32) } else { seconds };
    Time((seconds - NTP_TO_UNIX_SECONDS) * 1_000 + ((fraction * 1_000) >> 32))
}

/// RFC 4330, 5: the mean of both ways' differences, so that equal ways cancel out.
fn ahead_ms(sent: Time, received: Time, transmitted: Time, took: Duration) -> i64 {
    let took = i64::try_from(took.as_millis()).unwrap_or(i64::MAX);
    let (there, back) = (sent.since_ms(received), sent.plus_ms(took).since_ms(transmitted));
    there.saturating_add(back) / 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_told_from_a_strangers_and_from_a_refusal() {
        let noise = [7; 8];
        let mut packet = [0; PACKET_BYTES];
        (packet[0], packet[1]) = (4 << 3 | 4, 2);
        packet[24..32].copy_from_slice(&noise);
        // 2026-11-29T00:00:00Z and half a second: 3_989_001_600 seconds since 1900.
        packet[32..36].copy_from_slice(&4_004_899_200_u32.to_be_bytes());
        packet[40..44].copy_from_slice(&4_004_899_200_u32.to_be_bytes());
        packet[44..48].copy_from_slice(&(1_u32 << 31).to_be_bytes());
        let at = 1_795_910_400_000;
        assert_eq!(read(&packet, noise), Some(Ok((Time(at), Time(at + 500)))));
        assert_eq!(read(&packet, [8; 8]), None);
        assert_eq!(read(&packet[..47], noise), None);
        packet[1] = 0;
        assert!(matches!(read(&packet, noise), Some(Err(_))));
        packet[0] |= 3 << 6;
        assert!(matches!(read(&packet, noise), Some(Err(_))));
    }

    #[test]
    fn equal_ways_cancel_out_and_the_era_of_2036_is_known() {
        let second = Duration::from_secs(1);
        let ahead = ahead_ms(Time(10_000), Time(7_500), Time(7_500), second);
        assert_eq!(ahead, 3_000);
        assert_eq!(moment(&[0, 0, 0, 1, 0, 0, 0, 0]), Time(2_085_978_497_000));
    }

    #[test]
    fn the_light_follows_the_offset() {
        use crate::doctor::State;
        for (ms, state) in [
            (0, State::Fine),
            (-1_999, State::Fine),
            (2_000, State::Warning),
            (-59_999, State::Warning),
            (60_000, State::Failing),
        ] {
            assert_eq!(offset("ntp", ms).state, state, "{ms}");
        }
        assert_eq!(offset("ntp", -2_500).words.en, "2.5 s behind ntp");
    }
}
