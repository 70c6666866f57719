//! From answers to the configuration and the files beside it.
//!
//! The present file is changed, not written anew: only entries whose answers differ from what the
//! file answers already are touched, and of those only the keys that the questions are about. So
//! keys, tables and comments that people wrote by hand stay, and who answers as before gets the
//! same file, byte for byte. Refused: a file made from the answers alone, which would lose what
//! nobody asked about. Nothing is written here; secrets are held until `write`.

mod document;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use aws_lc_rs::rand;
use toml::Table;
use toml_edit::DocumentMut;

use self::document::{Edited, entry, put, put_list, put_text, remove, table};
use super::answers::{Answers, Mistake, file_key, flag, line, number, texts};
use super::limits::TOKEN_BYTES;
use super::site::{Site, SocketUnit};
use super::words::{Text, text};
use crate::doctor::Words;

/// How the configuration begins when it is new.
const HEAD: &str = "\
# Forepost 前置机的配置，由 forepost setup 写成。可以手工修改：再次运行 forepost setup 时，
# 没有问到的键、表和注释保持原样。修改后检查：forepost check；键的说明：OPERATING.zh-CN.md
# The configuration of Forepost, written by `forepost setup`. It may be changed by hand: what is
# not asked about stays when setup runs again. Check it by `forepost check`; the keys are described
# in OPERATING.md.

";

/// What stands above the zone of archives.
const ABOUT_DICOM: Text = text("PACS 以 C-ECHO 验证连接", "Archives that verify by C-ECHO");

/// Column of the visit's date in the document's view of registrations, and days that are read.
const REGISTER_DATE: (&str, i64) = ("registDateTime", 7);

/// What is to be written.
#[derive(Debug, Default)]
pub struct Composed {
    /// The configuration.
    pub text: String,
    /// The files beside it.
    pub files: Vec<NewFile>,
    /// Tokens that were made just now.
    pub tokens: Vec<Token>,
    /// Units that hold the ports; none where the program listens by itself.
    pub units: Vec<SocketUnit>,
    /// Where authority and certificate lie.
    pub tls: PathBuf,
    /// The names that the certificate must have.
    pub names: Vec<String>,
}

/// One file.
#[derive(Debug)]
pub struct NewFile {
    /// Where, as seen from inside.
    pub path: PathBuf,
    /// Its content.
    pub text: String,
    /// Whether only root and the service may read it.
    pub secret: bool,
}

/// A token that a caller must show.
#[derive(Debug)]
pub struct Token {
    /// Whose.
    pub caller: String,
    /// The token.
    pub text: String,
}

/// Makes all that is to be written out of the present file and the answers.
pub fn compose(
    answers: &Answers,
    present: &Answers,
    text: &str,
    site: &Site,
) -> Result<Composed, Vec<Mistake>> {
    let whole = |error: String| vec![Mistake::new("TOML", Words::new(error.clone(), error))];
    let document: DocumentMut =
        text.parse().map_err(|e: toml_edit::TomlError| whole(e.to_string()))?;
    let mut work =
        Work { document, answers, present, site, done: Composed::default(), mistakes: Vec::new() };
    work.machine();
    work.hospitals();
    work.zones();
    work.his();
    work.sources();
    work.destinations();
    work.callers();
    work.databases();
    work.workstations();
    work.backups();
    if !work.mistakes.is_empty() {
        return Err(work.mistakes);
    }
    let head = if text.trim().is_empty() { HEAD } else { "" };
    work.done.text = format!("{head}{}", work.document);
    Ok(work.done)
}

struct Work<'a> {
    document: DocumentMut,
    answers: &'a Answers,
    present: &'a Answers,
    site: &'a Site,
    done: Composed,
    mistakes: Vec<Mistake>,
}

