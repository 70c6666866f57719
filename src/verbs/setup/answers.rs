//! Answers: what a person typed, what a file says, and what the present configuration says, in one
//! form, checked alike.
//!
//! They are a TOML table of the sections in `questions`: a table each, or a list of tables. A
//! secret is either there as itself (`token`) or as the file that holds it (`token_file`), which is
//! how the present configuration gives it.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use ipnet::IpNet;
use toml::{Table, Value};

use super::limits::{ENTRIES_MAX, KEY_FILE_BYTES_MAX, NAME_CHARACTERS_MAX};
use super::questions::{Choice, Kind, Question, SECTIONS, Section, Standard};
use super::words::{Text, filled, text};
use crate::dicom::AeTitle;
use crate::doctor::Words;
use crate::verbs::certificate;

/// Names that stand for callers of their own, see `compose`.
pub const RESERVED: [&str; 2] = ["his", "workstations"];

/// One wrong answer.
#[derive(Debug, PartialEq)]
pub struct Mistake {
    /// Where: `source[0].url`.
    pub key: String,
    /// What is wrong, and what is allowed.
    pub words: Words,
}

impl Mistake {
    /// With its words.
    pub fn new(key: impl Into<String>, words: Words) -> Mistake {
        Mistake { key: key.into(), words }
    }
}

/// All answers.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Answers(pub Table);

impl Answers {
    /// The answers of a section that is no list.
    pub fn one(&self, section: &str) -> Table {
        self.0.get(section).and_then(Value::as_table).cloned().unwrap_or_default()
    }

    /// The entries of a section that is a list.
    pub fn list(&self, section: &str) -> Vec<Table> {
        let list = self.0.get(section).and_then(Value::as_array);
        list.into_iter().flatten().filter_map(Value::as_table).cloned().collect()
    }

    /// Sets a section.
    pub fn set(&mut self, section: &str, table: Table) {
        self.0.insert(section.to_owned(), Value::Table(table));
    }

    /// Sets a list.
    pub fn set_list(&mut self, section: &str, list: Vec<Table>) {
        let list = list.into_iter().map(Value::Table).collect();
        self.0.insert(section.to_owned(), Value::Array(list));
    }

    /// What a file says, on top of what there is; or every mistake.
    pub fn from_file(text: &str, present: &Answers) -> Result<Answers, Vec<Mistake>> {
        let mut given: Table = text.parse().map_err(|error: toml::de::Error| {
            let words = error.to_string();
            vec![Mistake::new("TOML", Words::new(words.clone(), words))]
        })?;
        let mut answers = Answers::default();
        let mut mistakes = Vec::new();
        for section in &SECTIONS {
            let value = given.remove(section.key);
            match section.identity {
                None => {
                    let (table, wrong) = as_table(section.key, value);
                    mistakes.extend(wrong);
                    let before = present.one(section.key);
                    let (done, wrong) = complete(section, section.key, table, &before);
                    mistakes.extend(wrong);
                    answers.set(section.key, done);
                }
                Some(identity) => {
                    let before = present.list(section.key);
                    let (list, wrong) = entries(section, identity, value, before);
                    mistakes.extend(wrong);
                    answers.set_list(section.key, list);
                }
            }
        }
        for key in given.keys() {
            mistakes.push(Mistake::new(key, unknown(SECTIONS.iter().map(|one| one.key))));
        }
        // What is wrong by itself is not told a second time by what follows from it.
        let section = |key: &str| key.split(['[', '.']).next().unwrap_or_default().to_owned();
        let wrong: Vec<String> = mistakes.iter().map(|one| section(&one.key)).collect();
        let across = answers.across().into_iter();
        mistakes.extend(across.filter(|one| !wrong.contains(&section(&one.key))));
        if mistakes.is_empty() { Ok(answers) } else { Err(mistakes) }
    }

    /// What is wrong between answers that are right by themselves.
    pub fn across(&self) -> Vec<Mistake> {
        let mut mistakes = Vec::new();
        if self.list("hospital").is_empty() {
            let words = Words::new("至少要有一家医院", "at least one hospital is needed");
            mistakes.push(Mistake::new("hospital", words));
        }
        let his = self.one("his");
        let views = !self.list("database").is_empty();
        if texts(&his, "addresses").is_empty() && !flag(&his, "token") && !views {
            let words = Words::new(
                "HIS 要么从这些地址推送，要么凭令牌（token = true），要么提供视图（[[database]]）",
                "the HIS pushes from these addresses, or with a token (token = true), or offers \
                 views ([[database]])",
            );
            mistakes.push(Mistake::new("his.addresses", words));
        }
        mistakes.extend(self.ports());
        mistakes.extend(self.caller_names());
        mistakes
    }

