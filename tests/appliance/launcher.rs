//! The launcher of a workstation: downloaded from the appliance, run on a desk of its own, and what
//! it opens is asked of the appliance. The one for Windows runs under Wine, as its 64-bit twin.

use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::support::forepost::Forepost;
use crate::support::http;
use crate::support::programs::ROOT;
use crate::support::setup::Setup;
use crate::support::window::{Window, log_in};
use crate::support::{PATIENCE, wait_for};
use crate::workstation::{House, call, say, setup};

const OPEN: &str = "/iuWorkStation/swipingIdCardNo";

/// An address beyond the gateway, of a network that is nobody's (RFC 5737): what routes there has a
/// MAC, and nothing is sent.
const FAR: &str = "http://198.51.100.1:8080";

/// The bytes of a login, as `LOGIN_BYTES_MAX` has it.
const LOGIN_BYTES: usize = 4_096;

/// Long enough for a browser that must not open.
const QUIET: Duration = Duration::from_millis(700);

/// A user's home, and programs that write down how they are called in place of a desktop's own.
struct Desk {
    folder: TempDir,
}

impl Desk {
    fn new() -> Desk {
        let desk = Desk { folder: tempfile::tempdir().unwrap() };
        for name in ["home", "bin", "called", "work"] {
            fs::create_dir(desk.path(name)).unwrap();
        }
        for name in ["xdg-open", "xdg-mime"] {
            let called = desk.path("called").join(name);
            let called = called.display();
            let script = format!(
                "#!/bin/sh\nprintf '%s\\0' \"$@\" >\"{called}.new\" && mv \"{called}.new\" \
                 \"{called}\"\n"
            );
            write_program(&desk.path("bin").join(name), script.as_bytes());
        }
        desk
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A program that runs on this desk.
    fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new(program);
        command
            .current_dir(self.path("work"))
            .env("HOME", self.path("home"))
            .env("PATH", format!("{}:/usr/bin:/bin", self.path("bin").display()))
            .env_remove("XDG_DATA_HOME")
            .env_remove("DISPLAY");
        command
    }

    /// The arguments of the last call of a program, which is then forgotten.
    fn called(&self, name: &str) -> Option<Vec<String>> {
        let file = self.path("called").join(name);
        let text = fs::read_to_string(&file).ok()?;
        fs::remove_file(&file).unwrap();
        Some(text.split_terminator('\0').map(str::to_owned).collect())
    }

    /// The one address that the browser was given.
    fn opened(&self) -> Option<String> {
        let mut arguments = self.called("xdg-open")?;
        assert_eq!(arguments.len(), 1, "{arguments:?}");
        arguments.pop()
    }
}

fn write_program(path: &Path, bytes: &[u8]) {
    fs::write(path, bytes).unwrap();
    fs::set_permissions(path, fs::Permissions::from_mode(0o755)).unwrap();
}

/// The launcher for Linux on a desk.
struct Launcher {
    desk: Desk,
    program: PathBuf,
}

impl Launcher {
    fn of(program: &[u8]) -> Launcher {
        let desk = Desk::new();
        let path = desk.path("downloaded");
        write_program(&path, program);
        Launcher { desk, program: path }
    }

    fn run<S: AsRef<OsStr>>(&self, arguments: &[S]) -> Output {
        self.desk.command(&self.program).args(arguments).output().unwrap()
    }

    /// Runs with one text, and gives the address that it opened.
    fn open(&self, text: &[u8]) -> String {
        let output = self.run(&[OsStr::from_bytes(text)]);
        let words = String::from_utf8_lossy(&output.stderr);
        let text = String::from_utf8_lossy(text);
        assert!(output.status.success(), "{text}: {words}");
        self.desk.opened().unwrap_or_else(|| panic!("nothing was opened for {text}"))
    }

    /// Runs with one text, opens nothing, and says why.
    fn refuse(&self, text: &str) -> String {
        let output = self.run(&[text]);
        assert_eq!(output.status.code(), Some(1), "{text}");
        assert_eq!(self.desk.opened(), None, "{text}");
        String::from_utf8(output.stderr).unwrap()
    }
}

