//! A question to another kptop that serves, bounded in size and time.

use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::Bytes;
use hyper::header::{AUTHORIZATION, CONNECTION, HOST};
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

/// How to ask.
#[derive(Clone, Debug, Default)]
pub(super) struct Access {
    /// Shown as a bearer token.
    pub(super) token: Option<String>,
    /// Authorities that certificates must come from.
    pub(super) ca_file: Option<PathBuf>,
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
    let port = uri.port_u16().unwrap_or(if secure { 443 } else { 9756 });
    let bare = host.trim_start_matches('[').trim_end_matches(']');
    let stream = TcpStream::connect((bare, port)).await.map_err(|e| {
        let hint = "\n  -> is `kptop serve --snapshot FILE` running there?";
        format!("{e}{hint}")
    })?;
    let path = match uri.path_and_query() {
        Some(p) if p.as_str() != "/" => p.as_str(),
        _ => path,
    };
    if !secure {
        return question(stream, host, path, access, most).await;
    }
    let Some(ca) = &access.ca_file else {
        return Err("https needs the authority of its certificate\n  -> --ca-file FILE".into());
    };
    let config = ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(Trusted::read(ca)?))
        .with_no_client_auth();
    let name = ServerName::try_from(bare.to_string()).map_err(|e| e.to_string())?;
    let stream =
        TlsConnector::from(Arc::new(config)).connect(name, stream).await.map_err(|e| e.to_string())?;
    question(stream, host, path, access, most).await
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
        404 => Err(format!("there is no {path}\n  -> kptop serve --snapshot FILE opens it there")),
        n => Err(format!("{n}: {}", text.lines().next().unwrap_or_default())),
    }
}
