//! `kptop serve`

use super::demo::DemoMode;
use super::source::DemoOf;
use super::{Source, SourceArgs, prices};
use crate::observe::{Observer, View};
use crate::output::{Cardinality, METRICS, open_metrics, prometheus_text, samples};
use crate::snapshot::live::Wanted;
use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE};
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use std::convert::Infallible;
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::Semaphore;

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9756", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Seconds between readings.
    #[arg(long, value_name = "SECONDS", default_value = "5", allow_negative_numbers = true, value_parser = super::parse_interval)]
    every: Duration,
    /// Services with series of their own; 0 for none.
    #[arg(long, value_name = "N", default_value = "2000")]
    max_services: usize,
    /// Backends with series of their own; 0 for none.
    #[arg(long, value_name = "N", default_value = "5000")]
    max_backends: usize,
    /// Only Services of this namespace; may be given several times.
    #[arg(long, value_name = "NAME")]
    namespace: Vec<String>,
    /// Print the metrics with their meaning, and end.
    #[arg(long)]
    list: bool,
    /// Serve a demo of this mode, with its traffic, instead of this node.
    #[arg(long, value_enum, value_name = "MODE")]
    pub(super) demo: Option<DemoMode>,
}

/// `10.0.0.5:9756`, `[::]:9756`, `localhost:9756`; `:9756` is every address.
fn parse_listen(text: &str) -> Result<SocketAddr, String> {
    let whole = match text.rsplit_once(':') {
        Some(("", _)) => format!("[::]{text}"),
        // An IPv6 address without brackets, as the downward API gives it to a pod.
        Some((a, port)) if a.parse::<std::net::Ipv6Addr>().is_ok() => format!("[{a}]:{port}"),
        _ => text.to_string(),
    };
    let found = whole.to_socket_addrs().ok().and_then(|mut all| all.next());
    found
        .ok_or_else(|| format!("`{text}` is no address with a port: 127.0.0.1:9756, 0.0.0.0:9756, [::]:9756"))
}

/// Connections at once; those beyond are closed. An idle one costs nothing but its place.
const AT_ONCE: usize = 256;
/// A client that takes longer to ask is let go.
const PATIENCE: Duration = Duration::from_secs(10);

/// The last reading.
#[derive(Clone)]
struct Last {
    view: View,
    took: Duration,
    at: Instant,
}

pub(super) fn run(source: &SourceArgs, args: &ServeArgs) -> Result<ExitCode, String> {
    if args.list {
        super::print(list)?;
        return Ok(ExitCode::SUCCESS);
    }
    source.need_live("serving metrics")?;
    let names = source.names()?;
    // Before anything else is opened: a port that is taken is told at once. In the namespace that kptop was started in.
    let wrong = |e: io::Error| {
        let hint = match e.kind() {
            io::ErrorKind::AddrInUse => {
                "\n  -> somebody listens there: --listen 127.0.0.1:0 takes a free port"
            }
            io::ErrorKind::PermissionDenied => "\n  -> ports below 1024 need CAP_NET_BIND_SERVICE",
            _ => "",
        };
        format!("listening on {}: {e}{hint}", args.listen)
    };
    if args.demo.is_some() {
        crate::lab::become_root_if_needed().map_err(|e| super::explain(&e))?; // before the first thread
    }
    let listener = std::net::TcpListener::bind(args.listen).map_err(wrong)?;
    listener.set_nonblocking(true).map_err(wrong)?;
    let at = listener.local_addr().map_err(wrong)?;
    let last: Arc<Mutex<Option<Last>>> = Arc::default();
    let (to, every) = (last.clone(), args.every);
    let (source, demo) = (source.clone(), args.demo.map(DemoOf::busy));
    let (opened, is_open) = std::sync::mpsc::channel();
    let read = move || {
        let mut source = match Source::open(&source, demo, Duration::ZERO) {
            Ok(s) => {
                let _ = opened.send(Ok(()));
                s.paced()
            }
            Err(e) => return drop(opened.send(Err(e))),
        };
        let mut observer = Observer::new(names).priced(prices());
        let mut first = true;
        loop {
            let began = Instant::now();
            let Ok(snapshot) = source.snapshot(Wanted::ALL) else { return };
            let view = match snapshot.costs.is_empty() {
                true => observer.again(snapshot),
                false => observer.observe(snapshot),
            };
            if first {
                super::source::tell_unread(&view.snapshot);
                first = false;
            }
            let now = Last { view, took: began.elapsed(), at: Instant::now() };
            *to.lock().unwrap_or_else(PoisonError::into_inner) = Some(now);
            std::thread::sleep(every.saturating_sub(began.elapsed()));
        }
    };
    std::thread::Builder::new()
        .name("reader".into())
        .spawn(read)
        .map_err(|e| format!("starting the reading thread: {e}"))?;
    is_open.recv().unwrap_or_else(|_| Err("the reading thread ended at once".into()))?;
    // This thread talks to the network: rules and flows are none of its business.
    super::source::give_up(crate::snapshot::facts::keep_files_only());
    let _ = writeln!(
        io::stderr(),
        "kptop: serving http://{at}/metrics, read every {}",
        crate::figures::duration(every)
    );
    let limits = Cardinality {
        services: args.max_services,
        backends: args.max_backends,
        namespaces: args.namespace.clone(),
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("starting the server: {e}"))?;
    runtime.block_on(serve(listener, last, limits, every)).map_err(|e| format!("serving: {e}"))?;
    Ok(ExitCode::SUCCESS)
}

