//! `kptop serve`

use super::demo_of::{DemoFlag, become_root};
use super::execute::{Execute, Needs};
use super::globals::Globals;
use super::http;
use super::prices::prices;
use super::print::{print, say};
use super::source::Source;
use crate::explain::{Sender, destinations, explain};
use crate::observe::{Observer, View};
use crate::output::{self, Cardinality, METRICS, open_metrics, prometheus_text, samples};
use crate::snapshot::live::Wanted;
use clap::Args;
use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, AUTHORIZATION, CONTENT_TYPE, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Request, Response, StatusCode};
use sha2::{Digest, Sha256};
use std::io::{self, Write};
use std::net::{SocketAddr, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

#[derive(Debug, Args)]
pub(super) struct ServeArgs {
    /// Address and port to listen on; port 0 takes a free one.
    #[arg(long, value_name = "ADDRESS:PORT", default_value = "127.0.0.1:9756", value_parser = parse_listen)]
    listen: SocketAddr,
    /// Seconds between readings.
    #[arg(long, value_name = "SECONDS", default_value = "5", allow_negative_numbers = true, value_parser = super::values::parse_interval)]
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
    /// Serve HTTPS with this certificate, and those that lead to its authority (PEM). It is read again when it changes.
    #[arg(long, value_name = "FILE", requires = "tls_key")]
    tls_cert: Option<PathBuf>,
    /// The certificate's key (PEM).
    #[arg(long, value_name = "FILE", requires = "tls_cert")]
    tls_key: Option<PathBuf>,
    /// Answer /metrics only to who shows the token in this file: Authorization: Bearer TOKEN.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Answer /snapshot (as `kptop snapshot -o json`) to who shows the token in this file.
    #[arg(long, value_name = "FILE")]
    snapshot: Option<PathBuf>,
    /// Answer /doctor (as `kptop doctor -o json`) to who shows the token in this file.
    #[arg(long, value_name = "FILE")]
    doctor: Option<PathBuf>,
    /// Answer /explain?to=DEST&client=pod|node|outside|ADDRESS (as `kptop explain -o json`) to who shows the token in this file.
    #[arg(long, value_name = "FILE")]
    explain: Option<PathBuf>,
    /// Print the metrics with their meaning, and end.
    #[arg(long)]
    list: bool,
    #[command(flatten)]
    demo: DemoFlag,
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

/// The last reading.
#[derive(Clone)]
struct Last {
    view: View,
    took: Duration,
    at: Instant,
}

impl Execute for ServeArgs {
    fn needs(&self) -> Needs {
        Needs::reading(self.demo.is_given())
    }

    fn run(&self, globals: &Globals) -> Result<ExitCode, String> {
        let (source, args) = (&globals.source, self);
        if args.list {
            print(list)?;
            return Ok(ExitCode::SUCCESS);
        }
        source.need_live("serving metrics")?;
        let names = source.names()?;
        let node_name = source.name_of_node();
        let token = |file: &Option<PathBuf>| file.as_deref().map(Token::read).transpose();
        let metrics = token(&args.token_file)?;
        let pages = Pages {
            snapshot: token(&args.snapshot)?,
            doctor: token(&args.doctor)?,
            explain: token(&args.explain)?,
        };
        let tls = match (&args.tls_cert, &args.tls_key) {
            (Some(cert), Some(key)) => Some(http::Tls::open(cert, key)?),
            _ => None,
        };
        // Before anything else is opened: a port that is taken is reported at once. In the namespace that kptop was started in.
        let wrong = |e: io::Error| {
            let hint = match e.kind() {
                io::ErrorKind::AddrInUse => {
                    "\n  -> another program listens there: --listen 127.0.0.1:0 takes a free port"
                }
                io::ErrorKind::PermissionDenied => "\n  -> ports below 1024 need CAP_NET_BIND_SERVICE",
                _ => "",
            };
            format!("listening on {}: {e}{hint}", args.listen)
        };
        if args.demo.is_given() {
            become_root()?; // before the first thread
        }
        let listener = std::net::TcpListener::bind(args.listen).map_err(wrong)?;
        listener.set_nonblocking(true).map_err(wrong)?;
        let at = listener.local_addr().map_err(wrong)?;
        let last: Arc<Mutex<Option<Last>>> = Arc::default();
        let (to, every) = (last.clone(), args.every);
        let (source, demo, count_flows) = (source.clone(), args.demo.busy(), source.new_flows);
        let (opened, is_open) = std::sync::mpsc::channel();
        let read = move || {
            let mut source = match Source::open(&source, demo, Duration::ZERO) {
                Ok(s) => {
                    let _ = opened.send(Ok(()));
                    s.paced().counting_new_flows(count_flows)
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
                source.new_flows_are_counted(view.model.new_flows_are_counted());
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
        let scheme = if tls.is_some() { "https" } else { "http" };
        say(&format!("serving {scheme}://{at}/metrics, read every {}", crate::format::duration(every)));
        if at.ip().is_unspecified() {
            say("it listens on every address of this node: --listen 127.0.0.1:9756 is for this node alone");
        }
        let limits = Cardinality {
            node_name: node_name.clone(),
            services: args.max_services,
            backends: args.max_backends,
            namespaces: args.namespace.clone(),
        };
        let site = Site { last, limits, every, token: metrics, pages };
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .map_err(|e| format!("starting the server: {e}"))?;
        runtime.block_on(http::serve(listener, tls, site)).map_err(|e| format!("serving: {e}"))?;
        Ok(ExitCode::SUCCESS)
    }
}

type Answer = Response<Full<Bytes>>;

fn text(status: StatusCode, kind: &'static str, body: String) -> Answer {
    let mut answer = Response::new(Full::new(Bytes::from(body)));
    *answer.status_mut() = status;
    answer.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    answer
}

const PLAIN: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What is answered, and to whom.
struct Site {
    last: Arc<Mutex<Option<Last>>>,
    limits: Cardinality,
    every: Duration,
    token: Option<Token>,
    pages: Pages,
}

/// Pages that name Services and endpoints, and are closed unless a token opens each.
struct Pages {
    snapshot: Option<Token>,
    doctor: Option<Token>,
    explain: Option<Token>,
}

impl Pages {
    /// The paths that are open, for who asks what there is.
    fn names(&self) -> String {
        let all = [("/snapshot", &self.snapshot), ("/doctor", &self.doctor), ("/explain?to=", &self.explain)];
        all.iter().filter(|p| p.1.is_some()).map(|p| format!(", {}", p.0)).collect()
    }
}

impl http::Answers for Site {
    fn answer(&self, request: &Request<Incoming>) -> Answer {
        if !matches!(*request.method(), Method::GET | Method::HEAD) {
            let mut answer = text(StatusCode::METHOD_NOT_ALLOWED, PLAIN, "only GET\n".into());
            answer.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return answer;
        }
        let now = self.last.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = request.uri().path();
        let token = match path {
            "/metrics" => self.token.as_ref(),
            "/snapshot" => self.pages.snapshot.as_ref(),
            "/doctor" => self.pages.doctor.as_ref(),
            "/explain" => self.pages.explain.as_ref(),
            _ => None,
        };
        if token.is_some_and(|t| !t.is_shown(request)) {
            let mut answer = text(StatusCode::UNAUTHORIZED, PLAIN, "a bearer token is needed\n".into());
            answer.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
            return answer;
        }
        match path {
            "/metrics" => self.metrics(request, now),
            "/snapshot" if token.is_some() => {
                page(request, now, |v, out| output::write_snapshot_json(v, false, out))
            }
            "/doctor" if token.is_some() => page(request, now, |v, out| {
                output::write_examination_json(&v.examination, &v.model, v.snapshot.taken_at, false, out)
            }),
            "/explain" if token.is_some() => explained(request, now),
            // Alive while readings come.
            "/healthz" => match now {
                Some(l) if l.at.elapsed() < self.every * 5 + Duration::from_secs(30) => {
                    text(StatusCode::OK, PLAIN, "ok\n".into())
                }
                Some(l) => text(
                    StatusCode::SERVICE_UNAVAILABLE,
                    PLAIN,
                    format!("the last reading is {} s old\n", l.at.elapsed().as_secs()),
                ),
                None => not_yet(),
            },
            "/" => text(StatusCode::OK, PLAIN, format!("kptop: /metrics, /healthz{}\n", self.pages.names())),
            _ => text(
                StatusCode::NOT_FOUND,
                PLAIN,
                format!("there are /metrics, /healthz{}\n", self.pages.names()),
            ),
        }
    }
}

fn not_yet() -> Answer {
    text(StatusCode::SERVICE_UNAVAILABLE, PLAIN, "the first reading is not done yet\n".into())
}

/// A document of the last reading.
fn page(
    request: &Request<Incoming>,
    now: Option<Last>,
    write: impl FnOnce(&View, &mut dyn Write) -> io::Result<()>,
) -> Answer {
    let Some(last) = now else { return not_yet() };
    let mut body = Vec::new();
    let written = write(&last.view, &mut output::Plain::new(&mut body, output::Form::Json));
    match written.map(|()| String::from_utf8(body)) {
        Ok(Ok(body)) => http::packed(request, text(StatusCode::OK, JSON, body)),
        Ok(Err(e)) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{e}\n")),
        Err(e) => text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{e}\n")),
    }
}

/// `/explain?to=shop/cart&client=outside`
fn explained(request: &Request<Incoming>, now: Option<Last>) -> Answer {
    let wrong = |why: String| text(StatusCode::BAD_REQUEST, PLAIN, format!("{why}\n"));
    let query = request.uri().query().unwrap_or_default();
    let value = |name: &str| {
        let mut pairs = form_urlencoded::parse(query.as_bytes());
        pairs.find(|p| p.0 == name).map(|p| p.1.into_owned())
    };
    let Some(to) = value("to").filter(|t| !t.is_empty()) else {
        return wrong("where to? /explain?to=shop/cart, ?to=10.96.2.9:8080, ?to=30443&client=outside".into());
    };
    let sender = match value("client").as_deref().unwrap_or("pod").parse::<Sender>() {
        Ok(sender) => sender,
        Err(why) => return wrong(why.to_string()),
    };
    let Some(last) = &now else { return not_yet() };
    let (snapshot, model) = (&last.view.snapshot, &last.view.model);
    let answer = destinations(snapshot, model, &to).and_then(|found| match &found[..] {
        [one] => explain(snapshot, model, one, sender, None),
        many => Err(format!("`{to}` may be any of {}: say which, by port and protocol", many.len())),
    });
    match answer {
        Ok(e) => page(request, now.clone(), |v, out| {
            output::write_explanation_json(&e, &v.snapshot, &v.model, false, out)
        }),
        Err(why) => wrong(why),
    }
}

impl Site {
    fn metrics(&self, request: &Request<Incoming>, now: Option<Last>) -> Answer {
        let Some(last) = now else { return not_yet() };
        let body = match open_metrics(samples(&last.view, last.took, last.at.elapsed(), &self.limits)) {
            Ok(body) => body,
            Err(e) => return text(StatusCode::INTERNAL_SERVER_ERROR, PLAIN, format!("{e}\n")),
        };
        let of = |media: &str| http::quality(request, &ACCEPT, media);
        let open = of("application/openmetrics-text").unwrap_or(0.0);
        let answer = match open > 0.0 && open >= of("text/plain").unwrap_or(0.0) {
            true => text(StatusCode::OK, "application/openmetrics-text; version=1.0.0; charset=utf-8", body),
            false => text(StatusCode::OK, "text/plain; version=0.0.4; charset=utf-8", prometheus_text(&body)),
        };
        http::packed(request, answer)
    }
}

/// A bearer token, kept as its hash: comparing takes as long whatever is shown.
struct Token([u8; 32]);

impl Token {
    fn read(path: &Path) -> Result<Token, String> {
        Ok(Token(Sha256::digest(super::fetch::token(path)?).into()))
    }

    fn is_shown(&self, request: &Request<Incoming>) -> bool {
        let shown = request.headers().get(AUTHORIZATION).and_then(|v| v.to_str().ok());
        let token = shown.and_then(|s| s.split_once(' ')).filter(|(k, _)| k.eq_ignore_ascii_case("bearer"));
        token.is_some_and(|(_, t)| <[u8; 32]>::from(Sha256::digest(t.trim())) == self.0)
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
