//! Where what kube-proxy wrote is behind the API: every kind of difference, from files and on a live node.

use crate::common::api_server::objects;
use crate::common::recordings::Place;
use crate::common::set;
use kptop::doctor::Severity;
use kptop::observe::Observer;
use kptop::proxy::Names;
use kptop::snapshot::dump;
use serde_json::{Value, json};
use std::collections::BTreeSet;

/// What is done to the objects while the rules stay: what it is called, the Service, its change, and what is said of it.
struct Change {
    namespace: &'static str,
    service: &'static str,
    alter: fn(&mut Value),
    title: &'static str,
    severity: Severity,
    /// Service ports that it concerns.
    count: usize,
}

/// Every kind of thing that kube-proxy programs. The first two alter the slices, the others the Service.
const CHANGES: [Change; 15] = {
    use Severity::{Critical, Warning};
    const fn of(
        (namespace, service): (&'static str, &'static str),
        alter: fn(&mut Value),
        title: &'static str,
        severity: Severity,
        count: usize,
    ) -> Change {
        Change { namespace, service, alter, title, severity, count }
    }
    let gone = |s: &mut Value| s["endpoints"][0]["conditions"] = json!({"ready": false, "serving": false});
    let new = |s: &mut Value| {
        let mut more = s["endpoints"][0].clone();
        more["addresses"][0] = "10.244.7.7".into();
        s["endpoints"].as_array_mut().unwrap().push(more);
    };
    [
        of(("shop", "catalog"), gone, "traffic still goes to endpoints that are gone", Critical, 1),
        of(("shop", "redis-leader"), new, "ready endpoints without rules", Warning, 1),
        of(("kube-system", "metrics-server"), |s| *s = Value::Null, "the Service is deleted", Warning, 1),
        of(("default", "webhook"), |s| s["metadata"]["name"] = "another".into(), "", Warning, 1),
        of(("shop", "cart"), |s| s["spec"]["ports"][0]["port"] = 8081.into(), "its port is not", Critical, 1),
        of(
            ("shop", "payments"),
            |s| s["spec"]["ports"][0]["nodePort"] = 30099.into(),
            "its node port is not",
            Critical,
            1,
        ),
        of(
            ("shop", "invoices"),
            |s| s["status"]["loadBalancer"]["ingress"][0]["ip"] = "198.51.100.99".into(),
            "its load balancer IPs are not",
            Critical,
            1,
        ),
        of(
            ("shop", "catalog"),
            |s| s["spec"]["externalIPs"] = json!(["198.51.100.77", "198.51.100.98"]),
            "its external IPs are not",
            Critical,
            1,
        ),
        of(
            ("shop", "frontend"),
            |s| s["spec"]["loadBalancerSourceRanges"] = json!(["192.0.2.0/24", " 10.0.0.0/8"]),
            "its allowed source ranges are not",
            Warning,
            2,
        ),
        of(
            ("shop", "redis-leader"),
            |s| s["spec"]["sessionAffinity"] = "None".into(),
            "its session affinity is not",
            Warning,
            1,
        ),
        of(
            ("monitoring", "prometheus"),
            |s| s["spec"]["sessionAffinityConfig"] = json!({"clientIP": {"timeoutSeconds": 77}}),
            "its session affinity is not",
            Warning,
            1,
        ),
        of(
            ("default", "lb-no-nodeports"),
            |s| s["spec"]["externalTrafficPolicy"] = "Local".into(),
            "its external traffic policy is not",
            Warning,
            1,
        ),
        of(
            ("media", "rtp"),
            |s| s["spec"]["internalTrafficPolicy"] = "Local".into(),
            "its internal traffic policy is not",
            Warning,
            2,
        ),
        of(
            ("shop", "cart"),
            |s| {
                s["spec"]["clusterIP"] = "10.96.9.9".into();
                s["spec"]["clusterIPs"] = json!(["10.96.9.9"]);
            },
            "its cluster IP is not",
            Critical,
            1,
        ),
        of(
            ("shop", "cart"),
            |s| s["metadata"]["labels"] = json!({"service.kubernetes.io/service-proxy-name": "another"}),
            "not kube-proxy's to serve any more",
            Warning,
            1,
        ),
    ]
};

impl Change {
    /// Makes it in the Services and slices.
    fn make(&self, services: &mut Vec<Value>, slices: &mut [Value]) {
        let is = |m: &Value, name: &Value| m["namespace"] == self.namespace && *name == self.service;
        if self.title.contains("endpoints") {
            let of = |s: &&mut Value| {
                let m = &s["metadata"];
                is(m, &m["labels"]["kubernetes.io/service-name"]) && s["endpoints"][0].is_object()
            };
            return (self.alter)(slices.iter_mut().find(of).unwrap());
        }
        let all = services.iter_mut();
        let changed: Vec<&mut Value> = all.filter(|s| is(&s["metadata"], &s["metadata"]["name"])).collect();
        assert_eq!(changed.len(), 1, "{}", self.service);
        changed.into_iter().for_each(self.alter);
        services.retain(|s| !s.is_null());
    }
}

