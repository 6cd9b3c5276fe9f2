//! `kptop fleet`

use super::config_file::load;
use super::execute::Execute;
use super::fetch::{Access, AccessArgs, Server, fetch};
use super::globals::Globals;
use super::print::{TextOrJson, print, print_as};
use crate::exit::FINDINGS;
use crate::fleet::{Scope, Series, Store, answer, gather};
use crate::output;
use crate::tui::{FleetOptions, run_fleet};
use clap::Args;
use hyper::header::{HeaderName, HeaderValue};
use std::io::{self, IsTerminal};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// Questions that are asked at once: a store answers each with one thread.
const AT_ONCE: usize = 4;
/// Bytes that one answer may have.
const MOST: u64 = 256 << 20;

const PROMETHEUS: Server = Server {
    port: 80,
    when_refused: "is this the address of Prometheus, or of another store with its query API? http://prometheus:9090",
    when_missing: "the address is that before /api/v1/query: http://thanos-query:9090, http://mimir/prometheus",
};

#[derive(Debug, Args)]
pub(super) struct FleetArgs {
    /// Address of Prometheus, or of another store that answers its query API (Thanos, Mimir, VictoriaMetrics) and has what `kptop serve`
    /// serves.
    #[arg(long, value_name = "URL")]
    prometheus: String,
    /// Only series with these labels, as PromQL has them: 'cluster="eu-1", job="kptop"'.
    #[arg(long, value_name = "MATCHERS", default_value = "")]
    selector: String,
    /// The label that distinguishes nodes.
    #[arg(long, value_name = "LABEL", default_value = "instance", value_parser = label)]
    node_label: String,
    /// Rates are the mean of this time: at least twice the time between scrapes.
    #[arg(long, value_name = "TIME", default_value = "2m", value_parser = super::values::parse_span)]
    window: Duration,
    /// Time between questions, on the screen.
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = super::values::parse_span)]
    every: Duration,
    /// Sent with each question: 'X-Scope-OrgID: team-a'. May be given several times.
    #[arg(long, value_name = "NAME: VALUE", value_parser = header)]
    header: Vec<(HeaderName, HeaderValue)>,
    #[command(flatten)]
    access: AccessArgs,
    /// How to print; without it the screen is shown, or text where there is no terminal.
    #[arg(short, long, value_enum)]
    output: Option<TextOrJson>,
    /// Print every Service and node, not only those that need a look.
    #[arg(long)]
    all: bool,
}

/// A label's name, as the data model of Prometheus has it.
fn label(text: &str) -> Result<String, String> {
    let is_name = !text.is_empty()
        && !text.starts_with(|c: char| c.is_ascii_digit())
        && text.chars().all(|c| c.is_ascii_alphanumeric() || c == '_');
    match is_name {
        true => Ok(text.into()),
        false => Err("a label has letters, digits and _: instance, node, kubernetes_node".into()),
    }
}

fn header(text: &str) -> Result<(HeaderName, HeaderValue), String> {
    let wrong = "a header is NAME: VALUE, as in 'X-Scope-OrgID: team-a'";
    let (name, value) = text.split_once(':').ok_or(wrong)?;
    let name = name.trim().parse().map_err(|_| wrong)?;
    Ok((name, value.trim().parse().map_err(|_| wrong)?))
}

/// What a question was answered, by its place.
type Answered = (usize, Result<Vec<Series>, String>);

/// A store behind an address.
struct OverHttp {
    url: String,
    access: Access,
}

impl OverHttp {
    fn one(&self, question: &str) -> Result<Vec<Series>, String> {
        let query: String =
            form_urlencoded::Serializer::new(String::new()).append_pair("query", question).finish();
        let url = format!("{}/api/v1/query?{query}", self.url);
        let text = fetch(&url, "", &self.access, MOST).map_err(|why| self.named(&why, &url))?;
        answer(&text).map_err(|why| format!("{}: {why}", self.url))
    }

