use clap::CommandFactory as _;
use std::io::Write as _;
use std::process::{Command, Stdio};

use super::super::Cli;
use super::*;

fn text(page: &[u8]) -> &str {
    std::str::from_utf8(page).unwrap()
}

fn all() -> Vec<(String, Vec<u8>)> {
    pages(Cli::command()).unwrap()
}

#[test]
fn every_subcommand_has_a_page_and_every_page_its_sections() {
    let pages = all();
    let names: Vec<&str> = pages.iter().map(|(name, _)| name.as_str()).collect();
    for name in [
        "ringtun.8",
        "ringtun-up.8",
        "ringtun-peer-add.8",
        "ringtun-genkey.8",
    ] {
        assert!(names.contains(&name), "{name} is not in {names:?}");
    }
    assert!(names.iter().all(|name| !name.contains("help")), "{names:?}");
    assert_eq!(
        names.len(),
        1 + Cli::command().get_subcommands().count() + 2,
        "peer has two: {names:?}"
    );
    for (name, page) in &pages {
        let page = text(page);
        for section in [
            "NAME",
            "SYNOPSIS",
            "DESCRIPTION",
            "\"EXIT STATUS\"",
            "\"SEE ALSO\"",
        ] {
            // A command whose subcommands say all describes them.
            let section = match (section, page.contains(".SH COMMANDS")) {
                ("DESCRIPTION", true) => "COMMANDS",
                (section, _) => section,
            };
            assert!(
                page.contains(&format!("\n.SH {section}\n")),
                "{section} in {name}:\n{page}"
            );
        }
    }
}

/// Each page that another refers to is there, or is of another package.
#[test]
fn no_page_refers_to_one_that_is_not_there() {
    let pages = all();
    for (name, page) in &pages {
        for line in text(page).lines() {
            let Some(other) = line.strip_prefix("\\fBringtun") else {
                continue;
            };
            let Some((other, rest)) = other.split_once("\\fR(8)") else {
                continue;
            };
            let other = format!("ringtun{}.8", other.replace("\\-", "-"));
            assert!(rest.len() < 2, "{line}");
            assert!(pages.iter().any(|(n, _)| *n == other), "{name}: {other}");
        }
    }
}

/// groff, where it is there: a warning is a mistake of the page.
#[test]
fn groff_has_no_warning() {
    for (name, page) in all() {
        let child = Command::new("groff")
            .args(["-man", "-Tutf8", "-ww", "-K", "utf-8", "-rLL=78n"])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        // `cargo xtask test` installs it.
        let Ok(mut child) = child else {
            eprintln!("no groff here: pages are not rendered");
            return;
        };
        child.stdin.take().unwrap().write_all(&page).unwrap();
        let output = child.wait_with_output().unwrap();
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && said.is_empty(), "{name}: {said}");
        let rendered = String::from_utf8_lossy(&output.stdout);
        assert!(
            rendered.contains("SEE ALSO") || rendered.contains("ringtun"),
            "{name}"
        );
    }
}
