//! kube-proxy 1.33.0 to 1.34.x in nftables mode match `iif` where `iifname` is meant, when pods are told by an interface
//! (`--detect-local-mode=BridgeInterface` or `InterfaceNamePrefix`): a prefix is no interface and the sync fails, a bridge is matched by its
//! number, which is another once it is made again. Fixed by kubernetes/kubernetes#134024.

use crate::doctor::Subject;
use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::plural;
use crate::proxy::{RuleRef, nftables};
use crate::ruleset::{Field, Match, RuleId, meta};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "iif_for_iifname",
    about: "pods are known by an interface's number",
    needs: &[],
    looks_at: &[SourceId::NfTables],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let by_number = |m: &Match| match m {
        Match::Native(c) => c.key.iter().any(|load| load.field == Field::Meta(meta::IIF)),
        _ => false,
    };
    for (i, state) in cx.snapshot.tables.iter().enumerate().filter(|(_, s)| s.table.name == nftables::TABLE) {
        let t = &state.table;
        let mut wrong = (0..t.rules.len() as u32)
            .map(RuleId)
            .filter(|id| t.matches_of(t.rule(*id)).iter().any(by_number));
        let Some(first) = wrong.next() else { continue };
        let n = wrong.count() as u64 + 1;
        let about = format!("{} {}", t.family, t.name);
        let mut f = Finding::node(
            CHECK.id,
            Severity::Warning,
            &about,
            "kube-proxy tells pods by the number of an interface: once it is made again, answers to others go astray",
        );
        f.subject = Subject::Rule(RuleRef { table: i, rule: first });
        found.push(
            f.proved_by(format!("{} with `iif`, as {}", plural(n, "rule"), t.rule_text(t.rule(first))))
                .proved_by("kube-proxy 1.33.0 to 1.34.x write `iif` where `iifname` is meant")
                .advise("a later patch release of 1.33 or 1.34, or 1.35: kubernetes/kubernetes#134024")
                .advise("until then restart kube-proxy after the bridge was made again; or --detect-local-mode=ClusterCIDR"),
        );
    }
    Ok(())
}
