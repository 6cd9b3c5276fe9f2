//! The parts of a dump, by their content and names.

use super::super::{
    Conntrack, MemoryList, Reading, Remembered, RememberedClient, Snapshot, SourceId, TableState, Unread,
    UnreadKind,
};
use crate::api::{ApiState, Cluster, read_list};
use crate::format::plural;
use crate::kernel::conntrack::{Limits, Stats};
use crate::kernel::counters::{self, Counters};
use crate::kernel::nfacct::Object;
use crate::kernel::{ipvs, recent, sysctl};
use crate::kube_proxy::{Answer, KubeProxy};
use crate::ruleset::{
    Counter, Family, IpFamily, LenientSave, NfTable, SavedTable, TableBackend, parse_nft, parse_nft_json,
    parse_save_lenient,
};
use std::collections::BTreeMap;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// Bytes that are read of all files together, unpacked, where nobody asks for more.
pub const BUDGET: u64 = 1 << 30;

/// The beginning of a file, which says what it is.
pub(super) const GLANCE: usize = 64 << 10;

/// How deep directories are looked into: a sosreport has its files five deep.
pub(super) const DEEPEST: usize = 8;

/// Files that a directory may have.
pub(super) const MOST_FILES: usize = 100_000;

/// What a file is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Kind {
    Save,
    /// `iptables -S`
    Commands,
    NftJson,
    Nft,
    Listing,
    IpvsSave,
    IpvsList,
    IpvsStats,
    Ipset,
    Flows,
    FlowStats,
    Sysctl,
    Addresses,
    Routes,
    Objects,
    Accounts,
    Recent,
    Snmp,
    Softnet,
    /// kube-proxy's `/metrics`, `/configz` and `/healthz`.
    ProxyMetrics,
    ProxyConfig,
    ProxyHealth,
    Small,
    /// Nothing, or only remarks: a tool had nothing to print.
    Empty,
}

impl Kind {
    fn words(self) -> &'static str {
        match self {
            Kind::Save => "iptables-save",
            Kind::Commands => "iptables -S",
            Kind::NftJson => "nft -j list ruleset",
            Kind::Nft => "nft list ruleset",
            Kind::Listing => "iptables -nvL",
            Kind::IpvsSave => "ipvsadm -Sn",
            Kind::IpvsList => "ipvsadm -Ln",
            Kind::IpvsStats => "ipvsadm -Ln --stats",
            Kind::Ipset => "ipset save",
            Kind::Flows => "conntrack -L",
            Kind::FlowStats => "conntrack -S",
            Kind::Sysctl => "sysctl -a",
            Kind::Addresses => "ip addr",
            Kind::Routes => "ip route",
            Kind::Objects => "kubectl get -o json",
            Kind::Accounts => "nfacct list",
            Kind::Recent => "a list of xt_recent",
            Kind::Snmp => "/proc/net/snmp or netstat",
            Kind::Softnet => "/proc/net/softnet_stat",
            Kind::ProxyMetrics => "kube-proxy's /metrics",
            Kind::ProxyConfig => "kube-proxy's /configz",
            Kind::ProxyHealth => "kube-proxy's /healthz",
            Kind::Small => "a fact of the node",
            Kind::Empty => "an empty file",
        }
    }

    /// What it is a file of.
    fn source(self) -> SourceId {
        match self {
            Kind::Save | Kind::Commands | Kind::Listing => SourceId::Tables(Family::Ip),
            Kind::NftJson | Kind::Nft => SourceId::NfTables,
            Kind::IpvsSave | Kind::IpvsList | Kind::IpvsStats => SourceId::Ipvs,
            Kind::Ipset => SourceId::Ipsets,
            Kind::Flows => SourceId::Flows,
            Kind::FlowStats => SourceId::ConntrackStats,
            Kind::Sysctl => SourceId::Sysctls,
            Kind::Addresses | Kind::Routes => SourceId::Addresses,
            Kind::Objects => SourceId::Api,
            Kind::Accounts => SourceId::Accounts,
            Kind::Snmp | Kind::Softnet => SourceId::Counters,
            Kind::ProxyMetrics | Kind::ProxyConfig | Kind::ProxyHealth => SourceId::KubeProxy,
            Kind::Recent | Kind::Small | Kind::Empty => SourceId::Other,
        }
    }

    /// True where a second file of the kind reports the same once more, or of another namespace.
    fn is_single(self) -> bool {
        !matches!(
            self,
            Kind::Save
                | Kind::Commands
                | Kind::Listing
                | Kind::Objects
                | Kind::Recent
                | Kind::Snmp
                | Kind::Small
                | Kind::Empty
        )
    }
}