    /// Where archives verify; `None`: they need not.
    pub fn dicom_address(&self) -> Option<String> {
        let machine = self.one("machine");
        line(&machine, "ae_title")?;
        line(&machine, "dicom_address").or_else(|| line(&machine, "hospital_address"))
    }

    fn ports(&self) -> Vec<Mistake> {
        let machine = self.one("machine");
        let at = |address: &str, key: &'static str| {
            (line(&machine, address).unwrap_or_default(), number(&machine, key), key)
        };
        let all = [
            at("hospital_address", "hospital_port"),
            at("hospital_address", "hospital_tls_port"),
            at("cloud_address", "cloud_port"),
            at("cloud_address", "cloud_tls_port"),
            (
                self.dicom_address().unwrap_or_default(),
                number(&machine, "dicom_port"),
                "dicom_port",
            ),
        ];
        let taken = |at: usize| {
            let (address, port, _) = &all[at];
            port.is_some() && all[..at].iter().any(|one| one.0 == *address && one.1 == *port)
        };
        let twice = (0..all.len()).filter(|at| taken(*at));
        let words =
            || Words::new("同一地址上有两个相同的端口", "this port is there twice on one address");
        twice.map(|at| Mistake::new(format!("machine.{}", all[at].2), words())).collect()
    }

    fn caller_names(&self) -> Vec<Mistake> {
        let mut taken: Vec<String> = RESERVED.map(str::to_owned).to_vec();
        let mut mistakes = Vec::new();
        // Who pushes is a caller of the same name.
        for (at, source) in self.list("source").iter().enumerate() {
            if line(source, "kind").as_deref() != Some("push") {
                continue;
            }
            let name = line(source, "name").unwrap_or_default();
            if RESERVED.contains(&name.as_str()) {
                let words = filled(&super::words::SAME_NAME, &name);
                mistakes.push(Mistake::new(format!("source[{at}].name"), words));
            }
            taken.push(name);
        }
        for (at, caller) in self.list("caller").iter().enumerate() {
            let name = line(caller, "name").unwrap_or_default();
            if taken.contains(&name) {
                let words = filled(&super::words::SAME_NAME, &name);
                mistakes.push(Mistake::new(format!("caller[{at}].name"), words));
            }
            let is_cloud = line(caller, "kind").as_deref() == Some("cloud");
            if !is_cloud && !flag(caller, "token") && texts(caller, "addresses").is_empty() {
                mistakes.push(Mistake::new(format!("caller[{at}].addresses"), nobody()));
            }
        }
        mistakes
    }
}

/// Of a caller that neither an address nor a token tells from others.
pub fn nobody() -> Words {
    Words::new("需要来源地址、令牌，或两者", "addresses or a token are needed, or both")
}

/// A text.
pub fn line(table: &Table, key: &str) -> Option<String> {
    table.get(key).and_then(Value::as_str).map(str::to_owned)
}

/// Yes or no; no where nothing is said.
pub fn flag(table: &Table, key: &str) -> bool {
    table.get(key).and_then(Value::as_bool).unwrap_or(false)
}

/// A number.
pub fn number(table: &Table, key: &str) -> Option<i64> {
    table.get(key).and_then(Value::as_integer)
}

/// A list; empty where nothing is said.
pub fn texts(table: &Table, key: &str) -> Vec<String> {
    let list = table.get(key).and_then(Value::as_array);
    list.into_iter().flatten().filter_map(Value::as_str).map(str::to_owned).collect()
}

/// The key that names the file of a secret.
pub fn file_key(key: &str) -> String {
    format!("{key}_file")
}

/// Whether a question is asked at all, by the answers before it.
pub fn applies(question: &Question, table: &Table) -> bool {
    question.when.is_none_or(|(key, values)| {
        if values.is_empty() {
            return table.contains_key(key);
        }
        line(table, key).is_some_and(|answer| values.contains(&answer.as_str()))
    })
}

/// What holds for a question without an answer; `None` where nothing does.
pub fn standard(question: &Question, table: &Table) -> Option<Value> {
    match question.standard {
        Standard::Needed | Standard::Nothing => None,
        Standard::Is(text) => typed(question.kind, text).ok(),
        Standard::Found => found(question.key, table),
    }
}

