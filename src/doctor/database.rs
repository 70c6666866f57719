//! Whether a hospital's database lets us in and has the views.

use std::time::Instant;

use tokio::time::timeout;

use super::limits::CALL_WAIT;
use super::peer::{Endpoint, seconds};
use super::{Finding, Words};
use crate::fault::Fault;
use crate::model::Time;
use crate::views::{self, DatabaseOptions, ViewOptions};

/// Connects as the service would, and finds each view with its columns; no row is read.
pub(super) async fn findings(
    subject: &str,
    options: &DatabaseOptions,
    views: &[ViewOptions],
    now: Time,
) -> Vec<Finding> {
    let mut findings = Vec::new();
    if let Some((host, port)) = server_of(&options.connection) {
        let endpoint = Endpoint { subject, host, port, tls: None };
        if !endpoint.reach(now, &mut findings).await {
            return findings;
        }
    }
    let began = Instant::now();
    let connected = timeout(CALL_WAIT, views::connect(&views::reader_place(), options)).await;
    match connected.unwrap_or_else(|_| Err(silent())) {
        Ok(system) => {
            let milliseconds = began.elapsed().as_millis();
            let words = Words::new(
                format!("{system} 已登录（{milliseconds} 毫秒）"),
                format!("logged in to {system} ({milliseconds} ms)"),
            );
            findings.push(Finding::fine(subject, "credentials", words));
        }
        Err(fault) => {
            findings.push(not_connected(subject, &fault));
            return findings;
        }
    }
    for view in views.iter().filter(|view| view.database == options.name) {
        findings.push(of_view(subject, options, view).await);
    }
    findings
}

fn silent() -> Fault {
    Fault::peer("timeout", format!("no answer within {} s", seconds(CALL_WAIT)))
}

/// Server and port of a connection string, where it tells both; drivers differ in their words.
fn server_of(connection: &str) -> Option<(String, u16)> {
    let value = |names: &[&str]| {
        connection.split(';').find_map(|part| {
            let (key, value) = part.split_once('=')?;
            let named = names.contains(&key.trim().to_lowercase().as_str());
            named.then(|| value.trim().to_owned()).filter(|value| !value.is_empty())
        })
    };
    let server = value(&["server", "servername", "host", "address"])?;
    // SQL Server writes `host,port`; a name with a backslash is an instance, whose port is asked.
    if let Some((host, port)) = server.split_once(',') {
        return Some((host.trim().to_owned(), port.trim().parse().ok()?));
    }
    let port = value(&["port"])?.parse().ok()?;
    (!server.contains(['\\', '/'])).then_some((server, port))
}

fn not_connected(subject: &str, fault: &Fault) -> Finding {
    let detail = &fault.detail;
    let is =
        |states: &[&str]| states.iter().any(|state| detail.contains(&format!("SQLSTATE {state}")));
    // PostgreSQL's driver has one state for every refusal; only the server's words tell.
    let words = ["authentication", "role ", "Access denied", "Login failed", "ORA-01017"];
    let is_refused = is(&["28"]) || words.iter().any(|one| detail.contains(one));
    let (step, zh, next) = if is_refused {
        (
            "credentials",
            "数据库拒绝登录",
            Words::new(
                "核对 `connection` 中的 UID 与 `password_file`，请 HIS 厂家确认该只读账号可从本机登录",
                "check UID in `connection` and `password_file`; have the vendor confirm that this \
                 read-only account may log in from this machine",
            ),
        )
    } else if is(&["IM", "01000"]) {
        (
            "driver",
            "ODBC 驱动不可用",
            Words::new(
                "安装数据库的 ODBC 驱动，`connection` 中写 `Driver=驱动文件的完整路径`",
                "install the database's ODBC driver and name its file in `connection`: \
                 `Driver=PATH`",
            ),
        )
    } else {
        (
            "call",
            "无法连接数据库",
            Words::new(
                "核对 `connection`，用 `forepost views test 视图名` 复查，并联系 HIS 厂家",
                "check `connection`, try `forepost views test VIEW`, and call the vendor",
            ),
        )
    };
    let words = Words::new(format!("{zh}：{fault}"), format!("the database is not had: {fault}"));
    Finding::failing(subject, step, words, next)
}

async fn of_view(subject: &str, options: &DatabaseOptions, view: &ViewOptions) -> Finding {
    let looked = timeout(CALL_WAIT, views::look(&views::reader_place(), options, view)).await;
    let name = &view.name;
    match looked.unwrap_or_else(|_| Err(silent())) {
        Ok(missing) if missing.is_empty() => {
            let words = Words::new(
                format!("视图 {name} 可读，必填字段齐全"),
                format!("view {name} is there with every required column"),
            );
            Finding::fine(subject, "view", words)
        }
        Ok(missing) => {
            let missing = missing.join(", ");
            let words = Words::new(
                format!("视图 {name} 缺少必填字段：{missing}"),
                format!("view {name} lacks required columns: {missing}"),
            );
            let next = Words::new(
                "请 HIS 厂家补齐字段，或在 [views.columns] 中写明对应的列名",
                "have the vendor add them, or name the columns in [views.columns]",
            );
            Finding::warning(subject, "view", words, next)
        }
        Err(fault) => {
            let words = Words::new(
                format!("视图 {name} 不可读：{fault}"),
                format!("view {name} cannot be read: {fault}"),
            );
            let next = Words::new(
                format!(
                    "`forepost views test {name}`；核对 `view` 名称，请 HIS 厂家授予该账号查询权限"
                ),
                format!(
                    "`forepost views test {name}`; check its name (`view`), and have the account \
                     allowed to read it"
                ),
            );
            Finding::failing(subject, "view", words, next)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_and_port_are_found_where_the_string_tells_both() {
        for (connection, expected) in [
            ("Driver=x;Server=db.local;Port=5432;UID=u", Some(("db.local", 5432))),
            ("Driver=x;SERVER=10.0.0.7,1433;UID=u", Some(("10.0.0.7", 1433))),
            ("Driver=x;Servername = db ; port = 50000", Some(("db", 50_000))),
            ("Driver=x;Server=db\\his;Port=1433", None),
            ("Driver=x;DBQ=//db:1521/his", None),
            ("Driver=x;Server=db", None),
        ] {
            let found = server_of(connection);
            assert_eq!(found.as_ref().map(|(host, port)| (host.as_str(), *port)), expected);
        }
    }
}
