//! The pages of a report: sections of lines and tables of [`Fact`]s, as text with
//! aligned columns or as JSON.

use std::fmt::{self, Write as _};

use serde_json::{Map, Value as Json};

use super::value::{Fact, Word};

/// Why something could not be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// There is no such file or device, or it does not run.
    NotThere,
    /// This user may not.
    NotAllowed,
    /// The program is not installed.
    NotInstalled,
    /// It took longer than it may.
    Late,
    /// It is more than is read.
    TooMuch,
    /// The program failed with this status; none if it was killed.
    Failed(Option<i32>),
    /// It is not in the form that was expected.
    NotUnderstood,
    /// The system refused, with this number.
    Refused(i32),
}

impl Missing {
    /// Of what the system said.
    #[must_use]
    pub fn of(error: &std::io::Error) -> Self {
        match error.kind() {
            std::io::ErrorKind::NotFound | std::io::ErrorKind::ConnectionRefused => Self::NotThere,
            std::io::ErrorKind::PermissionDenied => Self::NotAllowed,
            std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut => Self::Late,
            std::io::ErrorKind::InvalidData => Self::NotUnderstood,
            _ => Self::Refused(error.raw_os_error().unwrap_or(0)),
        }
    }

    fn facts(self) -> Fact {
        let word = Word::of(match self {
            Self::NotThere => "it is not there",
            Self::NotAllowed => "this user may not read it: try with sudo",
            Self::NotInstalled => "the program is not installed",
            Self::Late => "no answer in time",
            Self::TooMuch => "more than is read",
            Self::Failed(_) => "the program failed, status",
            Self::NotUnderstood => "not understood",
            Self::Refused(_) => "the system refused, errno",
        });
        match self {
            Self::Failed(Some(code)) | Self::Refused(code) => {
                Fact::Many(vec![word.into(), i64::from(code).into()])
            }
            _ => word.into(),
        }
    }
}

/// What was asked of the machine, or why there is no answer.
pub type Asked<T> = Result<T, Missing>;

/// One part of a section.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Item {
    Line(&'static str, Fact),
    Table {
        name: &'static str,
        head: &'static [&'static str],
        rows: Vec<Vec<Fact>>,
        more: usize,
    },
}

/// What belongs together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Section {
    title: &'static str,
    about: Fact,
    items: Vec<Item>,
}

impl Section {
    /// An empty one.
    #[must_use]
    pub const fn new(title: &'static str) -> Self {
        Self::of(title, Fact::Nothing)
    }

    /// One about a device.
    #[must_use]
    pub const fn of(title: &'static str, about: Fact) -> Self {
        Self {
            title,
            about,
            items: Vec::new(),
        }
    }

    /// Its title.
    #[must_use]
    pub const fn title(&self) -> &'static str {
        self.title
    }

    /// Adds a line. A label is said once in a section.
    pub fn line(&mut self, label: &'static str, fact: impl Into<Fact>) {
        self.items.push(Item::Line(label, fact.into()));
    }

    /// Adds why there is nothing.
    pub fn missing(&mut self, label: &'static str, why: Missing) {
        self.line(label, Fact::Many(vec![NOT_READ.into(), why.facts()]));
    }

    /// Adds a table of at most `max` rows, each of one of these; of the others nothing is
    /// made, however many there are.
    pub fn table<T>(
        &mut self,
        name: &'static str,
        head: &'static [&'static str],
        of: impl IntoIterator<Item = T>,
        max: usize,
        row: impl FnMut(T) -> Vec<Fact>,
    ) {
        let mut of = of.into_iter();
        let rows = of.by_ref().take(max).map(row).collect();
        self.items.push(Item::Table {
            name,
            head,
            rows,
            more: of.count(),
        });
    }
}

const NOT_READ: Word = Word::of("not read");

/// A whole report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Page {
    /// What is said before everything.
    pub preface: Vec<&'static str>,
    /// Its sections.
    pub sections: Vec<Section>,
}

impl Page {
    /// Every word that stands in the sources and in this report.
    #[must_use]
    pub fn vocabulary(&self) -> String {
        let mut all = format!(
            "{}\nyes\nno\ntext\ncharacter\ncharacters\nand more\nnone\nschema\npreface\nsections\nsection\nabout\nnull\ntrue\nfalse\n",
            self.preface.concat()
        );
        let mut put = |word: &'static str| {
            all.push_str(word);
            all.push('\n');
        };
        for section in &self.sections {
            put(section.title);
            section.about.words(&mut put);
            for item in &section.items {
                match item {
                    Item::Line(label, fact) => {
                        put(label);
                        fact.words(&mut put);
                    }
                    Item::Table {
                        name, head, rows, ..
                    } => {
                        put(name);
                        head.iter().for_each(|head| put(head));
                        rows.iter().flatten().for_each(|fact| fact.words(&mut put));
                    }
                }
            }
        }
        all
    }

    /// One object: a list of sections, in which lines are fields and tables are lists.
    #[must_use]
    pub fn json(&self) -> String {
        let sections = self.sections.iter().map(|section| {
            let mut object = Map::new();
            object.insert("section".into(), section.title.into());
            if section.about != Fact::Nothing {
                object.insert("about".into(), section.about.json());
            }
            for item in &section.items {
                match item {
                    Item::Line(label, fact) => object.insert((*label).into(), fact.json()),
                    Item::Table {
                        name,
                        head,
                        rows,
                        more,
                    } => {
                        let rows = rows.iter().map(|row| {
                            let cells = head.iter().zip(row);
                            let cells = cells.map(|(head, fact)| ((*head).to_owned(), fact.json()));
                            Json::Object(cells.collect())
                        });
                        let mut rows: Vec<Json> = rows.collect();
                        if *more > 0 {
                            rows.push(Fact::More(*more).json());
                        }
                        object.insert((*name).into(), rows.into())
                    }
                };
            }
            Json::Object(object)
        });
        let page = serde_json::json!({
            "schema": 1,
            "preface": self.preface.concat(),
            "sections": sections.collect::<Vec<_>>(),
        });
        format!("{page:#}\n")
    }
}

