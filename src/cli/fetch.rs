//! A question over HTTP, bounded in size and time: to another kptop that serves, or to a store of metrics.

use clap::Args;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST, HeaderName, HeaderValue};
use hyper::{Request, Uri};
use hyper_util::rt::TokioIo;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

/// How long one answer may take.
const PATIENCE: Duration = Duration::from_secs(20);

/// Flags of who is asked.
#[derive(Debug, Args)]
pub(super) struct AccessArgs {
    /// The token that is asked for.
    #[arg(long, value_name = "FILE")]
    token_file: Option<PathBuf>,
    /// Authorities of certificates (PEM), for https [default: this machine's].
    #[arg(long, value_name = "FILE")]
    ca_file: Option<PathBuf>,
}

/// Who is asked, where the address does not say it all, and what to do where that fails.
#[derive(Clone, Copy, Debug)]
pub(super) struct Server {
    /// Port of an `http` address without one.
    pub(super) port: u16,
    /// The next step where nobody answers.
    pub(super) when_refused: &'static str,
    /// The next step where there is no such page.
    pub(super) when_missing: &'static str,
}

/// How to ask.
#[derive(Clone, Debug)]
pub(super) struct Access {
    server: Server,
    /// Shown as a bearer token.
    token: Option<String>,
    /// Sent with each question.
    pub(super) headers: Vec<(HeaderName, HeaderValue)>,
    ca_file: Option<PathBuf>,
}

impl AccessArgs {
    pub(super) fn access(&self, server: Server) -> Result<Access, String> {
        let token = self.token_file.as_deref().map(token).transpose()?;
        Ok(Access { server, token, headers: Vec::new(), ca_file: self.ca_file.clone() })
    }
}

/// The token in a file.
pub(super) fn token(path: &Path) -> Result<String, String> {
    let text = crate::input::small_text(path).map_err(|e| format!("reading {}: {e}", path.display()))?;
    match text.trim() {
        "" => Err(format!("{} holds no token", path.display())),
        token => Ok(token.to_string()),
    }
}

/// The text behind an address; of an address without a path, that of `path`.
pub(super) fn fetch(url: &str, path: &str, access: &Access, most: u64) -> Result<String, String> {
    let uri: Uri = url.parse().map_err(|e| format!("{url} is no address: {e}"))?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| format!("starting the client: {e}"))?;
    let asked = async { tokio::time::timeout(PATIENCE, ask(&uri, path, access, most)).await };
    match runtime.block_on(asked) {
        Ok(answer) => answer.map_err(|why| format!("{url}: {why}")),
        Err(_) => Err(format!("{url}: no answer within {} s", PATIENCE.as_secs())),
    }
}

async fn ask(uri: &Uri, path: &str, access: &Access, most: u64) -> Result<String, String> {
    let host = uri.host().ok_or("it names no host")?;
    let secure = uri.scheme_str() == Some("https");
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { access.server.port });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port))
        .await
        .map_err(|e| format!("{e}\n  -> {}", access.server.when_refused))?;
    let path = match uri.path_and_query() {
        Some(p) if p.as_str() != "/" => p.as_str(),
        _ => path,
    };
    if !secure {
        return question(stream, host, path, access, most).await;
    }
    let builder = ClientConfig::builder();
    let config = match &access.ca_file {
        Some(file) => builder.dangerous().with_custom_certificate_verifier(Arc::new(Trusted::read(file)?)),
        None => builder.with_root_certificates(of_this_machine()?),
    };
    let config = config.with_no_client_auth();
    let name = ServerName::try_from(bare.to_string()).map_err(|e| e.to_string())?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| {
            match access.ca_file {
                Some(_) => e.to_string(),
                None => format!("{e}\n  -> --ca-file FILE names the authority of its certificate"),
            }
        })?;
    question(stream, host, path, access, most).await
}

/// The authorities that this machine trusts.
fn of_this_machine() -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    match roots.is_empty() {
        true => Err("this machine has no authorities of certificates\n  -> --ca-file FILE".into()),
        false => Ok(roots),
    }
}

/// What comes from an authority of the file, and certificates that are in the file themselves: those that sign themselves are often
/// marked as authorities, and would not do as a server's.
#[derive(Debug)]
struct Trusted {
    authorities: Arc<WebPkiServerVerifier>,
    certificates: Vec<CertificateDer<'static>>,
}

impl Trusted {
    fn read(file: &Path) -> Result<Trusted, String> {
        let wrong = |why: String| format!("reading {}: {why}", file.display());
        let text = crate::input::small_text(file).map_err(|e| wrong(e.to_string()))?;
        let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(text.as_bytes()).collect();
        let certificates = certificates.map_err(|e| wrong(e.to_string()))?;
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates.iter().cloned());
        if roots.is_empty() {
            return Err(wrong("it holds no certificate (PEM)".into()));
        }
        let authorities = WebPkiServerVerifier::builder(Arc::new(roots)).build();
        Ok(Trusted { authorities: authorities.map_err(|e| wrong(e.to_string()))?, certificates })
    }
}

impl ServerCertVerifier for Trusted {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        between: &[CertificateDer<'_>],
        name: &ServerName<'_>,
        stapled: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        match self.certificates.contains(shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => self.authorities.verify_server_cert(shown, between, name, stapled, now),
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls12_signature(message, shown, signature)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        shown: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        self.authorities.verify_tls13_signature(message, shown, signature)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.authorities.supported_verify_schemes()
    }
}

async fn question<S>(stream: S, host: &str, path: &str, access: &Access, most: u64) -> Result<String, String>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let said = |e: hyper::Error| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    tokio::spawn(connection);
    let mut request = Request::get(path).header(HOST, host).header(CONNECTION, "close");
    if let Some(token) = &access.token {
        request = request.header(AUTHORIZATION, format!("Bearer {token}"));
    }
    for (name, value) in &access.headers {
        request = request.header(name, value);
    }
    let request = request.body(Empty::<Bytes>::new()).map_err(|e| e.to_string())?;
    let answer = sender.send_request(request).await.map_err(said)?;
    let status = answer.status();
    let limit = usize::try_from(most).unwrap_or(usize::MAX);
    let body = Limited::new(answer.into_body(), limit).collect().await;
    let body = body.map_err(|e| format!("{path}: {e}"))?.to_bytes();
    let text = String::from_utf8(body.to_vec()).map_err(|_| format!("{path}: no text"))?;
    match status.as_u16() {
        200 => Ok(text),
        401 => Err("it asks for a token\n  -> --token-file FILE".into()),
        404 => {
            let page = path.split('?').next().unwrap_or_default();
            Err(format!("there is no {page}\n  -> {}", access.server.when_missing))
        }
        n => Err(format!("{n}: {}", reason(&text))),
    }
}

/// Why, as the body of an answer says it: the first line, or the `error` of a JSON document.
fn reason(text: &str) -> String {
    let json = serde_json::from_str::<serde_json::Value>(text).ok();
    let error = json.as_ref().and_then(|v| v["error"].as_str());
    error.unwrap_or_else(|| text.lines().next().unwrap_or_default()).to_string()
}