pub(super) fn kind(name: &str, text: &str) -> Option<Kind> {
    let lines = || text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty());
    let first = lines().next()?;
    let any = |n: usize, f: &dyn Fn(&str) -> bool| lines().take(n).any(f);
    if matches!(name, "os-release" | "hostname" | "uname" | "uname_-a") {
        return Some(Kind::Small);
    }
    if first.starts_with('{') || first.starts_with('[') {
        let beginning = &text[..text.char_indices().nth(4096).map_or(text.len(), |c| c.0)];
        return match () {
            () if beginning.contains("\"kubeproxy.config.k8s.io\"") => Some(Kind::ProxyConfig),
            () if beginning.contains("\"nftables\"") => Some(Kind::NftJson),
            () if beginning.contains("\"lastUpdated\"") && beginning.contains("\"currentTime\"") => {
                Some(Kind::ProxyHealth)
            }
            () if beginning.contains("\"apiVersion\"") || beginning.contains("\"items\"") => {
                Some(Kind::Objects)
            }
            () => None,
        };
    }
    Some(match () {
        () if any(20, &|l| l.starts_with('*')) && any(20, &|l| l.starts_with(':') || l == "COMMIT") => {
            Kind::Save
        }
        () if first.starts_with("-P ") || first.starts_with("-N ") => Kind::Commands,
        () if first.starts_with("-A ") && (first.contains(" -j ") || first.contains(" -m ")) => {
            Kind::Commands
        }
        () if any(20, &|l| l.starts_with("table ") && l.ends_with('{')) => Kind::Nft,
        () if any(3, &|l| l.starts_with("Chain ") && l.contains('(')) => Kind::Listing,
        () if first.starts_with("IP Virtual Server") => match any(3, &|l| l.contains("InPkts")) {
            true => Kind::IpvsStats,
            false => Kind::IpvsList,
        },
        () if first.starts_with("-A -t ") || first.starts_with("-A -u ") || first.starts_with("-A -f ") => {
            Kind::IpvsSave
        }
        () if first.starts_with("-A --sctp-service ") => Kind::IpvsSave,
        () if first.starts_with("create ") && first.contains(':') => Kind::Ipset,
        () if first.starts_with("Name: ") && any(3, &|l| l.starts_with("Type: ")) => Kind::Ipset,
        () if any(3, &super::conntrack::is_flow) => Kind::Flows,
        () if first.trim_start().starts_with("cpu=") && first.contains("insert") => Kind::FlowStats,
        () if any(3, &|l| l.starts_with("1: lo") && l.contains('<')) => Kind::Addresses,
        () if first.starts_with("src=") && first.contains("last_seen") => Kind::Recent,
        () if first.starts_with("{ pkts =") => Kind::Accounts,
        () if is_metrics(text) => Kind::ProxyMetrics,
        () if first.starts_with("Ip: ") || first.starts_with("TcpExt: ") => Kind::Snmp,
        () if name == "softnet_stat" => Kind::Softnet,
        () if any(50, &|l| l.starts_with("default ") && l.contains(" dev ")) => Kind::Routes,
        () if any(5, &|l| l.split_once(" = ").is_some_and(|(k, _)| k.contains('.') && !k.contains(' '))) => {
            Kind::Sysctl
        }
        () => return None,
    })
}

/// Metrics of kube-proxy, in Prometheus' text format.
fn is_metrics(text: &str) -> bool {
    text.contains("\n# TYPE kubeproxy_") || text.starts_with("# TYPE kubeproxy_")
}

pub(super) struct Found {
    path: PathBuf,
    name: String,
    kind: Kind,
    text: String,
}

/// What a file holds.
pub(super) enum Content {
    Text(String),
    /// No text, or none that is known.
    Other,
    /// More than is left of what may be read.
    TooLarge(SourceId),
}

