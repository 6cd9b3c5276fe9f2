//! The client of the API: by a proxy where the environment or the kubeconfig names one, and with answers that cannot
//! grow without end.

use super::errors::chain;
use super::signs::Signs;
use http_body::{Body as HttpBody, Frame, SizeHint};
use hyper::{Request, Response, Uri, body::Bytes};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::client::proxy::matcher::Matcher;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ClientBuilder, ConfigExt};
use kube::{Client, Config};
use std::collections::HashMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};
use tower::{BoxError, Layer, Service, ServiceBuilder};

/// Bytes of one answer to a list, and of one event of a watch. A page has 500 objects, and etcd takes none beyond
/// 1.5 MB.
const LARGEST: usize = 32 << 20;

/// Pages of one list: 500 objects each.
const MOST_PAGES: usize = 2_000;

/// Makes a client. `proxy` is what the kubeconfig names, if it does; what the server sends is noted in `signs`.
pub(super) fn client(mut config: Config, proxy: Option<&str>, signs: &Arc<Signs>) -> Result<Client, String> {
    let bounded = Bounded { signs: signs.clone(), pages: Arc::default() };
    let proxy = proxy_for(&config.cluster_url, proxy, |name| std::env::var(name).ok())?;
    config.proxy_url = None;
    let Some(Proxy { uri, basic }) = proxy else {
        let builder = ClientBuilder::try_from(config).map_err(|e| chain(&e))?;
        return Ok(builder.with_layer(&bounded).build());
    };
    let mut connector = HttpConnector::new();
    connector.enforce_http(false);
    connector.set_connect_timeout(config.connect_timeout);
    let wrong = |e: kube::Error| format!("by the proxy {uri}: {}", chain(&e));
    match uri.scheme_str() {
        Some("http") => {
            let mut tunnel = Tunnel::new(uri.clone(), connector);
            if let Some(basic) = basic {
                tunnel = tunnel.with_auth(basic);
            }
            through(&config, bounded, config.rustls_https_connector_with_connector(tunnel).map_err(wrong)?)
        }
        Some("https") => {
            let secured = config.rustls_https_connector_with_connector(connector).map_err(wrong)?;
            let mut tunnel = Tunnel::new(uri.clone(), secured);
            if let Some(basic) = basic {
                tunnel = tunnel.with_auth(basic);
            }
            through(&config, bounded, config.rustls_https_connector_with_connector(tunnel).map_err(wrong)?)
        }
        Some("socks5" | "socks5h") => {
            let socks = SocksV5::new(uri.clone(), connector);
            through(&config, bounded, config.rustls_https_connector_with_connector(socks).map_err(wrong)?)
        }
        other => Err(format!(
            "the proxy {uri} speaks {}, and kptop knows http, https and socks5",
            other.unwrap_or("nothing that its address names")
        )),
    }
}

