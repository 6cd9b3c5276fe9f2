//! What would behave differently after a move to another mode: found on this node, each with its reason and source.
//!
//! Sources: kube-proxy's documentation ("Virtual IPs and Service Proxies"), KEP-3866 (nftables mode), KEP-5343 (which
//! mode is the default), KEP-5495 (the end of ipvs mode), and kube-proxy's code where it is named.

use crate::format::plural;
use crate::proxy::{
    Frontend, FrontendKind, Mode, Model, Service, State, chain as names, chain_owner, frontend_text,
    nftables, node_address, node_addresses, owners,
};
use crate::ruleset::{ChainId, Dialect, Hook, IpFamily, Match, RuleId, Table, Target, Verdict};
use crate::snapshot::facts::ANY_ROUTE_LOCALNET;
use crate::snapshot::{Snapshot, SourceId};
use std::collections::BTreeSet;
use std::net::IpAddr;

/// One thing that changes with a move.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// Stable name.
    pub id: &'static str,
    /// True where the move cannot be made as things are.
    pub blocks: bool,
    /// One line.
    pub title: String,
    /// What on this node says so.
    pub evidence: Vec<String>,
    /// Why it changes, and what to do.
    pub reason: &'static str,
    /// Where that is written.
    pub source: &'static str,
}

const DOCS: &str = "kubernetes.io: Virtual IPs and Service Proxies";
const KEP_NFTABLES: &str = "KEP-3866 (nftables mode)";
const KEP_IPVS: &str = "KEP-5495 (ipvs mode is deprecated)";
const KEP_EXTERNAL_IPS: &str = "KEP-5707 (externalIPs are deprecated)";
const KEP_DEFAULT: &str = "KEP-5343 (kube-proxy's default mode)";

/// Lines of evidence beyond which the rest is only counted.
const MOST: usize = 8;

fn some(mut lines: Vec<String>) -> Vec<String> {
    if lines.len() > MOST {
        let more = lines.len() - MOST;
        lines.truncate(MOST);
        lines.push(format!("… and {more} more"));
    }
    lines
}

struct Move<'a> {
    snapshot: &'a Snapshot,
    model: &'a Model,
    to: Mode,
    found: Vec<Difference>,
}

/// Everything that a move to `to` would change on this node. Empty where the mode is active already.
pub fn moving(snapshot: &Snapshot, model: &Model, to: Mode) -> Vec<Difference> {
    let mut m = Move { snapshot, model, to, found: Vec::new() };
    let from: BTreeSet<Mode> =
        model.services.modes.iter().filter(|m| m.state == State::Active).map(|m| m.engine.mode()).collect();
    if from.contains(&to) && from.len() == 1 {
        return Vec::new();
    }
    m.kernel();
    m.other_programs();
    m.marks();
    if to == Mode::Nftables {
        m.localhost_node_ports();
        m.node_port_addresses();
        m.invalid_cluster_ports();
    }
    if from.contains(&Mode::Nftables) {
        m.leaving_nftables();
    }
    if from.contains(&Mode::Ipvs) {
        m.leaving_ipvs();
    }
    if to == Mode::Ipvs {
        m.entering_ipvs();
    }
    if to == Mode::Iptables {
        m.entering_iptables();
    }
    m.affinity();
    m.removals();
    m.find_stale();
    m.found.sort_by_key(|d| !d.blocks);
    m.found
}

