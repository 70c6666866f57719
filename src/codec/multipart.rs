//! Reads multipart/related bodies as they come (RFC 2046, 5.1; RFC 2387; PS3.18 8.6.1.2).
//!
//! What for: a study is one body of many objects and may take gigabytes, so nothing is collected.
//! What always holds: the bytes of a part come out as slices of the chunks that were fed, in
//! order, without a copy; only the few bytes that looked like the start of a delimiter at the end
//! of a chunk come out as a slice of the delimiter itself. `Finished` comes only after the closing
//! delimiter has been seen whole, so a body that ends early never looks complete.
//! On the wire: preamble, then per part `--boundary`, header lines, an empty line, bytes; then
//! `--boundary--` and an epilogue. Preamble and epilogue are ignored (RFC 2046, 5.1.1). Lines end
//! with CR LF; a body whose first delimiter line ends with LF alone is read with LF throughout,
//! decided once, so that a CR before it stays content.
//! Refused: `Content-Length` in a part's header as framing. Gateways that re-encode leave it wrong,
//! and the delimiter has to be found anyway to prove that the part is whole. It is not even read.
//! Start reading at [`Reader::event`].

use bytes::Bytes;
use memchr::memmem::Finder;

use crate::limits::{BOUNDARY_CHARACTERS_MAX, PART_HEADER_BYTES_MAX};

/// What is wrong with a body.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MultipartError {
    /// The boundary is empty or longer than [`BOUNDARY_CHARACTERS_MAX`].
    #[error("a boundary of {got} characters, expected 1 to {BOUNDARY_CHARACTERS_MAX}")]
    Boundary {
        /// Its characters.
        got: usize,
    },
    /// Something other than blanks stands behind a delimiter.
    #[error("text behind a delimiter in part {part}")]
    DelimiterLine {
        /// Parts begun before it.
        part: usize,
    },
    /// A header block longer than [`PART_HEADER_BYTES_MAX`].
    #[error("the header of part {part} exceeds {PART_HEADER_BYTES_MAX} bytes")]
    HeaderTooLong {
        /// The part, counted from 1.
        part: usize,
    },
    /// The body ended before its closing delimiter.
    #[error("the body ended in part {part} without the closing delimiter")]
    Truncated {
        /// The part, counted from 1; 0 before the first.
        part: usize,
    },
}

/// What the reader met.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// A part's header has been read.
    PartStart {
        /// `Content-Type`, as sent; empty when the part names none.
        content_type: String,
    },
    /// Bytes of the part, never empty.
    Data(Bytes),
    /// The part is whole.
    PartEnd,
    /// The closing delimiter has been read; whatever is fed from now on is ignored.
    Finished,
}

/// The state machine. Feed a chunk, take events until there are none, feed the next.
pub struct Reader {
    /// What is searched for: line end, two hyphens, boundary. Its first byte occurs nowhere else
    /// in it (a header value holds neither CR nor LF), so that a failed match can restart only at
    /// the byte that broke it.
    delimiter: Bytes,
    finder: Finder<'static>,
    /// `--boundary`.
    dashed: Bytes,
    state: State,
    chunk: Bytes,
    /// A line being collected: of a header, or behind a delimiter.
    line: Vec<u8>,
    /// Bytes of the header block so far.
    header_bytes: usize,
    content_type: String,
    parts: usize,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// Before the first delimiter.
    Preamble(Match),
    /// Behind a delimiter, within its line.
    DelimiterLine,
    Header,
    Body(Match),
    Finished,
}

/// How far the bytes at the end of what was read agree with the delimiter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Match {
    /// Bytes of the delimiter that were met.
    length: usize,
    /// Of these, the first so many belong to the line before and are no content.
    borrowed: usize,
}

const NO_MATCH: Match = Match { length: 0, borrowed: 0 };

impl Reader {
    /// A reader of a body with that boundary, see [`MediaType`].
    pub fn new(boundary: &str) -> Result<Reader, MultipartError> {
        let got = boundary.chars().count();
        let lines = boundary.bytes().any(|byte| byte == b'\r' || byte == b'\n');
        if got == 0 || got > BOUNDARY_CHARACTERS_MAX || lines {
            return Err(MultipartError::Boundary { got });
        }
        let dashed = Bytes::from(format!("--{boundary}"));
        let delimiter = delimiter(b"\n", &dashed);
        Ok(Reader {
            finder: Finder::new(&delimiter).into_owned(),
            delimiter,
            dashed,
            // The body may begin with a delimiter: as if a line had ended just before it.
            state: State::Preamble(Match { length: 1, borrowed: 1 }),
            chunk: Bytes::new(),
            line: Vec::new(),
            header_bytes: 0,
            content_type: String::new(),
            parts: 0,
        })
    }

