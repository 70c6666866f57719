//! The compiler of the catalogue: TOML texts in, one Rust table out.
//!
//! What for: `build.rs` calls [`compile`] on `interfaces/`, tests call it on small texts.
//! What always holds: it is pure, its output depends on the texts alone and not on their
//! order; every mistake is found in one run, and each names file, key, what is wrong and
//! what to write instead. What was refused: reading files here (the caller knows where they
//! are) and building tables at start (a mistake in an interface must fail the build).
//! Start reading at [`compile`]; `generate.rs` writes what this module has resolved.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use super::generate;
use super::schema::{Address, Condition, Field, InterfaceFile, SystemFile};
use super::table::{Ambiguous, Form, Holds, LIST_ITEMS_MAX, TEXT_CHARS_MAX, Type, Zone};

/// One mistake in the sources.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Diagnostic {
    /// Path of the source as it was handed in.
    pub file: String,
    /// The key, or the line where no key is known.
    pub key: String,
    /// What is wrong.
    pub what: String,
    /// What to write instead.
    pub instead: String,
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(out, "{}: {}: {}; instead: {}", self.file, self.key, self.what, self.instead)
    }
}

/// Compiles `(path, text)` pairs into the text of a Rust module body that defines
/// `pub static CATALOG`. Paths are `<system>/system.toml`, `<system>/<id>.toml` and the
/// examples beside them (`<id>.request.example`, `<id>.row.example`, `<id>.answer.example`,
/// `<id>.answer.<name>.example`). The including module must `use` everything of `table`.
///
/// # Errors
/// Every mistake found, sorted by file.
pub fn compile(sources: &[(String, String)]) -> Result<String, Vec<Diagnostic>> {
    let mut compiler = Compiler::default();
    let mut sorted: Vec<_> = sources.iter().collect();
    sorted.sort();
    compiler.read(&sorted);
    compiler.check_names();
    compiler.check_routes();
    if compiler.diagnostics.is_empty() {
        return Ok(generate::module(&compiler.systems));
    }
    compiler.diagnostics.sort_by(|a, b| a.file.cmp(&b.file));
    Err(compiler.diagnostics)
}

/// A document with everything resolved.
pub(super) struct SystemModel {
    pub name: String,
    pub file: SystemFile,
    pub sets: BTreeMap<String, Vec<Node>>,
    pub interfaces: Vec<InterfaceModel>,
}

/// An interface with its fields as a tree and its examples.
pub(super) struct InterfaceModel {
    pub path: String,
    pub source: InterfaceFile,
    pub fields: Vec<Node>,
    pub example: String,
    pub answers: Vec<(Vec<Node>, String)>,
}

/// A field and what stands inside it.
#[derive(Clone)]
pub(super) struct Node {
    pub field: Field,
    pub key: String,
    pub name: String,
    pub children: Vec<Node>,
}

impl Node {
    pub fn bound(&self) -> usize {
        let list = matches!(self.field.kind, Type::List | Type::Texts);
        let usual = if list { LIST_ITEMS_MAX } else { TEXT_CHARS_MAX };
        self.field.bound.unwrap_or(usual)
    }
}

#[derive(Default)]
struct Compiler {
    systems: Vec<SystemModel>,
    diagnostics: Vec<Diagnostic>,
}

impl Compiler {
    fn fault(&mut self, file: &str, key: &str, what: impl Into<String>, instead: &str) {
        self.diagnostics.push(Diagnostic {
            file: file.into(),
            key: key.into(),
            what: what.into(),
            instead: instead.into(),
        });
    }

    fn read(&mut self, sources: &[&(String, String)]) {
        let mut folders: BTreeMap<&str, Vec<(&str, &str, &str)>> = BTreeMap::new();
        for (path, text) in sources {
            let mut parts = path.rsplitn(3, '/');
            let name = parts.next().unwrap_or_default();
            let folder = parts.next().unwrap_or_default();
            folders.entry(folder).or_default().push((path, name, text));
        }
        for (folder, files) in folders {
            self.read_system(folder, &files);
        }
    }

