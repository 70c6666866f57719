//! A doctor's notice window, as far as a browser would do it: the cookie, the stream, the pages.

use std::io::{BufRead, BufReader, Write};
use std::net::{Shutdown, TcpStream};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use serde_json::Value;

use super::forepost::Forepost;
use super::http::Reply;
use super::{PATIENCE, wait_for};

/// A window, with the address that a proxy says it is opened from.
pub struct Window {
    pub cookie: String,
    pub address: String,
    told: Arc<Mutex<Vec<Told>>>,
    stream: Option<TcpStream>,
}

/// One event of the stream.
#[derive(Debug, Clone)]
pub struct Told {
    pub event: String,
    pub data: Value,
    pub at: Instant,
}

/// The path of the window that the HIS's login gives.
pub fn log_in(forepost: &Forepost, fields: &str) -> String {
    let reply = forepost.get(&format!("/hrball/?{fields}"));
    let told = reply.json();
    assert_eq!((reply.status, &told["code"]), (200, &Value::from(200)), "{told}");
    told["data"]["window"].as_str().expect("the login gives a window").to_owned()
}

impl Window {
    /// Opens the window of a login from an address.
    pub fn open(forepost: &Forepost, path: &str, address: &str) -> Window {
        let reply = forepost.ask("GET", path, &[("X-Forwarded-For", address)], b"");
        assert_eq!(reply.status, 200, "{}", reply.text());
        let cookie = reply.header("set-cookie").expect("the code earns a cookie");
        for mark in ["HttpOnly", "SameSite=Lax", "Path=/workstation"] {
            assert!(cookie.contains(mark), "{cookie}");
        }
        let cookie = cookie.split(';').next().expect("a cookie has a value").to_owned();
        let told = Arc::default();
        Window { cookie, address: address.to_owned(), told, stream: None }
    }

    /// Logs a doctor in and opens the window.
    pub fn of(forepost: &Forepost, user: &str, address: &str) -> Window {
        let fields = format!(
            "hisUserId={user}&type=1&doctorName=%E6%B5%8B%E8%AF%95&department=%E5%86%85%E7%A7%91"
        );
        Window::open(forepost, &log_in(forepost, &fields), address)
    }

    pub fn ask(&self, forepost: &Forepost, method: &str, target: &str) -> Reply {
        self.ask_as(forepost, method, target, &[])
    }

    pub fn ask_as(
        &self,
        forepost: &Forepost,
        method: &str,
        target: &str,
        more: &[(&str, &str)],
    ) -> Reply {
        let mut headers = vec![("Cookie", self.cookie.as_str())];
        headers.extend(more);
        forepost.ask(method, target, &headers, b"")
    }

    /// Listens from now on; a stream that was open is cut.
    pub fn listen(&mut self, forepost: &Forepost) {
        self.cut();
        let host = forepost.hospital();
        let mut stream = TcpStream::connect(&host).expect("the door is open");
        let request = format!(
            "GET /workstation/events HTTP/1.1\r\nHost: {host}\r\nCookie: {}\r\n\r\n",
            self.cookie
        );
        stream.write_all(request.as_bytes()).expect("the request leaves");
        self.stream = Some(stream.try_clone().expect("a socket can be doubled"));
        let told = Arc::clone(&self.told);
        std::thread::spawn(move || {
            let mut event = String::new();
            for line in BufReader::new(stream).lines().map_while(Result::ok) {
                if let Some(name) = line.strip_prefix("event: ") {
                    event = name.to_owned();
                } else if let Some(data) = line.strip_prefix("data: ") {
                    let data = serde_json::from_str(data).expect("an event holds JSON");
                    let at = Instant::now();
                    told.lock().unwrap().push(Told { event: event.clone(), data, at });
                }
            }
        });
    }

    /// Cuts the stream, as a network does.
    pub fn cut(&mut self) {
        if let Some(stream) = self.stream.take() {
            let _ = stream.shutdown(Shutdown::Both);
        }
    }

    /// What was told so far.
    pub fn told(&self) -> Vec<Told> {
        self.told.lock().unwrap().clone()
    }

    /// Waits for an event that fits.
    pub fn await_told(&self, fits: impl Fn(&Told) -> bool) -> Told {
        wait_for(PATIENCE, || self.told().into_iter().find(|one| fits(one)))
            .unwrap_or_else(|| panic!("never told; told were {:#?}", self.told()))
    }

    /// What was told after a while in which nothing was expected.
    pub fn told_after(&self, quiet: Duration) -> Vec<Told> {
        std::thread::sleep(quiet);
        self.told()
    }
}

impl Drop for Window {
    fn drop(&mut self) {
        self.cut();
    }
}
