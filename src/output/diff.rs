//! What differs between nodes.

use super::json::write_json;
use super::table::{Align, Columns};
use crate::format::plural;
use crate::nodes::{Comparison, Difference, NodeState, Odd};
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Lines of one node that are written unless all are asked for.
const SHOWN: usize = 20;

/// `2 critical, 1 warning`, or how many Services lose flows where no doctor was asked.
fn findings(n: &NodeState) -> String {
    let Some(f) = &n.findings else {
        return match n.bad_services() {
            _ if n.health.is_empty() => "not checked".into(),
            0 => "no bad Service".into(),
            bad => format!("{} bad", plural(bad as u64, "Service")),
        };
    };
    let mut parts = Vec::new();
    if !f.critical.is_empty() {
        parts.push(format!("{} critical", f.critical.len()));
    }
    if !f.warnings.is_empty() {
        parts.push(plural(f.warnings.len() as u64, "warning"));
    }
    if parts.is_empty() { "none".into() } else { parts.join(", ") }
}

/// `a backend`, `it`: what a difference is in, and what the node says of it beside the others.
fn line(d: &Difference, o: &Odd, others: &str) -> String {
    let there = |text: &Option<String>| text.as_deref() == Some("there");
    match (&o.said, &d.usual) {
        (None, _) if d.aspect == "Service" => format!("is not there ({others} it)"),
        (Some(_), None) if d.aspect == "Service" => format!("is there alone ({others} it)"),
        (None, usual) if there(usual) => format!("lacks {} ({others} it)", words(&d.aspect)),
        (said, None) if there(said) => format!("has {} ({others} it)", words(&d.aspect)),
        (said, usual) => {
            let text = |t: &Option<String>| t.clone().unwrap_or_else(|| "none".into());
            format!("{}: {} ({others} {})", d.aspect, text(said), text(usual))
        }
    }
}

/// `the backend 10.244.0.5:8080`, `the address 10.96.2.9:8080`.
fn words(aspect: &str) -> String {
    match aspect.split_once(' ') {
        Some(("at", place)) if place.starts_with("node port") => format!("the {place}"),
        Some(("at", place)) => format!("the address {place}"),
        _ => format!("the {aspect}"),
    }
}

fn others(d: &Difference, nodes: &[NodeState]) -> String {
    // Of two it is the other one by name.
    if nodes.len() == 2 {
        let odd = d.odd.first().map_or(0, |o| o.node);
        let says = match d.usual.as_deref() {
            Some("there") => " has",
            Some(_) => ":",
            None => " does not have",
        };
        return format!("{}{says}", nodes[usize::from(odd == 0)].name);
    }
    match (d.usual.as_deref(), d.agree) {
        (Some("there"), n) => format!("{n} of {} nodes have", nodes.len()),
        (Some(_), n) => format!("{n} of {} nodes:", nodes.len()),
        (None, n) => format!("{n} of {} nodes do not have", nodes.len()),
    }
}

