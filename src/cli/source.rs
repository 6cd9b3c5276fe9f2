//! What a command looks at: this node, a namespace of it, a demo, a recording, or files that other tools wrote.

use super::demo_of::{DemoOf, Running};
use super::print::{say, with_hint};
use super::values::parse_size;
use crate::api::{ApiOptions, ApiWatch};
use crate::proxy::Names;
use crate::recording::{Head, Recording, Ring};
use crate::snapshot::dump;
use crate::snapshot::facts::{Flow, LIVE, hostname, is_bpffs, keep_reading_only};
use crate::snapshot::live::{CountFlows, Live, LookedAt, Wanted};
use crate::snapshot::{Snapshot, Unread};
use crate::tui::Input;
use clap::Args;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long a command that prints once waits for names.
const NAMES: Duration = Duration::from_secs(3);

/// How long it waits for kube-proxy, which answers from this machine.
const KUBE_PROXY: Duration = Duration::from_secs(1);

/// What a build without the feature `node` says where it is to look at the node.
const READS_NO_KERNEL: &str = "this kptop reads no kernel: it was built without that, or for another system than Linux\n  \
     -> give it files with --from, or what `kptop record` or `kptop collect` wrote on a node";

#[derive(Clone, Debug, Args)]
pub(super) struct SourceArgs {
    /// Read this network namespace instead of the node's own: a name of `ip netns`, a path, or a process id.
    #[arg(long, global = true, value_name = "NAME|PATH|PID")]
    pub(super) netns: Option<String>,
    /// Look at files instead of this node: what iptables-save, nft, ipvsadm, ipset, conntrack, ip and kubectl print, also pasted
    /// together; directories, tar, zip and collectors' bundles with such files; `-` for standard input; or a recording of kptop. `kptop
    /// files` says what was used of them.
    #[arg(long, global = true, value_name = "PATH", num_args = 1..)]
    pub(super) from: Vec<PathBuf>,
    /// With --from: the node to look at, where the files are of several.
    #[arg(long, global = true, value_name = "NAME", requires = "from")]
    pub(super) node: Option<String>,
    /// With --from: bytes that are read of all files together, unpacked: 500M, 4G.
    #[arg(long, global = true, value_name = "BYTES", default_value = "1G", value_parser = parse_size)]
    pub(super) max_input: u64,
    /// File of names: what `kubectl get svc -A` prints (also as YAML or JSON), or one `namespace/name[:port]` a line, for rules
    /// whose comments kube-proxy left off.
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) names: Option<PathBuf>,
    /// Ask the Kubernetes API that this file leads to for names [default: KUBECONFIG, the pod's service account, kube-proxy's or
    /// the kubelet's own file].
    #[arg(long, global = true, value_name = "FILE")]
    pub(super) kubeconfig: Option<PathBuf>,
    /// Do not ask the Kubernetes API.
    #[arg(long, global = true, conflicts_with = "kubeconfig")]
    pub(super) no_api: bool,
    /// Do not ask kube-proxy on 127.0.0.1:10249 and 10256 how it is.
    #[arg(long, global = true)]
    pub(super) no_kube_proxy: bool,
    /// Count new flows by conntrack's notices: where no rule counts them, which is nftables mode, in every mode, or never.
    #[arg(long, global = true, value_name = "WHEN", value_enum, default_value_t)]
    pub(super) new_flows: CountFlows,
    /// Where Cilium or Calico pin their eBPF maps [default: /sys/fs/bpf, and of other namespaces nothing].
    #[arg(long, global = true, value_name = "DIR", conflicts_with = "from")]
    pub(super) bpffs: Option<PathBuf>,
    /// Name of this Node in the cluster [default: NODE_NAME, or the host name].
    #[arg(long, global = true, value_name = "NAME")]
    pub(super) node_name: Option<String>,
}

