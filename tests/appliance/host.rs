//! What systemd hands over and is told: sockets that outlive a restart, readiness, the watchdog.

use std::net::TcpListener;
use std::os::unix::net::UnixDatagram;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::patient::Patient;
use crate::support::setup::Setup;
use crate::support::wait_for;

/// A hospital zone on the socket that systemd passes as `hospital`.
fn on_a_passed_socket() -> (Forepost, TcpListener, String) {
    let socket = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap().to_string();
    let zone = "listen = \"systemd:hospital\"\n".to_owned();
    let setup = Setup { hospital_zone: zone, ..Setup::default() };
    (Forepost::prepare(setup), socket, address)
}

#[test]
fn a_restart_refuses_nobody_who_comes_by_a_passed_socket() {
    let (mut forepost, socket, address) = on_a_passed_socket();
    forepost.restart_with(&[("hospital", &socket)], &[]);
    assert_eq!(forepost.hospital(), address);
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let asking = scope.spawn(|| {
            let mut answered = 0;
            while !stop.load(Ordering::SeqCst) {
                let reply = http::ask(&address, "GET", "/nothing", &[], b"");
                assert_eq!(reply.expect("nobody is refused").status, 404);
                answered += 1;
            }
            answered
        });
        for _ in 0..10 {
            assert!(forepost.stop().success());
            forepost.restart_with(&[("hospital", &socket)], &[]);
        }
        stop.store(true, Ordering::SeqCst);
        assert!(asking.join().unwrap() > 10);
    });
}

#[test]
fn a_peer_of_a_socket_for_both_families_is_known_by_its_own_address() {
    let socket = TcpListener::bind("[::]:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    let zone = "listen = \"systemd:hospital\"\nallow = [\"127.0.0.1\"]\n".to_owned();
    let mut forepost = Forepost::prepare(Setup { hospital_zone: zone, ..Setup::default() });
    forepost.restart_with(&[("hospital", &socket)], &[]);
    let registration = Patient::new(900).registration(26, 0);
    let body = registration.to_string();
    forepost.keep_secret(crate::support::patient::personal(&registration));
    let json = [("Content-Type", "application/json")];
    let target = crate::support::forepost::REGISTER;
    let reply = http::ask(&format!("127.0.0.1:{port}"), "POST", target, &json, body.as_bytes());
    assert_eq!(reply.unwrap().json()["code"], 200, "the caller's address is 127.0.0.1");
}

#[test]
fn a_socket_that_was_not_passed_is_named_with_what_to_do() {
    let (forepost, _socket, _) = on_a_passed_socket();
    let (status, said) = forepost.refused_start(&[]);
    assert_eq!(status, Some(1));
    let expected = "hospital zone: systemd passed no socket of the name hospital (passed: none)";
    assert!(said.contains(expected), "{said}");
}

/// What the process told systemd since the last look.
fn told(systemd: &UnixDatagram) -> String {
    let mut all = String::new();
    let mut one = [0; 4096];
    while let Ok(length) = systemd.recv(&mut one) {
        all.push_str(&String::from_utf8_lossy(&one[..length]));
    }
    all
}

#[test]
fn the_watchdog_is_fed_by_commits_alone_and_the_status_says_what_waits() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("notify");
    let systemd = UnixDatagram::bind(&path).unwrap();
    systemd.set_nonblocking(true).unwrap();
    let mut forepost = Forepost::prepare(Setup::default());
    let path = path.display().to_string();
    // Fed every 200 ms.
    forepost.restart_with(&[], &[("NOTIFY_SOCKET", &path), ("WATCHDOG_USEC", "600000")]);
    let mut all = String::new();
    let patience = Duration::from_secs(20);
    wait_for(patience, || {
        all.push_str(&told(&systemd));
        (all.matches("WATCHDOG=1").count() >= 3).then_some(())
    })
    .expect("the watchdog is fed");
    assert!(all.contains("READY=1"), "{all}");
    assert!(all.contains("STATUS=serving; nothing waits to leave"), "{all}");
    // Somebody holds the ledger's lock: the writer gets nothing to the disk.
    let ledger = rusqlite::Connection::open(forepost.data().join("ledger/forepost.db")).unwrap();
    ledger.execute_batch("BEGIN IMMEDIATE").unwrap();
    std::thread::sleep(Duration::from_millis(500));
    told(&systemd);
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(3) {
        let said = told(&systemd);
        assert!(!said.contains("WATCHDOG=1"), "fed while nothing can be written: {said}");
        std::thread::sleep(Duration::from_millis(100));
    }
    ledger.execute_batch("ROLLBACK").unwrap();
    wait_for(patience, || told(&systemd).contains("WATCHDOG=1").then_some(()))
        .expect("it is fed again when the lock is free");
}