/// Each of them alone is one finding, with its Services, and says what is here and what the API has.
#[test]
fn every_kind_of_difference_is_one_finding() {
    for mode in ["iptables-legacy", "nftables", "ipvs-nft"] {
        let dir = set("1.36.2", mode);
        for change in &CHANGES {
            let what = format!("{mode}: {}/{}: {}", change.namespace, change.service, change.title);
            // What IPVS does not hold: the policy of cluster IPs.
            if mode.starts_with("ipvs") && change.title.contains("internal traffic policy") {
                continue;
            }
            let (mut services, mut slices) =
                (objects(&dir, "services.json"), objects(&dir, "endpointslices.json"));
            change.make(&mut services, &mut slices);
            let place = Place::new("a-change");
            for entry in std::fs::read_dir(&dir).unwrap().flatten().filter(|e| e.path().is_file()) {
                std::fs::copy(entry.path(), place.file(&entry.file_name().to_string_lossy())).unwrap();
            }
            for (name, kind, items) in [
                ("services.json", "ServiceList", services),
                ("endpointslices.json", "EndpointSliceList", slices),
            ] {
                let _ = std::fs::remove_file(place.file(&format!("{name}.gz")));
                let list = json!({"kind": kind, "apiVersion": "v1", "items": items});
                std::fs::write(place.file(name), list.to_string()).unwrap();
            }
            let snapshot = dump::read(std::slice::from_ref(&place.0)).unwrap();
            let view = Observer::new(Names::default()).observe(snapshot);
            let found: Vec<_> =
                view.examination.findings.iter().filter(|f| f.id == "kube_proxy_behind").collect();
            if change.title.is_empty() {
                // Another name is a Service that went and one that came.
                let titles: BTreeSet<&str> = found.iter().map(|f| f.title.as_str()).collect();
                // Virtual servers have no name: those at its address are the new one's, with the old one's pods.
                let said = match mode.starts_with("ipvs") {
                    true => "traffic still goes to endpoints that are gone",
                    false => "the Service port has no rules",
                };
                assert!(titles.contains(said), "{what}: {found:#?}");
                continue;
            }
            // A node port of IPVS is one virtual server for each address; each is a Service of its own as yet.
            let as_often = mode.starts_with("ipvs") || matches!(found[..], [f] if f.count() == change.count);
            assert!(as_often, "{what}: {found:#?}");
            let f = found.first().unwrap_or_else(|| panic!("{what}: nothing was found"));
            assert!(f.title.starts_with(change.title) && f.severity == change.severity, "{what}: {f:#?}");
            assert!(found.len() == 1, "{what}: {found:#?}");
        }
    }
}

/// On a real kernel, in network namespaces made for it, beside a server that speaks the API.
mod kernel {
    use super::*;
    use crate::common::api_server::{Manner, Server, until};
    use crate::common::{in_new_netns, load_legacy, read, run_with};
    use kptop::doctor::{Examination, Finding};
    use kptop::snapshot::live::{Live, Wanted};
    use std::collections::BTreeMap;
    use std::sync::Arc;
    use std::time::{Duration, Instant};

    /// Younger differences are on their way (`causes/kube_proxy_behind.rs`).
    const ON_ITS_WAY: Duration = Duration::from_secs(15);

    fn behind(of: &Examination) -> BTreeMap<String, usize> {
        let is = |f: &&Finding| f.id == "kube_proxy_behind" && f.quiet_since.is_none();
        of.findings.iter().filter(is).map(|f| (f.title.clone(), f.count())).collect()
    }

    fn is_checked(of: &Examination) -> bool {
        of.unchecked.iter().all(|u| u.id != "kube_proxy_behind")
    }

    /// Looks each half a second, until it holds.
    fn look_until(
        mut look: impl FnMut() -> Arc<Examination>,
        what: &str,
        holds: impl Fn(&Examination) -> bool,
    ) {
        let end = Instant::now() + Duration::from_secs(40);
        loop {
            let now = look();
            if holds(&now) {
                return;
            }
            assert!(Instant::now() < end, "{what}: {:#?} {:?}", behind(&now), now.unchecked);
            std::thread::sleep(Duration::from_millis(500));
        }
    }

    fn list(server: &Server, kind: &str) -> Vec<Value> {
        server.kinds.lock().unwrap().iter().find(|k| k.0 == kind).unwrap().3.clone()
    }

