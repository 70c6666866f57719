//! Archives that call us: C-ECHO by DCMTK, pynetdicom, Orthanc and our own verb; and peers that
//! break the protocol, hang, or come in numbers.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;

use crate::support::forepost::Forepost;
use crate::support::orthanc::Orthanc;
use crate::support::programs;
use crate::support::setup::Setup;
use crate::support::wait_for;

/// Associations that are open at once; `ASSOCIATIONS_MAX`.
const PLACES: usize = 64;
/// How long a peer may be silent before it has asked for an association; `ASSOCIATE_WAIT`.
const SILENCE: Duration = Duration::from_secs(10);
/// Longer than any answer takes.
const PATIENCE: Duration = Duration::from_secs(8);

/// PS3.8 9.3: the types of PDUs.
const ASSOCIATE_RQ: u8 = 1;
const ASSOCIATE_AC: u8 = 2;
const ASSOCIATE_RJ: u8 = 3;
const P_DATA: u8 = 4;
const RELEASE_RQ: u8 = 5;
const RELEASE_RP: u8 = 6;
const ABORT: u8 = 7;

fn with(zone: &str) -> Forepost {
    let more = format!("[zone.dicom]\nlisten = \"127.0.0.1:0\"\n{zone}");
    Forepost::start(Setup { more, ..Setup::default() })
}

/// DCMTK's echoscu.
fn echoscu(address: &str, arguments: &[&str]) -> Output {
    let (host, port) = address.rsplit_once(':').unwrap();
    Command::new("echoscu").args(arguments).args([host, port]).output().expect("dcmtk is here")
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&[&output.stdout[..], &output.stderr[..]].concat()).into_owned()
}

fn assert_verifies(address: &str) {
    let echoed = echoscu(address, &["--call", "FOREPOST"]);
    assert!(echoed.status.success(), "{}", words(&echoed));
}

#[test]
fn archives_of_every_make_verify_their_way_here() {
    let forepost = with("");
    let address = forepost.dicom();
    // DCMTK: every syntax it knows, several in a context, and the smallest PDUs.
    let many = ["--call", "FOREPOST", "--aetitle", "PACS1", "--propose-ts", "3"];
    let small = ["--call", "FOREPOST", "--max-pdu", "4096", "--repeat", "20"];
    let contexts = ["--call", "FOREPOST", "--propose-pc", "128", "--abort"];
    for arguments in [&many[..], &small, &contexts] {
        let echoed = echoscu(&address, arguments);
        assert!(echoed.status.success(), "{arguments:?}: {}", words(&echoed));
    }
    let (host, port) = address.rsplit_once(':').unwrap();
    let told = programs::python("verify_scu.py", &[host, port, "FOREPOST"]);
    let verification = "1.2.840.10008.1.1";
    assert_eq!(
        told,
        json!({
            "established": true, "rejected": false, "released": true,
            "accepted": [
                [verification, "1.2.840.10008.1.2.2"],
                [verification, "1.2.840.10008.1.2"],
            ],
            // No such class, no such syntax (PS3.8 9.3.3.2).
            "results": [[verification, 4], ["1.2.840.10008.5.1.4.1.1.2", 3]],
            "length": 131_072, "name": concat!("FOREPOST_", env!("CARGO_PKG_VERSION")),
            "echoes": [0, 0, 0],
        })
    );
    let orthanc = Orthanc::start();
    let modality = json!({"AET": "FOREPOST", "Host": host, "Port": port.parse::<u16>().unwrap()});
    let put = orthanc.ask("PUT", "/modalities/front", modality.to_string().as_bytes());
    assert_eq!(put.status, 200, "{}", put.text());
    let echoed = orthanc.ask("POST", "/modalities/front/echo", b"{}");
    assert_eq!(echoed.status, 200, "{}", echoed.text());
    let own = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["dicom", "echo", "--called", "FOREPOST", &address])
        .output()
        .unwrap();
    assert!(own.status.success(), "{}", words(&own));
    let released = "associations_total{outcome=\"released\"}";
    let counted = wait_for(PATIENCE, || (forepost.metric(released) >= 5.0).then_some(()));
    assert!(counted.is_some(), "{}", forepost.metrics());
    // Who aborts has not broken anything.
    assert_eq!(forepost.metric("associations_total{outcome=\"aborted\"}"), 1.0);
}