async fn serve(
    listener: std::net::TcpListener,
    last: Arc<Mutex<Option<Last>>>,
    limits: Cardinality,
    every: Duration,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let room = Arc::new(Semaphore::new(AT_ONCE));
    let limits = Arc::new(limits);
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => stream,
                // Out of descriptors, or the client is gone already: the next one may do.
                Err(_) => {
                    tokio::time::sleep(Duration::from_millis(100)).await;
                    continue;
                }
            },
            _ = terminate.recv() => return Ok(()),
            _ = interrupt.recv() => return Ok(()),
        };
        let (last, limits, room) = (last.clone(), limits.clone(), room.clone());
        tokio::spawn(async move {
            let Ok(_place) = room.try_acquire() else { return };
            let answer = service_fn(move |request: Request<Incoming>| {
                let now = last.lock().unwrap_or_else(PoisonError::into_inner).clone();
                let answer = answer(&request, now, &limits, every);
                async move { Ok::<_, Infallible>(answer) }
            });
            let connection = hyper::server::conn::http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(PATIENCE)
                .serve_connection(TokioIo::new(stream), answer);
            // A client that is gone has had its answer.
            let _ = tokio::time::timeout(Duration::from_secs(300), connection).await;
        });
    }
}

type Answer = Response<Full<Bytes>>;

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, hyper::header::HeaderValue::from_static(kind));
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";

fn answer(request: &Request<Incoming>, now: Option<Last>, limits: &Cardinality, every: Duration) -> Answer {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
        answer.headers_mut().insert(ALLOW, hyper::header::HeaderValue::from_static("GET, HEAD"));
        return answer;
    }
    match request.uri().path() {
        "/metrics" => {
            let Some(last) = now else {
                return text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    PLAIN,
                    "the first reading is not done yet\n".into(),
                );
            };
            let asked = request.headers().get(ACCEPT).and_then(|a| a.to_str().ok()).unwrap_or_default();
            match open_metrics(samples(&last.view, last.took, last.at.elapsed(), limits)) {
                Ok(body) if asked.contains("application/openmetrics-text") => {
                    text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body)
                }
                Ok(body) => {
                    text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", prometheus_text(&body))
                }
                Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{e}\n")),
            }
        }
        // Alive while readings come.
        "/healthz" => match now {
            Some(l) if l.at.elapsed() < every * 5 + Duration::from_secs(30) => {
                text(StatusCode::OK, PLAIN, "ok\n".into())
            }
            Some(l) => text(
                StatusCode::SERVICE_UNAVAILABLE,
                PLAIN,
                format!("the last reading is {} s old\n", l.at.elapsed().as_secs()),
            ),
            None => {
                text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the first reading is not done yet\n".into())
            }
        },
        "/" => text(StatusCode::OK, PLAIN, "kptop: /metrics, /healthz\n".into()),
        _ => text(StatusCode::NOT_FOUND, PLAIN, "there are /metrics and /healthz\n".into()),
    }
}

fn list(out: &mut dyn Write) -> io::Result<()> {
    for m in METRICS {
        let kind = if m.counter { "counter" } else { "gauge" };
        writeln!(out, "{} ({kind})", m.full_name())?;
        writeln!(out, "    {}", m.help)?;
        if !m.labels.is_empty() {
            writeln!(out, "    by {}", m.labels.join(", "))?;
        }
    }
    Ok(())
}