    /// Makes the lists these, and tells the watchers what is new.
    fn change(server: &Server, services: Vec<Value>, slices: Vec<Value>) {
        for (kind, wanted) in [("services", services), ("endpointslices", slices)] {
            let name = |o: &Value| (o["metadata"]["namespace"].clone(), o["metadata"]["name"].clone());
            let before = list(server, kind);
            for o in before.iter().filter(|o| !wanted.iter().any(|w| name(w) == name(o))) {
                server.send(kind, &json!({"type": "DELETED", "object": o}));
            }
            for o in wanted.iter().filter(|o| !before.contains(o)) {
                let is_new = !before.iter().any(|b| name(b) == name(o));
                let event = if is_new { "ADDED" } else { "MODIFIED" };
                server.send(kind, &json!({"type": event, "object": o}));
            }
            server.kinds.lock().unwrap().iter_mut().find(|k| k.0 == kind).unwrap().3 = wanted;
        }
    }

    /// All kinds at once, told by the watch while the rules stay: not at once, after a while each once, and not any more
    /// when the objects are as they were.
    #[test]
    fn every_kind_of_difference_is_told_while_the_rules_stay() {
        let dir = set("1.36.2", "iptables-legacy");
        let place = Place::new("behind-live");
        let server = Server::start(&dir, Manner::Well);
        let watch = Arc::new(server.watch(&place));
        until(&watch, "the lists", |c| c.complete && c.node.is_some());
        in_new_netns(move || {
            load_legacy(&dir);
            let mut live = Live::open(None).unwrap().with_api(Some(watch));
            let mut observer = Observer::new(Names::default());
            let mut look = || observer.observe(live.snapshot(Wanted::ALL)).examination;
            look();
            let now = look();
            assert!(behind(&now).is_empty() && is_checked(&now), "{:?} {:?}", behind(&now), now.unchecked);

            let before = (list(&server, "services"), list(&server, "endpointslices"));
            let (mut services, mut slices) = before.clone();
            let mut wanted: BTreeMap<String, usize> = BTreeMap::new();
            for c in CHANGES.iter().filter(|c| !c.title.starts_with("not kube-proxy's")) {
                c.make(&mut services, &mut slices);
                let titles = match c.title {
                    "" => &["the Service is deleted, and still takes", "the Service port has no rules"][..],
                    "the Service is deleted" => &["the Service is deleted, and still served"],
                    title => &[title],
                };
                for t in titles {
                    *wanted.entry((*t).to_string()).or_default() += c.count;
                }
            }
            change(&server, services, slices);
            let began = Instant::now();
            // A burst takes a moment to be told.
            look_until(&mut look, "all kinds", |e| {
                let told = behind(e);
                assert!(told.is_empty() || began.elapsed() >= ON_ITS_WAY, "too early: {told:?}");
                told.len() >= wanted.len()
            });
            let told = behind(&look());
            let as_wanted = |(title, count): (&String, &usize)| {
                told.iter().any(|(t, n)| t.starts_with(title.as_str()) && n == count)
            };
            assert!(told.len() == wanted.len() && wanted.iter().all(as_wanted), "{told:#?}, not {wanted:#?}");

            change(&server, before.0, before.1);
            look_until(&mut look, "as it was", |e| behind(e).is_empty() && is_checked(e));
        });
    }

