//! Which departments wait to be mapped, and the forms by which a person says what they are.
//!
//! The zone's allow-list says who may; the name is the one that is typed, as behind `--by`. A form
//! counts only when the browser says that a page of ours sent it, because no secret of the
//! reader's does.

use std::net::IpAddr;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::State;
use axum::response::IntoResponse;
use http::request::Parts;
use http::uri::Authority;
use http::{Request, Response, StatusCode, header};

use super::Console;
use crate::http::{bare, escaped, guarded, host, is_foreign, read_form, see};
use crate::ledger::{
    DepartmentMapping, DepartmentRefusal, Ledger, LedgerError, UnlistedDepartment,
};
use crate::limits::BY_CHARACTERS_MAX;
use crate::model::{Department, DictionaryKind, DictionaryRow};

/// Before a department's code, and before its name where it has no code, in the value of an option.
const BY_CODE: &str = "code:";
const BY_NAME: &str = "name:";

/// What waits and what was said, with the dictionaries to choose from.
pub(super) struct Mappings {
    hospitals: Vec<(String, Vec<UnlistedDepartment>, Vec<DictionaryRow>)>,
    mapped: Vec<DepartmentMapping>,
}

impl Mappings {
    /// Reads all of it. May wait for the disk.
    pub(super) fn read(ledger: &Ledger) -> Result<Mappings, LedgerError> {
        let mut hospitals: Vec<(String, Vec<UnlistedDepartment>, Vec<DictionaryRow>)> = Vec::new();
        for one in ledger.unlisted_departments()? {
            match hospitals.last_mut() {
                Some((hospital, unlisted, _)) if *hospital == one.hospital => unlisted.push(one),
                _ => {
                    let rows = ledger.dictionary_rows(&one.hospital, DictionaryKind::Dept)?.1;
                    hospitals.push((one.hospital.clone(), vec![one], rows));
                }
            }
        }
        Ok(Mappings { hospitals, mapped: ledger.department_mappings()? })
    }

    /// The part of the page that shows it.
    pub(super) fn shown(&self) -> String {
        let mut page = String::new();
        if !self.hospitals.is_empty() {
            page.push_str("<h2>字典中没有的科室 · Departments that no dictionary has</h2>");
        }
        for (hospital, unlisted, rows) in &self.hospitals {
            page.push_str(&map_form(hospital, unlisted, rows));
        }
        if !self.mapped.is_empty() {
            page.push_str(
                "<h2>已对照的科室 · Departments that were mapped</h2><table border=\"1\"><tr>\
                 <th>医院 Hospital</th><th>HIS 科室 Named</th><th>字典科室 In the dictionary</th>\
                 <th>确认人 By</th><th></th></tr>",
            );
            self.mapped.iter().for_each(|one| page.push_str(&mapped_row(one)));
            page.push_str("</table>");
        }
        page
    }
}

/// The field in which a person says who decides.
fn by_field() -> String {
    format!(
        "<label>确认人 By <input name=\"by\" required maxlength=\"{BY_CHARACTERS_MAX}\"></label> "
    )
}

fn map_form(hospital: &str, unlisted: &[UnlistedDepartment], rows: &[DictionaryRow]) -> String {
    let named: String = unlisted.iter().map(|one| option(&one.department)).collect();
    let hospital = escaped(hospital);
    if rows.is_empty() {
        return format!(
            "<p>{hospital}：没有科室字典，无法对照 · no dictionary of departments to choose from</p>\
             <select>{named}</select>"
        );
    }
    let listed: String = rows.iter().map(|row| choice(&row.code, &row.code, &row.name)).collect();
    let by = by_field();
    format!(
        "<form method=\"post\" action=\"/use/department/map\"><input type=\"hidden\" \
         name=\"hospital\" value=\"{hospital}\">{hospital} <select name=\"named\">{named}</select> \
         = <select name=\"department\" required><option></option>{listed}</select> {by}<button>确认 \
         Confirm</button></form>"
    )
}

fn mapped_row(one: &DepartmentMapping) -> String {
    let Department { code, name } = &one.named;
    let (hospital, value) = (escaped(&one.hospital), escaped(&value(&one.named)));
    let (code, name, by_whom) = (escaped(code), escaped(name), escaped(&one.confirmed_by));
    let (department, by) = (escaped(&one.department), by_field());
    format!(
        "<tr><td>{hospital}</td><td>{code}{name}</td><td>{department}</td><td>{by_whom}</td>\
         <td><form method=\"post\" action=\"/use/department/unmap\"><input type=\"hidden\" \
         name=\"hospital\" value=\"{hospital}\"><input type=\"hidden\" name=\"named\" \
         value=\"{value}\">{by}<button>撤销 Withdraw</button></form></td></tr>"
    )
}