    /// Gives the next chunk. All events of the one before must have been taken.
    pub fn feed(&mut self, chunk: Bytes) {
        debug_assert!(self.chunk.is_empty(), "the events of a chunk are taken before the next");
        self.chunk = chunk;
    }

    /// The next event; `None` when the chunk is used up. After an error the reader is of no use.
    pub fn event(&mut self) -> Result<Option<Event>, MultipartError> {
        // Every turn uses up bytes of the chunk, leaves the state, or returns.
        while !self.chunk.is_empty() {
            let event = match self.state {
                State::Preamble(matched) => {
                    self.content(matched, State::Preamble);
                    None
                }
                State::DelimiterLine => self.delimiter_line()?,
                State::Header => self.header()?,
                State::Body(matched) => self.content(matched, State::Body),
                State::Finished => {
                    self.chunk = Bytes::new();
                    None
                }
            };
            if event.is_some() {
                return Ok(event);
            }
        }
        Ok(None)
    }

    /// Says that nothing more comes: an error unless `Finished` was met.
    pub fn end(&self) -> Result<(), MultipartError> {
        match self.state {
            State::Finished => Ok(()),
            State::Preamble(_) | State::DelimiterLine | State::Header | State::Body(_) => {
                Err(MultipartError::Truncated { part: self.parts })
            }
        }
    }

    /// Whether the closing delimiter was met.
    pub fn finished(&self) -> bool {
        self.state == State::Finished
    }

    /// Takes content up to the delimiter or to the end of the chunk. `again` makes the state for
    /// the content that goes on.
    fn content(&mut self, matched: Match, again: fn(Match) -> State) -> Option<Event> {
        if matched.length > 0 {
            return self.go_on_matching(matched, again);
        }
        if let Some(at) = self.finder.find(&self.chunk) {
            let content = self.chunk.split_to(at);
            // The match is finished on the next turn, which then has no content before it.
            if content.is_empty() {
                let _ = self.chunk.split_to(self.delimiter.len());
                return self.delimiter_met();
            }
            return Some(Event::Data(content));
        }
        let window = self.chunk.len().saturating_sub(self.delimiter.len() - 1);
        let start = memchr::memrchr(self.delimiter[0], &self.chunk[window..]);
        let held = start
            .map(|start| self.chunk.len() - (window + start))
            .filter(|&held| self.chunk.ends_with(&self.delimiter[..held]))
            .unwrap_or(0);
        self.state = again(Match { length: held, borrowed: 0 });
        let content = self.chunk.split_to(self.chunk.len() - held);
        self.chunk = Bytes::new();
        (!content.is_empty()).then_some(Event::Data(content))
    }

    /// The chunk before ended within what may be a delimiter.
    fn go_on_matching(&mut self, matched: Match, again: fn(Match) -> State) -> Option<Event> {
        let rest = &self.delimiter[matched.length..];
        let length = rest.len().min(self.chunk.len());
        if self.chunk[..length] != rest[..length] {
            let content = self.delimiter.slice(matched.borrowed..matched.length);
            self.state = again(NO_MATCH);
            return (!content.is_empty()).then_some(Event::Data(content));
        }
        let _ = self.chunk.split_to(length);
        if length < rest.len() {
            self.state = again(Match { length: matched.length + length, ..matched });
            return None;
        }
        self.delimiter_met()
    }

    fn delimiter_met(&mut self) -> Option<Event> {
        let was = std::mem::replace(&mut self.state, State::DelimiterLine);
        self.line.clear();
        matches!(was, State::Body(_)).then_some(Event::PartEnd)
    }

    /// Behind a delimiter: two hyphens close the body, else blanks and the end of the line (RFC
    /// 2046, 5.1.1, transport-padding).
    fn delimiter_line(&mut self) -> Result<Option<Event>, MultipartError> {
        let part = self.parts;
        let ended = self.take_line();
        if self.line.starts_with(b"--") {
            self.state = State::Finished;
            return Ok(Some(Event::Finished));
        }
        let padding = self.line.strip_suffix(b"\r").unwrap_or(&self.line);
        let padded = padding.iter().all(|byte| matches!(byte, b' ' | b'\t'));
        if !(padded || padding == b"-") || self.line.len() > PART_HEADER_BYTES_MAX {
            return Err(MultipartError::DelimiterLine { part });
        }
        if !ended {
            return Ok(None);
        }
        if padding == b"-" {
            return Err(MultipartError::DelimiterLine { part });
        }
        if self.parts == 0 {
            let line_end: &[u8] = if self.line.ends_with(b"\r") { b"\r\n" } else { b"\n" };
            self.delimiter = delimiter(line_end, &self.dashed);
            self.finder = Finder::new(&self.delimiter).into_owned();
        }
        self.parts += 1;
        self.line.clear();
        self.header_bytes = 0;
        self.content_type.clear();
        self.state = State::Header;
        Ok(None)
    }

