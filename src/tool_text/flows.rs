//! `conntrack -L` and `-S`.

use crate::ruleset::protocol_name;
use crate::snapshot::TCP_STATES;
use crate::snapshot::facts::{ASSURED, ConntrackStat, Flow, SEEN_REPLY, Stats, Traffic, Tuple};
use std::fmt::Write;

/// A line of `conntrack -L`.
pub fn flow_line(flow: &Flow) -> String {
    let protocol = flow.original.protocol;
    let name = protocol_name(protocol.into()).unwrap_or("unknown");
    let mut line = format!("{name:<8} {protocol} {}", flow.timeout);
    if let Some(state) = flow.tcp_state.and_then(|s| TCP_STATES.get(usize::from(s))) {
        let _ = write!(line, " {state}");
    }
    let mut tuple = |t: &Tuple, traffic: Option<Traffic>, behind: &str| {
        let _ = write!(line, " src={} dst={}", t.source, t.destination);
        if !matches!(protocol, 1 | 58) {
            let _ = write!(line, " sport={} dport={}", t.source_port, t.destination_port);
        }
        if let Some(t) = traffic {
            let _ = write!(line, " packets={} bytes={}", t.packets, t.bytes);
        }
        line.push_str(behind);
    };
    let unreplied = if flow.status & SEEN_REPLY == 0 { " [UNREPLIED]" } else { "" };
    tuple(&flow.original, flow.traffic.map(|t| t.0), unreplied);
    let assured = if flow.status & ASSURED != 0 { " [ASSURED]" } else { "" };
    tuple(&flow.reply, flow.traffic.map(|t| t.1), assured);
    line + " mark=0 use=1"
}

/// A line for each CPU.
pub(super) fn stats(cpus: &[Stats]) -> String {
    let mut out = String::new();
    for (i, cpu) in cpus.iter().enumerate() {
        let _ = write!(out, "cpu={i:<4}");
        for stat in ConntrackStat::all() {
            if let Some(n) = cpu.get(stat) {
                let _ = write!(out, " {}={n}", stat.name());
            }
        }
        out.push('\n');
    }
    out
}
