//! Services -> table `kube-proxy`, in the form of kube-proxy 1.36 (`syncProxyRules`,
//! `pkg/proxy/nftables/proxier.go`), or, where asked, in that of an older one (1.30 to 1.35).

use super::expressions::{
    MASQUERADE_MARK, address_type, byte_order, concat, destination_key, dport, ends, l4proto, mark,
    masquerade, merged, native, padded, port_key, unmark,
};
use super::{TABLE, chain_base, endpoint_base, name};
use crate::proxy::{
    Action, Affinity, Backend, Frontend, FrontendKind, KubeProxyVersion, Protocol, Service, ServiceName,
    TrafficPolicy,
};
use crate::ruleset::{
    BaseChain, ChainId, ChainKind, Comparison, Counter, Data, Dialect, Element, Field, Hook, IpFamily, IpNet,
    Load, Mapped, Match, Op, Policy, Set, SetId, Statement, StrId, Table, TableBackend, TableBuilder,
    TableCounters, Target, Terminal, Test, VERDICT_DATA, Verdict, ct, data_type, octets, payload_base,
    set_flag,
};
use std::collections::{HashMap, HashSet};
use std::net::IpAddr;

/// Before it every endpoint has a chain, and a chain sets the mark that asks for masquerading (rules of 1.30 to 1.35
/// and of 1.36 as kube-proxy wrote them).
const WITH_MAPS: KubeProxyVersion = KubeProxyVersion::new(1, 36);

/// Before it the chains of the filter hooks judge before destinations are translated, and what the node sends is judged in two
/// chains (as in the captured sets of 1.30 and 1.31; 1.33 has them after it, 1.32 was not seen).
const WITH_LATE_FILTERS: KubeProxyVersion = KubeProxyVersion::new(1, 32);

/// From it on the rule that asks for masquerading does not look at the port again (in the captured set of 1.35, not in that of
/// 1.33; 1.34 was not seen).
const WITHOUT_PORT: KubeProxyVersion = KubeProxyVersion::new(1, 34);

/// What kube-proxy knows beside the Services.
#[derive(Clone, Debug, Default)]
pub struct WriteOptions {
    /// Whose rules.
    pub version: KubeProxyVersion,
    /// `clusterCIDR` of this family: traffic from elsewhere to cluster IPs is masqueraded.
    pub cluster_cidr: Option<IpNet>,
    /// Addresses on which node ports are served (`nodePortAddresses`; by default the node's primary one).
    pub node_port_addresses: Vec<IpAddr>,
    /// The network of cluster IPs of this family (`ServiceCIDR`s, known since 1.33): what is sent to addresses in it that are
    /// no Service's is dropped.
    pub service_cidr: Option<IpNet>,
}

/// Writes the table of one family. Services of other families are left out, and so are those without a
/// name: their chains could not be named.
pub fn write(services: &[Service], family: IpFamily, options: &WriteOptions) -> (Table, TableCounters) {
    let mut b = TableBuilder::new(family.into(), TableBackend::NfTables, TABLE);
    b.dialect = Dialect::Nft;
    b.comment = Some("rules for kube-proxy".into());
    let mut w = Writer::new(b, family, options.version);
    w.frame(options);
    for service in services.iter().filter(|s| s.family == family) {
        if let Some(name) = &service.name {
            w.service(service, name, options);
        }
    }
    w.b.finish()
}

/// Sets and maps that are there without any Service.
struct Sets {
    /// Since 1.33.
    hairpin: Option<SetId>,
    cluster_ips: SetId,
    nodeport_ips: SetId,
    no_endpoint_services: SetId,
    no_endpoint_nodeports: SetId,
    firewall_ips: SetId,
    service_ips: SetId,
    service_nodeports: SetId,
}

struct Writer {
    b: TableBuilder,
    family: IpFamily,
    version: KubeProxyVersion,
    sets: Sets,
    /// Keys that are in already.
    known: HashSet<(SetId, Box<[u8]>)>,
    /// Sets of clients by name.
    affinity: HashMap<StrId, SetId>,
}

