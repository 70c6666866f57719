//! `forepost setup`: from an installed package to a running service without editing a file.
//!
//! What for: an engineer of the hospital answers some thirty questions at a terminal, over ssh or
//! a serial line, in Chinese or English, or gives a file of answers. What always holds: an answer
//! is checked at once, by its form, by the rules of the configuration and by the doctor's checks of
//! the peer that it names; nothing is written before all is confirmed; then every file is written
//! whole, the configuration last; and what nobody asked about stays as it was. On the disk:
//! `forepost.toml`, the files of its secrets beside it, `tls/`, and one drop-in a socket. Refused:
//! a program that draws a screen, which a serial line cannot show and a slow ssh makes unusable;
//! and a configuration made from the answers alone, see `compose`. Start at [`run`], then
//! `questions`, `dialogue`, `compose`, `write`.

mod answers;
mod compose;
mod dialogue;
mod ending;
mod limits;
mod peers;
mod present;
mod questions;
mod safekeeping;
mod site;
mod template;
mod terminal;
#[cfg(test)]
mod tests;
mod words;
mod write;

use std::fs;
use std::io::Read;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};

use clap::Args;

use self::answers::{Answers, Mistake, flag, line};
use self::compose::{Composed, compose};
use self::dialogue::{Beginning, Dialogue, yes};
use self::ending::Ending;
use self::limits::ANSWERS_BYTES_MAX;
use self::peers::{Check, Wanted};
use self::site::{Site, start_command};
use self::terminal::{Left, Terminal};
use self::words::{Language, filled};
use self::write::Written;
use super::{DONE, FAILED, MISUSED, fail, wait};
use crate::clock;
use crate::doctor::{self, State, Words};

/// What `setup` takes.
#[derive(Args)]
pub struct SetupArguments {
    /// The language of the conversation; by LANG unless told.
    #[arg(long, value_enum)]
    language: Option<Language>,
    /// Take the answers from this file; no terminal is needed.
    #[arg(long, value_name = "FILE")]
    answers: Option<PathBuf>,
    /// Print a file for --answers with every question, in both languages.
    #[arg(long, conflicts_with = "answers")]
    print_answers: bool,
    /// Call nobody: answers are checked by their form alone.
    #[arg(long)]
    offline: bool,
    /// Show what would be written, and write nothing.
    #[arg(long)]
    dry_run: bool,
    /// As JSON, at the end; with --answers.
    #[arg(long, requires = "answers")]
    json: bool,
    /// Write below this folder as if it were the machine's root: for images.
    #[arg(long, value_name = "DIR", default_value = "/")]
    root: PathBuf,
    /// The configuration that is written; secrets and certificates lie in its folder.
    #[arg(long, default_value = "/etc/forepost/forepost.toml")]
    config: PathBuf,
}

/// Runs the verb.
pub fn run(arguments: &SetupArguments) -> u8 {
    if arguments.print_answers {
        print!("{}", template::template());
        return DONE;
    }
    if !arguments.config.is_absolute() {
        return misuse(format!(
            "--config {}: an absolute path is needed",
            arguments.config.display()
        ));
    }
    let done = Setup::new(arguments).and_then(|setup| match &arguments.answers {
        Some(file) => setup.by_file(file),
        None => setup.by_dialogue(),
    });
    done.unwrap_or_else(|code| code)
}

fn misuse(words: String) -> u8 {
    eprintln!("forepost: {words}");
    MISUSED
}

/// One run.
struct Setup<'a> {
    arguments: &'a SetupArguments,
    site: Site,
    text: String,
    present: Answers,
}

