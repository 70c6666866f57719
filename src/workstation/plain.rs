//! Pages for any browser of the last ten years, without a framework: what the application of `web/`
//! takes the place of where the browser is newer.

use super::content::{Content, Name, NoticeRow, Patient, Refused, Study, StudyRow, Window};
use super::html::Language;
use super::pages::{REASON_CHARACTERS_MAX, REASON_CHARACTERS_MIN};
use super::report::{Line, Report};
use crate::http::escaped;

/// A page's title, its body, and the script that it needs.
pub(super) struct Plain {
    pub(super) title: String,
    pub(super) body: String,
    pub(super) script: Option<&'static str>,
}

/// The page that says it.
pub(super) fn page(language: Language, content: &Content) -> Plain {
    let (title, body, script) = match content {
        Content::Window(window) => (
            language.say("外院影像提醒", "Outside studies"),
            self::window(language, window),
            "window",
        ),
        Content::Patient(patient) => (
            language.say("外院影像检查", "Studies made elsewhere"),
            self::patient(language, patient),
            "patient",
        ),
        Content::Study(study) => (
            language.say("外院影像检查", "A study made elsewhere"),
            self::study(language, study),
            "patient",
        ),
        Content::Refused(refused) => {
            let body = self::refused(language, refused);
            return Plain { title: refused.words.to_owned(), body, script: None };
        }
    };
    Plain { title: title.to_owned(), body, script: Some(script) }
}

fn window(language: Language, window: &Window) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = say("外院影像提醒", "Outside studies");
    let (doctor, department) = (escaped(&window.doctor), escaped(&window.department));
    let texts = [
        ("opened", say("外院检查", "outside studies")),
        ("same", say("与所开检查相同", "the examination that is ordered")),
        ("here", say("已到本院", "here")),
        ("list", say("未指定到本窗口", "list only")),
        ("seen", say("知道了", "Seen")),
        ("look", say("查看", "Look")),
        ("lost", say("连接中断，正在重连…", "Connection lost, trying again…")),
        ("live", say("已连接", "Connected")),
        ("ended", say("已退出登录", "Logged out")),
        ("today", say("今天", "today")),
        ("ago", say("天前", "days ago")),
    ];
    let texts: String =
        texts.iter().map(|(key, text)| format!(" data-{key}=\"{}\"", escaped(text))).collect();
    let quiet = say("免打扰", "Do not disturb");
    let log_out = say("退出", "Log out");
    let none = say("暂无提醒", "Nothing yet");
    let alert = say("桌面提醒", "Desktop alerts");
    // For a browser without scripts, or without streams: the same, as of now.
    let plain: String = window.notices.iter().map(|row| notice(language, row)).collect();
    let hidden = if plain.is_empty() { "" } else { " hidden" };
    format!(
        "<header><h1>{title}</h1><p>{doctor} · {department} \
         <span id=\"state\" role=\"status\"></span></p>\
         <form method=\"post\" action=\"/workstation/logout\"><label><input type=\"checkbox\" \
         id=\"quiet\"> {quiet}</label> <button type=\"button\" id=\"alerts\" hidden>{alert}\
         </button> <button>{log_out}</button></form></header>\
         <main><ol id=\"plain\">{plain}</ol><p id=\"none\"{hidden}>{none}</p>\
         <ol id=\"notices\" aria-live=\"polite\"{texts}></ol></main>\
         <noscript><meta http-equiv=\"refresh\" content=\"10\"></noscript>"
    )
}

fn notice(language: Language, row: &NoticeRow) -> String {
    let patient = escaped(&row.patient);
    let same = match row.same {
        0 => String::new(),
        n => {
            let words = language.say("与所开检查相同", "the examination that is ordered");
            format!(" <em class=\"same\">{words} × {n}</em>")
        }
    };
    let class = if row.acknowledged { "seen" } else { "new" };
    let (outside, is_here, look) = (
        language.say("外院检查", "outside studies"),
        language.say("已到本院", "here"),
        language.say("查看", "Look"),
    );
    let (id, count, here) = (row.id, row.studies, row.here);
    let newest = row.newest.as_deref().map(escaped).unwrap_or_default();
    let age = row.days.map(|days| ago(language, days)).unwrap_or_default();
    format!(
        "<li class=\"{class}\"><strong>{patient}</strong> {count} {outside} · {is_here} {here}\
         {same} <a class=\"look\" href=\"/workstation/patient/{id}\">{look}</a> \
         <span class=\"newest\">{newest} {age}</span></li>"
    )
}