    fn header(&mut self) -> Result<Option<Event>, MultipartError> {
        let before = self.chunk.len();
        let ended = self.take_line();
        self.header_bytes += before - self.chunk.len();
        if self.header_bytes > PART_HEADER_BYTES_MAX {
            return Err(MultipartError::HeaderTooLong { part: self.parts });
        }
        if !ended {
            return Ok(None);
        }
        let line = std::mem::take(&mut self.line);
        let line = line.strip_suffix(b"\r").unwrap_or(&line);
        if line.is_empty() {
            // A part without content may share the empty line's end with the delimiter behind it.
            let borrowed = self.delimiter.len() - self.dashed.len();
            self.state = State::Body(Match { length: borrowed, borrowed });
            let content_type = std::mem::take(&mut self.content_type);
            return Ok(Some(Event::PartStart { content_type }));
        }
        if let Some(colon) = line.iter().position(|&byte| byte == b':')
            && line[..colon].eq_ignore_ascii_case(b"content-type")
        {
            self.content_type = String::from_utf8_lossy(&line[colon + 1..]).trim().to_owned();
        }
        Ok(None)
    }

    /// Moves bytes up to a LF into `line`, which never holds the LF. Whether the LF was met. The
    /// caller bounds the line; a chunk cannot add more than [`PART_HEADER_BYTES_MAX`] + 1 here.
    fn take_line(&mut self) -> bool {
        let window = self.chunk.len().min(PART_HEADER_BYTES_MAX + 1);
        let end = memchr::memchr(b'\n', &self.chunk[..window]);
        let taken = self.chunk.split_to(end.map_or(window, |end| end + 1));
        self.line.extend_from_slice(taken.strip_suffix(b"\n").unwrap_or(&taken));
        end.is_some()
    }
}

fn delimiter(line_end: &[u8], dashed: &[u8]) -> Bytes {
    Bytes::from([line_end, dashed].concat())
}

/// A media type with its parameters (RFC 9110, 8.3.1), as `Content-Type` carries it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct MediaType {
    /// Type and subtype in small letters.
    pub essence: String,
    /// Names in small letters, values without their quotes.
    parameters: Vec<(String, String)>,
}

impl MediaType {
    /// Reads a header's value. Never fails: what cannot be read is missing afterwards.
    pub fn parse(text: &str) -> MediaType {
        let mut pieces = split_outside_quotes(text).into_iter();
        let essence = pieces.next().unwrap_or_default().trim().to_ascii_lowercase();
        let parameters = pieces
            .filter_map(|piece| {
                let (name, value) = piece.split_once('=')?;
                Some((name.trim().to_ascii_lowercase(), unquoted(value.trim())))
            })
            .collect();
        MediaType { essence, parameters }
    }

    /// The value of a parameter, by its name in small letters.
    pub fn parameter(&self, name: &str) -> Option<&str> {
        let found = self.parameters.iter().find(|(known, _)| known == name);
        found.map(|(_, value)| value.as_str())
    }
}

/// The pieces between semicolons that are not within quotes.
fn split_outside_quotes(text: &str) -> Vec<&str> {
    let (mut pieces, mut start, mut quoted, mut escaped) = (Vec::new(), 0, false, false);
    for (at, byte) in text.bytes().enumerate() {
        match byte {
            _ if escaped => escaped = false,
            b'\\' if quoted => escaped = true,
            b'"' => quoted = !quoted,
            b';' if !quoted => {
                pieces.push(&text[start..at]);
                start = at + 1;
            }
            _ => {}
        }
    }
    pieces.push(&text[start..]);
    pieces
}