impl Writer {
    fn new(mut b: TableBuilder, family: IpFamily, version: KubeProxyVersion) -> Writer {
        let (addr, width) = address_type(family);
        let old = version < WITH_MAPS;
        let mut set = |name: &str, key: &[u32], map: bool, comment: &str| {
            let flags = if map { set_flag::MAP } else { 0 };
            let id = b.strings.intern(name);
            let comment_id = b.strings.intern(comment);
            let len = |t: &u32| if *t == addr { width } else { 4 };
            b.set(Set {
                key_type: concat(key),
                key_len: key.iter().map(len).sum(),
                data_type: if map { VERDICT_DATA } else { 0 },
                data_len: if map { 16 } else { 0 },
                comment: Some(comment_id),
                count: Some(0),
                elements: Some(Vec::new()),
                ..Set::new(id, flags)
            })
        };
        let destination = [addr, data_type::INET_PROTO, data_type::INET_SERVICE];
        let port = [data_type::INET_PROTO, data_type::INET_SERVICE];
        let sets = Sets {
            hairpin: (!old).then(|| {
                set(
                    name::HAIRPIN,
                    &[addr, addr, data_type::INET_PROTO, data_type::INET_SERVICE],
                    false,
                    "service hairpin connections",
                )
            }),
            cluster_ips: set(name::CLUSTER_IPS, &[addr], false, "Active ClusterIPs"),
            nodeport_ips: set(name::NODEPORT_IPS, &[addr], false, "IPs that accept NodePort traffic"),
            no_endpoint_services: set(
                name::NO_ENDPOINT_SERVICES,
                &destination,
                true,
                "vmap to drop or reject packets to services with no endpoints",
            ),
            no_endpoint_nodeports: set(
                name::NO_ENDPOINT_NODEPORTS,
                &port,
                true,
                "vmap to drop or reject packets to service nodeports with no endpoints",
            ),
            firewall_ips: set(
                name::FIREWALL_IPS,
                &destination,
                true,
                "destinations that are subject to LoadBalancerSourceRanges",
            ),
            service_ips: set(
                name::SERVICE_IPS,
                &destination,
                true,
                "ClusterIP, ExternalIP and LoadBalancer IP traffic",
            ),
            service_nodeports: set(name::SERVICE_NODEPORTS, &port, true, "NodePort traffic"),
        };
        Writer { b, family, version, sets, known: HashSet::new(), affinity: HashMap::new() }
    }

    /// Rules of before [`WITH_MAPS`].
    fn is_old(&self) -> bool {
        self.version < WITH_MAPS
    }

    fn add(&mut self, set: SetId, element: Element) {
        // Several ports may share a cluster IP.
        if !self.known.insert((set, element.key.clone())) {
            return;
        }
        let set = &mut self.b.sets[set.0 as usize];
        if let Some(elements) = &mut set.elements {
            elements.push(element);
            set.count = set.count.map(|n| n + 1);
        }
    }

    fn saddr(&self) -> Load {
        self.address(12, 8)
    }

    fn daddr(&self) -> Load {
        self.address(16, 24)
    }

    /// An address of the header, by its offset in each family's.
    fn address(&self, v4: u32, v6: u32) -> Load {
        let offset = if self.family == IpFamily::V4 { v4 } else { v6 };
        let (_, len) = address_type(self.family);
        Load::new(Field::Payload { base: payload_base::NETWORK, offset, len }, len)
    }

    /// `ip daddr . meta l4proto . th dport`
    fn destination(&self) -> Vec<Load> {
        vec![self.daddr(), l4proto(), dport()]
    }

    fn vmap(&mut self, chain: ChainId, matches: Vec<Match>, key: Vec<Load>, set: SetId) {
        let target = Target::Native(Box::new(Terminal::VerdictMap { key, set }));
        self.b.rule(chain, matches, target);
    }

    fn base(&mut self, name: &str, kind: ChainKind, hook: Hook, priority: i32) -> ChainId {
        let id = self.b.chain(name);
        let base = BaseChain { hook, kind, priority, policy: Policy::Accept };
        self.b.base(id, base, Counter::default());
        id
    }

