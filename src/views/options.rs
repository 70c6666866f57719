//! What the configuration says of databases and views.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use secrecy::{ExposeSecret, SecretString};

use super::limits::STATEMENT_SECONDS;
use super::schedule::Window;
use super::wire::{Charset, Open};
use crate::catalog::table::Address;
use crate::catalog::{Interface, Mode};

/// A database of the hospital.
#[derive(Debug, Clone)]
pub struct DatabaseOptions {
    /// Its name in the configuration and in the log.
    pub name: String,
    /// The connection string without a password.
    pub connection: String,
    /// The password.
    pub password: Option<SecretString>,
    /// How texts are taken from its driver.
    pub charset: Charset,
    /// Seconds in which it must answer, and between two rows.
    pub statement_seconds: u32,
    /// Rows a second that are read at most.
    pub rows_per_second_max: Option<NonZeroU32>,
    /// When it is left alone.
    pub pauses: Vec<Window>,
}

impl DatabaseOptions {
    /// A database with everything else at its default.
    pub fn new(name: String, connection: String) -> DatabaseOptions {
        DatabaseOptions {
            name,
            connection,
            password: None,
            charset: Charset::Wide,
            statement_seconds: STATEMENT_SECONDS,
            rows_per_second_max: None,
            pauses: Vec::new(),
        }
    }

    pub(super) fn open(&self) -> Open {
        let mut connection = self.connection.trim_end_matches(';').to_owned();
        if let Some(password) = &self.password {
            connection.push_str(";PWD=");
            connection.push_str(&odbc_api::escape_attribute_value(password.expose_secret()));
        }
        Open { connection, charset: self.charset, statement_seconds: self.statement_seconds }
    }
}

/// A view that is polled.
#[derive(Debug, Clone)]
pub struct ViewOptions {
    /// Its name in the configuration, the ledger and the log.
    pub name: String,
    /// What its rows are.
    pub interface: &'static Interface,
    /// The name of its database.
    pub database: String,
    /// What the view may be called, tried in this order.
    pub tables: Vec<String>,
    /// Columns by field, where they are not called like it.
    pub columns: BTreeMap<String, String>,
    /// A condition on its rows, in the database's SQL.
    pub condition: Option<String>,
    /// Which part of it is read.
    pub range: Option<DateRange>,
    /// Milliseconds from the beginning of one poll to the next.
    pub interval_ms: i64,
}

/// The last days of a view.
#[derive(Debug, Clone)]
pub struct DateRange {
    /// The column that holds the date.
    pub column: String,
    /// How a date is written as a literal, in the signs of strftime.
    pub format: String,
    /// Days before today.
    pub days: i64,
}

/// A hospital that is served.
#[derive(Debug, Clone)]
pub struct Served {
    /// Its insurance code.
    pub code: String,
    /// How its rows are checked.
    pub mode: Mode,
}

/// The names that the documents give to an interface's view; none where it is no view.
pub fn addresses(interface: &Interface) -> Vec<String> {
    let name = |address: &Address| match address {
        Address::View { name } => Some((*name).to_owned()),
        _ => None,
    };
    interface.addresses.iter().filter_map(name).collect()
}
