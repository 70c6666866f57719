//! From a hospital's own examination item to words that hospitals share: modality, body part, code
//! of WS/T 364.8-2023.
//!
//! For: two hospitals' names for one examination meet here, so that a repeated one can be noticed
//! and studies that resemble an ordered one can be preferred. Always holds: only what a person
//! confirmed is used, by prefetch for what is ordered; a suggestion is made of the item's own words
//! and says with a score and words why. On disk: the ledger's `mapping` and `standard_code`.
//! Refused: guessing a code from its letters. The standard's list is not ours to ship, and a code
//! that looks right is worse than none; so a code is suggested only from pairs that were confirmed
//! and from a list that the hospital imported. Start at [`suggest`]; the knowledge is in
//! `words.rs`.

mod words;

use std::collections::HashMap;

use unicode_normalization::UnicodeNormalization;

use crate::ledger::{MappingShown, StandardCode};
use crate::model::{DictionaryRow, Standard};

/// Whether this is a code of WS/T 364.8-2023 by its form: nine capital letters and digits (imaging
/// cloud's document, 3.6.1).
pub fn is_code(text: &str) -> bool {
    text.len() == 9 && text.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
}

/// A side of the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Side {
    /// 左
    Left,
    /// 右
    Right,
    /// 双侧
    Both,
}

/// With a contrast agent or without.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Contrast {
    /// 平扫
    Plain,
    /// 增强
    Enhanced,
    /// 平扫+增强
    Both,
}

/// What the words of an item say.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Default)]
pub struct Reading {
    /// DICOM's abbreviation.
    pub modality: Option<String>,
    /// Body Part Examined (0018,0015), each once, in the order of the words.
    pub parts: Vec<&'static str>,
    /// The side, where one is said.
    pub side: Option<Side>,
    /// The contrast, where it is said.
    pub contrast: Option<Contrast>,
}

/// Reads a text: an item's name, the name of a body part, a modality in words.
pub fn read(text: &str) -> Reading {
    let text = folded(text);
    Reading {
        modality: words::modality(&text).map(str::to_owned),
        parts: words::parts(&text),
        side: words::side(&text),
        contrast: words::contrast(&text),
    }
}

/// Every term of a body part that a suggestion may hold.
pub fn body_parts() -> impl Iterator<Item = &'static str> {
    words::terms()
}

/// What an item may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Suggestion {
    /// What it may be; what nothing is known of is empty.
    pub standard: Standard,
    /// The words behind it.
    pub reading: Reading,
    /// 0 to 100: 40 for the modality, 40 for the body part, 20 for the code.
    pub score: u8,
    /// Why, one phrase a part.
    pub why: Vec<String>,
}

/// What suggestions of a code are made of.
#[derive(Debug, Clone, Default)]
pub struct Known {
    names: HashMap<(String, String), Vec<String>>,
    readings: HashMap<Reading, Vec<String>>,
}

impl Known {
    /// From what was confirmed, of whichever hospital, and from the imported list.
    pub fn new(confirmed: &[MappingShown], codes: &[StandardCode]) -> Known {
        let mut known = Known::default();
        let confirmed = confirmed.iter().map(|one| (&one.exam_name, &one.standard));
        for (name, standard) in confirmed.chain(codes.iter().map(|one| (&one.name, &one.standard)))
        {
            if standard.code.is_empty() {
                continue;
            }
            let reading = combined(name, &standard.body_part, &standard.modality).0;
            let modality = reading.modality.clone().unwrap_or_default();
            add(known.names.entry((modality, folded(name))).or_default(), &standard.code);
            if reading.modality.is_some() && !reading.parts.is_empty() {
                add(known.readings.entry(reading).or_default(), &standard.code);
            }
        }
        known
    }
}

fn add(codes: &mut Vec<String>, code: &str) {
    if !codes.iter().any(|known| known == code) {
        codes.push(code.to_owned());
    }
}

/// Suggests what an item of a dictionary is, from its name, its body part and its modality.
pub fn suggest(row: &DictionaryRow, known: &Known) -> Suggestion {
    let (reading, mut score, mut why) = combined(&row.name, &row.body_part, &row.modality);
    let modality = reading.modality.clone().unwrap_or_default();
    let by_name = known.names.get(&(modality.clone(), folded(&row.name)));
    let by_reading = known.readings.get(&reading).filter(|_| !reading.parts.is_empty());
    let mut code = String::new();
    match (by_name.map(Vec::as_slice), by_reading.map(Vec::as_slice)) {
        (Some([one]), _) => {
            code = one.clone();
            score += 20;
            why.push("code of the same name".to_owned());
        }
        (_, Some([one])) => {
            code = one.clone();
            score += 12;
            why.push("code of an item of the same modality, part, side and contrast".to_owned());
        }
        (Some(several), _) | (None, Some(several)) => {
            why.push(format!("{} codes fit, none is suggested", several.len()));
        }
        (None, None) => why.push("no code known".to_owned()),
    }
    let standard = Standard { modality, body_part: reading.parts.join("+"), code };
    Suggestion { standard, reading, score, why }
}

/// What name, body part and modality say together, and how sure.
fn combined(name: &str, body_part: &str, modality: &str) -> (Reading, u8, Vec<String>) {
    let (named, given) = (read(name), read(body_part));
    let column = words::modality(&folded(modality)).map(str::to_owned).or_else(|| {
        let code = folded(modality);
        // A code string has at most 16 characters (PS3.5 6.2).
        let is_code =
            (2..=16).contains(&code.len()) && code.bytes().all(|it| it.is_ascii_uppercase());
        is_code.then_some(code)
    });
    let mut why = Vec::new();
    let mut say = |points: u8, words: &str| {
        why.push(words.to_owned());
        points
    };
    let (found, points) = match (named.modality, column) {
        (Some(one), Some(other)) if one == other => {
            (Some(one), say(40, "modality by name and column"))
        }
        // 乳腺钼靶 under DX, 胸片 under CR: the column knows the machine.
        (Some(_), Some(column)) => (Some(column), say(20, "name and column differ in modality")),
        (None, Some(column)) => (Some(column), say(36, "modality by its column")),
        (Some(one), None) => (Some(one), say(32, "modality by name")),
        (None, None) => (None, say(0, "no modality")),
    };
    let mut score = points;
    let (parts, points) = match (named.parts.as_slice(), given.parts.as_slice()) {
        ([], []) => (Vec::new(), say(0, "no body part")),
        ([], _) => (given.parts, say(30, "body part by its column")),
        (_, []) => (named.parts, say(34, "body part by name")),
        (one, other) if words::same_region(one, other) => {
            (named.parts, say(40, "body part by name and column"))
        }
        _ => (named.parts, say(12, "name and column differ in body part")),
    };
    score += points;
    let reading = Reading {
        modality: found,
        parts,
        side: named.side.or(given.side),
        contrast: named.contrast,
    };
    (reading, score, why)
}

/// Full width to half, small letters to capitals, without blanks and brackets.
fn folded(text: &str) -> String {
    let keep = |it: &char| !it.is_whitespace() && !matches!(it, '(' | ')' | '[' | ']' | '·');
    text.nfkc().filter(keep).flat_map(char::to_uppercase).take(TEXT_CHARACTERS_MAX).collect()
}

/// Characters of a text that are read: an item's name has 30, and what follows a hundred is a
/// remark.
const TEXT_CHARACTERS_MAX: usize = 128;

#[cfg(test)]
mod tests;