    /// Everything that is there without any Service.
    fn frame(&mut self, options: &WriteOptions) {
        let new = || {
            let mut state = Load::new(Field::Ct { key: ct::STATE, direction: None }, 4);
            state.ops.push(Op::Bitwise { mask: Box::new(8u32.to_ne_bytes()), xor: Box::new([0; 4]) });
            native(vec![state], Test::Compare { op: Comparison::NotEqual, value: Box::new([0; 4]) })
        };
        let filter = ChainKind::Filter;
        let chains_of_1_30 = [
            ("filter-prerouting", Hook::Prerouting, -110, &["firewall-check"][..]),
            ("filter-input", Hook::Input, -110, &["nodeport-endpoints-check", "service-endpoints-check"]),
            ("filter-forward", Hook::Forward, -110, &["service-endpoints-check", "cluster-ips-check"]),
            ("filter-output", Hook::Output, -110, &["service-endpoints-check", "firewall-check"]),
            (name::EARLY_FILTER, Hook::Output, -90, &["cluster-ips-check"]),
        ];
        let chains = [
            ("filter-prerouting-pre-dnat", Hook::Prerouting, -110, &["firewall-check"][..]),
            ("filter-output-pre-dnat", Hook::Output, -110, &["firewall-check"]),
            ("filter-input", Hook::Input, 0, &["nodeport-endpoints-check", "service-endpoints-check"]),
            ("filter-forward", Hook::Forward, 0, &["service-endpoints-check", "cluster-ips-check"]),
            ("filter-output", Hook::Output, 0, &["service-endpoints-check", "cluster-ips-check"]),
        ];
        let old = self.is_old();
        let early = self.version < WITH_LATE_FILTERS;
        for (name, hook, priority, jumps) in if early { chains_of_1_30 } else { chains } {
            let chain = self.base(name, filter, hook, priority);
            for to in jumps {
                self.b.jump(chain, vec![new()], to);
            }
        }
        for (name, hook, priority, to) in [
            ("nat-prerouting", Hook::Prerouting, -100, name::SERVICES),
            ("nat-output", Hook::Output, -100, name::SERVICES),
            ("nat-postrouting", Hook::Postrouting, 100, "masquerading"),
        ] {
            let chain = self.base(name, ChainKind::Nat, hook, priority);
            self.b.jump(chain, Vec::new(), to);
        }
        let to_set = |w: &Writer, set| native(vec![w.daddr()], Test::Set { set, invert: false });
        let chain = self.b.chain("nodeport-endpoints-check");
        let m = to_set(self, self.sets.nodeport_ips);
        self.vmap(chain, vec![m], vec![l4proto(), dport()], self.sets.no_endpoint_nodeports);
        let chain = self.b.chain("service-endpoints-check");
        self.vmap(chain, Vec::new(), self.destination(), self.sets.no_endpoint_services);
        let chain = self.b.chain("firewall-check");
        self.vmap(chain, Vec::new(), self.destination(), self.sets.firewall_ips);
        let chain = self.b.chain(name::SERVICES);
        if let Some(net) = options.cluster_cidr.filter(|_| !old) {
            let cluster_ip = to_set(self, self.sets.cluster_ips);
            let comment = self.b.comment("masquerade clusterIP traffic from outside cluster");
            self.b.rule(chain, vec![cluster_ip, Match::source(net, true), mark(), comment], Target::None);
        }
        self.vmap(chain, Vec::new(), self.destination(), self.sets.service_ips);
        let m = to_set(self, self.sets.nodeport_ips);
        self.vmap(chain, vec![m], vec![l4proto(), dport()], self.sets.service_nodeports);
        if old {
            self.masquerading_of_1_30();
        } else {
            self.masquerading();
        }
        let chain = self.b.chain("cluster-ips-check");
        let cluster_ip = to_set(self, self.sets.cluster_ips);
        let comment = self.b.comment("Reject traffic to invalid ports of ClusterIPs");
        // port-unreachable
        let with = if self.family == IpFamily::V4 { 3 } else { 4 };
        self.b.rule(chain, vec![cluster_ip, comment], Target::Reject { with });
        if let Some(net) = options.service_cidr.filter(|_| !old) {
            let comment = self.b.comment("Drop traffic to unallocated ClusterIPs");
            self.b.rule(chain, vec![Match::destination(net, false), comment], Target::Verdict(Verdict::Drop));
        }
        let chain = self.b.chain("reject-chain");
        self.b
            .chain_comments
            .push((chain, "helper for @no-endpoint-services / @no-endpoint-nodeports".into()));
        self.b.rule(chain, Vec::new(), Target::Reject { with });
        for address in &options.node_port_addresses {
            if IpFamily::of(*address) == self.family {
                self.add(self.sets.nodeport_ips, Element::new(&octets(*address), Data::None));
            }
        }
    }