/// A launcher as this build offers it, asked for under `address`; empty: the appliance's own.
fn download(forepost: &Forepost, address: &str, name: &str) -> Vec<u8> {
    // Not by `Forepost`, which would print the program as its last exchange.
    let target = format!("{address}/workstation/setup/{name}");
    let reply = http::ask(&forepost.hospital(), "GET", &target, &[], b"").unwrap();
    assert_eq!(reply.status, 200, "{name}: run `make launcher`, then build again");
    let kept = format!("attachment; filename=\"{name}\"");
    assert_eq!(reply.header("content-disposition"), Some(kept.as_str()));
    reply.body
}

/// One of `make launcher`'s files with nothing in its block.
fn built(path: &str) -> Vec<u8> {
    let path = Path::new(ROOT).join("target").join(path);
    fs::read(&path).unwrap_or_else(|_| panic!("no {}: run `make launcher`", path.display()))
}

/// The MAC of the interface that the default route of IPv4 names.
fn routed_mac() -> Option<String> {
    let routes = fs::read_to_string("/proc/net/route").ok()?;
    let fields = routes.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let interface = fields.into_iter().find(|fields| fields.get(1) == Some(&"00000000"))?[0];
    let mac = fs::read_to_string(format!("/sys/class/net/{interface}/address")).ok()?;
    Some(mac.trim().replace(':', "-"))
}

/// The target that a browser asks for, of an address below `server`.
fn target<'a>(url: &'a str, server: &str) -> &'a str {
    let target = url.strip_prefix(server).unwrap_or_else(|| panic!("{url} is not at {server}"));
    assert!(target.starts_with("/hrball/?"), "{target}");
    target
}

/// The window that a browser is led to.
fn follow(forepost: &Forepost, target: &str) -> String {
    let reply = forepost.ask("GET", target, &[("Accept", "text/html,*/*;q=0.8")], b"");
    assert_eq!(reply.status, 303, "{target}: {}", reply.text());
    reply.header("location").unwrap().to_owned()
}

#[test]
fn the_launcher_logs_a_doctor_in_and_its_mac_leads_the_notice_to_the_window() {
    let house = House::of(970);
    let forepost = &house.forepost;
    let launcher = Launcher::of(&download(forepost, FAR, "forepost-launcher"));
    let mac = routed_mac();
    let more = mac.as_ref().map(|mac| format!("&mac={mac}")).unwrap_or_default();
    forepost.keep_secret(["李医生".to_owned()]);
    let fields = "hisUserId=7&type=1&doctorName=";
    let gbk = encoding_rs::GBK.encode("李医生").0.into_owned();
    for (name, told) in [
        ("$E6$9D$8E$E5$8C$BB$E7$94$9F".as_bytes(), "$E6$9D$8E$E5$8C$BB$E7$94$9F"),
        ("%E6%9D%8E%E5%8C%BB%E7%94%9F".as_bytes(), "%E6%9D%8E%E5%8C%BB%E7%94%9F"),
        ("李医生".as_bytes(), "%E6%9D%8E%E5%8C%BB%E7%94%9F"),
        (&gbk, "%C0%EE%D2%BD%C9%FA"),
    ] {
        let text = [fields.as_bytes(), name].concat();
        for shape in [
            text.clone(),
            [b"\"", text.as_slice(), b"\""].concat(),
            [b"WYHT://", text.as_slice()].concat(),
            [b"wyht://\"", text.as_slice(), b"\" "].concat(),
            [b"wyht://%22", text.as_slice(), b"%22/"].concat(),
        ] {
            let url = launcher.open(&shape);
            assert_eq!(url, format!("{FAR}/hrball/?{fields}{told}{more}"));
        }
        let url = launcher.open(&text);
        let window = Window::open(forepost, &follow(forepost, target(&url, FAR)), "192.0.2.10");
        assert!(window.ask(forepost, "GET", "/workstation/").text().contains("李医生"), "{told}");
    }
    let Some(mac) = mac else {
        eprintln!("no interface leads out of this machine: its MAC was not held against anything");
        return;
    };
    // Of one account at two places, the MAC alone tells which.
    let url = launcher.open(b"hisUserId=8&type=1");
    let mut window = Window::open(forepost, &follow(forepost, target(&url, FAR)), "192.0.2.10");
    let fields = "hisUserId=8&type=1&mac=02-00-5E-00-53-02";
    let mut other = Window::open(forepost, &log_in(forepost, fields), "192.0.2.20");
    window.listen(forepost);
    other.listen(forepost);
    let mut opened = call(&house.patient, "8", "", &[]);
    (opened["clientIp"], opened["mac"]) = (Value::Null, Value::from(mac.replace('-', ":")));
    say(forepost, OPEN, &opened);
    window.await_told(|one| one.event == "notice" && one.data["precise"] == true);
    assert!(other.told_after(QUIET).is_empty(), "{:#?}", other.told());
    // A MAC that the HIS knows better stands first, and the first one holds.
    let url = launcher.open(b"hisUserId=8&type=1&mac=02-00-5E-00-53-03");
    assert!(url.ends_with(&format!("&mac=02-00-5E-00-53-03&mac={mac}")), "{url}");
}

