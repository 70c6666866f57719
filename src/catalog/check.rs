//! The interpreter: checks a body against its interface and collects every fault.
//!
//! What always holds: it never stops at the first fault; a fault names the field, the rule
//! and the section, and never holds a value, because values are about people. A value that
//! is kept although something is wrong with it is marked unusable and reads as absent.
//! An XML body is checked as the object that its elements make: an element with attributes
//! is `{"#text": …, "@name": …}`.
//! What was refused: stopping early to save time (the sender would need one round a fault),
//! and rules as code (a hospital could not switch them).
//! Start reading at [`check`].

use std::borrow::Cow;

use serde_json::{Map, Value};

use super::overlay::Overlay;
use super::record::Record;
use super::table::{
    AnswerForm, Condition, Field, Interface, Kind, Level, Mode, Rule, TEXT_CHARS_MAX, Type,
};
use crate::codec::json::is_blank;
use crate::codec::time::{parse_date, parse_datetime, parse_time};

/// Most faults and warnings that one body gets; a body of 1,000 broken rows says no more.
const FAULTS_MAX: usize = 200;

/// Most unknown names that are kept of one record.
const UNKNOWN_MAX: usize = 50;

/// Longest unknown name that is told, in characters.
const UNKNOWN_CHARS_MAX: usize = 64;

/// Integers beyond this lose digits as a JSON number: 2^53.
const EXACT_MAX: f64 = 9_007_199_254_740_992.0;

/// What became of a body.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Checked {
    /// What could be read.
    pub record: Record,
    /// Why the body is refused; empty: it is accepted.
    pub faults: Vec<FieldFault>,
    /// What is wrong with it all the same.
    pub warnings: Vec<FieldFault>,
}

/// One thing that is wrong with a body. Holds no value of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct FieldFault {
    /// Place in the body, list places counted from 0: `examList[1].examCode`.
    pub field: String,
    /// What is wrong.
    pub kind: Kind,
    /// Id of the rule, as an overlay names it.
    pub rule: String,
    /// Name of the document.
    pub document: &'static str,
    /// Its section.
    pub section: &'static str,
    /// For the caller: `patientName:不能为空`.
    pub message_zh: String,
    /// For the log: `patientName: missing`.
    pub message_en: String,
}

/// Checks the record of a request, a query or a view row.
pub fn check(
    interface: &'static Interface,
    value: &Value,
    mode: Mode,
    overlay: &Overlay,
) -> Checked {
    let mut walk = Walk::new(interface, mode, overlay);
    walk.body(interface.fields, interface.rules, value)
}

/// Checks an answer that a platform gave: all faults are warnings, because what was answered
/// is recorded and never refused for its form.
pub fn check_answer(
    interface: &'static Interface,
    form: &'static AnswerForm,
    value: &Value,
    overlay: &Overlay,
) -> Checked {
    let mut checked = Walk::new(interface, Mode::Lenient, overlay).body(form.fields, &[], value);
    checked.warnings.append(&mut checked.faults);
    checked
}

/// The records of a body: itself, or, for an interface that takes several, the elements of a
/// list, or of a list under one of its keys.
pub fn bodies<'a>(interface: &Interface, value: &'a Value) -> Vec<&'a Value> {
    let Some(keys) = interface.batch else { return vec![value] };
    let list = match value {
        Value::Array(list) => Some(list),
        Value::Object(map) => keys.iter().find_map(|key| map.get(*key)?.as_array()),
        _ => None,
    };
    list.map_or_else(|| vec![value], |list| list.iter().collect())
}

/// The same, to be changed.
pub fn bodies_mut<'a>(interface: &Interface, value: &'a mut Value) -> Vec<&'a mut Value> {
    let key = interface.batch.and_then(|keys| {
        keys.iter().find(|key| value.get(**key).is_some_and(Value::is_array)).copied()
    });
    let list = match (interface.batch, key) {
        (Some(_), Some(key)) => value.get_mut(key),
        (Some(_), None) if value.is_array() => Some(value),
        _ => return vec![value],
    };
    let list = list.and_then(Value::as_array_mut);
    list.map_or_else(Vec::new, |list| list.iter_mut().collect())
}

/// The level of a kind of fault in a field without an overlay.
pub(super) fn level_of(field: &Field, kind: Kind, mode: Mode) -> Level {
    let own = field.levels.iter().find(|it| it.kind == kind && it.mode == mode);
    own.map_or_else(|| kind.level(mode), |it| it.level)
}

struct Walk<'a> {
    interface: &'static Interface,
    mode: Mode,
    overlay: &'a Overlay,
    faults: Vec<FieldFault>,
    warnings: Vec<FieldFault>,
    unknown: Vec<String>,
}

