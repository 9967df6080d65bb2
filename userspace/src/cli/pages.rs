//! `ringtun man-pages`: a manual page for each subcommand, from what `--help` is
//! made of and from [`pages_text`](super::pages_text).

use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::{Args, Command};
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use super::output::print;
use super::pages_help::{Help, Part};
use super::pages_text::{self, Extra};

/// Of the manual: system administration (man-pages(7)).
const SECTION: &str = "8";

#[derive(Args)]
#[command(after_help = "\
Writes ringtun.8 and one page for each subcommand, ringtun-up.8 and so on. A page that is
there already is written anew. Packages have them, in /usr/share/man/man8.

Examples:
  ringtun man-pages /usr/local/share/man/man8
  ringtun man-pages . && man ./ringtun-up.8")]
pub struct PagesArgs {
    /// Where they go: a directory that is there
    #[arg(value_name = "DIRECTORY")]
    directory: PathBuf,
}

/// Writes the pages of `command`; prints their files.
pub fn run(args: &PagesArgs, command: Command) -> Result<ExitCode> {
    let mut written = String::new();
    for (name, text) in pages(command)? {
        let path = args.directory.join(name);
        write(&path, &text)?;
        written.push_str(&format!("{}\n", path.display()));
    }
    print(&written)?;
    Ok(ExitCode::SUCCESS)
}

fn write(path: &Path, text: &[u8]) -> Result<()> {
    fs::write(path, text).with_context(|| format!("cannot write {}", path.display()))
}

/// Every page: the name of its file, and its text.
fn pages(mut command: Command) -> Result<Vec<(String, Vec<u8>)>> {
    command.build();
    let mut commands = vec![command];
    let mut pages = Vec::new();
    while let Some(command) = commands.pop() {
        commands.extend(subcommands(&command).cloned());
        let name = name(&command);
        let text = page(&command).with_context(|| name.clone())?;
        pages.push((format!("{name}.{SECTION}"), text));
    }
    pages.sort();
    Ok(pages)
}

/// As the page is called: `ringtun-peer-add`.
fn name(command: &Command) -> String {
    let name = command.get_display_name();
    name.unwrap_or_else(|| command.get_name()).to_owned()
}

fn subcommands(command: &Command) -> impl Iterator<Item = &Command> {
    let shown = command.get_subcommands().filter(|c| !c.is_hide_set());
    shown.filter(|c| c.get_name() != "help")
}

fn page(command: &Command) -> Result<Vec<u8>> {
    let name = name(command);
    let is_root = name == "ringtun";
    let version = env!("CARGO_PKG_VERSION");
    let man = Man::new(command.clone().disable_help_subcommand(true)).section(SECTION);
    let help = command
        .get_after_help()
        .map(|text| Help::parse(&text.to_string()))
        .unwrap_or_default();
    let extra = pages_text::of(&name);

    let mut out = Vec::new();
    // Without a date, as the same source makes the same page; render_title would put
    // the version in its place.
    let title = name.to_uppercase().replace('-', "\\-");
    writeln!(
        out,
        ".TH {title} {SECTION} \"\" \"ringtun {version}\" \"ringtun\""
    )?;
    man.render_name_section(&mut out)?;
    if is_root {
        // Its options are those of `run`, which has a page of its own.
        synopsis(&mut out)?;
    } else {
        man.render_synopsis_section(&mut out)?;
    }
    if !help.description.is_empty() || !extra.description.is_empty() {
        let said = extra.description.iter();
        let said = said.map(|text| Part::Paragraph((*text).to_owned()));
        let all: Vec<Part> = said.chain(help.description).collect();
        let mut roff = section("DESCRIPTION");
        parts(&mut roff, &all);
        roff.to_writer(&mut out)?;
    }
    if subcommands(command).next().is_some() {
        commands(&mut out, command)?;
    }
    let has_options = command
        .get_arguments()
        .any(|argument| !argument.is_hide_set());
    if has_options && !is_root {
        man.render_options_section(&mut out)?;
    }
    if !help.environment.is_empty() || !extra.environment.is_empty() {
        let mut roff = section("ENVIRONMENT");
        parts(&mut roff, &help.environment);
        terms(&mut roff, extra.environment);
        roff.to_writer(&mut out)?;
    }
    files(&mut out, &extra)?;
    let mut roff = section("EXIT STATUS");
    if help.exit_status.is_empty() {
        roff.text([roman(pages_text::EXIT_STATUS)]);
    } else {
        roff.text([roman(help.exit_status)]);
        roff.control("PP", []);
        roff.text([roman(pages_text::EXIT_STATUS_USAGE)]);
    }
    roff.to_writer(&mut out)?;
    if !help.examples.is_empty() {
        let mut roff = section("EXAMPLES");
        parts(&mut roff, &help.examples);
        roff.to_writer(&mut out)?;
    }
    see_also(&mut out, &name, command, &extra)?;
    Ok(out)
}

