//! `forepost setup`: a newcomer's path from the package to the first registration, and the dialogue
//! as a person at a terminal sees it.

use std::fs;
use std::io::Write;
use std::net::TcpListener;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};
use tempfile::TempDir;

use crate::support::forepost::{Forepost, REGISTER};
use crate::support::orthanc::Orthanc;
use crate::support::patient::Patient;
use crate::support::programs::{ROOT, python};
use crate::support::setup::Setup;
use crate::support::study::Study;

/// Steps that a newcomer may take.
const STEPS_MAX: usize = 8;

/// What somebody does who has a server, the package, and never saw Forepost, as the manual tells
/// it. The test does what the steps say, apart from the package and from systemd, which the tests
/// of the machine have.
fn steps_of_the_manual() -> Vec<String> {
    let manual = fs::read_to_string(Path::new(ROOT).join("docs/OPERATING.md")).unwrap();
    let path = manual.split("From the package to the first registration:").nth(1).unwrap();
    let path = path.lines().take_while(|line| !line.starts_with("Where "));
    let is_step = |line: &&str| line.split_once(". ").is_some_and(|(n, _)| n.parse::<u8>().is_ok());
    path.filter(is_step).map(str::to_owned).collect()
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn setup(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_forepost"))
        .arg("setup")
        .args(arguments)
        .env_clear()
        .output()
        .expect("the binary starts")
}

fn told(output: &Output) -> String {
    let both = [&output.stdout[..], &output.stderr[..]].concat();
    String::from_utf8_lossy(&both).into_owned()
}

#[test]
fn a_newcomer_has_a_registration_accepted_in_at_most_eight_steps_without_editing_a_file() {
    let steps = steps_of_the_manual();
    assert!((3..=STEPS_MAX).contains(&steps.len()), "{steps:#?}");
    assert!(steps.iter().any(|step| step.contains("forepost setup")), "{steps:#?}");
    let edits = |step: &&String| ["edit", ".toml", "vi "].iter().any(|word| step.contains(word));
    assert_eq!(steps.iter().find(edits), None, "a step edits a file");
    let patient = Patient::new(310);
    let study = Study::of(&patient, 310);
    let orthanc = Orthanc::with(&[&study]);
    let mut forepost = Forepost::prepare(Setup { written: true, ..Setup::default() });
    let folder = forepost.folder().to_owned();
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let answers = folder.join("answers.toml");
    let text = format!(
        "[setup]\nstart = false\n[[hospital]]\ncode = \"123456\"\nnames = [\"本市第一人民医院\"]\n\
         [machine]\nhospital_address = \"127.0.0.1\"\ndata = \"{}\"\nsockets = false\n\
         hospital_port = {}\nhospital_tls_port = {}\nconsole_port = {}\ncloud_port = {}\n\
         [his]\naddresses = [\"127.0.0.1\"]\ntoken = true\n[workstations]\nnetworks = \
         [\"127.0.0.0/8\"]\n[[source]]\nname = \"region\"\nurl = \"http://{}/dicom-web\"\n\
         [[source]]\nname = \"pacs\"\nkind = \"dimse\"\naddress = \"{}\"\ncalled_ae = \"REGION\"\n\
         [[caller]]\nname = \"cloud\"\nkind = \"cloud\"\nscheme = \"http\"\n",
        folder.join("data").display(),
        ports[0],
        ports[1],
        ports[2],
        ports[3],
        orthanc.address,
        orthanc.dicom,
    );
    fs::write(&answers, text).unwrap();
    let config = folder.join("forepost.toml");
    let (answers, config) = (answers.to_str().unwrap(), config.to_str().unwrap());
    let output = setup(&["--answers", answers, "--config", config, "--json"]);
    assert!(output.status.success(), "{}", told(&output));
    let ending: Value = serde_json::from_slice(&output.stdout).unwrap();
    // The doctor has asked both sources, and both answer.
    let findings = ending["findings"].as_array().unwrap();
    for subject in ["source region", "source pacs"] {
        let own: Vec<&Value> = findings.iter().filter(|one| one["subject"] == subject).collect();
        assert!(own.len() >= 2 && own.iter().all(|one| one["state"] == "fine"), "{own:#?}");
    }
    forepost.restart();
    // The HIS's line, used as it stands there.
    let line = ending["his"]["en"].as_str().unwrap();
    let address = format!("http://127.0.0.1:{}{REGISTER}", ports[0]);
    assert!(line.contains(&format!("POST {address}")), "{line}");
    let token = ending["tokens"]["his"].as_str().unwrap();
    assert!(line.contains(&format!("Authorization: Bearer {token}")), "{line}");
    let registration = patient.registration(26, 0);
    let refused = forepost.push(&registration).json();
    assert_ne!(refused["code"], 200, "without the token: {refused}");
    let bearer = format!("Bearer {token}");
    let headers = [("Content-Type", "application/json"), ("Authorization", bearer.as_str())];
    let body = registration.to_string();
    let accepted = forepost.ask("POST", REGISTER, &headers, body.as_bytes()).json();
    assert_eq!(accepted, json!({"message": "请求成功", "code": 200}));
    let plan = forepost.await_state(&registration, "ready");
    assert_eq!(plan["have"], study.instances(), "{plan:#}");
    let rows = forepost.qido(&format!("/studies?PatientID={}", patient.id_card));
    assert_eq!(rows.len(), 1);
    // The cloud's line, likewise.
    let line = ending["clouds"][0]["en"].as_str().unwrap();
    let asked = line.split(' ').find(|word| word.ends_with("getExamDict;")).unwrap();
    let asked = asked.trim_end_matches(';').strip_prefix("http://").unwrap();
    let (address, path) = asked.split_once('/').unwrap();
    let token = format!("Bearer {}", ending["tokens"]["cloud"].as_str().unwrap());
    let headers = [("Authorization", token.as_str())];
    let reply = crate::support::http::ask(address, "GET", &format!("/{path}"), &headers, b"");
    let reply = reply.unwrap();
    assert_eq!((reply.status, &reply.json()["code"]), (200, &json!(500)), "no dictionary yet");
    let checked = forepost.verb(&["check"]);
    assert!(checked.status.success(), "{}", told(&checked));
}

/// A root with the service's group, and what is run in it.
struct Root {
    folder: TempDir,
    group: u32,
}

impl Root {
    fn new() -> Root {
        let folder = tempfile::tempdir().unwrap();
        let own = fs::metadata(folder.path()).unwrap();
        // Only root may give a file to another group than its own.
        let group = if own.uid() == 0 { 987 } else { own.gid() };
        fs::create_dir_all(folder.path().join("etc")).unwrap();
        let groups = format!("root:x:0:\nforepost:x:{group}:\n");
        fs::write(folder.path().join("etc/group"), groups).unwrap();
        Root { folder, group }
    }

    fn path(&self) -> &str {
        self.folder.path().to_str().unwrap()
    }

    fn at(&self, inside: &str) -> PathBuf {
        self.folder.path().join(inside.trim_start_matches('/'))
    }

    /// Every file below `/etc` but the groups: its path, mode and group.
    fn files(&self) -> Vec<(String, u32, u32)> {
        let mut files = Vec::new();
        collect(self.folder.path(), self.folder.path(), &mut files);
        files.retain(|(path, ..)| path != "/etc/group");
        files.sort();
        files
    }

    fn config(&self) -> String {
        fs::read_to_string(self.at("/etc/forepost/forepost.toml")).unwrap()
    }

    fn answer(&self, text: &str, more: &[&str]) -> Output {
        let file = tempfile::NamedTempFile::new().unwrap();
        fs::write(file.path(), text).unwrap();
        let path = file.path().to_str().unwrap();
        setup(&[&["--answers", path, "--root", self.path()], more].concat())
    }

    fn play(&self, language: &str, enter: &str, steps: &[(&str, &str)]) -> Screen {
        self.play_with(json!({"LANG": language, "TERM": "dumb"}), enter, steps, &[], false)
    }

    fn play_with(
        &self,
        env: Value,
        enter: &str,
        steps: &[(&str, &str)],
        more: &[&str],
        close: bool,
    ) -> Screen {
        let mut argv = vec![env!("CARGO_BIN_EXE_forepost"), "setup", "--root", self.path()];
        argv.extend(more);
        let play = json!({
            "argv": argv, "env": env, "enter": enter, "steps": steps, "close": close,
        });
        Screen(python("dialogue.py", &[&play.to_string()]))
    }
}

fn collect(root: &Path, folder: &Path, files: &mut Vec<(String, u32, u32)>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        let found = fs::symlink_metadata(&path).unwrap();
        if found.is_dir() {
            collect(root, &path, files);
        } else {
            let inside = format!("/{}", path.strip_prefix(root).unwrap().display());
            files.push((inside, found.mode() & 0o7777, found.gid()));
        }
    }
}

