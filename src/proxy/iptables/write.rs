//! Services -> rules, in the form of kube-proxy 1.36 (`syncProxyRules`, `pkg/proxy/iptables/proxier.go`), or, where asked,
//! in that of an older one (1.20 to 1.35).
//!
//! What only counts in objects of nfacct is left out where the kernel has none, as kube-proxy does.

use super::chain;
use crate::proxy::{
    Action, Affinity, Backend, Frontend, FrontendKind, KubeProxyVersion, NamedBy, Service, TrafficPolicy,
    endpoint_chain, endpoint_text, service_hash,
};
use crate::ruleset::{
    BaseChain, ChainId, ChainKind, ConntrackMatch, Counter, Family, Hook, IpFamily, IpNet, Match, NatRange,
    Policy, PortRange, RecentMatch, Table, TableBackend, TableBuilder, TableCounters, Target, Verdict,
    addr_type, ct_state, iptables_priority, nat_flags, recent,
};
use std::collections::HashSet;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Before it there are `KUBE-XLB-` chains and `KUBE-MARK-DROP`
/// (kubernetes/kubernetes#109060).
const WITH_EXT: KubeProxyVersion = KubeProxyVersion::new(1, 24);

/// Before it the kubelet alone keeps other hosts from addresses of the loopback network (`IPTablesOwnershipCleanup`, on by default
/// from it on; the rule is in the captured set of 1.28, not in that of 1.25).
const WITH_LOCALNET: KubeProxyVersion = KubeProxyVersion::new(1, 27);

/// The first that counts in nfacct objects (kubernetes/kubernetes#122812 and #125015).
const WITH_ACCOUNTS: KubeProxyVersion = KubeProxyVersion::new(1, 31);

/// From it on a `KUBE-FW-` chain ends in a rule that only says who drops the rest (in the captured set of 1.28, not in that of
/// 1.25; those between were not seen).
const WITH_LAST_NOTE: KubeProxyVersion = KubeProxyVersion::new(1, 26);

/// What kube-proxy knows beside the Services.
#[derive(Clone, Copy, Debug, Default)]
pub struct WriteOptions {
    /// Whose rules.
    pub version: KubeProxyVersion,
    /// `clusterCIDR` of this family: traffic from elsewhere to cluster IPs is masqueraded.
    pub cluster_cidr: Option<IpNet>,
    /// Leave the comments off the endpoints' rules, as kube-proxy does above 1,000 endpoints.
    pub large_cluster: bool,
    /// Count in nfacct objects, as kube-proxy does since 1.31 where the kernel has them: INVALID packets that are dropped,
    /// and node ports that are used on localhost, by a rule of its own before each node port's.
    pub accounts: bool,
    /// The node's address. Where source ranges hold it, load balancer addresses are let in too: a node that sends to an
    /// address that it has itself comes back with that as its source.
    pub node: Option<IpAddr>,
}

/// The mark that asks for masquerading (`iptablesMasqueradeBit` 14).
const MASQUERADE_MARK: u32 = 0x4000;

/// Writes the tables `nat`, `filter` and `mangle` of one family. Services of other families are left out,
/// and so are those without a name: their chains could not be named.
pub fn write(services: &[Service], family: IpFamily, options: &WriteOptions) -> Vec<(Table, TableCounters)> {
    let table_family = Family::from(family);
    let builder = |name| TableBuilder::new(table_family, TableBackend::XTables, name);
    let mut w = Writer {
        family,
        options,
        nat: builder("nat"),
        filter: builder("filter"),
        firewalled: HashSet::new(),
    };
    let old = options.version < WITH_EXT;
    if old {
        w.frame_of_1_20();
    } else {
        w.frame();
    }
    for service in services.iter().filter(|s| s.family == family && s.name.is_some()) {
        if old { w.service_of_1_20(service) } else { w.service(service) }
    }
    w.last_rules();
    let mut mangle = builder("mangle");
    base_chains(&mut mangle, "mangle", &Hook::ALL);
    mangle.chain(chain::CANARY);
    [w.nat, w.filter, mangle]
        .into_iter()
        .map(|mut b| {
            b.sort_chains();
            b.finish()
        })
        .collect()
}

