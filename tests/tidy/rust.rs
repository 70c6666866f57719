//! Just enough Rust to judge a file by: code apart from comments and literals, the product apart
//! from its tests, the length of functions, the names a file imports.
//!
//! All views keep every byte offset and every line of the original: what is not wanted becomes
//! blanks. A full parser was refused: it would be the largest dependency of the tests, and these
//! rules need only words, braces and line numbers.

/// One Rust text apart: what compiles, what is said about it, and what it quotes.
pub struct Views {
    /// The text with comments and the insides of string and character literals blanked.
    pub code: String,
    /// The text with everything but comments blanked.
    pub comments: String,
    /// The literals, as they are written, with the places where they begin.
    pub literals: Vec<(usize, String)>,
}

/// Which view a piece of text belongs to.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Code,
    Comment,
    Literal,
}

impl Views {
    /// Splits `text`. A text that breaks off inside a literal or a comment is blanked to its end.
    pub fn of(text: &str) -> Views {
        let mut views =
            Views { code: String::new(), comments: String::new(), literals: Vec::new() };
        let mut rest = text;
        let mut before = ' ';
        while let Some(first) = rest.chars().next() {
            let (kind, length) = piece(rest, before);
            let (taken, left) = rest.split_at(length.max(first.len_utf8()).min(rest.len()));
            if kind == Kind::Literal {
                views.literals.push((views.code.len(), taken.to_owned()));
            }
            for c in taken.chars() {
                views.push(kind, c);
            }
            before = taken.chars().next_back().unwrap_or(' ');
            rest = left;
        }
        views
    }

    /// The code without what is compiled for tests only.
    pub fn product(&self) -> String {
        let mut product = self.code.clone();
        let mut from = 0;
        while let Some(at) = product[from..].find("#[cfg(test)]") {
            let start = from + at;
            let end = item_end(&product, start + "#[cfg(test)]".len());
            let blank: String =
                product[start..end].chars().map(|c| if c == '\n' { c } else { ' ' }).collect();
            product.replace_range(start..end, &blank);
            from = end;
        }
        product
    }

    fn push(&mut self, kind: Kind, c: char) {
        let blank = if c == '\n' { "\n".to_owned() } else { " ".repeat(c.len_utf8()) };
        match kind {
            Kind::Code => {
                // Code outside literals is ASCII here; anything else becomes blanks, so that
                // offsets stay on character boundaries of both views.
                if c.is_ascii() {
                    self.code.push(c);
                } else {
                    self.code.push_str(&blank);
                }
                self.comments.push_str(&blank);
            }
            Kind::Comment => {
                self.code.push_str(&blank);
                self.comments.push(c);
            }
            Kind::Literal => {
                self.code.push_str(&blank);
                self.comments.push_str(&blank);
            }
        }
    }
}

/// The kind and the length in bytes of the piece at the start of `rest`; `before` is the character
/// in front of it.
fn piece(rest: &str, before: char) -> (Kind, usize) {
    if rest.starts_with("//") {
        return (Kind::Comment, rest.find('\n').unwrap_or(rest.len()));
    }
    if rest.starts_with("/*") {
        return (Kind::Comment, block_comment(rest));
    }
    if rest.starts_with('"') {
        return (Kind::Literal, quoted(rest, '"'));
    }
    if rest.starts_with('\'') {
        let mut chars = rest.chars().skip(1);
        let (next, after) = (chars.next(), chars.next());
        // 'a' and '\n' are characters, 'a without a closing mark is a lifetime.
        return match (next, after) {
            (Some('\\'), _) | (_, Some('\'')) => (Kind::Literal, quoted(rest, '\'')),
            _ => (Kind::Code, 1),
        };
    }
    if !is_word(before) {
        let prefix = rest.find(|c| !matches!(c, 'b' | 'c' | 'r')).unwrap_or(rest.len());
        let hashes = rest[prefix..].chars().take_while(|c| *c == '#').count();
        let raw = prefix > 0 && rest[..prefix].ends_with('r');
        if raw && rest[prefix + hashes..].starts_with('"') {
            let open = prefix + hashes + 1;
            let close = format!("\"{}", "#".repeat(hashes));
            let end = rest[open..].find(&close).map_or(rest.len(), |at| open + at + close.len());
            return (Kind::Literal, end);
        }
    }
    (Kind::Code, 1)
}

/// The length of the block comment at the start of `rest`; block comments nest in Rust.
fn block_comment(rest: &str) -> usize {
    let mut depth = 0_usize;
    let mut at = 0;
    while at < rest.len() {
        if rest[at..].starts_with("/*") {
            depth += 1;
            at += 2;
        } else if rest[at..].starts_with("*/") {
            depth -= 1;
            at += 2;
            if depth == 0 {
                return at;
            }
        } else {
            at += rest[at..].chars().next().map_or(1, char::len_utf8);
        }
    }
    rest.len()
}

/// The length of the literal at the start of `rest`, up to and with its closing `mark`.
fn quoted(rest: &str, mark: char) -> usize {
    let mut escaped = false;
    for (at, c) in rest.char_indices().skip(1) {
        if escaped {
            escaped = false;
        } else if c == '\\' {
            escaped = true;
        } else if c == mark {
            return at + c.len_utf8();
        }
    }
    rest.len()
}