/// What a dialogue came to.
struct Screen(Value);

impl Screen {
    fn text(&self) -> &str {
        self.0["screen"].as_str().unwrap()
    }

    /// Every text was waited for and came; gives the exit code.
    fn code(&self) -> i64 {
        assert_eq!(self.0["missing"], Value::Null, "{}", self.text());
        self.0["code"].as_i64().unwrap()
    }

    /// No line is wider than a serial terminal, and nothing but text was sent to it.
    fn check_plain(&self) {
        let wide = |c: char| matches!(c, '\u{2e80}'..='\u{ffef}' | '→');
        for line in self.text().split(['\r', '\n']).filter(|line| !line.contains("://")) {
            let width: usize = line.chars().map(|c| if wide(c) { 2 } else { 1 }).sum();
            assert!(width <= 80, "{width} columns: {line}");
        }
        let odd = |c: &char| c.is_control() && !"\r\n\u{8}\u{3}".contains(*c);
        assert_eq!(self.text().chars().find(odd), None, "{}", self.text());
    }
}

/// A port at which nobody answers.
fn closed() -> String {
    format!("127.0.0.1:{}", free_port())
}

#[test]
fn a_person_who_mistypes_and_corrects_is_set_up_in_english_over_a_line_that_sends_cr_lf() {
    let root = Root::new();
    let nobody = closed();
    let url = format!("http://{nobody}/dicom-web<Enter>");
    let screen = root.play(
        "en_US.UTF-8",
        "\r\n",
        &[
            ("insurance code", "H 45<Enter>"),
            ("expected letters and digits", "H45010000009<Backspace>1<Enter>"),
            ("names as its own images", "First Hospital, FH<Enter>"),
            ("Enter goes on", "<Enter>"),
            ("faces the hospital's network", "192.0.2.300<Enter>"),
            ("expected an address", "192.0.2.10<Enter>"),
            ("faces the clouds", "198.51.100.10<Enter>"),
            ("Names for the certificate", "front.local, 192.0.2.10<Enter>"),
            ("time server", "-<Enter>"),
            ("Our AE title", "GATE\\1<Enter>"),
            ("without a backslash", "GATE 1<Enter>"),
            ("the HIS pushes", "192.0.2.20 192.0.2.21<Enter>"),
            ("show a token", "maybe<Enter>"),
            ("y or n", "y<Enter>"),
            ("getExamDict", "<Enter>"),
            ("getDeptInfo", "<Enter>"),
            ("views of its database", "<Enter>"),
            ("workstations' networks", "192.0.2.0/24<Enter>"),
            ("viewer opens a study", "https://v.local/open<Enter>"),
            ("with {study} in it", "https://v.local/open?s={study}<Enter>"),
            ("Add a source", "<Enter>"),
            ("short name for the source", "Region<Enter>"),
            ("expected small letters", "region<Enter>"),
            ("How studies come", "4<Enter>"),
            ("expected one of dicomweb, dimse, push", "1<Enter>"),
            ("address of its DICOMweb", &url),
            ("The token that it gave", "T0P-S3CRET<Enter>"),
            ("Taken, 10 characters", ""),
            ("private authority", "/no/such.pem<Enter>"),
            ("cannot be read", "-<Enter>"),
            ("number by which it knows", "<Enter>"),
            ("SHA-256", "y<Enter>"),
            // Nobody is there: it is said, asked again, and kept at last.
            ("[FAILED] source region", ""),
            ("Keep it all the same", "n<Enter>"),
            ("How studies come", "<Enter>"),
            ("address of its DICOMweb", "<Enter>"),
            ("The token that it gave", "<Enter>"),
            ("private authority", "<Enter>"),
            ("number by which it knows", "<Enter>"),
            ("SHA-256", "<Enter>"),
            ("Keep it all the same", "y<Enter>"),
            ("Enter goes on", "<Enter>"),
            ("Add a platform", "<Enter>"),
            ("Add another caller", "y<Enter>"),
            ("short name for the caller", "cloud<Enter>"),
            ("What it does", "3<Enter>"),
            ("from which it calls", "<Enter>"),
            ("By which protocol", "<Enter>"),
            ("Enter goes on", "<Enter>"),
            ("backup goes", "backup<Enter>"),
            ("an absolute path", "/backup/forepost<Enter>"),
            ("another disk or mount?", "<Enter>"),
            ("What will be written", "20<Enter>"),
            ("Give y, n or one of the numbers", "2<Enter>"),
            ("faces the hospital's network", "<Enter>"),
            ("faces the clouds", "<Enter>"),
            ("Names for the certificate", "<Enter>"),
            ("time server", "ntp.local<Enter>"),
            ("[GATE 1]", "<Enter>"),
            ("y writes", "y<Enter>"),
            ("To hand over", ""),
            ("AE title GATE 1, address 192.0.2.10, port 104", ""),
        ],
    );
    assert_eq!(screen.code(), 0, "{}", screen.text());
    screen.check_plain();
    assert!(!screen.text().contains("T0P-S3CRET"), "a secret is on the screen");
    let config = root.config();
    for line in [
        "code = \"H45010000001\"",
        "names = [\"First Hospital\", \"FH\"]",
        "time_server = \"ntp.local\"",
        "listen = \"systemd:hospital\"",
        "listen_tls = \"systemd:cloud-tls\"",
        "listen = \"systemd:dicom\"\nae_title = \"GATE 1\"",
        "addresses = [\"192.0.2.20\", \"192.0.2.21\"]",
        "sha256 = true",
        "viewer = \"https://v.local/open?s={study}\"",
        "to = \"/backup/forepost\"",
        "mounted = true",
    ] {
        assert!(config.contains(line), "{line} in\n{config}");
    }
    let secret = fs::read_to_string(root.at("/etc/forepost/source-region.token")).unwrap();
    assert_eq!(secret, "Bearer T0P-S3CRET\n");
    check_files(&root);
    run_again(&root, &config);
}