/// The other address is the same where there is one card; the certificate is for the addresses
/// and for the machine's own name.
fn found(key: &str, table: &Table) -> Option<Value> {
    let hospital = line(table, "hospital_address")?;
    if key == "cloud_address" {
        return Some(Value::String(hospital));
    }
    let mut names = vec![hospital];
    names.extend(line(table, "cloud_address").filter(|cloud| *cloud != names[0]));
    let own = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let own = own.trim();
    if certificate::is_name(own) && own.parse::<IpAddr>().is_err() && own != "localhost" {
        names.push(own.to_ascii_lowercase());
    }
    Some(Value::Array(names.into_iter().map(Value::String).collect()))
}

/// The entries of a list in a file: those that are there already with what the file says of them,
/// then its new ones. None is taken away: a file may be about one cloud alone.
fn entries(
    section: &'static Section,
    identity: &'static str,
    value: Option<Value>,
    mut present: Vec<Table>,
) -> (Vec<Table>, Vec<Mistake>) {
    let mut mistakes = Vec::new();
    let given = match value {
        None => Vec::new(),
        Some(Value::Array(list)) => list,
        Some(_) => {
            let words = Words::new("应为列表：[[…]]", "expected a list of tables: [[…]]");
            mistakes.push(Mistake::new(section.key, words));
            Vec::new()
        }
    };
    let mut seen: Vec<String> = Vec::new();
    for (at, value) in given.into_iter().enumerate() {
        let key = format!("{}[{at}]", section.key);
        let (table, wrong) = as_table(&key, Some(value));
        mistakes.extend(wrong);
        let name = line(&table, identity);
        let place = present.iter().position(|one| name.is_some() && line(one, identity) == name);
        let before = place.map(|place| present[place].clone()).unwrap_or_default();
        let (done, wrong) = complete(section, &key, table, &before);
        mistakes.extend(wrong);
        if let Some(name) = name.filter(|name| seen.contains(name)) {
            let words = filled(&super::words::SAME_NAME, &name);
            mistakes.push(Mistake::new(format!("{key}.{identity}"), words));
        }
        seen.extend(line(&done, identity));
        match place {
            Some(place) => present[place] = done,
            None => present.push(done),
        }
    }
    if present.len() > ENTRIES_MAX {
        let most = ENTRIES_MAX.to_string();
        let words = filled(&text("最多 {} 个", "at most {}"), &most);
        mistakes.push(Mistake::new(section.key, words));
    }
    (present, mistakes)
}

fn as_table(key: &str, value: Option<Value>) -> (Table, Option<Mistake>) {
    match value {
        None => (Table::new(), None),
        Some(Value::Table(table)) => (table, None),
        Some(_) => {
            let words = Words::new("应为表：[…]", "expected a table: […]");
            (Table::new(), Some(Mistake::new(key, words)))
        }
    }
}

/// One table with every answer checked, what was answered before, and what holds otherwise.
pub fn complete(
    section: &'static Section,
    path: &str,
    mut given: Table,
    before: &Table,
) -> (Table, Vec<Mistake>) {
    let (mut done, mut mistakes) = (Table::new(), Vec::new());
    for question in section.questions {
        let key = format!("{path}.{}", question.key);
        let secret_key = file_key(question.key);
        let kept = if question.kind == Kind::Secret { given.remove(&secret_key) } else { None };
        let value = given.remove(question.key);
        if !applies(question, &done) {
            if value.is_some() || kept.is_some() {
                mistakes.push(Mistake::new(key, elsewhere(question)));
            }
            continue;
        }
        let taken = match (value, kept) {
            (Some(value), None) => checked(question.kind, value).map(|v| (question.key, v)),
            (None, Some(value)) => checked(Kind::File, value).map(|v| (secret_key.as_str(), v)),
            (Some(_), Some(_)) => {
                let words = "either the secret or its file, not both";
                Err(Words::new("写值或写文件，不能都写", words))
            }
            (None, None) => {
                let own = before.get(question.key).map(|value| (question.key, value.clone()));
                let file = || Some((secret_key.as_str(), before.get(&secret_key)?.clone()));
                let found = || Some((question.key, standard(question, &done)?));
                match own.or_else(file).or_else(found) {
                    Some(pair) => Ok(pair),
                    None if question.standard == Standard::Needed => {
                        Err(Words::new("必须填写", "is missing"))
                    }
                    None => continue,
                }
            }
        };
        match taken {
            Ok((key, value)) => {
                done.insert(key.to_owned(), value);
            }
            Err(words) => mistakes.push(Mistake::new(key, words)),
        }
    }
    for key in given.keys() {
        let known = section.questions.iter().map(|one| one.key);
        mistakes.push(Mistake::new(format!("{path}.{key}"), unknown(known)));
    }
    (done, mistakes)
}

