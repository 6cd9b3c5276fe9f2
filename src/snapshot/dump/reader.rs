//! What is gathered of texts, and the shape of a form.

use super::glance::Glance;
use super::report::InputPart;
use crate::format::plural;
use crate::kernel::conntrack::{Limits, Stats};
use crate::kernel::counters::Counters;
use crate::kernel::ipvs;
use crate::kernel::links::Link;
use crate::kernel::maps::BpfMap;
use crate::kernel::nfacct::Object;
use crate::kernel::node::InterfaceAddress;
use crate::kernel::ways::RouteKind;
use crate::kube_proxy::KubeProxy;
use crate::ruleset::{IpFamily, IpNet, NfTable, SavedTable, TableBackend};
use crate::snapshot::{Flows, Hns, Reading, Remembered, Snapshot, SourceId, TableState, Unread, UnreadKind};
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

/// What is read, for people.
pub(super) const KNOWN: &str = "it reads iptables-save, -S and -L, nft list ruleset (with -j or without), ipvsadm -Ln and -Sn, ipset save and list, \
     conntrack -L and -S, ip addr, route, rule and neigh, sysctl -a, ss -tlnp, nstat, kubectl get services,endpointslices,nodes -A (-o json, yaml, wide), \
     kubectl describe service, cilium-dbg bpf lb list and service list, calico-node -bpf nat dump, bpftool map dump -j, hnsdiag list all -d, kube-proxy's /metrics, /configz, /healthz and log, and /proc/net's files of these; as files, in directories, in tar, tar.gz, tar.xz and zip \
     (sosreports and other collectors' bundles), and recordings of kptop";

/// A form of text.
pub(super) struct Form {
    /// The command that prints it.
    pub(super) words: &'static str,
    /// What it is of.
    pub(super) source: SourceId,
    /// True where several texts of one node are normal. Of another form a second text reports the same once more, or is of another
    /// namespace.
    pub(super) repeats: bool,
    /// True for a text of this form.
    pub(super) is: fn(&Glance<'_>) -> bool,
    /// Takes a text. What could not be used it notes; the error says why nothing could.
    pub(super) read: fn(&mut Reader, &Found) -> Result<(), String>,
}

impl Form {
    /// True for rules and virtual servers: what only a node has.
    pub(super) fn is_of_rules(&self) -> bool {
        SourceId::RULES.contains(&self.source)
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words)
    }
}

/// The output of one command.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// The file, with its place in an archive.
    pub(super) path: PathBuf,
    /// Its place in what was named: by this nodes are told apart.
    pub(super) place: PathBuf,
    /// The command with `_` for blanks, or the file's name.
    pub(super) name: String,
    /// True where the text itself names the command.
    pub(super) by_command: bool,
    pub(super) form: &'static Form,
    pub(super) text: String,
}

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
    pub(super) named: bool,
    /// The first text of each form of which one is enough.
    single: Vec<(&'static Form, PathBuf)>,
    pub(super) nft: Vec<SavedTable>,
    /// True where `nft` was given.
    pub(super) nft_given: bool,
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
    pub(super) maps: Vec<BpfMap>,
    pub(super) hns: Option<Hns>,
    pub(super) routes: Vec<GivenRoute>,
    /// True where routes of all tables were given.
    pub(super) all_tables: bool,
    /// Whether the rules of routing are the usual ones; `None` where they were not given.
    pub(super) rules_given: Option<bool>,
    pub(super) deaf: Vec<(IpAddr, String)>,
    pub(super) parts: Vec<InputPart>,
}

impl Reader {
    pub(super) fn new(named: bool) -> Reader {
        Reader { named, ..Reader::default() }
    }

    /// When it was taken, the newest of the files says.
    pub(super) fn begin(&mut self, newest: Option<SystemTime>) {
        self.snapshot.taken_at = newest.and_then(|t| t.try_into().ok()).unwrap_or_default();
    }

    /// A file in which nothing is.
    pub(super) fn holds_nothing(&mut self, path: &Path) {
        self.note(path, SourceId::Other, UnreadKind::Missing, "it holds nothing".into());
        let file = path.display().to_string();
        self.parts.push(InputPart { file, form: "an empty file".into(), ..InputPart::default() });
    }

    /// Files of other forms.
    pub(super) fn left_out(&mut self, files: u64) {
        if files > 0 {
            let file = plural(files, "other file");
            self.parts.push(InputPart {
                file,
                form: "nothing that kptop reads".into(),
                ..InputPart::default()
            });
        }
    }

    pub(super) fn note(&mut self, file: &Path, source: SourceId, kind: UnreadKind, why: String) {
        self.snapshot.unread.push(Unread::of_files(source, kind, file.display().to_string(), why));
    }

    /// Says what of a text was not read.
    pub(super) fn unread(&mut self, f: &Found, source: SourceId, kind: UnreadKind, why: String) {
        self.say(&why);
        self.note(&f.path, source, kind, why);
    }

    /// The same of lines that were not read, where there are any: how many, and the first of them.
    pub(super) fn lines_lost(
        &mut self,
        f: &Found,
        lines: &[impl std::fmt::Display],
        (source, kind): (SourceId, UnreadKind),
        words: &str,
    ) {
        if lines.is_empty() {
            return;
        }
        let first: Vec<String> = lines.iter().take(3).map(ToString::to_string).collect();
        self.unused(lines.len());
        let n = plural(lines.len() as u64, "line");
        self.unread(f, source, kind, format!("{n}{words}: {}", first.join("; ")));
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

    /// The same of all lines but those that are `used`; blank ones do not count.
    pub(super) fn unused_but(&mut self, f: &Found, used: impl Fn(&str) -> bool) {
        self.unused(f.text.lines().filter(|l| !l.trim().is_empty() && !used(l)).count());
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
}

pub(super) fn reading<T>(value: T) -> Reading<T> {
    Reading { at: Duration::ZERO, value: Arc::new(value) }
}

pub(super) fn with_backend(mut t: SavedTable, backend: TableBackend) -> SavedTable {
    t.table.backend = backend;
    t.table.nf = (backend == TableBackend::NfTables).then(|| Box::new(NfTable::default()));
    t
}
