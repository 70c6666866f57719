//! The conversation: question after question, each answer checked before the next.
//!
//! An answer is held against its form at once; a section against the rules of the configuration
//! and against the peers that it names. What a peer refuses may be kept, because clouds are often
//! ready later than the machine. Nothing is written before a person has confirmed the summary, so
//! whoever leaves, by Ctrl-C or because the line broke, leaves nothing behind.

use std::path::Path;

use toml::{Table, Value};

use super::answers::{self, Answers, applies, file_key, line, standard};
use super::compose::compose;
use super::limits::{ENTRIES_MAX, WRONG_ANSWERS_MAX};
use super::peers::{self, Check, Wanted};
use super::questions::{Choice, Kind, Question, SECTIONS, Section, Standard};
use super::site::{self, Site};
use super::terminal::{Left, Terminal, Typed};
use super::words::{self, filled};
use crate::doctor::{State, Words};
use crate::host::CardAddress;

/// What `setup` begins with.
pub struct Beginning<'a> {
    /// The machine.
    pub site: &'a Site,
    /// The present configuration; empty where there is none.
    pub text: &'a str,
    /// What it answers already.
    pub present: &'a Answers,
    /// Whether peers are asked.
    pub check: Check,
}

/// A conversation under way.
pub struct Dialogue<'a> {
    terminal: Terminal,
    from: Beginning<'a>,
    answers: Answers,
    own: Vec<CardAddress>,
}