    fn read_system(&mut self, folder: &str, files: &[(&str, &str, &str)]) {
        let Some((path, _, text)) = files.iter().find(|(_, name, _)| *name == "system.toml") else {
            let what = format!("folder {folder} has no system.toml");
            self.fault(files[0].0, "system.toml", what, "add it beside its interfaces");
            return;
        };
        let Some(file) = self.parse::<SystemFile>(path, text) else { return };
        let sets = self.read_shared(path, &file);
        let mut system = SystemModel { name: folder.into(), file, sets, interfaces: Vec::new() };
        let mut examples: BTreeMap<&str, (&str, &str)> = files
            .iter()
            .filter(|(_, name, _)| name.ends_with(".example"))
            .map(|(path, name, text)| (*name, (*path, *text)))
            .collect();
        for (path, name, text) in files {
            if *name == "system.toml" || !name.ends_with(".toml") {
                continue;
            }
            let Some(source) = self.parse::<InterfaceFile>(path, text) else {
                // Its examples are not lost, it is only not known whose they are.
                let stem = name.trim_end_matches("toml");
                examples.retain(|it, _| !it.starts_with(stem));
                continue;
            };
            if *name != format!("{}.toml", source.id) {
                self.fault(path, "id", "differs from the file name", "use one name for both");
            }
            let interface = self.read_interface(path, source, &system, &mut examples);
            system.interfaces.push(interface);
        }
        for (path, _) in examples.into_values() {
            self.fault(
                path,
                "file name",
                "belongs to no interface",
                "name it <id>.request.example",
            );
        }
        self.systems.push(system);
    }

    fn parse<T: serde::de::DeserializeOwned>(&mut self, path: &str, text: &str) -> Option<T> {
        let fault = match toml::from_str(text) {
            Ok(value) => return Some(value),
            Err(fault) => fault,
        };
        let line = fault.span().map_or(1, |at| text[..at.start].matches('\n').count() + 1);
        let message = fault.message().lines().collect::<Vec<_>>().join(" ");
        let (what, instead) = message
            .split_once(", expected ")
            .map_or((message.as_str(), "see docs/decisions/0001-catalogue-format.md"), |it| it);
        self.fault(path, &format!("line {line}"), what, instead);
        None
    }

    fn read_shared(&mut self, path: &str, file: &SystemFile) -> BTreeMap<String, Vec<Node>> {
        let names = |kind: &str, names: Vec<&String>| {
            let mut seen = BTreeSet::new();
            let repeated: Vec<_> = names.into_iter().filter(|name| !seen.insert(*name)).collect();
            repeated.into_iter().map(|name| format!("{kind}.{name}")).collect::<Vec<_>>()
        };
        let mut repeated = names("dictionary", file.dictionary.iter().map(|it| &it.name).collect());
        repeated.extend(names("envelope", file.envelope.iter().map(|it| &it.name).collect()));
        repeated.extend(names("field_set", file.field_set.iter().map(|it| &it.name).collect()));
        for key in repeated {
            self.fault(path, &key, "is there twice", "give each its own name");
        }
        for envelope in &file.envelope {
            let data = |it: &Holds| matches!(it, Holds::Data | Holds::Beside);
            if envelope.form == Form::Xml && envelope.slots.iter().any(|it| data(&it.holds)) {
                let key = format!("envelope.{}.slots", envelope.name);
                self.fault(path, &key, "data in an XML envelope", "code and message only");
            }
        }
        let mut sets = BTreeMap::new();
        for set in &file.field_set {
            sets.insert(set.name.clone(), self.tree(path, &set.field, file, Vec::new()));
        }
        sets
    }

    fn read_interface(
        &mut self,
        path: &str,
        source: InterfaceFile,
        system: &SystemModel,
        examples: &mut BTreeMap<&str, (&str, &str)>,
    ) -> InterfaceModel {
        let id_ok = |it: char| it.is_ascii_lowercase() || it.is_ascii_digit() || it == '-';
        if source.id.is_empty() || !source.id.chars().all(id_ok) {
            self.fault(path, "id", "holds other characters", "lower-case letters, digits and -");
        }
        let mut nodes = Vec::new();
        for name in &source.field_sets {
            match system.sets.get(name) {
                Some(set) => nodes.extend(set.iter().cloned()),
                None => {
                    let what = format!("unknown field set {name}");
                    self.fault(path, "field_sets", what, "name one of system.toml");
                }
            }
        }
        let fields = self.tree(path, &source.field, &system.file, nodes);
        self.check_interface(path, &source, system, &fields);
        let example = ["request", "row"]
            .iter()
            .find_map(|kind| examples.remove(format!("{}.{kind}.example", source.id).as_str()));
        if example.is_none() && !fields.is_empty() {
            let instead = format!("add {}.request.example beside it", source.id);
            self.fault(path, "field", "an interface without an example", &instead);
        }
        let mut answers = Vec::new();
        for answer in &source.answer {
            let key = format!("answer.{}", answer.name);
            let nodes = self.tree(path, &answer.field, &system.file, Vec::new());
            if let Some(when) = &answer.when {
                self.check_condition(path, &format!("{key}.when"), when, &fields);
            }
            let file = match source.answer.len() {
                1 => format!("{}.answer.example", source.id),
                _ => format!("{}.answer.{}.example", source.id, answer.name),
            };
            let text = examples.remove(file.as_str()).map(|(_, text)| text.to_owned());
            if text.is_none() {
                let instead = format!("add {file} beside it");
                self.fault(path, &key, "an answer without an example", &instead);
            }
            answers.push((nodes, text.unwrap_or_default()));
        }
        let example = example.map(|(_, text)| text.to_owned()).unwrap_or_default();
        InterfaceModel { path: path.into(), source, fields, example, answers }
    }