/// Secrets are root's and the service's, the rest may be read by everybody, and each socket has
/// its address.
fn check_files(root: &Root) {
    for (path, mode, group) in root.files() {
        let secret = path.ends_with(".token") || path.ends_with("door.key");
        let expected = match path.as_str() {
            "/etc/forepost/tls/authority.key" => 0o600,
            _ if secret => 0o640,
            _ => 0o644,
        };
        assert_eq!(mode, expected, "{path}");
        assert!(!secret || group == root.group, "{path} belongs to group {group}");
        assert!(!path.contains(".new"), "{path}");
    }
    for (unit, address) in [
        ("hospital", "192.0.2.10:80"),
        ("hospital-tls", "192.0.2.10:443"),
        ("cloud-tls", "198.51.100.10:8443"),
        ("console", "127.0.0.1:9180"),
        ("dicom", "192.0.2.10:104"),
    ] {
        let path = format!("/etc/systemd/system/forepost-{unit}.socket.d/address.conf");
        let text = fs::read_to_string(root.at(&path)).unwrap();
        let lines: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        let stream = format!("ListenStream={address}");
        assert_eq!(lines, ["[Socket]", "ListenStream=", &stream, "FreeBind=yes"]);
    }
    let plain = "/etc/systemd/system/forepost-cloud.socket.d";
    assert!(!root.at(plain).exists(), "nobody calls without TLS");
    for name in ["caller-his.token", "caller-cloud.token"] {
        let token = fs::read_to_string(root.at(&format!("/etc/forepost/{name}"))).unwrap();
        let token = token.trim();
        assert_eq!((token.len(), token.chars().all(|c| c.is_ascii_hexdigit())), (64, true));
    }
}