/// Reads a file, unpacked where it is gzipped. Of one that is not known only the beginning is looked at.
pub(super) fn content_of(path: &Path, left: &mut u64) -> std::io::Result<Content> {
    let mut input: Box<dyn Read> = match path == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => Box::new(crate::input::open(path)?),
    };
    let mut bytes = Vec::new();
    input.by_ref().take(2).read_to_end(&mut bytes)?;
    if bytes == [0x1f, 0x8b] {
        let packed = std::io::Cursor::new(std::mem::take(&mut bytes)).chain(input);
        input = Box::new(flate2::read::MultiGzDecoder::new(packed));
    }
    input.by_ref().take(GLANCE as u64).read_to_end(&mut bytes)?;
    // A tar inside: its files are not one.
    if bytes.contains(&0) || bytes.get(257..262) == Some(b"ustar") {
        return Ok(Content::Other);
    }
    let glance = text(bytes.clone());
    let known = understood(&name_of(path), &glance).first().map(|k| k.1);
    if known.is_none() && !is_empty(&glance) {
        return Ok(Content::Other);
    }
    let more = left.saturating_sub(bytes.len() as u64);
    input.take(more + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > *left {
        return Ok(Content::TooLarge(known.map_or(SourceId::Other, Kind::source)));
    }
    *left -= bytes.len() as u64;
    let text = text(bytes);
    Ok(Content::Text(text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text)))
}

/// What a text holds: the outputs of commands that are known, each with the name of its command or of the file.
pub(super) fn understood(name: &str, text: &str) -> Vec<(String, Kind, String)> {
    // Objects of the API are taken as they are; a rule's counters begin with a bracket, too.
    let start = text.trim_start();
    let is_json = start.starts_with('{')
        || start.strip_prefix('[').is_some_and(|r| r.trim_start().starts_with(['{', '"', ']']));
    // A remark of metrics is no prompt.
    if is_json || is_metrics(text) || matches!(name, "os-release" | "hostname" | "uname" | "uname_-a") {
        return kind(name, text).map(|k| (name.to_string(), k, text.to_string())).into_iter().collect();
    }
    let one = |s: super::sections::Section| {
        let own = if s.name.is_empty() { name.to_string() } else { s.name };
        let text = match super::sections::without_handles(&s.text) {
            std::borrow::Cow::Owned(text) => text,
            std::borrow::Cow::Borrowed(_) => s.text,
        };
        Some((own.clone(), kind(&own, &text)?, text))
    };
    super::sections::sections(text).into_iter().filter_map(one).collect()
}

/// Bytes as text: what is no UTF-8 becomes `?`, so that it takes no more room than it did.
pub(super) fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let mut text = String::with_capacity(e.as_bytes().len());
        for chunk in e.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push('?');
            }
        }
        text
    })
}

/// Nothing, or only remarks: a tool had nothing to print.
pub(super) fn is_empty(text: &str) -> bool {
    text.lines().all(|l| l.trim().is_empty() || l.starts_with('#'))
}

/// Name of a file without what says how it is packed.
pub(super) fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    name.strip_suffix(".gz").map_or(name.clone(), str::to_string).trim_end_matches(".txt").to_string()
}

pub(super) fn files_in(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    // The files of a directory before those of the directories in it.
    let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.into_iter().filter(|p| !p.is_symlink()).partition(|p| p.is_dir());
    out.extend(files.into_iter().filter(|p| p.is_file()));
    for d in dirs {
        // Other namespaces' files would be mixed in.
        let other = d.file_name().is_some_and(|n| n == "namespaces" || n == "netns");
        if depth < DEEPEST && !other && out.len() < MOST_FILES {
            files_in(&d, depth + 1, out);
        }
    }
}

/// Reads files and directories within [`BUDGET`].
///
/// # Errors
/// As [`read_within`].
pub fn read(paths: &[PathBuf]) -> Result<Snapshot, String> {
    read_within(paths, BUDGET)
}