#[test]
fn what_a_page_hands_to_the_launcher_ends_in_the_query_of_our_address_and_nowhere_else() {
    let forepost = Forepost::start(setup(&[]));
    let own = format!("http://{}", forepost.hospital());
    let launcher = Launcher::of(&download(&forepost, "", "forepost-launcher"));
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._~=&+/:@,%$?".contains(c);
    for (text, query) in [
        ("WYHT://$(touch x)", "%24%28touch%20x%29"),
        ("WYHT://`touch x`", "%60touch%20x%60"),
        ("WYHT://\" & calc", "&%20calc"),
        ("\";calc;'|>x", "%3Bcalc%3B%27%7C%3Ex"),
        ("WYHT://x\" \"--uninstall", "x%22%20%22--uninstall"),
        ("--uninstall=1", "--uninstall=1"),
        ("--help", "--help"),
        ("-", "-"),
        ("@evil.example/#", "@evil.example/%23"),
        ("http://evil.example/?a", "http://evil.example/%3Fa"),
        ("a\r\nHost: evil\\..\\", "a%0D%0AHost:%20evil%5C..%5C"),
        ("%", "%25"),
        ("%4$4%zz${type}", "%254%244%25zz%24%7Btype%7D"),
        ("%PATH%$HOME", "%25PATH%25%24HOME"),
        ("WYHT://", ""),
        ("\" %22 $20\"", ""),
        ("", ""),
    ] {
        let url = launcher.open(text.as_bytes());
        assert_eq!(url, format!("{own}/hrball/?{query}"), "{text}");
        assert!(url.chars().all(plain), "{url}");
        let answer = forepost.get(target(&url, &own));
        assert_eq!((answer.status, &answer.json()["code"]), (200, &Value::from(400)), "{text}");
    }
    assert_eq!(fs::read_dir(launcher.desk.path("work")).unwrap().count(), 0, "nothing was run");
    assert_eq!(fs::read_dir(launcher.desk.path("home")).unwrap().count(), 0, "nothing installed");
    assert_eq!(launcher.run(&["a", "b"]).status.code(), Some(1));

    // What the server would refuse as too long never leaves; the longest that it takes does.
    let start = "hisUserId=7&type=1&doctorName=";
    let longest = format!("{start}{}", "a".repeat(LOGIN_BYTES - start.len()));
    let url = launcher.open(longest.as_bytes());
    follow(&forepost, target(&url, &own));
    let wide = format!("{start}{}", "影".repeat((LOGIN_BYTES - start.len()) / 9 + 1));
    for text in [format!("{longest}a"), wide, "a".repeat(100_000)] {
        let words = launcher.refuse(&text);
        assert!(words.contains("4096") && !words.contains("aaa"), "{words}");
    }
}

