//! Packets that conntrack takes for INVALID, dropped by kube-proxy in `KUBE-FORWARD` (counted by nfacct's
//! `ct_state_invalid_dropped_pkts` since 1.33): answers out of the window after packets came in another order, or of flows
//! that conntrack forgot. The connection hangs or is reset (kubernetes/kubernetes#74839).

use super::{Case, Finding, Severity};
use crate::proxy::RuleRef;
use crate::ruleset::{Match, Target, Verdict, ct_state};

/// A few happen everywhere: answers that come after a connection was reset.
const MANY: u64 = 10;

pub(super) fn find(case: &Case<'_>, found: &mut Vec<Finding>) -> Result<(), String> {
    case.need_rules()?;
    case.need_before()?;
    let drops_invalid = |r: &RuleRef| {
        case.target(*r) == Some(&Target::Verdict(Verdict::Drop))
            && case
                .matches(*r)
                .iter()
                .any(|m| matches!(m, Match::Conntrack(c) if !c.invert && c.states & ct_state::INVALID != 0))
    };
    for rule in case.chain_rules("filter", "KUBE-FORWARD").into_iter().filter(drops_invalid) {
        let Some(rise) = case.rule_rise(rule) else { continue };
        let severity = if rise.by >= MANY { Severity::Warning } else { Severity::Info };
        let mut f = case
            .rule("invalid_dropped", severity, rule, "packets that fit no flow are dropped")
            .proved_by(format!("{}: {}", case.rule_text(rule), rise.text()));
        if let Some(invalid) = case.stat_rise(|s| s.invalid) {
            f = f.proved_by(format!("conntrack's invalid: {}", invalid.text()));
        }
        let liberal = case.sysctl("net/netfilter/nf_conntrack_tcp_be_liberal");
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