impl<'a> Setup<'a> {
    fn new(arguments: &'a SetupArguments) -> Result<Setup<'a>, u8> {
        let site = Site::new(&arguments.root, &arguments.config);
        let shown = site.at(&site.config).display().to_string();
        let text = match fs::read_to_string(site.at(&site.config)) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => String::new(),
            Err(error) => return Err(fail(format!("{shown}: {error}"))),
        };
        let config: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            misuse(format!(
                "{shown}: {error}\nMend this file, or move it away to begin anew / \
                 请先修正该文件，或移走它重新设置"
            ))
        })?;
        let present = present::answers(&config, &site);
        let setup = Setup { arguments, site, text, present };
        if !arguments.dry_run && !is_writable(&setup.site.at(&setup.site.folder)) {
            let words = filled(&words::NOT_ROOT, &shown);
            return Err(fail(format!("{} / {}", words.zh, words.en)));
        }
        Ok(setup)
    }

    fn check(&self) -> Check {
        if self.arguments.offline { Check::Offline } else { Check::Peers }
    }

    fn by_file(&self, file: &Path) -> Result<u8, u8> {
        let text = read_answers(file)?;
        let language = language_of_file(&text).or(self.arguments.language);
        let language = language.or_else(environment_language).unwrap_or(Language::En);
        let told = |list: Vec<Mistake>| {
            for one in list {
                eprintln!("{}: {}: {}", file.display(), one.key, language.say(&one.words));
            }
            MISUSED
        };
        let answers = Answers::from_file(&text, &self.present).map_err(told)?;
        let composed = compose(&answers, &self.present, &self.text, &self.site).map_err(told)?;
        let setup = answers.one("setup");
        let unsigned = write::unsigned_names(&composed, &self.site);
        if !unsigned.is_empty() && !flag(&setup, "new_authority") {
            let words = filled(&words::AUTHORITY_NEEDED, &unsigned.join(", "));
            return Err(told(vec![Mistake::new("machine.names", words)]));
        }
        let config = peers::config(&composed, &self.site).map_err(|lines| {
            eprintln!("{}", language.of(&words::REFUSED));
            lines.iter().for_each(|line| eprintln!("{line}"));
            MISUSED
        })?;
        let mut ending = Ending::new(language, self.arguments.json);
        if self.check() == Check::Peers {
            let all = peers::findings(&config, &answers, &self.site, Wanted::All);
            ending.findings(all);
            if ending.failing() && !flag(&setup, "keep_failing_peers") {
                ending.print();
                return Err(fail(language.of(&words::FAILING_PEERS)));
            }
        }
        if self.arguments.dry_run {
            ending.planned(&composed, write::planned(&composed, &self.site));
            ending.print();
            return Ok(DONE);
        }
        let written = self.write(&composed, !unsigned.is_empty())?;
        ending.written(&written);
        let starts = flag(&setup, "start") && self.site.has_systemd();
        Ok(self.finish(ending, &answers, &composed, &written, starts))
    }

    fn by_dialogue(&self) -> Result<u8, u8> {
        let mut terminal = Terminal::new();
        let language = self.language(&mut terminal)?;
        terminal.speak(language);
        let left = |left: Left| {
            println!("{}", language.of(&left.words()));
            if left == Left::Decided { DONE } else { FAILED }
        };
        let from = Beginning {
            site: &self.site,
            text: &self.text,
            present: &self.present,
            check: self.check(),
        };
        let (answers, mut terminal) = Dialogue::new(terminal, from).run().map_err(left)?;
        let composed = compose(&answers, &self.present, &self.text, &self.site);
        let composed = composed.map_err(|list| {
            list.iter().for_each(|one| eprintln!("{}: {}", one.key, language.say(&one.words)));
            MISUSED
        })?;
        let mut ending = Ending::new(language, false);
        if self.arguments.dry_run {
            ending.planned(&composed, write::planned(&composed, &self.site));
            ending.print();
            return Ok(DONE);
        }
        let unsigned = write::unsigned_names(&composed, &self.site);
        let another = !unsigned.is_empty() && {
            let question = filled(&words::AUTHORITY, &unsigned.join(", "));
            yes(&mut terminal, language.say(&question), false).map_err(left)?
        };
        let starts = self.site.has_systemd()
            && yes(&mut terminal, language.of(&words::START), true).map_err(left)?;
        // From here on the end of this process by Ctrl-C could not say that nothing was written.
        drop(terminal);
        let written = self.write(&composed, another)?;
        ending.written(&written);
        Ok(self.finish(ending, &answers, &composed, &written, starts))
    }

    fn write(&self, composed: &Composed, another_authority: bool) -> Result<Written, u8> {
        let now = clock::now();
        if another_authority {
            write::put_authority_aside(composed, &self.site, now).map_err(fail)?;
        }
        write::write(composed, &self.site, now).map_err(fail)
    }

    /// Starts the service, looks at everything, and says what goes to whom.
    fn finish(
        &self,
        mut ending: Ending,
        answers: &Answers,
        composed: &Composed,
        written: &Written,
        starts: bool,
    ) -> u8 {
        let language = ending.language;
        if self.site.group().is_none() {
            ending.note(words_of(&words::NO_GROUP));
        }
        if starts {
            ending.say(language.of(&words::STARTING));
            match self.site.start(&composed.units, written.moved) {
                Ok(()) => {
                    ending.started = true;
                    ending.note(words_of(&words::STARTED));
                }
                Err(told) => {
                    ending.failed(told);
                    let by_hand = start_command(&composed.units);
                    ending.note(filled(&words::NOT_STARTED, &by_hand));
                }
            }
        } else if self.site.is_here() {
            ending.note(filled(&words::START_BY_HAND, &start_command(&composed.units)));
        }
        if ending.started {
            safekeeping::keep_safe(&mut ending, answers, &self.site, self.text.is_empty());
        }
        if ending.started && self.check() == Check::Peers {
            match peers::config(composed, &self.site) {
                Ok(config) => match wait(doctor::all(&config, clock::now())) {
                    Ok(findings) => ending.doctor(findings),
                    Err(code) => return code,
                },
                Err(lines) => lines.into_iter().for_each(|line| ending.failed(line)),
            }
        }
        ending.hand_over(answers, composed, &self.site);
        ending.print();
        if ending.has_failed() { FAILED } else { DONE }
    }

    /// `--language`, else what LANG says, else a question.
    fn language(&self, terminal: &mut Terminal) -> Result<Language, u8> {
        if let Some(language) = self.arguments.language {
            return Ok(language);
        }
        if std::env::var("TERM").is_ok_and(|term| term == "linux") {
            println!("{}", words::LINUX_CONSOLE.en);
            return Ok(Language::En);
        }
        match environment_language() {
            Some(language) => Ok(language),
            None => terminal.ask_language().map_err(|left| {
                println!("{}", left.words().en);
                FAILED
            }),
        }
    }
}

