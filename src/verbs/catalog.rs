//! `catalog list | show | lint`: the catalogue for people.
//!
//! What always holds: the pages come from the same tables that check the bodies, so they
//! cannot promise something else.

use std::fmt::Write;

use serde_json::json;

use crate::catalog::table::{Address, Field, Interface, Type};
use crate::catalog::{self, Overlay};

/// All interfaces, one line each, or a JSON list.
pub fn list(json: bool) -> String {
    let all = catalog::interfaces();
    if json {
        let rows = all.iter().map(|it| {
            json!({
                "id": it.id, "system": it.system.name, "section": it.section, "title": it.title,
                "title_en": it.title_en, "zone": it.zone, "provider": it.provider,
                "caller": it.caller, "addresses": it.addresses,
            })
        });
        return json!(rows.collect::<Vec<_>>()).to_string();
    }
    let mut page = String::new();
    for it in all {
        let place = it.addresses.first().map(place).unwrap_or_default();
        let _ = writeln!(page, "{:<22} {:<12} {}  {place}", it.id, it.section, it.title);
    }
    page
}

/// The page of one interface; `None` when there is none of that name.
pub fn show(id: &str, json: bool) -> Option<String> {
    let interface = catalog::find(id)?;
    if json {
        return Some(json!(interface).to_string());
    }
    let mut page = String::new();
    head(&mut page, interface);
    if !interface.fields.is_empty() {
        page.push_str("\n字段（* 必填，*? 有条件必填）：\n");
        interface.fields.iter().for_each(|it| row(&mut page, it));
    }
    for rule in interface.rules {
        let sets = rule.any_of.iter().map(|set| set.join(" + ")).collect::<Vec<_>>();
        let _ = writeln!(page, "  至少一组：{}  [{}]", sets.join("，或 "), rule.id);
    }
    if !interface.example.is_empty() {
        let _ = write!(page, "\n示例：\n{}", interface.example);
    }
    for form in interface.answers {
        let _ = writeln!(page, "\n返回 {}：", form.name);
        form.fields.iter().for_each(|it| row(&mut page, it));
        let _ = write!(page, "{}", form.example);
    }
    if !interface.notes.is_empty() {
        page.push_str("\n说明：\n");
        interface.notes.iter().for_each(|it| {
            let _ = writeln!(page, "  - {it}");
        });
    }
    Some(page)
}

/// Checks a site overlay: how many levels it sets, or every mistake, one a line.
///
/// # Errors
/// The mistakes.
pub fn lint(text: &str) -> Result<String, String> {
    match Overlay::parse(text) {
        Ok(overlay) => Ok(format!("{} levels set", overlay.len())),
        Err(faults) => Err(faults.iter().map(ToString::to_string).collect::<Vec<_>>().join("\n")),
    }
}

fn head(page: &mut String, interface: &Interface) {
    let _ = writeln!(page, "{}  {}  ({})", interface.id, interface.title, interface.title_en);
    let document = interface.system.document;
    let _ = writeln!(page, "文档：{document} {}", interface.section);
    let _ = writeln!(page, "用途：{}", interface.purpose);
    let _ = writeln!(page, "方向：{} → {}", interface.caller, interface.provider);
    for address in interface.addresses {
        let _ = writeln!(page, "地址：{}", place(address));
    }
    if let Some(deadline_s) = interface.delivery.deadline_s {
        let _ = writeln!(page, "时限：{} 小时", deadline_s / 3_600);
    }
}

fn place(address: &Address) -> String {
    match address {
        Address::Http { method, path, .. } => format!("{method} {path}"),
        Address::View { name } => format!("view {name:?}"),
        Address::Procedure { name } => format!("procedure {name}"),
        Address::Soap { wsdl, operation, service } => {
            format!("SOAP {operation} {service} {wsdl}").trim_end().to_owned()
        }
        Address::UrlScheme { scheme } => format!("{scheme}://"),
        Address::Process { command } => (*command).to_owned(),
        Address::Dicom { service } => format!("DICOM {service}"),
    }
}

fn row(page: &mut String, field: &Field) {
    let mark = match (field.required, &field.when) {
        (true, None) => "*",
        (true, Some(_)) => "*?",
        (false, _) => "",
    };
    let _ = write!(page, "  {:<2} {:<28} {}", mark, field.path, field.label);
    if field.kind != Type::Text {
        let _ = write!(page, "  <{}>", format!("{:?}", field.kind).to_lowercase());
    }
    if let Some(when) = &field.when {
        let _ = write!(page, "  当 {} = {}", when.field, when.is.join("、"));
    }
    if let Some(dictionary) = field.dictionary.filter(|it| !it.entries.is_empty()) {
        let codes = dictionary.entries.iter().map(|(code, name)| format!("{code} {name}"));
        let _ = write!(page, "  {{{}}}", codes.collect::<Vec<_>>().join("，"));
    }
    if !field.aliases.is_empty() {
        let _ = write!(page, "  又名 {}", field.aliases.join("、"));
    }
    if let Some(encryption) = field.encryption {
        let _ = write!(page, "  {encryption:?} 加密");
    }
    if !field.note.is_empty() {
        let _ = write!(page, "  {}", field.note);
    }
    page.push('\n');
    field.children.iter().for_each(|it| row(page, it));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_interface_is_listed_and_has_a_page() {
        let lines = list(false);
        let rows: serde_json::Value = serde_json::from_str(&list(true)).unwrap();
        assert_eq!(rows.as_array().unwrap().len(), catalog::interfaces().len());
        for interface in catalog::interfaces() {
            assert!(lines.contains(interface.id));
            let page = show(interface.id, false).unwrap();
            for field in interface.fields {
                assert!(page.contains(field.path), "{}", field.path);
            }
            assert!(page.contains(interface.example));
            let json = show(interface.id, true).unwrap();
            let json: serde_json::Value = serde_json::from_str(&json).unwrap();
            assert_eq!(json["section"], interface.section);
        }
        assert_eq!(show("ic-nothing", false), None);
    }

    #[test]
    fn lint_counts_levels_or_lists_every_mistake() {
        let good = "[levels]\n\"ic-register-push.mobilePhone\" = \"off\"\n";
        assert_eq!(lint(good), Ok("1 levels set".into()));
        let bad = "[levels]\n\"ic-register-push.nothing\" = \"off\"\n\"x.y\" = \"warn\"\n";
        assert_eq!(lint(bad).unwrap_err().lines().count(), 2);
    }
}
