//! The commands of ours that a text names, held against the binary's own help.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

/// A command that a text names: the verb's words, and the options behind them.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Named {
    pub verb: Vec<String>,
    pub options: BTreeSet<String>,
}

/// Every `forepost VERB …` of a text. A command ends with its line, or before a word that begins
/// another, a comment, a back quote or punctuation.
pub fn named(text: &str) -> Vec<Named> {
    let is_end = |letter: char| "`#|&;，。；：（）、<>\n".contains(letter);
    let mut all = Vec::new();
    for (at, _) in text.match_indices("forepost ") {
        if text[..at]
            .ends_with(|before: char| before.is_ascii_alphanumeric() || "-/_".contains(before))
            && !text[..at].ends_with("bin/")
        {
            continue;
        }
        let command = &text[at + "forepost ".len()..];
        let ends = [command.find(is_end), command.find(", "), command.find(". ")];
        let command = &command[..ends.into_iter().flatten().min().unwrap_or(command.len())];
        let is_verb = |word: &&str| word.starts_with(|first: char| first.is_ascii_lowercase());
        let is_word = |word: &&str| word.chars().all(|one| one.is_ascii_lowercase() || one == '-');
        let words = command.split(' ').take_while(|word| is_verb(word) && is_word(word));
        let verb: Vec<String> = words.map(str::to_owned).collect();
        let options = command.split(' ').filter(|word| word.starts_with("--"));
        let name = |option: &str| {
            let end = |letter: char| !letter.is_ascii_lowercase() && letter != '-';
            option[..option.find(end).unwrap_or(option.len())].to_owned()
        };
        let options = options.map(name).collect();
        if !verb.is_empty() {
            all.push(Named { verb, options });
        }
    }
    all
}

/// What is wrong with these commands: a verb that the binary does not have, an option that the
/// help of the verb does not name. A word behind a verb may be an argument of it.
pub fn complaints(commands: &[Named]) -> Vec<String> {
    let mut helps = BTreeMap::new();
    let mut complaints = BTreeSet::new();
    for command in commands {
        let Some(help) = help_of(&command.verb, &mut helps) else {
            complaints.insert(format!("forepost has no verb {}", command.verb.join(" ")));
            continue;
        };
        for option in &command.options {
            if !help.contains(option.as_str()) {
                complaints.insert(format!("forepost {} has no {option}", command.verb.join(" ")));
            }
        }
    }
    complaints.into_iter().collect()
}

/// The help of the longest verb that these words begin with.
fn help_of(words: &[String], helps: &mut BTreeMap<Vec<String>, Option<String>>) -> Option<String> {
    for length in (1..=words.len().min(2)).rev() {
        let verb = &words[..length];
        let help = helps.entry(verb.to_vec()).or_insert_with(|| {
            let mut program = Command::new(env!("CARGO_BIN_EXE_forepost"));
            let output = program.args(verb).arg("--help").output().expect("forepost starts");
            let text = String::from_utf8_lossy(&output.stdout).into_owned();
            output.status.success().then_some(text)
        });
        // Where a verb has verbs of its own, the first word alone is none.
        let has_more = |text: &String| text.contains("\nCommands:\n") && words.len() > length;
        if let Some(text) = help
            && !has_more(text)
        {
            return Some(text.clone());
        }
    }
    None
}