    /// A rule that asks for masquerading.
    fn ask(&mut self, chain: ChainId, mut matches: Vec<Match>, comment: Option<&str>) {
        let comment = comment.map(|c| self.b.comment(c));
        let target = match self.is_old() {
            true => Target::Verdict(Verdict::Jump(self.b.chain(name::MARK))),
            false => {
                matches.push(mark());
                Target::None
            }
        };
        matches.extend(comment);
        self.b.rule(chain, matches, target);
    }

    fn masquerading_of_1_30(&mut self) {
        let asks = self.b.chain(name::MARK);
        self.b.rule(asks, vec![mark()], Target::None);
        let chain = self.b.chain("masquerading");
        let unmarked = Match::Mark { mark: 0, mask: MASQUERADE_MARK, invert: false };
        self.b.rule(chain, vec![unmarked], Target::Verdict(Verdict::Return));
        self.b.rule(chain, vec![unmark()], Target::None);
        self.b.rule(chain, Vec::new(), masquerade());
    }

    fn masquerading(&mut self) {
        let chain = self.b.chain("masquerading");
        let marked = Match::Mark { mark: 0, mask: MASQUERADE_MARK, invert: true };
        self.b.rule(chain, vec![marked, unmark()], masquerade());
        let mut status = Load::new(Field::Ct { key: ct::STATUS, direction: None }, 4);
        status.ops.push(Op::Bitwise { mask: Box::new(0x20u32.to_ne_bytes()), xor: Box::new([0; 4]) });
        let translated =
            native(vec![status], Test::Compare { op: Comparison::NotEqual, value: Box::new([0; 4]) });
        let key = vec![self.saddr(), self.daddr(), l4proto(), dport()];
        if let Some(set) = self.sets.hairpin {
            let hairpin = native(key, Test::Set { set, invert: false });
            self.b.rule(chain, vec![translated, hairpin], masquerade());
        }
    }

