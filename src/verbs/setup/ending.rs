//! What is said at the end: what was written, what the doctor found, and one line for each of
//! those who must be told how to reach this machine. The lines to hand over are in both languages,
//! because who gets them is not who answered. A token is shown here once and never again.

use serde_json::{Value, json};

use super::answers::{Answers, flag, line, number, texts};
use super::any_failing;
use super::compose::Composed;
use super::limits::COLUMNS;
use super::peers;
use super::site::Site;
use super::terminal::wrapped;
use super::words::{self, Language, filled};
use super::write::{Done, Written};
use crate::catalog;
use crate::catalog::table::Address;
use crate::doctor::{Finding, Words};

/// Interfaces by which a HIS pushes, and those that clouds call.
const PUSHED: &str = "ic-register-push";
const SETTLED: &str = "ic-settlement-push";
const FETCHED: [&str; 2] = ["ic-exam-dict-get", "ic-dept-get"];

/// What has been said, as lines and as JSON.
pub struct Ending {
    /// The language of the lines.
    pub language: Language,
    /// Whether the service runs.
    pub started: bool,
    as_json: bool,
    lines: Vec<Line>,
    json: Value,
    findings: Vec<Finding>,
    failures: Vec<String>,
}

/// A line of the ending.
enum Line {
    /// For reading: it is broken where the terminal ends.
    Words(String),
    /// For copying: it stays whole.
    Whole(String),
}

/// Who is told, and what.
struct HandOver {
    zh: String,
    en: String,
}

impl Ending {
    /// Nothing yet.
    pub fn new(language: Language, as_json: bool) -> Ending {
        Ending {
            language,
            started: false,
            as_json,
            lines: Vec::new(),
            json: json!({}),
            findings: Vec::new(),
            failures: Vec::new(),
        }
    }

    /// Says something at once.
    pub fn say(&self, text: &str) {
        if !self.as_json {
            println!("{text}");
        }
    }

    fn words(&mut self, text: String) {
        self.lines.push(Line::Words(text));
    }

    fn whole(&mut self, text: String) {
        self.lines.push(Line::Whole(text));
    }

    /// Notes what the peers' checks found.
    pub fn findings(&mut self, findings: Vec<Finding>) {
        let language = self.language;
        self.lines.extend(findings.iter().map(|one| Line::Words(peers::line(one, language))));
        self.findings = findings;
    }

    /// Whether a peer fails.
    pub fn failing(&self) -> bool {
        any_failing(&self.findings)
    }

    /// Notes what the doctor found of the whole machine.
    pub fn doctor(&mut self, findings: Vec<Finding>) {
        self.words(format!("\n{}", self.language.of(&words::DOCTOR)));
        self.findings(findings);
    }

    /// Notes something that is no failure.
    pub fn note(&mut self, words: Words) {
        self.words(self.language.say(&words).to_owned());
    }

    /// Notes what went wrong.
    pub fn failed(&mut self, told: String) {
        self.words(told.clone());
        self.failures.push(told);
    }

    /// Whether something went wrong.
    pub fn has_failed(&self) -> bool {
        !self.failures.is_empty()
    }

    /// Notes the key that opens the backups.
    pub fn recovery_key(&mut self, secret: &str) {
        self.words(format!("\n{}", self.language.of(&words::RECOVERY_KEY)));
        self.whole(secret.to_owned());
        self.json["recovery_key"] = json!(secret);
    }

    /// Notes what would be written.
    pub fn planned(&mut self, composed: &Composed, files: Vec<Done>) {
        self.files(&words::WOULD_WRITE, &files);
        self.whole(format!("\n{}", composed.text));
        self.json["configuration"] = json!(composed.text);
    }

    /// Notes what was written.
    pub fn written(&mut self, written: &Written) {
        self.files(&words::WRITTEN, &written.files);
        if let Some(copy) = &written.copy {
            let shown = copy.display().to_string();
            self.note(filled(&words::PRESENT_KEPT, &shown));
            self.json["copy"] = json!(shown);
        }
    }

    fn files(&mut self, heading: &words::Text, files: &[Done]) {
        self.words(format!("\n{}", self.language.of(heading)));
        for one in files {
            let shown = one.path.display().to_string();
            match one.same {
                true => self.note(filled(&words::UNCHANGED, &shown)),
                false => self.whole(format!("  {:04o}  {shown}", one.mode)),
            }
        }
        let listed = files.iter().map(|one| {
            json!({"path": one.path, "mode": format!("{:04o}", one.mode), "unchanged": one.same})
        });
        self.json["files"] = listed.collect();
    }