/// RFC 9110, 5.6.4: the text of a quoted string; any other text as it is.
fn unquoted(value: &str) -> String {
    let Some(inner) = value.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) else {
        return value.to_owned();
    };
    let (mut text, mut escaped) = (String::with_capacity(inner.len()), false);
    for character in inner.chars() {
        if character == '\\' && !escaped {
            escaped = true;
        } else {
            text.push(character);
            escaped = false;
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The types and bytes of a body's parts, and whether it was finished.
    type Parts = (Vec<(String, Vec<u8>)>, bool);

    fn read(
        boundary: &str,
        chunks: impl IntoIterator<Item = Vec<u8>>,
    ) -> Result<Parts, MultipartError> {
        let mut reader = Reader::new(boundary)?;
        let (mut whole, mut open, mut finished) = (Vec::new(), None, false);
        for chunk in chunks {
            reader.feed(Bytes::from(chunk));
            while let Some(event) = reader.event()? {
                assert!(!finished, "nothing comes after the end");
                match event {
                    Event::PartStart { content_type } => {
                        assert!(open.replace((content_type, Vec::new())).is_none());
                    }
                    Event::Data(bytes) => {
                        assert!(!bytes.is_empty());
                        open.as_mut().unwrap().1.extend_from_slice(&bytes);
                    }
                    Event::PartEnd => whole.push(open.take().unwrap()),
                    Event::Finished => finished = true,
                }
            }
        }
        assert_eq!(reader.end().is_ok(), finished);
        Ok((whole, finished))
    }

    fn body(parts: &[Vec<u8>], boundary: &str, line_end: &str) -> Vec<u8> {
        let mut body = Vec::new();
        for part in parts {
            let head = ["--", boundary, line_end, "Content-Type: application/dicom", line_end];
            body.extend_from_slice(head.concat().as_bytes());
            body.extend_from_slice(line_end.as_bytes());
            body.extend_from_slice(part);
            body.extend_from_slice(line_end.as_bytes());
        }
        body.extend_from_slice(["--", boundary, "--", line_end].concat().as_bytes());
        body
    }

    fn pieces(body: &[u8], size: usize) -> Vec<Vec<u8>> {
        body.chunks(size).map(<[u8]>::to_vec).collect()
    }

    fn fixture(name: &str) -> Vec<u8> {
        let folder = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/upstream/");
        std::fs::read(format!("{folder}{name}")).unwrap()
    }

    #[test]
    fn parts_come_out_whole_whatever_the_chunks() {
        let parts =
            vec![b"one".to_vec(), b"two\r\n--boundar\r\n-\r".to_vec(), vec![], vec![0; 300]];
        for line_end in ["\r\n", "\n"] {
            let body = body(&parts, "boundary", line_end);
            for size in 1..=body.len() {
                let (read, finished) = read("boundary", pieces(&body, size)).unwrap();
                assert!(finished);
                assert!(read.iter().all(|(content_type, _)| content_type == "application/dicom"));
                assert!(read.iter().map(|(_, bytes)| bytes).eq(&parts), "chunks of {size}");
            }
        }
    }

    #[test]
    fn a_body_cut_anywhere_is_never_finished() {
        let body = body(&[b"one".to_vec(), b"two".to_vec()], "b", "\r\n");
        let closing = body.len() - "\r\n".len();
        for cut in 0..closing {
            for size in [1, 7, body.len()] {
                assert!(!read("b", pieces(&body[..cut], size)).unwrap().1, "cut at {cut}");
            }
        }
        assert!(read("b", [body[..closing].to_vec()]).unwrap().1);
    }

    #[test]
    fn preamble_and_epilogue_are_ignored() {
        let inner = body(&[b"one".to_vec()], "b", "\r\n");
        let odd = [b"to old readers --b\r\nx --b--\r\n\r\n", &inner[..], b"--b\r\nbye"].concat();
        for size in 1..=odd.len() {
            let (read, finished) = read("b", pieces(&odd, size)).unwrap();
            assert!(finished && read.len() == 1 && read[0].1 == b"one", "chunks of {size}");
        }
    }

    #[test]
    fn odd_bodies_of_the_field_are_read() {
        let (parts, finished) = read("x", [fixture("part-without-line-before-delimiter.bin")])
            .expect("a part without content may share its line end");
        assert!(finished);
        assert_eq!(parts, [("application/dicom".to_owned(), vec![]), (String::new(), b"2".into())]);
        let (parts, finished) = read("gc0p4Jq0M2Yt08j34c0p", [fixture("padded-delimiters.bin")])
            .expect("blanks behind a delimiter are padding");
        assert!(finished);
        assert_eq!(parts[0].0, "application/dicom; transfer-syntax=1.2.840.10008.1.2.1");
        assert_eq!(parts[0].1, b"\r\n--gc0p4Jq0M2Yt08j34c0");
    }

    #[test]
    fn a_header_at_the_limit_is_read_and_one_byte_more_is_refused() {
        // "Content-Type: x\r\n", the filler line, "\r\n".
        let filler = PART_HEADER_BYTES_MAX - 17 - 2 - "A: \r\n".len();
        for (extra, good) in [(0, true), (1, false)] {
            let header = format!("Content-Type: x\r\nA: {}\r\n", "a".repeat(filler + extra));
            let body = format!("--b\r\n{header}\r\nz\r\n--b--").into_bytes();
            for size in [1, 1000, body.len()] {
                let read = read("b", pieces(&body, size));
                assert_eq!(read.is_ok(), good, "{extra} more, chunks of {size}");
            }
        }
        let endless = std::iter::repeat_n(vec![b'a'; 1000], 10);
        let chunks = std::iter::once(b"--b\r\n".to_vec()).chain(endless);
        assert_eq!(read("b", chunks), Err(MultipartError::HeaderTooLong { part: 1 }));
    }

    #[test]
    fn text_behind_a_delimiter_is_refused() {
        for text in ["--bx\r\n", "--b-\r\n", "--b -- \r\n", "--b-x"] {
            for size in [1, text.len()] {
                let read = read("b", pieces(text.as_bytes(), size));
                assert_eq!(read, Err(MultipartError::DelimiterLine { part: 0 }), "{text:?}");
            }
        }
    }

    #[test]
    fn boundaries_have_a_length() {
        assert!(Reader::new("").is_err());
        assert!(Reader::new("a\nb").is_err());
        assert!(Reader::new(&"b".repeat(BOUNDARY_CHARACTERS_MAX)).is_ok());
        assert!(Reader::new(&"b".repeat(BOUNDARY_CHARACTERS_MAX + 1)).is_err());
    }

    #[test]
    fn a_media_type_is_read_with_its_quotes() {
        let text = r#"Multipart/Related; type="application/dicom"; Boundary="a;b=\"c" ; x"#;
        let media = MediaType::parse(text);
        assert_eq!(media.essence, "multipart/related");
        assert_eq!(media.parameter("type"), Some("application/dicom"));
        assert_eq!(media.parameter("boundary"), Some("a;b=\"c"));
        assert_eq!(MediaType::parse("a/b;boundary=x").parameter("boundary"), Some("x"));
        assert_eq!(MediaType::parse("").essence, "");
    }

    /// Bytes in which the delimiter's bytes are frequent.
    fn tempting() -> impl Strategy<Value = Vec<u8>> {
        let bit = prop_oneof![
            Just(b"\r\n--b".to_vec()),
            Just(b"\n--bb".to_vec()),
            Just(b"\r".to_vec()),
            Just(b"\n".to_vec()),
            Just(b"--bb".to_vec()),
            Just(b"-".to_vec()),
            prop::collection::vec(any::<u8>(), 0..9),
        ];
        prop::collection::vec(bit, 0..20).prop_map(|bits| bits.concat())
    }

    fn cut(body: &[u8], sizes: &[usize]) -> Vec<Vec<u8>> {
        let (mut rest, mut chunks, mut sizes) = (body, Vec::new(), sizes.iter().cycle());
        while !rest.is_empty() {
            let (chunk, behind) = rest.split_at((*sizes.next().unwrap()).min(rest.len()));
            chunks.push(chunk.to_vec());
            rest = behind;
        }
        chunks
    }

    proptest! {
        #[test]
        fn any_content_without_the_delimiter_comes_back(
            parts in prop::collection::vec(tempting(), 0..5),
            sizes in prop::collection::vec(1usize..40, 1..6),
            crlf in any::<bool>(),
        ) {
            let line_end = if crlf { "\r\n" } else { "\n" };
            let delimiter = format!("{line_end}--bb").into_bytes();
            let parts: Vec<Vec<u8>> = parts
                .into_iter()
                // The first bytes of a part may complete a delimiter with the line before them.
                .filter(|part| {
                    let with_line = [line_end.as_bytes(), part].concat();
                    memchr::memmem::find(&with_line, &delimiter).is_none()
                })
                .collect();
            let body = body(&parts, "bb", line_end);
            let (read, finished) = read("bb", cut(&body, &sizes)).unwrap();
            prop_assert!(finished);
            prop_assert!(read.iter().map(|(_, bytes)| bytes).eq(&parts));
        }

        #[test]
        fn any_bytes_are_read_the_same_in_any_chunks(
            body in tempting(),
            sizes in prop::collection::vec(1usize..9, 1..6),
        ) {
            let body = [b"--bb\r\n\r\n", &body[..], b"\r\n--bb\r\n\r\n", &body[..]].concat();
            prop_assert_eq!(read("bb", [body.clone()]), read("bb", cut(&body, &sizes)));
        }
    }
}