    /// kube-proxy still has its API, kptop does not: nothing is judged by what was heard before, and all of it after.
    #[test]
    fn nothing_is_judged_by_what_was_heard_before_the_api_was_lost() {
        let lose = |manner| {
            std::thread::spawn(move || {
                let dir = set("1.36.2", "iptables-legacy");
                let place = Place::new(&format!("behind-{manner:?}"));
                let server = Server::start(&dir, Manner::Well);
                let watch = Arc::new(server.watch(&place));
                until(&watch, "the lists", |c| c.complete && c.node.is_some());
                in_new_netns(move || {
                    load_legacy(&dir);
                    let mut live = Live::open(None).unwrap().with_api(Some(watch.clone()));
                    let mut observer = Observer::new(Names::default());
                    let mut look = || observer.observe(live.snapshot(Wanted::ALL)).examination;
                    look();
                    assert!(is_checked(&look()), "{manner:?}");

                    *server.manner.lock().unwrap() = manner;
                    if manner != Manner::Silent {
                        for kind in ["services", "endpointslices", "nodes"] {
                            server.send(kind, &json!("cut"));
                        }
                    }
                    // A pod moves: kube-proxy writes it.
                    let text = read(&dir, "iptables-save-c.txt").unwrap();
                    let (was, new) = ("10.244.0.3", "10.244.0.203");
                    let moved = text.replace(&format!("{was}/32"), &format!("{new}/32"));
                    let moved = moved.replace(&format!("{was}:"), &format!("{new}:"));
                    assert_ne!(text, moved);
                    run_with("iptables-legacy-restore", &["-c"], &moved);
                    let began = Instant::now();
                    let mut said = None;
                    while began.elapsed() < ON_ITS_WAY * 2 {
                        let now = look();
                        assert!(behind(&now).is_empty(), "{manner:?}: {:?}", behind(&now));
                        let why = now.unchecked.iter().find(|u| u.id == "kube_proxy_behind");
                        said = why.map(|u| u.why.to_string()).or(said);
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    let trouble = watch.get().state.trouble.clone();
                    assert!(trouble.is_some(), "{manner:?}: the loss is not said");
                    assert!(said.is_some_and(|s| s.contains("Kubernetes API")), "{manner:?}");

                    // Back, and with the objects that kube-proxy knew.
                    let mut kinds = server.kinds.lock().unwrap();
                    let slices = &mut kinds.iter_mut().find(|k| k.0 == "endpointslices").unwrap().3;
                    let text = Value::Array(slices.clone()).to_string();
                    let text = text.replace(&format!("\"{was}\""), &format!("\"{new}\""));
                    let before = std::mem::replace(slices, serde_json::from_str(&text).unwrap());
                    let mut missed = server.missed.lock().unwrap();
                    for s in slices.iter().filter(|s| !before.contains(s)) {
                        let event = json!({"type": "MODIFIED", "object": s}).to_string();
                        missed.push(("endpointslices".into(), event));
                    }
                    drop((kinds, missed));
                    *server.manner.lock().unwrap() = Manner::Well;
                    until(&watch, "the API again", |c| c.state.trouble.is_none() && !c.state.outdated);
                    let began = Instant::now();
                    while began.elapsed() < ON_ITS_WAY + Duration::from_secs(3) {
                        let now = look();
                        assert!(behind(&now).is_empty(), "{manner:?}: {:?}", behind(&now));
                        std::thread::sleep(Duration::from_millis(500));
                    }
                    assert!(is_checked(&look()), "{manner:?}");

                    // And what is wrong is told again: the pod's rules go back to what they were.
                    run_with("iptables-legacy-restore", &["-c"], &read(&dir, "iptables-save-c.txt").unwrap());
                    look_until(&mut look, "an old backend", |e| !behind(e).is_empty());
                });
            })
        };
        let lost: Vec<_> = [Manner::Silent, Manner::CutOff].into_iter().map(lose).collect();
        for l in lost {
            l.join().unwrap_or_else(|e| std::panic::resume_unwind(e));
        }
    }

    /// `doctor --watch` says it when the API goes and when it is back.
    #[test]
    fn the_watching_doctor_says_when_the_api_is_lost_and_back() {
        use std::io::{BufRead, BufReader};
        use std::process::{Child, Command, Stdio};
        use std::sync::mpsc::{Receiver, channel};

        fn wait_for(lines: &Receiver<String>, what: &str) {
            let end = Instant::now() + Duration::from_secs(40);
            let mut seen = Vec::new();
            while let Ok(line) = lines.recv_timeout(end.saturating_duration_since(Instant::now())) {
                if line.contains(what) {
                    return;
                }
                seen.push(line);
            }
            panic!("`{what}` is not said:\n{}", seen.join("\n"));
        }

        struct Running(Child);
        impl Drop for Running {
            fn drop(&mut self) {
                let _ = self.0.kill();
                let _ = self.0.wait();
            }
        }

        let place = Place::new("doctor-watch");
        let server = Server::start(&set("1.36.2", "iptables-legacy"), Manner::Well);
        let config = server.kubeconfig(&place);
        let mut command = Command::new(env!("CARGO_BIN_EXE_kptop"));
        command.args(["doctor", "--watch", "--no-kube-proxy", "--over", "0.5", "--kubeconfig"]).arg(config);
        let mut running = Running(command.stdout(Stdio::piped()).spawn().unwrap());
        let (send, lines) = channel();
        let out = running.0.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(out).lines().map_while(Result::ok) {
                if send.send(line).is_err() {
                    return;
                }
            }
        });
        wait_for(&lines, "Ruled out");
        *server.manner.lock().unwrap() = Manner::CutOff;
        for kind in ["services", "endpointslices", "nodes"] {
            server.send(kind, &json!("cut"));
        }
        wait_for(&lines, "Kubernetes API  ");
        *server.manner.lock().unwrap() = Manner::Well;
        wait_for(&lines, "the Kubernetes API answers again");
    }
}
