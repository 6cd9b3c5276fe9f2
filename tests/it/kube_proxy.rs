//! What kube-proxy says of itself: the answers of real ones (`tests/kube-proxy`), and a server that gives them.

use crate::common::{read, set};
use kptop::doctor::{Examination, Severity};
use kptop::kube_proxy::{Answer, KubeProxy, config, health, metrics};
use kptop::observe::Observer;
use kptop::proxy::Names;
use kptop::snapshot::dump;
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// The checks that judge by it.
const OWN: [&str; 4] = ["sync_fails", "sync_stuck", "sync_slow", "kube_proxy_down"];

fn all() -> Vec<(String, PathBuf)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube-proxy");
    let mut found = vec![(String::new(), root)];
    for _ in 0..3 {
        let deeper = found.iter().flat_map(|(name, dir)| {
            let entries = std::fs::read_dir(dir).unwrap().flatten();
            entries.map(move |e| (format!("{name}/{}", e.file_name().to_string_lossy()), e.path()))
        });
        found = deeper.collect();
    }
    assert!(found.len() > 15, "{found:?}");
    found
}

/// What a captured one answered, asked a minute after its last queued sync.
fn captured(dir: &Path) -> KubeProxy {
    let text = read(dir, "metrics.txt").unwrap();
    let said = metrics(&text).unwrap_or_else(|| panic!("{}: no metrics", dir.display()));
    let health_text = read(dir, "healthz.json").unwrap();
    // The status is not in the file: every version says 503 where it is not healthy.
    let status = if health_text.contains("\"healthy\":false,\"status\"") { 503 } else { 200 };
    let health = health(status, &health_text).unwrap_or_else(|| panic!("{}: no health", dir.display()));
    assert!(health.updated_at.is_some(), "{}: {health:?}", dir.display());
    let queued = said.syncs.iter().map(|s| s.queued_s).fold(0.0, f64::max);
    KubeProxy {
        asked_at: jiff::Timestamp::from_second(queued as i64 + 60).unwrap(),
        metrics: Answer::Given(said),
        health: Answer::Given(health),
        config: config(&read(dir, "configz.json").unwrap()),
        mode: read(dir, "proxyMode.txt"),
        ..KubeProxy::default()
    }
}

/// Which of the checks find something, the worst first, and which could not be done.
fn judged(e: &Examination) -> (Vec<(&'static str, Severity)>, Vec<&'static str>) {
    let found = e.findings.iter().filter(|f| OWN.contains(&f.id) && f.quiet_since.is_none());
    let open = e.unchecked.iter().filter(|u| OWN.contains(&u.id)).map(|u| u.id);
    (found.map(|f| (f.id, f.severity)).collect(), open.collect())
}

#[test]
fn every_state_of_every_version_is_told() {
    for (name, dir) in all() {
        let said = captured(&dir);
        let parts: Vec<&str> = name.split('/').collect();
        let (version, mode, state) = (parts[1], parts[2], parts[3]);
        assert_eq!(said.version(), Some(version), "{name}");
        assert!(mode.starts_with(said.mode.as_deref().unwrap()), "{name}: {:?}", said.mode);
        let config = said.config.as_ref().unwrap_or_else(|| panic!("{name}: no configuration"));
        assert!(mode.starts_with(&config.mode) && config.sync.is_some(), "{name}: {config:?}");
        assert!(!config.cluster_cidrs.is_empty() && config.masquerade_bit == Some(14), "{name}: {config:?}");
        assert!(said.synced_at().is_some() && said.sync_seconds().is_some(), "{name}");
        let mut snapshot = dump::read(&[set("1.36.2", "iptables-legacy")]).unwrap();
        snapshot.kube_proxy = Some(Arc::new(said));
        let done = Observer::new(Names::default()).observe(snapshot).examination;
        let wanted = match state {
            "healthy" | "api500" | "apistall" => vec![],
            // The lock is waited for, and then given up: each try is a failure.
            "fails" | "missing" | "locked" => vec![("sync_fails", Severity::Critical)],
            "hangs" => vec![("sync_stuck", Severity::Critical)],
            other => panic!("{other}"),
        };
        assert_eq!(judged(&done), (wanted, vec![]), "{name}: {:#?}", done.findings);
    }
}

#[test]
fn without_an_answer_nothing_is_said_to_be_fine() {
    let snapshot = || dump::read(&[set("1.36.2", "nftables")]).unwrap();
    let judge = |k: Option<KubeProxy>| {
        let mut s = snapshot();
        s.kube_proxy = k.map(Arc::new);
        judged(&Observer::new(Names::default()).observe(s).examination)
    };
    let mut names = OWN.to_vec();
    let mut sorted = |mut open: Vec<&'static str>| {
        open.sort_unstable();
        names.sort_unstable();
        open == names
    };
    let (found, open) = judge(None);
    assert!(found.is_empty() && sorted(open));
    let refused = KubeProxy { metrics: Answer::Refused, health: Answer::Refused, ..KubeProxy::default() };
    assert_eq!(judge(Some(refused.clone())).0, [("kube_proxy_down", Severity::Info)]);
    let here = KubeProxy { in_first_netns: true, ..refused };
    let (found, open) = judge(Some(here));
    assert_eq!(found, [("kube_proxy_down", Severity::Warning)]);
    assert_eq!(open.len(), 3, "{open:?}");
}

