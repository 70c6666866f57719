//! A table that a person wrote: CSV (RFC 4180) in UTF-8 with or without a byte order mark, or in
//! GB18030, which is what spreadsheets in China save.
//!
//! What always holds: a row keeps the line it began at, so that a mistake can be shown; size and
//! number of rows are bounded. Start reading at [`read`].

use encoding_rs::GB18030;

use super::json::is_blank;

/// A table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Sheet {
    /// The names of the columns, trimmed.
    pub header: Vec<String>,
    /// The rows that are not empty.
    pub rows: Vec<SheetRow>,
}

/// A row of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SheetRow {
    /// The line it begins at, counted from 1.
    pub line: u64,
    /// Its fields, trimmed; as many as it has.
    pub fields: Vec<String>,
}

/// A file that is no table.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum SheetFault {
    /// Neither of the two encodings.
    #[error("not text: neither UTF-8 nor GB18030 from byte {offset} on")]
    NotText {
        /// First byte that is not UTF-8.
        offset: usize,
    },
    /// Nothing, or a first line of blanks.
    #[error("no header line")]
    NoHeader,
    /// More rows than are taken.
    #[error("more than {limit} rows")]
    TooLong {
        /// The limit.
        limit: usize,
    },
    /// CSV that does not read.
    #[error("line {line}: {what}")]
    Syntax {
        /// The line.
        line: u64,
        /// What is wrong.
        what: String,
    },
}

impl Sheet {
    /// The column whose header is one of these names, in any case.
    pub fn column(&self, names: &[&str]) -> Option<usize> {
        let named = |title: &String| names.iter().any(|name| name.eq_ignore_ascii_case(title));
        self.header.iter().position(named)
    }
}

/// Reads a table of at most `rows_max` rows.
pub fn read(bytes: &[u8], rows_max: usize) -> Result<Sheet, SheetFault> {
    let text = decode(bytes)?;
    let mut reader =
        ::csv::ReaderBuilder::new().has_headers(false).flexible(true).from_reader(text.as_bytes());
    let mut header: Option<Vec<String>> = None;
    let mut rows = Vec::new();
    let mut record = ::csv::StringRecord::new();
    let mut lines = Lines { text: text.as_bytes(), at: 0, line: 1 };
    loop {
        let line = lines.line_from(reader.position().byte() as usize);
        match reader.read_record(&mut record) {
            Ok(false) => break,
            Ok(true) => {}
            Err(error) => return Err(SheetFault::Syntax { line, what: error.to_string() }),
        }
        let fields: Vec<String> =
            record.iter().map(|field| field.trim_matches(is_blank).to_owned()).collect();
        if fields.iter().all(String::is_empty) {
            continue;
        }
        if header.is_none() {
            header = Some(fields);
            continue;
        }
        if rows.len() == rows_max {
            return Err(SheetFault::TooLong { limit: rows_max });
        }
        rows.push(SheetRow { line, fields });
    }
    Ok(Sheet { header: header.ok_or(SheetFault::NoHeader)?, rows })
}

/// Counts lines in one pass. The reader's own count is short by the line ends before a record that
/// it has not taken yet.
struct Lines<'a> {
    text: &'a [u8],
    at: usize,
    line: u64,
}

impl Lines<'_> {
    /// The line of the first byte from `offset` on that ends none; offsets only grow.
    fn line_from(&mut self, offset: usize) -> u64 {
        while let Some(byte) = self.text.get(self.at) {
            if self.at >= offset && !matches!(byte, b'\r' | b'\n') {
                break;
            }
            self.line += u64::from(*byte == b'\n');
            self.at += 1;
        }
        self.line
    }
}

fn decode(bytes: &[u8]) -> Result<std::borrow::Cow<'_, str>, SheetFault> {
    let bytes = bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes);
    match str::from_utf8(bytes) {
        Ok(text) => Ok(text.into()),
        Err(fault) => GB18030
            .decode_without_bom_handling_and_without_replacement(bytes)
            .ok_or(SheetFault::NotText { offset: fault.valid_up_to() }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_those_of_the_file_also_behind_a_field_of_two() {
        let text = "\u{feff}a, B \r\n1,\"x\ny\"\r\n\r\n2\r\n,\r\n3,\"say \"\"so\"\"\",4\n";
        let sheet = read(text.as_bytes(), 10).unwrap();
        assert_eq!(sheet.header, ["a", "B"]);
        assert_eq!((sheet.column(&["x", "b"]), sheet.column(&["c"])), (Some(1), None));
        let rows: Vec<(u64, Vec<&str>)> = sheet
            .rows
            .iter()
            .map(|row| (row.line, row.fields.iter().map(String::as_str).collect()))
            .collect();
        let expected = [(2, vec!["1", "x\ny"]), (5, vec!["2"]), (7, vec!["3", "say \"so\"", "4"])];
        assert_eq!(rows, expected);
    }

    #[test]
    fn both_encodings_are_read_and_bounds_are_kept() {
        let (gbk, _, _) = encoding_rs::GBK.encode("科室编码\n放射科\n");
        assert_eq!(read(&gbk, 1).unwrap().rows[0].fields, ["放射科"]);
        assert_eq!(read(b"a\n1\n2\n", 1), Err(SheetFault::TooLong { limit: 1 }));
        assert_eq!(read(b"\n \n", 1), Err(SheetFault::NoHeader));
        assert_eq!(read(b"a\n\xff\xff", 1), Err(SheetFault::NotText { offset: 2 }));
    }

    proptest::proptest! {
        #[test]
        fn no_bytes_make_it_panic_and_lines_only_grow(
            bytes in proptest::collection::vec(proptest::prelude::any::<u8>(), 0..200),
        ) {
            if let Ok(sheet) = read(&bytes, 50) {
                let lines: Vec<u64> = sheet.rows.iter().map(|row| row.line).collect();
                assert!(lines.is_sorted() && lines.len() <= 50);
            }
        }
    }
}