pub(super) fn base_chains(b: &mut TableBuilder, table: &str, hooks: &[Hook]) {
    for hook in hooks {
        let id = b.chain(hook.chain_name());
        let base = BaseChain {
            hook: *hook,
            kind: ChainKind::of_iptables(table, *hook),
            priority: iptables_priority(table, *hook),
            policy: Policy::Accept,
        };
        b.base(id, base, Counter::default());
    }
}

pub(super) struct Writer<'a> {
    family: IpFamily,
    pub(super) options: &'a WriteOptions,
    pub(super) nat: TableBuilder,
    pub(super) filter: TableBuilder,
    /// FW chains whose rules are written.
    firewalled: HashSet<ChainId>,
}

pub(super) fn local_destination() -> Match {
    Match::AddrType { source: 0, destination: addr_type::LOCAL, flags: 0, revision: 1 }
}

pub(super) fn local_source() -> Match {
    Match::AddrType { source: addr_type::LOCAL, destination: 0, flags: 0, revision: 1 }
}

/// Packets that ask for masquerading, or all others.
pub(super) fn marked(invert: bool) -> Match {
    Match::Mark { mark: MASQUERADE_MARK, mask: MASQUERADE_MARK, invert }
}

pub(super) fn states(states: u16, invert: bool) -> Match {
    Match::Conntrack(ConntrackMatch { states, invert, state_alias: false, revision: 3 })
}

