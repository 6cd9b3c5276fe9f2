//! Texts put together: one snapshot.

use super::forms::Form;
use super::gather::{Found, Gathered, KNOWN};
use super::report::InputPart;
use crate::api::{ApiState, Cluster, read_list};
use crate::kernel::conntrack::{Limits, Stats};
use crate::kernel::counters::Counters;
use crate::kernel::ipvs;
use crate::kernel::links::Link;
use crate::kernel::nfacct::Object;
use crate::kernel::node::InterfaceAddress;
use crate::kernel::ways::{Deaf, RouteKind, WayRoute, Ways};
use crate::kube_proxy::KubeProxy;
use crate::ruleset::{Family, IpFamily, IpNet, NfTable, SavedTable, TableBackend};
use crate::snapshot::{
    Conntrack, Flows, Reading, Remembered, Snapshot, SourceId, TableState, Unread, UnreadKind,
};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// A route that was given.
#[derive(Clone, Debug)]
pub(super) struct GivenRoute {
    pub(super) net: IpNet,
    pub(super) kind: RouteKind,
    pub(super) table: u32,
    pub(super) metric: u32,
    /// Name of its interface; empty where it has none.
    pub(super) interface: String,
    pub(super) gateway: Option<IpAddr>,
    pub(super) by_gateway: bool,
    /// True for what is delivered to the node itself.
    pub(super) is_local: bool,
}

/// What is known so far.
#[derive(Default)]
pub(super) struct Reader {
    pub(super) snapshot: Snapshot,
    /// True where each file was named: what is wrong with one is an error then.
    named: bool,
    /// The first text of each form of which one is enough.
    single: Vec<(&'static Form, PathBuf)>,
    nft: Vec<SavedTable>,
    /// True where `nft` was given.
    nft_given: bool,
    /// Families of which iptables-nft-save said that iptables-legacy has tables, too.
    pub(super) legacy: Vec<IpFamily>,
    /// Tables that listings give: iptables-save says more of them.
    pub(super) listed: Vec<SavedTable>,
    pub(super) ipvs: Option<ipvs::Ipvs>,
    /// True where weights and connections of real servers were given, and what they counted.
    pub(super) weights_given: bool,
    pub(super) servers_counted: bool,
    pub(super) counters: Counters,
    pub(super) accounts: Vec<Object>,
    pub(super) objects: Vec<(String, serde_json::Value)>,
    /// True where not all objects of a kind were given: what is not there is not known to be absent.
    pub(super) partial_objects: bool,
    pub(super) remembered: Remembered,
    pub(super) limits: Limits,
    pub(super) cpus: Vec<Stats>,
    pub(super) flows: Option<Flows>,
    pub(super) ipvs_connections: Option<Flows>,
    pub(super) kube_proxy: Option<KubeProxy>,
    pub(super) routes: Vec<GivenRoute>,
    /// True where routes of all tables were given.
    pub(super) all_tables: bool,
    /// Whether the rules of routing are the usual ones; `None` where they were not given.
    pub(super) rules_given: Option<bool>,
    pub(super) deaf: Vec<(IpAddr, String)>,
    parts: Vec<InputPart>,
}

impl Reader {
    pub(super) fn new(named: bool) -> Reader {
        Reader { named, ..Reader::default() }
    }

    /// What became of the files before any was understood.
    pub(super) fn begin(&mut self, all: &Gathered, empty: &[PathBuf], size: &str) {
        // When it was taken, the newest of the files says.
        self.snapshot.taken_at = all.newest.and_then(|t| t.try_into().ok()).unwrap_or_default();
        for (path, source) in &all.too_large {
            let why = format!("larger than what is left of the {size} that are read of all files together");
            self.note(path, *source, UnreadKind::Failed, why);
        }
        for (path, why) in &all.broken {
            self.note(path, SourceId::NfTables, UnreadKind::Failed, why.clone());
        }
        for path in empty {
            self.note(path, SourceId::Other, UnreadKind::Missing, "it holds nothing".into());
            self.parts.push(InputPart {
                file: path.display().to_string(),
                form: "an empty file".into(),
                ..InputPart::default()
            });
        }
        if all.others > 0 {
            self.parts.push(InputPart {
                file: format!("{} other files", all.others),
                form: "nothing that kptop reads".into(),
                ..InputPart::default()
            });
        }
    }

