//! A Prometheus of a test's own, and what it scrapes.

use super::recordings::Place;
use serde_json::Value;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// A program that ends with the test.
pub struct Running(pub Child);

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// `kptop serve` on a free port, which it says.
pub fn serve(args: &[&str]) -> (Running, u16) {
    let mut child = Command::new(env!("CARGO_BIN_EXE_kptop"))
        .args(["serve", "--listen", "127.0.0.1:0", "--every", "1"])
        .args(args)
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut line = String::new();
    let mut stderr = BufReader::new(child.stderr.take().unwrap());
    stderr.read_line(&mut line).unwrap();
    let running = Running(child);
    let port = line.split("127.0.0.1:").nth(1).and_then(|r| r.split('/').next()?.parse().ok());
    // What else it says is not waited for.
    std::thread::spawn(move || std::io::copy(&mut stderr, &mut std::io::sink()));
    (running, port.unwrap_or_else(|| panic!("no port in {line:?}")))
}

/// Debian's Prometheus on a port of its own.
pub struct Prometheus {
    pub port: u16,
    place: Place,
    _running: Running,
}

impl Prometheus {
    /// Starts it with a configuration; `tests/setup` installs it.
    pub fn start(config: &str) -> Prometheus {
        let place = Place::new("prometheus");
        std::fs::write(place.file("prometheus.yml"), config).unwrap();
        let port = {
            let free = TcpListener::bind("127.0.0.1:0").unwrap();
            free.local_addr().unwrap().port()
        };
        let log = std::fs::File::create(place.file("log")).unwrap();
        let running = Running(
            Command::new("prometheus")
                .arg(format!("--config.file={}", place.file("prometheus.yml").display()))
                .arg(format!("--storage.tsdb.path={}", place.file("data").display()))
                .arg(format!("--web.listen-address=127.0.0.1:{port}"))
                .stdout(log.try_clone().unwrap())
                .stderr(log)
                .spawn()
                .expect("prometheus (tests/setup installs it)"),
        );
        Prometheus { port, place, _running: running }
    }

    pub fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    /// What it wrote.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.place.file("log")).unwrap_or_default()
    }

    pub fn ask(&self, path: &str) -> Option<Value> {
        let mut stream = TcpStream::connect(("127.0.0.1", self.port)).ok()?;
        stream.set_read_timeout(Some(Duration::from_secs(20))).unwrap();
        write!(stream, "GET {path} HTTP/1.0\r\nHost: x\r\n\r\n").ok()?;
        let mut all = String::new();
        stream.read_to_string(&mut all).ok()?;
        serde_json::from_str(all.split_once("\r\n\r\n")?.1).ok()
    }

    pub fn query(&self, expr: &str) -> Option<Value> {
        let encoded: String = expr.bytes().map(|b| format!("%{b:02X}")).collect();
        self.ask(&format!("/api/v1/query?query={encoded}"))
    }

    /// The first number of an answer.
    pub fn number(&self, expr: &str) -> Option<f64> {
        self.query(expr)?["data"]["result"][0]["value"][1].as_str()?.parse().ok()
    }

    /// Waits until the number of an answer is at least this.
    pub fn wait_for(&self, expr: &str, least: f64, within: Duration) {
        let end = Instant::now() + within;
        while self.number(expr).is_none_or(|n| n < least) {
            assert!(Instant::now() < end, "{expr} is {:?}: {}", self.number(expr), self.log());
            std::thread::sleep(Duration::from_millis(300));
        }
    }
}

/// A page for each target: `/N/metrics` answers what the function says of N; nothing is 500.
pub fn pages(page: impl Fn(usize) -> Option<String> + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let page = Arc::new(page);
    let answer = |stream: TcpStream, page: &dyn Fn(usize) -> Option<String>| -> Option<()> {
        let mut reader = BufReader::new(stream.try_clone().ok()?);
        let mut stream = stream;
        loop {
            let mut first = String::new();
            reader.read_line(&mut first).ok().filter(|n| *n > 0)?;
            loop {
                let mut line = String::new();
                reader.read_line(&mut line).ok().filter(|n| *n > 0)?;
                if line.trim().is_empty() {
                    break;
                }
            }
            let n: usize = first.split('/').nth(1)?.parse().ok()?;
            let (status, body) = match page(n) {
                Some(body) => ("200 OK", body),
                None => ("500 Internal Server Error", String::new()),
            };
            let head = format!("HTTP/1.1 {status}\r\nContent-Type: text/plain; version=0.0.4\r\n");
            write!(stream, "{head}Content-Length: {}\r\n\r\n{body}", body.len()).ok()?;
        }
    };
    // Both end with the test's process; each connection ends when Prometheus does.
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let page = page.clone();
            std::thread::spawn(move || answer(stream, &*page));
        }
    });
    port
}
