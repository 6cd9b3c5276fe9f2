//! Backends to which no way leads from this node: no route, one that refuses or drops, an interface that is down, or a next hop that
//! does not answer to ARP. The CNI has not written the route, or the pod or node is gone.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Backend, Service, cluster_endpoint, endpoint_text, is_local};
use crate::reach::BackendWay;
use crate::snapshot::{Obstacle, SourceId, leaves_by, obstacle, routes_beyond};

/// Backends that are named.
const SHOWN: usize = 8;

pub(super) const CHECK: Check = Check {
    id: "unroutable_backend",
    about: "no route leads to a backend",
    needs: &[SourceId::Routes, SourceId::Addresses, SourceId::Links],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

/// True where the rules, or the API, have a backend on this node.
fn is_here(cx: &CheckContext<'_>, s: &Service, b: &Backend) -> bool {
    let by_api = || {
        let cluster = cx.snapshot.cluster.as_ref()?;
        is_local(cluster, cluster_endpoint(cluster, s, b.address, b.port)?)
    };
    b.local == Some(true) || by_api() == Some(true)
}

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let mut open = false;
    for (i, s) in cx.active_services() {
        let mut lost = Vec::new();
        for (place, b) in cx.model.services.backends_of(i).zip(&s.backends) {
            let way = match cx.facts.ways.get(place) {
                BackendWay::Clear => None,
                BackendWay::Blocked => obstacle(cx.snapshot, b.address),
                BackendWay::Outward if is_here(cx, s, b) => {
                    leaves_by(cx.snapshot, b.address).map(Obstacle::Outward)
                }
                BackendWay::Outward => None,
            };
            let Some(way) = way else { continue };
            // Rules that stand where nothing is routed: no node's own namespace.
            if way == Obstacle::NoRoute && !routes_beyond(cx.snapshot, s.family) {
                open = true;
                continue;
            }
            lost.push((b, way));
        }
        let Some((first, way)) = lost.first() else { continue };
        let title = match way {
            Obstacle::Deaf(..) => "the next hop of a backend does not answer: packets to it are lost",
            Obstacle::Outward(_) => "packets to a backend of this node leave the node: they are lost",
            Obstacle::Down(_) => "the interface that leads to a backend is down: packets to it are lost",
            _ => "no way leads to a backend from this node: packets to it are lost",
        };
        let mut f = cx.service(CHECK.id, Severity::Critical, i, title);
        f.lost_share = Some(lost.len() as f64 / s.backends.len() as f64);
        for (b, way) in lost.iter().take(SHOWN) {
            f = f.proved_by(format!("{}: {}", endpoint_text(b.address, b.port), way.words()));
        }
        f = f.advise(format!("ip route get {}; ip neigh show nud failed", first.address));
        found.push(f.advise(match way {
            Obstacle::Deaf(..) => {
                "is that pod or node up? a pod that went and is still served: is kube-proxy in step (kube_proxy_behind)?"
            }
            _ => "the CNI writes these routes: look at its pod on this node, and whether it restarted",
        }));
    }
    match open && found.is_empty() {
        true => Err(NotChecked::new(
            SourceId::Routes,
            "no route leads beyond this node: packets to pods are not routed in this namespace",
        )),
        false => Ok(()),
    }
}