fn elsewhere(question: &Question) -> Words {
    let (key, values) = question.when.unwrap_or_default();
    if values.is_empty() {
        return Words::new(format!("只与 {key} 一起填写"), format!("goes with {key} alone"));
    }
    let values = values.join(", ");
    Words::new(format!("只在 {key} = {values} 时填写"), format!("goes with {key} = {values} alone"))
}

fn unknown<'a>(known: impl Iterator<Item = &'a str>) -> Words {
    let known = known.collect::<Vec<_>>().join(", ");
    Words::new(format!("没有这个键；可用：{known}"), format!("is not known here; known: {known}"))
}

/// A value of a file.
fn checked(kind: Kind, value: Value) -> Result<Value, Words> {
    match (kind, value) {
        (Kind::Flag, Value::Boolean(flag)) => Ok(Value::Boolean(flag)),
        (Kind::Flag, _) => Err(Words::new("应为 true 或 false", "expected true or false")),
        (Kind::Port, Value::Integer(port)) => port_value(port),
        (Kind::Port, _) => port_value(0),
        (kind, Value::Array(list)) if is_list(kind) => {
            let item = |one: &Value| match one {
                Value::String(text) => read(kind, text.trim()),
                _ => Err(Words::new("应为文本列表", "expected a list of texts")),
            };
            let list: Result<Vec<String>, Words> = list.iter().map(item).collect();
            Ok(Value::Array(list?.into_iter().map(Value::String).collect()))
        }
        (kind, Value::String(text)) => typed(kind, text.trim()),
        (kind, _) if is_list(kind) => Err(Words::new("应为文本列表", "expected a list of texts")),
        _ => Err(Words::new("应为文本", "expected a text")),
    }
}

/// Whether an answer is a list.
pub fn is_list(kind: Kind) -> bool {
    matches!(kind, Kind::Some(_) | Kind::Nets | Kind::Lines | Kind::Hosts)
}

/// An answer as it is typed: lists with commas between, yes and no as one likes.
pub fn typed(kind: Kind, text: &str) -> Result<Value, Words> {
    match kind {
        Kind::Flag => match text.to_lowercase().as_str() {
            "y" | "yes" | "true" | "是" => Ok(Value::Boolean(true)),
            "n" | "no" | "false" | "否" => Ok(Value::Boolean(false)),
            _ => Err(Words::new("请回答 y 或 n", "expected y or n")),
        },
        Kind::Port => port_value(text.parse().unwrap_or(0)),
        kind if is_list(kind) => {
            let blank = |sign: char| sign == ' ' && kind != Kind::Lines;
            let parts = text.split(|sign: char| ",，、;；".contains(sign) || blank(sign));
            let parts = parts.map(str::trim).filter(|part| !part.is_empty());
            let list: Result<Vec<String>, Words> = parts.map(|part| read(kind, part)).collect();
            Ok(Value::Array(list?.into_iter().map(Value::String).collect()))
        }
        kind => Ok(Value::String(read(kind, text)?)),
    }
}

fn port_value(port: i64) -> Result<Value, Words> {
    let is_port = (1..=65_535).contains(&port);
    let words = || Words::new("应为 1 到 65535 的端口", "expected a port from 1 to 65535");
    is_port.then_some(Value::Integer(port)).ok_or_else(words)
}

/// One text, or one item of a list.
fn read(kind: Kind, text: &str) -> Result<String, Words> {
    let plain = || !text.is_empty() && !text.chars().any(char::is_control);
    let good = match kind {
        Kind::Code => is_code(text),
        Kind::Name => is_entry_name(text),
        Kind::Line | Kind::Lines | Kind::Secret => plain(),
        Kind::One(choices) | Kind::Some(choices) => return chosen(choices, text),
        Kind::Ip => text.parse::<IpAddr>().is_ok_and(|address| !address.is_unspecified()),
        Kind::Nets => text.parse::<IpNet>().is_ok() || text.parse::<IpAddr>().is_ok(),
        Kind::Hosts => certificate::is_name(text),
        Kind::Host => certificate::is_name(text) || is_host_and_port(text),
        Kind::HostPort => is_host_and_port(text),
        Kind::Url => is_url(text),
        Kind::Viewer => is_url(text) && text.contains("{study}"),
        Kind::Title => AeTitle::try_from(text).is_ok(),
        Kind::File => return file(text),
        Kind::Path => Path::new(text).is_absolute() && plain(),
        Kind::Flag | Kind::Port => false,
    };
    if good { Ok(text.to_owned()) } else { Err(expected(kind)) }
}