impl<'a> Walk<'a> {
    fn new(interface: &'static Interface, mode: Mode, overlay: &'a Overlay) -> Self {
        Self {
            interface,
            mode,
            overlay,
            faults: Vec::new(),
            warnings: Vec::new(),
            unknown: Vec::new(),
        }
    }

    fn body(&mut self, fields: &'static [Field], rules: &'static [Rule], value: &Value) -> Checked {
        let mut record = Record::default();
        match value {
            Value::Object(map) => {
                self.object(fields, map, "", &mut record);
                rules.iter().for_each(|rule| self.choice(rule, &record));
                self.report_unknown();
            }
            _ => {
                let id = self.interface.id;
                let rule = format!("{id}.body.{}", Kind::Type.word());
                let (zh, en) = ("应为一个对象", "got another value when expecting an object");
                self.tell(Level::Reject, Kind::Type, rule, "body".into(), zh, en);
            }
        }
        for name in std::mem::take(&mut self.unknown) {
            record.put_unknown(name);
        }
        Checked {
            record,
            faults: std::mem::take(&mut self.faults),
            warnings: std::mem::take(&mut self.warnings),
        }
    }

    fn object(
        &mut self,
        fields: &'static [Field],
        map: &Map<String, Value>,
        prefix: &str,
        record: &mut Record,
    ) {
        for field in fields {
            let value = lookup(field, map).filter(|it| !is_absent(it));
            match value {
                Some(value) => self.field(field, value, prefix, record),
                None if field.required && holds(field.when.as_ref(), fields, map) => {
                    self.fault(field, Kind::Required, prefix, "不能为空", "missing");
                }
                None => {}
            }
        }
        for name in map.keys().filter(|name| !fields.iter().any(|it| names(it, name))) {
            // The text of an XML element that has attributes is read by its own field.
            let told = format!("{}{}", without_places(prefix), tellable(name));
            let known = name == "#text" || self.unknown.contains(&told);
            if !known && self.unknown.len() < UNKNOWN_MAX {
                self.unknown.push(told);
            }
        }
    }

    fn field(&mut self, field: &'static Field, value: &Value, prefix: &str, record: &mut Record) {
        match (field.kind, value) {
            (Type::List | Type::Texts, _) => self.list(field, value, prefix, record),
            (Type::Object, Value::Object(map)) => {
                let below = format!("{prefix}{}.", field.name);
                self.object(field.children, map, &below, record);
            }
            (Type::Object, _) => {
                self.fault(field, Kind::Type, prefix, "应为对象", "not an object");
            }
            (_, Value::Object(map)) if !field.children.is_empty() => {
                if let Some(text) = map.get("#text").filter(|it| !is_absent(it)) {
                    self.text(field, text, prefix, record);
                } else if field.required {
                    self.fault(field, Kind::Required, prefix, "不能为空", "missing");
                }
                let below = format!("{prefix}{}", field.name);
                self.object(field.children, map, &below, record);
            }
            _ => self.text(field, value, prefix, record),
        }
    }

    fn list(&mut self, field: &'static Field, value: &Value, prefix: &str, record: &mut Record) {
        // One element without its brackets is what XML gives, and what some senders write.
        let items = match value {
            Value::Array(items) => items.as_slice(),
            Value::Object(_) if field.kind == Type::List => std::slice::from_ref(value),
            Value::String(_) if field.kind == Type::Texts => std::slice::from_ref(value),
            _ => {
                self.fault(field, Kind::Type, prefix, "应为列表", "not a list");
                return;
            }
        };
        if items.len() > field.bound {
            self.fault(field, Kind::Bound, prefix, "条数过多", "too many elements");
            return;
        }
        let mut elements = Vec::with_capacity(items.len());
        for (at, item) in items.iter().enumerate() {
            let mut element = Record::default();
            match item {
                Value::String(text) if field.kind == Type::Texts => {
                    self.element(field, text, &format!("{prefix}[{at}]"), &mut element);
                }
                Value::Object(map) if field.kind == Type::List => {
                    let below = format!("{prefix}{}[{at}].", field.name);
                    self.object(field.children, map, &below, &mut element);
                }
                _ => self.fault(
                    field,
                    Kind::Type,
                    prefix,
                    "元素类型不符",
                    "an element of another type",
                ),
            }
            elements.push(element);
        }
        record.put_list(field.key, elements);
    }