impl SourceArgs {
    /// Begins to ask the API, where there is one.
    pub(super) fn api(&self) -> Result<Option<Arc<ApiWatch>>, String> {
        if let Some(path) = &self.kubeconfig {
            crate::input::small_text(path).map_err(|e| format!("reading {}: {e}", path.display()))?;
        }
        // Other namespaces belong to other things than this cluster, unless a user says so.
        if self.no_api || !self.from.is_empty() || (self.netns.is_some() && self.kubeconfig.is_none()) {
            return Ok(None);
        }
        let hostname = hostname();
        let options = ApiOptions {
            kubeconfig: self.kubeconfig.clone(),
            node_name: self.name_of_node(),
            hostname: hostname.map(|h| h.to_lowercase()),
        };
        Ok(ApiWatch::start(&options).map(Arc::new))
    }

    /// Name of this Node in the cluster, where it is said.
    pub(super) fn name_of_node(&self) -> Option<String> {
        let named = || std::env::var("NODE_NAME").ok().filter(|n| !n.is_empty());
        self.node_name.clone().or_else(named)
    }

    /// Where eBPF maps are looked for: they are the machine's, and not another namespace's.
    fn bpffs(&self) -> Option<PathBuf> {
        let own = self.netns.is_none().then(|| PathBuf::from("/sys/fs/bpf"));
        self.bpffs.clone().or(own)
    }

    /// The names that were asked for.
    pub(super) fn names(&self) -> Result<Names, String> {
        let Some(path) = &self.names else { return Ok(Names::default()) };
        let text = crate::input::small_text(path).map_err(|e| format!("reading {}: {e}", path.display()))?;
        let no_list = match Names::parse(&text) {
            Ok(names) => return Ok(names),
            Err(e) => e,
        };
        // Objects say addresses, too.
        let texts = std::iter::once((path.display().to_string(), text));
        let read = dump::of_texts(texts).ok().and_then(|s| s.cluster);
        match read.filter(|c| !c.services.is_empty()) {
            Some(cluster) => Ok(Names::of_cluster(&cluster)),
            None => {
                Err(format!("{}: {no_list}, nor are there Services as kubectl prints them", path.display()))
            }
        }
    }

    /// An error where something is asked for that only a live node has.
    pub(super) fn need_live(&self, what: &str) -> Result<(), String> {
        match self.from.is_empty() {
            true if LIVE => Ok(()),
            true => Err(format!("{what} needs a node: {READS_NO_KERNEL}")),
            false => Err(format!("{what} needs a live node: --from does not go with it")),
        }
    }

    /// An error where two different things are to be looked at.
    fn check(&self) -> Result<(), String> {
        if !self.from.is_empty() && self.netns.is_some() {
            return Err("--from and --netns do not go together: files or this kernel".into());
        }
        if self.from.is_empty() && !LIVE {
            return Err(READS_NO_KERNEL.into());
        }
        let Some(bpffs) = &self.bpffs else { return Ok(()) };
        let wrong = |why: &str| {
            let next = "name a mounted one (mount -t bpf shows them), or leave the flag out";
            Err(format!("--bpffs {}: {why}; {next}", bpffs.display()))
        };
        match is_bpffs(bpffs) {
            Ok(true) => Ok(()),
            Ok(false) => wrong("this is no bpffs"),
            Err(e) => wrong(&e.to_string()),
        }
    }

    /// What the screen is to show.
    pub(super) fn input(&self) -> Result<Input, String> {
        self.check()?;
        if !self.from.is_empty() {
            return Ok(Input::Recording(Box::new(files(self)?), 0));
        }
        let (spec, api, ask) = (self.netns.clone(), self.api()?, !self.no_kube_proxy);
        let bpffs = self.bpffs();
        let count_flows = self.new_flows;
        let open = move || {
            let live = Live::open(spec.as_deref())?.with_api(api).asking_kube_proxy(ask).with_maps(bpffs);
            Ok(live.counting_new_flows(count_flows))
        };
        Ok(Input::Live(Box::new(open)))
    }
}