impl Work<'_> {
    fn changed(&self, section: &str) -> bool {
        self.answers.0.get(section) != self.present.0.get(section)
    }

    /// The entries of a list that differ from the present ones, and the ids of those that went.
    fn differing(&self, section: &str, id: &str) -> (Vec<Table>, Vec<String>) {
        let (new, old) = (self.answers.list(section), self.present.list(section));
        let named = |list: &[Table], name: Option<&str>| {
            list.iter().any(|one| line(one, id).as_deref() == name)
        };
        let gone = old.iter().filter_map(|one| line(one, id));
        let gone = gone.filter(|name| !named(&new, Some(name))).collect();
        (new.into_iter().filter(|one| !old.contains(one)).collect(), gone)
    }

    fn machine(&mut self) {
        if !self.changed("machine") {
            return;
        }
        let machine = self.answers.one("machine");
        let root = self.document.as_table_mut();
        put_text(root, "data", line(&machine, "data"));
        put_text(root, "time_server", line(&machine, "time_server"));
    }

    fn hospitals(&mut self) {
        let (new, gone) = self.differing("hospital", "code");
        for hospital in new {
            let code = line(&hospital, "code").unwrap_or_default();
            let about =
                text("医院：代码与影像中的名称", "A hospital: its code, its names in images");
            let Some(section) = self.entry("hospital", ("code", &code), about) else { return };
            put_list(section, "names", &texts(&hospital, "names"));
        }
        gone.iter().for_each(|code| remove(&mut self.document, "hospital", "code", code));
    }

    fn zones(&mut self) {
        let machine = self.answers.one("machine");
        let Some(at) = line(&machine, "hospital_address") else { return };
        let cloud_at = line(&machine, "cloud_address").unwrap_or_else(|| at.clone());
        self.done.names = texts(&machine, "names");
        self.done.tls = self.site.folder.join("tls");
        let schemes: Vec<String> = self.cloud_schemes();
        let has = |scheme: &str| schemes.iter().any(|one| one == scheme);
        let console_at = line(&machine, "console_address").unwrap_or_default();
        let title = line(&machine, "ae_title");
        let dicom_at = self.answers.dicom_address().unwrap_or_else(|| at.clone());
        let wanted = [
            (SocketUnit::Hospital, "hospital", "listen", &at, "hospital_port", true),
            (SocketUnit::HospitalTls, "hospital", "listen_tls", &at, "hospital_tls_port", true),
            (SocketUnit::Cloud, "cloud", "listen", &cloud_at, "cloud_port", has("http")),
            (
                SocketUnit::CloudTls,
                "cloud",
                "listen_tls",
                &cloud_at,
                "cloud_tls_port",
                has("https"),
            ),
            (SocketUnit::Console, "console", "listen", &console_at, "console_port", true),
            (SocketUnit::Dicom, "dicom", "listen", &dicom_at, "dicom_port", title.is_some()),
        ];
        let rewrite = self.changed("machine") || self.changed("caller");
        for (unit, zone, key, address, port, is_wanted) in wanted {
            let port = number(&machine, port).and_then(|port| u16::try_from(port).ok());
            let address = address.parse::<IpAddr>().ok().zip(port);
            let Some((address, port)) = address else { continue };
            let place = is_wanted.then(|| SocketAddr::new(address, port).to_string());
            let place = place.map(|place| self.held(unit, place, flag(&machine, "sockets")));
            if rewrite {
                self.listener(zone, key, place);
            }
        }
        // Where nothing is listened on without TLS, the title was never answered here.
        let was_answered = line(&self.present.one("machine"), "ae_title").is_some();
        if rewrite && (title.is_some() || was_answered) {
            let Some(zones) = self.edited("zone", document::zones) else { return };
            put_text(table(zones, "dicom", ABOUT_DICOM), "ae_title", title);
        }
        // Who brought a certificate of his own needs none of ours.
        let own = self.done.tls.join("door.pem");
        if document::certificate(&self.document).is_some_and(|path| Path::new(&path) != own) {
            self.done.names.clear();
        }
    }

    /// What the zone listens on: the address, or the unit that holds it.
    fn held(&mut self, unit: SocketUnit, place: String, sockets: bool) -> String {
        if !sockets {
            return place;
        }
        let text = format!(
            "# 由 forepost setup 写成 / written by forepost setup\n[Socket]\nListenStream=\n\
             ListenStream={place}\nFreeBind=yes\n"
        );
        self.done.files.push(NewFile { path: unit.drop_in(), text, secret: false });
        self.done.units.push(unit);
        format!("systemd:{}", unit.name())
    }

    fn listener(&mut self, zone: &str, key: &str, place: Option<String>) {
        if place.is_none() && !document::has_zone(&self.document, zone) {
            return;
        }
        let about = match zone {
            "hospital" => text("院内：HIS、PACS、工作站", "The hospital: HIS, PACS, workstations"),
            "cloud" => text("云平台来取字典", "Clouds that call in, for dictionaries"),
            "dicom" => ABOUT_DICOM,
            _ => text("管理与监控，仅本机", "Administrators and monitoring, this machine alone"),
        };
        let tls = self.site.folder.join("tls");
        let Some(zones) = self.edited("zone", document::zones) else { return };
        let section = table(zones, zone, about);
        put_text(section, key, place.clone());
        // A folder of certificates that is named by hand stays.
        if key == "listen_tls" {
            let file = |name: &str| tls.join(name).display().to_string();
            let pair = [("certificate", "door.pem"), ("certificate_key", "door.key")];
            for (key, name) in pair {
                match &place {
                    None => put_text(section, key, None),
                    Some(_) if section.contains_key(key) => {}
                    Some(_) => put_text(section, key, Some(file(name))),
                }
            }
        }
    }

    fn cloud_schemes(&self) -> Vec<String> {
        let callers = self.answers.list("caller").into_iter();
        let clouds = callers.filter(|one| line(one, "kind").as_deref() == Some("cloud"));
        clouds.filter_map(|one| line(&one, "scheme")).collect()
    }

    fn his(&mut self) {
        if !self.changed("his") {
            return;
        }
        let his = self.answers.one("his");
        let addresses = texts(&his, "addresses");
        if addresses.is_empty() && !flag(&his, "token") {
            remove(&mut self.document, "caller", "name", "his");
        } else {
            let about =
                text("HIS：推送登记与结算，登录医生", "The HIS: pushes, and logs doctors in");
            self.caller("his", &addresses, flag(&his, "token"), &["push", "logins"], about);
        }
        for (kind, key) in [("exam", "exam_dictionary_url"), ("dept", "dept_dictionary_url")] {
            self.dictionary(&his, kind, line(&his, key));
        }
    }

    fn dictionary(&mut self, his: &Table, kind: &str, url: Option<String>) {
        let name = format!("his-{kind}");
        let Some(url) = url else {
            return remove(&mut self.document, "dictionary_source", "name", &name);
        };
        let header = self.header(his, "dictionary_header", "dictionary_token", "dictionary-his");
        let hospitals = self.answers.list("hospital");
        let first = hospitals.first().and_then(|one| line(one, "code"));
        let about = text("HIS 的字典接口", "The HIS's dictionary interfaces");
        let Some(section) = self.entry("dictionary_source", ("name", &name), about) else { return };
        put_text(section, "kind", Some(kind.to_owned()));
        put_text(section, "url", Some(url));
        // With several hospitals rows without a code are the first one's, unless a hand says else.
        if hospitals.len() > 1 && !section.contains_key("hospital") {
            put_text(section, "hospital", first);
        }
        document::put_header(section, header);
    }

    /// The header's name and its file; `None` where nothing was given.
    fn header(&mut self, given: &Table, name: &str, key: &str, stem: &str) -> Header {
        let name = line(given, name).unwrap_or_else(|| "Authorization".to_owned());
        let is_bearer = name.eq_ignore_ascii_case("Authorization");
        let scheme = if is_bearer { "Bearer " } else { "" };
        let file = self.secret(given, key, &format!("{stem}.token"), scheme)?;
        Some((name, file))
    }

    /// The file of a secret that was given, or that is there already.
    fn secret(&mut self, given: &Table, key: &str, file: &str, scheme: &str) -> Option<String> {
        let path = self.site.folder.join(file);
        let text = match (line(given, key), line(given, &file_key(key))) {
            (Some(text), _) => text,
            (None, Some(known)) if Path::new(&known).starts_with(&self.site.folder) => {
                return Some(known);
            }
            (None, Some(elsewhere)) => self.read(&elsewhere)?.trim().to_owned(),
            (None, None) => return None,
        };
        let scheme = if text.contains(' ') { "" } else { scheme };
        let text = format!("{scheme}{text}\n");
        self.done.files.push(NewFile { path: path.clone(), text, secret: true });
        Some(path.display().to_string())
    }

    /// A key or certificate of somebody else: a copy, because the service sees no homes.
    fn public(&mut self, given: &Table, key: &str, file: &str) -> Option<String> {
        self.copied(given, key, file, false)
    }

    /// A copy of a file, for the service alone where it is secret.
    fn copied(&mut self, given: &Table, key: &str, file: &str, secret: bool) -> Option<String> {
        let known = line(given, key)?;
        if Path::new(&known).starts_with(&self.site.folder) {
            return Some(known);
        }
        let (path, text) = (self.site.folder.join(file), self.read(&known)?);
        self.done.files.push(NewFile { path: path.clone(), text, secret });
        Some(path.display().to_string())
    }

    /// The files of our certificate for a peer, and of its key.
    fn client(&mut self, given: &Table, stem: &str) -> [Option<String>; 2] {
        let certificate = self.public(given, "client_certificate", &format!("{stem}.client.pem"));
        [certificate, self.copied(given, "client_key", &format!("{stem}.client.key"), true)]
    }

    fn read(&mut self, path: &str) -> Option<String> {
        let read = fs::read_to_string(path);
        read.map_err(|error| {
            let words = error.to_string();
            self.mistakes.push(Mistake::new(path, Words::new(words.clone(), words)));
        })
        .ok()
    }

    /// A caller with these rights; its token is made unless there is one.
    fn caller(
        &mut self,
        name: &str,
        addresses: &[String],
        shows_token: bool,
        rights: &[&str],
        about: Text,
    ) {
        let file = self.site.folder.join(format!("caller-{name}.token"));
        let Some(section) = self.entry("caller", ("name", name), about) else { return };
        put_list(section, "addresses", addresses);
        for right in ["push", "images", "store", "logins", "dictionaries"] {
            if rights.contains(&right) {
                put(section, right, true);
            } else {
                section.remove(right);
            }
        }
        match (shows_token, section.contains_key("token_file")) {
            (true, true) => {}
            (false, _) => put_text(section, "token_file", None),
            (true, false) => {
                put_text(section, "token_file", Some(file.display().to_string()));
                let token = new_token();
                self.done.tokens.push(Token { caller: name.to_owned(), text: token.clone() });
                let text = token + "\n";
                self.done.files.push(NewFile { path: file, text, secret: true });
            }
        }
    }

    fn sources(&mut self) {
        let (new, gone) = self.differing("source", "name");
        for source in new {
            let name = line(&source, "name").unwrap_or_default();
            let kind = line(&source, "kind").unwrap_or_default();
            let stem = format!("source-{name}");
            let header = self.header(&source, "header", "token", &stem);
            let authority = self.public(&source, "ca_file", &format!("{stem}.ca.pem"));
            let client = self.client(&source, &stem);
            let about = text("影像来源，优先的在前", "Where studies are looked for, in this order");
            let Some(section) = self.entry("source", ("name", &name), about) else { return };
            put_text(section, "kind", Some(kind.clone()));
            for key in ["url", "address", "called_ae", "calling_ae"] {
                put_text(section, key, line(&source, key));
            }
            document::put_first(section, "ca_files", authority);
            document::put_client(section, client);
            document::put_header(section, header);
            document::put_patient_key(
                section,
                &line(&source, "patient_key").unwrap_or_default(),
                flag(&source, "sha256"),
            );
            if kind == "push" {
                let addresses = texts(&source, "addresses");
                let about = text("主动送影像来的云平台", "The cloud that sends studies unasked");
                self.caller(&name, &addresses, true, &["store"], about);
            }
        }
        let pushed = self.present.list("source").into_iter();
        let pushed = pushed.filter(|one| line(one, "kind").as_deref() == Some("push"));
        let pushed: Vec<String> = pushed.filter_map(|one| line(&one, "name")).collect();
        for name in gone {
            remove(&mut self.document, "source", "name", &name);
            if pushed.contains(&name) {
                remove(&mut self.document, "caller", "name", &name);
            }
        }
    }

    fn destinations(&mut self) {
        let (new, gone) = self.differing("destination", "name");
        for one in new {
            self.destination(&one);
        }
        gone.iter().for_each(|name| remove(&mut self.document, "destination", "name", name));
    }

    fn destination(&mut self, one: &Table) {
        let name = line(one, "name").unwrap_or_default();
        let stem = format!("destination-{name}");
        let login = line(one, "login").unwrap_or_default();
        let header = self.header(one, "header", "token", &stem);
        let password = self.secret(one, "password", &format!("{stem}.password"), "");
        let secrets = [("app_id", "app-id"), ("org_id", "org-id"), ("license", "license")];
        let secrets =
            secrets.map(|(key, end)| (key, self.secret(one, key, &format!("{stem}.{end}"), "")));
        let key = self.public(one, "platform_key", &format!("{stem}.rsa.pem"));
        let sm2 = self.public(one, "sm2_key", &format!("{stem}.sm2.pem"));
        let authority = self.public(one, "ca_file", &format!("{stem}.ca.pem"));
        let client = self.client(one, &stem);
        let about = text("上报平台", "A platform that takes deliveries");
        let Some(section) = self.entry("destination", ("name", &name), about) else { return };
        put_text(section, "url", line(one, "url"));
        put_list(section, "interfaces", &texts(one, "interfaces"));
        document::put_first(section, "ca_files", authority);
        document::put_client(section, client);
        document::put_header(section, header.filter(|_| login == "header"));
        let mut inner = |key: &str, pairs: Vec<(&str, Option<String>)>, wanted: bool| {
            if !wanted {
                section.remove(key);
                return;
            }
            let within = document::inner(section, key);
            pairs.into_iter().for_each(|(key, value)| put_text(within, key, value));
        };
        let user = vec![("user", line(one, "user")), ("password_file", password)];
        inner("basic", user, login == "basic");
        let mut token = vec![("url", line(one, "token_url")), ("public_key", key)];
        let names = secrets.iter().map(|(key, _)| file_key(key)).collect::<Vec<_>>();
        let files = names.iter().zip(&secrets).map(|(name, (_, file))| (&**name, file.clone()));
        token.extend(files);
        inner("token", token, login == "token");
        let wanted = sm2.is_some();
        inner("sm2", vec![("public_key", sm2)], wanted);
    }

    fn callers(&mut self) {
        let (new, gone) = self.differing("caller", "name");
        for one in new {
            let name = line(&one, "name").unwrap_or_default();
            let kind = line(&one, "kind").unwrap_or_default();
            let (rights, about): (&[&str], Text) = match kind.as_str() {
                "cloud" => (&["dictionaries"], text("来取字典的云平台", "A cloud: dictionaries")),
                "pacs" => (&["images", "store"], text("PACS", "A PACS")),
                _ => (&["images"], text("阅片软件", "A viewer")),
            };
            let shows_token = kind == "cloud" || flag(&one, "token");
            self.caller(&name, &texts(&one, "addresses"), shows_token, rights, about);
        }
        gone.iter().for_each(|name| remove(&mut self.document, "caller", "name", name));
    }

    fn databases(&mut self) {
        let (new, gone) = self.differing("database", "name");
        for one in new {
            let name = line(&one, "name").unwrap_or_default();
            let password = self.secret(&one, "password", &format!("database-{name}.password"), "");
            let about = text("HIS 的数据库", "A database of the HIS");
            let Some(section) = self.entry("databases", ("name", &name), about) else { return };
            for (key, value) in [
                ("connection", line(&one, "connection")),
                ("password_file", password),
                ("charset", line(&one, "charset").filter(|charset| charset != "wide")),
            ] {
                put_text(section, key, value);
            }
            self.views(&name, &texts(&one, "views"));
        }
        for name in gone {
            remove(&mut self.document, "databases", "name", &name);
            remove(&mut self.document, "views", "database", &name);
        }
    }

    /// The views of one database: new ones with what the document says of them, and those that are
    /// not wanted any more away.
    fn views(&mut self, database: &str, wanted: &[String]) {
        let known = document::views_of(&self.document, database);
        for interface in wanted.iter().filter(|one| !known.iter().any(|(_, id)| id == *one)) {
            let short = interface.trim_start_matches("ic-").trim_end_matches("-view");
            let name = format!("{database}-{short}");
            let about = text("定时读取的视图", "A view that is polled");
            let Some(section) = self.entry("views", ("name", &name), about) else { return };
            put_text(section, "interface", Some(interface.clone()));
            put_text(section, "database", Some(database.to_owned()));
            if interface == "ic-register-view" {
                put_text(section, "date_column", Some(REGISTER_DATE.0.to_owned()));
                put(section, "days", REGISTER_DATE.1);
            }
        }
        for (name, _) in known.iter().filter(|(_, id)| !wanted.contains(id)) {
            remove(&mut self.document, "views", "name", name);
        }
    }

    fn workstations(&mut self) {
        let workstations = self.answers.one("workstations");
        let networks = texts(&workstations, "networks");
        if self.changed("workstations") {
            if networks.is_empty() {
                remove(&mut self.document, "caller", "name", "workstations");
            } else {
                let about = text(
                    "医生工作站：登录、阅片",
                    "Doctors' workstations: they log in and see images",
                );
                self.caller("workstations", &networks, false, &["images", "logins"], about);
            }
            let viewer = line(&workstations, "viewer");
            if viewer.is_some() || self.document.contains_key("workstation") {
                let about = text("医生看到的页面", "What doctors see");
                let root = self.document.as_table_mut();
                put_text(table(root, "workstation", about), "viewer", viewer);
            }
        }
        // The first caller that fits counts, and whole networks fit many.
        document::last(&mut self.document, "caller", "workstations");
    }

    fn backups(&mut self) {
        if !self.changed("backup") {
            return;
        }
        let backup = self.answers.one("backup");
        let to = line(&backup, "to");
        if to.is_none() && !self.document.contains_key("backup") {
            return;
        }
        let about = text("每晚的备份", "Where each night's backup goes");
        let section = table(self.document.as_table_mut(), "backup", about);
        match flag(&backup, "mounted") && to.is_some() {
            true => put(section, "mounted", true),
            false => put_text(section, "mounted", None),
        }
        put_text(section, "to", to);
    }

    fn entry(&mut self, list: &str, id: (&str, &str), about: Text) -> Edited<'_> {
        let site = &self.site.config;
        let found = entry(&mut self.document, list, id, about);
        if found.is_none() {
            self.mistakes.push(Mistake::new(list, document::not_a_list(site, list)));
        }
        found
    }

    fn edited(
        &mut self,
        key: &str,
        find: impl for<'d> Fn(&'d mut DocumentMut) -> Edited<'d>,
    ) -> Edited<'_> {
        let site = &self.site.config;
        let found = find(&mut self.document);
        if found.is_none() {
            self.mistakes.push(Mistake::new(key, document::not_a_list(site, key)));
        }
        found
    }
}

type Header = Option<(String, String)>;

/// 256 bits that nobody can guess, as 64 hexadecimal digits: what can be read out on the phone.
fn new_token() -> String {
    let mut bytes = [0; TOKEN_BYTES];
    rand::fill(&mut bytes).expect("the system's random source answers after start-up");
    hex::encode(bytes)
}
