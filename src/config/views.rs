//! `[[databases]]` and `[[views]]`.

use std::collections::BTreeMap;
use std::num::NonZeroU32;

use super::section::Section;
use crate::catalog::{self, Interface};
use crate::views::{
    Charset, DatabaseOptions, DateRange, INTERVAL_SECONDS, ViewOptions, Window, addresses,
    is_condition, is_date_format,
};

/// How a date is written unless the configuration says otherwise: the escape that every driver
/// turns into its database's own literal (ODBC 3.8 Programmer's Reference, Appendix C).
const DATE_FORMAT: &str = "{ts '%Y-%m-%d %H:%M:%S'}";

/// Databases and views; a view names a database that is there, and no name is there twice.
pub(super) fn take(root: &mut Section<'_>) -> (Vec<DatabaseOptions>, Vec<ViewOptions>) {
    let databases: Vec<DatabaseOptions> =
        root.sections("databases").into_iter().map(take_database).collect();
    let names: Vec<&str> = databases.iter().map(|database| database.name.as_str()).collect();
    let views: Vec<ViewOptions> = root
        .sections("views")
        .into_iter()
        .filter_map(|section| take_view(section, &names))
        .collect();
    let twice = |names: &[&str]| {
        let mut sorted = names.to_vec();
        sorted.sort_unstable();
        sorted.windows(2).find(|two| two[0] == two[1]).map(|two| two[0].to_owned())
    };
    if let Some(name) = twice(&names) {
        root.mistake("databases.name", &format!("`{name}` is there twice"));
    }
    let view_names: Vec<&str> = views.iter().map(|view| view.name.as_str()).collect();
    if let Some(name) = twice(&view_names) {
        root.mistake("views.name", &format!("`{name}` is there twice"));
    }
    (databases, views)
}

fn take_database(mut section: Section<'_>) -> DatabaseOptions {
    let name = section.text("name").unwrap_or_else(|| section.missing("name"));
    let connection = section.text("connection").unwrap_or_else(|| section.missing("connection"));
    let key = |part: &str| part.split('=').next().unwrap_or_default().trim().to_lowercase();
    if connection.split(';').any(|part| ["pwd", "password"].contains(&key(part).as_str())) {
        section.mistake("connection", "holds a password; put it into a file: `password_file`");
    }
    let mut database = DatabaseOptions::new(name, connection);
    database.password = section.secret("password_file");
    if let Some(word) = section.text("charset") {
        match Charset::ALL.iter().find(|(name, _)| *name == word) {
            Some((_, charset)) => database.charset = *charset,
            None => section.mistake("charset", "expected wide, utf-8 or gbk"),
        }
    }
    if let Some(seconds) = section.number("statement_seconds", 1, 3_600) {
        database.statement_seconds = seconds as u32;
    }
    let rows = section.number("rows_per_second_max", 1, 1_000_000);
    database.rows_per_second_max = rows.and_then(|rows| NonZeroU32::new(rows as u32));
    for text in section.texts("pause").unwrap_or_default() {
        match Window::parse(&text) {
            Some(window) => database.pauses.push(window),
            None => section.mistake("pause", "expected parts of the day, such as 11:30-13:00"),
        }
    }
    section.end();
    database
}