fn through<C>(config: &Config, bounded: Bounded, connector: C) -> Result<Client, String>
where
    C: hyper_util::client::legacy::connect::Connect + Clone + Send + Sync + 'static,
{
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(bounded)
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(|e| chain(&e))?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// A proxy, and who asks it.
#[derive(Debug, PartialEq)]
struct Proxy {
    uri: Uri,
    basic: Option<hyper::header::HeaderValue>,
}

/// The proxy on the way to a server, as client-go finds it: the kubeconfig's own, whatever NO_PROXY says; else
/// HTTPS_PROXY or HTTP_PROXY by the server's scheme, but for what NO_PROXY lists and for this machine
/// (`golang.org/x/net/http/httpproxy`).
fn proxy_for(
    server: &Uri,
    own: Option<&str>,
    env: impl Fn(&str) -> Option<String>,
) -> Result<Option<Proxy>, String> {
    let either = |upper: &str| {
        let lower = upper.to_lowercase();
        env(upper).or_else(|| env(&lower)).filter(|v| !v.trim().is_empty())
    };
    let matcher = match own.filter(|o| !o.is_empty()) {
        Some(own) => Matcher::builder().all(own.to_string()).build(),
        None => {
            let host = server.host().unwrap_or_default().trim_matches(['[', ']']);
            let is_here = host.eq_ignore_ascii_case("localhost")
                || host.parse::<std::net::IpAddr>().is_ok_and(|a| a.is_loopback());
            let name = if server.scheme_str() == Some("http") { "HTTP_PROXY" } else { "HTTPS_PROXY" };
            let Some(proxy) = either(name).filter(|_| !is_here) else { return Ok(None) };
            // An address without scheme is one of http.
            let proxy = if proxy.contains("://") { proxy } else { format!("http://{proxy}") };
            if proxy.parse::<Uri>().ok().and_then(|u| u.host().map(str::len)).is_none() {
                return Err(format!("{name} is no address of a proxy: {proxy}"));
            }
            let no = either("NO_PROXY").unwrap_or_default();
            if no.split(',').any(|n| n.trim() == "*") {
                return Ok(None);
            }
            Matcher::builder().all(proxy).no(no).build()
        }
    };
    Ok(matcher.intercept(server).map(|i| Proxy { uri: i.uri().clone(), basic: i.basic_auth().cloned() }))
}

/// A layer that bounds answers, and lists that never end.
#[derive(Clone, Debug)]
struct Bounded {
    signs: Arc<Signs>,
    /// Pages of the list that is under way, by path.
    pages: Arc<Mutex<HashMap<String, usize>>>,
}

impl<S> Layer<S> for Bounded {
    type Service = BoundedService<S>;

    fn layer(&self, inner: S) -> BoundedService<S> {
        BoundedService { inner, bounded: self.clone() }
    }
}

#[derive(Clone, Debug)]
struct BoundedService<S> {
    inner: S,
    bounded: Bounded,
}

impl<S, B> Service<Request<Body>> for BoundedService<S>
where
    S: Service<Request<Body>, Response = Response<B>>,
    S::Future: Send + 'static,
    S::Error: Into<BoxError>,
    B: HttpBody<Data = Bytes> + Send + 'static,
    B::Error: Into<BoxError>,
{
    type Response = Response<BoundedBody<B>>;
    type Error = BoxError;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, BoxError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.inner.poll_ready(cx).map_err(Into::into)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let query = request.uri().query().unwrap_or_default();
        let each_line = query.split('&').any(|p| p.starts_with("watch=") && p != "watch=false");
        let goes_on = query.split('&').any(|p| p.starts_with("continue=") && p != "continue=");
        let mut pages = self.bounded.pages.lock().unwrap_or_else(PoisonError::into_inner);
        let page = pages.entry(request.uri().path().to_string()).or_default();
        *page = if goes_on { *page + 1 } else { 0 };
        if *page > MOST_PAGES {
            *page = 0;
            let why = format!("the list does not end: {MOST_PAGES} pages came, and each names another");
            return Box::pin(async move { Err(why.into()) });
        }
        drop(pages);
        let (signs, path) = (self.bounded.signs.clone(), request.uri().path().to_string());
        let answer = self.inner.call(request);
        Box::pin(async move {
            let response = answer.await.map_err(Into::into)?;
            let signs = response.status().is_success().then_some(signs);
            if let Some(signs) = &signs {
                signs.hear();
                if each_line {
                    signs.open(&path);
                }
            }
            Ok(response.map(|body| BoundedBody { inner: Box::pin(body), left: LARGEST, each_line, signs }))
        })
    }
}

/// A body that ends with an error where it is larger than any answer of the API.
struct BoundedBody<B> {
    inner: Pin<Box<B>>,
    left: usize,
    /// True for a watch: each of its events is a line.
    each_line: bool,
    /// Where it is noted that something came, unless it is an error's.
    signs: Option<Arc<Signs>>,
}

