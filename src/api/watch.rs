//! Watching the API from a thread of its own: nothing else ever waits for it.

use super::errors::chain;
use super::objects::{Catalog, Key};
use super::signs::{Kind, Signs};
use super::{ApiState, Cluster, ClusterNode, Removed, Trouble, node, service, slice};
use futures_util::StreamExt;
use jiff::Timestamp;
use k8s_openapi::api::core::v1::{Node, Service};
use k8s_openapi::api::discovery::v1::EndpointSlice;
use kube::config::{AuthInfo, KubeConfigOptions, Kubeconfig};
use kube::runtime::watcher::{self, Event, watcher};
use kube::{Api, Client, Config};
use std::collections::{HashSet, VecDeque};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::mpsc::{Sender, channel};

/// Where access to the API may be found.
#[derive(Clone, Debug, Default)]
pub struct ApiOptions {
    /// This file, and no other place.
    pub kubeconfig: Option<PathBuf>,
    /// Name of this node, where it is not its host name.
    pub node_name: Option<String>,
    /// Addresses of this node: its Node object is known by them where the name differs.
    pub hostname: Option<String>,
}

/// Where kubelet and kube-proxy keep theirs: kubeadm, managed clouds, k3s and RKE2. kube-proxy's comes first, as it may
/// read EndpointSlices and the kubelet's may not.
const OWN_FILES: [&str; 8] = [
    "/etc/kubernetes/kube-proxy.conf",
    "/etc/kubernetes/kube-proxy.kubeconfig",
    "/var/lib/kube-proxy/kubeconfig",
    "/var/lib/rancher/k3s/agent/kubeproxy.kubeconfig",
    "/var/lib/rancher/rke2/agent/kubeproxy.kubeconfig",
    "/etc/kubernetes/kubelet.conf",
    "/var/lib/kubelet/kubeconfig",
    "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
];

/// The token of a pod's service account (`kubernetes/client-go/rest`, `InClusterConfig`).
const TOKEN: &str = "/var/run/secrets/kubernetes.io/serviceaccount/token";

/// How long the server may be silent. kube's watcher asks for a watch of 290 s by itself; bookmarks come each minute.
const CONNECT: Duration = Duration::from_secs(10);

/// Waits between tries: 1 s, doubled up to this.
const LONGEST_WAIT: Duration = Duration::from_secs(30);

/// How long the server may be silent before it is asked whether it is still there, while somebody looks.
const SILENT: Duration = Duration::from_secs(5);

/// How long its answer may take.
const ANSWER: Duration = Duration::from_secs(10);

/// A watch that is open again has sent by then what it missed.
const SETTLED: Duration = Duration::from_secs(1);

/// Deleted Services that are remembered.
const MOST_REMOVED: usize = 1_000;

/// Changes are reported together where they come in bursts.
const TOGETHER: Duration = Duration::from_millis(100);

/// A watch that runs until this is dropped.
#[derive(Debug)]
pub struct ApiWatch {
    shared: Arc<Shared>,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
}

