//! Names from the Kubernetes API: against the captured sets, and against a server that speaks list and watch, well and badly.

use crate::common::api_server::{Manner, Server, objects, until};
use crate::common::recordings::{Place, json};
use crate::common::{in_new_netns, load_legacy, minor, read, say, set, sets};
use kptop::api::{ApiOptions, ApiWatch};
use kptop::doctor::Severity;
use kptop::observe::Observer;
use kptop::proxy::{Model, NamedBy, Names, differences};
use kptop::snapshot::dump;
use kptop::snapshot::facts::Cluster;
use kptop::snapshot::live::{Live, Wanted};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// In every captured set kube-proxy was in step with the API: nothing is missing, nothing is stale; and whatever the
/// kernel does not name gets the name that the objects say.
#[test]
fn captured_sets_and_their_objects_agree() {
    for (version, mode) in sets(&["iptables-legacy", "iptables-nft", "nftables", "ipvs-legacy", "ipvs-nft"]) {
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
            different.iter().map(|d| format!("{:?} {:?} {:?}", d.name, d.family, d.differences)).collect();
        assert!(reported.is_empty(), "{what}: {reported:#?}");
        let view = Observer::new(Names::default()).observe(snapshot);
        assert!(view.examination.findings.iter().all(|f| f.id != "kube_proxy_behind"), "{what}");
        let unchecked = view.examination.unchecked.iter().find(|u| u.id == "kube_proxy_behind");
        assert!(unchecked.is_none(), "{what}: {unchecked:?}");
        // Endpoints that are not used are so for a reason that the objects show, and there are some of each.
        let mut unused = std::collections::BTreeMap::<&str, usize>::new();
        for s in model.services.iter() {
            for u in kptop::proxy::unused_endpoints(&cluster, s).unwrap() {
                *unused.entry(u.why.name()).or_default() += 1;
            }
        }
        let expected: &[&str] = match minor(version) {
            20 => &["not_ready"],
            v if v >= 31 && mode != "ipvs-legacy" => {
                &["local_policy", "not_ready", "other_zone", "terminating"]
            }
            _ => &["local_policy", "not_ready", "terminating"],
        };
        assert!(unused.keys().eq(expected), "{what}: {unused:?}");
        say(&format!("{what}: {} Service ports named, not used {unused:?}", model.services.len()));
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
    let down = Server::nowhere();
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
