//! The rules of this repository that a machine can judge.
//!
//! Each rule is a function from the tree to complaints; a complaint says where, what, and what to
//! do instead. One test runs all rules over the real tree and prints every complaint at once; then
//! each rule is fed a bad text and must complain, because a rule that cannot fail is no rule.
//!
//! Columns are counted in characters, and a Chinese character counts one: what is measured is how
//! much a line says, and rustfmt, which counts two, leaves such lines alone.
//!
//! To change a rule, change it here and in the text that states it in the same commit. Start
//! reading at `RULES`; the floors of `src/` are `FLOORS` and `SIDEWAYS`.

#[path = "tidy/rust.rs"]
mod rust;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use rust::{Function, Views, functions, line_of, root_names, words};

/// The modules of `src/` by floor, the ground first. Imports go down.
const FLOORS: [&[&str]; 6] = [
    &["model", "fault", "limits", "clock", "breaker", "secret", "metrics"],
    &["catalog", "codec", "seal"],
    &["ledger"],
    &[
        "intake",
        "lookup",
        "settlement",
        "onward",
        "archive",
        "dictionary",
        "mapping",
        "notice",
        "prefetch",
        "delivery",
        "relay",
        "storage",
    ],
    &["http", "dicom", "dicomweb", "upstream", "views", "console", "workstation", "host", "listen"],
    &["main", "app", "config", "doctor", "verbs"],
];

/// Who may name a neighbour of the same floor, and which.
const SIDEWAYS: &[(&[&str], &[&str])] = &[
    (&["dicomweb", "console", "workstation"], &["http"]),
    // Whoever may not connect is kept out by one piece of code.
    (&["http", "dicom"], &["listen"]),
    (
        &["intake", "lookup", "settlement", "onward", "archive", "dictionary"],
        &["prefetch", "delivery", "relay"],
    ),
    // Bytes come in the same pieces from whoever is asked and from whoever sends unasked.
    (&["storage"], &["prefetch"]),
    // An archive is called by the protocol that it speaks.
    (&["upstream"], &["dicom"]),
    // A patient who is opened is registered, searched for, and what is ordered is read.
    (&["notice"], &["intake", "prefetch", "mapping"]),
    // What goes on to somebody else is opened by the same keys as what stays.
    (&["onward"], &["intake"]),
    (&["catalog"], &["codec"]),
    // The roof is one place: the process starts a verb, a verb wires the application, and all
    // read the configuration.
    (&["main"], &["app", "config", "verbs"]),
    (&["verbs"], &["app", "config", "doctor"]),
    (&["app"], &["config", "doctor"]),
    (&["doctor"], &["config"]),
    // The ground in its own order: numbers, then faults and secrets, then nouns, then the clock,
    // which returns a noun.
    (&["clock", "breaker", "secret", "fault", "model", "metrics"], &["limits"]),
    (&["model"], &["fault", "secret"]),
    (&["clock", "breaker"], &["model"]),
];

/// What a floor must not name at all, with the place where it belongs.
const ABSENT: &[(usize, &[&str], &str)] = &[
    (
        1,
        &["std::fs", "std::net", "std::thread", "tokio"],
        "a language is pure: let the caller read the bytes and hand them in",
    ),
    (
        3,
        &["hyper", "axum", "reqwest", "serde_json", "std::net", "tokio::net"],
        "a flow knows no protocol: own a small trait here and let a door implement it",
    ),
];

/// The widest line of a Rust file, in characters.
const COLUMNS_MAX: usize = 100;

/// The longest function of the product, in lines from its `fn` to its closing brace.
const FUNCTION_LINES_MAX: usize = 70;

/// The longest text that is read, in bytes; longer files are data.
const TEXT_BYTES_MAX: u64 = 2 * 1024 * 1024;