#[derive(Debug)]
struct Shared {
    cluster: Mutex<Arc<Cluster>>,
    changed: Condvar,
    signs: Arc<Signs>,
    /// Whether somebody looked since the server was asked.
    looked_at: AtomicBool,
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, Arc<Cluster>> {
        // Poisoned: the watch panicked between two whole values.
        self.cluster.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Where access to the API was found.
#[derive(Debug)]
enum Access {
    File(PathBuf),
    Pod,
}

impl Access {
    fn find(options: &ApiOptions) -> Option<Access> {
        if let Some(file) = &options.kubeconfig {
            return Some(Access::File(file.clone()));
        }
        if let Some(list) = std::env::var_os("KUBECONFIG").filter(|v| !v.is_empty()) {
            // As kubectl reads it: the first file that is there.
            let mut files = std::env::split_paths(&list).filter(|p| !p.as_os_str().is_empty());
            let first = files.next()?;
            let there = std::iter::once(first.clone()).chain(files).find(|p| p.exists());
            return Some(Access::File(there.unwrap_or(first)));
        }
        if std::env::var_os("KUBERNETES_SERVICE_HOST").is_some() && Path::new(TOKEN).exists() {
            return Some(Access::Pod);
        }
        let own = OWN_FILES.iter().map(PathBuf::from).find(|p| std::fs::File::open(p).is_ok());
        own.map(Access::File)
    }

    fn words(&self) -> String {
        match self {
            Access::File(path) => path.display().to_string(),
            Access::Pod => "the pod's service account".into(),
        }
    }

    /// The configuration, and the proxy that the kubeconfig names.
    async fn config(&self) -> Result<(Config, Option<String>), String> {
        let mut proxy = None;
        let mut config = match self {
            Access::Pod => Config::incluster().map_err(|e| e.to_string())?,
            Access::File(path) => {
                // kube reads files whole, however large they are.
                let text = crate::input::small_text(path).map_err(|e| e.to_string())?;
                let mut read = Kubeconfig::from_yaml(&text).map_err(|e| chain(&e))?;
                proxy = own_proxy(&mut read);
                from_here(&mut read, path);
                Config::from_custom_kubeconfig(read, &KubeConfigOptions::default())
                    .await
                    .map_err(|e| chain(&e))?
            }
        };
        no_helper(&config.auth_info)?;
        config.connect_timeout = Some(CONNECT);
        Ok((config, proxy))
    }
}

/// Credentials that another program would have to fetch: kptop runs none.
fn no_helper(auth: &AuthInfo) -> Result<(), String> {
    match (&auth.exec, &auth.auth_provider) {
        (Some(exec), _) => Err(format!(
            "its user runs {} for a token, and kptop runs no other program: use a kubeconfig with a token or certificate",
            exec.command.as_deref().unwrap_or("a program")
        )),
        (_, Some(provider)) => Err(format!(
            "its user has the auth provider {}, which kptop does not have: use a kubeconfig with a token or certificate",
            provider.name
        )),
        _ => Ok(()),
    }
}

/// Takes the proxy out of the cluster that is used; the environment's is looked for apart.
fn own_proxy(read: &mut Kubeconfig) -> Option<String> {
    let now = read.current_context.clone()?;
    let context = read.contexts.iter().find(|c| c.name == now)?.context.as_ref()?;
    let cluster = context.cluster.clone();
    read.clusters.iter_mut().find(|c| c.name == cluster)?.cluster.as_mut()?.proxy_url.take()
}

/// Relative paths in a kubeconfig are those of its own directory (`Kubeconfig::read_from`).
fn from_here(read: &mut Kubeconfig, path: &Path) {
    let Some(dir) = path.parent() else { return };
    let join = |text: &mut Option<String>| {
        if let Some(t) = text
            && !t.is_empty()
        {
            *t = dir.join(&*t).to_string_lossy().into_owned();
        }
    };
    for c in read.clusters.iter_mut().filter_map(|c| c.cluster.as_mut()) {
        join(&mut c.certificate_authority);
    }
    for a in read.auth_infos.iter_mut().filter_map(|a| a.auth_info.as_mut()) {
        join(&mut a.client_certificate);
        join(&mut a.client_key);
        join(&mut a.token_file);
    }
}

impl ApiWatch {
    /// Begins to watch; `None` where no access to an API was found and none was asked for. Never blocks.
    pub fn start(options: &ApiOptions) -> Option<ApiWatch> {
        let access = Access::find(options)?;
        let state = ApiState { access: access.words(), ..ApiState::default() };
        let shared = Arc::new(Shared {
            cluster: Mutex::new(Arc::new(Cluster { state, ..Cluster::default() })),
            changed: Condvar::new(),
            signs: Arc::default(),
            looked_at: AtomicBool::new(true),
        });
        let (stop, stopped) = tokio::sync::oneshot::channel();
        let (to, options) = (shared.clone(), options.clone());
        let run = move || {
            // It talks to the network: rules and flows are none of its business.
            let _ = crate::kernel::privileges::keep_files_only();
            let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else {
                return;
            };
            runtime.block_on(async {
                tokio::select! {
                    () = follow(&access, &options, &to) => {}
                    _ = stopped => {}
                }
            });
        };
        // Without the thread there are no names, and nothing else is missed.
        std::thread::Builder::new().name("kubernetes".into()).spawn(run).ok()?;
        Some(ApiWatch { shared, stop: Some(stop) })
    }

    /// What is known now.
    pub fn get(&self) -> Arc<Cluster> {
        self.shared.looked_at.store(true, Ordering::Relaxed);
        self.shared.lock().clone()
    }

    /// When the server was heard last.
    pub fn heard_at(&self) -> Option<Timestamp> {
        self.shared.signs.heard_at()
    }

    /// Waits until everything was read or something is wrong, but no longer than this.
    pub fn wait(&self, most: Duration) -> Arc<Cluster> {
        let end = Instant::now() + most;
        let mut now = self.shared.lock();
        while !now.complete && now.state.trouble.is_none() {
            let left = end.saturating_duration_since(Instant::now());
            if left.is_zero() {
                break;
            }
            now = self.shared.changed.wait_timeout(now, left).unwrap_or_else(PoisonError::into_inner).0;
        }
        if !now.complete && now.state.trouble.is_none() {
            // Said as long as nothing else is known: the next thing that is heard replaces it.
            let server = if now.state.server.is_empty() { &now.state.access } else { &now.state.server };
            let what = format!("no whole answer from {server} within {} s", most.as_secs());
            Arc::make_mut(&mut now).state.trouble = Some(Trouble { what, since: Timestamp::now() });
        }
        now.clone()
    }
}

impl Drop for ApiWatch {
    fn drop(&mut self) {
        if let Some(stop) = self.stop.take() {
            let _ = stop.send(());
        }
    }
}

/// What a watch says.
#[allow(clippy::large_enum_variant)] // they go through a short channel one by one
enum News {
    Service(Event<Service>),
    Slice(Event<EndpointSlice>),
    Node(Event<Node>),
    /// One of them failed: which, and how.
    Failed(Kind, String),
    /// One of them works.
    Works(Kind),
}

/// The part of the access that is no watch.
const ACCESS: &str = "access";

async fn follow(access: &Access, options: &ApiOptions, shared: &Shared) {
    let mut reported = Received::new(access, shared);
    loop {
        let client = connect(access, shared, &mut reported).await;
        let gone = tokio::select! {
            never = watch_all(&client, options, &mut reported) => never,
            gone = silence(&client, shared) => gone,
        };
        // What was sent meanwhile may be on its way for minutes yet: everything is asked again.
        for kind in [Kind::Services, Kind::Slices] {
            reported.failed(kind.words(), gone.clone());
        }
        reported.publish();
    }
}

/// Makes a client, as soon as that is possible.
async fn connect(access: &Access, shared: &Shared, reported: &mut Received<'_>) -> Client {
    let mut wait = Duration::from_secs(1);
    loop {
        let made = match access.config().await {
            Ok((config, proxy)) => {
                reported.state.server = config.cluster_url.to_string().trim_end_matches('/').to_string();
                super::client::client(config, proxy.as_deref(), &shared.signs)
            }
            Err(e) => Err(e),
        };
        match made {
            Ok(client) => {
                reported.works(ACCESS);
                return client;
            }
            Err(e) => {
                // The file may be written again, as kubelets' and k3s' are.
                reported.failed(ACCESS, format!("{}: {e}", access.words()));
                reported.publish();
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
            }
        }
    }
}

/// Ends when a server that was heard is silent and does not answer any more, and says so.
async fn silence(client: &Client, shared: &Shared) -> String {
    loop {
        tokio::time::sleep(SILENT / 4).await;
        let is_silent = shared.signs.silence().is_some_and(|s| s >= SILENT);
        if !is_silent || !shared.looked_at.swap(false, Ordering::Relaxed) {
            continue;
        }
        // One object of what it is asked for anyway: others may be forbidden.
        let slices = Api::<EndpointSlice>::all(client.clone());
        let one = kube::api::ListParams::default().limit(1);
        if tokio::time::timeout(ANSWER, slices.list_metadata(&one)).await.is_err() {
            return format!("no answer within {} s", ANSWER.as_secs());
        }
        // The client noted the answer. Where connections are refused or cut the watches see it.
    }
}

/// Watches everything; never ends.
async fn watch_all(client: &Client, options: &ApiOptions, reported: &mut Received<'_>) -> String {
    let (send, mut news) = channel(1024);
    let node_name = options.node_name.clone().or_else(|| options.hostname.clone());
    let of_node = match &node_name {
        Some(name) => watcher::Config::default().fields(&format!("metadata.name={name}")),
        None => watcher::Config::default(),
    };
    let signs = reported.shared.signs.clone();
    let everything = watcher::Config::default;
    let watches = async {
        tokio::join!(
            pass_on(client, everything(), Kind::Services, &signs, &send, News::Service),
            pass_on(client, everything(), Kind::Slices, &signs, &send, News::Slice),
            pass_on(client, of_node, Kind::Node, &signs, &send, News::Node),
        )
    };
    let listen = async {
        while let Some(first) = news.recv().await {
            reported.take(first);
            // A burst is reported once.
            let until = tokio::time::Instant::now() + TOGETHER;
            while let Ok(Some(more)) = tokio::time::timeout_at(until, news.recv()).await {
                reported.take(more);
            }
            reported.publish();
        }
    };
    tokio::join!(watches, listen);
    "the watches ended".into()
}

async fn pass_on<K>(
    client: &Client,
    config: watcher::Config,
    kind: Kind,
    signs: &Signs,
    to: &Sender<News>,
    wrap: fn(Event<K>) -> News,
) where
    K: kube::Resource<DynamicType = ()>
        + Clone
        + serde::de::DeserializeOwned
        + std::fmt::Debug
        + Send
        + 'static,
{
    let mut stream = std::pin::pin!(watcher(Api::<K>::all(client.clone()), config));
    let mut wait = Duration::from_secs(1);
    // Until it works: the watches that were opened before, and since when one more is open.
    let mut failing: Option<(u64, Option<Instant>)> = Some((signs.opened(kind), None));
    loop {
        let event = tokio::select! {
            event = stream.next() => match event {
                Some(event) => event,
                None => return,
            },
            // A watch that is open and reports nothing: nothing happens in the cluster.
            () = tokio::time::sleep(TOGETHER), if failing.is_some() => {
                let Some((before, open)) = &mut failing else { continue };
                if signs.opened(kind) > *before
                    && open.get_or_insert_with(Instant::now).elapsed() >= SETTLED
                {
                    failing = None;
                    let _ = to.send(News::Works(kind)).await;
                }
                continue;
            }
        };
        let (news, works) = match event {
            Ok(event) => {
                wait = Duration::from_secs(1);
                // A list that is on is no success yet.
                let works = !matches!(event, Event::Init | Event::InitApply(_));
                (wrap(event), works)
            }
            // The watch is out of date (410): the watcher lists again by itself.
            Err(watcher::Error::WatchError(status)) if status.code == 410 => continue,
            Err(e) => {
                failing = Some((signs.opened(kind), None));
                if to.send(News::Failed(kind, reason(&e))).await.is_err() {
                    return;
                }
                tokio::time::sleep(wait).await;
                wait = (wait * 2).min(LONGEST_WAIT);
                continue;
            }
        };
        if to.send(news).await.is_err() {
            return;
        }
        if works && failing.take().is_some() {
            let _ = to.send(News::Works(kind)).await;
        }
    }
}

/// What a watch failed of, in few words.
fn reason(e: &watcher::Error) -> String {
    let inner = match e {
        watcher::Error::InitialListFailed(e)
        | watcher::Error::WatchStartFailed(e)
        | watcher::Error::WatchFailed(e) => e,
        watcher::Error::WatchError(status) if status.message.is_empty() && status.code == 0 => {
            return "what it sends is no event of a watch".into();
        }
        watcher::Error::WatchError(status) => return format!("{} ({})", status.message, status.code),
        watcher::Error::NoResourceVersion => return e.to_string(),
    };
    match inner {
        kube::Error::Api(status) if status.code == 401 => {
            "it does not know who asks (401 Unauthorized)".into()
        }
        kube::Error::Api(status) if status.code == 403 => {
            format!("forbidden (403): {}", status.message)
        }
        // A proxy's page, or another server's.
        kube::Error::Api(status) if status.message.trim_start().starts_with('<') => {
            format!("what answers is no Kubernetes API ({})", status.code)
        }
        kube::Error::Api(status) if status.message.trim().is_empty() => match status.code {
            0 => "what it sends is no object of the API".into(),
            code => format!("it answers with {code}"),
        },
        kube::Error::Api(status) => {
            let first = status.message.lines().next().unwrap_or_default();
            format!("{} ({})", first.chars().take(200).collect::<String>(), status.code)
        }
        other => chain(other).lines().next().unwrap_or_default().chars().take(300).collect(),
    }
}

/// What was reported so far, and to whom it goes.
struct Received<'a> {
    shared: &'a Shared,
    state: ApiState,
    catalog: Catalog,
    node: Option<ClusterNode>,
    /// Services and slices while a list is on: those that it named.
    listing: [Option<HashSet<Key>>; 2],
    listed: [bool; 2],
    failures: Vec<(&'static str, Trouble)>,
    removed: VecDeque<Removed>,
}

impl<'a> Received<'a> {
    fn new(access: &Access, shared: &'a Shared) -> Received<'a> {
        Received {
            shared,
            state: ApiState { access: access.words(), ..ApiState::default() },
            catalog: Catalog::default(),
            node: None,
            listing: [None, None],
            listed: [false, false],
            failures: Vec::new(),
            removed: VecDeque::new(),
        }
    }

    fn failed(&mut self, part: &'static str, what: String) {
        let since = self.failures.iter().find(|f| f.0 == part).map_or_else(Timestamp::now, |f| f.1.since);
        self.works(part);
        self.failures.push((part, Trouble { what, since }));
    }

    fn works(&mut self, part: &str) {
        self.failures.retain(|f| f.0 != part);
    }

    fn remove(&mut self, service: &Key) {
        self.catalog.drop_service(service);
        let (namespace, name) = service.clone();
        if self.removed.len() == MOST_REMOVED {
            self.removed.pop_front();
        }
        self.removed.push_back(Removed { namespace, name, at: Timestamp::now() });
    }

    fn take(&mut self, news: News) {
        // What a first list names has been so for an unknown time.
        let at = |listed: bool| listed.then(Timestamp::now);
        match news {
            News::Failed(kind, what) => self.failed(kind.words(), what),
            News::Works(kind) => self.works(kind.words()),
            News::Service(Event::Init) => self.listing[0] = Some(HashSet::new()),
            News::Service(Event::InitDone) => {
                if let Some(listed) = self.listing[0].take() {
                    for gone in self.catalog.not_in(&listed) {
                        self.remove(&gone);
                    }
                }
                self.listed[0] = true;
            }
            News::Service(Event::Apply(s) | Event::InitApply(s)) => {
                if let Some(s) = service(&s) {
                    if let Some(l) = &mut self.listing[0] {
                        l.insert((s.namespace.clone(), s.name.clone()));
                    }
                    self.catalog.put_service(s, at(self.listed[0]));
                }
            }
            News::Service(Event::Delete(s)) => self.remove(&key(&s.metadata)),
            News::Slice(Event::Init) => self.listing[1] = Some(HashSet::new()),
            News::Slice(Event::InitDone) => {
                if let Some(listed) = self.listing[1].take() {
                    self.catalog.keep_slices(&listed, Timestamp::now());
                }
                self.listed[1] = true;
            }
            News::Slice(Event::Apply(s) | Event::InitApply(s)) => {
                let key = key(&s.metadata);
                if let Some(l) = &mut self.listing[1] {
                    l.insert(key.clone());
                }
                // It may have been one that counts.
                match slice(&s) {
                    Some(s) => self.catalog.put_slice(key, s, at(self.listed[1])),
                    None => self.catalog.drop_slice(&key, at(self.listed[1])),
                }
            }
            News::Slice(Event::Delete(s)) => {
                self.catalog.drop_slice(&key(&s.metadata), Some(Timestamp::now()));
            }
            News::Node(Event::Apply(n) | Event::InitApply(n)) => self.node = Some(node(&n)),
            News::Node(Event::Delete(_)) => self.node = None,
            News::Node(Event::Init | Event::InitDone) => {}
        }
    }

    fn publish(&mut self) {
        self.state.trouble = self.failures.iter().min_by_key(|f| f.1.since).map(|(part, t)| {
            let server = match self.state.server.is_empty() {
                true => String::new(),
                false => format!(" from {}", self.state.server),
            };
            Trouble { what: format!("{part}{server}: {}", t.what), since: t.since }
        });
        let matters = |part: &str| part != Kind::Node.words();
        let failing = self.failures.iter().any(|f| matters(f.0));
        let listing_again = (0..2).any(|i| self.listing[i].is_some() && self.listed[i]);
        self.state.outdated = failing || listing_again;
        let cluster = Cluster {
            state: self.state.clone(),
            removed: self.removed.iter().cloned().collect(),
            // A list that is on is not shown half.
            services: match self.listing[0].is_none() || self.listed[0] {
                true => self.catalog.services(),
                false => self.shared.lock().services.clone(),
            },
            node: self.node.clone(),
            complete: self.listed == [true, true],
        };
        let mut shared = self.shared.lock();
        if **shared != cluster {
            *shared = Arc::new(cluster);
            self.shared.changed.notify_all();
        }
    }
}

fn key(metadata: &k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta) -> Key {
    (metadata.namespace.clone().unwrap_or_default(), metadata.name.clone().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A slice that loses its label belongs to nobody any more.
    #[test]
    fn slices_leave_their_service() {
        let shared = Shared {
            cluster: Mutex::default(),
            changed: Condvar::new(),
            signs: Arc::default(),
            looked_at: AtomicBool::default(),
        };
        let mut reported = Received {
            shared: &shared,
            state: ApiState::default(),
            catalog: Catalog::default(),
            node: None,
            listing: [None, None],
            listed: [true, true],
            failures: Vec::new(),
            removed: VecDeque::new(),
        };
        reported.take(News::Service(Event::Apply(
            serde_json::from_str(
                r#"{"metadata": {"namespace": "shop", "name": "cart"},
                    "spec": {"clusterIP": "10.96.0.9", "ports": [{"port": 80}]}}"#,
            )
            .unwrap(),
        )));

        let slice = |label: &str| {
            let text = r#"{"metadata": {"namespace": "shop", "name": "cart-x1", "labels": {"LABEL": "cart"}},
                "addressType": "IPv4", "ports": [{"port": 8080}], "endpoints": [{"addresses": ["10.0.0.7"]}]}"#;
            News::Slice(Event::Apply(serde_json::from_str(&text.replace("LABEL", label)).unwrap()))
        };
        let mut endpoints = |label| {
            reported.take(slice(label));
            reported.publish();
            shared.lock().services[0].endpoints.len()
        };
        assert_eq!(endpoints("kubernetes.io/service-name"), 1);
        assert_eq!(endpoints("was/service-name"), 0);
    }
}