/// A recording, or files as a recording of one reading.
pub(super) fn files(args: &SourceArgs) -> Result<Recording, String> {
    let paths = &args.from;
    if let [one] = paths.as_slice()
        && is_recording(one)
    {
        return Recording::open(one);
    }
    // What `kptop collect` wrote: its recording says more than its texts.
    if let [one] = paths.as_slice()
        && one.is_file()
        && let Some((name, bytes)) = dump::find_in_archive(one, args.max_input, &Recording::is_one)
    {
        return Recording::of_bytes(&format!("{}/{name}", one.display()), bytes);
    }
    if let Some(path) = paths.iter().find(|p| is_recording(p)) {
        return Err(format!("{} is a recording: it does not go together with other files", path.display()));
    }
    let snapshot = dump::read_of(paths, args.max_input, args.node.as_deref())?;
    let mut ring = Ring::new(Head::default(), usize::MAX, Duration::MAX);
    ring.push(&snapshot).map_err(|e| format!("keeping what was read: {e}"))?;
    Ok(ring.recording())
}

fn is_recording(path: &Path) -> bool {
    // A pipe gives its bytes once.
    if !path.is_file() {
        return false;
    }
    let mut beginning = [0; 8];
    let read = std::fs::File::open(path).and_then(|mut f| f.read_exact(&mut beginning));
    read.is_ok() && Recording::is_one(&beginning)
}

/// Says what of a recording is missing, once.
pub(super) fn tell_cut(recording: &Recording) {
    if let Some(cut) = recording.cut() {
        say(&format!("the recording ends early: {cut}"));
    }
}

/// Where readings come from.
pub(super) enum Source {
    /// A namespace; a demo lives as long.
    Live { live: Box<Live>, api: Option<Arc<ApiWatch>>, _demo: Option<Running> },
    /// A recording, at one of its readings.
    Recording { recording: Box<Recording>, index: usize },
}

impl Source {
    /// Opens what the flags say. Of a recording, the readings of the last `back` are looked at.
    pub(super) fn open(args: &SourceArgs, demo: Option<DemoOf>, back: Duration) -> Result<Source, String> {
        if let Some(demo) = demo {
            if args.netns.is_some() || !args.from.is_empty() {
                return Err("--demo makes its own namespaces: --netns and --from do not go with it".into());
            }
            let (live, running) = demo.open()?;
            return Ok(Source::Live { live: Box::new(live), api: None, _demo: Some(running) });
        }
        args.check()?;
        if !args.from.is_empty() {
            let recording = files(args)?;
            tell_cut(&recording);
            let last = recording.len() - 1;
            // More than any recording has is all of it.
            let back = jiff::SignedDuration::try_from(back).unwrap_or(jiff::SignedDuration::MAX);
            let begin = recording.time(last).checked_sub(back);
            let mut index = begin.map_or(0, |b| recording.at(b));
            while recording.session(index) != recording.session(last) {
                index += 1;
            }
            return Ok(Source::Recording { recording: Box::new(recording), index });
        }
        let api = args.api()?;
        let live = Live::open(args.netns.as_deref()).map_err(|e| with_hint(&e))?.with_api(api.clone());
        let live = live.asking_kube_proxy(!args.no_kube_proxy).with_maps(args.bpffs());
        give_up(keep_reading_only());
        Ok(Source::Live { live: Box::new(live), api, _demo: None })
    }

    /// True where waiting makes newer readings.
    pub(super) fn is_live(&self) -> bool {
        matches!(self, Source::Live { .. })
    }

    /// Waits for the names and for kube-proxy, for a command that prints once. Nothing else ever waits for them.
    pub(super) fn wait_for_names(&self) {
        if let Source::Live { live, .. } = self {
            live.wait_for_kube_proxy(KUBE_PROXY);
        }
        if let Source::Live { api: Some(api), .. } = self {
            api.wait(NAMES);
        }
    }