impl Writer<'_> {
    pub(super) fn loopback(&self) -> IpNet {
        match self.family {
            IpFamily::V4 => IpNet { addr: Ipv4Addr::new(127, 0, 0, 0).into(), prefix: 8 },
            IpFamily::V6 => IpNet::host(Ipv6Addr::LOCALHOST.into()),
        }
    }

    fn counts_in_accounts(&self) -> bool {
        self.options.accounts && self.options.version >= WITH_ACCOUNTS
    }

    /// Everything that is there without any Service.
    fn frame(&mut self) {
        let localnet = self.options.version >= WITH_LOCALNET;
        let f = &mut self.filter;
        base_chains(f, "filter", &[Hook::Input, Hook::Forward, Hook::Output]);
        if localnet {
            f.chain(chain::FIREWALL);
        }
        for name in [
            chain::EXTERNAL_SERVICES,
            chain::FORWARD,
            chain::NODEPORTS,
            chain::CANARY,
            chain::PROXY_FIREWALL,
            chain::SERVICES,
        ] {
            f.chain(name);
        }
        // iptablesJumpChains: chain, only for new flows, comment, target.
        let jumps: [(Hook, bool, Option<&str>, &str); 11] = [
            (Hook::Input, false, None, chain::FIREWALL),
            (Hook::Input, true, Some("kubernetes load balancer firewall"), chain::PROXY_FIREWALL),
            (Hook::Input, false, Some("kubernetes health check service ports"), chain::NODEPORTS),
            (
                Hook::Input,
                true,
                Some("kubernetes externally-visible service portals"),
                chain::EXTERNAL_SERVICES,
            ),
            (Hook::Forward, true, Some("kubernetes load balancer firewall"), chain::PROXY_FIREWALL),
            (Hook::Forward, false, Some("kubernetes forwarding rules"), chain::FORWARD),
            (Hook::Forward, true, Some("kubernetes service portals"), chain::SERVICES),
            (
                Hook::Forward,
                true,
                Some("kubernetes externally-visible service portals"),
                chain::EXTERNAL_SERVICES,
            ),
            (Hook::Output, false, None, chain::FIREWALL),
            (Hook::Output, true, Some("kubernetes load balancer firewall"), chain::PROXY_FIREWALL),
            (Hook::Output, true, Some("kubernetes service portals"), chain::SERVICES),
        ];
        for (hook, only_new, comment, to) in jumps.into_iter().filter(|j| localnet || j.3 != chain::FIREWALL)
        {
            let from = f.chain(hook.chain_name());
            let mut matches = Vec::new();
            if only_new {
                matches.push(states(ct_state::NEW, false));
            }
            if let Some(text) = comment {
                matches.push(f.comment(text));
            }
            f.jump(from, matches, to);
        }
        let (loopback, accounts) = (self.loopback(), self.counts_in_accounts());
        let f = &mut self.filter;
        if self.family == IpFamily::V4 && localnet {
            let firewall = f.chain(chain::FIREWALL);
            let comment = f.comment("block incoming localnet connections");
            f.rule(
                firewall,
                vec![
                    Match::source(loopback, true),
                    Match::destination(loopback, false),
                    comment,
                    states(ct_state::RELATED | ct_state::ESTABLISHED | ct_state::DNAT, true),
                ],
                Target::Verdict(Verdict::Drop),
            );
        }
        let forward = f.chain(chain::FORWARD);
        let mut matches = vec![states(ct_state::INVALID, false)];
        if accounts {
            matches.push(account(f, INVALID_DROPPED));
        }
        f.rule(forward, matches, Target::Verdict(Verdict::Drop));
        let comment = f.comment("kubernetes forwarding rules");
        f.rule(forward, vec![comment, marked(false)], Target::Verdict(Verdict::Accept));
        let comment = f.comment("kubernetes forwarding conntrack rule");
        f.rule(
            forward,
            vec![comment, states(ct_state::RELATED | ct_state::ESTABLISHED, false)],
            Target::Verdict(Verdict::Accept),
        );
        self.nat_frame();
    }

    pub(super) fn nat_frame(&mut self) {
        let n = &mut self.nat;
        base_chains(n, "nat", &[Hook::Prerouting, Hook::Input, Hook::Output, Hook::Postrouting]);
        for name in [chain::MARK_MASQ, chain::NODEPORTS, chain::POSTROUTING, chain::CANARY, chain::SERVICES] {
            n.chain(name);
        }
        for (hook, comment, to) in [
            (Hook::Prerouting, "kubernetes service portals", chain::SERVICES),
            (Hook::Output, "kubernetes service portals", chain::SERVICES),
            (Hook::Postrouting, "kubernetes postrouting rules", chain::POSTROUTING),
        ] {
            let from = n.chain(hook.chain_name());
            let comment = n.comment(comment);
            n.jump(from, vec![comment], to);
        }
        let mark = n.chain(chain::MARK_MASQ);
        n.rule(mark, vec![], Target::Mark { mark: MASQUERADE_MARK, mask: MASQUERADE_MARK });
        let post = n.chain(chain::POSTROUTING);
        n.rule(post, vec![marked(true)], Target::Verdict(Verdict::Return));
        n.rule(post, vec![], Target::Mark { mark: MASQUERADE_MARK, mask: 0 });
        let comment = n.comment("kubernetes service traffic requiring SNAT");
        let range =
            NatRange { flags: nat_flags::PROTO_RANDOM_FULLY, addrs: None, ports: (0, 0, 0), revision: 0 };
        n.rule(post, vec![comment], Target::Masquerade(Box::new(range)));
    }

    /// The jump to the node ports must come last.
    fn last_rules(&mut self) {
        let services = self.nat.chain(chain::SERVICES);
        let comment =
            self.nat.comment("kubernetes service nodeports; NOTE: this must be the last rule in this chain");
        self.nat.jump(services, vec![comment, local_destination()], chain::NODEPORTS);
    }

    fn service(&mut self, service: &Service) {
        let Some(name) = &service.name else { return };
        let hash = service_hash(name, service.protocol);
        let label = name.to_string();
        let svc = format!("{}{hash}", chain::SVC);
        let svl = format!("{}{hash}", chain::SVL);
        let under = |policy| -> Vec<&Backend> {
            service.backends.iter().filter(|b| b.traffic_policies.contains(policy)).collect()
        };
        let (cluster, local) = (under(TrafficPolicy::Cluster), under(TrafficPolicy::Local));
        let has_endpoints = !service.backends.is_empty();
        let mut externals = false;
        for f in &service.frontends {
            self.refusals(service, f, &label);
            if !has_endpoints {
                continue;
            }
            match f.kind {
                Some(FrontendKind::ClusterIp) => {
                    if f.action != Action::Balance {
                        continue;
                    }
                    let to = if f.traffic_policy == Some(TrafficPolicy::Local) { &svl } else { &svc };
                    self.portal(service, f, &format!("{label} cluster IP"), to);
                    if let Some(net) = self.options.cluster_cidr {
                        let inside = self.nat.chain(to);
                        let comment = self.nat.comment(&format!("{label} cluster IP"));
                        let mut matches = vec![Match::source(net, true)];
                        matches.extend(frontend_matches(service, f, comment));
                        self.nat.jump(inside, matches, chain::MARK_MASQ);
                    }
                }
                Some(FrontendKind::NodePort) => {
                    externals = true;
                    let nodeports = self.nat.chain(chain::NODEPORTS);
                    let comment = self.nat.comment(&label);
                    let matches = vec![
                        Match::Protocol { number: u16::from(service.protocol.number()), invert: false },
                        comment,
                        port_match(service, f.port),
                    ];
                    let to = format!("{}{hash}", chain::EXT);
                    if self.counts_in_accounts() && self.family == IpFamily::V4 {
                        let mut counted = vec![Match::destination(self.loopback(), false)];
                        counted.extend(matches.iter().cloned());
                        counted.push(account(&mut self.nat, LOCALHOST_ACCEPTED));
                        self.nat.jump(nodeports, counted, &to);
                    }
                    self.nat.jump(nodeports, matches, &to);
                }
                Some(FrontendKind::ExternalIp) => {
                    externals = true;
                    self.portal(
                        service,
                        f,
                        &format!("{label} external IP"),
                        &format!("{}{hash}", chain::EXT),
                    );
                }
                Some(FrontendKind::LoadBalancerIp) => {
                    externals = true;
                    let prefix = if f.source_ranges.is_some() { chain::FW } else { chain::EXT };
                    self.portal(service, f, &format!("{label} loadbalancer IP"), &format!("{prefix}{hash}"));
                    if let Some(ranges) = &f.source_ranges {
                        self.source_ranges(service, f, ranges, &label, &hash);
                    }
                }
                Some(FrontendKind::FirewallMark(_)) | None => {}
            }
        }
        if externals {
            self.external_chain(service, &label, &hash, &svc, &svl, !local.is_empty());
        }
        if !cluster.is_empty() {
            self.balance(service, &label, &svc, &cluster);
        }
        if !local.is_empty() {
            self.balance(service, &label, &svl, &local);
        }
        self.endpoints(service, &label);
        if let Some(port) = service.health_check_node_port {
            let nodeports = self.filter.chain(chain::NODEPORTS);
            let comment = self.filter.comment(&format!("{label} health check node port"));
            let matches = vec![Match::Protocol { number: 6, invert: false }, comment, tcp(port)];
            self.filter.rule(nodeports, matches, Target::Verdict(Verdict::Accept));
        }
    }

    /// A rule of `KUBE-SERVICES`.
    pub(super) fn portal(&mut self, service: &Service, f: &Frontend, comment: &str, to: &str) {
        let services = self.nat.chain(chain::SERVICES);
        let comment = self.nat.comment(comment);
        let matches = frontend_matches(service, f, comment);
        self.nat.jump(services, matches, to);
    }

    /// REJECT and DROP in the filter table.
    pub(super) fn refusals(&mut self, service: &Service, f: &Frontend, label: &str) {
        let (why, target) = match f.action {
            Action::Balance => return,
            Action::Reject => {
                // icmp-port-unreachable, icmp6-port-unreachable
                let with = if self.family == IpFamily::V4 { 3 } else { 4 };
                ("has no endpoints", Target::Reject { with })
            }
            Action::Drop => ("has no local endpoints", Target::Verdict(Verdict::Drop)),
        };
        let name =
            if f.kind == Some(FrontendKind::ClusterIp) { chain::SERVICES } else { chain::EXTERNAL_SERVICES };
        let to = self.filter.chain(name);
        let comment = self.filter.comment(&format!("{label} {why}"));
        let matches = if f.kind == Some(FrontendKind::NodePort) {
            vec![
                Match::Protocol { number: u16::from(service.protocol.number()), invert: false },
                comment,
                local_destination(),
                port_match(service, f.port),
            ]
        } else {
            frontend_matches(service, f, comment)
        };
        self.filter.rule(to, matches, target);
    }

    fn source_ranges(&mut self, service: &Service, f: &Frontend, ranges: &[IpNet], label: &str, hash: &str) {
        let fw_name = format!("{}{hash}", chain::FW);
        let fw = self.nat.chain(&fw_name);
        // One chain serves all load balancer addresses of the Service.
        if self.firewalled.insert(fw) {
            for net in ranges {
                let comment = self.nat.comment(&format!("{label} loadbalancer IP"));
                let matches = vec![Match::source(*net, false), comment];
                self.nat.jump(fw, matches, &format!("{}{hash}", chain::EXT));
            }
            if self.options.node.is_some_and(|node| ranges.iter().any(|r| r.contains(node))) {
                let own = service.frontends.iter().filter(|f| f.kind == Some(FrontendKind::LoadBalancerIp));
                for address in own.filter_map(|f| f.address) {
                    let comment = self.nat.comment(&format!("{label} loadbalancer IP"));
                    let matches = vec![Match::source(IpNet::host(address), false), comment];
                    self.nat.jump(fw, matches, &format!("{}{hash}", chain::EXT));
                }
            }
            if self.options.version >= WITH_LAST_NOTE {
                let text = format!("other traffic to {label} will be dropped by KUBE-PROXY-FIREWALL");
                let comment = self.nat.comment(&text);
                self.nat.rule(fw, vec![comment], Target::None);
            }
        }
        let firewall = self.filter.chain(chain::PROXY_FIREWALL);
        let comment = self.filter.comment(&format!("{label} traffic not accepted by {fw_name}"));
        let matches = frontend_matches(service, f, comment);
        self.filter.rule(firewall, matches, Target::Verdict(Verdict::Drop));
    }

    fn external_chain(
        &mut self,
        service: &Service,
        label: &str,
        hash: &str,
        svc: &str,
        svl: &str,
        has_local: bool,
    ) {
        let ext = self.nat.chain(&format!("{}{hash}", chain::EXT));
        let local_policy = service.frontends.iter().any(|f| {
            f.kind.is_some_and(|k| k != FrontendKind::ClusterIp)
                && f.traffic_policy == Some(TrafficPolicy::Local)
        });
        if !local_policy {
            let comment = self.nat.comment(&format!("masquerade traffic for {label} external destinations"));
            self.nat.jump(ext, vec![comment], chain::MARK_MASQ);
            self.nat.jump(ext, vec![], svc);
            return;
        }
        if let Some(net) = self.options.cluster_cidr {
            let comment = self.nat.comment(&format!("pod traffic for {label} external destinations"));
            self.nat.jump(ext, vec![Match::source(net, false), comment], svc);
        }
        let comment =
            self.nat.comment(&format!("masquerade LOCAL traffic for {label} external destinations"));
        self.nat.jump(ext, vec![comment, local_source()], chain::MARK_MASQ);
        let comment = self.nat.comment(&format!("route LOCAL traffic for {label} external destinations"));
        self.nat.jump(ext, vec![comment, local_source()], svc);
        if has_local {
            self.nat.jump(ext, vec![], svl);
        }
    }

    fn recent(&mut self, sep: &str, check_set: u8, seconds: u32) -> Match {
        let name = self.nat.strings.intern(sep);
        let mask: IpAddr = match self.family {
            IpFamily::V4 => Ipv4Addr::BROADCAST.into(),
            IpFamily::V6 => Ipv6Addr::from(u128::MAX).into(),
        };
        Match::Recent(Box::new(RecentMatch {
            name,
            seconds,
            hit_count: 0,
            check_set,
            invert: false,
            side: 0,
            mask,
            revision: 1,
        }))
    }

    pub(super) fn balance(&mut self, service: &Service, label: &str, name: &str, backends: &[&Backend]) {
        let Some(service_name) = &service.name else { return };
        let id: ChainId = self.nat.chain(name);
        let n = backends.len();
        let named: Vec<(String, String)> = backends
            .iter()
            .map(|b| {
                let endpoint = endpoint_text(b.address, b.port);
                (endpoint_chain(service_name, service.protocol, &endpoint), format!("{label} -> {endpoint}"))
            })
            .collect();
        if let Some(seconds) = service.session_affinity.map(Affinity::seconds_or_default) {
            for (sep, comment) in &named {
                let mut matches = self.endpoint_comment(comment);
                matches.push(self.recent(sep, recent::CHECK | recent::REAP, seconds));
                self.nat.jump(id, matches, sep);
            }
        }
        for (i, (sep, comment)) in named.iter().enumerate() {
            let mut matches = self.endpoint_comment(comment);
            if i + 1 < n {
                matches.push(Match::StatisticRandom { probability: probability(n - i), invert: false });
            }
            self.nat.jump(id, matches, sep);
        }
    }

    fn endpoint_comment(&mut self, text: &str) -> Vec<Match> {
        if self.options.large_cluster { Vec::new() } else { vec![self.nat.comment(text)] }
    }

    pub(super) fn endpoints(&mut self, service: &Service, label: &str) {
        let Some(name) = &service.name else { return };
        for b in &service.backends {
            let sep = endpoint_chain(name, service.protocol, &endpoint_text(b.address, b.port));
            let id = self.nat.chain(&sep);
            let mut matches = vec![Match::source(IpNet::host(b.address), false)];
            matches.extend(self.endpoint_comment(label));
            self.nat.jump(id, matches, chain::MARK_MASQ);
            let number = u16::from(service.protocol.number());
            let mut matches = vec![Match::Protocol { number, invert: false }];
            matches.extend(self.endpoint_comment(label));
            if service.session_affinity.is_some() {
                matches.push(self.recent(&sep, recent::SET, 0));
            }
            matches.push(any_port(service));
            self.nat.rule(id, matches, Target::dnat_to(b.address, b.port, 2));
        }
    }
}

