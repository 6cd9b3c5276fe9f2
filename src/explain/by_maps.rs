//! The way of a packet to a Service that is in eBPF maps: what the maps lead to. What the programs do beside (policies, tunnels) is not
//! followed.

use crate::proxy::{Action, Backend, Frontend, Mode, Service, TrafficPolicy};
use crate::ruleset::Hook;
use crate::walk::{End, Outcome, Step, StepKind, Tally, Trace};

/// The trace that maps make; `from_inside` for packets of a pod or the node itself.
pub(super) fn trace(service: &Service, frontend: &Frontend, from_inside: bool) -> Trace {
    let (who, where_) = match service.engine.mode() {
        Mode::Kernelspace => ("Windows", "in the virtual switch's filtering platform (VFP)"),
        Mode::Calico => ("Calico", "at tc, or at the socket of who sends"),
        _ => ("Cilium", "at the socket of who sends, at tc or XDP"),
    };
    let what = match service.engine.mode() {
        Mode::Kernelspace => format!("{who} looks it up among the load balancers"),
        _ => format!("{who}'s eBPF programs look it up in their maps"),
    };
    let note = |before: Option<u32>, text: String| Step {
        before,
        hook: Hook::Prerouting,
        place: None,
        kind: StepKind::Note(text),
        counted: false,
        probability: None,
    };
    let mut steps = vec![note(None, format!("{what} {where_}, and no rule translates it"))];
    let outcome = |end, backend: Option<&Backend>, probability, last| Outcome {
        end,
        backend: backend.map(|b| (b.address, b.port)),
        masquerade: false,
        probability,
        assuming: Vec::new(),
        tally: Tally::default(),
        last: Some(last),
    };
    let policy = frontend.traffic_policy.unwrap_or(TrafficPolicy::Cluster);
    // A local policy is that of senders outside; who is in the cluster gets every endpoint of an external address.
    let external = frontend.kind != Some(crate::proxy::FrontendKind::ClusterIp);
    let policy = match (policy, external, from_inside) {
        (TrafficPolicy::Local, true, true)
            if service.backends.iter().any(|b| b.traffic_policies.contains(TrafficPolicy::Cluster)) =>
        {
            TrafficPolicy::Cluster
        }
        (policy, ..) => policy,
    };
    let mine: Vec<&Backend> =
        service.backends.iter().filter(|b| b.traffic_policies.contains(policy)).collect();
    if mine.is_empty() {
        let (end, text) = match frontend.action {
            Action::Drop => (End::Dropped, "it has no backend on this node, as its local policy asks"),
            _ => (End::Rejected, "it has no backend"),
        };
        steps.push(note(Some(0), text.into()));
        return Trace { outcomes: vec![outcome(end, None, 1.0, 1)], steps, cut: false };
    }
    let equal = 1.0 / mine.len() as f64;
    let outcomes = mine
        .iter()
        .map(|b| {
            let share = if policy == TrafficPolicy::Local { b.local_share } else { b.share };
            outcome(End::Sent, Some(b), share.unwrap_or(equal), 0)
        })
        .collect();
    Trace { steps, outcomes, cut: false }
}