#[test]
fn a_launcher_that_does_not_know_its_server_says_so_and_does_nothing() {
    let empty = built("launcher/forepost-launcher");
    let filled = |address: &str| {
        let mut program = empty.clone();
        write_address(&mut program, address);
        program
    };
    let long = format!("http://{}", "h".repeat(256 - 17 - 7));
    for program in [
        empty.clone(),
        filled("ftp://h"),
        filled("http://"),
        filled("http://h/path"),
        filled("http://h h"),
        filled("http://h:"),
        filled("http://h:123456"),
        filled("http://[::1"),
        filled("http://$(id)"),
        filled("-http://h"),
    ] {
        let launcher = Launcher::of(&program);
        for arguments in [vec![], vec!["--quiet"], vec!["hisUserId=1&type=1"]] {
            let output = launcher.run(&arguments);
            let words = String::from_utf8(output.stderr).unwrap();
            assert_eq!(output.status.code(), Some(1), "{arguments:?}");
            assert!(words.contains("/workstation/setup"), "{words}");
        }
        assert_eq!(launcher.desk.opened(), None);
        assert_eq!(fs::read_dir(launcher.desk.path("home")).unwrap().count(), 0);
    }
    for address in ["http://[fd00::1]:8080", "https://front.example", &long] {
        let url = Launcher::of(&filled(address)).open(b"hisUserId=1&type=1");
        target(&url, address);
    }
}

/// As the server writes it, without asking whether it may.
fn write_address(program: &mut [u8], address: &str) {
    let mark = b"FOREPOST-ADDRESS:";
    let block = program.windows(mark.len()).position(|window| window == mark).unwrap() + mark.len();
    program[block..block + address.len()].copy_from_slice(address.as_bytes());
}

#[test]
fn the_launcher_installs_itself_for_the_user_and_leaves_again() {
    let forepost = Forepost::start(setup(&[]));
    let program = download(&forepost, "", "forepost-launcher");
    let launcher = Launcher::of(&program);
    let home = launcher.desk.path("home");
    let installed = home.join(".local/bin/forepost-launcher");
    let desktop = home.join(".local/share/applications/forepost.desktop");
    // Again over itself: a second download brings another address.
    for (arguments, told) in [(vec![], true), (vec!["--quiet"], false)] {
        let output = launcher.run(&arguments);
        let words = String::from_utf8(output.stdout).unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        for word in ["已安装", "Installed", &forepost.hospital(), installed.to_str().unwrap()] {
            assert_eq!(words.contains(word), told, "{words}");
        }
        assert_eq!(fs::read(&installed).unwrap(), program);
        let text = fs::read_to_string(&desktop).unwrap();
        let exec = format!("Exec=\"{}\" %u\n", installed.display());
        assert!(text.contains(&exec), "{text}");
        assert!(text.contains("MimeType=x-scheme-handler/wyht;\n"), "{text}");
        let registered = ["default", "forepost.desktop", "x-scheme-handler/wyht"];
        assert_eq!(launcher.desk.called("xdg-mime").unwrap(), registered);
    }
    let runs = Launcher { program: installed.clone(), desk: launcher.desk };
    target(&runs.open(b"WYHT://hisUserId=7&type=1"), &format!("http://{}", forepost.hospital()));
    for _ in 0..2 {
        let output = runs.desk.command(&launcher.program).arg("--uninstall").output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        assert!(!installed.exists() && !desktop.exists());
    }

    // A folder that a desktop file could not name, and a desktop without xdg-utils.
    let launcher = Launcher::of(&program);
    let odd = launcher.desk.path("a\"b");
    fs::create_dir(&odd).unwrap();
    let mut command = launcher.desk.command(&launcher.program);
    assert_eq!(command.env("HOME", &odd).output().unwrap().status.code(), Some(1));
    assert_eq!(fs::read_dir(&odd).unwrap().count(), 0);
    fs::remove_file(launcher.desk.path("bin/xdg-mime")).unwrap();
    let mut command = launcher.desk.command(&launcher.program);
    let output = command.env("PATH", launcher.desk.path("bin")).output().unwrap();
    let words = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.code() == Some(1) && words.contains("xdg-utils"), "{words}");
}

