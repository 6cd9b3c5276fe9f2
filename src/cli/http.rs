//! The server behind `kptop serve`: places for clients, TLS, and what clients accept.

use super::print::say;
use crate::signals::{SignalKind, signal};
use flate2::Compression;
use flate2::write::GzEncoder;
use http_body_util::{BodyExt, Full};
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT_ENCODING, CONTENT_ENCODING, HeaderName, HeaderValue, VARY};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use rustls::ServerConfig;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use std::convert::Infallible;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant, SystemTime};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio_rustls::TlsAcceptor;

/// Clients at once. One more takes the place of the one that has been idle longest.
const AT_ONCE: usize = 256;
/// A client that takes longer to ask is let go.
const PATIENCE: Duration = Duration::from_secs(10);
/// No client stays longer, whatever it asks.
const LONGEST: Duration = Duration::from_secs(300);

/// What a server answers.
pub(super) trait Answers: Send + Sync + 'static {
    fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>>;
}

/// A client that is being served.
struct Connection {
    number: u64,
    /// When it came, or asked last.
    active: Instant,
    end: AbortHandle,
}

/// The clients that are here.
#[derive(Default)]
struct Clients {
    here: Mutex<Vec<Connection>>,
}

impl Clients {
    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.here.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes room for one more: who has been idle longest goes, be it that it says nothing, says it byte by byte, or does
    /// not read what it asked for.
    fn make_room(&self) {
        let mut here = self.lock();
        while here.len() >= AT_ONCE {
            let idlest = here.iter().enumerate().min_by_key(|(_, c)| c.active).map(|(i, _)| i);
            let Some(i) = idlest else { return };
            here.swap_remove(i).end.abort();
        }
    }

    fn asked(&self, number: u64) {
        if let Some(c) = self.lock().iter_mut().find(|c| c.number == number) {
            c.active = Instant::now();
        }
    }

    fn gone(&self, number: u64) {
        self.lock().retain(|c| c.number != number);
    }
}

/// Serves until a signal ends it.
pub(super) async fn serve<A: Answers>(
    listener: std::net::TcpListener,
    mut tls: Option<Tls>,
    site: A,
) -> io::Result<()> {
    let listener = TcpListener::from_std(listener)?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    let (site, clients) = (Arc::new(site), Arc::new(Clients::default()));
    let mut number = 0;
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
        clients.make_room();
        number += 1;
        let acceptor = tls.as_mut().map(Tls::acceptor);
        let (site, here) = (site.clone(), clients.clone());
        let task = tokio::spawn(async move {
            let served = async {
                match acceptor {
                    None => talk(stream, site, here.clone(), number).await,
                    Some(acceptor) => {
                        let shaken = tokio::time::timeout(PATIENCE, acceptor.accept(stream)).await;
                        if let Ok(Ok(stream)) = shaken {
                            talk(stream, site, here.clone(), number).await;
                        }
                    }
                }
            };
            let _ = tokio::time::timeout(LONGEST, served).await;
            here.gone(number);
        });
        clients.lock().push(Connection { number, active: Instant::now(), end: task.abort_handle() });
    }
}

