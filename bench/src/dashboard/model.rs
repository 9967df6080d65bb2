//! What a dashboard of Grafana says, as far as ours uses it.

use std::collections::BTreeMap;

use anyhow::{Context as _, Result, bail, ensure};
use serde::Deserialize;
use serde_json::Value;

/// The file.
#[derive(Debug, Deserialize)]
pub struct Dashboard {
    pub title: String,
    pub panels: Vec<Panel>,
    pub templating: Templating,
}

#[derive(Debug, Deserialize)]
pub struct Templating {
    pub list: Vec<Variable>,
}

/// What `$name` stands for.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Variable {
    pub name: String,
    #[serde(rename = "type")]
    pub kind: String,
    /// `label_values(SELECTOR, LABEL)`.
    #[serde(default)]
    pub definition: String,
    #[serde(default)]
    pub include_all: bool,
}

/// A row's heading, or a panel.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Panel {
    #[serde(rename = "type")]
    pub kind: Kind,
    pub title: String,
    pub grid_pos: Grid,
    #[serde(default)]
    pub targets: Vec<Target>,
    #[serde(default)]
    pub field_config: Fields,
    #[serde(default)]
    pub options: Options,
}

#[derive(Clone, Copy, Debug, Deserialize, PartialEq, Eq)]
#[serde(rename_all = "lowercase")]
pub enum Kind {
    Row,
    Stat,
    Timeseries,
}

/// Place and size, in 24ths of the width, and in units of height.
#[derive(Clone, Copy, Debug, Deserialize)]
pub struct Grid {
    pub x: u32,
    pub y: u32,
    pub w: u32,
    pub h: u32,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Target {
    pub ref_id: String,
    pub expr: String,
    #[serde(default)]
    pub legend_format: String,
}

#[derive(Debug, Default, Deserialize)]
pub struct Fields {
    #[serde(default)]
    pub defaults: Defaults,
    #[serde(default)]
    pub overrides: Vec<Override>,
}

#[derive(Debug, Default, Deserialize)]
pub struct Defaults {
    #[serde(default)]
    pub unit: String,
    pub thresholds: Option<Thresholds>,
}

#[derive(Debug, Deserialize)]
pub struct Thresholds {
    pub steps: Vec<Step>,
}

/// A colour, and the value from which on it is used.
#[derive(Debug, Deserialize)]
pub struct Step {
    pub color: String,
    pub value: Option<f64>,
}

#[derive(Debug, Deserialize)]
pub struct Override {
    pub matcher: Matcher,
    pub properties: Vec<Property>,
}

#[derive(Debug, Deserialize)]
pub struct Matcher {
    pub id: String,
    pub options: String,
}

#[derive(Debug, Deserialize)]
pub struct Property {
    pub id: String,
    pub value: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Options {
    #[serde(default)]
    pub text_mode: String,
}

impl Dashboard {
    /// Reads it; what is in it that could not be drawn here is an error.
    ///
    /// # Errors
    /// See above; the message names the panel.
    pub fn parse(text: &str) -> Result<Dashboard> {
        let all: Dashboard = serde_json::from_str(text)?;
        for panel in &all.panels {
            for of in &panel.field_config.overrides {
                ensure!(
                    of.matcher.id == "byFrameRefID",
                    "{}: a matcher {}; only byFrameRefID is known here",
                    panel.title,
                    of.matcher.id
                );
            }
        }
        Ok(all)
    }
}

impl Panel {
    /// Its unit for what a target gives, and whether its axis is the one on the right.
    pub fn unit(&self, target: &Target) -> (&str, bool) {
        let mut found = (self.field_config.defaults.unit.as_str(), false);
        let mine = |of: &&Override| of.matcher.options == target.ref_id;
        for property in self
            .field_config
            .overrides
            .iter()
            .filter(mine)
            .flat_map(|of| &of.properties)
        {
            match (property.id.as_str(), property.value.as_str()) {
                ("unit", Some(unit)) => found.0 = unit,
                ("custom.axisPlacement", Some("right")) => found.1 = true,
                _ => {}
            }
        }
        found
    }

    /// The colour of a value.
    pub fn colour(&self, value: f64) -> &str {
        let steps = self.field_config.defaults.thresholds.iter();
        let mut reached = steps
            .flat_map(|all| &all.steps)
            .filter(|step| step.value.is_none_or(|from| value >= from));
        reached.next_back().map_or("green", |step| &step.color)
    }
}

impl Target {
    /// The legend of a series.
    pub fn legend(&self, labels: &BTreeMap<String, String>) -> String {
        let mut out = String::new();
        let mut rest = self.legend_format.as_str();
        while let Some((before, after)) = rest.split_once("{{") {
            let (name, after) = after.split_once("}}").unwrap_or((after, ""));
            out.push_str(before);
            out.push_str(labels.get(name.trim()).map_or("", String::as_str));
            rest = after;
        }
        out.push_str(rest);
        out.trim().to_owned()
    }
}

impl Variable {
    /// The selector and the label of its definition.
    ///
    /// # Errors
    /// It is something else.
    pub fn values_of(&self) -> Result<(&str, &str)> {
        let inside = self
            .definition
            .strip_prefix("label_values(")
            .and_then(|rest| rest.strip_suffix(')'));
        let Some((selector, label)) = inside.and_then(|inside| inside.rsplit_once(',')) else {
            bail!(
                "${}: {} is not label_values(SELECTOR, LABEL)",
                self.name,
                self.definition
            );
        };
        Ok((selector.trim(), label.trim()))
    }
}

/// An expression with the values of its variables.
///
/// # Errors
/// One is left.
pub fn replaced(expression: &str, values: &BTreeMap<String, String>) -> Result<String> {
    let mut out = String::new();
    let mut parts = expression.split('$');
    out.push_str(parts.next().unwrap_or_default());
    for part in parts {
        let end = part
            .find(|c: char| !c.is_ascii_alphanumeric() && c != '_')
            .unwrap_or(part.len());
        let (name, rest) = part.split_at(end);
        out.push_str(
            values
                .get(name)
                .with_context(|| format!("${name} in {expression}"))?,
        );
        out.push_str(rest);
    }
    Ok(out)
}

/// Values as one regular expression within a string of PromQL, as Grafana writes it.
pub fn alternatives(values: &[String]) -> String {
    let escaped = |value: &String| -> String {
        let escape = |c: char| {
            if r"\^$*+?.()|[]{}".contains(c) {
                format!(r"\\{c}")
            } else {
                c.to_string()
            }
        };
        value.chars().map(escape).collect()
    };
    match values {
        [one] => escaped(one),
        all => format!(
            "({})",
            all.iter().map(escaped).collect::<Vec<_>>().join("|")
        ),
    }
}