fn take_view(mut section: Section<'_>, databases: &[&str]) -> Option<ViewOptions> {
    let name = section.text("name").unwrap_or_else(|| section.missing("name"));
    let database = section.text("database").unwrap_or_else(|| section.missing("database"));
    if !database.is_empty() && !databases.contains(&database.as_str()) {
        section.mistake("database", &format!("no [[databases]] is called `{database}`"));
    }
    let interface = take_interface(&mut section);
    let own_name = section.text("view");
    let condition = section.text("where");
    if condition.as_deref().is_some_and(|text| !is_condition(text)) {
        section.mistake("where", "expected one condition of SQL, without `;` and comments");
    }
    let seconds = section.number("interval_seconds", 1, 86_400).unwrap_or(INTERVAL_SECONDS);
    let range = take_range(&mut section);
    let columns: BTreeMap<String, String> =
        section.section("columns").text_pairs().into_iter().collect();
    if let Some(interface) = interface {
        let unknown = |key: &&String| !interface.fields.iter().any(|field| field.name == **key);
        for key in columns.keys().filter(unknown) {
            section.mistake("columns", &format!("{} has no field `{key}`", interface.id));
        }
    }
    section.end();
    let interface = interface?;
    let tables = own_name.map_or_else(|| addresses(interface), |name| vec![name]);
    let interval_ms = seconds * 1_000;
    Some(ViewOptions { name, interface, database, tables, columns, condition, range, interval_ms })
}

fn take_interface(section: &mut Section<'_>) -> Option<&'static Interface> {
    let id: String = section.text("interface").unwrap_or_else(|| section.missing("interface"));
    if id.is_empty() {
        return None;
    }
    let found = catalog::find(&id).filter(|interface| !addresses(interface).is_empty());
    if found.is_none() {
        let views = catalog::interfaces().iter().filter(|one| !addresses(one).is_empty());
        let known: Vec<&str> = views.map(|interface| interface.id).collect();
        section.mistake("interface", &format!("expected one of {}", known.join(", ")));
    }
    found
}

fn take_range(section: &mut Section<'_>) -> Option<DateRange> {
    let format = section.text("date_format");
    let (column, days) = (section.text("date_column"), section.number("days", 0, 36_500));
    let format = format.unwrap_or_else(|| DATE_FORMAT.to_owned());
    if !is_date_format(&format) {
        section.mistake("date_format", "expected a literal of SQL in the signs of strftime");
    }
    match (column, days) {
        (Some(column), Some(days)) => Some(DateRange { column, format, days }),
        (None, None) => None,
        _ => {
            section.mistake("date_column", "`date_column` and `days` go together");
            None
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::Config;

    const SMALL: &str = "data = \"d\"\n[[hospital]]\ncode = \"H1\"\n";

    #[test]
    fn a_view_takes_its_name_from_the_catalogue() {
        let text = format!(
            "{SMALL}[[databases]]\nname = \"his\"\nconnection = \"Driver=d;UID=u\"\n[[views]]\n\
             name = \"registrations\"\ninterface = \"ic-register-view\"\ndatabase = \"his\"\n\
             [views.columns]\npatientName = \"XM\"\n"
        );
        let config = Config::parse(&text, "f").unwrap();
        let view = &config.views[0];
        assert_eq!(view.tables, ["View_Register_Info", "View_ Register_Info"]);
        assert_eq!(view.columns["patientName"], "XM");
        assert_eq!(view.interval_ms, 60_000);
    }

    #[test]
    fn mistakes_of_databases_and_views_are_all_named() {
        let text = format!(
            "{SMALL}[[databases]]\nname = \"his\"\nconnection = \"Driver=d; Pwd=geheim\"\n\
             charset = \"big5\"\npause = [\"noon\"]\n[[views]]\nname = \"a\"\n\
             interface = \"ic-register-push\"\ndatabase = \"lis\"\nwhere = \"1=1; DROP\"\n\
             days = 3\n[[views]]\nname = \"a\"\ninterface = \"ic-dept-view\"\n\
             database = \"his\"\ndate_format = \"'; DROP\"\n[views.columns]\nname = \"XM\"\n"
        );
        let all = Config::parse(&text, "f").err().unwrap().to_string();
        for key in [
            "databases[0].connection",
            "databases[0].charset",
            "databases[0].pause",
            "views[0].interface",
            "views[0].database",
            "views[0].where",
            "views[0].date_column",
            "views[1].date_format",
            "views[1].columns",
        ] {
            assert!(all.contains(&format!(": {key}: ")), "{key} in\n{all}");
        }
        assert!(!all.contains("geheim"), "{all}");
    }
}
