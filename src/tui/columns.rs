//! Columns of the Services pane: name, meaning, width, how to sort by them and what stands in them.

use super::widgets::{clip, count, rate_text, sparkline};
use crate::proxy::{Health, Mode, Service, Variant, frontend_text};
use crate::rates::{Rate, ServiceRates};
use std::cmp::Ordering;

/// A column.
pub(super) struct Column {
    pub(super) id: Id,
    pub(super) head: &'static str,
    /// What it means, for the help line.
    pub(super) help: &'static str,
    /// Columns of the screen; 0 takes what is left.
    pub(super) width: u16,
    pub(super) right: bool,
    /// Shown from this screen width on.
    pub(super) from: u16,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Id {
    State,
    Name,
    Protocol,
    Mode,
    Frontend,
    Backends,
    Flows,
    Packets,
    Bytes,
    Refused,
    Tracked,
    Trend,
}

const fn column(
    id: Id,
    head: &'static str,
    width: u16,
    right: bool,
    from: u16,
    help: &'static str,
) -> Column {
    Column { id, head, help, width, right, from }
}

pub(super) const COLUMNS: &[Column] = &[
    column(Id::State, "", 1, false, 0, "● fine, ✗ rejects: no endpoints, ▼ drops: none local, ○ left over"),
    column(Id::Name, "SERVICE", 0, false, 0, "namespace/name:port; the address where only that is known"),
    column(Id::Protocol, "PROTO", 5, false, 92, "transport protocol"),
    column(
        Id::Mode,
        "MODE",
        8,
        false,
        110,
        "mode of kube-proxy that holds it; ipt-nft: iptables mode in nf_tables",
    ),
    column(Id::Frontend, "FRONTEND", 22, false, 78, "first address, and how many more"),
    column(Id::Backends, "BACK", 4, true, 0, "backends"),
    column(Id::Flows, "NEW/s", 6, true, 0, "new flows a second, over all backends"),
    column(
        Id::Packets,
        "PKT/s",
        6,
        true,
        92,
        "packets a second both ways, where the mode counts them (IPVS)",
    ),
    column(Id::Bytes, "B/s", 6, true, 104, "bytes a second both ways, where the mode counts them (IPVS)"),
    column(
        Id::Refused,
        "REF/s",
        6,
        true,
        76,
        "packets a second that its rules reject or drop, foreign sources too",
    ),
    column(Id::Tracked, "FLOWS", 6, true, 0, "flows that conntrack holds for its frontends"),
    column(
        Id::Trend,
        "TREND",
        16,
        false,
        100,
        "new flows a second, the last readings; in nftables mode the flows that conntrack held",
    ),
];

/// Columns that only some modes fill.
pub(super) fn needs_packet_counts(id: Id) -> bool {
    matches!(id, Id::Packets | Id::Bytes)
}

/// What stands behind a row.
pub(super) struct Row<'a> {
    pub(super) service: &'a Service,
    pub(super) rates: Option<&'a ServiceRates>,
}

fn rate_of(row: &Row<'_>, of: fn(&ServiceRates) -> Rate) -> Rate {
    row.rates.map_or(Err(crate::rates::NoRate::FirstSample), of)
}

fn tracked(s: &Service) -> Option<u64> {
    s.frontends.iter().map(|f| f.flows).try_fold(0, |sum, f| f.map(|f| sum + f))
}

/// The symbol of a state.
pub(super) fn symbol(health: Health) -> &'static str {
    match health {
        Health::Fine => "●",
        Health::Rejecting => "✗",
        Health::Dropping => "▼",
        Health::Leftover => "○",
    }
}

/// The text of a cell.
pub(super) fn text(id: Id, row: &Row<'_>, history: &dyn Fn() -> Vec<f32>, width: usize) -> String {
    let s = row.service;
    match id {
        Id::State => symbol(s.health()).into(),
        Id::Name => clip(&s.label(), width),
        Id::Protocol => s.protocol.name().into(),
        Id::Mode => match (s.mode, s.variant) {
            (Mode::Iptables, Some(Variant::Nft)) => "ipt-nft".into(),
            (Mode::Userspace, _) => "user".into(),
            (mode, _) => mode.name().into(),
        },
        Id::Frontend => match s.frontends.as_slice() {
            [] => "-".into(),
            [one] => clip(&frontend_text(one), width),
            [first, rest @ ..] => {
                let more = format!(" +{}", rest.len());
                clip(&frontend_text(first), width.saturating_sub(more.len())) + &more
            }
        },
        // The process alone knows them.
        Id::Backends if s.mode == Mode::Userspace => "?".into(),
        Id::Backends => s.backends.len().to_string(),
        Id::Flows => rate_text(rate_of(row, |r| r.flows)),
        Id::Packets => rate_text(rate_of(row, |r| r.packets)),
        Id::Bytes => rate_text(rate_of(row, |r| r.bytes)),
        Id::Refused => rate_text(rate_of(row, |r| r.refused)),
        Id::Tracked => tracked(s).map_or("-".into(), count),
        Id::Trend => sparkline(&history(), width),
    }
}

/// The order of two rows by a column: figures falling, names rising.
pub(super) fn compare(id: Id, a: &Row<'_>, b: &Row<'_>) -> Ordering {
    // What is unknown stands below every figure.
    let rate = |of: fn(&ServiceRates) -> Rate| {
        let value = |r: &Row<'_>| rate_of(r, of).unwrap_or(-1.0);
        value(b).total_cmp(&value(a))
    };
    match id {
        Id::State => a.service.health().cmp(&b.service.health()),
        Id::Name => Ordering::Equal, // the model's own order
        Id::Protocol => a.service.protocol.name().cmp(b.service.protocol.name()),
        Id::Mode => a.service.mode.cmp(&b.service.mode),
        Id::Frontend => {
            let first = |s: &Service| s.frontends.first().map(|f| (f.address, f.port));
            first(a.service).cmp(&first(b.service))
        }
        Id::Backends => b.service.backends.len().cmp(&a.service.backends.len()),
        Id::Flows | Id::Trend => rate(|r| r.flows),
        Id::Packets => rate(|r| r.packets),
        Id::Bytes => rate(|r| r.bytes),
        Id::Refused => rate(|r| r.refused),
        Id::Tracked => tracked(b.service).cmp(&tracked(a.service)),
    }
}