#[test]
fn a_logout_opens_no_window_and_says_when_it_was_refused() {
    let forepost = Forepost::start(setup(&[]));
    let launcher = Launcher::of(&download(&forepost, "", "forepost-launcher"));
    for text in ["hisUserId=7&type=2", "WYHT://\"hisUserId=7& Type = 2&doctorName=A\""] {
        let path = log_in(&forepost, "hisUserId=7&type=1&doctorName=A");
        let mut window = Window::open(&forepost, &path, "127.0.0.1");
        window.listen(&forepost);
        let output = launcher.run(&[text]);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && output.stdout.is_empty(), "{words}");
        window.await_told(|one| one.event == "ended");
    }
    assert_eq!(launcher.desk.opened(), None);
    let words = launcher.refuse("type=2");
    assert!(words.contains("未接受退出请求") && words.contains("hisUserId"), "{words}");
    let strange = Forepost::start(Setup::default());
    let refused = Launcher::of(&download(&strange, "", "forepost-launcher"));
    let words = refused.refuse("hisUserId=7&type=2");
    assert!(words.contains("未授权的调用方"), "{words}");
    // A port that was free a moment ago.
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let gone = Launcher::of(&download(&forepost, &format!("http://{closed}"), "forepost-launcher"));
    let words = gone.refuse("hisUserId=7&type=2");
    assert!(words.contains("连接不到前置机") && words.contains(&closed.to_string()), "{words}");
    // Over TLS only the browser has what it needs.
    let mut program = built("launcher/forepost-launcher");
    write_address(&mut program, "https://127.0.0.1:1");
    let url = Launcher::of(&program).open(b"hisUserId=7&type=2");
    assert_eq!(url, "https://127.0.0.1:1/hrball/?hisUserId=7&type=2");
    // Without a browser neither a login nor such a logout ends in silence.
    let alone = Launcher::of(&program);
    for text in ["hisUserId=7&type=1", "hisUserId=7&type=2"] {
        let mut command = alone.desk.command(&alone.program);
        let output = command.env("PATH", alone.desk.path("work")).arg(text).output().unwrap();
        let words = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && words.contains("打不开默认浏览器"), "{words}");
    }
}

#[test]
fn the_page_says_what_to_download_and_what_to_paste() {
    let forepost = Forepost::start(setup(&[]));
    for (language, words) in [("zh-CN", "不需要管理员权限"), ("en", "without administrator rights")]
    {
        let headers = [("Accept-Language", language)];
        let page = forepost.ask("GET", "/workstation/setup", &headers, b"").text();
        for word in [
            words,
            "href=\"/workstation/setup/forepost-launcher.exe\"",
            "href=\"/workstation/setup/forepost-launcher\"",
            "href=\"/workstation/setup.reg\"",
            "href=\"/workstation/setup.desktop\"",
            "HKEY_CURRENT_USER\\Software\\Classes\\WYHT",
            "\"%LOCALAPPDATA%\\Forepost\\forepost.exe\" \"hisUserId=1001&amp;type=1",
            "<pre>WYHT://hisUserId=1001",
            &format!("http://{}/hrball/?hisUserId=1001", forepost.hospital()),
        ] {
            assert!(page.contains(word), "{word} in {page}");
        }
    }
    // An address that the block has no room for.
    let long = format!("http://{}.example", "h".repeat(240));
    let reply = forepost.get(&format!("{long}/workstation/setup/forepost-launcher"));
    assert_eq!(reply.status, 400);
}

#[test]
fn the_launcher_for_windows_needs_nothing_that_windows_7_lacks() {
    let program = Path::new(ROOT).join("target/launcher/forepost-launcher.exe");
    let output = Command::new("i686-w64-mingw32-objdump")
        .arg("-p")
        .arg(&program)
        .output()
        .expect("objdump starts; .ci/setup installs it");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let field = |name: &str| {
        let line = text.lines().find(|line| line.split_whitespace().next() == Some(name));
        line.unwrap_or_else(|| panic!("{name} in {text}")).split_whitespace().nth(1).unwrap()
    };
    assert!(text.contains("pei-i386"), "32 bits run on all of them");
    assert_eq!(field("Subsystem"), "00000002", "no console window");
    for name in ["MajorOSystemVersion", "MajorSubsystemVersion"] {
        assert_eq!(field(name), "6");
        assert_eq!(field(&name.replace("Major", "Minor")), "1");
    }
    let mut libraries: Vec<String> = text
        .lines()
        .filter_map(|line| line.trim().strip_prefix("DLL Name: "))
        .map(str::to_ascii_lowercase)
        .collect();
    libraries.sort();
    let known = [
        "advapi32.dll",
        "kernel32.dll",
        "msvcrt.dll",
        "ole32.dll",
        "shell32.dll",
        "user32.dll",
        "ws2_32.dll",
    ];
    // Windows looks for any other one beside the program first, where downloads lie.
    assert_eq!(libraries, known, "all of them are among the KnownDLLs of Windows 7 and newer");
    assert!(fs::metadata(&program).unwrap().len() < 200_000, "one small file");
}