/// Where the item that begins at or after `from` ends: its `;`, or the brace that closes it.
fn item_end(code: &str, from: usize) -> usize {
    let Some(at) = body_or_end(code, from) else { return code.len() };
    if code[at..].starts_with('{') { closing_brace(code, at) + 1 } else { at + 1 }
}

/// The first `{` or `;` after `from` that stands in no parenthesis or bracket.
fn body_or_end(code: &str, from: usize) -> Option<usize> {
    let mut depth = 0_i32;
    for (at, c) in code[from..].char_indices() {
        match c {
            '(' | '[' => depth += 1,
            ')' | ']' => depth -= 1,
            '{' | ';' if depth == 0 => return Some(from + at),
            _ => {}
        }
    }
    None
}

/// The brace that closes the one at `open`, or the last byte of a text that breaks off.
fn closing_brace(code: &str, open: usize) -> usize {
    let mut depth = 0_usize;
    for (at, c) in code[open..].char_indices() {
        match c {
            '{' => depth += 1,
            '}' => {
                depth -= 1;
                if depth == 0 {
                    return open + at;
                }
            }
            _ => {}
        }
    }
    code.len() - 1
}

/// True for what may stand inside an identifier.
pub fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Every place where `word` stands in `code` and is not a part of a longer identifier. `word` may
/// hold punctuation, as in `Instant::now`.
pub fn words<'a>(code: &'a str, word: &'a str) -> impl Iterator<Item = usize> + 'a {
    code.match_indices(word).map(|(at, _)| at).filter(move |at| {
        let before = code[..*at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        let open_left = !word.starts_with(is_word) || !before.is_some_and(is_word);
        let open_right = !word.ends_with(is_word) || !after.is_some_and(is_word);
        open_left && open_right
    })
}

/// The line, counted from one, that the byte `at` stands on.
pub fn line_of(text: &str, at: usize) -> usize {
    text.as_bytes()[..at].iter().filter(|b| **b == b'\n').count() + 1
}

/// A function with a body.
pub struct Function<'a> {
    /// Its name.
    pub name: &'a str,
    /// The line of its `fn`, counted from one.
    pub line: usize,
    /// From the line of its `fn` to the line of its closing brace, both counted.
    pub lines: usize,
    /// Its body with the braces.
    pub body: &'a str,
    /// Where the body begins, in bytes of the code.
    pub start: usize,
}

/// Every function of `code` that has a body.
pub fn functions(code: &str) -> Vec<Function<'_>> {
    let mut found = Vec::new();
    for at in words(code, "fn") {
        let rest = &code[at + 2..];
        let name_at = at + 2 + (rest.len() - rest.trim_start().len());
        let length = code[name_at..].find(|c| !is_word(c)).unwrap_or(code.len() - name_at);
        // `fn(u8) -> u8` is a type, not a function.
        if length == 0 {
            continue;
        }
        let Some(open) = body_or_end(code, name_at) else { continue };
        if !code[open..].starts_with('{') {
            continue;
        }
        let close = closing_brace(code, open);
        let (line, last) = (line_of(code, at), line_of(code, close));
        found.push(Function {
            name: &code[name_at..name_at + length],
            line,
            lines: last - line + 1,
            body: &code[open..=close],
            start: open,
        });
    }
    found
}

/// The modules of the crate's root that `code` names, with the lines: `crate::x`, `forepost::x`
/// and, in a file `depth` modules below the root, that many `super::`.
pub fn root_names(code: &str, depth: usize) -> Vec<(usize, String)> {
    let mut found = Vec::new();
    for root in ["crate", "forepost"] {
        for at in words(code, root) {
            if let Some(rest) = path_step(&code[at + root.len()..]) {
                found.extend(first_names(rest).into_iter().map(|name| (line_of(code, at), name)));
            }
        }
    }
    for at in words(code, "super") {
        // Only the first of a chain `super::super` is followed.
        if code[..at].trim_end().ends_with("::") {
            continue;
        }
        let mut steps = 1;
        let mut rest = path_step(&code[at + "super".len()..]);
        while let Some(next) = rest.and_then(|rest| rest.strip_prefix("super")) {
            steps += 1;
            rest = path_step(next);
        }
        if let Some(rest) = rest.filter(|_| steps == depth) {
            found.extend(first_names(rest).into_iter().map(|name| (line_of(code, at), name)));
        }
    }
    found
}

/// What follows a `::` at the start of `rest`.
fn path_step(rest: &str) -> Option<&str> {
    rest.trim_start().strip_prefix("::").map(str::trim_start)
}

/// The first name of each path at the start of `rest`: one, or as many as the group `{a::b, c}`.
fn first_names(rest: &str) -> Vec<String> {
    let name = |text: &str| -> String { text.chars().take_while(|c| is_word(*c)).collect() };
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let mut names = vec![name(group.trim_start())];
    let mut depth = 0_usize;
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth == 0 => break,
            '}' => depth -= 1,
            ',' if depth == 0 => names.push(name(group[at + 1..].trim_start())),
            _ => {}
        }
    }
    names
}