/// `6.1.0-13-amd64` as (6, 1).
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(|c: char| !c.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

impl<'a> Move<'a> {
    fn add(
        &mut self,
        id: &'static str,
        title: impl Into<String>,
        evidence: Vec<String>,
        reason: &'static str,
        source: &'static str,
    ) {
        let (title, evidence) = (title.into(), some(evidence));
        self.found.push(Difference { id, blocks: false, title, evidence, reason, source });
    }

    fn services(&self) -> impl Iterator<Item = &'a Service> + use<'a> {
        self.model.services.iter().filter(|s| !s.stale)
    }

    fn kernel(&mut self) {
        let kernel = self.snapshot.node.kernel.clone().unwrap_or_default();
        if self.to == Mode::Nftables && version(&kernel).is_some_and(|v| v < (5, 13)) {
            self.add(
                "kernel-too-old",
                "This kernel is too old for nftables mode",
                vec![format!("kernel {kernel}")],
                "nftables mode needs Linux 5.13; kube-proxy refuses to start on an older one. Update the kernel first.",
                KEP_NFTABLES,
            );
            if let Some(last) = self.found.last_mut() {
                last.blocks = true;
            }
        }
        if self.to == Mode::Ipvs && self.snapshot.ipvs.is_none() {
            self.add(
                "no-ipvs",
                "This kernel has no IPVS loaded",
                self.snapshot
                    .unread
                    .iter()
                    .filter(|u| u.source == SourceId::Ipvs)
                    .map(|u| u.why.clone())
                    .collect(),
                "kube-proxy falls back to iptables mode, or does not start, without ip_vs, ip_vs_rr, ip_vs_wrr and ip_vs_sh. \
                 Load them first (modprobe), at every boot.",
                DOCS,
            );
            if let Some(last) = self.found.last_mut() {
                last.blocks = true;
            }
        }
    }

    /// What later versions of Kubernetes take away, as far as it is used here.
    fn removals(&mut self) {
        let services = self.services().filter(|s| s.engine.mode() == Mode::Ipvs).count();
        if services > 0 {
            self.add(
                "ipvs-goes",
                "ipvs mode goes away: deprecated since 1.35, gone with 1.43",
                vec![format!("{} in ipvs mode here", plural(services as u64, "Service port"))],
                "From 1.40 on it is behind a feature gate that is off, and 1.43 has it no more. nftables mode takes its place.",
                KEP_IPVS,
            );
        }
        let external = |f: &&Frontend| f.kind == Some(FrontendKind::ExternalIp);
        let at = |s: &Service| {
            let all: Vec<String> = s.frontends.iter().filter(external).map(frontend_text).collect();
            (!all.is_empty()).then(|| format!("{}: {}", s.label(), all.join(", ")))
        };
        let used: Vec<String> = self.services().filter_map(at).collect();
        if !used.is_empty() {
            self.add(
                "external-ips-go",
                "externalIPs of Services go away: deprecated since 1.36, off from 1.40 on",
                used,
                "No mode serves them then. A load balancer that announces addresses, a Gateway or an Ingress takes their place.",
                KEP_EXTERNAL_IPS,
            );
        }
    }

    fn node_ports(&self) -> Vec<(&'a Service, u16)> {
        let mut all = Vec::new();
        for s in self.services() {
            for f in s.frontends.iter().filter(|f| f.kind == Some(FrontendKind::NodePort)) {
                if !all.iter().any(|(o, p): &(&Service, u16)| *p == f.port && o.protocol == s.protocol) {
                    all.push((s, f.port));
                }
            }
        }
        all
    }

    fn localhost_node_ports(&mut self) {
        let localnet = self.snapshot.sysctls.get("net/ipv4/conf/all/route_localnet").map(String::as_str);
        let ports = self.node_ports();
        // Without it they do not answer there now either.
        let off = self.snapshot.sysctls.get(ANY_ROUTE_LOCALNET).is_some_and(|v| v == "0");
        if ports.is_empty() || off {
            return;
        }
        let used = self.snapshot.accounts.iter().flat_map(|a| a.value.iter());
        let used = used.filter(|a| a.name == "localhost_nps_accepted_pkts").map(|a| a.counter.packets).next();
        let mut evidence = Vec::new();
        if let Some(n) = used {
            evidence.push(format!("nfacct localhost_nps_accepted_pkts: {}", plural(n, "packet")));
        }
        for flow in self.flows_to_loopback(&ports) {
            evidence.push(flow);
        }
        if localnet == Some("1") {
            evidence.push("net.ipv4.conf.all.route_localnet = 1, as kube-proxy sets it for this".into());
        }
        evidence.push(format!("{} on this node", plural(ports.len() as u64, "node port")));
        let title = match used {
            Some(n) if n > 0 => "Node ports are used on localhost, and will not answer there",
            _ => "Node ports will not answer on 127.0.0.1",
        };
        self.add(
            "localhost-node-ports",
            title,
            evidence,
            "nftables mode does not serve node ports on 127.0.0.1, nor set route_localnet. Whoever asks there (image \
             registries reached as localhost:PORT are the usual case) must ask a node address instead. From 1.37 on a process of \
             kube-proxy's may serve them there, behind a feature gate (KEP-6032).",
            KEP_NFTABLES,
        );
        if localnet == Some("1") {
            self.add(
                "route-localnet",
                "route_localnet stays on until someone sets it back",
                vec!["net.ipv4.conf.all.route_localnet = 1".into()],
                "kube-proxy set it for node ports on localhost and does not take it back. With it packets for 127.0.0.0/8 may \
                 come in from the network (CVE-2020-8558): set it to 0 after the move, if nothing else needs it.",
                "pkg/proxy/iptables/proxier.go; CVE-2020-8558",
            );
        }
    }

    fn flows_to_loopback(&self, ports: &[(&Service, u16)]) -> Vec<String> {
        let flows = self.snapshot.conntrack.iter().filter_map(|c| c.flows.as_ref());
        let mut found = Vec::new();
        for (key, figures) in flows.flat_map(|f| &f.value.groups) {
            if key.frontend.is_loopback()
                && ports.iter().any(|(s, p)| *p == key.frontend_port && s.protocol.number() == key.protocol)
            {
                let to = crate::proxy::endpoint_text(key.frontend, key.frontend_port);
                found.push(format!("conntrack holds {} to {to}", plural(u64::from(figures.flows), "flow")));
            }
        }
        found
    }

    fn node_port_addresses(&mut self) {
        if self.node_ports().is_empty() {
            return;
        }
        let mut lost = Vec::new();
        for family in [IpFamily::V4, IpFamily::V6] {
            let primary = node_address(self.snapshot, family);
            let before = lost.len();
            // What is configured holds in each mode.
            let config = self.snapshot.proxy_config();
            let is_set = |a: IpAddr| config.is_some_and(|c| c.serves_node_ports_on(a, false).is_some());
            let others = node_addresses(self.snapshot, family)
                .filter(|a| Some(a.address) != primary && !is_set(a.address));
            lost.extend(others.map(|a| format!("{} on {}", a.address, a.interface)));
            if let Some(primary) = primary.filter(|_| lost.len() > before) {
                lost.insert(before, format!("{primary} is taken for the primary one; not these:"));
            }
        }
        if lost.is_empty() {
            return;
        }
        self.add(
            "node-port-addresses",
            "Node ports will answer on the node's primary address only",
            lost,
            "The other modes serve node ports on every address of the node; nftables mode only on the primary one, unless \
             --nodeport-addresses says otherwise. Clients and load balancers that use these addresses must be informed, or the \
             flag set.",
            KEP_NFTABLES,
        );
    }

    fn invalid_cluster_ports(&mut self) {
        let n = self.services().count();
        if n == 0 {
            return;
        }
        self.add(
            "cluster-ip-ports",
            "Ports of cluster IPs that are no Service's are rejected",
            vec![format!("{} with cluster IPs", plural(n as u64, "Service port"))],
            "In nftables mode such packets are rejected at once, and those to cluster IPs that no Service has are dropped; in \
             iptables mode they leave the node by its default route. Probes that wait for a timeout will see a refusal.",
            KEP_NFTABLES,
        );
    }

    /// Rules of others that lead into kube-proxy's chains, or run before them.
    fn other_programs(&mut self) {
        let (mut jumps, mut before) = (Vec::new(), Vec::new());
        for t in &self.snapshot.tables {
            let table = &*t.table;
            for (i, rule) in table.rules.iter().enumerate() {
                let id = RuleId(i as u32);
                let (Some(to), Some(chain)) = (table.jump_of(rule), table.chain_of(id)) else { continue };
                if leads_in(table, chain, to, rule) {
                    let text = table.rule_text(rule);
                    jumps.push(format!(
                        "{} {} {}: {text}",
                        table.family,
                        table.name,
                        table.chain_name(chain)
                    ));
                }
            }
            for chain in &table.chains {
                let Some(base) = chain.base.filter(|_| !chain.rules.is_empty()) else { continue };
                let service_hooks = [Hook::Prerouting, Hook::Output, Hook::Forward];
                let foreign = owners(table).iter().any(|o| *o != "kube-proxy" && *o != "kubelet")
                    || (table.dialect == Dialect::Nft && table.name != nftables::TABLE);
                let drops = chain.rules.clone().any(|r| {
                    matches!(
                        table.rule(RuleId(r)).target,
                        Target::Verdict(Verdict::Drop | Verdict::Jump(_) | Verdict::Goto(_))
                            | Target::Reject { .. }
                    )
                });
                if foreign && drops && service_hooks.contains(&base.hook) {
                    let whose = owners(table).join(", ");
                    let whose = if whose.is_empty() { "unknown".into() } else { whose };
                    before.push(format!(
                        "{} {} {} ({}, priority {}): {whose}",
                        table.family,
                        table.name,
                        table.str(chain.name),
                        base.hook.name(),
                        base.priority
                    ));
                }
            }
        }
        if !jumps.is_empty() {
            self.add(
                "jumps-into-kube-chains",
                "Rules of other programs jump into kube-proxy's chains",
                jumps,
                "These chains are kube-proxy's own and go with the mode: the rules would fail to load, or lead nowhere. \
                 Rewrite them to mark or to masquerade by themselves.",
                KEP_NFTABLES,
            );
        }
        if !before.is_empty() {
            self.add(
                "other-hooks",
                "Other programs filter on the hooks that Service traffic passes",
                before,
                "The rules of another mode hang on the hooks at other priorities (nftables mode: filter at -110 and 0, dnat at \
                 -100, all in a table of its own): what another program accepts no longer skips kube-proxy's filters, and it \
                 may see addresses before or after translation differently. Compare `kptop explain` before and after.",
                KEP_NFTABLES,
            );
        }
    }

    /// Others that set or read kube-proxy's mark.
    fn marks(&mut self) {
        let mut users = Vec::new();
        let ours = self.snapshot.proxy_config().cloned().unwrap_or_default().masquerade_mark();
        for t in &self.snapshot.tables {
            let table = &*t.table;
            for (i, rule) in table.rules.iter().enumerate() {
                let marks = match &rule.target {
                    Target::Mark { mark, .. } => mark & ours != 0,
                    _ => false,
                } || table
                    .matches_of(rule)
                    .iter()
                    .any(|m| matches!(m, Match::Mark { mark, mask, .. } if mark & mask & ours != 0));
                let Some(chain) = table.chain_of(RuleId(i as u32)).filter(|_| marks) else { continue };
                let own = chain_owner(table, chain) == Some("kube-proxy")
                    || names::is_own(table.chain_name(chain))
                    || table.name == nftables::TABLE;
                if !own {
                    users.push(format!(
                        "{} {} {}: {}",
                        table.family,
                        table.name,
                        table.chain_name(chain),
                        table.rule_text(rule)
                    ));
                }
            }
        }
        if !users.is_empty() {
            self.add(
                "masquerade-mark",
                format!("Other programs use the mark {ours:#x} by which kube-proxy masquerades"),
                users,
                "The mark is kube-proxy's own affair and may be taken or cleared at another place in another mode.",
                DOCS,
            );
        }
    }

    fn leaving_nftables(&mut self) {
        let is_set = self.snapshot.proxy_config().is_some_and(|c| !c.node_port_addresses.is_empty());
        if !self.node_ports().is_empty() && !is_set {
            self.add(
                "node-ports-everywhere",
                "Node ports will answer on every address of the node",
                self.node_ports().iter().take(MOST).map(|(s, p)| format!("{}: {p}", s.label())).collect(),
                "nftables mode serves them on the node's primary address only; the other modes on all, iptables mode on \
                 127.0.0.1 too. Look at what these addresses are open to, or set --nodeport-addresses.",
                KEP_NFTABLES,
            );
        }
        self.add(
            "cluster-ip-ports",
            "Ports of cluster IPs that are no Service's are no longer rejected",
            Vec::new(),
            "nftables mode rejects them; iptables mode lets such packets leave the node by its default route.",
            KEP_NFTABLES,
        );
    }

    fn leaving_ipvs(&mut self) {
        let mut schedulers = Vec::new();
        let mut weights = Vec::new();
        for s in self.services().filter(|s| s.engine.mode() == Mode::Ipvs) {
            if let Some(name) = s.scheduler.as_deref().filter(|n| *n != "rr") {
                schedulers.push(format!("{}: {name}", s.label()));
            }
            let all: BTreeSet<u32> = s.backends.iter().filter_map(|b| b.weight).collect();
            if all.len() > 1 || all.contains(&0) {
                let each: Vec<String> = s
                    .backends
                    .iter()
                    .map(|b| format!("{} weight {}", b.address, b.weight.unwrap_or(1)))
                    .take(4)
                    .collect();
                weights.push(format!("{}: {}", s.label(), each.join(", ")));
            }
        }
        if !schedulers.is_empty() {
            self.add(
                "ipvs-schedulers",
                "Schedulers that no other mode has",
                schedulers,
                "iptables and nftables mode draw a backend at random for each flow. Least connections, hashing by source and \
                 their kin are lost: what depends on them needs a load balancer of its own.",
                KEP_IPVS,
            );
        }
        if !weights.is_empty() {
            self.add(
                "ipvs-weights",
                "Weights that no other mode has",
                weights,
                "Other modes give every endpoint the same share; one of weight 0 would get its share again. kube-proxy itself \
                 only sets weight 1, and 0 to drain.",
                KEP_IPVS,
            );
        }
        let dummy: Vec<String> = self
            .snapshot
            .addresses
            .iter()
            .filter(|a| a.interface == crate::proxy::ipvs::DUMMY)
            .map(|a| a.address.to_string())
            .collect();
        if !dummy.is_empty() {
            self.add(
                "kube-ipvs0",
                "Service addresses will no longer be addresses of the node",
                vec![format!("{} of them are on kube-ipvs0", dummy.len())],
                "ipvs mode puts them on kube-ipvs0: they answer to ping, and processes may listen there. In other modes they \
                 are on no interface. The interface must be gone after the move (`ip link delete kube-ipvs0`).",
                DOCS,
            );
        }
        self.add(
            "ipvs-connections",
            "Connections that IPVS holds break",
            Vec::new(),
            "IPVS keeps its own table of connections and forwards every packet of them. When kube-proxy flushes it, packets of \
             open connections to Services go nowhere: drain the node first.",
            KEP_IPVS,
        );
    }

    fn entering_ipvs(&mut self) {
        self.add(
            "ipvs-deprecated",
            "ipvs mode is deprecated",
            Vec::new(),
            "Kubernetes 1.35 deprecates it; it will be removed. nftables mode gives the same lookup without a list.",
            KEP_IPVS,
        );
        self.add(
            "addresses-on-the-node",
            "Service addresses become addresses of the node",
            Vec::new(),
            "They are put on kube-ipvs0: a process that listens on all addresses is reachable there (until 1.25 on every port; \
             since then a filter rejects those that are no Service's), and other nodes' addresses must not be among them.",
            "kubernetes/kubernetes#72236, #108460",
        );
    }

    fn entering_iptables(&mut self) {
        let n = self.services().count();
        if n >= 1_000 {
            self.add(
                "linear",
                "Lookups become linear in the number of Services",
                vec![plural(n as u64, "Service port")],
                "iptables mode asks KUBE-SERVICES rule by rule for the first packet of each flow: see the figures of `kptop \
                 compare`.",
                KEP_DEFAULT,
            );
        }
        if !self.node_ports().is_empty() {
            self.add(
                "route-localnet-on",
                "kube-proxy will set route_localnet = 1",
                Vec::new(),
                "For node ports on 127.0.0.1; it opens the node's localhost services to neighbours unless KUBE-FIREWALL is in \
                 place. --iptables-localhost-nodeports=false leaves it off.",
                "CVE-2020-8558; kube-proxy's flags",
            );
        }
    }

    fn affinity(&mut self) {
        let sticky: Vec<String> = self
            .services()
            .filter_map(|s| Some(format!("{} ({})", s.label(), s.session_affinity?)))
            .collect();
        if !sticky.is_empty() {
            self.add(
                "affinity",
                "Clients with session affinity may come to another backend, once",
                sticky,
                "Each mode remembers clients in its own way (xt_recent lists, sets of nftables, templates of IPVS), and none \
                 takes the other's over. Open connections stay where they are.",
                DOCS,
            );
        }
    }

    fn find_stale(&mut self) {
        let mut lines = Vec::new();
        for m in &self.model.services.modes {
            let what = match m.engine.variant() {
                Some(v) => format!("{} ({})", m.engine.mode().name(), v.name()),
                None => m.engine.mode().name().to_string(),
            };
            let state = if m.state == State::Stale { ", stale already" } else { "" };
            if m.engine.mode() != self.to {
                let rules = plural(m.rules as u64, "rule");
                let held = match m.engine.mode() {
                    Mode::Ipvs => format!("{} and {rules}", plural(m.services as u64, "virtual server")),
                    _ => rules,
                };
                lines.push(format!("{what}, {}: {held}{state}", m.family));
            }
        }
        if !lines.is_empty() {
            self.add(
                "clean-up",
                "What the present mode leaves behind",
                lines,
                "At its start in nftables mode kube-proxy takes away the rules of iptables and ipvs mode, and reversed; \
                 between iptables and ipvs mode it takes nothing away (1.29 to 1.36; older ones none at all). Otherwise run \
                 `kube-proxy --cleanup`, or boot the node again; then look at `kptop` for what is stale.",
                "cmd/kube-proxy/app/server_linux.go (platformCleanup)",
            );
        }
    }
}

/// True where a rule outside of kube-proxy's own jumps into one of its chains.
fn leads_in(table: &Table, chain: ChainId, to: ChainId, rule: &crate::ruleset::Rule) -> bool {
    if table.dialect != Dialect::Iptables || !names::is_own(table.chain_name(to)) {
        return false;
    }
    let from = table.chain_name(chain);
    // kube-proxy's and the kubelet's own jumps are in base chains, with comments that say "kubernetes", or lead to
    // KUBE-FIREWALL and KUBE-IPVS-… without one.
    let own = names::is_own(from)
        || table.comment_of(rule).is_some_and(|c| c.starts_with("kubernetes") || c.starts_with("kube-proxy"))
        || [names::FIREWALL, names::KUBELET_CANARY].contains(&table.chain_name(to));
    !own
}