/// A user's Windows: a prefix of Wine, whose browser is the desk's `xdg-open`.
struct Windows {
    desk: Desk,
}

impl Windows {
    fn new() -> Windows {
        let windows = Windows { desk: Desk::new() };
        fs::create_dir(windows.desk.path("home/prefix")).unwrap();
        // Stays between two programs, so that Windows is not started for each of them.
        let mut server = windows.command("wineserver");
        let server = server.arg("--persistent").stdout(Stdio::null()).stderr(Stdio::null());
        assert!(server.status().expect("wine starts; .ci/setup installs it").success());
        windows.wine(&["wineboot", "--init"]);
        windows
    }

    fn command(&self, program: &str) -> Command {
        let mut command = self.desk.command(program);
        // Neither the .NET nor the HTML of Wine is installed; without this it asks for them.
        command
            .env("WINEPREFIX", self.desk.path("home/prefix"))
            .env("WINEDLLOVERRIDES", "mscoree,mshtml=")
            .env("WINEDEBUG", "-all");
        command
    }

    /// Runs a program to its end: whether it succeeded, and what it printed. Into a file, because
    /// what Windows runs in the background would hold a pipe open.
    fn wine<S: AsRef<OsStr>>(&self, arguments: &[S]) -> (bool, String) {
        let said = self.desk.path("said");
        let file = fs::File::create(&said).unwrap();
        let mut command = self.command("wine");
        let command = command.args(arguments).stdin(Stdio::null()).stderr(Stdio::null());
        let status = command.stdout(file).status().expect("wine starts; .ci/setup installs it");
        (status.success(), fs::read_to_string(&said).unwrap())
    }

    /// Runs the installed launcher as a HIS does.
    fn launch(&self, text: &str) -> bool {
        self.wine(&[self.installed().as_os_str(), OsStr::new(text)]).0
    }

    /// The address that the browser is given in the end.
    fn await_opened(&self) -> String {
        wait_for(PATIENCE, || self.desk.opened()).expect("a browser opens")
    }

    /// `%LOCALAPPDATA%\Forepost\forepost.exe`, or where it will be.
    fn installed(&self) -> PathBuf {
        let users = self.desk.path("home/prefix/drive_c/users");
        let users = fs::read_dir(users).unwrap().map(|user| user.unwrap().path());
        let user = users.into_iter().find(|user| !user.ends_with("Public")).expect("a user");
        user.join("AppData/Local/Forepost/forepost.exe")
    }

    /// What the registry holds below the scheme's key; nothing when there is none.
    fn registered(&self) -> String {
        let (is_there, said) = self.wine(&["reg", "query", &scheme("HKCU"), "/s"]);
        if is_there { said } else { String::new() }
    }
}

/// The scheme's key below a root.
fn scheme(root: &str) -> String {
    format!("{root}\\Software\\Classes\\WYHT")
}

impl Drop for Windows {
    fn drop(&mut self) {
        // The server of this prefix alone.
        let _ = self.command("wineserver").arg("--kill").status();
    }
}