    fn check_interface(
        &mut self,
        path: &str,
        source: &InterfaceFile,
        system: &SystemModel,
        fields: &[Node],
    ) {
        let known = |key: &String| fields.iter().any(|node| node.key == *key);
        if let Some(name) = &source.envelope
            && !system.file.envelope.iter().any(|it| it.name == *name)
        {
            let what = format!("unknown envelope {name}");
            self.fault(path, "envelope", what, "name one of system.toml");
        }
        let mut seen = BTreeSet::new();
        for rule in &source.rule {
            let key = format!("rule.{}", rule.name);
            if !seen.insert(&rule.name) || known(&rule.name) {
                self.fault(path, &key, "the name is taken", "give each rule its own name");
            }
            if rule.any_of.iter().any(Vec::is_empty) || rule.any_of.is_empty() {
                self.fault(path, &key, "any_of holds an empty set", "name at least one field");
            }
            for field in rule.any_of.iter().flatten().filter(|it| !known(it)) {
                let what = format!("names the unknown field {field}");
                self.fault(path, &key, what, "name a field of the record's top");
            }
        }
        for field in source.delivery.identity.iter().filter(|it| !known(it)) {
            let what = format!("names the unknown field {field}");
            self.fault(path, "delivery.identity", what, "name a field of the record's top");
        }
        if (source.delivery.ambiguous == Ambiguous::Query) != source.delivery.query.is_some() {
            let what = "ambiguous = \"query\" and query belong together";
            self.fault(path, "delivery.query", what, "write both or neither");
        }
        for address in &source.address {
            if let Address::Http { path: place, method, .. } = address {
                if !place.starts_with('/') || place.contains(['?', ' ']) {
                    self.fault(path, "address.path", "is not a path", "begin with / , no query");
                }
                if !method.chars().all(|it| it.is_ascii_uppercase()) || method.is_empty() {
                    self.fault(path, "address.method", "is not a method", "GET, POST, …");
                }
            }
        }
        if source.address.is_empty() {
            self.fault(path, "address", "none is given", "say where the interface is found");
        }
    }

    /// Hangs the flat list of fields into a tree, after `nodes`.
    fn tree(
        &mut self,
        path: &str,
        fields: &[Field],
        system: &SystemFile,
        mut nodes: Vec<Node>,
    ) -> Vec<Node> {
        for field in fields {
            let key = format!("field.{}", field.path);
            if let Err((what, instead)) = hang(&mut nodes, &segments(&field.path), "", field) {
                self.fault(path, &key, what, instead);
            }
            self.check_field(path, &key, field, system);
        }
        self.check_conditions(path, &nodes);
        nodes
    }

    fn check_field(&mut self, path: &str, key: &str, field: &Field, system: &SystemFile) {
        if let Some(name) = &field.dictionary {
            match system.dictionary.iter().find(|it| it.name == *name) {
                None => {
                    let what = format!("unknown dictionary {name}");
                    self.fault(path, key, what, "name one of system.toml, or add it there");
                }
                Some(dictionary) => {
                    for to in field.treat.values() {
                        if !dictionary.entries.contains_key(to) {
                            let what = format!("treat leads to {to}, which {name} lacks");
                            self.fault(path, key, what, "treat as a code of the dictionary");
                        }
                    }
                }
            }
        } else if !field.treat.is_empty() {
            self.fault(path, key, "treat without a dictionary", "name the dictionary");
        }
        let bound = field.bound.unwrap_or(TEXT_CHARS_MAX);
        if field.length_max.is_some_and(|length| length > bound) {
            self.fault(path, key, "length_max exceeds the bound", "set bound above it");
        }
        if field.length_min > field.length_max && field.length_max.is_some() {
            self.fault(path, key, "length_min exceeds length_max", "swap them");
        }
        if field.when.is_some() && !field.required {
            self.fault(path, key, "when without required", "add required = true");
        }
    }

    fn check_conditions(&mut self, path: &str, nodes: &[Node]) {
        for node in nodes {
            if let Some(when) = &node.field.when {
                self.check_condition(path, &format!("field.{}.when", node.field.path), when, nodes);
            }
            self.check_conditions(path, &node.children);
        }
    }