impl<'a> Dialogue<'a> {
    /// Begins with what the configuration answers.
    pub fn new(terminal: Terminal, from: Beginning<'a>) -> Dialogue<'a> {
        let mut answers = from.present.clone();
        let mut machine = answers.one("machine");
        // The folder has a good default and is not asked, and no configuration is right without.
        if !machine.contains_key("data") {
            let data = super::questions::section("machine").question("data");
            let data = data.and_then(|one| standard(one, &machine));
            machine.extend(data.map(|value| ("data".to_owned(), value)));
        }
        answers.set("machine", machine);
        let own = if from.site.is_here() { site::own_addresses() } else { Vec::new() };
        Dialogue { terminal, from, answers, own }
    }

    /// Asks everything, and gives the answers when a person has confirmed them.
    pub fn run(mut self) -> Result<(Answers, Terminal), Left> {
        self.terminal.tell(&words::WELCOME);
        if !self.from.text.trim().is_empty() {
            let shown = self.from.site.config.display().to_string();
            self.terminal.tell_words(&filled(&words::CONTINUES, &shown));
        }
        for section in SECTIONS.iter().filter(|one| is_spoken(one)) {
            self.section(section)?;
        }
        self.confirm()?;
        Ok((self.answers, self.terminal))
    }

    fn section(&mut self, section: &'static Section) -> Result<(), Left> {
        self.terminal.say(&format!("\n== {}", self.terminal.language.of(&section.title)));
        match section.identity {
            None => self.single(section),
            Some(identity) => self.many(section, identity),
        }
    }

    fn single(&mut self, section: &'static Section) -> Result<(), Left> {
        let mut before = self.answers.one(section.key);
        loop {
            let table = self.table(section, &before, None)?;
            self.answers.set(section.key, table.clone());
            if self.accepted(section, None)? {
                return Ok(());
            }
            before = table;
        }
    }

    fn many(&mut self, section: &'static Section, identity: &'static str) -> Result<(), Left> {
        if self.answers.list(section.key).is_empty() {
            let must = section.key == "hospital";
            if !must && !self.yes(self.terminal.language.of(&section.first), section.usual)? {
                return Ok(());
            }
            self.add(section, identity)?;
        }
        loop {
            let list = self.answers.list(section.key);
            self.terminal.tell(&words::THERE_ARE);
            for (at, one) in list.iter().enumerate() {
                let name = line(one, identity).unwrap_or_default();
                self.terminal.say(&format!("  {}  {name}", at + 1));
            }
            let typed = self.typed(self.terminal.language.of(&words::LIST_COMMANDS))?;
            let place = |text: &str| {
                let at = text.parse::<usize>().ok().and_then(|at| at.checked_sub(1));
                at.filter(|at| *at < list.len())
            };
            match typed.as_str() {
                "" => return Ok(()),
                "a" if list.len() < ENTRIES_MAX => self.add(section, identity)?,
                text => match (place(text), text.strip_prefix('-').and_then(place)) {
                    (Some(at), _) => self.change(section, identity, at)?,
                    (_, Some(at)) => {
                        let mut list = list.clone();
                        list.remove(at);
                        self.answers.set_list(section.key, list);
                        if self.answers.list(section.key).is_empty() {
                            return self.many(section, identity);
                        }
                    }
                    (None, None) => self.terminal.tell(&words::LIST_UNKNOWN),
                },
            }
        }
    }

    fn add(&mut self, section: &'static Section, identity: &'static str) -> Result<(), Left> {
        let table = self.table(section, &Table::new(), None)?;
        let mut list = self.answers.list(section.key);
        list.push(table);
        let at = list.len() - 1;
        self.answers.set_list(section.key, list);
        match self.accepted(section, Some(at))? {
            true => Ok(()),
            false => self.change(section, identity, at),
        }
    }

    /// Asks again for everything but the name, by which the configuration knows it.
    fn change(
        &mut self,
        section: &'static Section,
        identity: &'static str,
        at: usize,
    ) -> Result<(), Left> {
        loop {
            let mut list = self.answers.list(section.key);
            list[at] = self.table(section, &list[at], Some(identity))?;
            self.answers.set_list(section.key, list);
            if self.accepted(section, Some(at))? {
                return Ok(());
            }
        }
    }

    /// Asks the questions of a section, once.
    fn table(
        &mut self,
        section: &'static Section,
        before: &Table,
        known: Option<&str>,
    ) -> Result<Table, Left> {
        let mut done = Table::new();
        for question in section.questions {
            if !applies(question, &done) {
                continue;
            }
            if !question.spoken || known == Some(question.key) {
                let own = before.get(question.key).cloned();
                let value = own.or_else(|| standard(question, &done));
                done.extend(value.map(|value| (question.key.to_owned(), value)));
                continue;
            }
            self.question(section, question, before, &mut done)?;
        }
        Ok(done)
    }

    fn question(
        &mut self,
        section: &'static Section,
        question: &'static Question,
        before: &Table,
        done: &mut Table,
    ) -> Result<(), Left> {
        let held = held(question, before);
        let own = held.clone().or_else(|| {
            self.suggested(question, done).map(|value| (question.key.to_owned(), value))
        });
        self.present_question(question, own.as_ref());
        let prompt = self.prompt(question, own.as_ref());
        for _ in 0..WRONG_ANSWERS_MAX {
            let text = match self.answer(question, &prompt)? {
                Ok(text) => text,
                Err(words) => {
                    self.terminal.tell_words(&words);
                    continue;
                }
            };
            match text.as_str() {
                "" => match (&own, question.standard) {
                    (Some((key, value)), _) => {
                        done.insert(key.clone(), value.clone());
                        return Ok(());
                    }
                    (None, Standard::Needed) => self.terminal.tell(&words::NEEDED),
                    (None, _) => return Ok(()),
                },
                "-" if question.standard != Standard::Needed => return Ok(()),
                text => match self.take(section, question, text) {
                    Ok(value) => {
                        done.insert(question.key.to_owned(), value);
                        return Ok(());
                    }
                    Err(words) => self.terminal.tell_words(&words),
                },
            }
        }
        Err(Left::TooManyWrong)
    }

    /// One answer to a question, or why the line cannot be taken.
    fn answer(&mut self, question: &Question, prompt: &str) -> Result<Result<String, Words>, Left> {
        if question.kind != Kind::Secret {
            return Ok(match self.terminal.line(prompt)? {
                Typed::Line(text) => Ok(text),
                Typed::Wrong(words) => Err(words),
            });
        }
        let hidden = self.terminal.hidden(prompt)?;
        Ok(hidden.map(|secret| {
            use secrecy::ExposeSecret;
            let text = secret.expose_secret().to_owned();
            if !text.is_empty() && text != "-" {
                let count = text.chars().count().to_string();
                self.terminal.tell_words(&filled(&words::TAKEN, &count));
            }
            text
        }))
    }

    /// The value that was typed; of an entry's name whether it is new, of an address by its number.
    fn take(&self, section: &Section, question: &Question, text: &str) -> Result<Value, Words> {
        let by_number = text.parse::<usize>().ok().and_then(|at| self.own.get(at.checked_sub(1)?));
        let text = match by_number {
            Some(own) if question.kind == Kind::Ip => own.address.to_string(),
            _ => text.to_owned(),
        };
        let value = answers::typed(question.kind, &text)?;
        let names = self.answers.list(section.key);
        let taken = |one: &Table| line(one, question.key).as_deref() == Some(&text);
        if section.identity == Some(question.key) && names.iter().any(taken) {
            return Err(filled(&words::SAME_NAME, &text));
        }
        Ok(value)
    }

    /// What holds without an answer: with one card its address, with two the other one for clouds.
    fn suggested(&self, question: &Question, done: &Table) -> Option<Value> {
        let address = |own: &CardAddress| Value::String(own.address.to_string());
        let hospital = line(done, "hospital_address");
        match question.key {
            "hospital_address" if self.own.len() == 1 => self.own.first().map(address),
            "cloud_address" => {
                let is_other = |own: &&CardAddress| Some(own.address.to_string()) != hospital;
                let other = self.own.iter().find(is_other).map(address);
                other.or_else(|| standard(question, done))
            }
            _ => standard(question, done),
        }
    }

    fn present_question(&self, question: &Question, own: Option<&(String, Value)>) {
        let (terminal, language) = (&self.terminal, self.terminal.language);
        let how = if question.kind == Kind::Flag { " (y/n)" } else { "" };
        terminal.say(&format!("\n{}{how}", language.of(&question.asks)));
        if let Kind::One(choices) | Kind::Some(choices) = question.kind {
            for (at, choice) in choices.iter().enumerate() {
                terminal.say(&format!("  {}  {}", at + 1, named(choice, language)));
            }
        }
        if matches!(question.kind, Kind::Some(_)) {
            terminal.tell(&words::NUMBERS);
        }
        if question.kind == Kind::Ip && !self.own.is_empty() {
            terminal.tell(&words::OWN_ADDRESSES);
            for (at, own) in self.own.iter().enumerate() {
                terminal.say(&format!("  {}  {}  {}", at + 1, own.address, own.card));
            }
            terminal.tell(&words::BY_ADDRESS);
        }
        let has_example = !question.example.is_empty() && own.is_none();
        if has_example && !matches!(question.kind, Kind::Flag | Kind::One(_) | Kind::Some(_)) {
            terminal.say(&format!("  {}{}", language.of(&words::EXAMPLE), question.example));
        }
    }

    fn prompt(&self, question: &Question, own: Option<&(String, Value)>) -> String {
        match own {
            Some((_, Value::Boolean(flag))) => if *flag { "[y]" } else { "[n]" }.to_owned(),
            Some((_, value)) if question.kind != Kind::Secret => {
                format!("[{}]", shown(value, self.terminal.language))
            }
            Some(_) => format!("[{}]", self.terminal.language.of(&words::KEPT)),
            None => String::new(),
        }
    }

    /// Whether a section stands: by its own rules, by those of the configuration, by its peers; or
    /// because a person keeps it.
    fn accepted(&mut self, section: &Section, at: Option<usize>) -> Result<bool, Left> {
        let own = self.answers.across().into_iter();
        // Whether the HIS comes at all is known when its views are.
        let own = own.filter(|one| one.key.starts_with(section.key) && section.key != "his");
        let mut wrong: Vec<Words> = own.map(|one| one.words).collect();
        let from = &self.from;
        let composed = compose(&self.answers, from.present, from.text, from.site);
        let config = match composed {
            Ok(composed) => peers::config(&composed, from.site),
            Err(mistakes) => {
                wrong.extend(mistakes.into_iter().map(|one| one.words));
                Err(Vec::new())
            }
        };
        let config = match config {
            Ok(config) if wrong.is_empty() => config,
            Ok(_) => return self.refuse(&wrong),
            Err(lines) => {
                wrong.extend(lines.into_iter().map(|line| Words::new(line.clone(), line)));
                return self.refuse(&wrong);
            }
        };
        if from.check == Check::Offline {
            return Ok(true);
        }
        let names = section.identity.zip(at);
        let name = names.and_then(|(id, at)| line(&self.answers.list(section.key)[at], id));
        let subject =
            name.clone().unwrap_or_else(|| self.terminal.language.of(&section.title).into());
        if peers::has_peer(&config, from.site, section.key, name.as_deref()) {
            self.terminal.tell_words(&filled(&words::CHECKING, &subject));
        }
        let wanted = Wanted::Of(section.key, name.as_deref());
        let findings = peers::findings(&config, &self.answers, from.site, wanted);
        findings
            .iter()
            .for_each(|one| self.terminal.say(&peers::line(one, self.terminal.language)));
        let failing = findings.iter().any(|one| one.state == State::Failing);
        Ok(!failing || self.yes(self.terminal.language.of(&words::KEEP), false)?)
    }

    fn refuse(&self, wrong: &[Words]) -> Result<bool, Left> {
        self.terminal.tell(&words::REFUSED);
        for words in wrong {
            self.terminal.say(&format!("  {}", self.terminal.language.say(words)));
        }
        Ok(false)
    }

    /// Shows everything, and asks until it is confirmed.
    fn confirm(&mut self) -> Result<(), Left> {
        let spoken: Vec<&'static Section> = SECTIONS.iter().filter(|one| is_spoken(one)).collect();
        for _ in 0..WRONG_ANSWERS_MAX {
            self.summary(&spoken);
            let mistakes = self.answers.across();
            for one in &mistakes {
                self.terminal.say(&format!("! {}", self.terminal.language.say(&one.words)));
            }
            let typed = self.typed(self.terminal.language.of(&words::CONFIRM))?;
            let place = typed.parse::<usize>().ok().and_then(|at| spoken.get(at.checked_sub(1)?));
            match (typed.to_lowercase().as_str(), place) {
                ("y" | "yes" | "是", _) if mistakes.is_empty() => return Ok(()),
                ("n" | "no" | "否", _) => return Err(Left::Decided),
                (_, Some(section)) => {
                    self.section(section)?;
                }
                _ => self.terminal.tell(&words::CONFIRM_UNKNOWN),
            }
        }
        Err(Left::TooManyWrong)
    }

    fn summary(&self, sections: &[&'static Section]) {
        let (terminal, language) = (&self.terminal, self.terminal.language);
        terminal.say(&format!("\n== {}", language.of(&words::SUMMARY)));
        for (at, section) in sections.iter().enumerate() {
            terminal.say(&format!("{}  {}", at + 1, language.of(&section.title)));
            let entries = match section.identity {
                None => vec![self.answers.one(section.key)],
                Some(_) => self.answers.list(section.key),
            };
            if entries.iter().all(Table::is_empty) {
                terminal.say(&format!("     {}", language.of(&words::NOTHING_SET)));
            }
            for entry in &entries {
                for text in section.questions.iter().filter_map(|one| told(one, entry, language)) {
                    terminal.say(&format!("     {text}"));
                }
            }
        }
        let shown = |path: &Path| path.display().to_string();
        terminal.say(&format!("   → {}", shown(&self.from.site.at(&self.from.site.config))));
    }

    fn typed(&mut self, prompt: &str) -> Result<String, Left> {
        for _ in 0..WRONG_ANSWERS_MAX {
            self.terminal.say(prompt);
            match self.terminal.line("")? {
                Typed::Line(text) => return Ok(text),
                Typed::Wrong(words) => self.terminal.tell_words(&words),
            }
        }
        Err(Left::TooManyWrong)
    }

    fn yes(&mut self, question: &str, usual: bool) -> Result<bool, Left> {
        yes(&mut self.terminal, question, usual)
    }
}

/// Asks for yes or no.
pub fn yes(terminal: &mut Terminal, question: &str, usual: bool) -> Result<bool, Left> {
    let prompt = if usual { "[y]" } else { "[n]" };
    for _ in 0..WRONG_ANSWERS_MAX {
        terminal.say(&format!("\n{question} (y/n)"));
        match terminal.line(prompt)? {
            Typed::Line(text) if text.is_empty() => return Ok(usual),
            Typed::Line(text) => match answers::typed(Kind::Flag, &text) {
                Ok(value) => return Ok(value.as_bool().unwrap_or(usual)),
                Err(_) => terminal.tell(&words::YES_NO),
            },
            Typed::Wrong(words) => terminal.tell_words(&words),
        }
    }
    Err(Left::TooManyWrong)
}

fn is_spoken(section: &Section) -> bool {
    section.questions.iter().any(|one| one.spoken)
}

/// What was answered before, with the key under which it stands.
fn held(question: &Question, before: &Table) -> Option<(String, Value)> {
    let file = file_key(question.key);
    let secret = question.kind == Kind::Secret;
    let own = before.get(question.key).map(|value| (question.key.to_owned(), value.clone()));
    own.or_else(|| secret.then(|| Some((file.clone(), before.get(&file)?.clone())))?)
}

fn named(choice: &Choice, language: words::Language) -> String {
    format!("{}: {}", choice.value, language.of(&choice.means))
}

/// A value, for people.
fn shown(value: &Value, language: words::Language) -> String {
    match value {
        Value::Boolean(true) => language.of(&words::text("是", "yes")).to_owned(),
        Value::Boolean(false) => language.of(&words::text("否", "no")).to_owned(),
        Value::Array(list) => list.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(", "),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    }
}

/// A line of the summary.
fn told(question: &Question, entry: &Table, language: words::Language) -> Option<String> {
    let short = language.of(&question.asks);
    let short = short.split(['（', '(', '：', ':']).next().unwrap_or(short).trim();
    if question.kind == Kind::Secret {
        let kept = entry.contains_key(&file_key(question.key));
        let count = line(entry, question.key).map(|text| text.chars().count().to_string());
        let words = count.map(|count| filled(&words::TAKEN, &count));
        let said = words.map(|words| language.say(&words).to_owned());
        let said = said.or_else(|| kept.then(|| language.of(&words::KEPT).to_owned()))?;
        return Some(format!("{short}: {said}"));
    }
    let value = entry.get(question.key).filter(|_| question.spoken)?;
    Some(format!("{short}: {}", shown(value, language)))
}
