//! The text below `--help`, cut into the sections of a manual page.
//!
//! Its blocks are divided by empty lines. A block begins with `Examples:`,
//! `Environment:` or `Exit status:`, or belongs to the description; lines that are
//! indented stay as they are.

/// Some lines of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Part {
    /// To be filled to the width of the page.
    Paragraph(String),
    /// Commands and tables.
    AsItIs(Vec<String>),
}

/// The sections.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Help {
    pub description: Vec<Part>,
    pub environment: Vec<Part>,
    pub examples: Vec<Part>,
    /// Empty where it says nothing.
    pub exit_status: String,
}

impl Help {
    /// Reads what `after_help` says.
    pub fn parse(text: &str) -> Self {
        let mut help = Self::default();
        let mut in_examples = false;
        for block in text.split("\n\n") {
            let block = block.trim_matches('\n');
            let (head, rest) = block.split_once('\n').unwrap_or((block, ""));
            if let Some(status) = block.strip_prefix("Exit status: ") {
                help.exit_status = capitalised(&filled(status));
                continue;
            }
            let (section, body) = match head {
                "Examples:" | "Example:" => {
                    in_examples = true;
                    (&mut help.examples, rest)
                }
                "Environment:" => (&mut help.environment, rest),
                // What follows the examples is one more, under a line of its own.
                _ if in_examples => (&mut help.examples, block),
                _ => (&mut help.description, block),
            };
            section.extend(cut(body));
        }
        help
    }
}

fn cut(body: &str) -> Vec<Part> {
    let mut parts = Vec::new();
    for line in body.lines() {
        match (line.strip_prefix("  "), parts.last_mut()) {
            (Some(line), Some(Part::AsItIs(lines))) => lines.push(line.to_owned()),
            (Some(line), _) => parts.push(Part::AsItIs(vec![line.to_owned()])),
            (None, Some(Part::Paragraph(text))) => {
                text.push(' ');
                text.push_str(line);
            }
            (None, _) => parts.push(Part::Paragraph(line.to_owned())),
        }
    }
    parts
}

fn filled(text: &str) -> String {
    text.lines().map(str::trim).collect::<Vec<_>>().join(" ")
}

fn capitalised(text: &str) -> String {
    let mut letters = text.chars();
    letters
        .next()
        .map(|first| first.to_uppercase().chain(letters).collect())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_go_to_their_sections() {
        let help = Help::parse(
            "It does\nthis.\n\n  a  table\n  b  of it\n\nEnvironment:\n  X  1 is y\n\n\
             Exit status: 0 if it\nis so, else 1.\n\nExamples:\n  do it\n\nWith more:\n  do it more",
        );
        let paragraph = |text: &str| Part::Paragraph(text.to_owned());
        let lines = |text: &[&str]| Part::AsItIs(text.iter().map(ToString::to_string).collect());
        let expected = Help {
            description: vec![paragraph("It does this."), lines(&["a  table", "b  of it"])],
            environment: vec![lines(&["X  1 is y"])],
            examples: vec![
                lines(&["do it"]),
                paragraph("With more:"),
                lines(&["do it more"]),
            ],
            exit_status: "0 if it is so, else 1.".to_owned(),
        };
        assert_eq!(help, expected);
        assert_eq!(Help::parse(""), Help::default());
    }
}