    fn service(&mut self, service: &Service, svc: &ServiceName, options: &WriteOptions) {
        let base = chain_base(svc, service.protocol);
        let under = |policy| -> Vec<&Backend> {
            service.backends.iter().filter(|b| b.traffic_policies.contains(policy)).collect()
        };
        let (cluster, local) = (under(TrafficPolicy::Cluster), under(TrafficPolicy::Local));
        let has_endpoints = !service.backends.is_empty();
        let (to_cluster, to_local) = (format!("{}{base}", name::SERVICE), format!("{}{base}", name::LOCAL));
        let to_external = format!("{}{base}", name::EXTERNAL);
        let is_external = |f: &Frontend| f.kind.is_none_or(|k| k != FrontendKind::ClusterIp);
        for f in &service.frontends {
            self.refusal(service, svc, f);
            if let (Some(address), Some(FrontendKind::ClusterIp)) = (f.address, f.kind) {
                self.add(self.sets.cluster_ips, Element::new(&octets(address), Data::None));
            }
            if !has_endpoints {
                continue;
            }
            let to = match (is_external(f), f.traffic_policy) {
                (true, _) => &to_external,
                (false, Some(TrafficPolicy::Local)) => &to_local,
                (false, _) => &to_cluster,
            };
            if !is_external(f) && f.action != Action::Balance {
                continue;
            }
            let chain = self.b.chain(to);
            let goto = Data::Verdict(Verdict::Goto(chain));
            match f.kind {
                Some(FrontendKind::NodePort) => {
                    let key = port_key(service.protocol, f.port);
                    self.add(self.sets.service_nodeports, Element::new(&key, goto));
                }
                _ => {
                    if let Some(address) = f.address {
                        let key = destination_key(address, service.protocol, f.port);
                        self.add(self.sets.service_ips, Element::new(&key, goto));
                    }
                }
            }
            if let (Some(address), Some(ranges)) = (f.address, &f.source_ranges) {
                self.firewall(&base, address, service.protocol, f.port, ranges);
            }
        }
        if has_endpoints && service.frontends.iter().any(is_external) {
            let local_policy = service
                .frontends
                .iter()
                .any(|f| is_external(f) && f.traffic_policy == Some(TrafficPolicy::Local));
            let to = (&to_cluster[..], &to_local[..]);
            self.external(&to_external, to, local_policy, !local.is_empty(), options);
        }
        for (chain, backends) in [(&to_cluster, &cluster), (&to_local, &local)] {
            if !backends.is_empty() {
                if self.is_old() {
                    let cluster_ip = |f: &&Frontend| !is_external(f) && f.action == Action::Balance;
                    let to = |f: &Frontend| match f.traffic_policy {
                        Some(TrafficPolicy::Local) => &to_local,
                        _ => &to_cluster,
                    };
                    for f in service.frontends.iter().filter(cluster_ip).filter(|f| to(f) == chain) {
                        self.outsiders(service, f, chain, options);
                    }
                }
                self.balance(service, svc, chain, backends);
            }
        }
        if service.session_affinity.is_some() || self.is_old() {
            self.endpoints(service, svc);
        }
        for b in service.backends.iter().filter(|b| b.local == Some(true)) {
            let ip = octets(b.address);
            let key = [&ip[..], &ip, &port_key(service.protocol, b.port)].concat();
            if let Some(set) = self.sets.hairpin {
                self.add(set, Element::new(&key, Data::None));
            }
        }
    }

    fn refusal(&mut self, service: &Service, svc: &ServiceName, f: &Frontend) {
        let data = match f.action {
            Action::Balance => return,
            Action::Reject => Data::Verdict(Verdict::Goto(self.b.chain("reject-chain"))),
            Action::Drop => Data::Verdict(Verdict::Drop),
        };
        let comment = Some(self.b.strings.intern(&svc.to_string()));
        match (f.kind, f.address) {
            (Some(FrontendKind::NodePort), _) => {
                let key = port_key(service.protocol, f.port);
                self.add(self.sets.no_endpoint_nodeports, Element { comment, ..Element::new(&key, data) });
            }
            (_, Some(address)) => {
                let key = destination_key(address, service.protocol, f.port);
                self.add(self.sets.no_endpoint_services, Element { comment, ..Element::new(&key, data) });
            }
            _ => {}
        }
    }

    fn firewall(&mut self, base: &str, address: IpAddr, protocol: Protocol, port: u16, ranges: &[IpNet]) {
        let full = format!("{}{base}", name::FIREWALL);
        let known = self.b.has_chain(&full);
        let chain = self.b.chain(&full);
        let key = destination_key(address, protocol, port);
        self.add(self.sets.firewall_ips, Element::new(&key, Data::Verdict(Verdict::Goto(chain))));
        // One chain serves all load balancer addresses of the Service.
        if known {
            return;
        }
        let outside = match ranges {
            [net] => Match::source(*net, true),
            _ => {
                let set = self.range_set(ranges);
                native(vec![self.saddr()], Test::Set { set, invert: true })
            }
        };
        self.b.rule(chain, vec![outside], Target::Verdict(Verdict::Drop));
    }

