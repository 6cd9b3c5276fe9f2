//! Packets that conntrack takes for INVALID, dropped by kube-proxy in `KUBE-FORWARD` (counted by nfacct's
//! `ct_state_invalid_dropped_pkts` since 1.33): answers out of the window after packets came in another order, or of flows
//! that conntrack forgot. The connection hangs or is reset (kubernetes/kubernetes#74839).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{RuleRef, chain};
use crate::ruleset::{Match, Target, Verdict, ct_state};
use crate::snapshot::SourceId;
use crate::snapshot::facts::ConntrackStat;

/// A few happen everywhere: answers that come after a connection was reset.
const MANY: u64 = 10;

pub(super) const CHECK: Check = Check {
    id: "invalid_dropped",
    about: "packets that fit no flow are dropped",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 2,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let drops_invalid = |r: &RuleRef| {
        cx.target(*r) == Some(&Target::Verdict(Verdict::Drop))
            && cx
                .matches(*r)
                .iter()
                .any(|m| matches!(m, Match::Conntrack(c) if !c.invert && c.states & ct_state::INVALID != 0))
    };
    for rule in cx.chain_rules("filter", chain::FORWARD).into_iter().filter(drops_invalid) {
        let Some(rise) = cx.rule_rise(rule) else { continue };
        let severity = if rise.by >= MANY { Severity::Warning } else { Severity::Info };
        let mut f = cx
            .rule("invalid_dropped", severity, rule, "packets that fit no flow are dropped")
            .proved_by(format!("{}: {}", cx.rule_text(rule), rise.text()));
        if let Some(invalid) = cx.stat_rise(ConntrackStat::Invalid) {
            f = f.proved_by(format!("conntrack's invalid: {}", invalid.text()));
        }
        let liberal = cx.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal");
        if let Some(v) = liberal {
            f = f.proved_by(format!("nf_conntrack_tcp_be_liberal = {v}"));
        }
        if liberal == Some("0") {
            f = f.advise(
                "do not take packets out of the window for invalid: kube-proxy --conntrack-tcp-be-liberal \
                 (or sysctl -w net.netfilter.nf_conntrack_tcp_be_liberal=1)",
            );
        }
        found.push(f.advise(
            "see which: sysctl -w net.netfilter.nf_conntrack_log_invalid=6, then the kernel log; asymmetric routes and \
             full tables make invalid packets too",
        ));
    }
    Ok(())
}