    fn element(&mut self, field: &'static Field, text: &str, prefix: &str, record: &mut Record) {
        if text.chars().count() > TEXT_CHARS_MAX {
            self.fault(field, Kind::Bound, prefix, "过长", "longer than is kept");
            return;
        }
        record.put("", text.trim_matches(is_blank).to_owned(), true);
    }

    fn text(&mut self, field: &'static Field, value: &Value, prefix: &str, record: &mut Record) {
        let text = match value {
            Value::String(text) => Cow::Borrowed(text.trim_matches(is_blank)),
            Value::Bool(it) => Cow::Borrowed(if *it { "true" } else { "false" }),
            Value::Number(number) => {
                let rounded =
                    number.is_f64() && number.as_f64().is_some_and(|it| it.abs() >= EXACT_MAX);
                if rounded {
                    let (zh, en) = ("数字过长，请按文本传", "a number too long to be exact");
                    self.fault(field, Kind::Type, prefix, zh, en);
                    record.put(field.key, number.to_string(), false);
                    return;
                }
                Cow::Owned(number.to_string())
            }
            Value::Null | Value::Array(_) | Value::Object(_) => {
                self.fault(field, Kind::Type, prefix, "应为文本", "not a text");
                return;
            }
        };
        // A text is at most four bytes a character, so short ones need no counting.
        let chars = if text.is_ascii() { text.len() } else { text.chars().count() };
        if chars > field.bound {
            self.fault(field, Kind::Bound, prefix, "过长", "longer than is kept");
            return;
        }
        if text.chars().any(|it| it.is_control() && !matches!(it, '\n' | '\r' | '\t')) {
            self.fault(field, Kind::Bound, prefix, "含控制字符", "control character");
            return;
        }
        self.value(field, text, chars, prefix, record);
    }

    fn value(
        &mut self,
        field: &'static Field,
        text: Cow<'_, str>,
        chars: usize,
        prefix: &str,
        record: &mut Record,
    ) {
        if field.length_max.is_some_and(|it| chars > it)
            || field.length_min.is_some_and(|it| chars < it)
        {
            self.fault(field, Kind::Length, prefix, "长度不符", "length out of bounds");
        }
        let mut usable = reads_as(field.kind, &text);
        if !usable {
            self.fault(field, Kind::Format, prefix, "格式不正确", "does not read as its type");
        }
        let mut text = text;
        if let Some(dictionary) = field.dictionary.filter(|it| it.complete)
            && !dictionary.entries.iter().any(|it| it.0 == text)
        {
            let treated = treat(field, &text);
            let (zh, en) = ("取值不在字典内", "not in its code list");
            self.fault(field, Kind::Enum, prefix, zh, en);
            usable &= treated.is_some();
            text = treated.map_or(text, Cow::Borrowed);
        }
        record.put(field.key, text.into_owned(), usable);
    }

    fn choice(&mut self, rule: &'static Rule, record: &Record) {
        // What came but cannot be used is still there: the body is kept as it came.
        let present = |key: &&str| {
            record.raw(key).is_some_and(|it| !it.is_empty()) || !record.list(key).is_empty()
        };
        if rule.any_of.iter().any(|set| set.iter().all(present)) {
            return;
        }
        let usual = match self.mode {
            Mode::Lenient => rule.lenient,
            Mode::Strict => rule.strict,
        };
        let level = self.overlay.level(rule.id, "").unwrap_or(usual);
        let field = rule.any_of[0][0];
        let en = format!("none of {}", sets(rule));
        self.tell(level, Kind::Choice, rule.id.into(), field.into(), "不能为空", &en);
        let told = if level == Level::Reject { &mut self.faults } else { &mut self.warnings };
        if let Some(last) = told.last_mut().filter(|it| it.rule == rule.id)
            && !rule.message.is_empty()
        {
            last.message_zh = rule.message.into();
        }
    }

    fn report_unknown(&mut self) {
        if self.unknown.is_empty() {
            return;
        }
        let rule = format!("{}.{}", self.interface.id, Kind::Unknown.word());
        let level = self.overlay.level(&rule, "").unwrap_or(Kind::Unknown.level(self.mode));
        let field = self.unknown.join(",");
        self.tell(level, Kind::Unknown, rule, field, "文档中没有", "not in the document");
    }

    fn fault(&mut self, field: &'static Field, kind: Kind, prefix: &str, zh: &str, en: &str) {
        let usual = level_of(field, kind, self.mode);
        let whole = format!("{}.{}", self.interface.id, field.path);
        let rule = format!("{whole}.{}", kind.word());
        let set = match kind {
            Kind::Bound => None,
            _ => self.overlay.level(&rule, &whole),
        };
        let place = format!("{prefix}{}", field.name);
        self.tell(set.unwrap_or(usual), kind, rule, place, zh, en);
    }