impl<B> HttpBody for BoundedBody<B>
where
    B: HttpBody<Data = Bytes>,
    B::Error: Into<BoxError>,
{
    type Data = Bytes;
    type Error = BoxError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, BoxError>>> {
        let frame = match ready!(self.inner.as_mut().poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            Some(Err(e)) => return Poll::Ready(Some(Err(e.into()))),
            None => return Poll::Ready(None),
        };
        if let Some(signs) = &self.signs {
            signs.hear();
        }
        if let Some(data) = frame.data_ref() {
            let fresh = data.iter().rev().position(|b| *b == b'\n').filter(|_| self.each_line);
            let left = match fresh {
                Some(behind) => LARGEST.checked_sub(behind),
                None => self.left.checked_sub(data.len()),
            };
            match left {
                Some(left) => self.left = left,
                None => {
                    let why = format!("the answer is larger than {} MiB, and was given up", LARGEST >> 20);
                    return Poll::Ready(Some(Err(why.into())));
                }
            }
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        self.inner.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.inner.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::{BodyExt, StreamBody};

    fn proxy(server: &str, own: Option<&str>, env: &[(&str, &str)]) -> Option<String> {
        let env = |name: &str| env.iter().find(|e| e.0 == name).map(|e| e.1.to_string());
        proxy_for(&server.parse().unwrap(), own, env).unwrap().map(|p| p.uri.to_string())
    }

    #[test]
    fn proxies_are_found_as_client_go_finds_them() {
        let api = "https://10.96.0.1:443";
        let set = ("HTTPS_PROXY", "http://proxy.corp:3128");
        assert_eq!(proxy(api, None, &[]), None);
        assert_eq!(proxy(api, None, &[set]).unwrap(), "http://proxy.corp:3128/");
        assert_eq!(
            proxy(api, None, &[("https_proxy", "proxy.corp:3128")]).unwrap(),
            "http://proxy.corp:3128/"
        );
        assert_eq!(proxy(api, None, &[("HTTP_PROXY", "http://proxy.corp:3128")]), None, "another scheme's");
        for no in ["*", "10.96.0.1", "10.96.0.0/12", " , 10.96.0.1 ,"] {
            assert_eq!(proxy(api, None, &[set, ("NO_PROXY", no)]), None, "{no}");
        }
        for no in ["10.97.0.0/16", "corp", ""] {
            assert!(proxy(api, None, &[set, ("NO_PROXY", no)]).is_some(), "{no}");
        }
        let named = "https://api.east.example.org:6443";
        for no in ["example.org", ".example.org", "api.east.example.org"] {
            assert_eq!(proxy(named, None, &[set, ("no_proxy", no)]), None, "{no}");
        }
        assert!(proxy(named, None, &[set, ("NO_PROXY", "ample.org")]).is_some());
        for here in ["https://127.0.0.1:6443", "https://[::1]:6443", "https://localhost:6443"] {
            assert_eq!(proxy(here, None, &[set]), None, "{here}");
        }
        // The kubeconfig's own goes before all.
        let own = proxy(api, Some("socks5://127.0.0.1:1080"), &[set, ("NO_PROXY", "*")]);
        assert_eq!(own.unwrap(), "socks5://127.0.0.1:1080/");
        let nonsense = |name: &str| (name == "HTTPS_PROXY").then(|| "http://".to_string());
        assert!(proxy_for(&api.parse().unwrap(), None, nonsense).unwrap_err().contains("HTTPS_PROXY"));
    }

    fn body(
        chunk: &'static [u8],
        each_line: bool,
    ) -> BoundedBody<impl HttpBody<Data = Bytes, Error = BoxError>> {
        let frames = futures_util::stream::repeat_with(move || Ok(Frame::data(Bytes::from_static(chunk))));
        BoundedBody { inner: Box::pin(StreamBody::new(frames)), left: LARGEST, each_line, signs: None }
    }

    #[tokio::test]
    async fn an_answer_without_end_ends() {
        static CHUNK: [u8; 1 << 20] = [b'x'; 1 << 20];
        let mut taken = 0;
        let mut answer = body(&CHUNK, false);
        while let Some(frame) = answer.frame().await {
            match frame {
                Ok(f) => taken += f.into_data().unwrap().len(),
                Err(e) => {
                    assert!(e.to_string().contains("larger than 32 MiB"), "{e}");
                    break;
                }
            }
        }
        assert_eq!(taken, LARGEST);
        // A watch goes on as long as its lines are short.
        let mut watch = body(b"{\"type\":\"BOOKMARK\"}\n", true);
        for _ in 0..4_000_000 {
            assert!(watch.frame().await.unwrap().is_ok());
        }
    }
}
