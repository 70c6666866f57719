//! `forepost doctor`: looks at this machine and everybody it talks to, says what is wrong and what
//! to do next, in Chinese and English, on 80 columns. Exit code 0: all fine, or warnings only; 1:
//! something fails.

use std::io::{IsTerminal, Write};
use std::path::PathBuf;

use clap::Args;
use unicode_width::{UnicodeWidthChar, UnicodeWidthStr};

use super::{ConfigArgument, DONE, FAILED, MISUSED, fail};
use crate::clock;
use crate::config::Config;
use crate::console::Report;
use crate::doctor::limits::COLUMNS;
use crate::doctor::{Bundle, Finding, State, Subjects, worst};
use crate::host;
use crate::model::FindingState;

/// What `doctor` takes.
#[derive(Args)]
pub struct DoctorArguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Only what is called so: `source region`, or a kind: `source`, `clock`. May be given again.
    #[arg(long)]
    only: Vec<String>,
    /// As JSON.
    #[arg(long)]
    json: bool,
    /// Write what the maker needs into a new .tar.gz: findings, versions, configuration without
    /// secrets, tallies, log. Nothing personal, no secret.
    #[arg(long, conflicts_with = "only", value_name = "FILE.tar.gz")]
    bundle: Option<PathBuf>,
}

/// Runs the verb.
pub fn run(arguments: &DoctorArguments) -> u8 {
    look(arguments).unwrap_or_else(|code| code)
}

fn look(arguments: &DoctorArguments) -> Result<u8, u8> {
    let config = arguments.config.read()?;
    believe(&config);
    let subjects = Subjects::of(&config);
    let names = subjects.names();
    if let Some(unknown) =
        arguments.only.iter().find(|only| !names.iter().any(|name| is_called(name, only)))
    {
        eprintln!(
            "forepost: nothing is called {unknown}; --only takes one of {}",
            names.join(", ")
        );
        return Err(MISUSED);
    }
    if !arguments.json && std::io::stderr().is_terminal() {
        eprintln!("正在检查，至多一分钟 · looking, for a minute at most");
    }
    let only = &arguments.only;
    let wanted = |name: &str| only.is_empty() || only.iter().any(|one| is_called(name, one));
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.map_err(fail)?;
    let at = clock::now();
    let findings = runtime.block_on(subjects.check_some(at, wanted));
    let report = Report { at, findings };
    if let Some(path) = &arguments.bundle {
        let collecting = Bundle::collect(&arguments.config.config, &config, &report);
        runtime.block_on(collecting).write(path).map_err(fail)?;
        let shown = path.display();
        eprintln!(
            "已写入 {shown}，不含密钥与个人信息 · {shown} holds no secret and nothing personal"
        );
    }
    // A disk that hangs must not hold the verb.
    runtime.shutdown_background();
    let shown = match arguments.json {
        true => format!("{:#}\n", report.json(config.offset)),
        false => words(&report),
    };
    // Whoever reads may have gone, as `head` does.
    let _ = std::io::stdout().write_all(shown.as_bytes());
    Ok(if worst(&report.findings) == State::Failing { FAILED } else { DONE })
}

/// A clock that shows less than what is recorded is judged as the service judges it.
fn believe(config: &Config) {
    let Ok(ledger) = host::open_to_read(&config.data) else { return };
    if let Ok(Some(last)) = ledger.last_moment() {
        clock::not_before(last);
    }
}

/// Whether a subject is meant: by its name, or by its kind.
fn is_called(subject: &str, only: &str) -> bool {
    subject == only || subject.split(' ').next() == Some(only)
}

/// The report for a person: a subject's findings together, a line of sums last.
fn words(report: &Report) -> String {
    let mut text = String::new();
    let mut subject = "";
    for finding in &report.findings {
        if finding.subject != subject {
            subject = &finding.subject;
            text.push_str(&format!("{subject}\n"));
        }
        text.push_str(&finding_words(finding));
    }
    let [fine, warnings, failing] = FindingState::ALL.map(|state| report.count(state));
    text.push_str(&format!(
        "\n{failing} 项故障，{warnings} 项注意，{fine} 项正常 · {failing} failing, {warnings} warnings, \
         {fine} fine\n"
    ));
    text
}

fn finding_words(finding: &Finding) -> String {
    let light = match finding.state {
        State::Fine => "ok  ",
        State::Warning => "WARN",
        State::Failing => "FAIL",
    };
    let head = format!("  {light} {:<12} ", finding.step);
    let indent = " ".repeat(head.len());
    let mut text = wrapped(&head, &indent, &finding.words.zh);
    text.push_str(&wrapped(&indent, &indent, &finding.words.en));
    if let Some(next) = &finding.next {
        text.push_str(&wrapped("       => ", "          ", &next.zh));
        // A command is the same in both.
        if next.en != next.zh {
            text.push_str(&wrapped("       => ", "          ", &next.en));
        }
    }
    text
}

/// A text in lines of [`COLUMNS`], a Chinese character counting two. It breaks at blanks, and
/// anywhere between Chinese characters; what is longer than a line is left whole.
fn wrapped(head: &str, indent: &str, text: &str) -> String {
    let (mut lines, mut line, mut used) = (String::new(), head.to_owned(), head.width());
    let mut is_empty = true;
    for piece in pieces(text) {
        if !is_empty && used + piece.trim_end().width() > COLUMNS {
            lines.push_str(line.trim_end());
            lines.push('\n');
            (line, used, is_empty) = (indent.to_owned(), indent.width(), true);
        }
        if !(is_empty && piece == " ") {
            line.push_str(piece);
            used += piece.width();
            is_empty = false;
        }
    }
    lines.push_str(line.trim_end());
    lines.push('\n');
    lines
}

/// Words with the blank behind them, and single Chinese characters; a Chinese stop stays with what
/// it ends.
fn pieces(text: &str) -> Vec<&str> {
    let (mut pieces, mut from) = (Vec::new(), 0);
    let mut before: Option<char> = None;
    for (at, c) in text.char_indices() {
        let stops = "，。；：、！？）”》".contains(c);
        let breaks = match before {
            None => false,
            Some(' ') => true,
            Some(before) => (is_wide(before) || is_wide(c)) && !stops && before != '（',
        };
        if breaks {
            pieces.push(&text[from..at]);
            from = at;
        }
        before = Some(c);
    }
    pieces.push(&text[from..]);
    pieces
}

fn is_wide(c: char) -> bool {
    c.width() == Some(2)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::doctor::Words;

    #[test]
    fn no_line_is_wider_than_a_serial_console() {
        let zh = "核对名称；用 `getent hosts region.example` 复查；检查 /etc/resolv.conf 中的域名服务器，\
                  或请网络管理员添加该名称（也可写入 /etc/hosts），然后重新运行本命令并查看结果";
        let en = "check the spelling; try `getent hosts region.example`; look at the name servers \
                  in /etc/resolv.conf, or have the name entered there or in /etc/hosts";
        let finding = Finding::failing("s", "dns", Words::new(zh, en), Words::new(zh, en));
        let shown = finding_words(&finding);
        assert!(shown.lines().all(|line| line.width() <= COLUMNS), "{shown}");
        let squeezed = |text: &str| text.split_whitespace().collect::<String>();
        assert!(
            squeezed(&shown).contains(&squeezed(zh)) && squeezed(&shown).contains(&squeezed(en))
        );
    }

    #[test]
    fn a_kind_names_all_of_it_and_a_name_only_one() {
        assert!(
            is_called("source region", "source") && is_called("source region", "source region")
        );
        assert!(!is_called("source region", "region") && !is_called("disk cache", "cache"));
    }
}