/// Reads files and directories: of all together no more than `budget` bytes, unpacked.
///
/// # Errors
/// A file that was named and is none of those that are read, and why; a directory without any; more than the budget.
pub fn read_within(paths: &[PathBuf], budget: u64) -> Result<Snapshot, String> {
    let mut found = Vec::new();
    let mut left = budget;
    let mut too_large = Vec::new();
    let size = || match budget {
        b if b.is_multiple_of(1 << 30) => format!("{} GiB", b >> 30),
        b if b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b => format!("{b} bytes"),
    };
    for path in paths {
        let shown = path.display();
        if path.is_dir() {
            let (mut files, before) = (Vec::new(), found.len());
            files_in(path, 0, &mut files);
            for f in files {
                // What cannot be opened in a directory is as if it were not there, like what is not known.
                match content_of(&f, &mut left) {
                    Ok(Content::Text(text)) => {
                        for (name, kind, text) in understood(&name_of(&f), &text) {
                            found.push(Found { path: f.clone(), name, kind, text });
                        }
                    }
                    Ok(Content::TooLarge(source)) => too_large.push((f, source)),
                    Ok(Content::Other) | Err(_) => {}
                }
            }
            if found.len() == before && too_large.is_empty() {
                return Err(format!("{shown}: no file in it is one that kptop reads\n  -> {KNOWN}"));
            }
            continue;
        }
        let name = name_of(path);
        let content = content_of(path, &mut left).map_err(|e| format!("reading {shown}: {e}"))?;
        let known = match content {
            Content::Text(text) if is_empty(&text) => vec![(name, Kind::Empty, text)],
            Content::Text(text) => understood(&name, &text),
            Content::Other => Vec::new(),
            Content::TooLarge(_) => {
                return Err(format!(
                    "{shown}: kptop reads {} of all files together, and this goes beyond it\n  -> --max-input 4G reads more",
                    size()
                ));
            }
        };
        if known.is_empty() {
            let packed =
                [".tar", ".tgz", ".tar.gz", ".xz", ".zip"].iter().any(|e| path.to_string_lossy().contains(e));
            let hint = if packed { "unpack it first, and name the directory" } else { KNOWN };
            return Err(format!("{shown} is nothing that kptop reads\n  -> {hint}"));
        }
        let parts = known.into_iter();
        found.extend(parts.map(|(name, kind, text)| Found { path: path.clone(), name, kind, text }));
    }
    let mut reader = Reader { named: paths.iter().all(|p| !p.is_dir()), ..Reader::default() };
    for (path, source) in too_large {
        let why = format!("larger than what is left of the {} that are read of all files together", size());
        reader.note(&path, source, UnreadKind::Failed, why);
    }
    reader.all(found)?;
    reader.finish()
}

/// Reads texts with the names of their files, for fuzzing.
#[cfg(any(test, feature = "fuzzing"))]
pub(crate) fn of_texts(texts: impl Iterator<Item = (String, String)>) -> Result<Snapshot, String> {
    let found = texts.flat_map(|(file, text)| {
        let path = PathBuf::from(&file);
        let parts = understood(&file, &text).into_iter();
        parts.map(move |(name, kind, text)| Found { path: path.clone(), name, kind, text })
    });
    let mut reader = Reader::default();
    reader.all(found.collect())?;
    reader.finish()
}

pub(super) const KNOWN: &str = "it reads iptables-save and ip6tables-save (with -c or without), nft list ruleset (with -j or without), \
                     ipvsadm -Sn and -Ln (--stats), ipset save, conntrack -L and -S, ip addr, sysctl -a, \
                     kubectl get services,endpointslices,nodes -A -o json, kube-proxy's /metrics, /configz and /healthz, sosreports, and recordings of kptop";

#[derive(Default)]
pub(super) struct Reader {
    snapshot: Snapshot,
    /// True where each file was named: what is wrong with one is an error then.
    named: bool,
    single: BTreeMap<Kind, PathBuf>,
    nft: Vec<SavedTable>,
    /// Families of which iptables-nft-save said that iptables-legacy has tables, too.
    legacy: Vec<IpFamily>,
    listed: Vec<SavedTable>,
    ipvs: Option<ipvs::Ipvs>,
    counters: Counters,
    accounts: Vec<Object>,
    objects: Vec<(String, String)>,
    remembered: Remembered,
    limits: Limits,
    cpus: Vec<Stats>,
    flows: Option<crate::snapshot::Flows>,
    kube_proxy: Option<KubeProxy>,
}

impl Reader {
    fn note(&mut self, file: &Path, source: SourceId, kind: UnreadKind, why: String) {
        self.snapshot.unread.push(Unread::of_files(source, kind, file.display().to_string(), why));
    }

