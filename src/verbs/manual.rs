//! `forepost manual --into FOLDER`: the pages for `man`, and what the shells complete, from the
//! same definitions as the command line, so that neither can say anything else than `--help`.
//!
//! Hidden: `make package` calls it, nobody else needs it. One page for the program and one for each
//! verb, `forepost-queue.1`, with what the verb itself can do in chapters of its own: a page for
//! every leaf was tried, and its eighty pages said less. Files that are there are written anew.
//! Start at [`run`].

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::{Args, Command};
use clap_complete::Shell;
use clap_mangen::Man;

use super::{DONE, fail};

/// What the page of the program says besides its verbs, in the language of man(7).
const MORE: &str = r#".SH FILES
.TP
.I /etc/forepost/forepost.toml
The configuration;
.I /usr/share/doc/forepost/forepost.toml.sample
has every key.
.TP
.I /var/lib/forepost
Ledger, keys and cache.
.SH NOTES
Every verb takes
.BR \-\-help .
Those that show something take
.B \-\-json
for machines.
.SH EXIT STATUS
.TP
.B 0
Done.
.TP
.B 1
Failed; the reason is on the standard error.
.TP
.B 64
The configuration or the command line is wrong.
.SH SEE ALSO
.BR journalctl (1),
.BR systemctl (1),
.I /usr/share/doc/forepost/OPERATING.md
"#;

/// What `manual` takes.
#[derive(Args)]
pub struct ManualArguments {
    /// The folder for the pages and completions.
    #[arg(long)]
    into: PathBuf,
}

/// Runs the verb for the command line `command`.
pub fn run(arguments: &ManualArguments, command: Command) -> u8 {
    match write(command, &arguments.into) {
        Ok(()) => DONE,
        Err(error) => fail(format!("{}: {error}", arguments.into.display())),
    }
}

fn write(command: Command, folder: &Path) -> io::Result<()> {
    fs::create_dir_all(folder)?;
    for shell in [Shell::Bash, Shell::Zsh, Shell::Fish] {
        let mut whole = command.clone();
        clap_complete::generate_to(shell, &mut whole, "forepost", folder)?;
    }
    let mut command = without_help(command).disable_help_subcommand(true);
    command.build();
    fs::write(folder.join("forepost.1"), program(&command)?)?;
    for verb in shown(&command) {
        let name = format!("forepost-{}.1", verb.get_name());
        fs::write(folder.join(name), page_of_verb(verb)?)?;
    }
    Ok(())
}

/// Every verb takes `--help`, which a page need not say forty times.
fn without_help(command: Command) -> Command {
    command.disable_help_flag(true).subcommand_value_name("verb").mut_subcommands(without_help)
}

fn shown(command: &Command) -> impl Iterator<Item = &Command> {
    command.get_subcommands().filter(|one| !one.is_hide_set())
}

/// The first line of a page. Without a date: the same sources give the same bytes.
fn title(command: &Command) -> String {
    let name = command.get_display_name().unwrap_or_else(|| command.get_name());
    let version = env!("CARGO_PKG_VERSION");
    format!(".TH \"{name}\" 1 \"\" \"Forepost {version}\" \"Forepost\"\n")
}

fn program(command: &Command) -> io::Result<String> {
    let man = Man::new(command.clone());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    man.render_options_section(&mut page)?;
    man.render_subcommands_section(&mut page)?;
    let page = plain(&page).replace(".SH SUBCOMMANDS", ".SH VERBS");
    Ok(title(command) + &page + MORE)
}

fn page_of_verb(verb: &Command) -> io::Result<String> {
    let man = Man::new(verb.clone());
    let mut page = Vec::new();
    man.render_name_section(&mut page)?;
    man.render_synopsis_section(&mut page)?;
    // The short description is the name's already.
    if verb.get_long_about().is_some() {
        man.render_description_section(&mut page)?;
    }
    man.render_options_section(&mut page)?;
    let mut page = title(verb) + &plain(&page);
    for part in shown(verb) {
        chapters(part, &mut page)?;
    }
    Ok(page + ".SH SEE ALSO\n.BR forepost (1)\n")
}

/// What a verb can do, each with its own name as the heading.
fn chapters(command: &Command, page: &mut String) -> io::Result<()> {
    let man = Man::new(command.clone());
    let (mut synopsis, mut description, mut options) = (Vec::new(), Vec::new(), Vec::new());
    man.render_synopsis_section(&mut synopsis)?;
    man.render_description_section(&mut description)?;
    man.render_options_section(&mut options)?;
    let name = command.get_bin_name().unwrap_or_else(|| command.get_name());
    page.push_str(&format!(".SH \"{}\"\n", name.to_uppercase()));
    page.push_str(&without_heading(&plain(&synopsis)));
    page.push_str(".PP\n");
    page.push_str(&without_heading(&plain(&description)));
    page.push_str(&without_heading(&plain(&options)));
    shown(command).try_for_each(|part| chapters(part, page))
}

/// Without the definition that the generator puts before each piece; one apostrophe is as good.
fn plain(piece: &[u8]) -> String {
    let text = String::from_utf8_lossy(piece);
    let lines = text.lines().filter(|line| !line.starts_with(".ie ") && !line.starts_with(".el "));
    lines.flat_map(|line| [line, "\n"]).collect::<String>().replace("\\*(Aq", "\\(aq")
}

fn without_heading(piece: &str) -> String {
    let lines = piece.lines().filter(|line| !line.starts_with(".SH "));
    lines.flat_map(|line| [line, "\n"]).collect()
}