/// What somebody saved of it, beside the rules: found by content, under any name.
#[test]
fn saved_answers_are_read() {
    for (name, dir) in all() {
        let state = name.rsplit('/').next().unwrap();
        let place = crate::common::recordings::Place::new(&format!("kube-proxy{}", name.replace('/', "-")));
        let rules = set("1.36.2", "iptables-legacy");
        for (from, file, to) in [
            (&rules, "iptables-save-c.txt", "a"),
            (&dir, "metrics.txt", "b"),
            (&dir, "configz.json", "c"),
            (&dir, "healthz.json", "d"),
        ] {
            std::fs::write(place.file(to), read(from, file).unwrap()).unwrap();
        }
        let snapshot = dump::read(std::slice::from_ref(&place.0)).unwrap();
        let said = snapshot.kube_proxy.clone().unwrap_or_else(|| panic!("{name}: nothing of kube-proxy"));
        assert_eq!(said.version(), name.split('/').nth(1), "{name}");
        assert!(said.config.is_some() && said.health.given().is_some(), "{name}");
        let (found, _) = judged(&Observer::new(Names::default()).observe(snapshot).examination);
        let is_well = matches!(state, "healthy" | "api500" | "apistall");
        assert_eq!(found.is_empty(), is_well, "{name}: {found:?}");
    }
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;
    use crate::common::{in_new_netns, load_legacy, run};
    use kptop::snapshot::live::{Live, Wanted};
    use std::io::{BufRead, BufReader, Write};
    use std::net::{TcpListener, TcpStream};
    use std::sync::Mutex;
    use std::time::{Duration, Instant};

    #[derive(Clone)]
    enum Manner {
        Gives(PathBuf),
        Silent,
        Ended,
    }

    /// Gives a captured one's answers in the calling thread's namespace, until it has ended.
    fn serve(port: u16, manner: &Arc<Mutex<Manner>>) -> std::thread::JoinHandle<()> {
        let listener = TcpListener::bind(("127.0.0.1", port)).unwrap();
        listener.set_nonblocking(true).unwrap();
        let manner = manner.clone();
        std::thread::spawn(move || {
            loop {
                if matches!(*manner.lock().unwrap(), Manner::Ended) {
                    return;
                }
                match listener.accept() {
                    Ok((stream, _)) => {
                        let manner = manner.clone();
                        std::thread::spawn(move || drop(answer(stream, &manner)));
                    }
                    Err(_) => std::thread::sleep(Duration::from_millis(20)),
                }
            }
        })
    }

    fn answer(mut stream: TcpStream, manner: &Mutex<Manner>) -> std::io::Result<()> {
        stream.set_nonblocking(false)?;
        let mut lines = BufReader::new(stream.try_clone()?);
        loop {
            let mut request = String::new();
            if lines.read_line(&mut request)? == 0 {
                return Ok(());
            }
            let mut line = String::new();
            while lines.read_line(&mut line)? > 2 {
                line.clear();
            }
            let now = manner.lock().unwrap().clone();
            let Manner::Gives(dir) = now else {
                std::thread::sleep(Duration::from_secs(10));
                return Ok(());
            };
            let file = match request.split(' ').nth(1) {
                Some("/metrics") => "metrics.txt",
                Some("/configz") => "configz.json",
                Some("/proxyMode") => "proxyMode.txt",
                Some("/healthz") => "healthz.json",
                other => panic!("{other:?} is not asked for"),
            };
            let body = read(&dir, file).unwrap();
            let status = if body.contains("\"healthy\":false,\"status\"") { "503 No" } else { "200 OK" };
            write!(stream, "HTTP/1.1 {status}\r\nContent-Length: {}\r\n\r\n{body}", body.len())?;
        }
    }

    fn dir(name: &str) -> Manner {
        Manner::Gives(Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/kube-proxy").join(name))
    }

    /// Healthy, failing, silent, healthy again, and gone, as the live reader sees it.
    #[test]
    fn it_is_asked_in_the_namespace_that_is_read() {
        in_new_netns(|| {
            load_legacy(&set("1.36.2", "iptables-legacy"));
            let manner = Arc::new(Mutex::new(dir("1.36.3/iptables-legacy/healthy")));
            let servers = [serve(10249, &manner), serve(10256, &manner)];
            let mut live = Live::open(None).unwrap().asking_kube_proxy(true);
            live.wait_for_kube_proxy(Duration::from_secs(5));
            let mut observer = Observer::new(Names::default());
            let mut until = |what: &str, wanted: &[(&str, Severity)]| {
                let end = Instant::now() + Duration::from_secs(30);
                loop {
                    let view = observer.observe(live.snapshot(Wanted::ALL));
                    let (found, _) = judged(&view.examination);
                    if found == wanted && view.snapshot.kube_proxy.is_some() {
                        return view;
                    }
                    assert!(Instant::now() < end, "{what}: {found:?}, {:?}", view.snapshot.kube_proxy);
                    std::thread::sleep(Duration::from_millis(200));
                }
            };
            let view = until("healthy", &[]);
            let said = view.snapshot.kube_proxy.clone().unwrap();
            assert!(!said.in_first_netns, "a namespace of its own is not the first");
            assert_eq!(said.version(), Some("1.36.3"));
            assert_eq!(said.config.as_ref().unwrap().min_sync, Some(Duration::from_secs(1)));

            // All rules wiped: found also by who starts afterwards, as it says that it wrote them.
            for table in ["nat", "filter", "mangle"] {
                run("iptables-legacy", &["-t", table, "-F"]);
                run("iptables-legacy", &["-t", table, "-X"]);
                run("ip6tables-legacy", &["-t", table, "-F"]);
                run("ip6tables-legacy", &["-t", table, "-X"]);
            }
            let mut later = Live::open(None).unwrap().asking_kube_proxy(true);
            later.wait_for_kube_proxy(Duration::from_secs(5));
            let done = Observer::new(Names::default()).observe(later.snapshot(Wanted::ALL)).examination;
            let f = done.findings.first().expect("a finding");
            assert!(f.id == "wiped" && f.title.contains("kube-proxy runs here"), "{f:#?}");
            load_legacy(&set("1.36.2", "iptables-legacy"));

            *manner.lock().unwrap() = dir("1.36.3/iptables-legacy/fails");
            until("failing", &[("sync_fails", Severity::Critical)]);
            *manner.lock().unwrap() = dir("1.36.3/iptables-legacy/healthy");
            until("healed", &[]);
            *manner.lock().unwrap() = Manner::Silent;
            let view = until("silent", &[("sync_stuck", Severity::Critical)]);
            // What it said before of its configuration still holds.
            assert!(view.snapshot.kube_proxy.as_ref().unwrap().config.is_some());
            *manner.lock().unwrap() = dir("1.36.3/iptables-legacy/healthy");
            until("healed", &[]);
            *manner.lock().unwrap() = Manner::Ended;
            servers.into_iter().for_each(|s| s.join().unwrap());
            until("gone", &[("kube_proxy_down", Severity::Critical)]);
        });
    }
}