    fn all(&mut self, found: Vec<Found>) -> Result<(), String> {
        // When it was taken, the newest of the files says.
        let modified = |f: &Found| std::fs::metadata(&f.path).and_then(|m| m.modified()).ok();
        let newest = found.iter().filter_map(modified).max();
        self.snapshot.taken_at = newest.and_then(|t| t.try_into().ok()).unwrap_or_default();
        for f in found {
            if f.kind.is_single() {
                if let Some(first) = self.single.get(&f.kind) {
                    let why = format!("{} was read from {} already", f.kind.words(), first.display());
                    self.note(&f.path, f.kind.source(), UnreadKind::Missing, why);
                    continue;
                }
                self.single.insert(f.kind, f.path.clone());
            }
            if let Err(why) = self.one(&f) {
                let why = format!("as {}: {why}", f.kind.words());
                if self.named {
                    return Err(format!("{}: {why}", f.path.display()));
                }
                self.note(&f.path, f.kind.source(), UnreadKind::Failed, why);
            }
        }
        Ok(())
    }

    fn one(&mut self, f: &Found) -> Result<(), String> {
        let text = f.text.as_str();
        match f.kind {
            Kind::Save => self.save(f)?,
            Kind::Commands => self.save(&Found {
                path: f.path.clone(),
                name: f.name.clone(),
                kind: Kind::Save,
                text: super::sections::commands_as_save(&f.name, text),
            })?,
            Kind::Listing => {
                let table = super::listing::table_of(&f.name, text);
                let family = if f.name.starts_with("ip6") { IpFamily::V6 } else { IpFamily::V4 };
                let listed = super::listing::read(text, family, table)?;
                if !listed.unread.is_empty() {
                    let first: Vec<String> = listed.unread.iter().take(5).map(ToString::to_string).collect();
                    let why = format!("{} lines are no rules: {}", listed.unread.len(), first.join(", "));
                    self.note(&f.path, SourceId::FilterTable, UnreadKind::NotGiven, why);
                }
                if !listed.whole {
                    let why = "a listing without -v has neither counters nor interfaces".to_string();
                    self.note(&f.path, SourceId::FilterTable, UnreadKind::NotGiven, why);
                }
                self.listed.push(with_backend(listed.table, TableBackend::XTables));
            }
            Kind::NftJson => self.nft = parse_nft_json(text).map_err(|e| e.to_string())?,
            Kind::Nft => {
                if !self.single.contains_key(&Kind::NftJson) {
                    self.nft = parse_nft(text).map_err(|e| e.to_string())?;
                }
            }
            Kind::IpvsSave | Kind::IpvsList | Kind::IpvsStats => {
                super::ipvsadm::read(text, self.ipvs.get_or_insert_default())?;
            }
            Kind::Ipset => {
                let (sets, kept) = super::ipset::read(text)?;
                self.snapshot.ipsets = Some(reading(sets));
                if let Some(why) = kept {
                    self.note(&f.path, f.kind.source(), UnreadKind::Failed, why);
                }
            }
            Kind::Flows => {
                let (flows, other) = super::conntrack::read(text);
                let cut = text.lines().next_back().is_some_and(|l| !l.contains("flow entries")) && other > 0;
                if cut && self.named {
                    return Err(format!(
                        "its last line is no flow: was the file cut off? ({other} such lines)"
                    ));
                }
                if other > 1 || cut {
                    self.note(
                        &f.path,
                        f.kind.source(),
                        UnreadKind::Failed,
                        format!("{other} lines are no flows"),
                    );
                }
                self.flows = Some(flows);
            }
            Kind::FlowStats => self.cpus = super::conntrack::stats(text),
            Kind::Sysctl => {
                let (sysctls, all) = sysctl::of_text(text);
                self.snapshot.sysctls = Arc::new(sysctls);
                let n =
                    |name: &str| all.get(&format!("net/netfilter/nf_conntrack_{name}"))?.parse::<u64>().ok();
                self.limits = Limits {
                    count: n("count"),
                    max: n("max"),
                    buckets: n("buckets"),
                    accounting: n("acct").map(|n| n != 0),
                    timestamps: n("timestamp").map(|n| n != 0),
                };
                let node = Arc::make_mut(&mut self.snapshot.node);
                let named = |key: &str| all.get(key).cloned();
                node.hostname = node.hostname.take().or_else(|| named("kernel/hostname"));
                node.kernel = node.kernel.take().or_else(|| named("kernel/osrelease"));
            }
            Kind::Addresses => {
                let (links, addresses) = super::node::addresses(text);
                self.snapshot.links = Arc::new(links);
                self.snapshot.addresses = Arc::new(addresses);
            }
            Kind::Routes => Arc::make_mut(&mut self.snapshot.routes).extend(super::node::routes(text)),
            Kind::Objects => self.objects.push((f.path.display().to_string(), f.text.clone())),
            Kind::Accounts => self.accounts.extend(accounts(text)),
            Kind::Recent => {
                let clients = text.lines().filter_map(recent::parse).map(|c| RememberedClient {
                    address: c.address,
                    expires: None,
                    packets: Some(c.packets),
                });
                let list = MemoryList::Recent(f.name.clone());
                self.remembered.lists.push((list, clients.collect()));
            }
            Kind::Snmp => counters::parse(text, &mut self.counters.named),
            Kind::ProxyMetrics => {
                let read =
                    crate::kube_proxy::metrics(text).ok_or("it has no metrics of kube-proxy's syncs")?;
                self.kube_proxy.get_or_insert_default().metrics = Answer::Given(read);
            }
            Kind::ProxyConfig => {
                let read = crate::kube_proxy::config(text).ok_or("it is no configuration of kube-proxy's")?;
                self.kube_proxy.get_or_insert_default().config = Some(read);
            }
            Kind::ProxyHealth => {
                // The status is not in the text; from 1.33 on it says whether all is well.
                let status = if text.replace(' ', "").contains("\"healthy\":false") { 503 } else { 200 };
                let read =
                    crate::kube_proxy::health(status, text).ok_or("it is no health of kube-proxy's")?;
                let of = self.kube_proxy.get_or_insert_default();
                of.asked_at = read.asked_at.unwrap_or_default();
                of.health = Answer::Given(read);
            }
            Kind::Softnet => self.counters.softnet = counters::parse_softnet(text),
            Kind::Empty => {
                self.note(&f.path, f.kind.source(), UnreadKind::Missing, "it holds nothing".into());
            }
            Kind::Small => {
                super::node::small(&f.name, text, &mut self.snapshot);
            }
        }
        Ok(())
    }