    /// A set without a name: `{ 10.0.0.0/8, 192.0.2.0/24 }`.
    fn range_set(&mut self, ranges: &[IpNet]) -> SetId {
        let (key_type, key_len) = address_type(self.family);
        let bytes = |n: u128| n.to_be_bytes()[16 - key_len as usize..].to_vec();
        let mut elements = Vec::new();
        // The kernel's tree begins with the end of "nothing so far".
        if ranges.iter().all(|r| ends(*r).0 != 0) {
            elements.push(Element { end: true, ..Element::new(&bytes(0), Data::None) });
        }
        for (from, next) in merged(ranges) {
            elements.push(Element::new(&bytes(from), Data::None));
            if let Some(next) = next {
                elements.push(Element { end: true, ..Element::new(&bytes(next), Data::None) });
            }
        }
        let id = self.b.strings.intern("__set%d");
        let flags = set_flag::ANONYMOUS | set_flag::CONSTANT | set_flag::INTERVAL;
        self.b.set(Set {
            key_type,
            key_len,
            count: Some(elements.iter().filter(|e| !e.end).count() as u64),
            user_data: byte_order(2).into(),
            elements: Some(elements),
            ..Set::new(id, flags)
        })
    }

    fn external(
        &mut self,
        chain: &str,
        (to_cluster, to_local): (&str, &str),
        local_policy: bool,
        has_local: bool,
        options: &WriteOptions,
    ) {
        let chain = self.b.chain(chain);
        let goto = |w: &mut Writer, to: &str| Target::Verdict(Verdict::Goto(w.b.chain(to)));
        if !local_policy {
            let comment = (!self.is_old()).then_some("masquerade");
            self.ask(chain, Vec::new(), comment);
            let to = goto(self, to_cluster);
            self.b.rule(chain, Vec::new(), to);
            return;
        }
        if let Some(net) = options.cluster_cidr {
            let comment = self.b.comment("short-circuit pod traffic");
            let to = goto(self, to_cluster);
            self.b.rule(chain, vec![Match::source(net, false), comment], to);
        }
        let local = || {
            // NFTA_FIB_F_SADDR, NFT_FIB_RESULT_ADDRTYPE; RTN_LOCAL
            let load = Load::new(Field::Fib { result: 3, flags: 1 }, 4);
            native(vec![load], Test::Compare { op: Comparison::Equal, value: Box::new(2u32.to_ne_bytes()) })
        };
        self.ask(chain, vec![local()], Some("masquerade local traffic"));
        let comment = self.b.comment("short-circuit local traffic");
        let to = goto(self, to_cluster);
        self.b.rule(chain, vec![local(), comment], to);
        if has_local {
            let to = goto(self, to_local);
            self.b.rule(chain, Vec::new(), to);
        }
    }

    /// Masquerading of those outside the cluster (until 1.35 in the Service's own chain).
    fn outsiders(&mut self, service: &Service, f: &Frontend, chain: &str, options: &WriteOptions) {
        let (Some(net), Some(address)) = (options.cluster_cidr, f.address) else { return };
        let chain = self.b.chain(chain);
        let number = u16::from(service.protocol.number());
        let port = Test::Compare { op: Comparison::Equal, value: Box::new(f.port.to_be_bytes()) };
        let mut matches = vec![Match::destination(IpNet::host(address), false)];
        if self.version < WITHOUT_PORT {
            matches.push(Match::Protocol { number, invert: false });
            matches.push(native(vec![dport()], port));
        }
        matches.push(Match::source(net, true));
        self.ask(chain, matches, None);
    }