fn synopsis(out: &mut Vec<u8>) -> Result<()> {
    let mut roff = section("SYNOPSIS");
    for (at, (words, rest)) in pages_text::SYNOPSIS.iter().enumerate() {
        if at > 0 {
            roff.control("br", []);
        }
        roff.text([bold(*words), roman(*rest)]);
    }
    Ok(roff.to_writer(out)?)
}

fn commands(out: &mut Vec<u8>, command: &Command) -> Result<()> {
    let mut roff = section("COMMANDS");
    for subcommand in subcommands(command) {
        roff.control("TP", []);
        roff.text([bold(name(subcommand)), roman(format!("({SECTION})"))]);
        let about = subcommand.get_about().map(ToString::to_string);
        roff.text([roman(about.unwrap_or_default())]);
    }
    Ok(roff.to_writer(out)?)
}

fn files(out: &mut Vec<u8>, extra: &Extra) -> Result<()> {
    if extra.files.is_empty() {
        return Ok(());
    }
    let mut roff = section("FILES");
    terms(&mut roff, extra.files);
    Ok(roff.to_writer(out)?)
}

fn see_also(out: &mut Vec<u8>, own: &str, command: &Command, extra: &Extra) -> Result<()> {
    let mut pages: Vec<(String, &str)> = vec![("ringtun".to_owned(), SECTION)];
    pages.extend(subcommands(command).map(|c| (name(c), SECTION)));
    pages.extend(extra.see_also.iter().map(|(n, s)| ((*n).to_owned(), *s)));
    pages.retain(|(name, _)| name != own);
    pages.sort_by(|a, b| (a.1, &a.0).cmp(&(b.1, &b.0)));
    pages.dedup();
    let mut roff = section("SEE ALSO");
    let last = pages.len().saturating_sub(1);
    for (at, (name, section)) in pages.into_iter().enumerate() {
        let end = if at == last { "" } else { "," };
        roff.text([bold(name), roman(format!("({section}){end}"))]);
    }
    Ok(roff.to_writer(out)?)
}

fn section(title: &str) -> Roff {
    let mut roff = Roff::new();
    roff.control("SH", [title]);
    roff
}

fn terms(roff: &mut Roff, terms: &[(&str, &str)]) {
    for (term, text) in terms {
        roff.control("TP", []);
        roff.text([bold(*term)]);
        roff.text([roman(*text)]);
    }
}

fn parts(roff: &mut Roff, parts: &[Part]) {
    for (at, part) in parts.iter().enumerate() {
        // A heading begins a paragraph by itself.
        if at > 0 {
            roff.control("PP", []);
        }
        match part {
            Part::Paragraph(text) => {
                roff.text([roman(text.as_str())]);
            }
            Part::AsItIs(lines) => {
                roff.control("nf", []);
                roff.control("RS", ["4"]);
                for line in lines {
                    roff.text([roman(line.as_str())]);
                }
                roff.control("RE", []);
                roff.control("fi", []);
            }
        }
    }
}

#[cfg(test)]
#[path = "pages_tests.rs"]
mod tests;
