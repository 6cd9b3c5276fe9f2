//! A pod that reaches itself by its own Service without being masqueraded: the answer comes from its own address and is
//! thrown away. kube-proxy masquerades such flows (`-s POD -j KUBE-MARK-MASQ`, nftables' `hairpin-connections`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::endpoint_text;
use crate::ruleset::L4Endpoint;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "hairpin",
    about: "a backend asks its own Service, not masqueraded",
    needs: &[SourceId::Flows],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let flows = cx.flows()?;
    let mut hairpins: Vec<_> = flows.hairpins.iter().collect();
    hairpins.sort();
    for (&L4Endpoint { protocol, address, port }, n) in hairpins {
        let service = cx.active_services().find(|(_, s)| {
            s.protocol.number() == protocol
                && s.backends.iter().any(|b| b.address == address && b.port == port)
        });
        let Some((i, s)) = service else { continue };
        let at = endpoint_text(address, port);
        let mut f = cx
            .service(
                "hairpin",
                Severity::Critical,
                i,
                "a backend that asks its own Service gets no answer: it is not masqueraded",
            )
            .proved_by(format!(
                "{} from {address} back to {at} with its own address as the source, unanswered",
                super::shared::flows(*n)
            ));
        let rule = s.backends.iter().find(|b| b.address == address && b.port == port).and_then(|b| b.rule);
        if let Some(rule) = rule {
            f = f.proved_by(format!("its chain: {}", cx.chain_text(rule)));
        }
        found.push(
            f.advise("the rule that masquerades it is missing: restart kube-proxy, it writes the Service's chains again")
                .advise("and the pod's link must take its own packets back (hairpin_mode of the bridge's port)"),
        );
    }
    Ok(())
}