    /// The reading.
    pub(super) fn snapshot(&mut self, wanted: Wanted) -> Result<Snapshot, String> {
        match self {
            Source::Live { live, .. } => Ok(live.snapshot(wanted)),
            Source::Recording { recording, index } => recording
                .snapshot(*index)
                .map_err(|e| format!("reading {} of the recording: {e}", *index + 1)),
        }
    }

    /// Lets time pass; false where there is no later reading.
    pub(super) fn pass(&mut self, time: Duration) -> bool {
        match self {
            Source::Live { .. } => {
                std::thread::sleep(time);
                true
            }
            Source::Recording { recording, index } => {
                let begin = recording.time(*index);
                let session = recording.session(*index);
                let is_later = |i: &usize| {
                    let passed = Duration::try_from(recording.time(*i).duration_since(begin));
                    passed.is_ok_and(|p| p >= time)
                };
                let mut rest = *index + 1..recording.len();
                let mine = |i: &usize| recording.session(*i) == session;
                let next = rest.clone().filter(mine).find(is_later).or_else(|| rest.rfind(mine));
                match next {
                    Some(i) => *index = i,
                    None => return false,
                }
                true
            }
        }
    }

    /// For commands that read twice: lets time pass, in a recording up to its end; false where there is no later reading.
    pub(super) fn pass_to_end(&mut self, time: Duration) -> bool {
        match self {
            Source::Live { .. } => self.pass(time),
            Source::Recording { recording, index } => {
                let last = recording.len() - 1;
                let is_later = *index < last;
                *index = last;
                is_later
            }
        }
    }

    /// Every flow of conntrack, one by one; none of a recording, which does not hold them.
    pub(super) fn each_flow(&mut self, each: &mut dyn FnMut(&Flow)) {
        if let Source::Live { live, .. } = self {
            // What could not be read was said with the first reading.
            let _ = live.each_flow(each);
        }
    }

    /// Reads also this, from now on; a recording holds what it holds.
    pub(super) fn look_at(&mut self, what: LookedAt) {
        if let Source::Live { live, .. } = self {
            live.look_at(what);
        }
    }

    /// From now on all new flows are counted, when this says so.
    pub(super) fn counting_new_flows(self, when: CountFlows) -> Source {
        match self {
            Source::Live { live, api, _demo } => {
                Source::Live { live: Box::new(live.counting_new_flows(when)), api, _demo }
            }
            other => other,
        }
    }

    /// Whether something else counts new flows, as a reading showed.
    pub(super) fn new_flows_are_counted(&mut self, elsewhere: bool) {
        if let Source::Live { live, .. } = self {
            live.new_flows_are_counted(elsewhere);
        }
    }

    /// From now on sources that cost much are read less often.
    pub(super) fn paced(self) -> Source {
        match self {
            Source::Live { live, api, _demo } => Source::Live { live: Box::new(live.paced()), api, _demo },
            other => other,
        }
    }
}

/// Giving up privileges that are not needed: what fails is reported, and is no reason to keep an operator from looking.
pub(super) fn give_up(result: Result<(), crate::snapshot::Error>) {
    if let Err(e) = result {
        say(&format!("{e}"));
    }
}

/// Says what of a node could not be read, for commands that do not print it.
pub(super) fn tell_unread(snapshot: &Snapshot) {
    for u in snapshot.failed() {
        say(&crate::output::one_line(&format!("not read: {}: {}", u.what, u.why)));
    }
}

/// An error where the rules, which a command is about, could not be read.
pub(super) fn need_rules(snapshot: &Snapshot) -> Result<(), String> {
    if snapshot.rules_read() {
        return Ok(());
    }
    let unread: Option<&Unread> = snapshot.failed().next();
    let why = unread.map_or(String::new(), |u| format!(": {}: {}", u.what, u.why));
    Err(format!("the rules of this node could not be read{why}"))
}