#[test]
fn who_calls_another_title_or_from_elsewhere_is_refused_and_the_log_says_what_to_set() {
    let mut forepost = with("ae_title = \"GATE\"\n");
    let address = forepost.dicom();
    let refused = echoscu(&address, &["--call", "FOREPOST", "--aetitle", "PACS1"]);
    assert!(!refused.status.success());
    assert!(words(&refused).contains("Called AE Title Not Recognized"), "{}", words(&refused));
    let expected = "PACS1 calls FOREPOST; zone.dicom.ae_title is GATE";
    assert!(forepost.log().contains(expected), "{}", forepost.log());
    // A reload takes up title and list; an association that is open stays.
    let mut open = TcpStream::connect(&address).unwrap();
    assert_eq!(associate(&mut open, &request("GATE")).0, ASSOCIATE_AC);
    forepost.setup.more = "[zone.dicom]\nlisten = \"127.0.0.1:0\"\n".into();
    forepost.reload("the configuration is taken up");
    assert_verifies(&address);
    assert_eq!(ask(&mut open, &release()).0, RELEASE_RP);
    forepost.setup.more.push_str("allow = [\"192.0.2.0/24\"]\n");
    forepost.reload("the configuration is taken up");
    assert!(!echoscu(&address, &["--call", "FOREPOST"]).status.success());
    assert_eq!(forepost.metric("connections_refused_total{zone=\"dicom\"}"), 1.0);
}

#[test]
fn archives_that_want_tls_get_it() {
    let folder = tempfile::tempdir().unwrap();
    let at = folder.path().to_str().unwrap();
    let made = Command::new(env!("CARGO_BIN_EXE_forepost"))
        .args(["certificate", "localhost", "127.0.0.1", "--folder", at])
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", words(&made));
    let more = format!(
        "[zone.dicom]\nlisten = \"127.0.0.1:0\"\nlisten_tls = \"127.0.0.1:0\"\n\
         certificate = \"{at}/door.pem\"\ncertificate_key = \"{at}/door.key\"\n"
    );
    let forepost = Forepost::start(Setup { more, ..Setup::default() });
    let authority = format!("{at}/authority.pem");
    let tls = ["--call", "FOREPOST", "--anonymous-tls", "--add-cert-file", &authority];
    let echoed = echoscu(&forepost.dicom_tls(), &tls);
    assert!(echoed.status.success(), "{}", words(&echoed));
    assert_verifies(&forepost.dicom());
    // In the clear to the door with TLS: it ends, and nothing else does.
    assert!(!echoscu(&forepost.dicom_tls(), &["--call", "FOREPOST"]).status.success());
    let echoed = echoscu(&forepost.dicom_tls(), &tls);
    assert!(echoed.status.success(), "{}", words(&echoed));
    // A peer may name its protocol in TLS.
    let mut named = Command::new("openssl")
        .args(["s_client", "-alpn", "dicom", "-CAfile", &authority, "-connect"])
        .arg(forepost.dicom_tls())
        .stdin(Stdio::null())
        .output()
        .expect("openssl is here");
    named.stdout.extend(named.stderr);
    let said = String::from_utf8_lossy(&named.stdout);
    assert!(said.contains("Verify return code: 0 (ok)"), "{said}");
}