    /// Notes the lines that go to others.
    pub fn hand_over(&mut self, answers: &Answers, composed: &Composed, site: &Site) {
        let places = Places::of(answers);
        self.words(format!("\n== {}", words::HAND_OVER.zh));
        let his = his_line(answers, composed, &places, site);
        self.json["his"] = json!({"zh": his.zh, "en": his.en});
        self.whole(format!("\n{}\n{}", his.zh, his.en));
        let mut clouds = Vec::new();
        for cloud in cloud_lines(answers, composed, &places, site) {
            clouds.push(json!({"zh": cloud.zh, "en": cloud.en}));
            self.whole(format!("\n{}\n{}", cloud.zh, cloud.en));
        }
        self.json["clouds"] = clouds.into();
        if let Some(archive) = archive_line(answers) {
            self.json["archives"] = json!({"zh": archive.zh, "en": archive.en});
            self.whole(format!("\n{}\n{}", archive.zh, archive.en));
        }
        let tokens = composed.tokens.iter().map(|one| (one.caller.clone(), json!(one.text)));
        self.json["tokens"] = Value::Object(tokens.collect());
        self.json["started"] = json!(self.started);
        self.next_steps(&places);
    }

    fn next_steps(&mut self, places: &Places) {
        let zh = format!(
            "\n下一步：1. 把上面的内容交给 HIS 厂商和云平台；2. 工作站打开 {}/workstation/setup；\
             3. HIS 推送一次登记后：forepost plans list；4. 有问题时：forepost doctor",
            places.hospital
        );
        let en = format!(
            "Next: 1. hand these lines over; 2. open {}/workstation/setup on a workstation; 3. \
             after the HIS pushed a registration: forepost plans list; 4. when something is \
             wrong: forepost doctor",
            places.hospital
        );
        self.words(zh);
        self.words(en);
        if !self.started {
            self.note(Words::new(words::RECOVERY_LATER.zh, words::RECOVERY_LATER.en));
        }
    }

    /// Prints it, as it was wished.
    pub fn print(&self) {
        if !self.as_json {
            for line in &self.lines {
                match line {
                    Line::Whole(text) => println!("{text}"),
                    Line::Words(text) => {
                        let parts = text.lines().flat_map(|line| wrapped(line, COLUMNS - 1));
                        parts.for_each(|part| println!("{part}"));
                    }
                }
            }
            return;
        }
        let findings = self.findings.iter().map(|one| {
            json!({
                "subject": one.subject, "step": one.step, "state": one.state.name(),
                "zh": one.words.zh, "en": one.words.en,
                "next": one.next.as_ref().map(|next| json!({"zh": next.zh, "en": next.en})),
            })
        });
        let mut all = self.json.clone();
        all["findings"] = findings.collect();
        all["failures"] = json!(self.failures);
        println!("{all}");
    }
}

/// How this machine is reached.
struct Places {
    hospital: String,
    hospital_tls: String,
    cloud: String,
    cloud_tls: String,
    cloud_address: String,
}

impl Places {
    fn of(answers: &Answers) -> Places {
        let machine = answers.one("machine");
        let at = |scheme: &str, address: &str, port: &str, usual: i64| {
            let address = line(&machine, address).unwrap_or_default();
            let host = if address.contains(':') { format!("[{address}]") } else { address };
            match number(&machine, port) {
                Some(port) if port != usual => format!("{scheme}://{host}:{port}"),
                _ => format!("{scheme}://{host}"),
            }
        };
        Places {
            hospital: at("http", "hospital_address", "hospital_port", 80),
            hospital_tls: at("https", "hospital_address", "hospital_tls_port", 443),
            cloud: at("http", "cloud_address", "cloud_port", 80),
            cloud_tls: at("https", "cloud_address", "cloud_tls_port", 443),
            cloud_address: line(&machine, "cloud_address").unwrap_or_default(),
        }
    }
}

/// The path of an interface, as the document gives it.
fn path(id: &str) -> &'static str {
    let interface =
        catalog::find(id).expect("the catalogue has the interfaces that are named here");
    let mut paths = interface.addresses.iter().filter_map(|address| match address {
        Address::Http { path, .. } => Some(*path),
        _ => None,
    });
    paths.next().unwrap_or("/")
}