/// What an answer of that kind must be.
fn expected(kind: Kind) -> Words {
    let of = |zh: &str, en: &str| Words::new(zh, format!("expected {en}"));
    match kind {
        Kind::Code => {
            of("应为字母和数字，例如 H45010000001", "letters and digits, such as H45010000001")
        }
        Kind::Name => of(
            "应为小写字母、数字、- 和 _，以字母开头，最多 32 个",
            "small letters, digits, - and _, a letter first, at most 32",
        ),
        Kind::Ip => of("应为地址，例如 192.0.2.10", "an address, such as 192.0.2.10"),
        Kind::Nets => of(
            "应为地址或网段，例如 192.0.2.20 或 192.0.2.0/24",
            "addresses or networks, such as 192.0.2.20 or 192.0.2.0/24",
        ),
        Kind::Hosts => of(
            "应为主机名或地址，例如 forepost.hospital.local",
            "host names or addresses, such as forepost.hospital.local",
        ),
        Kind::Host => of(
            "应为主机名或地址，可带端口，例如 ntp.hospital.local",
            "a host, or a host with a port, such as ntp.hospital.local",
        ),
        Kind::HostPort => of(
            "应为主机名和端口，例如 pacs.north.example:104",
            "a host with a port, such as pacs.north.example:104",
        ),
        Kind::Url => of(
            "应为 http:// 或 https:// 开头的网址，不含用户名",
            "an address that begins with http:// or https://, without a user in it",
        ),
        Kind::Viewer => of("应为含 {study} 的网址", "an http or https address with {study} in it"),
        Kind::Title => of(
            "AE 标题为 1 到 16 个 ASCII 字符，不含反斜杠",
            "an AE title: 1 to 16 characters of ASCII without a backslash",
        ),
        Kind::Path => of("应为绝对路径", "an absolute path"),
        _ => of("应为不含控制字符的文本", "a text without control characters"),
    }
}

fn is_code(text: &str) -> bool {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_';
    (1..=NAME_CHARACTERS_MAX).contains(&text.len()) && text.bytes().all(plain)
}

/// Whether an entry may be called so.
pub fn is_entry_name(text: &str) -> bool {
    let plain = |byte: u8| {
        byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_'
    };
    (1..=NAME_CHARACTERS_MAX).contains(&text.len())
        && text.bytes().all(plain)
        && text.as_bytes()[0].is_ascii_lowercase()
}

fn is_host_and_port(text: &str) -> bool {
    text.rsplit_once(':').is_some_and(|(host, port)| {
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        let named = match bare {
            Some(inner) => inner.parse::<std::net::Ipv6Addr>().is_ok(),
            None => !host.contains(':') && certificate::is_name(host),
        };
        named && port.parse::<u16>().is_ok_and(|port| port != 0)
    })
}

fn is_url(text: &str) -> bool {
    let plain = !text.chars().any(|sign| sign.is_whitespace() || sign.is_control());
    plain
        && reqwest::Url::parse(text).is_ok_and(|url| {
            let web = url.scheme() == "http" || url.scheme() == "https";
            web && url.host_str().is_some() && url.username().is_empty() && url.password().is_none()
        })
}

/// By its number, counted from one, or by its value.
fn chosen(choices: &[Choice], text: &str) -> Result<String, Words> {
    let by_number = text.parse::<usize>().ok().and_then(|at| choices.get(at.checked_sub(1)?));
    let by_value = || choices.iter().find(|one| one.value == text);
    match by_number.or_else(by_value) {
        Some(choice) => Ok(choice.value.to_owned()),
        None => {
            let known = choices.iter().map(|one| one.value).collect::<Vec<_>>().join(", ");
            Err(filled(&text_of_choice(), &known))
        }
    }
}

fn text_of_choice() -> Text {
    text("应为以下之一：{}", "expected one of {}")
}

/// A file that is there and can be read.
fn file(text: &str) -> Result<String, Words> {
    let path = PathBuf::from(text);
    let fault = match std::fs::metadata(&path) {
        _ if !path.is_absolute() => Some("an absolute path is needed".to_owned()),
        Err(error) => Some(error.to_string()),
        Ok(found) if !found.is_file() => Some("not a file".to_owned()),
        Ok(found) if found.len() > KEY_FILE_BYTES_MAX => {
            Some(format!("more than {KEY_FILE_BYTES_MAX} bytes"))
        }
        Ok(_) => std::fs::File::open(&path).err().map(|error| error.to_string()),
    };
    match fault {
        None => Ok(text.to_owned()),
        Some(fault) => Err(Words::new(
            format!("读不到文件 {text}：{fault}"),
            format!("the file {text} cannot be read: {fault}"),
        )),
    }
}
