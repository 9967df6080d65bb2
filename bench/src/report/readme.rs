//! The table between two marks of another file.

use std::path::PathBuf;

use anyhow::{Context, Result, ensure};

use super::{Report, files, markdown};

const BEGIN: &str = "<!-- bench:tunnel -->";
const END: &str = "<!-- /bench:tunnel -->";

/// Which file, from which rows.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// The rows of a run.
    #[arg(long, default_value_os_t = files::directory().join("tunnel.json"))]
    json: PathBuf,
    /// The file with the marks `<!-- bench:tunnel -->` and `<!-- /bench:tunnel -->`.
    #[arg(long, default_value = "README.md")]
    readme: PathBuf,
}

/// Puts the table of a run between the marks.
///
/// # Errors
/// A file is not there, or has no marks.
pub fn run(arguments: &Arguments) -> Result<()> {
    let report = Report::read(&arguments.json)
        .context("`cargo xtask bench tunnel` makes it; --json FILE names another")?;
    ensure!(
        report.suite() == "tunnel",
        "{} has no rows of the suite tunnel",
        arguments.json.display()
    );
    let file = &arguments.readme;
    let text = std::fs::read_to_string(file).with_context(|| format!("{}", file.display()))?;
    let table = format!(
        "{}. Medians; × is against wireguard-go; in brackets the lowest and the highest run.\n\n{}",
        report.circumstances(),
        markdown::table(&report)
    );
    let new = replace(&text, &table).with_context(|| format!("{}", file.display()))?;
    std::fs::write(file, new).with_context(|| format!("{}", file.display()))?;
    println!("table of {} written to {}", report.date, file.display());
    Ok(())
}

/// `text` with `table` between its marks.
fn replace(text: &str, table: &str) -> Result<String> {
    let missing =
        || format!("has no {BEGIN} with {END} behind it: add them where the table belongs");
    let (before, rest) = text.split_once(BEGIN).with_context(missing)?;
    let (_, after) = rest.split_once(END).with_context(missing)?;
    Ok(format!("{before}{BEGIN}\n{table}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_is_between_the_marks_changes() {
        let text = format!("a\n{BEGIN}\nold\n{END}\nb\n");
        let new = replace(&text, "new\n").unwrap();
        assert_eq!(new, format!("a\n{BEGIN}\nnew\n{END}\nb\n"));
        assert_eq!(replace(&new, "new\n").unwrap(), new);
    }

    #[test]
    fn a_file_without_marks_is_left_alone() {
        for text in ["", BEGIN, &format!("{END} {BEGIN}")] {
            let error = replace(text, "new").unwrap_err().to_string();
            assert!(error.contains("add them"), "{error}");
        }
    }
}