fn value(department: &Department) -> String {
    match department.code.is_empty() {
        true => format!("{BY_NAME}{}", department.name),
        false => format!("{BY_CODE}{}", department.code),
    }
}

fn option(department: &Department) -> String {
    choice(&value(department), &department.code, &department.name)
}

fn choice(value: &str, code: &str, name: &str) -> String {
    let (value, code, name) = (escaped(value), escaped(code), escaped(name));
    format!("<option value=\"{value}\">{code} {name}</option>")
}

/// What a form says of a department.
struct Said {
    hospital: String,
    named: Department,
    /// Empty in the form that withdraws.
    department: String,
    by: String,
}

/// What a form says; or the answer to one that says too little, or that no page of ours sent.
async fn said(parts: &Parts, body: Body) -> Result<Said, Response<Body>> {
    let shows = ["origin", "sec-fetch-site"].iter().any(|name| parts.headers.contains_key(*name));
    if !shows || is_foreign(parts) || !by_address(parts) {
        return Err(refused(
            StatusCode::FORBIDDEN,
            "请用 IP 地址打开本页面并在页面上提交 · Open the page /use by the machine's IP address and \
             use its form, or `forepost department`",
        ));
    }
    let broken =
        || refused(StatusCode::BAD_REQUEST, "提交的内容不完整 · What was sent is incomplete");
    let form = read_form(body).await.ok_or_else(broken)?;
    let text = |name: &str| {
        let found = form.iter().find(|(key, _)| key == name);
        found.map_or("", |(_, text)| text.as_str()).to_owned()
    };
    let (named, by) = (text("named"), text("by").trim().to_owned());
    let named = match (named.strip_prefix(BY_CODE), named.strip_prefix(BY_NAME)) {
        (Some(code), _) => Department { code: code.to_owned(), name: String::new() },
        (None, Some(name)) => Department { code: String::new(), name: name.to_owned() },
        (None, None) => return Err(broken()),
    };
    if by.is_empty() || by.chars().count() > BY_CHARACTERS_MAX || by.contains(char::is_control) {
        return Err(broken());
    }
    Ok(Said { hospital: text("hospital"), named, department: text("department"), by })
}

/// Whether the page was opened by an address: a name may lead here that somebody else gave.
pub(super) fn by_address(parts: &Parts) -> bool {
    let named = host(parts).and_then(|text| text.parse::<Authority>().ok());
    named.is_some_and(|named| {
        let host = named.host().trim_start_matches('[').trim_end_matches(']');
        host == "localhost" || host.parse::<IpAddr>().is_ok()
    })
}

/// Keeps what a department is.
pub(super) async fn map(
    State(console): State<Arc<Console>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let said = match said(&parts, body).await {
        Ok(said) => said,
        Err(answer) => return answer,
    };
    let mapping = DepartmentMapping {
        hospital: said.hospital,
        named: said.named,
        department: said.department,
        confirmed_by: said.by,
        confirmed_at: (console.clock)(),
    };
    told(console.ledger.map_department(mapping).await)
}

/// Takes back what was said.
pub(super) async fn unmap(
    State(console): State<Arc<Console>>,
    request: Request<Body>,
) -> Response<Body> {
    let (parts, body) = request.into_parts();
    let Said { hospital, named, by, .. } = match said(&parts, body).await {
        Ok(said) => said,
        Err(answer) => return answer,
    };
    let now = (console.clock)();
    told(console.ledger.unmap_department(hospital, named, by, now).await)
}

fn told(done: Result<Result<(), DepartmentRefusal>, LedgerError>) -> Response<Body> {
    let refusal = match done {
        Ok(Ok(())) => return see("/use"),
        Ok(Err(refusal)) => refusal,
        Err(error) => {
            log::error!("what a department is was not kept: {error}");
            return bare(StatusCode::INTERNAL_SERVER_ERROR);
        }
    };
    let chinese = match refusal {
        DepartmentRefusal::NeverNamed => "没有医生以该科室登录过",
        DepartmentRefusal::Listed => "字典中已有该科室",
        DepartmentRefusal::NotInDictionary => "字典中没有所选的科室",
        DepartmentRefusal::NotMapped => "该科室没有对照",
    };
    refused(StatusCode::CONFLICT, &format!("{chinese} · {refusal}"))
}

fn refused(status: StatusCode, words: &str) -> Response<Body> {
    let page = format!(
        "<!DOCTYPE html><meta charset=\"utf-8\"><title>科室 Departments</title><p>{}</p>\
         <p><a href=\"/use\">返回 Back</a></p>",
        escaped(words)
    );
    let media = [(header::CONTENT_TYPE, "text/html;charset=UTF-8")];
    guarded((status, media, page).into_response())
}