    fn tell(&mut self, level: Level, kind: Kind, rule: String, field: String, zh: &str, en: &str) {
        let told = match level {
            Level::Off => return,
            Level::Warn => &mut self.warnings,
            Level::Reject => &mut self.faults,
        };
        if told.len() >= FAULTS_MAX {
            return;
        }
        let sentence = match (self.interface.envelope, kind) {
            (Some(it), Kind::Required | Kind::Choice) => it.missing,
            (Some(it), _) => it.invalid,
            (None, _) => "{field}:{reason}",
        };
        told.push(FieldFault {
            message_zh: sentence.replace("{field}", &field).replace("{reason}", zh),
            message_en: format!("{field}: {en}"),
            field,
            kind,
            rule,
            document: self.interface.system.document,
            section: self.interface.section,
        });
    }
}

fn sets(rule: &Rule) -> String {
    let sets = rule.any_of.iter().map(|set| set.join(" + "));
    sets.collect::<Vec<_>>().join(" / ")
}

/// Finds the value of a field: by its name, by another name, and last without regard to the
/// case of ASCII letters, because databases fold the case of column names.
fn lookup<'v>(field: &Field, map: &'v Map<String, Value>) -> Option<&'v Value> {
    let filled = |name: &str| map.get(name).filter(|it| !is_absent(it));
    let exact = filled(field.name).or_else(|| field.aliases.iter().find_map(|it| filled(it)));
    if exact.is_some() {
        return exact;
    }
    map.iter().find(|(key, value)| names(field, key) && !is_absent(value)).map(|it| it.1)
}

fn names(field: &Field, key: &str) -> bool {
    field.name.eq_ignore_ascii_case(key)
        || field.aliases.iter().any(|name| name.eq_ignore_ascii_case(key))
}

fn is_absent(value: &Value) -> bool {
    match value {
        Value::Null => true,
        Value::String(text) => text.trim_matches(is_blank).is_empty(),
        Value::Array(list) => list.is_empty(),
        Value::Bool(_) | Value::Number(_) | Value::Object(_) => false,
    }
}

fn holds(when: Option<&Condition>, fields: &[Field], map: &Map<String, Value>) -> bool {
    let Some(when) = when else { return true };
    let Some(field) = fields.iter().find(|it| it.name == when.field) else { return false };
    let text = match lookup(field, map) {
        Some(Value::String(text)) => text.trim_matches(is_blank).to_owned(),
        Some(other) => other.to_string(),
        None => return false,
    };
    when.is.contains(&treat(field, &text).unwrap_or(&text))
}

fn treat(field: &Field, text: &str) -> Option<&'static str> {
    field.treat.iter().find(|it| it.0 == text).map(|it| it.1)
}

fn reads_as(kind: Type, text: &str) -> bool {
    match kind {
        Type::Text | Type::Object | Type::List | Type::Texts => true,
        Type::Code => text.bytes().all(|it| it.is_ascii_digit() || it.is_ascii_uppercase()),
        Type::Integer => {
            let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
            !digits.is_empty() && digits.bytes().all(|it| it.is_ascii_digit())
        }
        Type::Decimal => text.parse::<f64>().is_ok_and(f64::is_finite),
        Type::Datetime => parse_datetime(text).is_some(),
        Type::Date => parse_date(text).is_some(),
        Type::Time => parse_time(text).is_some(),
        Type::Flag => matches!(text, "true" | "false" | "0" | "1"),
        Type::Base64 => text.bytes().all(|it| {
            it.is_ascii_alphanumeric() || matches!(it, b'+' | b'/' | b'=' | b'\r' | b'\n')
        }),
    }
}

/// `a[3].b.` as `a[].b.`: what is unknown in one element is so in all.
fn without_places(prefix: &str) -> String {
    let mut inside = false;
    let keep = |it: &char| {
        inside = (inside && *it != ']') || *it == '[';
        !inside || *it == '['
    };
    prefix.chars().filter(keep).collect()
}

/// A name that may be told. A sender that swaps name and value would put a phone number or a
/// person's name here, so only what looks like a name of the documents is repeated.
fn tellable(name: &str) -> &str {
    let letters = |it: u8| it.is_ascii_alphanumeric() || matches!(it, b'_' | b'-' | b'@');
    let plain = name.bytes().all(letters)
        && name.starts_with(|it: char| it.is_ascii_alphabetic() || it == '_' || it == '@')
        && name.bytes().filter(u8::is_ascii_digit).count() < 6
        && name.len() <= UNKNOWN_CHARS_MAX;
    if plain { name } else { "?" }
}