/// Who answers everything by Enter leaves every byte as it was.
fn run_again(root: &Root, config: &str) {
    let before = root.files();
    let screen = root.play_with(
        json!({"LANG": "en_US.UTF-8", "TERM": "vt100"}),
        "\n",
        &[
            ("its settings are where this starts", ""),
            ("Enter goes on", "<Enter>"),
            ("[192.0.2.10]", "<Enter>"),
            ("[198.51.100.10]", "<Enter>"),
            ("[front.local, 192.0.2.10]", "<Enter>"),
            ("[ntp.local]", "<Enter>"),
            ("[GATE 1]", "<Enter>"),
            ("[192.0.2.20, 192.0.2.21]", "<Enter>"),
            ("[y]", "<Enter>"),
            ("getExamDict", "<Enter>"),
            ("getDeptInfo", "<Enter>"),
            ("views of its database", "<Enter>"),
            ("[192.0.2.0/24]", "<Enter>"),
            ("[https://v.local/open?s={study}]", "<Enter>"),
            ("1  region", "<Enter>"),
            ("Add a platform", "<Enter>"),
            ("1  cloud", "<Enter>"),
            ("[/backup/forepost]", "<Enter>"),
            ("another disk or mount?", "<Enter>"),
            ("y writes", "y<Enter>"),
            ("token as before", ""),
        ],
        &["--offline"],
        false,
    );
    assert_eq!(screen.code(), 0, "{}", screen.text());
    assert_eq!(root.config(), config);
    assert_eq!(root.files(), before, "no copy, because nothing changed");
}

