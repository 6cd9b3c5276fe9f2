//! The config file: what it may hold, and its commented default.

use crate::columns::{Filter, SERVICES};
use serde::Deserialize;
use serde::de::{Deserializer, Error};
use std::fmt;
use std::time::Duration;
use strum::VariantArray as _;

/// Choices of the user. Flags win over it.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Colours.
    pub theme: Option<ThemeName>,
    /// Time between readings.
    #[serde(deserialize_with = "seconds")]
    pub interval: Option<Duration>,
    /// The pane that is shown first.
    pub pane: Option<PaneName>,
    /// Whether the mouse is taken; without it the terminal itself selects text.
    pub mouse: Option<bool>,
    /// The list of Services.
    pub services: ServicesConfig,
}

/// Choices for the list of Services.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ServicesConfig {
    /// Columns, in their order.
    pub columns: Option<Vec<ColumnName>>,
    /// The column that sorts.
    pub sort: Option<ColumnName>,
    /// Reversed.
    pub reverse: bool,
    /// Services with problems first, as unless it is said otherwise.
    pub problems_first: Option<bool>,
    /// What is one line.
    pub fold: Option<Fold>,
    /// Filter at the start.
    pub filter: Option<FilterText>,
}

/// What is one line of the list while it is folded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Fold {
    /// A Service with all of its ports.
    #[default]
    Services,
    /// All Services of a namespace.
    Namespaces,
    /// Nothing: each port is a line.
    Ports,
}

impl Fold {
    /// The next one.
    pub fn next(self) -> Fold {
        match self {
            Fold::Services => Fold::Namespaces,
            Fold::Namespaces => Fold::Ports,
            Fold::Ports => Fold::Services,
        }
    }
}

/// A column of Services by name: its place in [`SERVICES`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ColumnName(pub usize);

impl<'de> Deserialize<'de> for ColumnName {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<ColumnName, D::Error> {
        let name = String::deserialize(d)?;
        let found = SERVICES.iter().position(|c| c.key == name).map(ColumnName);
        found.ok_or_else(|| {
            let all: Vec<&str> = SERVICES.iter().map(|c| c.key).collect();
            D::Error::custom(format!("no column `{name}`; there are {}", all.join(", ")))
        })
    }
}

/// A filter as it is typed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterText(pub String);

impl<'de> Deserialize<'de> for FilterText {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<FilterText, D::Error> {
        let text = String::deserialize(d)?;
        match Filter::parse(&text) {
            (_, Some(why)) => Err(D::Error::custom(why)),
            _ => Ok(FilterText(text)),
        }
    }
}

fn seconds<'de, D: Deserializer<'de>>(d: D) -> Result<Option<Duration>, D::Error> {
    interval(f64::deserialize(d)?).map(Some).map_err(D::Error::custom)
}

/// A time between readings that makes sense.
///
/// # Errors
/// Which do.
pub fn interval(seconds: f64) -> Result<Duration, &'static str> {
    match (0.1..=3600.0).contains(&seconds) {
        true => Ok(Duration::from_secs_f64(seconds)),
        false => Err("choose between 0.1 and 3600 seconds"),
    }
}

/// The themes.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Deserialize, clap::ValueEnum, strum::IntoStaticStr, strum::VariantArray,
)]
#[strum(serialize_all = "kebab-case")]
#[serde(rename_all = "kebab-case")]
pub enum ThemeName {
    /// For dark terminals.
    Dark,
    /// For light terminals.
    Light,
    /// Nothing dim, strong colours.
    HighContrast,
    /// The 16 colours that every terminal has, in its own palette.
    Ansi,
    /// No colours.
    None,
}

impl ThemeName {
    /// All of them, in the order in which a key goes through them.
    pub const ALL: &[ThemeName] = ThemeName::VARIANTS;

    /// As in the config file.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// The panes.
#[derive(
    Clone,
    Copy,
    Debug,
    PartialEq,
    Eq,
    Hash,
    Deserialize,
    clap::ValueEnum,
    strum::IntoStaticStr,
    strum::VariantArray,
)]
#[serde(rename_all = "kebab-case")]
pub enum PaneName {
    /// The node at a glance.
    Overview,
    /// Services and their backends.
    Services,
    /// Tables, chains and rules.
    Rules,
    /// The modes side by side.
    Compare,
    /// Conntrack.
    Conntrack,
    /// What is wrong.
    Findings,
    /// What changed.
    Changes,
    /// Packets that die.
    Drops,
}

impl PaneName {
    /// All of them, in the order of their keys.
    pub const ALL: &[PaneName] = PaneName::VARIANTS;

    /// As its tab says.
    pub fn title(self) -> &'static str {
        self.into()
    }

    /// The same where there is little room.
    pub fn short_title(self) -> &'static str {
        match self {
            PaneName::Overview => "Node",
            PaneName::Services => "Svc",
            PaneName::Rules => "Rule",
            PaneName::Compare => "Comp",
            PaneName::Conntrack => "Conn",
            PaneName::Findings => "Find",
            PaneName::Changes => "Chng",
            PaneName::Drops => "Drop",
        }
    }
}