/// One rule: its name, and what it finds wrong with a tree.
type Rule = (&'static str, fn(&Tree) -> Vec<String>);

const RULES: &[Rule] = &[
    ("floors", floors),
    ("absent things", absent_things),
    ("the cache is opened from floor 3 up", cache_openers),
    ("columns", columns),
    ("function length", function_length),
    ("no promises", no_promises),
    ("time is an argument", time_is_an_argument),
    ("engines have one owner", engines_have_one_owner),
    ("fixtures are explained", fixtures_are_explained),
    ("interfaces have examples", interfaces_have_examples),
    ("figures have evidence", figures_have_evidence),
    ("names say something", names_say_something),
    ("no ignored test", no_ignored_test),
    ("metrics move", metrics_move),
    ("entries are explained", entries_are_explained),
    ("decisions are listed", decisions_are_listed),
    ("banned crates", banned_crates),
];

/// One file of the tree.
struct File {
    /// Relative to the root, with `/`.
    path: String,
    /// Empty where the file is not UTF-8 or too long to be a text.
    text: String,
}

/// The tree as a newcomer gets it: without what `.gitignore` names.
struct Tree {
    files: Vec<File>,
    /// The names in the root folder.
    entries: BTreeSet<String>,
}

impl Tree {
    fn of(files: &[(&str, &str)]) -> Tree {
        let files: Vec<File> = files
            .iter()
            .map(|(path, text)| File { path: (*path).to_owned(), text: (*text).to_owned() })
            .collect();
        let first = |file: &File| file.path.split('/').next().unwrap_or_default().to_owned();
        Tree { entries: files.iter().map(first).collect(), files }
    }

    fn read(root: &Path) -> Tree {
        let ignored = fs::read_to_string(root.join(".gitignore")).expect(".gitignore is there");
        let ignored: Vec<&str> = ignored.lines().map(str::trim).collect();
        let mut tree = Tree { files: Vec::new(), entries: BTreeSet::new() };
        tree.read_folder(root, "", &ignored);
        tree
    }

    fn read_folder(&mut self, root: &Path, folder: &str, ignored: &[&str]) {
        let entries = fs::read_dir(root.join(folder)).expect("a folder of the tree can be listed");
        for entry in entries {
            let entry = entry.expect("a folder of the tree can be listed");
            let name = entry.file_name().to_string_lossy().into_owned();
            if name == ".git" || is_ignored(folder, &name, ignored) {
                continue;
            }
            if folder.is_empty() {
                self.entries.insert(name.clone());
            }
            let path = if folder.is_empty() { name } else { format!("{folder}/{name}") };
            let metadata = entry.metadata().expect("an entry of the tree can be asked about");
            if metadata.is_dir() {
                self.read_folder(root, &path, ignored);
            } else if metadata.is_file() {
                let bytes = match metadata.len() <= TEXT_BYTES_MAX {
                    true => fs::read(entry.path()).expect("a file of the tree can be read"),
                    false => Vec::new(),
                };
                self.files.push(File { path, text: String::from_utf8(bytes).unwrap_or_default() });
            }
        }
    }

    fn text(&self, path: &str) -> Option<&str> {
        self.files.iter().find(|file| file.path == path).map(|file| file.text.as_str())
    }

    fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The Rust files that are compiled into the product, each with its code apart from tests.
    fn product(&self) -> impl Iterator<Item = (&File, String)> {
        self.rust().filter(|file| file.is_product()).map(|file| {
            let code = Views::of(&file.text).product();
            (file, code)
        })
    }
}

impl File {
    fn is_product(&self) -> bool {
        let inside = ["src/", "cache/src/"].iter().any(|folder| self.path.starts_with(folder));
        let test = self.path.contains("/tests/") || self.path.ends_with("/tests.rs");
        (inside && !test) || self.path == "build.rs"
    }

    /// The modules from the root of `src/` to this file; nothing for the root itself.
    fn modules(&self) -> Option<Vec<&str>> {
        let path = self.path.strip_prefix("src/")?.strip_suffix(".rs")?;
        let mut modules: Vec<&str> = path.split('/').collect();
        if modules.last() == Some(&"mod") {
            modules.pop();
        }
        if modules == ["lib"] {
            modules.clear();
        }
        Some(modules)
    }

    /// The module of the root that this file belongs to, with its floor.
    fn floor(&self) -> Option<(&str, usize)> {
        let module = *self.modules()?.first()?;
        floor_of(module).map(|floor| (module, floor))
    }

    fn at(&self, line: usize, complaint: impl std::fmt::Display) -> String {
        format!("{}:{line}: {complaint}", self.path)
    }

    fn folder(&self) -> &str {
        self.path.rsplit_once('/').map_or("", |(folder, _)| folder)
    }

    fn name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }
}

/// The three forms of line that `.gitignore` holds: `/name`, `name`, `*.ending`.
fn is_ignored(folder: &str, name: &str, ignored: &[&str]) -> bool {
    ignored.iter().filter(|line| !line.is_empty()).any(|line| {
        match (line.strip_prefix('/'), line.strip_prefix('*')) {
            (Some(rooted), _) => folder.is_empty() && rooted.trim_end_matches('/') == name,
            (_, Some(ending)) => name.ends_with(ending),
            _ => line.trim_end_matches('/') == name,
        }
    })
}

fn floor_of(module: &str) -> Option<usize> {
    FLOORS.iter().position(|modules| modules.contains(&module))
}

fn may_name(from: &str, to: &str) -> bool {
    let down = floor_of(to) < floor_of(from);
    let listed = SIDEWAYS.iter().any(|(who, whom)| who.contains(&from) && whom.contains(&to));
    from == to || down || listed
}

fn floors(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        let Some(modules) = file.modules().filter(|modules| !modules.is_empty()) else { continue };
        let from = modules[0];
        let Some(floor) = floor_of(from) else {
            let text = format!(
                "`{from}` stands on no floor; put the file into the module it belongs to, or give \
                 it a floor in tests/tidy.rs and docs/ARCHITECTURE.md"
            );
            complaints.push(file.at(1, text));
            continue;
        };
        // `main` is the root of its own crate and has no module above it.
        let depth = if from == "main" { 0 } else { modules.len() };
        for (line, to) in root_names(&code, depth) {
            if floor_of(&to).is_some() && !may_name(from, &to) {
                let text = format!(
                    "`{from}` (floor {floor}) names `{to}`, which is not below it; move the \
                     shared part down, or pull through a trait that the lower floor owns"
                );
                complaints.push(file.at(line, text));
            }
        }
    }
    complaints
}