#[test]
fn a_person_is_set_up_in_chinese_on_80_columns() {
    let root = Root::new();
    let screen = root.play_with(
        json!({"LANG": "zh_CN.UTF-8", "TERM": "dumb"}),
        "\r",
        &[
            ("医保定点医疗机构代码", "<Enter>"),
            ("必须回答", "H45010000001<Enter>"),
            ("医院名称", "示范医员<Backspace>院，市一院<Enter>"),
            ("回车继续", "<Enter>"),
            ("面向院内网的地址", "192.0.2.10<Enter>"),
            ("[192.0.2.10]", "<Enter>"),
            ("证书中的名称", "front.local<Enter>"),
            ("时间服务器", "<Enter>"),
            ("本机的 AE 标题", "<Enter>"),
            ("HIS 推送时的来源地址", "192.0.2.20<Enter>"),
            ("出示令牌", "否<Enter>"),
            ("getExamDict", "<Enter>"),
            ("getDeptInfo", "<Enter>"),
            ("数据库视图提供数据吗", "y<Enter>"),
            ("数据库的简称", "his<Enter>"),
            ("ODBC 连接串", "Driver=/d.so;UID=u;PWD=x<Enter>"),
            ("数据库口令", "k0uling<Enter>"),
            ("驱动给出的字符", "3<Enter>"),
            ("读取哪些视图", "1，2<Enter>"),
            ("配置检查不通过", ""),
            ("holds a password", ""),
            ("ODBC 连接串", "Driver=/d.so;UID=u<Enter>"),
            ("[已有，保留]", "k0uling<Enter>"),
            ("驱动给出的字符", "<Enter>"),
            ("读取哪些视图", "<Enter>"),
            ("回车继续", "<Enter>"),
            ("医生工作站所在的网段", "192.0.2.0/24<Enter>"),
            ("阅片软件打开", "<Enter>"),
            ("添加一个影像来源", "n<Enter>"),
            ("添加一个上报平台", "y<Enter>"),
            ("平台的简称", "shengpt<Enter>"),
            ("平台地址", "https://platform.example/<Enter>"),
            ("上报哪些内容", "1、2<Enter>"),
            ("怎样证明身份", "3<Enter>"),
            ("用户名", "yiyuan<Enter>"),
            ("口令（不显示）", "mi-ma<Enter>"),
            ("SM2 公钥文件", "<Enter>"),
            ("私有证书签发机构", "<Enter>"),
            ("1  shengpt", "a<Enter>"),
            ("平台的简称", "shengpt<Enter>"),
            ("已经有一个叫 shengpt", "two<Enter>"),
            ("平台地址", "https://two.example/<Enter>"),
            ("上报哪些内容", "<Enter>"),
            ("怎样证明身份", "<Enter>"),
            ("SM2 公钥文件", "<Enter>"),
            ("私有证书签发机构", "<Enter>"),
            ("2  two", "-2<Enter>"),
            ("1  shengpt", "<Enter>"),
            ("其他调用方吗", "<Enter>"),
            ("备份存到哪里", "<Enter>"),
            ("y 写入", "y<Enter>"),
            ("交给对方的内容", ""),
        ],
        &["--offline"],
        false,
    );
    assert_eq!(screen.code(), 0, "{}", screen.text());
    screen.check_plain();
    for secret in ["k0uling", "mi-ma"] {
        assert!(!screen.text().contains(secret), "{secret}");
    }
    let config = root.config();
    for line in [
        "names = [\"示范医院\", \"市一院\"]",
        "interfaces = [\"ic-settlement-push\", \"ic-register-push\"]",
        "charset = \"gbk\"",
        "interface = \"ic-settlement-view\"",
        "user = \"yiyuan\"",
    ] {
        assert!(config.contains(line), "{line} in\n{config}");
    }
    assert!(!config.contains("two.example"), "{config}");
}