/// As text:
///
/// ```text
/// ==== links ====
/// devices
///   device      kind      MTU
///   veth-1      veth      1500
/// ```
impl fmt::Display for Page {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.preface.concat())?;
        for section in &self.sections {
            match &section.about {
                Fact::Nothing => writeln!(f, "\n==== {} ====", section.title)?,
                about => writeln!(f, "\n==== {}, {about} ====", section.title)?,
            }
            let labels = section.items.iter().filter_map(|item| match item {
                Item::Line(label, _) => Some(label.chars().count()),
                Item::Table { .. } => None,
            });
            let width = labels.max().unwrap_or(0);
            for item in &section.items {
                match item {
                    Item::Line(label, fact) => writeln!(f, "{label:width$}  {fact}")?,
                    Item::Table {
                        name,
                        head,
                        rows,
                        more,
                    } => f.write_str(&table(name, head, rows, *more))?,
                }
            }
        }
        Ok(())
    }
}

/// Columns in which nothing stands are left out.
fn table(name: &str, head: &[&str], rows: &[Vec<Fact>], more: usize) -> String {
    let mut text = String::new();
    if rows.is_empty() {
        let _ = writeln!(text, "{name}: none");
        return text;
    }
    let _ = writeln!(text, "{name}");
    let cells: Vec<Vec<String>> = rows
        .iter()
        .map(|row| row.iter().map(Fact::to_string).collect())
        .collect();
    let said = |at: usize| {
        cells
            .iter()
            .any(|row| row.get(at).is_some_and(|c| c != "-"))
    };
    let columns: Vec<usize> = (0..head.len()).filter(|at| said(*at)).collect();
    let width = |at: usize| {
        let below = cells.iter().filter_map(|row| row.get(at));
        let below = below.map(|cell| cell.chars().count()).max();
        below.unwrap_or(0).max(head[at].chars().count())
    };
    let widths: Vec<usize> = columns.iter().map(|at| width(*at)).collect();
    let mut put = |row: &dyn Fn(usize) -> String| {
        let mut line = String::from(" ");
        for (at, width) in columns.iter().zip(&widths) {
            let _ = write!(line, " {:width$} ", row(*at));
        }
        let _ = writeln!(text, "{}", line.trim_end());
    };
    put(&|at| head[at].to_owned());
    for row in &cells {
        put(&|at| row.get(at).cloned().unwrap_or_default());
    }
    if more > 0 {
        let _ = writeln!(text, "  {}", Fact::More(more));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page() -> Page {
        let mut section = Section::of("links", Word::of("tunnel").into());
        section.line("MTU", 1420_u16);
        section.line("a longer one", true);
        section.missing("rules", Missing::Failed(Some(2)));
        let row = |number: u8| vec![number.into(), Fact::Nothing, Fact::Text(3)];
        section.table("all", &["number", "empty", "text"], 8..12, 3, row);
        section.table("none at all", &["x"], [], 3, row);
        Page {
            preface: vec!["Read it.\n"],
            sections: vec![section],
        }
    }

    #[test]
    fn lines_and_columns_are_aligned_and_empty_columns_are_left_out() {
        assert_eq!(
            page().to_string(),
            "Read it.\n\n==== links, tunnel ====\n\
             MTU           1420\n\
             a longer one  yes\n\
             rules         not read, the program failed, status, 2\n\
             all\n  number  text\n  8       <text, 3 characters>\n  9       <text, 3 characters>\n  \
             10      <text, 3 characters>\n  and 1 more\nnone at all: none\n"
        );
    }

    #[test]
    fn json_says_the_same() {
        let json: Json = serde_json::from_str(&page().json()).unwrap();
        let section = &json["sections"][0];
        assert_eq!(section["section"], "links");
        assert_eq!(section["MTU"], 1420);
        assert_eq!(section["a longer one"], true);
        assert_eq!(section["all"][1]["number"], 9);
        assert_eq!(section["all"][3], "and 1 more");
    }

    #[test]
    fn the_vocabulary_is_of_what_stands_in_the_sources() {
        let vocabulary = page().vocabulary();
        for word in [
            "Read it.",
            "links",
            "tunnel",
            "a longer one",
            "not read",
            "empty",
        ] {
            assert!(vocabulary.contains(word), "{word} in {vocabulary}");
        }
        assert!(!vocabulary.contains("1420"));
    }
}
