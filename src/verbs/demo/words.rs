//! What the demo prints: Chinese first, English beside it or below.

use std::io::IsTerminal;

/// Columns up to which Chinese and English share a line.
const LINE_COLUMNS_MAX: usize = 96;

/// The first lines.
pub(super) fn title() {
    println!();
    println!("{}", strong("Forepost 前置机"));
    say(
        "挂号之后、就诊之前，把患者在外院的影像取到本院",
        "outside images are here before the visit",
    );
}

/// The heading of a part.
pub(super) fn chapter(chinese: &str, english: &str) {
    println!();
    println!("{} {}", strong(&format!("■ {chinese}")), faint(english));
}

/// One sentence in both languages.
pub(super) fn say(chinese: &str, english: &str) {
    both("  ", chinese, english);
}

/// One that belongs to the sentence before.
pub(super) fn under(chinese: &str, english: &str) {
    both("      ", chinese, english);
}

fn both(indent: &str, chinese: &str, english: &str) {
    if indent.len() + columns(chinese) + 2 + columns(english) <= LINE_COLUMNS_MAX {
        println!("{indent}{chinese}  {}", faint(english));
    } else {
        println!("{indent}{chinese}");
        println!("{indent}  {}", faint(english));
    }
}

/// Something that can be pasted into a shell, with what it does.
pub(super) fn command(chinese: &str, english: &str, line: &str) {
    println!();
    println!("  {chinese}  {}", faint(english));
    println!("    {line}");
}

/// That the demo ends now.
pub(super) fn stopping() {
    println!();
    say("正在停止……", "stopping: requests under way are finished, ledger and cache are closed");
}

/// `count` with its noun in English.
pub(super) fn many(count: u64, one: &str, several: &str) -> String {
    format!("{count} {}", if count == 1 { one } else { several })
}

fn strong(text: &str) -> String {
    painted("1", text)
}

fn faint(text: &str) -> String {
    painted("2", text)
}

/// With terminal colours where somebody sees them and has not asked for none (no-color.org).
fn painted(code: &str, text: &str) -> String {
    let colours = std::io::stdout().is_terminal() && std::env::var_os("NO_COLOR").is_none();
    if colours { format!("\x1b[{code}m{text}\x1b[0m") } else { text.to_owned() }
}

/// Columns of a terminal that a text takes: two for a Chinese character.
fn columns(text: &str) -> usize {
    text.chars().map(|character| if character < '\u{1100}' { 1 } else { 2 }).sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chinese_takes_two_columns_a_character() {
        assert_eq!(columns("ready 就绪"), 10);
        assert_eq!(many(1, "study", "studies"), "1 study");
        assert_eq!(many(0, "study", "studies"), "0 studies");
    }
}
