//! Services that refuse all new flows as they have no endpoints: rules reject them with an ICMP error; in ipvs mode the
//! virtual server is empty.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::Finding;
use crate::format::short;
use crate::proxy::{Lack, Mode, frontend_text};
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "no_endpoints",
    about: "a Service has no endpoints",
    needs: &[],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    super::shared::refusing(cx, Lack::Endpoints, found, |i, asked, mut f| {
        let s = &cx.model.services[i];
        f.id = "no_endpoints";
        f.title = match s.engine.mode() {
            Mode::Ipvs => "no real server: new flows are rejected",
            _ => "no endpoints: new flows are rejected",
        }
        .into();
        for (front, refused) in super::shared::lacking(cx, i, Lack::Endpoints) {
            let taken = super::shared::so_far(refused);
            f.evidence.push(format!("{} {}: no endpoints{taken}", frontend_text(front), front.action.name()));
        }
        if let Some(r) = asked {
            f.evidence.push(format!("{} packets a second are refused now", short(r)));
        }
        f.advise(format!(
            "are its pods ready, and does its selector name them? {}",
            super::shared::ask_api(s)
        ))
    });
    Ok(())
}
