//! The eBPF maps of another proxy are full: Services and backends for which there is no room are not served (cilium/cilium#36217; Cilium:
//! `bpf-lb-map-max`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::snapshot::SourceId;

/// From this part on it is worth a warning.
const NEARLY: f64 = 0.9;

pub(super) const CHECK: Check = Check {
    id: "service_maps_full",
    about: "the proxy's eBPF maps have no room left",
    needs: &[SourceId::ServiceMaps],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let maps = cx.snapshot.maps.iter().flat_map(|m| m.iter());
    // Of files it is not known how many entries a map may have.
    for m in maps.filter(|m| m.max_entries > 0) {
        let (held, most) = (m.len() as u64, u64::from(m.max_entries));
        let part = held as f64 / most as f64;
        if part < NEARLY {
            continue;
        }
        let full = held >= most;
        let severity = if full { Severity::Critical } else { Severity::Warning };
        let title = match full {
            true => format!("the eBPF map {} is full: what is added to it is not served", m.name),
            false => format!("the eBPF map {} is nearly full", m.name),
        };
        found.push(
            Finding::node(CHECK.id, severity, "eBPF maps", title)
                .proved_by(format!("{} of {} entries ({:.0} %)", count(held), count(most), part * 100.0))
                .advise("Cilium: raise bpf.lbMapMax (Helm) or --bpf-lb-map-max, and restart its agent on this node")
                .advise("Calico: raise bpfMapSizeNATFrontend and bpfMapSizeNATBackend in the FelixConfiguration"),
        );
    }
    Ok(())
}
