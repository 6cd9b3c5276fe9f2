//! A fleet, in print.

use super::json::write_json;
use super::table::{Align, Columns};
use crate::doctor::Severity;
use crate::fleet::{
    Difference, Fleet, FleetNode, FleetService, Head, NODE_HEADS, SERVICE_HEADS, node_cells, service_cells,
    totals,
};
use crate::format::plural;
use serde::Serialize;
use std::collections::BTreeMap;
use std::io::{self, Write};

/// Services and nodes that are written unless all are asked for.
const SHOWN: usize = 20;

fn columns(heads: &[Head]) -> Columns {
    let heads: Vec<(&str, Align)> =
        heads.iter().map(|h| (h.text, if h.right { Align::Right } else { Align::Left })).collect();
    Columns::new(&heads)
}

/// Writes it for people: what needs a look, then what has the most traffic.
pub fn write_fleet(fleet: &Fleet, all: bool, out: &mut dyn Write) -> io::Result<()> {
    writeln!(out, "{}", totals(fleet).join(" · "))?;
    fleet.notes.iter().try_for_each(|n| writeln!(out, "{n}"))?;
    writeln!(out)?;
    let shown = |len: usize| if all { len } else { len.min(SHOWN) };
    let services = &fleet.services[..shown(fleet.services.len())];
    let mut table = columns(&SERVICE_HEADS);
    services.iter().for_each(|s| table.row(service_cells(fleet, s)));
    table.write(out)?;
    more(fleet.services.len() - services.len(), "more Service", out)?;
    writeln!(out)?;
    let nodes = &fleet.nodes[..shown(fleet.nodes.len())];
    let mut table = columns(&NODE_HEADS);
    nodes.iter().for_each(|n| table.row(node_cells(n)));
    table.write(out)?;
    more(fleet.nodes.len() - nodes.len(), "more node", out)?;
    for n in &fleet.nodes {
        let differs = &n.differs[..shown(n.differs.len())];
        let found: Vec<_> = n.findings.iter().filter(|f| f.severity == Severity::Critical).collect();
        if differs.is_empty() && (found.is_empty() || !all) {
            continue;
        }
        writeln!(out, "\n{}:", n.name)?;
        for f in found {
            writeln!(out, "  {} {}", f.severity.mark(), f.id)?;
        }
        differs.iter().try_for_each(|d| writeln!(out, "  {}", fleet.difference(d)))?;
        more(n.differs.len() - differs.len(), "more difference", out)?;
    }
    Ok(())
}

fn more(n: usize, what: &str, out: &mut dyn Write) -> io::Result<()> {
    if n > 0 {
        writeln!(out, "and {} (--all)", plural(n as u64, what))?;
    }
    Ok(())
}

#[derive(Serialize)]
struct Document<'a> {
    schema: &'static str,
    nodes: Vec<NodeOut<'a>>,
    services: Vec<ServiceOut<'a>>,
    notes: &'a [String],
}

#[derive(Serialize)]
struct NodeOut<'a> {
    /// The value of the label that distinguishes it.
    key: &'a str,
    name: &'a str,
    /// True where nothing newer than some minutes is known.
    silent: bool,
    proxy: Option<&'a str>,
    version: Option<&'a str>,
    mode: Option<&'a str>,
    read_age_s: Option<f64>,
    /// Service ports by state.
    services: BTreeMap<&'static str, u64>,
    new_flows_per_s: Option<f64>,
    findings: Vec<FindingOut<'a>>,
    differs: Vec<DifferenceOut<'a>>,
    /// Services without series, beyond a limit of `kptop serve`.
    services_left_out: u64,
}

#[derive(Serialize)]
struct FindingOut<'a> {
    id: &'a str,
    severity: &'static str,
    count: u64,
}

#[derive(Serialize)]
struct DifferenceOut<'a> {
    /// `endpoints`, `lacks`, `has`, `services` (in what was not asked), `setting`.
    kind: &'static str,
    /// The Service, or the setting.
    subject: Option<String>,
    said: Option<&'a str>,
    usual: Option<&'a str>,
}

#[derive(Serialize)]
struct ServiceOut<'a> {
    namespace: &'a str,
    name: &'a str,
    port_name: &'a str,
    protocol: &'a str,
    family: &'a str,
    state: &'static str,
    /// Nodes by the state that it has there.
    nodes: BTreeMap<&'static str, u64>,
    lost_share: Option<f64>,
    lost_on: Option<&'a str>,
    new_flows_per_s: Option<f64>,
    latency_p99_s: Option<f64>,
    differs_on: Vec<&'a str>,
}

fn difference<'a>(fleet: &'a Fleet, d: &'a Difference) -> DifferenceOut<'a> {
    let of = |kind, s: &usize| DifferenceOut {
        kind,
        subject: Some(fleet.services[*s].key.label()),
        said: None,
        usual: None,
    };
    match d {
        Difference::Endpoints(s) => of("endpoints", s),
        Difference::Lacks(s) => of("lacks", s),
        Difference::Alone(s) => of("has", s),
        Difference::Services => DifferenceOut { kind: "services", subject: None, said: None, usual: None },
        Difference::Setting { name, said, usual } => DifferenceOut {
            kind: "setting",
            subject: Some((*name).into()),
            said: Some(said),
            usual: Some(usual),
        },
    }
}

fn node<'a>(fleet: &'a Fleet, n: &'a FleetNode) -> NodeOut<'a> {
    let found =
        |f: &'a crate::fleet::Found| FindingOut { id: &f.id, severity: f.severity.name(), count: f.count };
    NodeOut {
        key: &n.key,
        name: &n.name,
        silent: n.is_silent,
        proxy: n.proxy.as_deref(),
        version: n.version.as_deref(),
        mode: n.mode.as_deref(),
        read_age_s: n.age,
        services: n.states.iter().map(|(s, n)| (s.name(), *n)).collect(),
        new_flows_per_s: n.new_flows,
        findings: n.findings.iter().map(found).collect(),
        differs: n.differs.iter().map(|d| difference(fleet, d)).collect(),
        services_left_out: n.left_out,
    }
}

fn service<'a>(fleet: &'a Fleet, s: &'a FleetService) -> ServiceOut<'a> {
    let name = |n: usize| fleet.nodes.get(n).map(|n| n.name.as_str());
    ServiceOut {
        namespace: &s.key.namespace,
        name: &s.key.service,
        port_name: &s.key.port,
        protocol: &s.key.protocol,
        family: &s.key.family,
        state: s.worst().name(),
        nodes: s.states.iter().map(|(s, n)| (s.name(), *n)).collect(),
        lost_share: s.lost.map(|l| l.0),
        lost_on: s.lost.and_then(|l| name(l.1)),
        new_flows_per_s: s.new_flows,
        latency_p99_s: s.latency,
        differs_on: s.differs.iter().filter_map(|n| name(*n)).collect(),
    }
}

/// Writes it as JSON: `kptop.fleet/1`.
pub fn write_fleet_json(fleet: &Fleet, indented: bool, out: &mut dyn Write) -> io::Result<()> {
    let document = Document {
        schema: "kptop.fleet/1",
        nodes: fleet.nodes.iter().map(|n| node(fleet, n)).collect(),
        services: fleet.services.iter().map(|s| service(fleet, s)).collect(),
        notes: &fleet.notes,
    };
    write_json(&document, indented, out)
}