    fn check_condition(&mut self, path: &str, key: &str, when: &Condition, nodes: &[Node]) {
        if !nodes.iter().any(|node| node.name == when.field) {
            let what = format!("names the unknown field {}", when.field);
            self.fault(path, key, what, "name a field beside it");
        }
    }

    fn check_names(&mut self) {
        let mut ids: BTreeMap<String, String> = BTreeMap::new();
        let mut found = Vec::new();
        for interface in self.systems.iter().flat_map(|it| &it.interfaces) {
            let id = &interface.source.id;
            if let Some(other) = ids.insert(id.clone(), interface.path.clone()) {
                found.push((interface.path.clone(), "id", format!("is taken by {other}")));
            }
        }
        for interface in self.systems.iter().flat_map(|it| &it.interfaces) {
            let others = interface.source.shared_with.iter().map(|it| ("shared_with", it));
            let query = interface.source.delivery.query.iter().map(|it| ("delivery.query", it));
            for (key, id) in others.chain(query).filter(|(_, id)| !ids.contains_key(*id)) {
                found.push((interface.path.clone(), key, format!("unknown interface {id}")));
            }
        }
        for (path, key, what) in found {
            self.fault(&path, key, what, "use the id of one interface");
        }
    }

    fn check_routes(&mut self) {
        let mut places: BTreeMap<(Zone, &str), Vec<&InterfaceModel>> = BTreeMap::new();
        for interface in self.systems.iter().flat_map(|it| &it.interfaces) {
            for address in &interface.source.address {
                let Address::Http { path, .. } = address else { continue };
                let here = places.entry((interface.source.zone, place(path))).or_default();
                if !here.iter().any(|it| it.source.id == interface.source.id) {
                    here.push(interface);
                }
            }
        }
        let mut found = Vec::new();
        for ((_, place), here) in &places {
            for interface in here {
                for other in here.iter().filter(|it| it.source.id != interface.source.id) {
                    if !interface.source.shared_with.contains(&other.source.id) {
                        let what = format!("{place} is also the path of {}", other.source.id);
                        let instead = format!("shared_with = [\"{}\"]", other.source.id);
                        found.push((interface.path.clone(), what, instead));
                    }
                }
            }
        }
        for (path, what, instead) in found {
            self.fault(&path, "address.path", what, &instead);
        }
    }
}

/// A path as it is compared: without a slash at its end.
pub(super) fn place(path: &str) -> &str {
    path.trim_end_matches('/')
}

/// Splits `a.b[].c@d` into `(name, is a list)`; an attribute keeps its `@`.
fn segments(path: &str) -> Vec<(String, bool)> {
    let mut parts = Vec::new();
    for piece in path.split('.') {
        let (element, attribute) = match piece.split_once('@') {
            Some((element, attribute)) => (element, Some(attribute)),
            None => (piece, None),
        };
        let list = element.ends_with("[]");
        parts.push((element.trim_end_matches("[]").to_owned(), list));
        if let Some(attribute) = attribute {
            parts.push((format!("@{attribute}"), false));
        }
    }
    parts
}

type Misfit = (&'static str, &'static str);

fn hang(
    nodes: &mut Vec<Node>,
    segments: &[(String, bool)],
    prefix: &str,
    field: &Field,
) -> Result<(), Misfit> {
    let Some(((name, list), rest)) = segments.split_first() else {
        return Err(("the path is empty", "name the field"));
    };
    let key = match name.starts_with('@') {
        true => format!("{}{name}", prefix.trim_end_matches('.')),
        false => format!("{prefix}{name}"),
    };
    if rest.is_empty() {
        if name.is_empty() || *list {
            return Err(("the path does not end in a name", "declare a list by its name"));
        }
        let spoken = |node: &Node| {
            let mut taken = node.field.aliases.iter().chain([&node.name]);
            taken.any(|it| {
                it.eq_ignore_ascii_case(name)
                    || field.aliases.iter().any(|alias| alias.eq_ignore_ascii_case(it))
            })
        };
        if nodes.iter().any(spoken) {
            return Err(("the name or an alias is taken beside it", "one name, one field"));
        }
        let node = Node { field: field.clone(), key, name: name.clone(), children: Vec::new() };
        nodes.push(node);
        return Ok(());
    }
    let Some(parent) = nodes.iter_mut().find(|node| node.name == *name) else {
        return Err(("what it stands in is not declared", "declare the object or list before it"));
    };
    let attribute = rest[0].0.starts_with('@');
    let below = match (parent.field.kind, list) {
        (Type::List, true) => String::new(),
        (Type::Object, false) => format!("{key}."),
        (Type::Text, false) if attribute => key,
        _ => {
            return Err((
                "what it stands in has another type",
                "x[].y in a list, x.y in an object",
            ));
        }
    };
    hang(&mut parent.children, rest, &below, field)
}
