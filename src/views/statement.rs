//! The statements that are run, made of names and of the configuration, never of a row.
//!
//! A name that folds like any other is tried as it stands, because databases fold their names
//! each in their own way; then in quotes. Columns are named in quotes as the database itself names
//! them. Start at [`tables`].

use crate::model::{Time, UtcOffset};

/// How a view may be written in SQL: as it stands where it is a plain name, and in quotes.
/// `name` may have its schema before it (`HIS.View_Register_Info`).
pub(super) fn tables(name: &str, quote: Option<char>) -> Vec<String> {
    let mut ways = Vec::new();
    if name.split('.').all(is_plain) {
        ways.push(name.to_owned());
    }
    if let Some(quote) = quote {
        let parts: Option<Vec<String>> = name.split('.').map(|part| quoted(part, quote)).collect();
        ways.extend(parts.map(|parts| parts.join(".")));
    }
    ways
}

/// A column as the database names it, for a statement; `None` where it cannot be written.
pub(super) fn column(name: &str, quote: Option<char>) -> Option<String> {
    match quote {
        Some(quote) => quoted(name, quote),
        None => is_plain(name).then(|| name.to_owned()),
    }
}

/// Asks for the columns of a table and for no row.
pub(super) fn of_no_row(table: &str) -> String {
    format!("SELECT * FROM {table} WHERE 1 = 0")
}

/// Counts the rows of a table under conditions.
pub(super) fn of_count(table: &str, conditions: &[String]) -> String {
    under(format!("SELECT count(*) FROM {table}"), conditions)
}

/// Reads columns of a table under conditions.
pub(super) fn of_rows(columns: &[String], table: &str, conditions: &[String]) -> String {
    under(format!("SELECT {} FROM {table}", columns.join(", ")), conditions)
}

fn under(mut sql: String, conditions: &[String]) -> String {
    for (at, condition) in conditions.iter().enumerate() {
        sql.push_str(if at == 0 { " WHERE (" } else { " AND (" });
        sql.push_str(condition);
        sql.push(')');
    }
    sql
}

/// `column` on the day so many days before today or later; `format` writes the literal
/// ([`jiff::civil::DateTime::strftime`]).
pub(super) fn since(
    column: &str,
    format: &str,
    days: i64,
    now: Time,
    offset: UtcOffset,
) -> Option<String> {
    let then = now.plus_ms(-days.saturating_mul(86_400_000)).wall(offset);
    let midnight = then.date().to_datetime(jiff::civil::Time::midnight());
    let literal = jiff::fmt::strtime::format(format, midnight).ok()?;
    Some(format!("{column} >= {literal}"))
}

/// Whether a condition of the configuration can stand inside a statement: it neither ends it nor
/// hides what follows.
pub fn is_condition(text: &str) -> bool {
    let balanced = text.chars().try_fold(0_i32, |depth, c| match c {
        '(' => Some(depth + 1),
        ')' => Some(depth - 1).filter(|depth| *depth >= 0),
        _ => Some(depth),
    });
    balanced == Some(0) && !text.contains(';') && !text.contains("--") && !text.contains("/*")
}

/// Whether a format of the configuration writes dates, and nothing that ends a statement.
pub fn is_date_format(format: &str) -> bool {
    let day = jiff::civil::date(2026, 11, 21).at(0, 0, 0, 0);
    let written = jiff::fmt::strtime::format(format, day);
    written.is_ok_and(|literal| is_condition(&literal) && literal.matches('\'').count() % 2 == 0)
}

fn is_plain(name: &str) -> bool {
    let word = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '$' | '#');
    name.starts_with(|c: char| c.is_ascii_alphabetic() || c == '_') && name.chars().all(word)
}

fn quoted(name: &str, quote: char) -> Option<String> {
    let clean = !name.is_empty() && !name.contains(|c: char| c == quote || c.is_control());
    clean.then(|| format!("{quote}{name}{quote}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_written_in_every_way_that_may_be_meant() {
        let names = |name| tables(name, Some('"'));
        assert_eq!(names("View_Register_Info"), ["View_Register_Info", "\"View_Register_Info\""]);
        assert_eq!(names("View_ Register_Info"), ["\"View_ Register_Info\""]);
        assert_eq!(names("HIS.v"), ["HIS.v", "\"HIS\".\"v\""]);
        assert_eq!(names("挂号视图"), ["\"挂号视图\""]);
        assert!(names("v\"; DROP TABLE a").is_empty());
        assert!(names("v; DROP TABLE a").iter().all(|way| way.starts_with('"')));
        assert!(tables("a b", None).is_empty());
    }

    #[test]
    fn a_date_range_begins_at_midnight_of_the_hospital() {
        // 2026-11-21 07:59 in China is still the 20th in UTC.
        let now = Time(1_795_219_140_000);
        let written = |format| since("\"d\"", format, 7, now, UtcOffset::china()).unwrap();
        let day = now.plus_ms(-7 * 86_400_000).wall(UtcOffset::china()).date();
        assert_eq!(
            written("{ts '%Y-%m-%d %H:%M:%S'}"),
            format!("\"d\" >= {{ts '{day} 00:00:00'}}")
        );
        assert_eq!(written("'%Y%m%d'"), format!("\"d\" >= '{}'", day.strftime("%Y%m%d")));
    }

    #[test]
    fn conditions_stay_inside_their_statement() {
        let sql = of_rows(&["a".into(), "b".into()], "t", &["x = 1 OR y = 2".into(), "z".into()]);
        assert_eq!(sql, "SELECT a, b FROM t WHERE (x = 1 OR y = 2) AND (z)");
        assert!(is_condition("deleted = 0 AND (a OR b)"));
        for bad in ["1=1); DROP TABLE a", "a) OR (b", "a -- b", "a /* b", "(a"] {
            assert!(!is_condition(bad), "{bad}");
        }
    }
}