    fn save(&mut self, f: &Found) -> Result<(), String> {
        let head: String = f.text.lines().take(3).collect();
        let is_v6 = head.contains("ip6tables") || f.name.contains("ip6");
        let nft = head.contains("nf_tables") || head.contains("xtables-save") || f.name.contains("-nft");
        let backend = if nft { TableBackend::NfTables } else { TableBackend::XTables };
        let mut parsed = parse_save_lenient(&f.text, if is_v6 { IpFamily::V6 } else { IpFamily::V4 });
        // Without its head the addresses say.
        if !parsed.errors.is_empty() && !head.contains("Generated by") && !is_v6 {
            let other = parse_save_lenient(&f.text, IpFamily::V6);
            if other.errors.len() < parsed.errors.len() {
                parsed = other;
            }
        }
        // A table of which the end is missing is not whole; a rule that is not understood is kept as it is.
        let LenientSave { tables, errors, cut } = parsed;
        if let Some(why) = cut.as_ref().or(errors.first().filter(|_| tables.is_empty())) {
            return Err(why.to_string());
        }
        if !errors.is_empty() {
            let some: Vec<String> = errors.iter().take(3).map(ToString::to_string).collect();
            let why = format!(
                "{} not understood, kept as text: {}",
                plural(errors.len() as u64, "line"),
                some.join("; ")
            );
            self.note(&f.path, SourceId::Other, UnreadKind::Missing, why);
        }
        // `xtables_restore_main` and its kin print this to the same terminal (iptables/xtables-save.c, since 1.8.0).
        if f.text.lines().any(|l| l.starts_with("# Warning: ip") && l.contains("-legacy tables present")) {
            self.legacy.push(if is_v6 { IpFamily::V6 } else { IpFamily::V4 });
        }
        // Without -c nothing is known of what rules counted.
        let counted = f.text.lines().any(|l| l.starts_with('['));
        for t in tables {
            let mut t = with_backend(t, backend);
            t.table.rules.iter_mut().for_each(|r| r.counted &= counted);
            let there = self.snapshot.table(backend, t.table.family, &t.table.name).is_some();
            match there {
                true => {
                    let why = format!("table {} was read from another file already", t.table.name);
                    self.note(&f.path, f.kind.source(), UnreadKind::Missing, why);
                }
                false => self.push(t),
            }
        }
        Ok(())
    }

    pub(super) fn push(&mut self, t: SavedTable) {
        let state = TableState::new(Duration::ZERO, Arc::new(t.table), Arc::new(t.counters));
        self.snapshot.tables.push(state);
    }