#[test]
fn whoever_leaves_before_the_end_leaves_nothing_behind() {
    let root = Root::new();
    let begun = [
        ("insurance code", "H1<Enter>"),
        ("names as its own", "<Enter>"),
        ("Enter goes on", "<Enter>"),
    ];
    let english = "en_US.UTF-8";
    let with = |more: &[(&'static str, &'static str)]| [&begun[..], more].concat();
    let interrupted = root.play(english, "\r", &with(&[("faces the hospital", "192<Ctrl-C>")]));
    let by_signal = -i64::from(libc::SIGINT);
    assert_eq!((interrupted.code(), &interrupted.0["echo"]), (by_signal, &json!(true)));
    assert!(interrupted.text().contains("nothing was written"), "{}", interrupted.text());
    let ended = root.play(english, "\r", &with(&[("faces the hospital", "<Ctrl-D>")]));
    assert_eq!(ended.code(), 1);
    assert!(ended.text().contains("The input ended; nothing was written"), "{}", ended.text());
    // The line breaks: the kernel sends SIGHUP.
    let steps = with(&[("faces the hospital", "")]);
    let env = json!({"LANG": english, "TERM": "dumb"});
    let broken = root.play_with(env, "\r", &steps, &[], true);
    assert_ne!(broken.code(), 0);
    // In the middle of a secret the echo comes back.
    let secret = [
        ("Language", "1<Enter>"),
        ("insurance code", "H1<Enter>"),
        ("names as its own", "<Enter>"),
        ("Enter goes on", "<Enter>"),
        ("faces the hospital", "192.0.2.10<Enter>"),
        ("faces the clouds", "<Enter>"),
        ("Names for", "<Enter>"),
        ("time server", "<Enter>"),
        ("AE title", "<Enter>"),
        ("HIS pushes", "192.0.2.20<Enter>"),
        ("token", "<Enter>"),
        ("getExamDict", "<Enter>"),
        ("getDeptInfo", "<Enter>"),
        ("database", "<Enter>"),
        ("networks", "<Enter>"),
        ("viewer", "<Enter>"),
        ("source", "<Enter>"),
        ("short name", "a<Enter>"),
        ("How studies", "<Enter>"),
        ("DICOMweb services", "http://192.0.2.9/<Enter>"),
        ("token", "abc<Ctrl-C>"),
    ];
    let hidden = root.play_with(json!({"TERM": "vt100"}), "\r", &secret, &[], false);
    assert_eq!((hidden.code(), &hidden.0["echo"]), (by_signal, &json!(true)));
    assert!(!hidden.text().contains("abc"));
    assert_eq!(root.files(), [], "nothing was written");
}