/// Why a config file was not taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Line, from 1.
    pub line: usize,
    /// Column, from 1, in characters.
    pub column: usize,
    /// What is wrong.
    pub message: String,
}

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "line {}, column {}: {}", self.line, self.column, self.message)
    }
}

impl Config {
    /// Reads the text of a config file.
    ///
    /// # Errors
    /// With line and column of the first thing that is wrong.
    pub fn parse(text: &str) -> Result<Config, ConfigError> {
        toml::from_str(text).map_err(|e| {
            let at = e.span().map_or(0, |s| s.start).min(text.len());
            let before = text.get(..at).unwrap_or(text);
            ConfigError {
                line: before.matches('\n').count() + 1,
                column: before.rsplit('\n').next().map_or(0, |l| l.chars().count()) + 1,
                message: e.message().replace('\n', " "),
            }
        })
    }
}

/// The default as a file, with what each key means.
pub fn commented_default() -> String {
    let shown: Vec<String> = SERVICES
        .iter()
        .filter(|c| c.from != crate::columns::NEVER)
        .map(|c| format!("\"{}\"", c.key))
        .collect();
    let panes: Vec<String> = PaneName::ALL
        .iter()
        .filter_map(|p| Some(clap::ValueEnum::to_possible_value(p)?.get_name().to_string()))
        .collect();
    let mut text = format!(
        "# kptop's config: ~/.config/kptop/config.toml (or $XDG_CONFIG_HOME/kptop/config.toml).\n\
         # Flags win over it. A key that kptop does not know is an error.\n\n\
         # Colours: dark, light, high-contrast, ansi (the terminal's own 16), none. NO_COLOR wins.\n\
         # theme = \"dark\"\n\n\
         # Seconds between readings, 0.1 to 3600.\n\
         # interval = 1.0\n\n\
         # The pane that is shown first: {}.\n\
         # pane = \"services\"\n\n\
         # Whether kptop takes the mouse. With false the terminal itself selects text.\n\
         # mouse = true\n\n\
         [services]\n\
         # Columns in their order. Unset: those below, as the width allows. Set: exactly these.\n\
         # columns = [{}]\n\
         #\n",
        panes.join(", "),
        shown.join(", ")
    );
    for c in SERVICES {
        text.push_str(&format!("#   {:<13} {}\n", c.key, c.meaning()));
    }
    text.push_str(
        "\n# The column that sorts, and whether reversed.\n\
         # sort = \"flows\"\n\
         # reverse = false\n\n\
         # Services that lose or refuse traffic above all others.\n\
         # problems_first = true\n\n\
         # What is one line: a Service (services), a namespace (namespaces) or each port (ports).\n\
         # fold = \"services\"\n\n\
         # Filter at the start, as behind the key /: words, ns:shop, proto:udp, state:rejecting, flows>10, -word.\n\
         # filter = \"\"\n",
    );
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_commented_default_is_the_default_and_holds_every_key() {
        let text = commented_default();
        assert_eq!(Config::parse(&text), Ok(Config::default()));
        assert!(text.contains("findings, changes, drops.\n"), "{text}");
        // With the comments taken off it still is a config.
        let mut bare: String = text
            .lines()
            .map(|l| match l.strip_prefix("# ") {
                Some(rest) if rest.contains(" = ") => format!("{rest}\n"),
                _ => format!("{l}\n"),
            })
            .collect();
        let config = Config::parse(&bare).unwrap_or_else(|e| panic!("{e}\n{bare}"));
        assert_eq!(config.theme, Some(ThemeName::Dark));
        assert_eq!(config.interval, Some(Duration::from_secs(1)));
        assert_eq!(config.services.columns.map(|c| c[1]), Some(ColumnName(1)));
        bare.push_str("colour = 1\n");
        assert!(Config::parse(&bare).is_err());
    }

    #[test]
    fn mistakes_are_told_with_line_and_column() {
        let error = |text: &str| Config::parse(text).unwrap_err().to_string();
        assert!(
            error("theme = \"dark\"\ncolour = 1\n").starts_with("line 2, column 1: "),
            "{}",
            error("colour = 1")
        );
        assert!(error("theme = \"pink\"").contains("line 1, column 9: "), "{}", error("theme = \"pink\""));
        let text = "[services]\ncolumns = [\"name\", \"nam\"]\n";
        assert!(
            error(text).starts_with("line 2, column 11: no column `nam`; there are state, name"),
            "{}",
            error(text)
        );
        assert!(error("interval = 0.0").contains("between 0.1 and 3600"));
        assert!(error("services = { filter = \"flow>1\" }").contains("no column `flow`"));
        assert!(error("theme = ").starts_with("line 1, column "));
    }

    proptest! {
        #[test]
        fn any_text_is_survived(text in "\\PC{0,60}\n?[a-z=\"\\[\\]{}]{0,20}") {
            let _ = Config::parse(&text);
        }
    }
}