    fn finish(mut self) -> Result<Snapshot, String> {
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
        let nft_there = self.single.contains_key(&Kind::Nft) || self.single.contains_key(&Kind::NftJson);
        for t in std::mem::take(&mut self.listed) {
            let there = |b| self.snapshot.table(b, t.table.family, &t.table.name).is_some();
            if !there(TableBackend::XTables) && !there(TableBackend::NfTables) {
                // Where nft listed a ruleset, iptables is the one that writes there.
                let backend = if nft_there { TableBackend::NfTables } else { TableBackend::XTables };
                self.push(with_backend(t, backend));
            }
        }
        let family = |f: Family| [Family::Ip, Family::Ip6].iter().position(|x| *x == f).unwrap_or(9);
        self.snapshot.tables.sort_by(|a, b| {
            let key = |t: &TableState| (t.backend, family(t.family));
            key(a).cmp(&key(b)).then_with(|| a.table.name.cmp(&b.table.name))
        });
        let s = &mut self.snapshot;
        s.kube_proxy = self.kube_proxy.map(|mut k| {
            if k.asked_at == jiff::Timestamp::default() {
                k.asked_at = s.taken_at;
            }
            Arc::new(k)
        });
        let stats = self.single.contains_key(&Kind::IpvsStats);
        s.ipvs = self.ipvs.map(|i| reading(ipvs::Ipvs { uncounted: !stats, ..i }));
        if self.counters != Counters::default() {
            s.counters = Some(reading(self.counters));
        }
        if !self.accounts.is_empty() {
            s.accounts = Some(reading(self.accounts));
        }
        if !self.remembered.lists.is_empty() {
            s.remembered = Some(reading(self.remembered));
        }
        if let Some(link) = s.routes.iter().find(|r| r.is_default()).map(|r| r.interface.clone()) {
            Arc::make_mut(&mut s.addresses).sort_by_key(|a| a.interface != link);
        }
        if self.flows.is_some() || self.limits != Limits::default() || !self.cpus.is_empty() {
            let mut limits = self.limits;
            limits.count = limits.count.or(self.flows.as_ref().map(|f| f.total));
            if let Some(f) = &self.flows {
                limits.accounting = limits.accounting.or(Some(f.accounting));
            }
            s.conntrack = Some(Conntrack {
                at: Duration::ZERO,
                limits,
                stats: (!self.cpus.is_empty()).then(|| Stats::sum(&self.cpus)),
                cpus: self.cpus,
                flows: self.flows.map(reading),
            });
        }
        if !self.objects.is_empty() {
            let texts = self.objects.iter().map(|(n, t)| (n.as_str(), t.as_str()));
            match read_list(texts) {
                Ok(mut listed) => {
                    for why in listed.unread {
                        s.unread.push(of_objects(why));
                    }
                    let own = |a: &std::net::IpAddr| s.addresses.iter().any(|x| x.address == *a);
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
                        complete: endpoints && !listed.services.is_empty(),
                        services: listed.services,
                        node: node.map(|i| listed.nodes.swap_remove(i)),
                        removed: Vec::new(),
                    }));
                }
                Err(why) if self.named => return Err(format!("{why} (was the file cut off?)")),
                Err(why) => {
                    s.unread.push(of_objects(why));
                }
            }
        }
        let parts = super::missing::parts(&s.tables, &self.legacy);
        s.unread.extend(parts);
        // What files could have said, and these do not.
        for (source, what, is_there, which) in [
            (
                SourceId::Flows,
                "flows",
                s.conntrack.as_ref().is_some_and(|c| c.flows.is_some()),
                "conntrack -L",
            ),
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
        Ok(self.snapshot)
    }
}

pub(super) fn of_objects(why: String) -> Unread {
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

/// `{ pkts = 00000000000000000007, bytes = 00000000000000000900 } = ct_state_invalid_dropped_pkts;`
pub(super) fn accounts(text: &str) -> Vec<Object> {
    text.lines()
        .filter_map(|l| {
            let (figures, name) = l.split_once("} =")?;
            let n = |key: &str| {
                let rest = figures.split_once(key)?.1.trim_start_matches([' ', '=']);
                rest.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
            };
            Some(Object {
                name: name.trim().trim_end_matches(';').to_string(),
                counter: Counter { packets: n("pkts")?, bytes: n("bytes")? },
                references: 0,
            })
        })
        .collect()
}