/// Objects of nfacct (`pkg/proxy/metrics/metrics.go` of 1.36).
const INVALID_DROPPED: &str = "ct_state_invalid_dropped_pkts";
const LOCALHOST_ACCEPTED: &str = "localhost_nps_accepted_pkts";

fn account(b: &mut TableBuilder, name: &str) -> Match {
    Match::Nfacct { name: b.strings.intern(name), revision: 0 }
}

/// `computeProbability`: "%0.10f" of 1/n, then as the kernel keeps it.
fn probability(n: usize) -> u32 {
    let text = format!("{:.10}", 1.0 / n as f64);
    let p: f64 = text.parse().unwrap_or(1.0);
    (p * f64::from(0x8000_0000_u32)).round() as u32
}

pub(super) fn frontend_matches(service: &Service, f: &Frontend, comment: Match) -> Vec<Match> {
    let mut matches = Vec::with_capacity(4);
    if let Some(address) = f.address {
        matches.push(Match::destination(IpNet::host(address), false));
    }
    matches.push(Match::Protocol { number: u16::from(service.protocol.number()), invert: false });
    matches.push(comment);
    matches.push(port_match(service, f.port));
    matches
}

fn tcp(port: u16) -> Match {
    Match::Tcp {
        source: PortRange::ANY,
        destination: PortRange::one(port),
        option: 0,
        flag_mask: 0,
        flag_set: 0,
        invert: 0,
    }
}

