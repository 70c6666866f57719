//! Lines from a terminal, whatever it is: a screen, ssh, a serial line, a pipe.
//!
//! The terminal's own line editing is used, so its Backspace works. For as long as questions are
//! asked it is told two things. A carriage return ends a line by itself and is not turned into a
//! line feed: a serial line whose Enter sends both would otherwise answer the next question, too,
//! by an empty line. And what is secret is not echoed. Whatever ends the program puts it right
//! again. Nothing moves a cursor, nothing is coloured.

use std::io::{self, IsTerminal, Read, StdinLock, Write};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicBool, Ordering};

use secrecy::SecretString;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::limits::{COLUMNS, LINE_BYTES_MAX, LINE_PASSED_BYTES_MAX, WRONG_ANSWERS_MAX};
use super::words::{self, Language, Text, filled};
use crate::doctor::Words;

/// Why no more is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Left {
    /// The input ended.
    Ended,
    /// One question was answered wrong too often.
    TooManyWrong,
    /// A person said so.
    Decided,
}

impl Left {
    /// What is said about it.
    pub fn words(self) -> Text {
        match self {
            Left::Ended => words::ENDED,
            Left::TooManyWrong => words::TOO_MANY_WRONG,
            Left::Decided => words::LEFT,
        }
    }
}

/// A line that was typed.
pub enum Typed {
    /// Its text, without blanks at its ends.
    Line(String),
    /// It cannot be taken, for this reason.
    Wrong(Words),
}

/// Where questions are asked.
pub struct Terminal {
    /// The language of the conversation.
    pub language: Language,
    input: StdinLock<'static>,
    mode: Option<Mode>,
    /// The last line ended with a carriage return: a line feed behind it belongs to it.
    returned: bool,
}

impl Terminal {
    /// Standard input and output.
    pub fn new() -> Terminal {
        let language = Language::En;
        Terminal { language, input: io::stdin().lock(), mode: Mode::begin(), returned: false }
    }

    /// Goes on in that language.
    pub fn speak(&mut self, language: Language) {
        self.language = language;
        IN_CHINESE.store(language == Language::Zh, Ordering::Relaxed);
    }

    /// The first question, where nothing says which language to ask it in.
    pub fn ask_language(&mut self) -> Result<Language, Left> {
        for _ in 0..WRONG_ANSWERS_MAX {
            self.say("Language / 语言:  1  English   2  中文");
            match self.line("[1]")? {
                Typed::Line(text) if ["", "1", "en"].contains(&&*text) => return Ok(Language::En),
                Typed::Line(text) if ["2", "zh"].contains(&&*text) => return Ok(Language::Zh),
                Typed::Line(_) => {}
                Typed::Wrong(words) => self.tell_words(&words),
            }
        }
        Err(Left::TooManyWrong)
    }

    /// Says something, in lines that fit.
    pub fn say(&self, text: &str) {
        let mut out = io::stdout().lock();
        for line in text.lines() {
            for part in wrapped(line, COLUMNS - 1) {
                // Whoever closed the output reads no complaint about it either.
                let _ = writeln!(out, "{part}");
            }
        }
        let _ = out.flush();
    }

    /// Says a fixed text.
    pub fn tell(&self, text: &Text) {
        self.say(self.language.of(text));
    }

    /// Says words.
    pub fn tell_words(&self, words: &Words) {
        self.say(self.language.say(words));
    }

    /// Asks for a line that may be seen.
    pub fn line(&mut self, prompt: &str) -> Result<Typed, Left> {
        self.prompt(prompt);
        let bytes = self.read(true)?;
        Ok(match typed(&bytes) {
            Typed::Line(text) => foreign(text),
            wrong => wrong,
        })
    }

    /// Asks for a line that is not shown, where the input is a terminal.
    pub fn hidden(&mut self, prompt: &str) -> Result<Result<SecretString, Words>, Left> {
        self.echo(false);
        self.prompt(prompt);
        let bytes = self.read(false);
        self.echo(true);
        Ok(match typed(&bytes?) {
            Typed::Line(text) => Ok(text.into()),
            Typed::Wrong(words) => Err(words),
        })
    }

    fn echo(&self, shown: bool) {
        if let Some(mode) = &self.mode {
            mode.echo(shown);
        }
    }

    fn prompt(&self, prompt: &str) {
        let mut out = io::stdout().lock();
        let _ = write!(out, "{prompt}> ");
        let _ = out.flush();
    }

