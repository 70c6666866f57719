//! Reading a TOML table key by key, so that every mistake is found and nothing is left over.

use std::cell::RefCell;
use std::net::IpAddr;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use ipnet::IpNet;
use secrecy::SecretString;
use toml::de::{DeTable, DeValue};
use toml::{Spanned, Table, Value};

use super::Listen;
use crate::model::IdentifierKind;

/// The list that all sections of one file write to.
pub(super) struct Mistakes {
    file: String,
    text: String,
    /// Full keys with what is wrong.
    list: RefCell<Vec<(String, String)>>,
    paths: RefCell<Vec<PathBuf>>,
}

impl Mistakes {
    pub fn new(file: &str, text: &str) -> Mistakes {
        Mistakes {
            file: file.to_owned(),
            text: text.to_owned(),
            list: RefCell::default(),
            paths: RefCell::default(),
        }
    }

    /// Every path that a key gave, in the order of reading.
    pub fn paths(&self) -> Vec<PathBuf> {
        self.paths.borrow().clone()
    }

    /// `file:line: key: words` each; of a key that is missing, the line of its table.
    pub fn into_list(self) -> Vec<String> {
        let list = self.list.into_inner();
        if list.is_empty() {
            return Vec::new();
        }
        let parsed = DeTable::parse(&self.text).ok();
        let line = |key: &str| {
            let at = parsed.as_ref().map_or(0, |root| offset_of(root, key));
            1 + self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count()
        };
        let shown = |(key, words): (String, String)| {
            format!("{}:{}: {key}: {words}", self.file, line(&key))
        };
        list.into_iter().map(shown).collect()
    }
}

/// Where a full key stands in the text, or the innermost table around it that does.
fn offset_of(root: &Spanned<DeTable<'_>>, key: &str) -> usize {
    let mut at = 0;
    let mut table = root.get_ref();
    for segment in key.split('.') {
        let (name, place) = segment.split_once('[').unwrap_or((segment, ""));
        let Some((own, mut value)) = table.get_key_value(name) else { return at };
        at = own.span().start;
        if let (DeValue::Array(list), Ok(place)) =
            (value.get_ref(), place.trim_end_matches(']').parse::<usize>())
            && let Some(one) = list.get(place)
        {
            (value, at) = (one, one.span().start);
        }
        let DeValue::Table(inner) = value.get_ref() else { return at };
        table = inner;
    }
    at
}

/// A table from which known keys are taken. What is left at [`Section::end`] is unknown.
pub(super) struct Section<'a> {
    path: String,
    table: Table,
    /// The keys that were asked for.
    known: Vec<String>,
    mistakes: &'a Mistakes,
}

