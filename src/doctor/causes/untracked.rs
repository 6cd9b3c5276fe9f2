//! A rule takes packets to a Service's address out of connection tracking (`NOTRACK`, `CT --notrack`, nft's `notrack`): nat
//! rules never see them, so they are not translated. A node-local DNS cache means it so: it has the cluster DNS's address itself
//! (kubernetes/dns#318).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::reach::Taker;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "untracked",
    about: "a rule keeps Services' packets from conntrack",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken_as(CHECK.id) {
        let here = matches!(t.taker, Taker::Untracked { here: true, .. });
        let (severity, title) = match here {
            true => (
                Severity::Info,
                "its packets are not tracked: a process of this node answers them, not its backends",
            ),
            false => (Severity::Critical, "its packets are not tracked, so no rule translates them"),
        };
        let f = super::shared::lossy(cx, CHECK.id, severity, title.into(), t);
        found.push(match here {
            true => f.advise("a node-local DNS cache does this on purpose; does it run, and does it answer? dig @ADDRESS"),
            false => f.advise("take the rule away, or give the node's cache the address that the rule names"),
        }
        .advise(super::shared::explain_hint(cx, t)));
    }
    Ok(())
}