#[test]
fn the_launcher_for_windows_registers_the_scheme_opens_the_window_and_leaves_again() {
    let forepost = Forepost::start(setup(&[]));
    let own = format!("http://{}", forepost.hospital());
    // What is offered differs from what was built in its block alone.
    let mut offered = built("launcher/forepost-launcher.exe");
    write_address(&mut offered, &own);
    assert!(download(&forepost, "", "forepost-launcher.exe") == offered);

    let windows = Windows::new();
    let downloaded = windows.desk.path("downloaded.exe");
    let mut program = built("launcher-test/forepost-launcher.exe");
    write_program(&downloaded, &program);
    let run = |more: &[&str]| {
        let mut arguments = vec![OsString::from(&downloaded)];
        arguments.extend(more.iter().map(OsString::from));
        windows.wine(&arguments).0
    };
    assert!(!run(&["--quiet"]), "it holds no address yet");
    assert!(!windows.installed().exists());
    write_address(&mut program, FAR);
    write_program(&downloaded, &program);
    for arguments in [&[][..], &["--quiet"]] {
        assert!(run(arguments));
        assert!(fs::read(windows.installed()).unwrap() == program);
    }
    let registry = windows.registered();
    for words in [
        "URL:WYHT",
        "URL Protocol",
        "\\shell\\open\\command",
        "\\AppData\\Local\\Forepost\\forepost.exe\" \"%1\"",
    ] {
        assert!(registry.contains(words), "{words} in {registry}");
    }

    let more = routed_mac().map(|mac| format!("&mac={}", mac.to_uppercase())).unwrap_or_default();
    let fields = "hisUserId=7&type=1&doctorName=$E6$9D$8E";
    // By the scheme, as a browser does it. This Wine looks for schemes below the machine's classes
    // alone, where Windows looks below the user's first.
    let copied = windows.wine(&["reg", "copy", &scheme("HKCU"), &scheme("HKLM"), "/s", "/f"]);
    assert!(copied.0, "{copied:?}");
    for (text, query) in [(fields, fields), ("x\" --uninstall \"", "x%22%20--uninstall")] {
        windows.wine(&["start", &format!("WYHT://{text}")]);
        assert_eq!(windows.await_opened(), format!("{FAR}/hrball/?{query}{more}"));
    }
    // By the command line, as a HIS does.
    for (text, query) in [
        (fields, fields),
        ("hisUserId=7&type=1 &doctorName=李", "hisUserId=7&type=1%20&doctorName=%E6%9D%8E"),
        ("WYHT://\"&calc.exe&", "%5C%22&calc.exe&"),
        ("--uninstall /s", "--uninstall%20/s"),
        ("%PATH%|calc>x", "%25PATH%25%7Ccalc%3Ex"),
    ] {
        assert!(windows.launch(text), "{text}");
        assert_eq!(windows.await_opened(), format!("{FAR}/hrball/?{query}{more}"), "{text}");
    }
    assert!(!windows.launch(&"a".repeat(LOGIN_BYTES + 1)));

    write_over(&downloaded, &mut program, &own);
    assert!(run(&["--quiet"]), "another download takes the place of the first");
    windows.launch("hisUserId=7&type=1");
    let path = follow(&forepost, target(&windows.await_opened(), &own));
    let mut window = Window::open(&forepost, &path, "127.0.0.1");
    window.listen(&forepost);
    assert!(windows.launch("hisUserId=7&type=2"));
    window.await_told(|one| one.event == "ended");
    assert!(!windows.launch("type=2"), "it was refused");

    // By the installed one, which runs while it removes itself. It cannot be moved to TEMP,
    // which is on another volume.
    let other_volume = tempfile::tempdir_in("/dev/shm").unwrap();
    let elsewhere = format!("Z:{}", other_volume.path().display().to_string().replace('/', "\\"));
    for name in ["TMP", "TEMP"] {
        let added =
            windows.wine(&["reg", "add", "HKCU\\Environment", "/v", name, "/d", &elsewhere, "/f"]);
        assert!(added.0, "{added:?}");
    }
    assert!(windows.launch("--uninstall"));
    assert_eq!(fs::read_dir(other_volume.path()).unwrap().count(), 0);
    let local = windows.installed().parent().unwrap().parent().unwrap().to_owned();
    let files = fs::read_dir(local).unwrap().map(|one| one.unwrap().path());
    let moved: Vec<PathBuf> = files.filter(|one| one.is_file()).collect();
    assert_eq!(moved.len(), 1, "{moved:?}");
    assert!(fs::read(&moved[0]).unwrap() == program);
    assert!(!windows.installed().parent().unwrap().exists());
    assert_eq!(windows.registered(), "");
    assert!(run(&["--uninstall", "--quiet"]), "and again, with nothing there");
    assert_eq!(windows.desk.opened(), None);
}

/// A download with another address in place of the first.
fn write_over(path: &Path, program: &mut [u8], address: &str) {
    write_address(program, &"\0".repeat(256 - 17));
    write_address(program, address);
    write_program(path, program);
}