/// What a caller must show: the token that was made now, or where the one before lies.
fn token(composed: &Composed, caller: &str, shows: bool, site: &Site) -> Words {
    if !shows {
        return Words::new("", "");
    }
    match composed.tokens.iter().find(|one| one.caller == caller) {
        Some(token) => Words::new(
            format!("；HTTP 头 Authorization: Bearer {}（只显示这一次）", token.text),
            format!("; header Authorization: Bearer {} (shown this once)", token.text),
        ),
        None => {
            let file = site.folder.join(format!("caller-{caller}.token"));
            let shown = file.display();
            Words::new(format!("；令牌不变，见 {shown}"), format!("; token as before, in {shown}"))
        }
    }
}

fn his_line(answers: &Answers, composed: &Composed, places: &Places, site: &Site) -> HandOver {
    let his = answers.one("his");
    let register = format!("{}{}", places.hospital, path(PUSHED));
    let sends = |id: &str| {
        let list = answers.list("destination");
        list.iter().any(|one| texts(one, "interfaces").iter().any(|known| known == id))
    };
    let settle = if sends(SETTLED) {
        let at = format!("{}{}", places.hospital, path(SETTLED));
        Words::new(format!("；结算推送 POST {at}"), format!("; settlements POST {at}"))
    } else {
        Words::new("", "")
    };
    let token = token(composed, "his", flag(&his, "token"), site);
    let page = format!("{}/workstation/setup", places.hospital);
    HandOver {
        zh: format!(
            "HIS 厂商：挂号、入院登记推送 POST {register}{}{}；工作站接入页 {page}",
            settle.zh, token.zh
        ),
        en: format!(
            "HIS vendor: registrations POST {register}{}{}; workstations' page {page}",
            settle.en, token.en
        ),
    }
}

fn archive_line(answers: &Answers) -> Option<HandOver> {
    let machine = answers.one("machine");
    let (title, address) = (line(&machine, "ae_title")?, answers.dicom_address()?);
    let port = number(&machine, "dicom_port")?;
    Some(HandOver {
        zh: format!("PACS 请用 C-ECHO 测试连通：本机 AE 标题 {title}，地址 {address}，端口 {port}"),
        en: format!("PACS: verify by C-ECHO: AE title {title}, address {address}, port {port}"),
    })
}

fn cloud_lines(
    answers: &Answers,
    composed: &Composed,
    places: &Places,
    site: &Site,
) -> Vec<HandOver> {
    let from = &places.cloud_address;
    let mut lines = Vec::new();
    for caller in answers.list("caller") {
        if line(&caller, "kind").as_deref() != Some("cloud") {
            continue;
        }
        let name = line(&caller, "name").unwrap_or_default();
        let is_plain = line(&caller, "scheme").as_deref() == Some("http");
        let base = if is_plain { &places.cloud } else { &places.cloud_tls };
        let [exam, dept] = FETCHED.map(|id| format!("{base}{}", path(id)));
        let token = token(composed, &name, true, site);
        lines.push(HandOver {
            zh: format!(
                "云平台 {name}：检查项目字典 GET {exam}；科室字典 GET {dept}{}；本机出口地址（请加入\
                 白名单）{from}",
                token.zh
            ),
            en: format!(
                "Cloud {name}: examinations GET {exam}; departments GET {dept}{}; our address for \
                 its allow-list {from}",
                token.en
            ),
        });
    }
    for source in answers.list("source") {
        if line(&source, "kind").as_deref() != Some("push") {
            continue;
        }
        let name = line(&source, "name").unwrap_or_default();
        let at = format!("{}/dicom-web/studies", places.hospital_tls);
        let token = token(composed, &name, true, site);
        lines.push(HandOver {
            zh: format!("云平台 {name}：送来影像 STOW-RS POST {at}{}", token.zh),
            en: format!("Cloud {name}: studies by STOW-RS POST {at}{}", token.en),
        });
    }
    if lines.is_empty() {
        lines.push(HandOver {
            zh: format!("云平台：本机出口地址（请加入白名单）{from}"),
            en: format!("Clouds: our address for their allow-lists {from}"),
        });
    }
    lines
}
