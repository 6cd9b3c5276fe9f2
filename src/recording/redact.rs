//! Names and addresses replaced, each always by the same, for a recording that is given away.
//!
//! Addresses that have their first bits in common keep as many in common (as Crypto-PAn does it), so that a pod stays in its
//! node's network and rules mean what they meant; of IPv4 the first 8 bits stay (so that a private address stays private),
//! of IPv6 the first 16. Names become words made of a keyed hash. The key is drawn again for each recording and kept nowhere.

use crate::ruleset::{IpFamily, IpNet, L4Endpoint, Rewrite, Table};
use crate::snapshot::facts::{
    BpfMap, Cluster, ClusterService, InterfaceAddress, KubeProxy, Route, VirtualAddress, Ways,
};
use crate::snapshot::{FlowKey, Flows, Hns, MemoryList, Snapshot, with_addresses};
use sha2::{Digest, Sha256};
use std::cell::RefCell;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

/// Words that say nothing of whose they are: namespaces that every cluster has, and ports that many have.
const PLAIN: [&str; 18] = [
    "default",
    "kube-system",
    "kube-public",
    "kubernetes",
    "kube-dns",
    "http",
    "https",
    "grpc",
    "dns",
    "dns-tcp",
    "metrics",
    "tcp",
    "udp",
    "sctp",
    "web",
    "api",
    "admin",
    "health",
];

/// Replaces names and addresses.
#[derive(Debug)]
pub struct Redactor {
    key: [u8; 32],
    addresses: RefCell<HashMap<IpAddr, IpAddr>>,
    /// What was rewritten last: tables and objects that do not change stay the same objects.
    tables: RefCell<Vec<(Arc<Table>, Arc<Table>)>>,
    cluster: Last<Cluster>,
    maps: Last<Vec<BpfMap>>,
    hns: Last<Hns>,
}

/// An object as it was read, and with other names and addresses.
type Last<T> = RefCell<Option<(Arc<T>, Arc<T>)>>;

/// The same object for the same object.
fn kept<T>(last: &Last<T>, old: &Arc<T>, redacted: impl FnOnce(&T) -> T) -> Arc<T> {
    if let Some((known, new)) = &*last.borrow()
        && Arc::ptr_eq(known, old)
    {
        return new.clone();
    }
    let new = Arc::new(redacted(old));
    last.replace(Some((old.clone(), new.clone())));
    new
}

const ALPHABET: &[u8; 32] = b"abcdefghijklmnopqrstuvwxyz234567";

impl Redactor {
    /// With a key of its own.
    ///
    /// # Errors
    /// The system gave no random numbers.
    pub fn new() -> Result<Redactor, String> {
        let mut key = [0; 32];
        getrandom::fill(&mut key).map_err(|e| format!("drawing a key that nobody can guess: {e}"))?;
        Ok(Redactor::with_key(key))
    }

    /// With this key: two recordings with the same one have the same words.
    pub fn with_key(key: [u8; 32]) -> Redactor {
        Redactor {
            key,
            addresses: RefCell::default(),
            tables: RefCell::default(),
            cluster: RefCell::default(),
            maps: RefCell::default(),
            hns: RefCell::default(),
        }
    }

    fn hash(&self, what: &str, bytes: &[u8]) -> [u8; 32] {
        let mut h = Sha256::new();
        h.update(self.key);
        h.update(what.as_bytes());
        h.update([0]);
        h.update(bytes);
        h.finalize().into()
    }

    fn letters(&self, what: &str, text: &str, n: usize) -> String {
        let hash = self.hash(what, text.as_bytes());
        hash.iter().take(n).map(|b| char::from(ALPHABET[usize::from(b & 31)])).collect()
    }

    fn word(&self, what: &str, text: &str) -> String {
        match text.is_empty() || PLAIN.contains(&text) {
            true => text.to_string(),
            false => format!("{what}-{}", self.letters(what, text, 6)),
        }
    }

    fn endpoint(&self, e: L4Endpoint) -> L4Endpoint {
        L4Endpoint { address: self.address(e.address), ..e }
    }

