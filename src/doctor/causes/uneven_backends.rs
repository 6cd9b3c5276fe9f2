//! Backends that get more or fewer new flows than the rules' probability give them, beyond what chance does (chi-squared). Rules of
//! other programs that jump past the Service's chain, or a damaged chain, do that; session affinity does it rightly, and is left out.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::spread::Spread;
use crate::proxy::{CounterSource, Mode, endpoint_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "uneven_backends",
    about: "backends get more or less than their share",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, s) in cx.active_services() {
        let spread = Spread::of(s, cx.model.figures(i));
        let (true, Spread::Judged { got, expected, .. }) = (spread.is_uneven(), &spread) else { continue };
        // Conntrack has no flow whose first packet was dropped: the drop is the finding, and bends what was counted.
        let by_conntrack = s.backends.iter().any(|b| b.source == CounterSource::Conntrack);
        if by_conntrack && cx.loses(i) {
            continue;
        }
        let sum: u64 = got.iter().sum();
        let mut order: Vec<usize> = (0..got.len()).collect();
        order.sort_by(|a, b| {
            let off = |i: usize| (got[i] as f64 - expected[i]).abs();
            off(*b).total_cmp(&off(*a))
        });
        let mut f = cx
            .service(
                "uneven_backends",
                Severity::Warning,
                i,
                "new flows are spread unevenly over backends, beyond chance",
            )
            .proved_by(spread.evidence().unwrap_or_default());
        for i in order.into_iter().take(4) {
            let b = &s.backends[i];
            f = f.proved_by(format!(
                "{}: {:.1} % of them, {:.1} % by the rules",
                endpoint_text(b.address, b.port),
                got[i] as f64 / sum as f64 * 100.0,
                b.share.unwrap_or(0.0) * 100.0
            ));
        }
        let look = match s.engine.mode() {
            Mode::Nftables => "look who else sends flows to its backends: pane Rules, or nft list ruleset",
            Mode::Ipvs => "look at weights and at connections that stay: ipvsadm -Ln",
            _ => {
                "look who else jumps to its KUBE-SEP- chains: pane Rules, or iptables-save -t nat | grep KUBE-SEP-"
            }
        };
        found.push(f.advise(look).advise("restart kube-proxy: it writes the Service's rules again"));
    }
    Ok(())
}