fn patient(language: Language, patient: &Patient) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = say("外院影像检查", "Studies made elsewhere");
    let name = name(&patient.patient);
    let notice = patient.notice;
    let decide = if patient.decide { decide_form(language, notice) } else { String::new() };
    let exams: Vec<String> = patient.exams.iter().map(|name| escaped(name)).collect();
    let ordered = if exams.is_empty() {
        String::new()
    } else {
        format!("<p>{} {}</p>", say("本次所开检查：", "Ordered now:"), exams.join("，"))
    };
    let rows: String = patient.studies.iter().map(|one| row(language, notice, one)).collect();
    let heads = [
        say("检查日期", "Date"),
        say("医院", "Hospital"),
        say("类型", "Modality"),
        say("检查", "Examination"),
        say("状态", "State"),
        say("说明", "Remarks"),
        "",
    ];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let back = say("返回", "Back");
    let (arriving, here) = (say("到达中", "arriving"), say("已到本院", "here"));
    format!(
        "<header><h1>{title}</h1><p>{name} <a href=\"/workstation/\" accesskey=\"b\">{back}</a>\
         </p></header><main>{ordered}<table data-notice=\"{notice}\" data-arriving=\"{arriving}\" \
         data-here=\"{here}\"><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody></table>{decide}\
         </main>"
    )
}

/// A name that shows itself when it is pointed at or has the keyboard.
fn name(name: &Name) -> String {
    let (masked, full) = (escaped(&name.masked), escaped(&name.full));
    format!(
        "<span class=\"name\" tabindex=\"0\"><span class=\"masked\">{masked}</span>\
         <span class=\"full\">{full}</span></span>"
    )
}

/// What became of an order whose examination was made elsewhere.
fn decide_form(language: Language, notice: i64) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let (why, anyway, withdrawn) = (
        say("理由", "Reason"),
        say("仍需检查", "Order all the same"),
        say("撤销检查", "Order withdrawn"),
    );
    format!(
        "<form class=\"decide\" method=\"post\" action=\"/workstation/decide/{notice}\">\
         <label>{why} <input name=\"reason\" maxlength=\"{REASON_CHARACTERS_MAX}\" size=\"40\">\
         </label> <button name=\"what\" value=\"anyway\">{anyway}</button> \
         <button name=\"what\" value=\"withdrawn\">{withdrawn}</button></form>"
    )
}

fn row(language: Language, notice: i64, row: &StudyRow) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let uid = &row.study;
    let unknown = say("不详", "unknown");
    let hospital =
        if row.hospital.is_empty() { unknown.to_owned() } else { escaped(&row.hospital) };
    let fetch = if row.progress.progress == "elsewhere" {
        let words = say("立即调取", "Fetch now");
        format!(
            "<form method=\"post\" action=\"/workstation/fetch/{notice}/{uid}\"><button>{words}\
             </button></form>"
        )
    } else {
        String::new()
    };
    let mut remarks = Vec::new();
    if let Some(by) = row.same {
        let same = say("与所开检查相同", "the examination that is ordered");
        let by = match by {
            "mapping" => say("按已确认的项目对照", "by the confirmed mapping"),
            _ => say("按项目名称中的类型和部位判断", "by modality and body part of its name"),
        };
        remarks.push(format!("<strong>{same}</strong>（{by}）"));
    }
    if row.unconfirmed {
        let words = say("身份未核实", "identity not confirmed");
        remarks.push(format!("<em>{words}</em>"));
    }
    if !row.has_report {
        remarks.push(without_report(language, row));
    }
    let (day, modality) = (escaped(&row.date), escaped(&row.modality));
    let age = row.days.map(|days| format!("<br>{}", ago(language, days))).unwrap_or_default();
    let (exam, remarks) = (escaped(&row.examination), remarks.join("；"));
    let (open, state) = (say("打开", "Open"), state(language, row));
    let class = if row.same.is_some() { "study same" } else { "study" };
    format!(
        "<tr class=\"{class}\"><td>{day}{age}</td><td>{hospital}</td><td>{modality}</td>\
         <td>{exam}</td><td data-study=\"{uid}\">{state}</td><td>{remarks}</td>\
         <td><a class=\"go\" href=\"/workstation/study/{notice}/{uid}\">{open}</a>{fetch}</td></tr>"
    )
}

fn state(language: Language, row: &StudyRow) -> String {
    let progress = &row.progress;
    match progress.progress {
        "here" => language.say("已到本院", "here").to_owned(),
        "arriving" => {
            let of = progress.expected.map_or_else(|| "?".to_owned(), |m| m.to_string());
            format!("{} {} / {of}", language.say("到达中", "arriving"), progress.here)
        }
        _ => language.say("可调取", "can be fetched").to_owned(),
    }
}

/// How old a study is.
fn ago(language: Language, days: i32) -> String {
    match (language, days) {
        (Language::Chinese, 0) => "今天".to_owned(),
        (Language::Chinese, days) => format!("{days} 天前"),
        (Language::English, 0) => "today".to_owned(),
        (Language::English, 1) => "yesterday".to_owned(),
        (Language::English, days) => format!("{days} days ago"),
    }
}