#[test]
fn a_peer_that_breaks_the_protocol_costs_its_own_association_only() {
    let forepost = with("");
    let address = forepost.dicom();
    let mut good = request("FOREPOST");
    let mut version = good.clone();
    version[7] = 2;
    let mut application = good.clone();
    application[78 + 20] = b'9';
    let mut nobody = good.clone();
    nobody[26..42].fill(b' ');
    let refused = |bytes: &[u8]| {
        let mut stream = TcpStream::connect(&address).unwrap();
        associate(&mut stream, bytes)
    };
    // Result, source, reason (PS3.8 9.3.4).
    assert_eq!(refused(&version), (ASSOCIATE_RJ, vec![0, 1, 2, 2]), "another version");
    assert_eq!(refused(&application), (ASSOCIATE_RJ, vec![0, 1, 1, 2]), "another context");
    assert_eq!(refused(&nobody), (ASSOCIATE_RJ, vec![0, 1, 1, 3]), "no title of its own");
    let absurd = [&[ASSOCIATE_RQ, 0, 0xff, 0xff, 0xff, 0xff][..], &[0; 600]].concat();
    // The user information claims more than the PDU has.
    let at = good.len() - 8 - 2;
    good[at] = 0x7f;
    let cases: [(&str, &[u8]); 5] = [
        ("HTTP", b"GET / HTTP/1.1\r\nHost: a\r\n\r\n"),
        ("4 GB", &absurd),
        ("data first", &data(1, true, &echo(1))),
        ("a release first", &release()),
        ("an item past its end", &good),
    ];
    for (name, bytes) in cases {
        assert_eq!(refused(bytes), (ABORT, vec![0; 4]), "{name}");
    }
    // Titles that end as texts of C do are read.
    let mut padded = request("FOREPOST");
    padded[10 + 8..26].fill(0);
    padded[26 + 3..42].fill(0);
    assert_eq!(refused(&padded).0, ASSOCIATE_AC);
    assert_verifies(&address);
    // After the association stands: each of these ends it.
    let find = [data(1, true, &request_with_data(0x0020, 3)), data(1, false, &[0; 600])].concat();
    let cases: [(&str, Vec<u8>, u8); 7] = [
        ("a search", find, P_DATA),
        ("a search without its keys", data(1, true, &command(0x0020, 3)), P_DATA),
        ("a context that was not agreed", data(9, true, &echo(1)), ABORT),
        ("data without a command", data(1, false, &[0; 8]), ABORT),
        ("an answer to nothing", data(1, true, &command(0x8030, 1)), ABORT),
        ("a second request", request("FOREPOST"), ABORT),
        ("a command cut off", data(1, true, &echo(1)[..21]), ABORT),
    ];
    for (name, bytes, expected) in cases {
        let mut stream = TcpStream::connect(&address).unwrap();
        assert_eq!(associate(&mut stream, &request("FOREPOST")).0, ASSOCIATE_AC, "{name}");
        let (kind, body) = ask(&mut stream, &bytes);
        assert_eq!(kind, expected, "{name}");
        if kind == ABORT {
            // By the provider (PS3.8 9.3.8).
            assert_eq!(body[2], 2, "{name}");
        } else {
            // Unrecognized operation, and the association goes on (PS3.7 C.5.23).
            assert!(body.ends_with(&[0, 0, 0, 9, 2, 0, 0, 0, 0x11, 2]), "{body:x?}");
            assert_eq!(ask(&mut stream, &data(1, true, &echo(4))).0, P_DATA);
            // A cancel has no answer; the goodbye has.
            stream.write_all(&data(1, true, &command(0x0fff, 3))).unwrap();
            assert_eq!(ask(&mut stream, &release()).0, RELEASE_RP);
        }
    }
    assert_verifies(&address);
    let broken = "associations_total{outcome=\"broken\"}";
    let counted = wait_for(PATIENCE, || (forepost.metric(broken) >= 10.0).then_some(()));
    assert!(counted.is_some(), "{}", forepost.metrics());
}

#[test]
fn connections_left_open_close_the_door_to_nobody_for_long() {
    let forepost = with("");
    let address = forepost.dicom();
    let mut silent: Vec<TcpStream> =
        (0..PLACES).map(|_| TcpStream::connect(&address).unwrap()).collect();
    let begun = Instant::now();
    // The last is told that there is no place, and that another time there may be (PS3.8 9.3.4).
    let told = (0..100).find_map(|_| {
        let mut late = TcpStream::connect(&address).unwrap();
        let told = associate(&mut late, &request("FOREPOST"));
        (told.0 == ASSOCIATE_RJ).then_some(told)
    });
    assert_eq!(told, Some((ASSOCIATE_RJ, vec![0, 2, 3, 2])));
    assert!(forepost.log().contains("64 are open already"), "{}", forepost.log());
    // Those that say nothing lose their places.
    silent[0].set_read_timeout(Some(SILENCE + PATIENCE)).unwrap();
    assert_eq!(pdu(&mut silent[0]), None, "the timer of PS3.8 9.2 closes without a word");
    assert!(begun.elapsed() > SILENCE / 2, "{:?}", begun.elapsed());
    let arguments = ["--call", "FOREPOST"];
    let free = wait_for(PATIENCE, || echoscu(&address, &arguments).status.success().then_some(()));
    assert!(free.is_some(), "a place is free again");
}

#[test]
fn a_restart_refuses_no_archive_and_waits_for_none() {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let more = "[zone.dicom]\nlisten = \"systemd:dicom\"\n".to_owned();
    let mut forepost = Forepost::prepare(Setup { more, ..Setup::default() });
    forepost.restart_with(&[("dicom", &socket)], &[]);
    assert_eq!(forepost.dicom(), address);
    let (stop, verified) = (AtomicBool::new(false), AtomicUsize::new(0));
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            while !stop.load(Ordering::SeqCst) {
                assert_verifies(&address);
                verified.fetch_add(1, Ordering::SeqCst);
            }
        });
        let _ended = OnDrop(&stop);
        for round in 1..=5 {
            let more = || (verified.load(Ordering::SeqCst) >= 3 * round).then_some(());
            assert!(wait_for(PATIENCE, more).is_some() || asking.is_finished());
            // One holds its association open: it is aborted, and nobody waits for it.
            let mut open = TcpStream::connect(&address).unwrap();
            assert_eq!(associate(&mut open, &request("FOREPOST")).0, ASSOCIATE_AC);
            let begun = Instant::now();
            assert!(forepost.stop().success());
            assert!(begun.elapsed() < PATIENCE, "{:?}", begun.elapsed());
            assert_eq!(pdu(&mut open).map(|pdu| pdu.0), Some(ABORT));
            forepost.restart_with(&[("dicom", &socket)], &[]);
        }
        stop.store(true, Ordering::SeqCst);
        asking.join().expect("nobody is refused");
    });
}