fn words_of(text: &words::Text) -> Words {
    Words::new(text.zh, text.en)
}

fn read_answers(file: &Path) -> Result<String, u8> {
    let shown = file.display();
    let opened = fs::File::open(file).map_err(|error| misuse(format!("{shown}: {error}")))?;
    let mut bytes = Vec::new();
    let read = opened.take(ANSWERS_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.map_err(|error| misuse(format!("{shown}: {error}")))?;
    if bytes.len() as u64 > ANSWERS_BYTES_MAX {
        return Err(misuse(format!("{shown}: more than {ANSWERS_BYTES_MAX} bytes")));
    }
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        misuse(format!("{shown}: not UTF-8 at byte {}; save it as UTF-8", at + 1))
    })
}

fn language_of_file(text: &str) -> Option<Language> {
    let table: toml::Table = text.parse().ok()?;
    let setup = table.get("setup")?.as_table()?;
    Language::from_name(&line(setup, "language")?)
}

/// As `setlocale` looks (POSIX.1-2024, 8.2): the first that is set counts.
fn environment_language() -> Option<Language> {
    let set = ["LC_ALL", "LC_MESSAGES", "LANG"].into_iter();
    let set = set.filter_map(|key| std::env::var(key).ok()).find(|value| !value.is_empty())?;
    match set.get(..2)? {
        "zh" => Some(Language::Zh),
        "en" => Some(Language::En),
        _ => None,
    }
}

/// Whether files can be made in a folder, or in the nearest one above it that is there.
fn is_writable(folder: &Path) -> bool {
    let there = folder.ancestors().find(|one| one.exists()).unwrap_or(Path::new("/"));
    let Ok(name) = std::ffi::CString::new(there.as_os_str().as_bytes()) else { return false };
    // SAFETY: the name is a C string that lives through the call.
    unsafe { libc::access(name.as_ptr(), libc::W_OK) == 0 }
}

/// Whether one of them fails.
fn any_failing(findings: &[doctor::Finding]) -> bool {
    findings.iter().any(|one| one.state == State::Failing)
}