fn absent_things(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        let Some((module, floor)) = file.floor() else { continue };
        for (_, things, instead) in ABSENT.iter().filter(|(absent, ..)| *absent == floor) {
            for thing in *things {
                for at in words(&code, thing) {
                    let text = format!("`{module}` names `{thing}`; {instead}");
                    complaints.push(file.at(line_of(&code, at), text));
                }
            }
        }
    }
    complaints
}

fn cache_openers(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        let Some((module, _)) = file.floor().filter(|(_, floor)| *floor < 3) else { continue };
        for call in ["Cache::open", ".arrival("] {
            for at in words(&code, call) {
                let text = format!(
                    "`{module}` opens the cache by `{call}`; floors 0 to 2 may only name its \
                     types: open it in a flow, a door or the roof"
                );
                complaints.push(file.at(line_of(&code, at), text));
            }
        }
    }
    complaints
}

fn columns(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        for (number, line) in file.text.lines().enumerate() {
            let columns = line.chars().count();
            if columns > COLUMNS_MAX {
                let text = format!(
                    "{columns} columns, {COLUMNS_MAX} are allowed; break the line, or put a long \
                     text into a fixture"
                );
                complaints.push(file.at(number + 1, text));
            }
        }
    }
    complaints
}

fn function_length(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        for Function { name, line, lines, .. } in functions(&code) {
            if lines > FUNCTION_LINES_MAX {
                let text = format!(
                    "`{name}` is {lines} lines long, {FUNCTION_LINES_MAX} are allowed; give its \
                     steps names and functions of their own"
                );
                complaints.push(file.at(line, text));
            }
        }
    }
    complaints
}

/// Comments of Rust files are searched for all words, because in a literal they may be a
/// protocol's; the other texts that people write are searched for the marks only, because the vows
/// are honest words in prose.
fn no_promises(tree: &Tree) -> Vec<String> {
    const MARKS: [&str; 3] = ["TODO", "FIXME", "XXX"];
    const VOWS: [&str; 2] = ["temporary", "remove in"];
    const INSTEAD: &str = "open an issue or do it now";
    let mut complaints = Vec::new();
    for file in &tree.files {
        let is_rust = file.path.ends_with(".rs");
        let is_prose = ["Makefile", ".toml", ".md", ".yml", ".service", ".sh", ".html", ".css"]
            .iter()
            .any(|ending| file.path.ends_with(ending))
            || file.path.starts_with(".ci/");
        // The text of an interface quotes its document, and a fixture is what others send.
        let is_quoted =
            file.path.starts_with("interfaces/") || file.path.contains("tests/fixtures/");
        if is_quoted || !(is_rust || is_prose) {
            continue;
        }
        let views = is_rust.then(|| Views::of(&file.text));
        let said = views.as_ref().map_or(&file.text, |views| &views.comments);
        let lower = said.to_lowercase();
        let marks = MARKS.iter().flat_map(|mark| words(said, mark).map(move |at| (*mark, at)));
        let vows = VOWS.iter().flat_map(|vow| words(&lower, vow).map(move |at| (*vow, at)));
        for (word, at) in marks.chain(vows.filter(|_| is_rust)) {
            let text = format!("`{word}` promises; {INSTEAD}");
            // Lowering may change the length of a text, never the number of its lines.
            let text_of = if VOWS.contains(&word) { lower.as_str() } else { said };
            complaints.push(file.at(line_of(text_of, at), text));
        }
        for call in ["todo!", "unimplemented!"] {
            for at in views.iter().flat_map(|views| words(&views.code, call)) {
                complaints.push(file.at(line_of(&file.text, at), format!("`{call}`; {INSTEAD}")));
            }
        }
    }
    complaints
}

/// `Instant` measures how long something took and is allowed where bytes move: in the doors, on
/// the roof and in the cache. What time it *is* only `clock` may ask.
fn time_is_an_argument(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        let floor = file.floor();
        if floor.is_some_and(|(module, _)| module == "clock") {
            continue;
        }
        let moves_bytes = floor.map_or(file.path.starts_with("cache/"), |(_, floor)| floor >= 4);
        for call in ["SystemTime::now", "Timestamp::now", "Zoned::now", "Instant::now"] {
            if call == "Instant::now" && moves_bytes {
                continue;
            }
            for at in words(&code, call) {
                let text = format!(
                    "`{call}`; only src/clock.rs reads the machine's clock: take `now` as an \
                     argument"
                );
                complaints.push(file.at(line_of(&code, at), text));
            }
        }
    }
    complaints
}

fn engines_have_one_owner(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for (file, code) in tree.product() {
        let in_ledger = file.floor().is_some_and(|(module, _)| module == "ledger");
        let in_cache = file.path.starts_with("cache/");
        let owners = [
            ("rusqlite", in_ledger, "SQL lives in src/ledger: ask the ledger for what you need"),
            ("sled::", in_cache, "sled lives in the crate cache: ask the cache"),
        ];
        for (engine, is_owner, instead) in owners {
            for at in words(&code, engine).filter(|_| !is_owner) {
                complaints.push(file.at(line_of(&code, at), format!("`{engine}`; {instead}")));
            }
        }
    }
    complaints
}

