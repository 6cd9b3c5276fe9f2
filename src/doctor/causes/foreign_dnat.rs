//! Another program's DNAT takes a Service's packets before kube-proxy's rules do: a pod's host port, a published port of a
//! container engine, a transparent proxy. They arrive somewhere that is none of the Service's backends. In ipvs mode all
//! addresses of Services are the node's own, so a host port takes those too (kubernetes/kubeadm#985).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::Finding;
use crate::proxy::endpoint_text;
use crate::reach::Taker;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "foreign_dnat",
    about: "another program's DNAT takes Services' packets",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for t in cx.taken_as(CHECK.id) {
        let Taker::Elsewhere { to, .. } = t.taker else { continue };
        let title = format!(
            "packets from {} arrive at {}, which is no backend: {} takes them",
            t.senders_text(),
            endpoint_text(to.0, to.1),
            cx.taker_words(t.taker)
        );
        let f = super::shared::lossy(cx, CHECK.id, t.severity(), title, t);
        found.push(
            f.advise("give the pod another host port, or none; a published port another number")
                .advise(super::shared::explain_hint(cx, t)),
        );
    }
    Ok(())
}