/// Where the report is, when none came with the study.
fn without_report(language: Language, row: &StudyRow) -> String {
    match &row.report_link {
        Some(at) => {
            let words = language.say("来源医院报告", "Report at the source");
            let at = escaped(at);
            format!("<a href=\"{at}\" target=\"_blank\" rel=\"noopener noreferrer\">{words}</a>")
        }
        None => language.say("报告未送达", "no report delivered").to_owned(),
    }
}

fn study(language: Language, study: &Study) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let title = escaped(&study.words);
    let (notice, uid) = (study.notice, &study.row.study);
    let series: String = study
        .series
        .iter()
        .map(|row| {
            let (modality, text) = (escaped(&row.modality), escaped(&row.description));
            let (number, images) = (row.number, row.images);
            format!("<tr><td>{number}</td><td>{modality}</td><td>{text}</td><td>{images}</td></tr>")
        })
        .collect();
    let heads = [
        say("序号", "Series"),
        say("类型", "Modality"),
        say("描述", "Description"),
        say("图像", "Images"),
    ];
    let heads: String = heads.iter().map(|head| format!("<th scope=\"col\">{head}</th>")).collect();
    let open = match (study.linked, study.viewer) {
        (true, _) => String::new(),
        (false, true) => {
            let words = say("打开影像", "Open the images");
            format!(
                "<p><a class=\"open\" href=\"/workstation/open/{notice}/{uid}\" target=\"_blank\" \
                 rel=\"noopener noreferrer\" accesskey=\"o\">{words}</a></p>"
            )
        }
        (false, false) => format!("<p>{}</p>", say("未配置阅片器地址", "No viewer is configured")),
    };
    let report = if study.reports.is_empty() {
        let words = if study.row.has_report {
            say("报告尚未到达", "The report is on its way").to_owned()
        } else {
            without_report(language, &study.row)
        };
        format!("<p>{words}</p>")
    } else {
        let title = say("报告", "Report");
        let reports: Vec<String> =
            study.reports.iter().map(|one| report(language, study, one)).collect();
        format!("<section class=\"report\"><h2>{title}</h2>{}</section>", reports.join("<hr>"))
    };
    let back = if study.linked {
        String::new()
    } else {
        let words = say("返回", "Back");
        format!("<p><a href=\"/workstation/patient/{notice}\" accesskey=\"b\">{words}</a></p>")
    };
    let (why, chosen) = (escaped(&study.row.why), say("选取原因", "Why it was chosen"));
    format!(
        "<header><h1>{title}</h1>{back}</header><main>{open}{report}<table><thead><tr>{heads}</tr>\
         </thead><tbody>{series}</tbody></table><details><summary>{chosen}</summary><p>{why}</p>\
         </details></main>"
    )
}

fn report(language: Language, study: &Study, report: &Report) -> String {
    match report {
        Report::Text { lines } => lines.iter().map(line).collect(),
        Report::Document { sop } => {
            let (notice, uid) = (study.notice, &study.row.study);
            let words = language.say("报告文档（PDF）", "Report (PDF)");
            format!("<p><a href=\"/workstation/document/{notice}/{uid}/{sop}\">{words}</a></p>")
        }
    }
}

fn line(line: &Line) -> String {
    let (depth, label) = (line.depth.min(6), escaped(&line.label));
    let text: Vec<String> = line.text.lines().map(escaped).collect();
    let text = text.join("<br>");
    match (label.is_empty(), text.is_empty()) {
        (false, true) => format!("<p class=\"depth{depth}\"><b>{label}</b></p>"),
        (false, false) => format!("<p class=\"depth{depth}\"><b>{label}</b> {text}</p>"),
        (true, _) => format!("<p class=\"depth{depth}\">{text}</p>"),
    }
}

fn refused(language: Language, refused: &Refused) -> String {
    let glass = refused.glass.map(|notice| glass_form(language, notice)).unwrap_or_default();
    format!("<main><p>{}</p>{glass}</main>", refused.words)
}

/// Asks for the reason that opens a patient all the same.
fn glass_form(language: Language, notice: i64) -> String {
    let say = |chinese, english| language.say(chinese, english);
    let (why, open, told) = (
        say("调阅理由", "Reason"),
        say("紧急调阅", "Open all the same"),
        say("理由和本次调阅将记入审计日志。", "The reason and this opening are audited."),
    );
    format!(
        "<form method=\"post\" action=\"/workstation/glass/{notice}\"><label>{why} <input \
         name=\"reason\" required minlength=\"{REASON_CHARACTERS_MIN}\" \
         maxlength=\"{REASON_CHARACTERS_MAX}\" size=\"40\"></label> <button>{open}</button>\
         <p>{told}</p></form>"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_peer_wrote_is_text() {
        let said = Line { depth: 1, label: "<b>".into(), text: "<script>\n&".into() };
        assert_eq!(line(&said), "<p class=\"depth1\"><b>&lt;b&gt;</b> &lt;script&gt;<br>&amp;</p>");
        let evil = "<script>alert(1)</script>".to_owned();
        assert!(!name(&Name { masked: evil.clone(), full: evil }).contains("<script"));
    }
}