/// A fixture `a.dcm` is explained by `a.txt` or `a.dcm.txt`, or by any `.txt` of its folder, or of
/// a folder above it inside the fixtures, that names the file.
fn fixtures_are_explained(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in &tree.files {
        let Some((root, inside)) = file.path.split_once("tests/fixtures/") else { continue };
        let root = format!("{root}tests/fixtures");
        let name = file.name();
        if name.ends_with(".txt") || name.starts_with("LICENSE") || name.starts_with("README") {
            continue;
        }
        let stem = name.rsplit_once('.').map_or(name, |(stem, _)| stem);
        // One text explains all parts of one thing: `a.toml`, `a.request.example`.
        let thing = name.split_once('.').map_or(name, |(thing, _)| thing);
        let beside = [format!("{thing}.txt"), format!("{stem}.txt"), format!("{name}.txt")];
        let explained = tree.files.iter().any(|other| {
            let above = other.path.starts_with(&root) && file.path.starts_with(other.folder());
            let own = other.folder() == file.folder() && beside.iter().any(|b| b == other.name());
            own || (above && other.name().ends_with(".txt") && other.text.contains(name))
        });
        if !explained {
            let text = format!(
                "no .txt says how `{inside}` was made; write `{stem}.txt` beside it, or name it \
                 in the folder's .txt"
            );
            complaints.push(file.at(1, text));
        }
    }
    complaints
}

/// An example stands beside its interface: `a.toml`, `a.request.example`. `system.toml` holds what
/// the interfaces of one system share and needs none.
fn interfaces_have_examples(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.files.iter().filter(|file| file.path.starts_with("interfaces/")) {
        let Some(stem) = file.name().strip_suffix(".toml").filter(|stem| *stem != "system") else {
            continue;
        };
        let start = format!("{stem}.");
        let is_example = |name: &str| name.starts_with(&start) && name.ends_with(".example");
        if !tree.files.iter().any(|f| f.folder() == file.folder() && is_example(f.name())) {
            let text = format!(
                "no example; put the document's own beside it as `{stem}.request.example` or \
                 `{stem}.answer.example`, with made-up people"
            );
            complaints.push(file.at(1, text));
        }
    }
    complaints
}

/// A row with figures is proved by its own line or by its section: a command, or a file of
/// evidence that exists.
fn figures_have_evidence(tree: &Tree) -> Vec<String> {
    const PAGE: &str = "docs/PERFORMANCE.md";
    const COMMANDS: [&str; 5] = ["`make ", "`cargo ", "`benches/", "`target/", "```"];
    let Some(file) = tree.files.iter().find(|file| file.path == PAGE) else { return Vec::new() };
    let proves = |text: &str| {
        let evidence = evidence_of(text).any(|name| tree.text(&format!("docs/{name}")).is_some());
        evidence || COMMANDS.iter().any(|command| text.contains(command))
    };
    let lines: Vec<&str> = file.text.lines().collect();
    let is_heading = |line: &str| line.starts_with('#');
    let mut complaints = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        for name in evidence_of(line) {
            if tree.text(&format!("docs/{name}")).is_none() {
                let text = format!("`{name}` does not exist; commit the file or drop the figure");
                complaints.push(file.at(number + 1, text));
            }
        }
        let is_rule = line.chars().all(|c| matches!(c, '|' | '-' | ':' | ' '));
        let is_head = lines.get(number + 1).is_some_and(|next| next.starts_with("|--"));
        let is_row = line.starts_with('|') && !is_rule && !is_head;
        if !is_row || !line.contains(|c: char| c.is_ascii_digit()) {
            continue;
        }
        let start = lines[..number].iter().rposition(|l| is_heading(l)).map_or(0, |at| at + 1);
        let end = lines[number..]
            .iter()
            .position(|l| is_heading(l))
            .map_or(lines.len(), |at| number + at);
        if !proves(&lines[start..end].join("\n")) {
            let text = "a figure without proof; name the command that measures it in this \
                        section, or a file under docs/evidence/";
            complaints.push(file.at(number + 1, text));
        }
    }
    complaints
}

/// The files of evidence that a text names, relative to `docs/`.
fn evidence_of(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("evidence/").filter_map(|(at, _)| {
        let rest = &text[at..];
        let end = rest.find(|c: char| !(c.is_ascii_alphanumeric() || "/._-".contains(c)));
        let name = rest[..end.unwrap_or(rest.len())].trim_end_matches('.');
        name.contains('.').then_some(name)
    })
}

fn names_say_something(tree: &Tree) -> Vec<String> {
    const EMPTY: [&str; 6] = ["utils", "util", "common", "helpers", "helper", "misc"];
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let parts = file.path.trim_end_matches(".rs").split('/');
        for part in parts.filter(|part| EMPTY.contains(part)) {
            let text = format!("`{part}` says nothing; name the module for what it is about");
            complaints.push(file.at(1, text));
        }
    }
    complaints
}

