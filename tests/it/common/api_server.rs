//! A server that speaks the API's list and watch, well and badly.

use super::read;
use super::recordings::Place;
use kptop::api::{ApiOptions, ApiWatch};
use kptop::snapshot::facts::Cluster;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Manner {
    Well,
    /// EndpointSlices are forbidden.
    Forbids,
    /// Answers come after seconds.
    Slow,
    /// Connections are cut in the middle of a list, and before a watch.
    CutOff,
    /// What comes is no JSON.
    Garbage,
    /// Nothing is answered and nothing is cut, as behind a firewall that drops.
    Silent,
}

/// Who watches which kind.
type Watchers = Mutex<Vec<(String, Sender<String>)>>;

/// A server with the objects of a set, and what it was asked.
pub struct Server {
    port: u16,
    pub manner: Arc<Mutex<Manner>>,
    pub lists: Arc<AtomicUsize>,
    /// Events for whoever watches this kind.
    watchers: Arc<Watchers>,
    pub kinds: Arc<Mutex<Kinds>>,
    /// Events that the next watch of a kind begins with.
    pub missed: Arc<Mutex<Vec<(String, String)>>>,
    stop: Arc<AtomicBool>,
}

pub fn objects(dir: &Path, name: &str) -> Vec<Value> {
    let mut list: Value = serde_json::from_str(&read(dir, name).unwrap()).unwrap();
    match list["items"].take() {
        Value::Array(items) => items,
        _ => panic!("{name} has no items"),
    }
}

impl Server {
    /// Nobody listens there.
    pub fn nowhere() -> Server {
        let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
        Server {
            port,
            manner: Arc::new(Mutex::new(Manner::Well)),
            lists: Arc::default(),
            watchers: Arc::default(),
            kinds: Arc::default(),
            missed: Arc::default(),
            stop: Arc::default(),
        }
    }

    pub fn start(dir: &Path, manner: Manner) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let kinds = [
            ("services", "v1", "ServiceList", objects(dir, "services.json")),
            (
                "endpointslices",
                "discovery.k8s.io/v1",
                "EndpointSliceList",
                objects(dir, "endpointslices.json"),
            ),
            ("nodes", "v1", "NodeList", objects(dir, "nodes.json")),
        ];
        let server = Server {
            port,
            manner: Arc::new(Mutex::new(manner)),
            lists: Arc::default(),
            watchers: Arc::default(),
            kinds: Arc::new(Mutex::new(kinds)),
            missed: Arc::default(),
            stop: Arc::default(),
        };
        let (manner, lists, watchers, stop) =
            (server.manner.clone(), server.lists.clone(), server.watchers.clone(), server.stop.clone());
        let (all, missed) = (server.kinds.clone(), server.missed.clone());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                if stop.load(Ordering::Relaxed) {
                    return;
                }
                let Ok(stream) = stream else { return };
                let (all, manner, lists, watchers) =
                    (all.clone(), manner.clone(), lists.clone(), watchers.clone());
                let missed = missed.clone();
                std::thread::spawn(move || {
                    let _ = serve(stream, &all, &manner, &lists, (&watchers, &missed));
                });
            }
        });
        server
    }

    pub fn kubeconfig(&self, place: &Place) -> std::path::PathBuf {
        let file = place.file("kubeconfig");
        let text = format!(
            "apiVersion: v1\nkind: Config\ncurrent-context: c\nclusters: [{{name: k, cluster: {{server: \"http://127.0.0.1:{}\"}}}}]\nusers: [{{name: u, user: {{token: secret}}}}]\ncontexts: [{{name: c, context: {{cluster: k, user: u}}}}]\n",
            self.port
        );
        std::fs::write(&file, text).unwrap();
        file
    }

    pub fn watch(&self, place: &Place) -> ApiWatch {
        let node_name = Some("node-a".into());
        let options = ApiOptions { kubeconfig: Some(self.kubeconfig(place)), node_name, hostname: None };
        ApiWatch::start(&options).unwrap()
    }

    /// Sends an event to those who watch a kind.
    pub fn send(&self, kind: &str, event: &Value) {
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

type Kinds = [(&'static str, &'static str, &'static str, Vec<Value>); 3];

fn serve(
    mut stream: TcpStream,
    all: &Mutex<Kinds>,
    manner: &Mutex<Manner>,
    lists: &AtomicUsize,
    (watchers, missed): (&Watchers, &Mutex<Vec<(String, String)>>),
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
        let now = *manner.lock().unwrap();
        if now == Manner::Silent {
            while *manner.lock().unwrap() == Manner::Silent {
                std::thread::sleep(Duration::from_millis(50));
            }
            return Ok(());
        }
        let (kind, version, list, items) =
            all.lock().unwrap().iter().find(|k| path.ends_with(k.0)).expect("a known kind").clone();
        if now == Manner::Slow {
            std::thread::sleep(Duration::from_secs(3));
        }
        if now == Manner::Forbids && kind == "endpointslices" {
            let status = json!({"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden",
                "message": "endpointslices.discovery.k8s.io is forbidden: User \"u\" cannot list resource", "code": 403});
            answer(&mut stream, "403 Forbidden", &status.to_string())?;
            continue;
        }
        if query.contains("watch=true") && now == Manner::CutOff {
            return Ok(());
        }
        if query.contains("watch=true") {
            let (to, events) = channel();
            // What happened while nobody watched comes first.
            let mut missed = missed.lock().unwrap();
            for (_, event) in missed.extract_if(.., |(k, _)| k == kind) {
                let _ = to.send(event);
            }
            watchers.lock().unwrap().push((kind.to_string(), to));
            drop(missed);
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

pub fn until(watch: &ApiWatch, what: &str, holds: impl Fn(&Cluster) -> bool) -> Arc<Cluster> {
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
