//! eBPF programs that connections and packets of Services pass before kube-proxy's rules, or in place of them: at `connect` and `sendmsg`
//! of cgroups, tc, tcx and XDP. What they translate, the rules do not count, and conntrack holds without the Service's address.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::snapshot::SourceId;
use crate::snapshot::facts::{Hook, Program};
use std::collections::BTreeMap;

/// Programs that are named, and places of each.
const SHOWN: usize = 12;
const PLACES: usize = 3;

pub(super) const CHECK: Check = Check {
    id: "ebpf_ahead",
    about: "eBPF programs take packets before the rules",
    needs: &[SourceId::Ebpf],
    looks_at: &[SourceId::Ebpf],
    readings: 1,
    run,
};

/// Owners by how the names of their programs begin.
const OWNERS: [(&str, &str); 9] = [
    // cilium/cilium: bpf/bpf_sock.c, bpf_lxc.c, bpf_host.c; without `cil_` up to 1.11, and tc's names with the file.
    ("cil_", "Cilium"),
    ("sock4_", "Cilium"),
    ("sock6_", "Cilium"),
    ("bpf_lxc", "Cilium"),
    ("bpf_host", "Cilium"),
    ("bpf_netdev", "Cilium"),
    ("bpf_overlay", "Cilium"),
    // projectcalico/calico: felix/bpf-gpl/connect_balancer.c, tc.c
    ("cali", "Calico"),
    ("connect_balance", "Calico"),
];

fn owner(program: &Program) -> Option<&'static str> {
    OWNERS.iter().find(|o| program.name.starts_with(o.0)).map(|o| o.1)
}

/// Who owns a program, and where it is.
type OwnerAndPlaces<'a> = (Option<&'static str>, Vec<&'a str>);

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let programs = cx.snapshot.ebpf.iter().flat_map(|e| &e.programs);
    // One line for a program that is at many interfaces.
    let mut lines: BTreeMap<(Hook, String), OwnerAndPlaces<'_>> = BTreeMap::new();
    for p in programs {
        let what = if p.name.is_empty() { p.label() } else { p.name.clone() };
        lines.entry((p.hook, what)).or_insert_with(|| (owner(p), Vec::new())).1.push(&p.place);
    }
    if lines.is_empty() || cx.active_services().next().is_none() {
        return Ok(());
    }
    let at_sockets = lines.keys().any(|k| k.0.is_socket());
    let title = match at_sockets {
        true => "eBPF programs can take connections to Services before there is a packet",
        false => "eBPF programs see the packets of Services before the rules",
    };
    let mut f = Finding::node(CHECK.id, Severity::Info, "eBPF", title);
    let count = lines.len();
    for ((hook, what), (owner, mut places)) in lines.into_iter().take(SHOWN) {
        places.sort_unstable();
        places.dedup();
        let more = places.len().saturating_sub(PLACES);
        places.truncate(PLACES);
        let mut at = places.join(", ");
        if more > 0 {
            at = format!("{at} and {more} more");
        }
        let owner = owner.map_or_else(|| "owner unknown".to_string(), |o| format!("of {o}"));
        f = f.proved_by(format!("{hook} of {at}: {what} ({owner})"));
    }
    if count > SHOWN {
        f = f.proved_by(format!("and {} more", count - SHOWN));
    }
    if at_sockets {
        f = f.advise("what is translated at the socket has no packet to the Service's address: rules and conntrack count nothing of it");
    }
    found.push(f.advise(
        "two that serve the same Services can disagree: if another proxy (Cilium, Calico eBPF) is meant to, take kube-proxy and its rules away",
    ));
    Ok(())
}
