//! Names from the Kubernetes API: against the captured sets, and against a server that speaks list and watch, well and badly.

use crate::common::recordings::{Place, json};
use crate::common::{in_new_netns, load_legacy, read, say, set};
use kptop::api::{ApiOptions, ApiWatch};
use kptop::doctor::Severity;
use kptop::observe::Observer;
use kptop::proxy::{Model, NamedBy, Names, differences};
use kptop::snapshot::dump;
use kptop::snapshot::facts::Cluster;
use kptop::snapshot::live::{Live, Wanted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

/// In every captured set kube-proxy was in step with the API: nothing is missing, nothing is stale; and whatever the
/// kernel does not name gets the name that the objects say.
#[test]
fn captured_sets_and_their_objects_agree() {
    for (version, mode) in [
        ("1.20.2", "iptables-legacy"),
        ("1.20.2", "iptables-nft"),
        ("1.20.2", "ipvs-legacy"),
        ("1.30.5", "nftables"),
        ("1.36.2", "iptables-legacy"),
        ("1.36.2", "iptables-nft"),
        ("1.36.2", "ipvs-legacy"),
        ("1.36.2", "ipvs-nft"),
        ("1.36.2", "nftables"),
    ] {
        let what = format!("{version}/{mode}");
        let snapshot = dump::read(&[set(version, mode)]).unwrap();
        let cluster = snapshot.cluster.clone().unwrap();
        assert!(cluster.complete && cluster.services.len() > 20, "{what}");
        let node = cluster.node.as_ref().unwrap_or_else(|| panic!("{what}: this node was not found"));
        assert!(node.addresses.iter().any(|a| a.to_string() == "192.168.50.10"), "{what}");
        let model = Model::read(&snapshot, &Names::default());
        let nameless: Vec<String> =
            model.services.iter().filter(|s| s.name.is_none()).map(|s| s.label()).collect();
        assert!(nameless.is_empty(), "{what}: {nameless:?}");
        if mode.starts_with("ipvs") {
            assert!(model.services.iter().all(|s| s.named_by == Some(NamedBy::Api)), "{what}");
            // A virtual server is one of its Service's frontends: on the screen each has a label of its own.
            let label = |s: &kptop::proxy::Service| (kptop::proxy::screen_label(s), s.protocol, s.family);
            let distinct: std::collections::HashSet<_> = model.services.iter().map(label).collect();
            assert_eq!(distinct.len(), model.services.len(), "{what}");
        }
        let different = differences(&cluster, &model.services);
        let reported: Vec<String> =
            different.iter().map(|d| format!("{} {:?} {:?}", d.name, d.family, d.difference)).collect();
        assert!(reported.is_empty(), "{what}: {reported:#?}");
        let view = Observer::new(Names::default()).observe(snapshot);
        assert!(view.examination.findings.iter().all(|f| f.id != "kube_proxy_behind"), "{what}");
        let unchecked = view.examination.unchecked.iter().find(|u| u.id == "kube_proxy_behind");
        assert!(unchecked.is_none(), "{what}: {unchecked:?}");
        say(&format!("{what}: {} Service ports named", model.services.len()));
    }
}

/// A backend that an EndpointSlice does not have any more, and one that has no rules yet.
#[test]
fn rules_behind_the_endpoints_are_found() {
    let dir = set("1.36.2", "ipvs-nft");
    let place = Place::new("behind");
    for name in ["ipvsadm-Sn.txt", "ip-addr.txt", "ipset-save.txt", "nodes.json", "services.json"] {
        std::fs::write(place.file(name), read(&dir, name).unwrap()).unwrap();
    }
    let slices = read(&dir, "endpointslices.json").unwrap();
    let mut list: Value = serde_json::from_str(&slices).unwrap();
    let of = |s: &Value| s["metadata"]["labels"]["kubernetes.io/service-name"] == "frontend";
    let slice = list["items"].as_array_mut().unwrap().iter_mut().find(|s| of(s)).unwrap();
    let was = slice["endpoints"][0]["addresses"][0].as_str().unwrap().to_string();
    slice["endpoints"][0]["addresses"][0] = "10.244.0.99".into();
    std::fs::write(place.file("endpointslices.json"), list.to_string()).unwrap();
    let view = Observer::new(Names::default()).observe(dump::read(std::slice::from_ref(&place.0)).unwrap());
    let found: Vec<_> = view.examination.findings.iter().filter(|f| f.id == "kube_proxy_behind").collect();
    assert!(!found.is_empty());
    for f in &found {
        let names: Vec<String> = f.services.iter().map(|i| view.model.services[*i].label()).collect();
        assert!(names.iter().all(|n| n.contains("frontend")) && f.severity == Severity::Critical, "{f:?}");
        let evidence = f.evidence.join("\n");
        assert!(evidence.contains(&was) && evidence.contains("10.244.0.99"), "{evidence}");
    }
}

/// The API knows Services, and the node has nothing of kube-proxy's.
#[test]
fn a_node_without_rules_is_found() {
    let dir = set("1.36.2", "iptables-legacy");
    let place = Place::new("without-rules");
    for name in ["nodes.json", "services.json", "endpointslices.json", "ip-addr.txt"] {
        std::fs::write(place.file(name), read(&dir, name).unwrap()).unwrap();
    }
    let empty = "*nat\n:PREROUTING ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n";
    let done = {
        std::fs::write(place.file("iptables-save.txt"), empty).unwrap();
        let snapshot = dump::read(std::slice::from_ref(&place.0)).unwrap();
        (*Observer::new(Names::default()).observe(snapshot).examination).clone()
    };
    let found: Vec<_> = done.findings.iter().filter(|f| f.id == "wiped").collect();
    let all = format!("{:?} {:?}", done.findings, done.unchecked);
    assert!(
        matches!(&found[..], [f] if f.severity == Severity::Critical && f.evidence[0].contains("default/kubernetes:https")),
        "{all}"
    );
    // Whether kube-proxy is behind is not known of one that wrote nothing.
    assert!(done.unchecked.iter().any(|u| u.id == "kube_proxy_behind"), "{:?}", done.unchecked);
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Manner {
    Well,
    /// EndpointSlices are forbidden.
    Forbids,
    /// Answers come after seconds.
    Slow,
    /// Connections are cut in the middle of a list.
    CutOff,
    /// What comes is no JSON.
    Garbage,
}

/// Who watches which kind.
type Watchers = Mutex<Vec<(String, Sender<String>)>>;

/// A server with the objects of a set, and what it was asked.
struct Server {
    port: u16,
    manner: Arc<Mutex<Manner>>,
    lists: Arc<AtomicUsize>,
    /// Events for whoever watches this kind.
    watchers: Arc<Watchers>,
    stop: Arc<AtomicBool>,
}

fn objects(dir: &Path, name: &str) -> Vec<Value> {
    let mut list: Value = serde_json::from_str(&read(dir, name).unwrap()).unwrap();
    match list["items"].take() {
        Value::Array(items) => items,
        _ => panic!("{name} has no items"),
    }
}

impl Server {
    fn start(dir: &Path, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let server = Server {
            port,
            manner: Arc::new(Mutex::new(manner)),
            lists: Arc::default(),
            watchers: Arc::default(),
            stop: Arc::default(),
        };
        let all = Arc::new([
            ("services", "v1", "ServiceList", objects(dir, "services.json")),
            (
                "endpointslices",
                "discovery.k8s.io/v1",
                "EndpointSliceList",
                objects(dir, "endpointslices.json"),
            ),
            ("nodes", "v1", "NodeList", objects(dir, "nodes.json")),
        ]);
        let (manner, lists, watchers, stop) =
            (server.manner.clone(), server.lists.clone(), server.watchers.clone(), server.stop.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let (all, manner, lists, watchers) =
                    (all.clone(), manner.clone(), lists.clone(), watchers.clone());
                std::thread::spawn(move || {
                    let _ = serve(stream, &*all, &manner, &lists, &watchers);
                });
            }
        });
        server
    }

    fn kubeconfig(&self, place: &Place) -> std::path::PathBuf {
        let file = place.file("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: k, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n",
            self.port
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    fn watch(&self, place: &Place) -> ApiWatch {
        let node_name = Some("node-a".into());
        let options = ApiOptions { kubeconfig: Some(self.kubeconfig(place)), node_name, hostname: None };
        ApiWatch::start(&options).unwrap()
    }

    /// Sends an event to those who watch a kind.
    fn send(&self, kind: &str, event: &Value) {
        let until = Instant::now() + Duration::from_secs(10);
        loop {
            let mut watchers = self.watchers.lock().unwrap();
            let mut sent = false;
            watchers.retain(|(k, to)| {
                let ok = k != kind || to.send(event.to_string()).is_ok();
                sent |= ok && k == kind;
                // Who is cut off hears nothing more.
                ok && !(k == kind && event == "cut")
            });
            if sent || Instant::now() > until {
                assert!(sent, "nobody watches {kind}");
                return;
            }
            drop(watchers);
            std::thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        let _ = TcpStream::connect(("127.0.0.1", self.port));
    }
}

type Kinds = [(&'static str, &'static str, &'static str, Vec<Value>)];

fn serve(
    mut stream: TcpStream,
    all: &Kinds,
    manner: &Mutex<Manner>,
    lists: &AtomicUsize,
    watchers: &Watchers,
) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?);
    loop {
        let mut request = String::new();
        if lines.read_line(&mut request)? == 0 {
            return Ok(());
        }
        let mut authorized = false;
        loop {
            let mut line = String::new();
            lines.read_line(&mut line)?;
            authorized |= line.trim().eq_ignore_ascii_case("authorization: Bearer secret");
            if line.trim().is_empty() {
                break;
            }
        }
        assert!(authorized, "without its token: {request}");
        let target = request.split(' ').nth(1).unwrap_or_default().to_string();
        let (path, query) = target.split_once('?').unwrap_or((&target, ""));
        let (kind, version, list, items) = all.iter().find(|k| path.ends_with(k.0)).expect("a known kind");
        let now = *manner.lock().unwrap();
        if now == Manner::Slow {
            std::thread::sleep(Duration::from_secs(3));
        }
        if now == Manner::Forbids && *kind == "endpointslices" {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                "message": "endpointslices.discovery.k8s.io is forbidden: User \"u\" cannot list resource", "code": 403});
            answer(&mut stream, "403 Forbidden", &status.to_string())?;
            continue;
        }
        if query.contains("watch=true") {
            let (to, events) = channel();
            watchers.lock().unwrap().push(((*kind).to_string(), to));
            return chunked(&mut stream, &events);
        }
        lists.fetch_add(1, Ordering::Relaxed);
        // As the API does it: `fieldSelector=metadata.name%3Dnode-a`
        let wanted = query.split("metadata.name%3D").nth(1).map(|n| n.split('&').next().unwrap_or(n));
        let items: Vec<&Value> =
            items.iter().filter(|i| wanted.is_none_or(|n| i["metadata"]["name"] == n)).collect();
        let body = json!({"kind": list, "apiVersion": version, "metadata": {"resourceVersion": "100"}, "items": items})
            .to_string();
        match now {
            Manner::CutOff => {
                write!(
                    stream,
                    "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
                    body.len()
                )?;
                stream.write_all(&body.as_bytes()[..body.len() / 2])?;
                return Ok(());
            }
            Manner::Garbage => answer(&mut stream, "200 OK", "<html>a proxy's page</html>")?,
            _ => answer(&mut stream, "200 OK", &body)?,
        }
    }
}

fn answer(stream: &mut TcpStream, status: &str, body: &str) -> std::io::Result<()> {
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    stream.write_all(format!("{head}{body}").as_bytes())
}

/// A watch: one chunk an event, sometimes cut in two.
fn chunked(stream: &mut TcpStream, events: &Receiver<String>) -> std::io::Result<()> {
    stream.write_all(
        b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n",
    )?;
    while let Ok(event) = events.recv() {
        if event == "\"cut\"" {
            return stream.write_all(b"ff\r\n{\"type\":\"ADD"); // and away
        }
        let line = format!("{event}\n");
        let (a, b) = line.split_at(line.len() / 2);
        for part in [a, b] {
            write!(stream, "{:x}\r\n{part}\r\n", part.len())?;
            stream.flush()?;
        }
    }
    Ok(())
}

fn until(watch: &ApiWatch, what: &str, holds: impl Fn(&Cluster) -> bool) -> Arc<Cluster> {
    let end = Instant::now() + Duration::from_secs(30);
    loop {
        let now = watch.get();
        if holds(&now) {
            return now;
        }
        assert!(Instant::now() < end, "{what}: {:?}, {} Services", now.state, now.services.len());
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn frontend(dir: &Path) -> Value {
    let of = |s: &Value| s["metadata"]["labels"]["kubernetes.io/service-name"] == "frontend";
    objects(dir, "endpointslices.json").into_iter().find(of).unwrap()
}

fn addresses(c: &Cluster) -> BTreeSet<String> {
    let s = c.services.iter().find(|s| s.name == "frontend").unwrap();
    s.endpoints.iter().filter_map(|e| Some(e.address?.to_string())).collect()
}

#[test]
fn lists_watches_bookmarks_and_a_history_that_is_gone() {
    let dir = set("1.36.2", "nftables");
    let place = Place::new("api-well");
    let server = Server::start(&dir, Manner::Well);
    let watch = server.watch(&place);
    let first = until(&watch, "the lists", |c| c.complete && c.node.is_some());
    assert_eq!(first.state.trouble, None);
    assert!(first.services.len() > 20);
    assert!(first.services.iter().any(|s| s.endpoints.iter().any(|e| e.ready && e.target.is_some())));
    let before = addresses(&first);
    // A bookmark changes nothing; an endpoint that moves does.
    let mut slice = frontend(&dir);
    slice["metadata"]["resourceVersion"] = "101".into();
    let bookmark = json!({"type": "BOOKMARK", "object": {"kind": "EndpointSlice", "apiVersion": "discovery.k8s.io/v1",
        "metadata": {"resourceVersion": "101"}, "addressType": "IPv4", "endpoints": []}});
    server.send("endpointslices", &bookmark);
    slice["endpoints"][0]["addresses"][0] = "10.244.0.77".into();
    server.send("endpointslices", &json!({"type": "MODIFIED", "object": slice}));
    let moved = until(&watch, "an endpoint that moved", |c| addresses(c) != before);
    assert!(addresses(&moved).contains("10.244.0.77"));
    let of = |c: &Cluster| c.services.iter().find(|s| s.name == "frontend").unwrap().changed_at;
    assert!(of(&moved) > of(&first), "when it changed is known");
    // Others are the same objects as before.
    let same = |n: &str| {
        let find = |c: &Cluster| c.services.iter().find(|s| s.name == n).unwrap().clone();
        Arc::ptr_eq(&find(&first), &find(&moved))
    };
    assert!(same("kube-dns"));
    // The history is gone: everything is listed again, and what was is what the list says.
    let lists = server.lists.load(Ordering::Relaxed);
    let gone = json!({"type": "ERROR", "object": {"kind": "Status", "apiVersion": "v1", "status": "Failure",
        "reason": "Expired", "message": "too old resource version", "code": 410}});
    server.send("endpointslices", &gone);
    let again = until(&watch, "a new list", |c| addresses(c) == before);
    assert!(server.lists.load(Ordering::Relaxed) > lists);
    assert_eq!(again.state.trouble, None);
    // A watch that is cut off in the middle goes on.
    server.send("services", &json!("cut"));
    server.send(
        "services",
        &json!({"type": "DELETED", "object": objects(&dir, "services.json").into_iter()
        .find(|s| s["metadata"]["name"] == "frontend").unwrap()}),
    );
    until(&watch, "a Service that went", |c| c.services.iter().all(|s| s.name != "frontend"));
}

#[test]
fn what_is_forbidden_is_said_and_the_rest_is_there() {
    let place = Place::new("api-forbids");
    let server = Server::start(&set("1.36.2", "nftables"), Manner::Forbids);
    let watch = server.watch(&place);
    let c = until(&watch, "Services", |c| !c.services.is_empty() && c.state.trouble.is_some());
    let trouble = c.state.trouble.clone().unwrap();
    assert!(trouble.what.contains(": forbidden (403)"), "{trouble:?}");
    assert!(!c.complete);
    // Once it is allowed, all is well.
    *server.manner.lock().unwrap() = Manner::Well;
    until(&watch, "the right to list", |c| c.complete && c.state.trouble.is_none());
}

#[test]
fn a_bad_api_is_said_and_never_waited_for() {
    for (manner, word) in [(Manner::CutOff, ""), (Manner::Garbage, "")] {
        let place = Place::new(&format!("api-{manner:?}"));
        let server = Server::start(&set("1.36.2", "nftables"), manner);
        let began = Instant::now();
        let watch = server.watch(&place);
        assert!(began.elapsed() < Duration::from_secs(1));
        let c = until(&watch, "what is wrong", |c| c.state.trouble.is_some());
        assert!(c.services.is_empty() && c.state.trouble.as_ref().unwrap().what.contains(word));
        *server.manner.lock().unwrap() = Manner::Well;
        until(&watch, "an API that is well again", |c| c.complete && c.state.trouble.is_none());
    }
    let place = Place::new("api-slow");
    let server = Server::start(&set("1.36.2", "nftables"), Manner::Slow);
    let watch = server.watch(&place);
    assert!(!watch.wait(Duration::from_millis(200)).complete, "it should be slow");
    until(&watch, "a slow API", |c| c.complete);
    // None at all.
    let place = Place::new("api-down");
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let down = Server {
        port,
        manner: Arc::new(Mutex::new(Manner::Well)),
        lists: Arc::default(),
        watchers: Arc::default(),
        stop: Arc::default(),
    };
    let watch = down.watch(&place);
    let c = watch.wait(Duration::from_secs(20));
    assert!(c.state.trouble.is_some(), "{c:?}");
    // A kubeconfig that wants a helper program, and one that is none.
    for (text, word) in [
        (
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{name: k, cluster: {server: \"http://127.0.0.1:1\"}}]\nusers: [{name: u, user: {exec: {apiVersion: client.authentication.k8s.io/v1, command: touch, args: [/tmp/kptop-was-here]}}}]\ncontexts: [{name: c, context: {cluster: k, user: u}}]\n",
            "runs touch",
        ),
        ("nonsense: [", "kubeconfig"),
    ] {
        let file = place.file("kubeconfig");
        std::fs::write(&file, text).unwrap();
        let options = ApiOptions { kubeconfig: Some(file), ..ApiOptions::default() };
        let c = ApiWatch::start(&options).unwrap().wait(Duration::from_secs(10));
        let what = c.state.trouble.clone().unwrap().what;
        assert!(what.contains(word), "{what}");
    }
    assert!(!Path::new("/tmp/kptop-was-here").exists());
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    /// The live reader with a watch: names and pods in JSON, and what is wrong with the API beside it.
    #[test]
    fn live_services_get_names_and_pods() {
        let dir = set("1.36.2", "iptables-legacy");
        let place = Place::new("api-live");
        let server = Server::start(&dir, Manner::Well);
        let watch = Arc::new(server.watch(&place));
        watch.wait(Duration::from_secs(20));
        let text = in_new_netns(move || {
            load_legacy(&dir);
            json(Live::open(None).unwrap().with_api(Some(watch)).snapshot(Wanted::ALL))
        });
        let all: Value = serde_json::from_str(&text).unwrap();
        assert_eq!(all["api"]["complete"], true, "{}", all["api"]);
        let services = all["services"].as_array().unwrap();
        let s = services.iter().find(|s| s["name"] == "frontend" && s["port_name"] == "http").unwrap();
        let backends = s["backends"].as_array().unwrap();
        assert!(
            backends.iter().all(|b| b["endpoint"]["ready"] == true && b["endpoint"]["pod"].is_string()),
            "{s}"
        );
        assert!(
            backends.iter().any(|b| b["local"] == true) && backends.iter().any(|b| b["local"] == false),
            "{s}"
        );
    }
}