async fn talk<S, A>(stream: S, site: Arc<A>, clients: Arc<Clients>, number: u64)
where
    S: AsyncRead + AsyncWrite + Unpin,
    A: Answers,
{
    let answer = service_fn(move |request: Request<Incoming>| {
        clients.asked(number);
        let answer = site.answer(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let connection = hyper::server::conn::http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(PATIENCE)
        .serve_connection(TokioIo::new(stream), answer);
    // A client that is gone has had its answer.
    let _ = connection.await;
}

/// How much a client likes something, 0 to 1; `None` where it does not name it (RFC 9110, 12.4.2).
pub(super) fn quality(request: &Request<Incoming>, header: &HeaderName, wanted: &str) -> Option<f32> {
    let values = request.headers().get_all(header);
    let texts = values.iter().filter_map(|v| v.to_str().ok());
    let best = |a: f32, b: f32| if a > b { a } else { b };
    texts.flat_map(|t| t.split(',')).filter_map(|part| of_part(part, wanted)).reduce(best)
}

fn of_part(part: &str, wanted: &str) -> Option<f32> {
    let mut words = part.split(';').map(str::trim);
    if !words.next()?.eq_ignore_ascii_case(wanted) {
        return None;
    }
    let q = words.find_map(|w| w.strip_prefix("q=").or_else(|| w.strip_prefix("Q=")));
    Some(q.map_or(1.0, |q| q.parse().unwrap_or(0.0)))
}

/// The answer as it goes over the line: gzipped where the client takes that.
pub(super) fn packed(request: &Request<Incoming>, answer: Response<Full<Bytes>>) -> Response<Full<Bytes>> {
    let likes = |what: &str| quality(request, &ACCEPT_ENCODING, what);
    let gzip = likes("gzip").or_else(|| likes("*")).unwrap_or(0.0) > 0.0;
    let (mut head, body) = answer.into_parts();
    head.headers.insert(VARY, HeaderValue::from_static("Accept, Accept-Encoding"));
    let bytes = whole(body);
    if !gzip {
        return Response::from_parts(head, Full::new(bytes));
    }
    let mut packer = GzEncoder::new(Vec::with_capacity(bytes.len() / 8), Compression::fast());
    // Writing into memory does not fail.
    match packer.write_all(&bytes).and_then(|()| packer.finish()) {
        Ok(small) => {
            head.headers.insert(CONTENT_ENCODING, HeaderValue::from_static("gzip"));
            Response::from_parts(head, Full::new(small.into()))
        }
        Err(_) => Response::from_parts(head, Full::new(bytes)),
    }
}

/// The bytes of a body that is whole already.
fn whole(body: Full<Bytes>) -> Bytes {
    use futures_util::FutureExt;
    body.collect().now_or_never().and_then(Result::ok).map(|c| c.to_bytes()).unwrap_or_default()
}

/// A certificate with its key, read again when the files change: a cluster renews them.
pub(super) struct Tls {
    cert: PathBuf,
    key: PathBuf,
    acceptor: TlsAcceptor,
    read: Option<SystemTime>,
    looked: Instant,
}

impl Tls {
    /// Reads both.
    pub(super) fn open(cert: &Path, key: &Path) -> Result<Tls, String> {
        Ok(Tls {
            acceptor: read(cert, key)?,
            read: changed(cert, key),
            cert: cert.into(),
            key: key.into(),
            looked: Instant::now(),
        })
    }

    fn acceptor(&mut self) -> TlsAcceptor {
        if self.looked.elapsed() > Duration::from_secs(5) {
            self.looked = Instant::now();
            let now = changed(&self.cert, &self.key);
            if now != self.read {
                // A file that is half written is whole at the next look; until then the old one holds.
                match read(&self.cert, &self.key) {
                    Ok(acceptor) => (self.acceptor, self.read) = (acceptor, now),
                    Err(e) => say(&format!("the certificate is as before: {e}")),
                }
            }
        }
        self.acceptor.clone()
    }
}

fn changed(cert: &Path, key: &Path) -> Option<SystemTime> {
    let of = |p: &Path| std::fs::metadata(p).and_then(|m| m.modified()).ok();
    of(cert).max(of(key))
}

fn read(cert: &Path, key: &Path) -> Result<TlsAcceptor, String> {
    let text =
        |path: &Path| crate::input::small_text(path).map_err(|e| format!("reading {}: {e}", path.display()));
    let chain: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(text(cert)?.as_bytes())
        .collect::<Result<_, _>>()
        .map_err(|e| format!("{} holds no certificate in PEM: {e}", cert.display()))?;
    if chain.is_empty() {
        return Err(format!("{} holds no certificate in PEM", cert.display()));
    }
    let private = PrivateKeyDer::from_pem_slice(text(key)?.as_bytes())
        .map_err(|e| format!("{} holds no key in PEM: {e}", key.display()))?;
    let wrong = |e: rustls::Error| format!("{} and {}: {e}", cert.display(), key.display());
    let mut config = ServerConfig::builder_with_provider(Arc::new(rustls::crypto::ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(wrong)?
        .with_no_client_auth()
        .with_single_cert(chain, private)
        .map_err(wrong)?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsAcceptor::from(Arc::new(config)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn qualities_are_read_as_clients_write_them() {
        let asked =
            "application/openmetrics-text;version=1.0.0;q=0.5, text/plain;version=0.0.4;q=0.3,*/*;q=0.2";
        let of = |text: &str, wanted| {
            text.split(',')
                .filter_map(|p| of_part(p, wanted))
                .fold(None, |a: Option<f32>, b| Some(a.map_or(b, |a| a.max(b))))
        };
        assert_eq!(of(asked, "application/openmetrics-text"), Some(0.5));
        assert_eq!(of(asked, "text/plain"), Some(0.3));
        assert_eq!(of(asked, "text/html"), None);
        assert_eq!(of("application/openmetrics-text;q=0", "application/openmetrics-text"), Some(0.0));
        assert_eq!(of("gzip", "gzip"), Some(1.0));
        assert_eq!(of("gzip;q=nonsense", "gzip"), Some(0.0));
    }

    #[tokio::test]
    async fn the_idlest_makes_room() {
        let clients = Clients::default();
        let began = Instant::now();
        for number in 0..AT_ONCE as u64 {
            let end = tokio::spawn(std::future::pending::<()>()).abort_handle();
            // The third has been idle longest.
            let idle = if number == 2 { 0 } else { 1 + number };
            clients.lock().push(Connection { number, active: began + Duration::from_millis(idle), end });
        }
        clients.make_room();
        assert_eq!(clients.lock().len(), AT_ONCE - 1);
        assert!(clients.lock().iter().all(|c| c.number != 2));
    }
}