    fn note(&mut self, file: &Path, source: SourceId, kind: UnreadKind, why: String) {
        self.snapshot.unread.push(Unread::of_files(source, kind, file.display().to_string(), why));
    }

    /// Says what of a text was not read.
    pub(super) fn unread(&mut self, f: &Found, source: SourceId, kind: UnreadKind, why: String) {
        self.say(&why);
        self.note(&f.path, source, kind, why);
    }

    /// Says something of the text that is taken.
    pub(super) fn say(&mut self, note: &str) {
        if let Some(part) = self.parts.last_mut() {
            part.notes.push(note.to_string());
        }
    }

    /// Counts lines of the text that is taken, and of which nothing is used.
    pub(super) fn unused(&mut self, lines: usize) {
        if let Some(part) = self.parts.last_mut() {
            part.unused += lines as u64;
        }
    }

    /// The same was given before.
    pub(super) fn again(&mut self, f: &Found, what: &str, before: Option<&Path>) {
        let from = before.map_or("another file".into(), |b| b.display().to_string());
        let why = format!("{what} was read from {from} already");
        self.unread(f, f.form.source, UnreadKind::Missing, why);
    }

    /// Takes all texts.
    ///
    /// # Errors
    /// A file that was named, and of which nothing could be used.
    pub(super) fn all(&mut self, found: Vec<Found>) -> Result<(), String> {
        for f in found {
            self.parts.push(InputPart {
                file: f.path.display().to_string(),
                form: f.form.words.to_string(),
                command: f.by_command.then(|| f.name.replace('_', " ")),
                lines: f.text.lines().count() as u64,
                ..InputPart::default()
            });
            if !f.form.repeats {
                let first = self.single.iter().find(|s| std::ptr::eq(s.0, f.form)).map(|s| s.1.clone());
                if let Some(first) = first {
                    self.unused(f.text.lines().count());
                    self.again(&f, f.form.words, Some(&first));
                    continue;
                }
                self.single.push((f.form, f.path.clone()));
            }
            if let Err(why) = (f.form.read)(self, &f) {
                let why = format!("as {}: {why}", f.form.words);
                if self.named {
                    return Err(format!("{}: {why}", f.path.display()));
                }
                self.unused(f.text.lines().count());
                self.unread(&f, f.form.source, UnreadKind::Failed, why);
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, t: SavedTable) {
        let state = TableState::new(Duration::ZERO, Arc::new(t.table), Arc::new(t.counters));
        self.snapshot.tables.push(state);
    }

    /// Takes tables as nft lists them; one that was given before is that.
    pub(super) fn take_nft(&mut self, f: &Found, tables: Vec<SavedTable>) {
        self.nft_given = true;
        for t in tables {
            let (family, name) = (t.table.family, t.table.name.clone());
            // `nft list chain` prints the table around each chain.
            let known = self.nft.iter().find(|k| (k.table.family, &k.table.name) == (family, &name));
            match known
                .map(|k| k.table.chains.iter().map(|c| k.table.str(c.name).to_string()).collect::<Vec<_>>())
            {
                None => self.nft.push(t),
                Some(chains)
                    if t.table.chains.iter().all(|c| chains.iter().any(|k| k == t.table.str(c.name))) =>
                {
                    self.again(f, &format!("table {family} {name}"), None);
                }
                Some(_) => {
                    let why = format!("table {family} {name} is given in parts: only the first is used");
                    self.unread(f, SourceId::NfTables, UnreadKind::Failed, why);
                }
            }
        }
    }

    /// Takes interfaces and addresses; those of another text are put to them.
    pub(super) fn take_links(&mut self, _: &Found, links: Vec<Link>, addresses: Vec<InterfaceAddress>) {
        let all = Arc::make_mut(&mut self.snapshot.links);
        for l in links {
            match all.iter_mut().find(|k| k.name == l.name) {
                // `ip -d link` says the kind that `ip addr` does not.
                Some(known) => {
                    known.kind = known.kind.take().or(l.kind);
                    known.tunnel_port = known.tunnel_port.or(l.tunnel_port);
                    known.master = known.master.or(l.master);
                }
                None => all.push(l),
            }
        }
        let all = Arc::make_mut(&mut self.snapshot.addresses);
        for a in addresses {
            if !all.contains(&a) {
                all.push(a);
            }
        }
    }

    /// The snapshot.
    ///
    /// # Errors
    /// Objects that were named, and that are none.
    pub(super) fn finish(mut self) -> Result<Snapshot, String> {
        self.put_tables();
        self.put_ways();
        let s = &mut self.snapshot;
        s.kube_proxy = self.kube_proxy.take().map(|mut k| {
            if k.asked_at == jiff::Timestamp::default() {
                k.asked_at = s.taken_at;
            }
            Arc::new(k)
        });
        let (uncounted, unweighted) = (!self.servers_counted, !self.weights_given);
        s.ipvs = self.ipvs.take().map(|i| reading(ipvs::Ipvs { uncounted, unweighted, ..i }));
        if self.counters != Counters::default() {
            s.counters = Some(reading(std::mem::take(&mut self.counters)));
        }
        if !self.accounts.is_empty() {
            s.accounts = Some(reading(std::mem::take(&mut self.accounts)));
        }
        if !self.remembered.lists.is_empty() {
            s.remembered = Some(reading(std::mem::take(&mut self.remembered)));
        }
        if let Some(link) = s.routes.iter().find(|r| r.is_default()).map(|r| r.interface.clone()) {
            Arc::make_mut(&mut s.addresses).sort_by_key(|a| a.interface != link);
        }
        let flows = self.flows.take().or(self.ipvs_connections.take());
        if flows.is_some() || self.limits != Limits::default() || !self.cpus.is_empty() {
            let mut limits = self.limits;
            limits.count = limits.count.or(flows.as_ref().map(|f| f.total));
            if let Some(f) = &flows {
                limits.accounting = limits.accounting.or(Some(f.accounting));
            }
            s.conntrack = Some(Conntrack {
                at: Duration::ZERO,
                limits,
                stats: (!self.cpus.is_empty()).then(|| Stats::sum(&self.cpus)),
                cpus: std::mem::take(&mut self.cpus),
                flows: flows.map(reading),
            });
        }
        self.put_objects()?;
        let s = &mut self.snapshot;
        let parts = super::missing::parts(&s.tables, &self.legacy);
        s.unread.extend(parts);
        not_given(s);
        s.parts = Arc::new(self.parts);
        Ok(self.snapshot)
    }

    fn put_tables(&mut self) {
        for t in std::mem::take(&mut self.nft) {
            let (family, name) = (t.table.family, t.table.name.clone());
            if self.snapshot.table(TableBackend::NfTables, family, &name).is_some() {
                continue; // iptables-save says more of it
            }
            // iptables-nft's rules: nft prints them without comments, probabilities, DNAT targets and more.
            let of_iptables = ["nat", "filter", "mangle", "raw", "security"].contains(&name.as_str())
                && matches!(family, Family::Ip | Family::Ip6)
                && t.table.chains.iter().any(|c| t.table.str(c.name).starts_with("KUBE-"));
            if of_iptables && !self.listed.iter().any(|l| (l.table.family, &l.table.name) == (family, &name))
            {
                self.snapshot.unread.push(Unread {
                    source: SourceId::NfTables,
                    what: format!("table {} {name}", family.name()),
                    kind: UnreadKind::Failed,
                    why: "iptables-nft wrote it, and nft prints its rules without comments, probabilities and DNAT targets".into(),
                    hint: Some("add what iptables-save -c prints".into()),
                });
            }
            if !of_iptables {
                self.push(t);
            }
        }
        for t in std::mem::take(&mut self.listed) {
            let there = |b| self.snapshot.table(b, t.table.family, &t.table.name).is_some();
            if !there(TableBackend::XTables) && !there(TableBackend::NfTables) {
                // Where nft listed a ruleset, iptables is the one that writes there.
                let backend = if self.nft_given { TableBackend::NfTables } else { TableBackend::XTables };
                self.push(with_backend(t, backend));
            }
        }
        let family = |f: Family| [Family::Ip, Family::Ip6].iter().position(|x| *x == f).unwrap_or(9);
        self.snapshot.tables.sort_by(|a, b| {
            let key = |t: &TableState| (t.backend, family(t.family));
            key(a).cmp(&key(b)).then_with(|| a.table.name.cmp(&b.table.name))
        });
    }

    /// Where packets go on: known only where it is known that main is the one table that is asked, or routes of all are given.
    fn put_ways(&mut self) {
        let certain = self.all_tables || self.rules_given == Some(true);
        if self.routes.is_empty() || !certain || self.snapshot.links.is_empty() {
            return;
        }
        let index = |name: &str| self.snapshot.links.iter().find(|l| l.name == name).map_or(0, |l| l.index);
        let route = |r: &GivenRoute| WayRoute {
            net: r.net,
            kind: r.kind,
            table: r.table,
            metric: r.metric,
            interface: index(&r.interface),
            gateway: r.gateway,
        };
        let deaf = self.deaf.iter().map(|(address, link)| Deaf { address: *address, interface: index(link) });
        let ways = Ways { routes: self.routes.iter().map(route).collect(), deaf: deaf.collect(), cut: false };
        self.snapshot.ways = Some(Arc::new(ways));
    }

    fn put_objects(&mut self) -> Result<(), String> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let s = &mut self.snapshot;
        let partial = self.partial_objects;
        match read_list(std::mem::take(&mut self.objects)) {
            Ok(mut listed) => {
                for why in listed.unread {
                    s.unread.push(of_objects(why));
                }
                let own = |a: &IpAddr| s.addresses.iter().any(|x| x.address == *a);
                let by_name = s.node.hostname.as_deref().map(str::to_lowercase);
                let node = listed
                    .nodes
                    .iter()
                    .position(|n| n.addresses.iter().any(own))
                    .or_else(|| listed.nodes.iter().position(|n| Some(&n.name) == by_name.as_ref()));
                let endpoints = listed.services.iter().any(|s| !s.endpoints.is_empty());
                if let Some(i) = node.filter(|_| s.node.hostname.is_none()) {
                    Arc::make_mut(&mut s.node).hostname = Some(listed.nodes[i].name.clone());
                }
                s.cluster = Some(Arc::new(Cluster {
                    state: ApiState { access: "files".into(), ..ApiState::default() },
                    complete: endpoints && !listed.services.is_empty() && !partial && !listed.partial,
                    services: listed.services,
                    node: node.map(|i| listed.nodes.swap_remove(i)),
                    removed: Vec::new(),
                }));
            }
            Err(why) if self.named => return Err(format!("{why} (was the file cut off?)")),
            Err(why) => s.unread.push(of_objects(why)),
        }
        Ok(())
    }
}

/// What files could have said, and these do not.
fn not_given(s: &mut Snapshot) {
    for (source, what, is_there, which) in [
        (SourceId::Flows, "flows", s.conntrack.as_ref().is_some_and(|c| c.flows.is_some()), "conntrack -L"),
        (SourceId::Sysctls, "sysctls", !s.sysctls.is_empty(), "sysctl -a"),
        (SourceId::Addresses, "the node's addresses", !s.addresses.is_empty(), "ip addr"),
        (
            SourceId::Api,
            "EndpointSlices",
            s.cluster.is_some(),
            "kubectl get services,endpointslices,nodes -A -o json",
        ),
    ] {
        if !is_there {
            let hint = Some(format!("add what {which} prints"));
            let why = "none of the files reports them";
            s.unread.push(Unread { hint, ..Unread::of_files(source, UnreadKind::NotGiven, what, why) });
        }
    }
    if s.tables.is_empty() && s.ipvs.is_none() {
        let (what, why) = ("rules and virtual servers", "none of the files holds any");
        s.unread.push(Unread {
            hint: Some(KNOWN.into()),
            ..Unread::of_files(SourceId::NfTables, UnreadKind::Failed, what, why)
        });
    }
}

fn of_objects(why: String) -> Unread {
    Unread::of_files(SourceId::Api, UnreadKind::Failed, "objects of the Kubernetes API", why)
}

pub(super) fn reading<T>(value: T) -> Reading<T> {
    Reading { at: Duration::ZERO, value: Arc::new(value) }
}

pub(super) fn with_backend(mut t: SavedTable, backend: TableBackend) -> SavedTable {
    t.table.backend = backend;
    t.table.nf = (backend == TableBackend::NfTables).then(|| Box::new(NfTable::default()));
    t
}
