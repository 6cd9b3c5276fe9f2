//! Frontends that drop all new flows as their traffic policy is Local and no endpoint runs on this node. Load balancers
//! see it by the health check node port; others wait in vain.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::Finding;
use crate::format::short;
use crate::proxy::{Lack, Mode, frontend_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "no_local_endpoints",
    about: "traffic policy Local without an endpoint here",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    super::shared::refusing(cx, Lack::LocalEndpoints, found, |i, asked, mut f| {
        let s = &cx.model.services[i];
        f.id = "no_local_endpoints";
        f.title = match s.engine.mode() {
            Mode::Ipvs => "no endpoint on this node: new flows are rejected, as the policy Local asks",
            _ => "no endpoint on this node: new flows are dropped, as the policy Local asks",
        }
        .into();
        for (front, refused) in super::shared::lacking(cx, i, Lack::LocalEndpoints) {
            let taken = super::shared::so_far(refused);
            f.evidence.push(format!(
                "{} dropped: traffic policy Local, no endpoint here{taken}",
                frontend_text(front)
            ));
        }
        if let Some(r) = asked {
            f.evidence.push(format!("{} packets a second are dropped now", short(r)));
        }
        if let Some(port) = s.health_check_node_port {
            f.evidence.push(format!("the health check at port {port} reports it to load balancers"));
        }
        f.advise("send this traffic to nodes that run its pods, or set externalTrafficPolicy/internalTrafficPolicy to Cluster")
    });
    Ok(())
}