    /// Another address in its place.
    pub fn address(&self, a: IpAddr) -> IpAddr {
        let special = a.is_loopback() || a.is_unspecified() || a.is_multicast();
        let (bits, keep) = match a {
            IpAddr::V4(v4) if v4.is_link_local() || v4.is_broadcast() => return a,
            IpAddr::V4(v4) => match v4.octets() {
                [192, 168, ..] => (32, 16),
                [172, 16..=31, ..] => (32, 12),
                [100, 64..=127, ..] => (32, 10),
                _ => (32, 8),
            },
            IpAddr::V6(v6) if v6.segments()[0] & 0xffc0 == 0xfe80 => return a,
            IpAddr::V6(_) => (128, 16),
        };
        if special {
            return a;
        }
        if let Some(known) = self.addresses.borrow().get(&a) {
            return *known;
        }
        let old: u128 = match a {
            IpAddr::V4(v4) => u128::from(u32::from(v4)) << 96,
            IpAddr::V6(v6) => u128::from(v6),
        };
        let mut new = old;
        for i in keep..bits {
            // Whether a bit turns, the bits before it say.
            let before = if i == 0 { 0 } else { old >> (128 - i) };
            let turn = self.hash("bit", &[&[i as u8][..], &before.to_be_bytes()].concat())[0] & 1;
            new ^= u128::from(turn) << (127 - i);
        }
        let made = match a {
            IpAddr::V4(_) => IpAddr::V4(((new >> 96) as u32).into()),
            IpAddr::V6(_) => IpAddr::V6(new.into()),
        };
        let mut known = self.addresses.borrow_mut();
        if known.len() > 500_000 {
            known.clear();
        }
        known.insert(a, made);
        made
    }

    /// A name or comment with other names and addresses in it.
    pub fn text(&self, text: &str) -> String {
        if text.is_empty() {
            return String::new();
        }
        text.split(' ').map(|w| self.token(w)).collect::<Vec<_>>().join(" ")
    }

    fn token(&self, word: &str) -> String {
        if let Some(a) = self.place(word) {
            return a;
        }
        // KUBE-SVC-TCOU7JCQXEZGVUNU and its kin: one hash is in several names.
        if let Some((prefix, hash)) = crate::proxy::chain::hashed(word) {
            return format!("{prefix}{}", self.letters("hash", hash, 16).to_uppercase());
        }
        // service-ULMVA6XW-ns/svc/tcp/port, endpoint-5OJB2KTY-ns/svc/tcp/port__10.180.0.1/80
        if let Some(name) = self.chain(word) {
            return name;
        }
        // ns/name, ns/name:port, with what a sentence puts around it.
        let bare = word.trim_end_matches([',', ';', '.']);
        if let Some((namespace, rest)) = bare.split_once('/')
            && crate::proxy::ServiceName::parse(bare).is_some()
        {
            let (name, port) = rest.split_once(':').map_or((rest, None), |(n, p)| (n, Some(p)));
            let port = port.map_or(String::new(), |p| format!(":{}", self.word("port", p)));
            let made = format!("{}/{}{port}", self.word("ns", namespace), self.word("svc", name));
            return format!("{made}{}", &word[bare.len()..]);
        }
        word.to_string()
    }

    /// An address, with a port or a prefix.
    fn place(&self, word: &str) -> Option<String> {
        if let Ok(a) = word.parse::<IpAddr>() {
            return Some(self.address(a).to_string());
        }
        if let Ok(a) = word.parse::<std::net::SocketAddr>() {
            return Some(std::net::SocketAddr::new(self.address(a.ip()), a.port()).to_string());
        }
        let net: IpNet = word.parse().ok()?;
        Some(self.rewrite(|r| r.net(net)).to_string())
    }