fn no_ignored_test(tree: &Tree) -> Vec<String> {
    let mut complaints = Vec::new();
    for file in tree.rust() {
        let code = Views::of(&file.text).code;
        for at in words(&code, "#[ignore") {
            let text = "a test that does not run proves nothing; make it fast, or give it the \
                        word `campaign` and a duration from the environment";
            complaints.push(file.at(line_of(&code, at), text));
        }
    }
    complaints
}

/// The calls that move a metric. Describing it is not moving it.
const MOVERS: [&str; 3] = ["counter!", "gauge!", "histogram!"];

/// src/metrics.rs is the list of what can be measured: what stands there must be moved by the
/// product, and what the product moves must stand there. A name is moved by its constant or as a
/// literal, from another file or by a function of src/metrics.rs that another file calls.
fn metrics_move(tree: &Tree) -> Vec<String> {
    let is_metrics = |file: &File| file.floor().is_some_and(|(module, _)| module == "metrics");
    let (own, others): (Vec<_>, Vec<_>) = tree.product().partition(|(file, _)| is_metrics(file));
    if own.is_empty() {
        return Vec::new();
    }
    let named = |name: &str| others.iter().any(|(_, code)| words(code, name).next().is_some());
    let moved: Vec<_> = others.iter().flat_map(|(file, code)| moved_literals(file, code)).collect();
    let mut listed = BTreeSet::new();
    let mut complaints = Vec::new();
    for (file, code) in &own {
        let movers: Vec<Function> = functions(code)
            .into_iter()
            .filter(|f| MOVERS.iter().any(|mover| words(f.body, mover).next().is_some()))
            .filter(|f| named(f.name))
            .collect();
        let mut complain = |name: &str, at: usize| {
            let text = format!("nobody moves `{name}`; count it where it happens or drop it");
            complaints.push(file.at(line_of(code, at), text));
        };
        for (name, at) in declared_names(code) {
            if !named(name) && !movers.iter().any(|f| words(f.body, name).next().is_some()) {
                complain(name, at);
            }
        }
        for (at, literal) in Views::of(&file.text).literals {
            let name = literal.trim_matches('"').to_owned();
            let is_value = code[..at].trim_end().ends_with('=');
            let here = movers.iter().any(|f| (f.start..f.start + f.body.len()).contains(&at));
            if is_metric_name(&name) {
                if !is_value && !here && !moved.iter().any(|(other, ..)| *other == name) {
                    complain(&name, at);
                }
                listed.insert(name);
            }
        }
    }
    for (name, path, line) in moved.iter().filter(|(name, ..)| !listed.contains(name)) {
        complaints.push(format!("{path}:{line}: `{name}` is not listed in src/metrics.rs; add it"));
    }
    complaints
}

/// The metrics that `file` moves by a literal, each with its path and line.
fn moved_literals<'a>(file: &'a File, code: &str) -> Vec<(String, &'a str, usize)> {
    let literals = Views::of(&file.text).literals;
    let calls = MOVERS.iter().flat_map(|mover| words(code, mover).map(|at| at + mover.len()));
    calls
        .filter_map(|at| {
            let (place, literal) = literals.iter().find(|(place, _)| *place >= at)?;
            let first = code[at..*place].chars().all(|c| c == '(' || c.is_whitespace());
            let name = literal.trim_matches('"').to_owned();
            first.then(|| (name, file.path.as_str(), line_of(code, at)))
        })
        .collect()
}

/// Lower-case words joined by `_`, at least two of them: labels are one word.
fn is_metric_name(text: &str) -> bool {
    let is_plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    text.contains('_') && text.chars().all(is_plain)
}

/// The names of `const NAME: &str` and of `static NAME`, with their places.
fn declared_names(code: &str) -> Vec<(&str, usize)> {
    let mut names = Vec::new();
    for keyword in ["const ", "static "] {
        for at in words(code, keyword) {
            let rest = &code[at + keyword.len()..];
            let Some((name, after)) = rest.split_once(':') else { continue };
            let is_text = ["&str", "&'static str"].iter().any(|t| after.trim().starts_with(t));
            if name.chars().all(rust::is_word) && (is_text || keyword == "static ") {
                names.push((name, at));
            }
        }
    }
    names
}

fn entries_are_explained(tree: &Tree) -> Vec<String> {
    let page = tree.text("docs/ARCHITECTURE.md").unwrap_or_default();
    let named =
        |entry: &str| page.contains(&format!("`{entry}`")) || page.contains(&format!("`{entry}/`"));
    let complain = |entry: &String| {
        format!(
            "{entry}: docs/ARCHITECTURE.md does not name this top-level entry; say there what \
             could not live elsewhere, or move it"
        )
    };
    tree.entries.iter().filter(|entry| !named(entry)).map(complain).collect()
}

fn decisions_are_listed(tree: &Tree) -> Vec<String> {
    let index = tree.text("docs/decisions/README.md").unwrap_or_default();
    tree.files
        .iter()
        .filter(|file| file.folder() == "docs/decisions" && file.name() != "README.md")
        .filter(|file| !index.contains(file.name()))
        .map(|file| file.at(1, "not in the index; add a line to docs/decisions/README.md"))
        .collect()
}

