//! `--print-answers`: every question as a line of a file that `--answers` reads.

use super::answers::is_list;
use super::questions::{Kind, Question, SECTIONS, Section, Standard};

const HEAD: &str = "\
# forepost setup --answers 文件                 （模板：forepost setup --print-answers）
# Answers for `forepost setup --answers FILE`    (printed by: forepost setup --print-answers)
#
# 去掉行首的 # 并填写；未注释的键必须填写。没有提到的条目保持现状。
# Take the # away and fill in; the keys that are not commented out are needed. What the file does
# not name stays as it is on this machine.
#
# 令牌、口令可直接写在这里（本文件应只有 root 可读，用后删除），
# 或写成 …_file = \"文件路径\"（例如 token_file）。
# Secrets may stand here as they are (let nobody but root read this file, and delete it
# afterwards), or be named by their files: …_file = \"PATH\", such as token_file.
";

/// The whole file, in both languages.
pub fn template() -> String {
    let mut all = HEAD.to_owned();
    for section in &SECTIONS {
        all.push_str(&format!("\n# ---- {} / {}\n", section.title.zh, section.title.en));
        // Of a list only the hospital must be there.
        let needed = section.identity.is_none() || section.key == "hospital";
        let sign = if needed { "" } else { "# " };
        match section.identity {
            None => all.push_str(&format!("{sign}[{}]\n", section.key)),
            Some(_) => all.push_str(&format!("{sign}[[{}]]\n", section.key)),
        }
        for question in section.questions {
            all.push_str(&lines(section, question, needed));
        }
    }
    all
}

fn lines(section: &Section, question: &Question, section_needed: bool) -> String {
    let mut lines = format!("# {}\n# {}\n", question.asks.zh, question.asks.en);
    if let Some((key, values)) = question.when {
        let values = match values {
            [] => "…".to_owned(),
            some => some.join(" / "),
        };
        lines.push_str(&format!("#   仅当 / only with: {key} = {values}\n"));
    }
    if let Kind::One(choices) | Kind::Some(choices) = question.kind {
        for choice in choices {
            let means = choice.means;
            lines.push_str(&format!("#   {}: {} / {}\n", choice.value, means.zh, means.en));
        }
    }
    // The HIS's addresses are needed unless it comes another way, so a template has them.
    let asked_of_all = question.standard == Standard::Needed
        || (section.key == "his" && question.key == "addresses");
    let needed = asked_of_all && question.when.is_none() && section_needed;
    let sign = if needed { "" } else { "# " };
    lines.push_str(&format!("{sign}{} = {}\n", question.key, value(question)));
    lines
}

fn value(question: &Question) -> String {
    match question.kind {
        Kind::Flag | Kind::Port => question.example.to_owned(),
        kind if is_list(kind) => {
            let parts = question.example.split(", ").map(|part| format!("\"{part}\""));
            format!("[{}]", parts.collect::<Vec<_>>().join(", "))
        }
        _ => format!("\"{}\"", question.example),
    }
}
