//! An HTTP server behind a Service, and clients that ask it as fast as they are answered: for `kptop bench`.

use super::{Lab, Origin, inside, shop};
use crate::bench::{Connections, Times};
use crate::kernel::{Error, Result};
use crate::proxy::Engine;
use http_body_util::{BodyExt, Empty, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{SendRequest, handshake};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use nix::sys::socket::{setsockopt, sockopt};
use std::convert::Infallible;
use std::net::{IpAddr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::net::{TcpListener, TcpStream};

/// Port of the backends.
const PORT: u16 = 8080;
/// Bytes of an answer's body.
const BODY: [u8; 512] = [b'k'; 512];
/// A request that takes longer has failed.
const PATIENCE: Duration = Duration::from_secs(5);

/// A Service with an HTTP server behind it, among others, under one mode.
#[derive(Debug)]
pub struct Stage {
    /// What finds the Service.
    pub engine: Engine,
    /// How many Services there are.
    pub services: usize,
    lab: Lab,
    to: SocketAddr,
    stop: Arc<AtomicBool>,
    server: Option<JoinHandle<()>>,
}

impl Stage {
    /// Builds it. An error where this kernel lacks the mode.
    pub fn build(engine: Engine, services: usize) -> Result<Stage> {
        let mut all = shop::services(Some(31 + services), 4);
        let own = all.split_off(all.len() - services);
        // The Service in the middle: what lookups cost in the mean.
        let asked = own.get(services / 2).and_then(|s| s.frontends.first());
        let to = asked.and_then(|f| Some(SocketAddr::new(f.address?, f.port)));
        let to = to.ok_or_else(|| Error::protocol("building the stage", "there is no Service to ask"))?;
        let lab = Lab::bare()?;
        lab.install(engine, &own)?;
        let stop = Arc::new(AtomicBool::new(false));
        let until = stop.clone();
        let server = inside(lab.pods(), move || {
            let what = "opening the HTTP server's port in the lab";
            let listener =
                std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, PORT)).map_err(|e| Error::io(what, e))?;
            listener.set_nonblocking(true).map_err(|e| Error::io(what, e))?;
            Ok(std::thread::spawn(move || super::traffic::block_on(serve(listener, until))))
        })?;
        Ok(Stage { engine, services, lab, to, stop, server: Some(server) })
    }

    /// Lets clients ask for a while, from a pod's namespace; gives their times and how long it took.
    pub fn ask(&self, connections: Connections, clients: usize, span: Duration) -> Result<(Times, Duration)> {
        let to = self.to;
        inside(self.lab.origin(Origin::Pod), move || {
            // Ports for every connection of a run.
            super::sysctl("ipv4/ip_local_port_range", "1024 65535")?;
            let mut result = None;
            super::traffic::block_on(async {
                let began = Instant::now();
                let until = began + span;
                let tasks: Vec<_> =
                    (0..clients).map(|n| tokio::spawn(client(to, n, connections, until))).collect();
                let mut all = Times::default();
                for task in tasks {
                    if let Ok(times) = task.await {
                        all.add(&times);
                    }
                }
                result = Some((all, began.elapsed()));
            });
            result.ok_or_else(|| Error::protocol("asking the HTTP server", "the clients could not start"))
        })
    }
}

impl Drop for Stage {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(server) = self.server.take() {
            let _ = server.join();
        }
    }
}

async fn serve(listener: std::net::TcpListener, stop: Arc<AtomicBool>) {
    let Ok(listener) = TcpListener::from_std(listener) else { return };
    tokio::spawn(async move {
        loop {
            let Ok((stream, _)) = listener.accept().await else { continue };
            let _ = stream.set_nodelay(true);
            tokio::spawn(async move {
                let answer = service_fn(|_| async {
                    Ok::<_, Infallible>(Response::new(Full::new(Bytes::from_static(&BODY))))
                });
                let _ = hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), answer)
                    .await;
            });
        }
    });
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// One client: request after request until the time is over.
async fn client(to: SocketAddr, n: usize, connections: Connections, until: Instant) -> Times {
    let mut times = Times::default();
    let mut kept: Option<SendRequest<Empty<Bytes>>> = None;
    while Instant::now() < until {
        let mut connecting = None;
        let mut sender = match kept.take() {
            Some(sender) => sender,
            None => {
                let began = Instant::now();
                match tokio::time::timeout(PATIENCE, connect(to, n)).await {
                    Ok(Ok(stream)) => {
                        connecting = Some(began.elapsed().as_nanos() as u64);
                        let Ok((sender, connection)) = handshake(TokioIo::new(stream)).await else {
                            times.errors += 1;
                            continue;
                        };
                        tokio::spawn(connection);
                        sender
                    }
                    _ => {
                        times.errors += 1;
                        continue;
                    }
                }
            }
        };
        match tokio::time::timeout(PATIENCE, one(&mut sender)).await {
            Ok(Some((waiting, duration))) => {
                // A connection that is kept was looked up once: its first request is none of the others'.
                times.record(connecting, waiting, duration);
                if connections == Connections::KeptAlive {
                    kept = Some(sender);
                }
            }
            _ => times.errors += 1,
        }
    }
    times
}

/// A connection that leaves nothing behind when it is closed: ports must not run out.
async fn connect(to: SocketAddr, n: usize) -> std::io::Result<TcpStream> {
    let socket = tokio::net::TcpSocket::new_v4()?;
    // An address of its own for each client: as many ports more.
    let from: IpAddr = [10, 244, 128, 2 + (n % 8) as u8].into();
    // Only the address is chosen: the kernel takes a port when it knows where to.
    setsockopt(&socket, sockopt::IpBindAddressNoPort, &true)?;
    socket.bind(SocketAddr::new(from, 0))?;
    let stream = socket.connect(to).await?;
    stream.set_nodelay(true)?;
    let linger = libc::linger { l_onoff: 1, l_linger: 0 };
    setsockopt(&stream, sockopt::Linger, &linger)?;
    Ok(stream)
}

/// One request: nanoseconds until its answer begins, and until it is whole.
async fn one(sender: &mut SendRequest<Empty<Bytes>>) -> Option<(u64, u64)> {
    let request = Request::get("/").header("host", "kptop").body(Empty::new()).ok()?;
    sender.ready().await.ok()?;
    let began = Instant::now();
    let response = sender.send_request(request).await.ok()?;
    let waiting = began.elapsed();
    if !response.status().is_success() {
        return None;
    }
    let body = response.into_body().collect().await.ok()?.to_bytes();
    let whole = began.elapsed();
    (body.len() == BODY.len()).then_some((waiting.as_nanos() as u64, whole.as_nanos() as u64))
}