    fn chain(&self, word: &str) -> Option<String> {
        let is_hash =
            |h: &str| h.len() == 8 && h.bytes().all(|b| b.is_ascii_uppercase() || (b'2'..=b'7').contains(&b));
        let parts: Vec<&str> = word.split('-').collect();
        let at = parts.iter().position(|p| is_hash(p))?;
        let (front, hash) = (parts[..at].join("-"), parts[at]);
        let rest = parts[at + 1..].join("-");
        let mut fields = rest.splitn(4, '/');
        let (namespace, name, protocol, port) =
            (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
        let (port, endpoint) = port.split_once("__").map_or((port, None), |(p, e)| (p, Some(e)));
        let endpoint = match endpoint {
            Some(e) => {
                let (addr, number) = e.rsplit_once('/')?;
                // `:` of IPv6 is there as `.`
                let v6 = addr.parse::<IpAddr>().is_err();
                let parsed: IpAddr =
                    if v6 { addr.replace('.', ":").parse().ok()? } else { addr.parse().ok()? };
                let made = self.address(parsed).to_string();
                format!("__{}/{number}", if v6 { made.replace(':', ".") } else { made })
            }
            None => String::new(),
        };
        Some(format!(
            "{front}-{}-{}/{}/{protocol}/{}{endpoint}",
            self.letters("hash", hash, 8).to_uppercase(),
            self.word("ns", namespace),
            self.word("svc", name),
            self.word("port", port),
        ))
    }

    fn rewrite<T>(&self, f: impl FnOnce(&Rewrite<'_>) -> T) -> T {
        let (text, address) = (|t: &str| self.text(t), |a: IpAddr| self.address(a));
        f(&Rewrite { text: &text, address: &address })
    }

    fn table(&self, old: &Arc<Table>) -> Arc<Table> {
        let mut tables = self.tables.borrow_mut();
        if let Some((_, new)) = tables.iter().find(|t| Arc::ptr_eq(&t.0, old)) {
            return new.clone();
        }
        let new = Arc::new(self.rewrite(|r| old.rewritten(r)));
        tables.push((old.clone(), new.clone()));
        new
    }

    fn redacted_cluster(&self, old: &Cluster) -> Cluster {
        let all = |list: &[IpAddr]| list.iter().map(|a| self.address(*a)).collect::<Vec<_>>();
        let node = |name: &Option<String>| name.as_ref().map(|n| self.word("node", n));
        let service = |s: &Arc<ClusterService>| {
            let mut s = (**s).clone();
            s.namespace = self.word("ns", &s.namespace);
            s.name = self.word("svc", &s.name);
            (s.cluster_ips, s.external_ips) = (all(&s.cluster_ips), all(&s.external_ips));
            (s.load_balancer_ips, s.proxied_ips) = (all(&s.load_balancer_ips), all(&s.proxied_ips));
            s.source_ranges = s.source_ranges.iter().map(|n| self.rewrite(|r| r.net(*n))).collect();
            s.ports.iter_mut().for_each(|p| p.name = self.word("port", &p.name));
            for e in &mut s.endpoints {
                e.port_name = self.word("port", &e.port_name);
                e.address = e.address.map(|a| self.address(a));
                e.target = e.target.as_ref().map(|t| self.word("pod", t));
                e.node = node(&e.node);
                e.zone = e.zone.as_ref().map(|z| self.word("zone", z));
                e.for_zones.iter_mut().for_each(|z| *z = self.word("zone", z));
                e.for_nodes.iter_mut().for_each(|n| *n = self.word("node", n));
            }
            Arc::new(s)
        };
        let mut new = Cluster { services: old.services.iter().map(service).collect(), ..old.clone() };
        // They are looked up by name.
        new.services.sort_by(|a, b| (&a.namespace, &a.name).cmp(&(&b.namespace, &b.name)));
        // Files come from no server, and are known by that.
        if !new.state.server.is_empty() {
            new.state.server = "redacted".into();
        }
        new.state.access = "redacted".into();
        if let Some(t) = &mut new.state.trouble {
            t.what = "redacted".into();
        }
        for r in &mut new.removed {
            (r.namespace, r.name) = (self.word("ns", &r.namespace), self.word("svc", &r.name));
        }
        if let Some(n) = &mut new.node {
            n.name = self.word("node", &n.name);
            n.zone = n.zone.as_ref().map(|z| self.word("zone", z));
            n.addresses = all(&n.addresses);
            n.pod_cidrs = n.pod_cidrs.iter().map(|c| self.text(c)).collect();
        }
        new
    }

    fn flows(&self, f: &mut Flows) {
        let a = |x: &mut IpAddr| *x = self.address(*x);
        f.groups = std::mem::take(&mut f.groups)
            .into_iter()
            .map(|(mut k, v)| {
                a(&mut k.frontend);
                a(&mut k.backend);
                (k, v)
            })
            .collect();
        f.sources = std::mem::take(&mut f.sources).into_iter().map(|(k, v)| (self.address(k), v)).collect();
        f.astray = std::mem::take(&mut f.astray)
            .into_iter()
            .map(|(to, mut v)| {
                v.from = v.from.map(|(x, port)| (self.address(x), port));
                (self.endpoint(to), v)
            })
            .collect();
        f.hairpins =
            std::mem::take(&mut f.hairpins).into_iter().map(|(to, v)| (self.endpoint(to), v)).collect();
        f.of_sources = std::mem::take(&mut f.of_sources)
            .into_iter()
            .map(|(source, mut of)| {
                of.to =
                    std::mem::take(&mut of.to).into_iter().map(|(to, n)| (self.endpoint(to), n)).collect();
                (self.address(source), of)
            })
            .collect();
        for flow in &mut f.followed {
            for t in [&mut flow.original, &mut flow.reply] {
                a(&mut t.source);
                a(&mut t.destination);
            }
        }
    }

    /// Replaces them in a snapshot.
    pub fn redact(&self, s: &mut Snapshot) {
        let node = Arc::make_mut(&mut s.node);
        node.hostname = node.hostname.take().map(|h| self.word("node", &h));
        // Names of files are other people's text, and often a node's name.
        s.parts = Arc::default();
        s.netns.name = s.netns.name.take().map(|n| self.word("netns", &n));
        let plain: Vec<Arc<Table>> = s.tables.iter().map(|t| t.table.clone()).collect();
        for t in &mut s.tables {
            t.table = self.table(&t.table);
        }
        // What is no table any more will not come back.
        self.tables.borrow_mut().retain(|(old, _)| plain.iter().any(|p| Arc::ptr_eq(p, old)));
        if let Some(r) = &mut s.ipvs {
            let ipvs = Arc::make_mut(&mut r.value);
            for v in &mut ipvs.servers {
                if let VirtualAddress::Socket { address, .. } = &mut v.address {
                    *address = self.address(*address);
                }
                v.real_servers.iter_mut().for_each(|x| x.address = self.address(x.address));
            }
        }
        if let Some(r) = &mut s.ipsets {
            for m in Arc::make_mut(&mut r.value).iter_mut().flat_map(|s| s.members.iter_mut().flatten()) {
                let net = |a: &mut Option<IpAddr>, prefix: Option<u8>| {
                    if let Some(x) = a {
                        let prefix = prefix.unwrap_or(IpFamily::of(*x).bits());
                        *x = self.rewrite(|r| r.net(IpNet { addr: *x, prefix })).addr;
                    }
                };
                net(&mut m.address, m.prefix);
                net(&mut m.address2, m.prefix2);
                m.other.clear();
            }
        }
        let addresses =
            s.addresses.iter().map(|a| InterfaceAddress { address: self.address(a.address), ..a.clone() });
        s.addresses = Arc::new(addresses.collect());
        let route = |r: &Route| {
            let net = IpNet { addr: self.address(r.net.addr), prefix: r.net.prefix }.masked();
            // A default route is one everywhere.
            Route { net: if r.is_default() { r.net } else { net }, ..r.clone() }
        };
        s.routes = Arc::new(s.routes.iter().map(route).collect());
        s.ways = s.ways.as_ref().map(|w| {
            let mut new = Ways::clone(w);
            for r in &mut new.routes {
                if r.net.prefix > 0 {
                    r.net = IpNet { addr: self.address(r.net.addr), prefix: r.net.prefix }.masked();
                }
                r.gateway = r.gateway.map(|a| self.address(a));
            }
            new.deaf.iter_mut().for_each(|d| d.address = self.address(d.address));
            Arc::new(new)
        });
        let map = |m: &BpfMap| with_addresses(m, |a| self.address(a));
        s.maps = s.maps.as_ref().map(|m| kept(&self.maps, m, |all| all.iter().map(map).collect()));
        let hns = |h: &Hns| h.with_addresses(|a| self.address(a));
        s.hns = s.hns.as_ref().map(|h| kept(&self.hns, h, hns));
        s.cluster = s.cluster.as_ref().map(|c| kept(&self.cluster, c, |c| self.redacted_cluster(c)));
        s.kube_proxy = s.kube_proxy.as_ref().map(|k| {
            let mut new = KubeProxy::clone(k);
            for net in new
                .config
                .iter_mut()
                .flat_map(|c| c.cluster_cidrs.iter_mut().chain(&mut c.node_port_addresses))
            {
                // `primary` is a word of its own.
                *net = net
                    .parse()
                    .map_or_else(|_| net.clone(), |n: IpNet| self.rewrite(|r| r.net(n)).to_string());
            }
            Arc::new(new)
        });
        let of_conntrack = s.conntrack.as_mut().and_then(|c| c.flows.as_mut());
        for r in of_conntrack.into_iter().chain(s.followed.as_mut()) {
            self.flows(Arc::make_mut(&mut r.value));
        }
        if let Some(r) = &mut s.flow_events {
            let e = Arc::make_mut(&mut r.value);
            let key = |mut k: FlowKey| {
                (k.frontend, k.backend) = (self.address(k.frontend), self.address(k.backend));
                k
            };
            e.pairs = std::mem::take(&mut e.pairs).into_iter().map(|(k, v)| (key(k), v)).collect();
            e.latencies = std::mem::take(&mut e.latencies).into_iter().map(|(k, v)| (key(k), v)).collect();
            e.untranslated = std::mem::take(&mut e.untranslated)
                .into_iter()
                .map(|(to, v)| (self.endpoint(to), v))
                .collect();
        }
        if let Some(r) = &mut s.remembered {
            for (list, clients) in &mut Arc::make_mut(&mut r.value).lists {
                match list {
                    MemoryList::Recent(name) | MemoryList::Set(_, _, name) => *name = self.text(name),
                }
                clients.iter_mut().for_each(|c| c.address = self.address(c.address));
            }
        }
        for u in &mut s.unread {
            u.what = self.text(&u.what);
            u.why = self.text(&u.why);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn r() -> Redactor {
        Redactor::with_key([7; 32])
    }

    #[test]
    fn where_the_flows_of_one_source_go_is_replaced() {
        let (source, to) = (IpAddr::from([10, 1, 2, 3]), IpAddr::from([10, 4, 5, 6]));
        let mut flows = Flows::default();
        flows.look_at_sources(&[source]);
        flows.of_sources.get_mut(&source).unwrap().to.insert(L4Endpoint::new(6, to, 80), 2);
        let r = r();
        r.flows(&mut flows);
        assert_ne!(r.address(source), source);
        assert_eq!(flows.of_sources.len(), 1);
        let of = &flows.of_sources[&r.address(source)];
        assert_eq!(of.to.get(&L4Endpoint::new(6, r.address(to), 80)), Some(&2));
        assert!(of.to.keys().all(|k| k.address != to), "{of:?}");
    }

    #[test]
    fn names_are_replaced_where_they_stand() {
        let r = r();
        let word = r.text("shop/frontend:http cluster IP");
        assert!(
            word.starts_with("ns-") && word.ends_with(":http cluster IP") && !word.contains("shop"),
            "{word}"
        );
        assert_eq!(r.text("shop/frontend:http cluster IP"), word);
        assert_eq!(r.text("kubernetes service portals"), "kubernetes service portals");
        assert_ne!(r.text("KUBE-SVC-TCOU7JCQXEZGVUNU"), "KUBE-SVC-TCOU7JCQXEZGVUNU");
        // One hash, one other: KUBE-EXT- leads to KUBE-SVC-.
        let hash = |t: &str| r.text(t).rsplit_once('-').unwrap().1.to_string();
        assert_eq!(hash("KUBE-SVC-TCOU7JCQXEZGVUNU"), hash("KUBE-EXT-TCOU7JCQXEZGVUNU"));
        assert_eq!(r.text("KUBE-SERVICES"), "KUBE-SERVICES");
        let chain = r.text("endpoint-5OJB2KTY-ns1/svc1/tcp/p80__10.180.0.1/80");
        assert!(
            chain.starts_with("endpoint-") && chain.contains("__10.") && !chain.contains("svc1/"),
            "{chain}"
        );
        let chain = r.text("endpoint-5OJB2KTY-ns1/svc1/tcp/__fd00.10.244..2/80");
        assert!(chain.contains("__fd00."), "{chain}");
        assert!(r.text("-> 10.244.0.3:8080").starts_with("-> 10."));
    }

    proptest::proptest! {
        /// Two addresses have afterwards as many of their first bits in common as before.
        #[test]
        fn what_addresses_share_they_go_on_sharing(first in 1u32..120, a in 0u32..1 << 24, b in 0u32..1 << 24) {
            proptest::prop_assume!(first != 100);
            let r = r();
            let go = |x: u32| match r.address(IpAddr::V4((first << 24 | x).into())) {
                IpAddr::V4(x) => u32::from(x),
                IpAddr::V6(_) => panic!("another family"),
            };
            proptest::prop_assert_eq!((a ^ b).leading_zeros(), (go(a) ^ go(b)).leading_zeros());
            proptest::prop_assert_eq!(go(a) >> 24, first);
        }

        #[test]
        fn any_text_is_survived(text in "[a-zA-Z0-9/:._ -]{0,60}") {
            let _ = r().text(&text);
        }
    }
}