#[test]
fn bytes_that_are_no_text_and_lines_without_end_are_named_and_asked_again() {
    let root = Root::new();
    let screen = root.play_with(
        json!({"LANG": "zh_CN.UTF-8", "TERM": "dumb"}),
        "\r",
        &[
            // 中 and 医院 in GBK, as a terminal of another character set sends them; the bytes of
            // the latter could be UTF-8, too, for letters of Cyrillic and Armenian.
            ("代码", "a<D6><D0><Enter>"),
            ("byte 2: 0xD6", "<D2><BD><D4><BA><Enter>"),
            ("U+04BD", "H1<Enter>"),
            ("医院名称", "<Ctrl-C>"),
        ],
        &[],
        false,
    );
    assert_eq!(screen.code(), -i64::from(libc::SIGINT));
    assert!(screen.text().contains("已中断；未写入任何内容"), "{}", screen.text());
    // Not from a terminal: one line of 100,000 bytes, then one without an end.
    let piped = |input: &[u8]| {
        let mut program = Command::new(env!("CARGO_BIN_EXE_forepost"))
            .args(["setup", "--language", "en", "--root", root.path()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        // It may have left before it read all.
        let _ = program.stdin.take().unwrap().write_all(input);
        program.wait_with_output().unwrap()
    };
    let output = piped(&[&[b'x'; 100_000][..], b"\r\nH1\r\n"].concat());
    let text = told(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("too long (at most 4096 bytes)"), "{text}");
    assert!(text.contains("names as its own images"), "the next line was an answer: {text}");
    let output = piped(&vec![b'x'; 4_000_000]);
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    let wrong = "H 1\n".repeat(100);
    let output = piped(wrong.as_bytes());
    assert!(told(&output).contains("Too many wrong answers"), "{}", told(&output));
    assert_eq!(root.files(), []);
}

#[test]
fn an_answers_file_is_refused_whole_shown_unwritten_and_not_written_with_a_failing_peer() {
    let root = Root::new();
    let bad = "[[hospital]]\ncode = \"H 1\"\n[machine]\nhospital_address = \"x\"\n[his]\n\
               token = 3\nextra = 1\n[[source]]\nname = \"a\"\nkind = \"dimse\"\n\
               url = \"http://a\"\n";
    let output = root.answer(bad, &[]);
    assert_eq!(output.status.code(), Some(64));
    let words = told(&output);
    for key in [
        "hospital[0].code",
        "machine.hospital_address",
        "his.token",
        "his.extra",
        "source[0].url",
        "source[0].address",
        "source[0].called_ae",
    ] {
        assert!(words.contains(&format!(": {key}: ")), "{key} in\n{words}");
    }
    let chinese = root.answer(bad, &["--language", "zh"]);
    assert!(told(&chinese).contains("必须填写"), "{}", told(&chinese));
    for (text, part) in [("= 1", "TOML"), ("[setup]\nlanguage = \"fr\"", "setup.language")] {
        let output = root.answer(text, &[]);
        assert_eq!(output.status.code(), Some(64), "{}", told(&output));
        assert!(told(&output).contains(part), "{}", told(&output));
    }
    let good = format!(
        "[[hospital]]\ncode = \"H1\"\n[machine]\nhospital_address = \"192.0.2.10\"\n\
         names = [\"front.local\"]\n[his]\n\
         addresses = [\"192.0.2.20\"]\n[[source]]\nname = \"a\"\ntoken = \"S3CRET\"\n\
         url = \"http://{}/\"\n",
        closed()
    );
    let shown = root.answer(&good, &["--dry-run", "--offline"]);
    let words = told(&shown);
    assert!(shown.status.success() && words.contains("[[source]]"), "{words}");
    assert!(words.contains("0640  /etc/forepost/source-a.token"), "{words}");
    assert!(!words.contains("S3CRET"), "{words}");
    let failing = root.answer(&good, &[]);
    assert_eq!(failing.status.code(), Some(1));
    let words = told(&failing);
    assert!(words.contains("[FAILED] source a") && words.contains("keep_failing_peers"), "{words}");
    assert_eq!(root.files(), [], "nothing was written");
    let kept = root.answer(&format!("[setup]\nkeep_failing_peers = true\n{good}"), &[]);
    assert!(kept.status.success(), "{}", told(&kept));
    assert!(root.config().contains("source-a.token"));
    // Other names need another authority, which must be wished.
    let other = "[machine]\nnames = [\"other.local\"]\n";
    let output = root.answer(other, &["--offline"]);
    assert_eq!(output.status.code(), Some(64));
    assert!(told(&output).contains("machine.names: "), "{}", told(&output));
    let wished = format!("[setup]\nnew_authority = true\n{other}");
    let output = root.answer(&wished, &["--offline"]);
    assert!(output.status.success(), "{}", told(&output));
    let names = fs::read_to_string(root.at("/etc/forepost/tls/names")).unwrap();
    assert_eq!(names, "other.local\n");
    // A hand's mistake in the configuration is named before anything is asked.
    let broken = root.config() + "\n[eviction]\ncolour = 1\n";
    fs::write(root.at("/etc/forepost/forepost.toml"), &broken).unwrap();
    for output in [root.answer("", &["--offline"]), setup(&["--root", root.path()])] {
        assert_eq!(output.status.code(), Some(64));
        let words = told(&output);
        assert!(words.contains("eviction.colour") && words.contains("mend this file"), "{words}");
    }
    assert_eq!(root.config(), broken);
}

/// What `systemctl` and `systemd-creds` do on a machine that has them, as far as set-up sees it:
/// each call is noted, and one may fail.
const SYSTEMCTL: &str = "#!/bin/sh\necho \"$*\" >> \"$NOTED\"\n\
                         [ \"$*\" != \"$FAILING\" ] || { echo 'Job failed.' >&2; exit 1; }\n";
const CREDS: &str = "#!/bin/sh\nif [ \"$1\" = encrypt ]; then cat > \"$4\"; else cat \"$3\"; fi\n";

/// Runs set-up as on a machine that systemd runs, in mounts of its own: `/etc` is a copy, and the
/// programs of systemd are those above. Gives its output and what systemctl was told.
fn setup_with_systemd(folder: &Path, failing: &str) -> (Output, Vec<String>) {
    use std::os::unix::fs::PermissionsExt;
    let bin = folder.join("bin");
    fs::create_dir_all(&bin).unwrap();
    for (name, text) in [("systemctl", SYSTEMCTL), ("systemd-creds", CREDS)] {
        fs::write(bin.join(name), text).unwrap();
        fs::set_permissions(bin.join(name), fs::Permissions::from_mode(0o755)).unwrap();
    }
    let answers = format!(
        "[[hospital]]\ncode = \"H1\"\n[machine]\nhospital_address = \"192.0.2.10\"\n\
         names = [\"front.local\"]\ndata = \"{0}/data\"\n\
         [his]\naddresses = [\"192.0.2.20\"]\n[backup]\nto = \"{0}/backup\"\nmounted = false\n",
        folder.display()
    );
    fs::create_dir_all(folder.join("data")).unwrap();
    fs::write(folder.join("answers.toml"), answers).unwrap();
    let noted = folder.join("noted");
    let _ = fs::remove_file(&noted);
    let script = "cp -a /etc \"$1/etc\" && mount --bind \"$1/etc\" /etc && \
                  mount -t tmpfs none /run && mkdir -p /run/systemd/system && \
                  exec \"$2\" setup --answers \"$1/answers.toml\" --offline --json";
    let path = format!("{}:{}", bin.display(), std::env::var("PATH").unwrap_or_default());
    let output = Command::new("unshare")
        .args(["--mount", "sh", "-c", script, "sh"])
        .arg(folder)
        .arg(env!("CARGO_BIN_EXE_forepost"))
        .env("PATH", path)
        .env("NOTED", &noted)
        .env("FAILING", failing)
        .output()
        .expect("unshare starts");
    let told = fs::read_to_string(&noted).unwrap_or_default();
    (output, told.lines().map(str::to_owned).collect())
}

#[test]
fn the_service_is_started_then_backed_up_then_its_keys_are_sealed() {
    let folder = tempfile::tempdir().unwrap();
    if fs::metadata(folder.path()).unwrap().uid() != 0 {
        eprintln!("not tried: only root has mounts of its own");
        return;
    }
    let (output, calls) = setup_with_systemd(folder.path(), "");
    assert!(output.status.success(), "{}", told(&output));
    let sockets = "forepost-hospital.socket forepost-hospital-tls.socket forepost-console.socket";
    let expected = [
        "daemon-reload".to_owned(),
        format!("stop forepost.service {sockets}"),
        format!("enable --now {sockets}"),
        "enable forepost.service".to_owned(),
        "restart forepost.service".to_owned(),
        "enable --now forepost-backup.timer".to_owned(),
        "start forepost-backup.service".to_owned(),
        "restart forepost.service".to_owned(),
    ];
    assert_eq!(calls, expected);
    let ending: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!((&ending["started"], &ending["failures"]), (&json!(true), &json!([])));
    let key = ending["recovery_key"].as_str().unwrap();
    assert!(key.starts_with("AGE-SECRET-KEY-1"), "what age reads");
    assert!(folder.path().join("data/keys/backup.recipients").exists());
    let sealed = folder.path().join("etc/credstore.encrypted/forepost-ledger.keys");
    assert!(sealed.exists() && !folder.path().join("data/keys/ledger.keys").exists());
    assert!(folder.path().join("backup").is_dir());
    // A service that does not start is said, with the reason; nothing is backed up or sealed.
    let folder = tempfile::tempdir().unwrap();
    let (output, calls) = setup_with_systemd(folder.path(), "restart forepost.service");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert_eq!(calls.last().unwrap(), "restart forepost.service");
    let ending: Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(ending["started"], json!(false));
    let failures = ending["failures"].to_string();
    assert!(failures.contains("systemctl restart forepost.service: Job failed."), "{failures}");
    // A backup that fails keeps the keys from being sealed.
    let folder = tempfile::tempdir().unwrap();
    let (output, _) = setup_with_systemd(folder.path(), "start forepost-backup.service");
    assert_eq!(output.status.code(), Some(1), "{}", told(&output));
    assert!(!folder.path().join("etc/credstore.encrypted/forepost-ledger.keys").exists());
}
