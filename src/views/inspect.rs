//! One look at a view, for a person: is it there, what does it hold, which columns are missing.

use serde_json::{Map, Value};

use super::child::{Line, Reader, ReaderPlace};
use super::columns;
use super::options::{DatabaseOptions, ViewOptions};
use super::poll::open;
use crate::fault::Fault;
use crate::model::{Time, UtcOffset};

/// What was seen.
#[derive(Debug)]
pub struct Inspected {
    /// What the database calls itself.
    pub system: String,
    /// The view as it is written in SQL.
    pub table: String,
    /// Rows, under the configured conditions; `None` when only some were asked for.
    pub rows: Option<u64>,
    /// Fields that have a column, with it.
    pub found: Vec<(&'static str, String)>,
    /// Required fields without a column.
    pub missing: Vec<&'static str>,
    /// Other fields without one.
    pub absent: Vec<&'static str>,
    /// The first rows by field, those asked for; what is personal is masked. A row that cannot be
    /// read is the reason why.
    pub first: Vec<Result<Map<String, Value>, String>>,
}

/// Looks at a view in a reader of its own. With `first_rows`, that many rows are read and masked;
/// without, the rows are counted.
pub async fn inspect(
    place: &ReaderPlace,
    database: &DatabaseOptions,
    view: &ViewOptions,
    first_rows: Option<usize>,
    now: Time,
    offset: UtcOffset,
) -> Result<Inspected, Fault> {
    let mut opened = open(place, database, view).await?;
    let condition = opened.conditions(view, now, offset)?;
    let (mut rows, mut first) = (None, Vec::new());
    match first_rows {
        None => {
            let sql = super::statement::of_count(&opened.table, &condition);
            opened.reader.read(sql, 1).await?;
            if let Line::Row(line) = opened.reader.next().await? {
                let cells: Vec<String> = serde_json::from_slice(line).unwrap_or_default();
                rows = cells.first().and_then(|count| count.parse().ok());
            }
        }
        Some(most) => {
            let limit = super::limits::VIEW_ROWS_MAX;
            opened.reader.read(opened.statement(&condition)?, limit).await?;
            while first.len() < most {
                let Line::Row(line) = opened.reader.next().await? else { break };
                let row = columns::object(&opened.matched.found, line);
                first.push(row.map(|row| masked(&opened.matched.found, row)));
            }
        }
    }
    let found = opened.matched.found.iter().map(|(field, column)| (field.path, column.clone()));
    let system = opened.reader.system.clone();
    opened.reader.close().await;
    Ok(Inspected {
        system,
        table: opened.table,
        rows,
        found: found.collect(),
        missing: opened.matched.missing,
        absent: opened.matched.absent,
        first,
    })
}

/// Connects to a database in a reader of its own and hangs up; says what it calls itself.
pub async fn connect(place: &ReaderPlace, database: &DatabaseOptions) -> Result<String, Fault> {
    let reader = Reader::open(place, database.open()).await?;
    let system = reader.system.clone();
    reader.close().await;
    Ok(system)
}

/// Finds a view and its columns and reads no row; says which required fields have no column.
pub async fn look(
    place: &ReaderPlace,
    database: &DatabaseOptions,
    view: &ViewOptions,
) -> Result<Vec<&'static str>, Fault> {
    let opened = open(place, database, view).await?;
    opened.reader.close().await;
    Ok(opened.matched.missing)
}

/// Personal values keep their length and nothing else.
fn masked(found: &[columns::Found], mut row: Map<String, Value>) -> Map<String, Value> {
    for (field, _) in found.iter().filter(|(field, _)| field.personal) {
        if let Some(Value::String(text)) = row.get_mut(field.name) {
            *text = "*".repeat(text.chars().count());
        }
    }
    row
}