    /// The bytes of a line without its end, one more than allowed where it is too long.
    fn read(&mut self, shown: bool) -> Result<Vec<u8>, Left> {
        let on_terminal = self.mode.is_some();
        let mut line = Vec::new();
        let mut passed = 0;
        loop {
            let byte = match next(&mut self.input) {
                Some(byte) => byte,
                None if line.is_empty() || on_terminal => return Err(Left::Ended),
                // The last line of a file may have no end.
                None => return Ok(line),
            };
            match byte {
                b'\n' if self.returned && line.is_empty() => self.returned = false,
                b'\n' | b'\r' => {
                    self.returned = byte == b'\r';
                    // What a terminal echoes of a carriage return leaves the cursor on its line.
                    if on_terminal && (!shown || byte == b'\r') {
                        println!();
                    }
                    return Ok(line);
                }
                _ if line.len() <= LINE_BYTES_MAX => {
                    self.returned = false;
                    line.push(byte);
                }
                _ => passed += 1,
            }
            if passed > LINE_PASSED_BYTES_MAX {
                return Err(Left::TooManyWrong);
            }
        }
    }
}

fn next(input: &mut StdinLock<'_>) -> Option<u8> {
    let mut byte = [0];
    loop {
        match input.read(&mut byte) {
            Ok(0) => return None,
            Ok(_) => return Some(byte[0]),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return None,
        }
    }
}

fn typed(bytes: &[u8]) -> Typed {
    if bytes.len() > LINE_BYTES_MAX {
        return Typed::Wrong(filled(&words::TOO_LONG, &LINE_BYTES_MAX.to_string()));
    }
    let text = match std::str::from_utf8(bytes) {
        Ok(text) => text,
        Err(fault) => {
            let at = fault.valid_up_to();
            let which = format!("byte {}: 0x{:02X}", at + 1, bytes[at]);
            return Typed::Wrong(filled(&words::NOT_UTF8, &which));
        }
    };
    match text.trim().chars().find(|sign| sign.is_control()) {
        Some(sign) => {
            let which = format!("U+{:04X}", u32::from(sign));
            Typed::Wrong(filled(&words::CONTROL, &which))
        }
        None => Typed::Line(text.trim().to_owned()),
    }
}

/// A terminal that sends GBK: most of what it sends is no UTF-8, but two characters of it may look
/// like one of Greek, Cyrillic or Hebrew. None of these is part of an answer here.
fn foreign(text: String) -> Typed {
    match text.chars().find(|sign| ('\u{a1}'..='\u{7ff}').contains(sign)) {
        Some(sign) => {
            let which = format!("U+{:04X}", u32::from(sign));
            Typed::Wrong(filled(&words::NOT_UTF8, &which))
        }
        None => Typed::Line(text),
    }
}

/// A text in lines of at most so many columns, broken at blanks, and between any two characters
/// where they are wide; the indentation of the text stands before each.
pub fn wrapped(text: &str, columns: usize) -> Vec<String> {
    let indent: String = text.chars().take_while(|sign| *sign == ' ').collect();
    let mut lines = Vec::new();
    let mut line = indent.clone();
    let mut blanks = String::new();
    for piece in pieces(&text[indent.len()..]) {
        let width = line.width() + blanks.len() + piece.width();
        if width > columns && line.len() > indent.len() && piece != " " {
            lines.push(std::mem::replace(&mut line, indent.clone()));
            blanks.clear();
        }
        if piece == " " {
            blanks.push(' ');
            continue;
        }
        line.push_str(&std::mem::take(&mut blanks));
        line.push_str(piece);
    }
    lines.push(line);
    lines
}

/// Words, blanks, and single wide characters with the punctuation that must not begin a line.
fn pieces(text: &str) -> impl Iterator<Item = &str> {
    const HANGING: &str = "，。、；：？！）】》…";
    let mut rest = text;
    std::iter::from_fn(move || {
        let first = rest.chars().next()?;
        let wide = |sign: char| sign.width().unwrap_or(0) > 1;
        let mut end = first.len_utf8();
        if first != ' ' {
            for sign in rest[end..].chars() {
                let hangs = HANGING.contains(sign);
                if !hangs && (sign == ' ' || wide(first) || wide(sign)) {
                    break;
                }
                end += sign.len_utf8();
            }
        }
        let piece;
        (piece, rest) = rest.split_at(end);
        Some(piece)
    })
}