/// What `deny.toml` bans may not be asked for by a manifest of ours; `cargo deny` looks at the
/// crates behind them as well, and this rule holds where it is not installed.
fn banned_crates(tree: &Tree) -> Vec<String> {
    let parse = |path: &str| -> Option<toml::Table> {
        tree.text(path).map(|text| text.parse().expect("a manifest is TOML"))
    };
    let Some(deny) = parse("deny.toml") else { return Vec::new() };
    let bans = deny.get("bans").and_then(|bans| bans.get("deny")).and_then(|deny| deny.as_array());
    let mut complaints = Vec::new();
    for ban in bans.into_iter().flatten() {
        let word = |key: &str| ban.get(key).and_then(|value| value.as_str());
        let (Some(name), Some(reason)) = (word("crate"), word("reason")) else {
            complaints.push("deny.toml: a ban without `crate` and `reason`; write both".to_owned());
            continue;
        };
        for manifest in ["Cargo.toml", "cache/Cargo.toml"] {
            let Some(table) = parse(manifest) else { continue };
            let asked = ["dependencies", "dev-dependencies", "build-dependencies"]
                .iter()
                .filter_map(|section| table.get(*section))
                .chain(table.get("workspace").and_then(|w| w.get("dependencies")))
                .any(|section| section.get(name).is_some());
            if asked {
                complaints.push(format!("{manifest}: `{name}` is banned: {reason}"));
            }
        }
    }
    complaints
}

#[test]
fn the_tree_keeps_every_rule() {
    let tree = Tree::read(Path::new(env!("CARGO_MANIFEST_DIR")));
    let complaints: Vec<String> = RULES
        .iter()
        .flat_map(|(name, rule)| rule(&tree).into_iter().map(move |c| format!("[{name}] {c}")))
        .collect();
    assert!(complaints.is_empty(), "\n{}\n", complaints.join("\n"));
}

/// Feeds `rule` a good tree and a bad one, and returns what it says about the bad one.
fn complaints(
    rule: fn(&Tree) -> Vec<String>,
    good: &[(&str, &str)],
    bad: &[(&str, &str)],
) -> String {
    assert_eq!(rule(&Tree::of(good)), Vec::<String>::new(), "the good tree is complained about");
    let complaints = rule(&Tree::of(bad));
    assert!(!complaints.is_empty(), "the bad tree is not complained about");
    complaints.join("\n")
}

#[test]
fn an_import_upwards_is_seen_in_every_spelling() {
    let good = [
        ("src/ledger.rs", "use crate::{model::Registration, seal};\nuse forepost_cache::Uid;"),
        ("src/dicomweb/server.rs", "use crate::http::Reply;\nuse super::http_like;"),
        ("src/main.rs", "use forepost::verbs;"),
        ("src/catalog/check.rs", "use crate::codec::json; // not crate::http\n"),
        ("src/seal.rs", "#[cfg(test)]\nmod tests { use crate::ledger; }"),
    ];
    for spelling in [
        "use crate::http::Reply;",
        "use crate::{model, http};",
        "use crate::{\n    model::{A, B},\n    http::Reply,\n};",
        "fn f() { crate::http::reply() }",
        "use super::super::http;",
        "use super::super::{model, http};",
        "use forepost::http;",
        "const A: char = '\"'; use crate::http; const B: &str = \"\";",
    ] {
        let said = complaints(floors, &good, &[("src/ledger/rows.rs", spelling)]);
        assert!(said.contains("`ledger` (floor 2) names `http`"), "{spelling}: {said}");
    }
}

#[test]
fn a_neighbour_that_is_not_listed_is_refused() {
    for (path, text) in [
        ("src/prefetch.rs", "use crate::delivery;"),
        ("src/http.rs", "use crate::dicomweb;"),
        ("src/upstream/qido.rs", "use crate::http;"),
        ("src/codec.rs", "use super::catalog;"),
        ("src/limits.rs", "use crate::model;"),
        ("src/app.rs", "use crate::verbs;"),
    ] {
        complaints(floors, &[("src/intake.rs", "use crate::prefetch;")], &[(path, text)]);
    }
}

#[test]
fn a_module_without_a_floor_is_refused() {
    let said = complaints(floors, &[("src/lib.rs", "pub mod http;")], &[("src/stuff.rs", "")]);
    assert!(said.contains("`stuff` stands on no floor"), "{said}");
}

#[test]
fn a_flow_that_speaks_http_is_refused() {
    complaints(
        absent_things,
        &[("src/upstream.rs", "use reqwest::Client;"), ("src/codec.rs", "// std::fs")],
        &[("src/prefetch/choose.rs", "use reqwest::Client;")],
    );
    complaints(absent_things, &[], &[("src/codec/json.rs", "std::fs::read(path)")]);
}

#[test]
fn a_keeper_that_opens_the_cache_is_refused() {
    let good =
        [("src/prefetch.rs", "cache.arrival(&study)"), ("src/verbs/cache.rs", "Cache::open")];
    complaints(cache_openers, &good, &[("src/ledger.rs", "cache.arrival(&study)")]);
    complaints(cache_openers, &good, &[("src/model.rs", "Cache::open(folder)")]);
}