pub(super) fn port_match(service: &Service, port: u16) -> Match {
    transport(service, PortRange::one(port))
}

fn any_port(service: &Service) -> Match {
    transport(service, PortRange::ANY)
}

fn transport(service: &Service, destination: PortRange) -> Match {
    use crate::proxy::Protocol;
    let source = PortRange::ANY;
    match service.protocol {
        Protocol::Tcp => Match::Tcp { source, destination, option: 0, flag_mask: 0, flag_set: 0, invert: 0 },
        Protocol::Udp => Match::Udp { source, destination, invert: 0 },
        Protocol::Sctp => {
            let flags = if destination == PortRange::ANY { 0 } else { 2 }; // XT_SCTP_DEST_PORTS
            Match::Sctp { source, destination, flags, invert: 0 }
        }
        // Rules go by addresses: a Service of a mark has none.
        Protocol::Any => Match::Protocol { number: 0, invert: false },
    }
}

/// Chains of a table that iptables mode writes again at each sync, however little changed (seen while kube-proxy 1.20.2, 1.30.5 and
/// 1.36.2 ran).
pub fn always_written(table: &str, name: &str) -> bool {
    match table {
        "nat" => [chain::SERVICES, chain::NODEPORTS, chain::MARK_MASQ, chain::POSTROUTING].contains(&name),
        _ => chain::is_own(name),
    }
}

/// A Service as its rules say it: what `read` gives for what `write` wrote. Rules do not say of which kind a
/// rejected external address is, nor which policy or source ranges it had.
pub fn observable(service: &Service) -> Service {
    let mut s = service.clone();
    s.named_by = Some(NamedBy::Comment);
    for f in &mut s.frontends {
        if f.action == Action::Reject {
            f.traffic_policy = None;
            f.source_ranges = None;
            if matches!(f.kind, Some(FrontendKind::ExternalIp | FrontendKind::LoadBalancerIp)) {
                f.kind = None;
            }
        }
    }
    s
}