/// How the terminal was before, for the handler of signals.
static BEFORE: OnceLock<libc::termios> = OnceLock::new();

/// What is said when a person interrupts: which language it is in.
static IN_CHINESE: AtomicBool = AtomicBool::new(false);

/// A terminal on which questions are asked; it is as it was afterwards.
struct Mode(libc::termios);

impl Mode {
    /// `None` where the input is no terminal.
    fn begin() -> Option<Mode> {
        if !io::stdin().is_terminal() {
            return None;
        }
        // SAFETY: a termios is plain numbers, for which zeros are a value.
        let mut before: libc::termios = unsafe { std::mem::zeroed() };
        // SAFETY: the call writes one termios, which is here.
        if unsafe { libc::tcgetattr(libc::STDIN_FILENO, &mut before) } != 0 {
            return None;
        }
        let before = *BEFORE.get_or_init(|| before);
        let mut now = before;
        now.c_iflag &= !(libc::ICRNL | libc::INLCR | libc::IGNCR);
        // Backspace takes a character, not a byte.
        now.c_iflag |= libc::IUTF8;
        now.c_lflag &= !libc::ECHOCTL;
        now.c_lflag |= libc::ICANON | libc::IEXTEN | libc::ISIG;
        now.c_cc[libc::VEOL] = b'\r';
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: the handler calls nothing but what signal-safety(7) allows.
            unsafe { libc::signal(signal, interrupted as *const () as libc::sighandler_t) };
        }
        let mode = Mode(now);
        mode.set(&now);
        Some(mode)
    }

    fn echo(&self, shown: bool) {
        let mut now = self.0;
        if !shown {
            now.c_lflag &= !libc::ECHO;
        }
        self.set(&now);
    }

    fn set(&self, to: &libc::termios) {
        // SAFETY: the call reads one termios, which is here.
        unsafe { libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, to) };
    }
}

impl Drop for Mode {
    fn drop(&mut self) {
        if let Some(before) = BEFORE.get() {
            self.set(before);
        }
        for signal in [libc::SIGINT, libc::SIGTERM, libc::SIGHUP, libc::SIGQUIT] {
            // SAFETY: the default takes no handler.
            unsafe { libc::signal(signal, libc::SIG_DFL) };
        }
    }
}

/// Puts the terminal right, then ends as the signal does by itself.
extern "C" fn interrupted(signal: libc::c_int) {
    let said = match IN_CHINESE.load(Ordering::Relaxed) {
        true => words::INTERRUPTED.zh,
        false => words::INTERRUPTED.en,
    };
    // SAFETY: each of these is in the list of signal-safety(7), and what they read lives.
    unsafe {
        if let Some(before) = BEFORE.get() {
            libc::tcsetattr(libc::STDIN_FILENO, libc::TCSANOW, before);
        }
        for part in ["\n", said, "\n"] {
            libc::write(libc::STDOUT_FILENO, part.as_ptr().cast(), part.len());
        }
        libc::signal(signal, libc::SIG_DFL);
        libc::raise(signal);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_fit_and_nothing_is_lost() {
        let text =
            "  面向院内网的地址，与云平台分开。The address that faces the hospital's network.";
        for columns in 10..80 {
            let lines = wrapped(text, columns);
            for line in &lines {
                let longest = 2 + "hospital's".len();
                assert!(line.width() <= columns.max(longest) + 2, "{columns}: {line}");
                assert!(line.starts_with("  "));
            }
            let joined: String = lines.concat().replace(' ', "");
            assert_eq!(joined, text.replace(' ', ""), "{columns}");
        }
    }

    #[test]
    fn what_is_typed_is_named_where_it_cannot_be_taken() {
        let told = |bytes: &[u8]| match typed(bytes) {
            Typed::Line(text) => text,
            Typed::Wrong(words) => format!("wrong: {}", words.en),
        };
        assert_eq!(told(b"  H1 "), "H1");
        assert!(told(b"ab\xd6\xd0").contains("byte 3: 0xD6"));
        assert!(told(b"a\x1b[A").contains("U+001B"));
        assert!(told(&[b'a'; LINE_BYTES_MAX + 1]).contains("too long"));
        assert_eq!(told(&[b'a'; LINE_BYTES_MAX]).len(), LINE_BYTES_MAX);
    }
}
