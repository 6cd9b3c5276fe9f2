//! The form of kube-proxy 1.20 (`syncProxyRules`, `pkg/proxy/iptables/proxier.go` of 1.20): masquerading is asked for in
//! `KUBE-SERVICES` and `KUBE-NODEPORTS`, local policy has a chain `KUBE-XLB-`, every load balancer address one `KUBE-FW-`,
//! and refused packets are marked for the kubelet's own rules (`KUBE-MARK-DROP`).

use super::chain;
use super::write::{
    Writer, base_chains, frontend_matches, local_destination, local_source, port_match, states,
};
use crate::proxy::{Action, Backend, Frontend, FrontendKind, Service, TrafficPolicy, service_hash};
use crate::ruleset::{Hook, IpNet, Match, PhysdevMatch, Target, Verdict, ct_state};

/// The names that a Service's rules use.
struct Names {
    label: String,
    svc: String,
    xlb: String,
    fw: String,
}

impl Writer<'_> {
    /// The filter table and the chains that are there without any Service.
    pub(super) fn frame_of_1_20(&mut self) {
        let f = &mut self.filter;
        base_chains(f, "filter", &[Hook::Input, Hook::Forward, Hook::Output]);
        for name in [chain::EXTERNAL_SERVICES, chain::FORWARD, chain::CANARY, chain::SERVICES] {
            f.chain(name);
        }
        let portals = "kubernetes service portals";
        let external = "kubernetes externally-visible service portals";
        for (hook, only_new, comment, to) in [
            (Hook::Input, true, external, chain::EXTERNAL_SERVICES),
            (Hook::Forward, false, "kubernetes forwarding rules", chain::FORWARD),
            (Hook::Forward, true, portals, chain::SERVICES),
            (Hook::Forward, true, external, chain::EXTERNAL_SERVICES),
            (Hook::Output, true, portals, chain::SERVICES),
        ] {
            let from = f.chain(hook.chain_name());
            let new = only_new.then(|| states(ct_state::NEW, false));
            let matches = new.into_iter().chain([f.comment(comment)]).collect();
            f.jump(from, matches, to);
        }
        let forward = f.chain(chain::FORWARD);
        f.rule(forward, vec![states(ct_state::INVALID, false)], Target::Verdict(Verdict::Drop));
        let comment = f.comment("kubernetes forwarding rules");
        f.rule(forward, vec![comment, super::write::marked(false)], Target::Verdict(Verdict::Accept));
        for side in ["source", "destination"] {
            let comment = f.comment(&format!("kubernetes forwarding conntrack pod {side} rule"));
            let matches = vec![comment, states(ct_state::RELATED | ct_state::ESTABLISHED, false)];
            f.rule(forward, matches, Target::Verdict(Verdict::Accept));
        }
        self.nat.chain(chain::MARK_DROP);
        self.nat_frame();
    }

    pub(super) fn service_of_1_20(&mut self, service: &Service) {
        let Some(name) = &service.name else { return };
        let hash = service_hash(name, service.protocol);
        let names = Names {
            label: name.to_string(),
            svc: format!("{}{hash}", chain::SVC),
            xlb: format!("{}{hash}", chain::XLB),
            fw: format!("{}{hash}", chain::FW),
        };
        let under = |policy| -> Vec<&Backend> {
            service.backends.iter().filter(|b| b.traffic_policies.contains(policy)).collect()
        };
        let (cluster, local) = (under(TrafficPolicy::Cluster), under(TrafficPolicy::Local));
        for f in &service.frontends {
            // Without any endpoint it is rejected; without a local one it goes through the rules to its end.
            if f.action == Action::Reject || service.backends.is_empty() {
                self.refusals(service, f, &names.label);
                continue;
            }
            self.frontend_of_1_20(service, f, &names);
        }
        let local_policy = |f: &Frontend| {
            f.kind != Some(FrontendKind::ClusterIp) && f.traffic_policy == Some(TrafficPolicy::Local)
        };
        if !service.backends.is_empty() && service.frontends.iter().any(local_policy) {
            self.local_policy_of_1_20(service, &names, &local);
        }
        if !cluster.is_empty() {
            self.balance(service, &names.label, &names.svc, &cluster);
        }
        self.endpoints(service, &names.label);
    }

    fn frontend_of_1_20(&mut self, service: &Service, f: &Frontend, names: &Names) {
        let local = f.traffic_policy == Some(TrafficPolicy::Local);
        let to = if local { &names.xlb } else { &names.svc };
        match f.kind {
            Some(FrontendKind::ClusterIp) => {
                let comment = format!("{} cluster IP", names.label);
                if let Some(net) = self.options.cluster_cidr {
                    let services = self.nat.chain(chain::SERVICES);
                    let text = self.nat.comment(&comment);
                    let mut matches = vec![Match::source(net, true)];
                    matches.extend(frontend_matches(service, f, text));
                    self.nat.jump(services, matches, chain::MARK_MASQ);
                }
                self.portal(service, f, &comment, &names.svc);
            }
            Some(FrontendKind::ExternalIp) => {
                let comment = format!("{} external IP", names.label);
                if !local {
                    self.portal(service, f, &comment, chain::MARK_MASQ);
                }
                // From outside, but not from another port of a bridge that it came in by.
                let from_outside = Match::Physdev(Box::new(PhysdevMatch {
                    input: None,
                    output: None,
                    invert: 8,
                    operations: 8,
                }));
                let services = self.nat.chain(chain::SERVICES);
                for more in [vec![from_outside, not_local_source()], vec![local_destination()]] {
                    let text = self.nat.comment(&comment);
                    let mut matches = frontend_matches(service, f, text);
                    matches.extend(more);
                    self.nat.jump(services, matches, to);
                }
            }
            Some(FrontendKind::LoadBalancerIp) => {
                let comment = format!("{} loadbalancer IP", names.label);
                self.portal(service, f, &comment, &names.fw);
                self.firewall_of_1_20(f, names, &comment);
            }
            Some(FrontendKind::NodePort) => {
                let nodeports = self.nat.chain(chain::NODEPORTS);
                let comment = self.nat.comment(&names.label);
                let number = u16::from(service.protocol.number());
                let matches =
                    vec![Match::Protocol { number, invert: false }, comment, port_match(service, f.port)];
                let mut masqueraded = matches.clone();
                if local {
                    masqueraded.insert(0, Match::source(self.loopback(), false));
                }
                self.nat.jump(nodeports, masqueraded, chain::MARK_MASQ);
                self.nat.jump(nodeports, matches, to);
            }
            Some(FrontendKind::FirewallMark(_)) | None => {}
        }
    }

    /// Rules of `KUBE-FW-`: as often as the Service has addresses, and each address passes them all.
    fn firewall_of_1_20(&mut self, f: &Frontend, names: &Names, comment: &str) {
        let fw = self.nat.chain(&names.fw);
        let local = f.traffic_policy == Some(TrafficPolicy::Local);
        if !local {
            let text = self.nat.comment(comment);
            self.nat.jump(fw, vec![text], chain::MARK_MASQ);
        }
        let to = if local { &names.xlb } else { &names.svc };
        let mut from: Vec<Option<IpNet>> = f.source_ranges.iter().flatten().copied().map(Some).collect();
        if f.source_ranges.is_none() {
            from.push(None);
        } else if let (Some(node), Some(address)) = (self.options.node, f.address)
            && from.iter().flatten().any(|r| r.contains(node))
        {
            from.push(Some(IpNet::host(address)));
        }
        for net in from {
            let text = self.nat.comment(comment);
            let matches = net.map(|n| Match::source(n, false)).into_iter().chain([text]).collect();
            self.nat.jump(fw, matches, to);
        }
        let text = self.nat.comment(comment);
        self.nat.jump(fw, vec![text], chain::MARK_DROP);
    }

    /// Rules of `KUBE-XLB-`.
    fn local_policy_of_1_20(&mut self, service: &Service, names: &Names, local: &[&Backend]) {
        let xlb = self.nat.chain(&names.xlb);
        if let Some(net) = self.options.cluster_cidr {
            let text =
                self.nat.comment("Redirect pods trying to reach external loadbalancer VIP to clusterIP");
            self.nat.jump(xlb, vec![Match::source(net, false), text], &names.svc);
        }
        let label = &names.label;
        let text = self.nat.comment(&format!("masquerade LOCAL traffic for {label} LB IP"));
        self.nat.jump(xlb, vec![text, local_source()], chain::MARK_MASQ);
        let text = self.nat.comment(&format!("route LOCAL traffic for {label} LB IP to service chain"));
        self.nat.jump(xlb, vec![text, local_source()], &names.svc);
        if local.is_empty() {
            let text = self.nat.comment(&format!("{label} has no local endpoints"));
            self.nat.jump(xlb, vec![text], chain::MARK_DROP);
        } else {
            self.balance(service, label, &names.xlb, local);
        }
    }
}

fn not_local_source() -> Match {
    match local_source() {
        // XT_ADDRTYPE_INVERT_SOURCE
        Match::AddrType { source, destination, flags, revision } => {
            Match::AddrType { source, destination, flags: flags | 1, revision }
        }
        other => other,
    }
}