#[test]
fn a_line_of_101_characters_is_refused_and_chinese_counts_one_each() {
    let wide = "a".repeat(COLUMNS_MAX + 1);
    let chinese = "影".repeat(COLUMNS_MAX);
    complaints(columns, &[("tests/a.rs", &chinese)], &[("tests/a.rs", &wide)]);
    complaints(columns, &[], &[("cache/src/a.rs", &format!("{chinese}像"))]);
}

#[test]
fn a_function_of_71_lines_is_refused_and_of_70_is_not() {
    let function = |lines: usize| {
        let body = "    step(\"{\", '{', [0; 3]);\n".repeat(lines - 2);
        format!("trait T {{ fn none(a: [u8; 2]); }}\nfn long(f: fn(u8) -> u8) {{\n{body}}}\n")
    };
    let (good, bad) = (function(70), function(71));
    let said = complaints(function_length, &[("src/app.rs", &good)], &[("src/app.rs", &bad)]);
    assert!(said.contains("src/app.rs:2: `long` is 71 lines"), "{said}");
    let tested = format!("#[cfg(test)]\nmod tests {{\n{bad}}}\n");
    complaints(function_length, &[("src/app.rs", &tested)], &[("cache/src/lib.rs", &bad)]);
    complaints(function_length, &[("tests/a.rs", &bad)], &[("build.rs", &bad)]);
}

#[test]
fn promises_are_refused_in_comments_and_as_macros() {
    let good = [
        ("src/a.rs", "const A: &str = \"TODO: temporary\"; // a TODOlist of XXXL"),
        ("docs/a.md", "a temporary file"),
        ("interfaces/x/y.toml", "example = \"XXX\""),
        ("tests/fixtures/names.toml", "# XXX"),
    ];
    for bad in ["// TODO: later", "/* Temporary */", "/// remove in 0.2", "fn f() { todo!() }"] {
        complaints(no_promises, &good, &[("src/a.rs", bad)]);
    }
    complaints(no_promises, &good, &[("Makefile", "a: # FIXME")]);
    let said = complaints(no_promises, &good, &[("cache/src/a.rs", "\n// see\n// XXX here")]);
    assert!(said.starts_with("cache/src/a.rs:3:"), "{said}");
}

#[test]
fn reading_the_clock_outside_clock_is_refused() {
    let good = [
        ("src/clock.rs", "SystemTime::now(); Instant::now()"),
        ("src/upstream.rs", "Instant::now()"),
        ("cache/src/arrival.rs", "Instant::now()"),
        ("tests/load.rs", "SystemTime::now()"),
        ("src/prefetch.rs", "#[cfg(test)]\nmod tests { fn f() { Instant::now(); } }"),
    ];
    for (path, text) in [
        ("src/prefetch.rs", "Instant::now()"),
        ("src/ledger/plans.rs", "std::time::Instant::now()"),
        ("src/http.rs", "SystemTime::now()"),
        ("src/verbs/demo.rs", "Zoned::now()"),
        ("cache/src/lib.rs", "jiff::Timestamp::now()"),
        ("build.rs", "SystemTime::now()"),
    ] {
        complaints(time_is_an_argument, &good, &[(path, text)]);
    }
}

#[test]
fn sql_outside_the_ledger_and_sled_outside_the_cache_are_refused() {
    let good = [
        ("src/ledger/rows.rs", "use rusqlite::Row;"),
        ("cache/src/index.rs", "sled::open()"),
        ("src/app.rs", "// sled::open and rusqlite\nlet a = \"rusqlite\"; let assled = 1;"),
    ];
    complaints(engines_have_one_owner, &good, &[("src/intake.rs", "rusqlite::params![]")]);
    complaints(engines_have_one_owner, &good, &[("cache/src/lib.rs", "use rusqlite::Row;")]);
    complaints(engines_have_one_owner, &good, &[("src/app.rs", "let db: sled::Db;")]);
}

#[test]
fn a_fixture_that_no_text_explains_is_refused() {
    let good = [
        ("tests/fixtures/a.dcm", ""),
        ("tests/fixtures/a.txt", "by hand"),
        ("tests/fixtures/b/c.json", ""),
        ("tests/fixtures/b/d.json", ""),
        ("tests/fixtures/README.txt", "c.json came from, d.json was"),
        ("cache/tests/fixtures/e.dcm", ""),
        ("cache/tests/fixtures/e.dcm.txt", "by hand"),
        ("cache/tests/fixtures/LICENSE-e", ""),
    ];
    complaints(
        fixtures_are_explained,
        &good,
        &[("tests/fixtures/a.dcm", ""), ("cache/tests/fixtures/a.txt", "a.dcm")],
    );
    complaints(
        fixtures_are_explained,
        &good,
        &[("tests/fixtures/b/c.json", ""), ("tests/fixtures/README.txt", "about d.json")],
    );
}

#[test]
fn an_interface_without_an_example_is_refused() {
    let toml = ("interfaces/imaging-cloud/ic-a.toml", "");
    let example = ("interfaces/imaging-cloud/ic-a.answer.example", "{}");
    let good = [toml, example, ("interfaces/imaging-cloud/system.toml", "")];
    for other in ["interfaces/other/ic-a.answer.example", "interfaces/imaging-cloud/ic-a.txt"] {
        let said = complaints(interfaces_have_examples, &good, &[toml, (other, "")]);
        assert!(said.contains("ic-a.request.example"), "{said}");
    }
}