/// Set when the test ends, by a panic, too.
struct OnDrop<'a>(&'a AtomicBool);

impl Drop for OnDrop<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::SeqCst);
    }
}

/// A-ASSOCIATE-RQ (PS3.8 9.3.2) with one context, for verification.
fn request(called: &str) -> Vec<u8> {
    let item = |kind: u8, value: &[u8]| {
        [&[kind, 0][..], &(value.len() as u16).to_be_bytes(), value].concat()
    };
    let syntax = item(0x40, b"1.2.840.10008.1.2");
    let proposed = [&[1, 0, 0, 0][..], &item(0x30, b"1.2.840.10008.1.1"), &syntax].concat();
    let body = [
        &[0, 1, 0, 0][..],
        format!("{called:<16}{:<16}", "RAW").as_bytes(),
        &[0; 32],
        &item(0x10, b"1.2.840.10008.3.1.1.1"),
        &item(0x20, &proposed),
        &item(0x50, &item(0x51, &16_384u32.to_be_bytes())),
    ]
    .concat();
    whole(ASSOCIATE_RQ, &body)
}

fn release() -> Vec<u8> {
    whole(RELEASE_RQ, &[0; 4])
}

/// P-DATA-TF (PS3.8 9.3.5) with one last fragment.
fn data(context: u8, is_command: bool, value: &[u8]) -> Vec<u8> {
    let length = (value.len() as u32 + 2).to_be_bytes();
    let flags = if is_command { 3 } else { 2 };
    whole(P_DATA, &[&length[..], &[context, flags], value].concat())
}

fn whole(kind: u8, body: &[u8]) -> Vec<u8> {
    [&[kind, 0][..], &(body.len() as u32).to_be_bytes(), body].concat()
}

/// C-ECHO-RQ (PS3.7 9.3.5.1).
fn echo(message: u16) -> Vec<u8> {
    command(0x0030, message)
}

/// A command with which a data set comes.
fn request_with_data(field: u16, message: u16) -> Vec<u8> {
    let mut bytes = command(field, message);
    // The type of data set is the last value.
    let at = bytes.len() - 2;
    bytes[at..].copy_from_slice(&1u16.to_le_bytes());
    bytes
}

/// A command without a data set: class, field, message, type of data set; of an answer its status.
fn command(field: u16, message: u16) -> Vec<u8> {
    let mut elements: Vec<(u16, Vec<u8>)> = vec![
        (0x0002, b"1.2.840.10008.1.1\0".to_vec()),
        (0x0100, field.to_le_bytes().to_vec()),
        (0x0110, message.to_le_bytes().to_vec()),
        (0x0800, 0x0101u16.to_le_bytes().to_vec()),
    ];
    if field & 0x8000 != 0 {
        elements.push((0x0900, vec![0, 0]));
    }
    let put = |(element, value): (u16, Vec<u8>)| {
        let length = (value.len() as u32).to_le_bytes();
        [&[0, 0][..], &element.to_le_bytes(), &length, &value].concat()
    };
    elements.into_iter().flat_map(put).collect()
}

/// Asks for an association; the answer's type and body.
fn associate(stream: &mut TcpStream, request: &[u8]) -> (u8, Vec<u8>) {
    ask(stream, request)
}

fn ask(stream: &mut TcpStream, bytes: &[u8]) -> (u8, Vec<u8>) {
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(bytes).unwrap();
    pdu(stream).expect("it is answered")
}

/// The next PDU; `None`: the peer hung up.
fn pdu(stream: &mut TcpStream) -> Option<(u8, Vec<u8>)> {
    let mut head = [0; 6];
    stream.read_exact(&mut head).ok()?;
    let length = u32::from_be_bytes([head[2], head[3], head[4], head[5]]);
    let mut body = vec![0; length as usize];
    stream.read_exact(&mut body).ok()?;
    Some((head[0], body))
}