/// Writes it for people.
pub fn write_diff(nodes: &[NodeState], c: &Comparison, all: bool, out: &mut dyn Write) -> io::Result<()> {
    let heads = [
        ("NODE", Align::Left),
        ("PROXY", Align::Left),
        ("SERVICES", Align::Right),
        ("FINDINGS", Align::Left),
        ("DIFFERS", Align::Right),
        ("TAKEN AT", Align::Left),
        ("FROM", Align::Left),
    ];
    let mut columns = Columns::new(&heads);
    let mut order: Vec<usize> = (0..nodes.len()).collect();
    if nodes.len() > 2 {
        order.sort_by_key(|i| (std::cmp::Reverse(c.odd[*i]), *i));
    }
    // Of many nodes those that are alike are a number, and of them one is shown.
    let few = all || nodes.len() <= SHOWN;
    let first_alike = order.iter().copied().find(|i| c.odd[*i] == 0);
    let rows: Vec<usize> =
        order.iter().copied().filter(|i| few || c.odd[*i] > 0 || Some(*i) == first_alike).collect();
    for i in &rows {
        let n = &nodes[*i];
        columns.row(vec![
            n.name.clone(),
            n.proxy.clone(),
            n.services.to_string(),
            findings(n),
            // Of two nobody knows which one is right.
            if nodes.len() > 2 { c.odd[*i].to_string() } else { c.differences.len().to_string() },
            n.taken_at.map_or("-".into(), |t| format!("{t:.0}")),
            if n.source == n.name { "-".into() } else { n.source.clone() },
        ]);
    }
    columns.write(out)?;
    if rows.len() < nodes.len() {
        writeln!(
            out,
            "and {} that do not differ (--all)",
            plural((nodes.len() - rows.len()) as u64, "more node")
        )?;
    }
    write_findings(nodes, out)?;
    let mut hidden = 0;
    for i in order {
        let mine: Vec<(&Difference, &Odd)> =
            c.differences.iter().filter_map(|d| Some((d, d.odd.iter().find(|o| o.node == i)?))).collect();
        if mine.is_empty() {
            continue;
        }
        writeln!(out)?;
        match nodes.len() {
            2 => writeln!(out, "{} beside {}:", nodes[i].name, nodes[1 - i].name)?,
            _ => writeln!(out, "{} differs from the others:", nodes[i].name)?,
        }
        let mut columns = Columns::new(&[("", Align::Left), ("", Align::Left)]);
        let shown = if all { mine.len() } else { mine.len().min(SHOWN) };
        for (d, o) in &mine[..shown] {
            let subject = if d.subject.is_empty() { "the node" } else { d.subject.as_str() };
            columns.row(vec![format!("  {subject}"), line(d, o, &others(d, nodes))]);
        }
        columns.write_rows(out)?;
        if shown < mine.len() {
            hidden += mine.len() - shown;
            let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
            for (d, _) in &mine[shown..] {
                *kinds.entry(d.aspect.split(' ').next().unwrap_or_default()).or_default() += 1;
            }
            let kinds: Vec<String> = kinds.into_iter().map(|(k, n)| format!("{n} of {k}")).collect();
            writeln!(out, "  … and {} more: {}", mine.len() - shown, kinds.join(", "))?;
        }
    }
    if c.differences.is_empty() {
        writeln!(out, "\nNo difference between {}.", plural(nodes.len() as u64, "node"))?;
    }
    if hidden > 0 {
        writeln!(out, "\n--all shows every line.")?;
    }
    let left_out = nodes.iter().map(|n| n.left_out).max().unwrap_or(0);
    writeln!(
        out,
        "\nNot compared: endpoints of local policies ({} at most), counters, the nodes' own addresses.",
        plural(left_out as u64, "Service")
    )?;
    if let Some(apart) = apart(nodes) {
        writeln!(out, "The readings are {apart} apart: what changed in between is a difference, too.")?;
    }
    let mut unread: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
    for n in nodes {
        n.unread.iter().for_each(|u| unread.entry(u).or_default().push(&n.name));
    }
    if !unread.is_empty() {
        writeln!(out, "\nNot read:")?;
        let mut columns = Columns::new(&[("", Align::Left), ("", Align::Left)]);
        for (what, on) in unread {
            columns.row(vec![format!("  {}", on_nodes(&on, nodes.len())), what.into()]);
        }
        columns.write_rows(out)?;
    }
    Ok(())
}

/// What the doctor found, and on which nodes.
fn write_findings(nodes: &[NodeState], out: &mut dyn Write) -> io::Result<()> {
    let mut found: BTreeMap<(bool, &str), Vec<&str>> = BTreeMap::new();
    for n in nodes {
        let Some(f) = &n.findings else { continue };
        let critical = f.critical.iter().map(|t| (false, t));
        for (is_warning, title) in critical.chain(f.warnings.iter().map(|t| (true, t))) {
            found.entry((is_warning, title)).or_default().push(&n.name);
        }
    }
    if found.is_empty() {
        return Ok(());
    }
    let mut columns = Columns::new(&[("", Align::Left), ("", Align::Left), ("", Align::Left)]);
    for ((is_warning, title), on) in found {
        let severity = if is_warning { "  warning" } else { "  critical" };
        columns.row(vec![severity.into(), on_nodes(&on, nodes.len()), title.into()]);
    }
    writeln!(out, "\nFindings:")?;
    columns.write_rows(out)
}

