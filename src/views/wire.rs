//! What the daemon and `forepost views-reader` say to each other: one JSON value a line.
//!
//! An order is an object, and so is everything that is told but a row. A row is a list with a cell
//! for each column, so that the daemon can tell rows from the rest by their first byte and hash
//! them as they are, unread. Both sides are one program, so there is no version.

use serde::{Deserialize, Serialize};

/// What the daemon orders, on the reader's standard input.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Order {
    /// Connect. The first order, once.
    Open(Open),
    /// Run a statement and tell its rows.
    Read(Read),
}

/// How to connect.
#[derive(Serialize, Deserialize)]
pub struct Open {
    /// The whole connection string, with the password.
    pub connection: String,
    /// How the driver's texts are taken.
    pub charset: Charset,
    /// Seconds that the database is told to give a connection or a statement.
    pub statement_seconds: u32,
}

/// Shows nothing: the connection string holds a password.
impl std::fmt::Debug for Open {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Open")
    }
}

/// How the driver's texts are taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Charset {
    /// As UTF-16 (`SQL_C_WCHAR`): the driver knows what the database holds. Right for every
    /// database that is declared as what it is.
    Wide,
    /// As bytes (`SQL_C_CHAR`) in UTF-8.
    #[serde(rename = "utf-8")]
    Utf8,
    /// As bytes in GBK, read as GB 18030, which contains it: for databases that are declared as
    /// Latin-1 or as nothing and hold GBK.
    Gbk,
}

impl Charset {
    /// All, with the words of the configuration.
    pub const ALL: [(&'static str, Charset); 3] =
        [("wide", Charset::Wide), ("utf-8", Charset::Utf8), ("gbk", Charset::Gbk)];
}

/// A statement.
#[derive(Debug, Serialize, Deserialize)]
pub struct Read {
    /// One SELECT.
    pub sql: String,
    /// Rows past which the statement is given up.
    pub rows_max: u64,
}

/// What the reader tells, on its standard output.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Told {
    /// Connected.
    Opened {
        /// What the database calls itself.
        system: String,
        /// The character around names, where the database has one.
        quote: Option<char>,
    },
    /// The statement runs; rows of these columns follow.
    Columns(Vec<String>),
    /// The statement has ended whole, after so many rows.
    End(u64),
    /// The order has failed; after a failed statement the connection may be used again.
    Error(DatabaseError),
}

/// What a database says when it refuses. Holds no value of a row and no secret.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DatabaseError {
    /// SQLSTATE (ISO/IEC 9075-2, 24.1); empty when the reader itself refuses.
    pub state: String,
    /// The driver's own number.
    pub native: i32,
    /// Its words, with everything left out that could be a value.
    pub words: String,
}

/// One value of a row.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Cell {
    /// NULL.
    Null,
    /// A text, or anything else as the driver writes it.
    Text(String),
    /// Bytes that are no text in the configured charset, in hexadecimal digits.
    Broken {
        /// The bytes.
        bytes: String,
    },
    /// A value longer than a reader takes.
    Long {
        /// Always true; it makes the object tell itself from the other.
        long: bool,
    },
}