    /// The address as it was given, without a long question behind it.
    fn named(&self, why: &str, url: &str) -> String {
        why.replacen(url, &self.url, 1)
    }
}

impl Store for OverHttp {
    fn ask(&mut self, questions: &[String]) -> Result<Vec<Vec<Series>>, String> {
        let next = AtomicUsize::new(0);
        let found: Mutex<Vec<Answered>> = Mutex::default();
        let store = &*self;
        let work = || {
            loop {
                let i = next.fetch_add(1, Ordering::Relaxed);
                let Some(question) = questions.get(i) else { return };
                let said = store.one(question);
                // One that fails is enough.
                if said.is_err() {
                    next.store(questions.len(), Ordering::Relaxed);
                }
                found.lock().unwrap_or_else(std::sync::PoisonError::into_inner).push((i, said));
            }
        };
        std::thread::scope(|s| (0..AT_ONCE.min(questions.len())).for_each(|_| drop(s.spawn(work))));
        let mut found = found.into_inner().unwrap_or_else(std::sync::PoisonError::into_inner);
        found.sort_by_key(|f| f.0);
        found.into_iter().map(|f| f.1).collect()
    }
}

impl Execute for FleetArgs {
    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        if !globals.source.from.is_empty() {
            return Err("fleet reads what Prometheus has, no files\n  -> kptop diff sets files of several nodes side by side".into());
        }
        let mut access = self.access.access(PROMETHEUS)?;
        access.headers = self.header.clone();
        let url = self.prometheus.trim_end_matches('/');
        let url = url.strip_suffix("/api/v1/query").unwrap_or(url);
        let url = if url.contains("://") { url.to_string() } else { format!("http://{url}") };
        let mut store = OverHttp { url: url.clone(), access };
        let scope = Scope {
            selector: self.selector.trim().trim_start_matches('{').trim_end_matches('}').to_string(),
            node_label: self.node_label.clone(),
            window: self.window,
        };
        let with_screen = io::stdout().is_terminal() && io::stdin().is_terminal();
        if self.output.is_none() && with_screen {
            let mut config = load(globals.config.as_deref())?;
            config.theme = globals.theme.or(config.theme);
            let options = FleetOptions { store: url, every: self.every, config };
            if let Some(command) = run_fleet(Box::new(store), scope, options).map_err(|e| e.to_string())? {
                print(|out| writeln!(out, "{command}"))?;
            }
            return Ok(ExitCode::SUCCESS);
        }
        let fleet = gather(&mut store, &scope).map_err(|why| {
            let why = if why.starts_with(&store.url) { why } else { format!("{}: {why}", store.url) };
            // What kptop itself asks can be parsed.
            let of_the_user = why.contains("parse error") && !scope.selector.is_empty();
            let hint = "\n  -> --selector takes matchers: 'cluster=\"eu-1\", job=\"kptop\"'";
            format!("{why}{}", if of_the_user { hint } else { "" })
        })?;
        let form = self.output.unwrap_or(TextOrJson::Text);
        let indented = io::stdout().is_terminal();
        print_as(form.form(), |out| match form {
            TextOrJson::Text => output::write_fleet(&fleet, self.all, out),
            TextOrJson::Json => output::write_fleet_json(&fleet, indented, out),
        })?;
        Ok(if fleet.has_findings() { ExitCode::from(FINDINGS) } else { ExitCode::SUCCESS })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_and_labels_are_read_as_one_writes_them() {
        let (name, value) = header("X-Scope-OrgID: team-a").unwrap();
        assert_eq!((name.as_str(), value.as_bytes()), ("x-scope-orgid", &b"team-a"[..]));
        assert!(header("x").is_err() && header("a b: c").is_err());
        assert!(
            label("instance").is_ok() && label("a-b").is_err() && label("").is_err() && label("1a").is_err()
        );
    }
}