/// `on all nodes`, `on worker-1, worker-2`, `on 40 nodes: worker-1, …`
fn on_nodes(on: &[&str], all: usize) -> String {
    match on.len() {
        n if n == all => "on all nodes".into(),
        1..=3 => format!("on {}", on.join(", ")),
        n => format!("on {n} nodes: {}, …", on[..3].join(", ")),
    }
}

/// How far the readings are apart, where that matters.
fn apart(nodes: &[NodeState]) -> Option<String> {
    let times = || nodes.iter().filter_map(|n| n.taken_at);
    let apart = times().max()?.duration_since(times().min()?);
    let apart = std::time::Duration::try_from(apart).ok()?;
    (apart.as_secs() >= 60).then(|| crate::format::duration(apart))
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    nodes: Vec<NodeOut<'a>>,
    differences: Vec<DifferenceOut<'a>>,
}

#[derive(Serialize)]
struct NodeOut<'a> {
    name: &'a str,
    source: &'a str,
    taken_at: Option<String>,
    proxy: &'a str,
    services: usize,
    /// Services by the state of their health.
    health: &'a BTreeMap<String, usize>,
    /// Null where no doctor was asked: of a snapshot.
    findings: Option<FindingsOut<'a>>,
    /// In how many differences it is the odd one.
    odd: usize,
    unread: &'a [String],
}

#[derive(Serialize)]
struct FindingsOut<'a> {
    critical: &'a [String],
    warnings: &'a [String],
}

#[derive(Serialize)]
struct DifferenceOut<'a> {
    /// Null for settings of the node.
    subject: Option<&'a str>,
    aspect: &'a str,
    /// What the most say; null where they have no such thing.
    usual: Option<&'a str>,
    agree: usize,
    odd: Vec<OddOut<'a>>,
    /// Nodes that do not say it.
    not_known: usize,
}

#[derive(Serialize)]
struct OddOut<'a> {
    node: &'a str,
    said: Option<&'a str>,
}

impl<'a> NodeOut<'a> {
    fn of(n: &'a NodeState, odd: usize) -> NodeOut<'a> {
        NodeOut {
            name: &n.name,
            source: &n.source,
            taken_at: n.taken_at.map(|t| format!("{t:.3}")),
            proxy: &n.proxy,
            services: n.services,
            health: &n.health,
            findings: n
                .findings
                .as_ref()
                .map(|f| FindingsOut { critical: &f.critical, warnings: &f.warnings }),
            odd,
            unread: &n.unread,
        }
    }
}

impl<'a> DifferenceOut<'a> {
    fn of(d: &'a Difference, nodes: &'a [NodeState]) -> DifferenceOut<'a> {
        let odd = |o: &'a Odd| OddOut { node: &nodes[o.node].name, said: o.said.as_deref() };
        DifferenceOut {
            subject: Some(d.subject.as_str()).filter(|s| !s.is_empty()),
            aspect: &d.aspect,
            usual: d.usual.as_deref(),
            agree: d.agree,
            odd: d.odd.iter().map(odd).collect(),
            not_known: d.open,
        }
    }
}

/// Writes it as JSON: `kptop.diff/1`.
pub fn write_diff_json(
    nodes: &[NodeState],
    c: &Comparison,
    indented: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let document = Document {
        schema: "kptop.diff/1",
        nodes: nodes.iter().zip(&c.odd).map(|(n, odd)| NodeOut::of(n, *odd)).collect(),
        differences: c.differences.iter().map(|d| DifferenceOut::of(d, nodes)).collect(),
    };
    write_json(&document, indented, out)
}