impl<'a> Section<'a> {
    pub fn root(table: Table, mistakes: &'a Mistakes) -> Section<'a> {
        Section { path: String::new(), table, known: Vec::new(), mistakes }
    }

    pub fn mistake(&self, key: &str, words: &str) {
        self.mistakes.list.borrow_mut().push((self.full(key), words.to_owned()));
    }

    fn take(&mut self, key: &str) -> Option<Value> {
        if !self.known.iter().any(|known| known == key) {
            self.known.push(key.to_owned());
        }
        self.table.remove(key)
    }

    /// Notes that `key` is needed, and gives an empty value to go on with.
    pub fn missing<T: Default>(&self, key: &str) -> T {
        // A key of the wrong type has been complained of already.
        let full = self.full(key);
        if !self.mistakes.list.borrow().iter().any(|(noted, _)| *noted == full) {
            self.mistake(key, "is missing");
        }
        T::default()
    }

    pub fn text(&mut self, key: &str) -> Option<String> {
        match self.take(key)? {
            Value::String(text) if !text.trim().is_empty() => Some(text),
            _ => self.expected(key, "a text"),
        }
    }

    pub fn path(&mut self, key: &str) -> Option<PathBuf> {
        let path = self.text(key).map(PathBuf::from)?;
        self.mistakes.paths.borrow_mut().push(path.clone());
        Some(path)
    }

    pub fn flag(&mut self, key: &str) -> Option<bool> {
        match self.take(key)? {
            Value::Boolean(flag) => Some(flag),
            _ => self.expected(key, "true or false"),
        }
    }

    pub fn number(&mut self, key: &str, min: i64, max: i64) -> Option<i64> {
        match self.take(key)? {
            Value::Integer(number) if (min..=max).contains(&number) => Some(number),
            _ => self.expected(key, &format!("a number from {min} to {max}")),
        }
    }

    pub fn texts(&mut self, key: &str) -> Option<Vec<String>> {
        let Value::Array(list) = self.take(key)? else {
            return self.expected(key, "a list of texts");
        };
        let texts: Option<Vec<String>> =
            list.iter().map(|one| one.as_str().map(str::to_owned)).collect();
        texts.or_else(|| self.expected(key, "a list of texts"))
    }

    /// The contents of a list of text files, one after another; empty when it is missing.
    pub fn files(&mut self, key: &str) -> String {
        let mut all = String::new();
        for path in self.texts(key).unwrap_or_default() {
            self.mistakes.paths.borrow_mut().push(PathBuf::from(&path));
            match std::fs::read_to_string(&path) {
                Ok(text) => all.push_str(&text),
                Err(error) => self.mistake(key, &format!("{path}: {error}")),
            }
            all.push('\n');
        }
        all
    }

    /// An address to listen on, or the name of a socket that systemd passes.
    pub fn listen(&mut self, key: &str) -> Option<Listen> {
        let text = self.text(key)?;
        // A name as `FileDescriptorName=` takes it (systemd.socket(5)).
        let named = text.strip_prefix("systemd:").filter(|name| {
            let fits = |c: char| c.is_ascii_graphic() && c != ':';
            !name.is_empty() && name.len() <= 255 && name.chars().all(fits)
        });
        let passed = named.map(|name| Listen::Passed(name.to_owned()));
        let parsed = passed.or_else(|| text.parse().ok().map(Listen::Address));
        parsed.or_else(|| {
            let what = "an address with a port, such as 192.0.2.7:8080, or systemd:NAME for a \
                        socket that systemd passes";
            self.expected(key, what)
        })
    }

    /// A list of addresses or networks; empty when it is missing.
    pub fn nets(&mut self, key: &str) -> Vec<IpNet> {
        let texts = self.texts(key).unwrap_or_default();
        let read = |text: &String| {
            let address = || text.parse::<IpAddr>().ok().map(IpNet::from);
            text.parse::<IpNet>().ok().or_else(address)
        };
        let nets: Option<Vec<IpNet>> = texts.iter().map(read).collect();
        nets.or_else(|| self.expected(key, "addresses or networks, such as 192.0.2.0/24"))
            .unwrap_or_default()
    }

    pub fn kinds(&mut self, key: &str) -> Option<Vec<IdentifierKind>> {
        let texts = self.texts(key)?;
        let kinds: Option<Vec<_>> =
            texts.iter().map(|text| IdentifierKind::from_name(text)).collect();
        kinds.or_else(|| {
            let known: Vec<_> = IdentifierKind::ALL.iter().map(|kind| kind.name()).collect();
            self.expected(key, &format!("a list of {}", known.join(", ")))
        })
    }

    /// The content of a file that is not for everybody: its owner may read it, and its group (root
    /// owns it and the service's group reads it).
    pub fn secret(&mut self, key: &str) -> Option<SecretString> {
        let path = self.path(key)?;
        let shown = path.display();
        let mode = match std::fs::metadata(&path) {
            Ok(found) => found.mode() & 0o777,
            Err(error) => return self.expected_file(key, &format!("{shown}: {error}")),
        };
        if mode & 0o007 != 0 {
            let words = format!("{shown} has mode {mode:o}, open to everybody: chmod 640 it");
            return self.expected_file(key, &words);
        }
        match std::fs::read_to_string(&path) {
            Ok(text) => Some(SecretString::from(text.trim().to_owned())),
            Err(error) => self.expected_file(key, &format!("{shown}: {error}")),
        }
    }

    /// `[[header]]` tables: `name` and `value_file`.
    pub fn secret_headers(&mut self) -> Vec<(String, SecretString)> {
        let mut headers = Vec::new();
        for mut section in self.sections("header") {
            let name = section.text("name").unwrap_or_else(|| section.missing("name"));
            match section.secret("value_file") {
                Some(value) => headers.push((name, value)),
                None => section.missing("value_file"),
            }
            section.end();
        }
        headers
    }

    /// A table of its own; an empty one when it is missing.
    pub fn section(&mut self, key: &str) -> Section<'a> {
        let table = match self.take(key) {
            None => Table::new(),
            Some(Value::Table(table)) => table,
            Some(_) => self.expected(key, "a table").unwrap_or_default(),
        };
        Section { path: self.full(key), table, known: Vec::new(), mistakes: self.mistakes }
    }

    /// A table of its own, if it is there.
    pub fn section_if(&mut self, key: &str) -> Option<Section<'a>> {
        self.table.contains_key(key).then(|| self.section(key))
    }

    /// Every key of this table with its text.
    pub fn text_pairs(mut self) -> Vec<(String, String)> {
        let keys: Vec<String> = self.table.keys().cloned().collect();
        let pairs = keys.into_iter().filter_map(|key| Some((key.clone(), self.text(&key)?)));
        pairs.collect()
    }

    /// A list of tables; empty when it is missing.
    pub fn sections(&mut self, key: &str) -> Vec<Section<'a>> {
        let list = match self.take(key) {
            None => return Vec::new(),
            Some(Value::Array(list)) => list,
            Some(_) => return self.expected(key, "a list of tables").unwrap_or_default(),
        };
        let mut sections = Vec::new();
        for (at, value) in list.into_iter().enumerate() {
            let path = self.full(&format!("{key}[{at}]"));
            match value {
                Value::Table(table) => {
                    let (known, mistakes) = (Vec::new(), self.mistakes);
                    sections.push(Section { path, table, known, mistakes });
                }
                _ => self.mistake(key, "expected a list of tables"),
            }
        }
        sections
    }

    /// Complains of keys that belong elsewhere, in these words, and takes them.
    pub fn foreign(&mut self, keys: &[&str], words: &str) {
        for key in keys {
            if self.table.remove(*key).is_some() {
                self.mistake(key, words);
            }
        }
    }

    /// Complains of every key that nobody took.
    pub fn end(mut self) {
        self.known.sort_unstable();
        let known = self.known.join(", ");
        for key in self.table.keys() {
            self.mistake(key, &format!("is not known here; known are {known}"));
        }
    }

    fn full(&self, key: &str) -> String {
        if self.path.is_empty() { key.to_owned() } else { format!("{}.{key}", self.path) }
    }

    fn expected<T>(&self, key: &str, what: &str) -> Option<T> {
        self.mistake(key, &format!("expected {what}"));
        None
    }

    fn expected_file<T>(&self, key: &str, words: &str) -> Option<T> {
        self.mistake(key, words);
        None
    }
}