#[test]
fn a_figure_without_a_command_or_a_file_of_evidence_is_refused() {
    const PAGE: &str = "docs/PERFORMANCE.md";
    let table = "| what | 2024 |\n|---|---|\n| QIDO | 12 ms |\n";
    let by_command = format!("# A\nMeasured by `make bench`.\n{table}\n# B\nprose\n");
    let by_file = format!("# A\n{table}See [it](evidence/load.md).\n");
    let evidence = ("docs/evidence/load.md", "");
    let good = [(PAGE, by_command.as_str())];
    complaints(
        figures_have_evidence,
        &good,
        &[(PAGE, &format!("# A\n`make bench`\n# B\n{table}"))],
    );
    let said =
        complaints(figures_have_evidence, &[(PAGE, &by_file), evidence], &[(PAGE, &by_file)]);
    assert!(said.contains("`evidence/load.md` does not exist"), "{said}");
    assert!(said.contains(":4: a figure without proof"), "{said}");
}

#[test]
fn a_module_named_for_nothing_is_refused() {
    for bad in ["src/utils.rs", "cache/src/common/rows.rs", "tests/support/helpers.rs"] {
        complaints(names_say_something, &[("src/commonwealth.rs", "")], &[(bad, "")]);
    }
}

#[test]
fn an_ignored_test_is_refused() {
    let good = [("tests/a.rs", "// #[ignore]\nlet a = \"#[ignore]\";")];
    complaints(no_ignored_test, &good, &[("tests/a.rs", "#[test]\n#[ignore]\nfn a() {}")]);
    complaints(no_ignored_test, &good, &[("src/a.rs", "#[ignore = \"slow\"]\nfn a() {}")]);
}

#[test]
fn a_metric_that_nobody_moves_is_refused() {
    let declared = "pub const ACCEPTED: &str = \"forepost_accepted_total\";\n\
                    pub fn describe() { describe_counter!(ACCEPTED, \"\"); }";
    let through = "const ACCEPTED: &str = \"a\";\n\
                   pub fn accepted() { counter!(ACCEPTED).increment(1) }";
    let listed = "pub fn describe() { describe_counter!(\"a_total\", \"of what\"); }";
    let by_name = ("src/http.rs", "metrics::counter!(ACCEPTED).increment(1);");
    let by_call = ("src/http.rs", "metrics::accepted();");
    let by_text = ("src/http.rs", "metrics::counter!(\n    \"a_total\", \"why_not\" => x);");
    let describer = ("src/app.rs", "metrics::describe();");
    for (list, mover) in [(declared, by_name), (through, by_call), (listed, by_text)] {
        let list = ("src/metrics.rs", list);
        complaints(metrics_move, &[list, mover, describer], &[list, describer]);
    }
    let said = complaints(metrics_move, &[by_text], &[("src/metrics.rs", ""), by_text]);
    assert!(said.starts_with("src/http.rs:1: `a_total` is not listed"), "{said}");
}

#[test]
fn a_top_level_entry_that_the_architecture_does_not_name_is_refused() {
    const PAGE: &str = "docs/ARCHITECTURE.md";
    let good = [(PAGE, "`docs/` and `Makefile`"), ("Makefile", "")];
    let said = complaints(entries_are_explained, &good, &[(PAGE, "`docs/`"), ("stuff/a.rs", "")]);
    assert!(said.starts_with("stuff:"), "{said}");
}

#[test]
fn a_decision_that_the_index_does_not_list_is_refused() {
    let page = ("docs/decisions/0001-why.md", "");
    let index = ("docs/decisions/README.md", "[why](0001-why.md)");
    complaints(decisions_are_listed, &[page, index], &[page]);
}

#[test]
fn a_banned_crate_in_a_manifest_is_refused() {
    let deny = ("deny.toml", "[bans]\ndeny = [{ crate = \"chrono\", reason = \"use jiff\" }]");
    let good = [deny, ("Cargo.toml", "[dependencies]\njiff = \"0.2\"")];
    for section in ["dependencies", "dev-dependencies", "workspace.dependencies"] {
        let manifest = format!("[{section}]\nchrono = \"0.4\"");
        let said = complaints(banned_crates, &good, &[deny, ("cache/Cargo.toml", &manifest)]);
        assert!(said.contains("use jiff"), "{said}");
    }
    let silent = ("deny.toml", "[bans]\ndeny = [{ crate = \"chrono\" }]");
    complaints(banned_crates, &good, &[silent]);
}

#[test]
fn what_gitignore_names_is_not_part_of_the_tree() {
    let ignored = ["/target", "node_modules", "*.profraw"];
    assert!(is_ignored("", "target", &ignored));
    assert!(!is_ignored("docs", "target", &ignored));
    assert!(is_ignored("web", "node_modules", &ignored));
    assert!(is_ignored("src", "a.profraw", &ignored));
    assert!(!is_ignored("", "src", &ignored));
}