    fn balance(&mut self, service: &Service, svc: &ServiceName, chain: &str, backends: &[&Backend]) {
        let chain = self.b.chain(chain);
        let numgen = Load::new(Field::Numgen { random: true, modulus: backends.len() as u32, offset: 0 }, 4);
        let remembers = service.session_affinity.is_some();
        if remembers || self.is_old() {
            let mut chosen = Vec::new();
            for b in backends {
                let base = endpoint_base(svc, service.protocol, b.address, b.port);
                let endpoint = self.b.chain(&format!("{}{base}", name::ENDPOINT));
                let goto = Verdict::Goto(endpoint);
                if remembers {
                    let set = self.affinity_set(&base, service);
                    let known = native(vec![self.saddr()], Test::Set { set, invert: false });
                    self.b.rule(chain, vec![known], Target::Verdict(goto));
                }
                chosen.push(Data::Verdict(goto));
            }
            let set = self.numbered(chosen, (VERDICT_DATA, 16));
            self.vmap(chain, Vec::new(), vec![numgen], set);
            return;
        }
        let (addr, width) = address_type(self.family);
        let data = |b: &&Backend| Data::Value([&octets(b.address)[..], &padded(b.port)].concat().into());
        let set = self.numbered(
            backends.iter().map(data).collect(),
            (concat(&[addr, data_type::INET_SERVICE]), width + 4),
        );
        let mapped = |offset: u32, len: u32| {
            let m = Mapped { key: vec![numgen.clone()], set, offset };
            let load = Load::new(Field::Mapped(Box::new(m)), len);
            Some((load.clone(), load))
        };
        let nat = Terminal::Nat {
            destination: true,
            family: if self.family == IpFamily::V4 { 2 } else { 10 },
            addr: mapped(0, width),
            port: mapped(width, 2),
            flags: 0,
        };
        let number = u16::from(service.protocol.number());
        let matches = vec![Match::Protocol { number, invert: false }];
        self.b.rule(chain, matches, Target::Native(Box::new(nat)));
    }

    /// A map without a name from 0, 1, 2 … to data of this type and length: `{ 0 : goto …, 1 : goto … }`.
    fn numbered(&mut self, data: Vec<Data>, (data_type, data_len): (u32, u32)) -> SetId {
        let id = self.b.strings.intern("__map%d");
        self.b.set(Set {
            key_type: data_type::INTEGER,
            key_len: 4,
            data_type,
            data_len,
            count: Some(data.len() as u64),
            user_data: byte_order(1).into(),
            elements: Some(
                data.into_iter().zip(0u32..).map(|(d, i)| Element::new(&i.to_ne_bytes(), d)).collect(),
            ),
            ..Set::new(id, set_flag::ANONYMOUS | set_flag::CONSTANT | set_flag::MAP)
        })
    }

    /// The set of an endpoint's clients, made where it is not there yet.
    fn affinity_set(&mut self, endpoint: &str, service: &Service) -> SetId {
        let id = self.b.strings.intern(&format!("{}{endpoint}", name::AFFINITY));
        if let Some(known) = self.affinity.get(&id) {
            return *known;
        }
        let seconds = service.session_affinity.map_or(Affinity::DEFAULT_S, Affinity::seconds_or_default);
        let (key_type, key_len) = address_type(self.family);
        let set = self.b.set(Set {
            key_type,
            key_len,
            timeout_ms: Some(u64::from(seconds) * 1000),
            size: Some(65_535),
            count: Some(0),
            user_data: byte_order(2).into(),
            elements: None,
            ..Set::new(id, set_flag::EVAL | set_flag::TIMEOUT)
        });
        self.affinity.insert(id, set);
        set
    }

    fn endpoints(&mut self, service: &Service, svc: &ServiceName) {
        for b in &service.backends {
            let base = endpoint_base(svc, service.protocol, b.address, b.port);
            let chain = self.b.chain(&format!("{}{base}", name::ENDPOINT));
            if self.is_old() {
                self.ask(chain, vec![Match::source(IpNet::host(b.address), false)], None);
            }
            if service.session_affinity.is_some() {
                let remember = Statement::Dynset {
                    op: 1, // NFT_DYNSET_OP_UPDATE
                    set: self.affinity_set(&base, service),
                    key: vec![self.saddr()],
                    data: Vec::new(),
                    timeout_ms: None,
                    flags: 0,
                    carries: Vec::new(),
                    does: Vec::new(),
                };
                self.b.rule(chain, vec![Match::Does(Box::new(remember))], Target::None);
            }
            let number = u16::from(service.protocol.number());
            let matches = vec![Match::Protocol { number, invert: false }];
            self.b.rule(chain, matches, Target::dnat_to(b.address, b.port, 2));
        }
    }
}
