//! Bounds of the dialogue and of an answers file.

/// Bytes of one typed line: what a terminal of Linux passes at once (N_TTY_BUF_SIZE), and more
/// than any token that a cloud gave so far.
pub const LINE_BYTES_MAX: usize = 4_096;

/// Bytes without an end of line that are passed over before the input is given up: nobody types
/// them.
pub const LINE_PASSED_BYTES_MAX: usize = 1_024 * 1_024;

/// Wrong answers to one question in a row. A person has looked at the question by then; a script
/// would go on for ever.
pub const WRONG_ANSWERS_MAX: usize = 20;

/// Bytes of an answers file: a hundred entries with their tokens.
pub const ANSWERS_BYTES_MAX: u64 = 1_024 * 1_024;

/// Bytes of a key or certificate file that is named in an answer: a bundle of authorities.
pub const KEY_FILE_BYTES_MAX: u64 = 1_024 * 1_024;

/// Entries of one list: sources, platforms, callers.
pub const ENTRIES_MAX: usize = 64;

/// Characters of an entry's name, which becomes part of file names.
pub const NAME_CHARACTERS_MAX: usize = 32;

/// Columns of the narrowest terminal that must do: a serial line (VT100).
pub const COLUMNS: usize = 80;

/// Bytes of a token that is made here: 256 bits.
pub const TOKEN_BYTES: usize = 32;

const _: () = assert!(LINE_BYTES_MAX < LINE_PASSED_BYTES_MAX);
