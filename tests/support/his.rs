//! The tables and views of a HIS, in a real database.

use serde_json::Value;

use super::databases::{Database, System};
use super::patient::Patient;

/// Rows of one INSERT.
const ROWS_AT_ONCE: usize = 500;

/// The columns of the made-up table, which are those that a test's registration has.
pub const COLUMNS: [&str; 19] = [
    "hospitalld",
    "idCardNo",
    "healthNo",
    "insuranceId",
    "medicareNo",
    "mobilePhone",
    "patientName",
    "patientSex",
    "patientAge",
    "patientType",
    "outpatientNumber",
    "registDateTime",
    "outpatientDateTime",
    "outpatientDeptName",
    "outpatientDeptCode",
    "outpatientDocName",
    "outpatientDocHisUid",
    "quitType",
    "outpatientType",
];

/// Makes the table `visits` and over it the view of that name, as it is written in SQL. `charset`
/// is what the names' column is declared as, where it differs from the database.
pub fn make(database: &Database, name: &str, view: &str, charset: Option<&str>) {
    let column = |column: &&str| match (*column, charset) {
        ("outpatientDateTime" | "registDateTime", _) => format!("{column} timestamp NULL"),
        (_, Some(charset)) => format!("{column} varchar(2000) CHARACTER SET {charset}"),
        // A row of MariaDB has at most 64 KB, and a character of utf8mb4 four bytes.
        (_, None) => format!("{column} varchar(800)"),
    };
    let columns: Vec<String> = COLUMNS.iter().map(column).collect();
    database.sql(
        name,
        &format!(
            "CREATE TABLE visits(id integer PRIMARY KEY, {});
             CREATE VIEW {view} AS SELECT {} FROM visits;",
            columns.join(", "),
            COLUMNS.join(", ")
        ),
    );
}

/// Registrations of so many visits, no two of them at the same moment.
pub fn registrations(count: u32) -> Vec<Value> {
    (0..count).map(|at| Patient::new(at % 8_000).registration(30, i64::from(at))).collect()
}

/// Puts registrations into `visits`, with ids from `first` on.
pub fn insert(database: &Database, name: &str, first: usize, registrations: &[Value]) {
    for (chunk_at, chunk) in registrations.chunks(ROWS_AT_ONCE).enumerate() {
        let rows: Vec<String> = chunk
            .iter()
            .enumerate()
            .map(|(at, one)| format!("({}, {})", first + chunk_at * ROWS_AT_ONCE + at, values(one)))
            .collect();
        database.sql(name, &format!("INSERT INTO visits VALUES {}", rows.join(", ")));
    }
}

fn values(registration: &Value) -> String {
    let text = |column: &&str| match registration[*column].as_str() {
        Some(text) => format!("'{text}'"),
        None => "NULL".to_owned(),
    };
    COLUMNS.iter().map(text).collect::<Vec<_>>().join(", ")
}

/// `text` in GBK as a literal of bytes, which MariaDB puts into a column as they are.
pub fn gbk(text: &str) -> String {
    let (bytes, _, unmapped) = encoding_rs::GBK.encode(text);
    assert!(!unmapped, "the text can be written in GBK");
    let digits: String = bytes.iter().map(|byte| format!("{byte:02X}")).collect();
    format!("X'{digits}'")
}

/// The tables of a configuration: one database, and the view of registrations every second.
pub fn tables(connection: &str, database_lines: &str, view_lines: &str) -> String {
    format!(
        "[[databases]]\nname = \"his\"\nconnection = \"{connection}\"\n{database_lines}\n\
         [[views]]\nname = \"registrations\"\ninterface = \"ic-register-view\"\n\
         database = \"his\"\ninterval_seconds = 1\n{view_lines}\n"
    )
}

/// The view's name as the document prints it, with its blank, in SQL.
pub fn name_with_blank(system: System) -> &'static str {
    match system {
        System::Postgres => "\"View_ Register_Info\"",
        System::MariaDb => "`View_ Register_Info`",
    }
}
