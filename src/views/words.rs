//! What may be repeated of a database's error message.
//!
//! A message helps a person only with its words in it, and it may quote a row, a login or a
//! connection string. Always holds: what is told has no text in quotes that we did not send, no
//! number of six digits or more, and no character outside ASCII. Start at [`told_words`].

use super::limits::WORDS_CHARACTERS_MAX;

/// Classes of SQLSTATE whose messages are about values: data exceptions and violated constraints
/// (ISO/IEC 9075-2, 24.1). Of these only state and number are told.
const CLASSES_ABOUT_VALUES: [&str; 2] = ["22", "23"];

/// Digits in a row from which on a number could be somebody's.
const DIGITS_MAX: usize = 5;

/// The part of `message` that may be told. What stands in quotes stays where `known`, a statement
/// of ours, holds it.
pub(super) fn told_words(state: &str, message: &str, known: &str) -> String {
    if CLASSES_ABOUT_VALUES.iter().any(|class| state.starts_with(class)) {
        return "a value in the view cannot be converted".to_owned();
    }
    let mut told = String::new();
    let mut rest = message;
    while let Some(first) = rest.chars().next() {
        let taken = match first {
            '"' | '\'' | '`' => quoted(rest, first, known, &mut told),
            '0'..='9' => digits(rest, &mut told),
            '\n' | '\r' | '\t' => pass(' ', &mut told),
            ' '..='~' => pass(first, &mut told),
            _ => {
                if !told.ends_with('…') {
                    told.push('…');
                }
                first.len_utf8()
            }
        };
        rest = &rest[taken..];
    }
    told.chars().take(WORDS_CHARACTERS_MAX).collect()
}

fn pass(character: char, told: &mut String) -> usize {
    told.push(character);
    1
}

/// A text in quotes at the start of `rest`; an apostrophe within a word opens none.
fn quoted(rest: &str, mark: char, known: &str, told: &mut String) -> usize {
    if mark == '\'' && told.ends_with(|c: char| c.is_ascii_alphanumeric()) {
        return pass(mark, told);
    }
    let inside = rest[1..].split(mark).next().unwrap_or_default();
    // MariaDB puts the database before a view's name.
    let name = inside.rsplit('.').next().unwrap_or_default();
    let ours = !name.is_empty() && known.to_lowercase().contains(&name.to_lowercase());
    told.push(mark);
    told.push_str(if ours { name } else { "…" });
    told.push(mark);
    (inside.len() + 2).min(rest.len())
}

fn digits(rest: &str, told: &mut String) -> usize {
    let length = rest.len() - rest.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    told.push_str(if length > DIGITS_MAX { "…" } else { &rest[..length] });
    length
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn our_own_names_are_told_and_values_are_not() {
        let sql = "SELECT * FROM View_Register_Info";
        let words = |message: &str| told_words("42P01", message, sql);
        let missing = "ERROR: relation \"view_register_info\" does not exist;\nError 7";
        let told = "ERROR: relation \"view_register_info\" does not exist; Error 7";
        assert_eq!(words(missing), told);
        assert_eq!(
            words("FATAL: password failed for user \"his\""),
            "FATAL: password failed for \
             user \"…\""
        );
        assert_eq!(words("bad value '王小东' near 110199194001010018X"), "bad value '…' near …X");
        assert_eq!(words("can't open `secret"), "can't open `…`");
        assert_eq!(words("列不存在"), "…");
        assert_eq!(words(&"x".repeat(10_000)).len(), WORDS_CHARACTERS_MAX);
    }

    #[test]
    fn of_a_violation_only_its_class_is_told() {
        let told = told_words("22P02", "invalid input syntax for type date: 1380000", "");
        assert!(!told.contains("1380000"), "{told}");
    }
}
