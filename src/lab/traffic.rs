//! Servers that count, and clients whose every flow is one they can count: bounded, and only inside the lab.

use crate::kernel::{Error, Result};
use crate::proxy::{Protocol, Service};
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, SockaddrIn, recvmsg, sendmsg, setsockopt, sockopt,
};
use std::collections::{BTreeSet, HashMap};
use std::io::{IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpSocket};

/// Where a stream comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Origin {
    /// A pod of this node.
    Pod,
    /// The node itself.
    Node,
    /// An outside client.
    Outside,
    /// An outside client whose address the load balancer's source ranges allow.
    Friend,
}

/// New flows to one frontend.
#[derive(Clone, Debug, PartialEq)]
pub struct Stream {
    /// Where they come from.
    pub origin: Origin,
    /// TCP: connect, ask, read, close. UDP: one datagram each way, from a port of its own.
    pub protocol: Protocol,
    /// Frontend address.
    pub address: IpAddr,
    /// Frontend port.
    pub port: u16,
    /// New flows a second.
    pub per_second: f32,
}

/// Traffic to send.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Plan {
    /// Streams.
    pub streams: Vec<Stream>,
    /// Stop a stream after so many flows; `None` goes on until the lab ends.
    pub flows_per_stream: Option<u32>,
}

/// What holds for every stream.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    flows: Option<u32>,
}

impl Plan {
    pub(super) fn bounds(&self) -> Bounds {
        Bounds { flows: self.flows_per_stream }
    }
}

/// A backend, as its server knows itself.
pub type BackendKey = (Protocol, IpAddr, u16);

/// What a server saw.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counted {
    /// Connections accepted, or datagrams that came (each is a flow of its own).
    pub flows: u64,
    /// IP packets both ways (UDP only).
    pub packets: u64,
    /// Bytes of them, IP header included (UDP only).
    pub bytes: u64,
}

/// Counts of all servers.
#[derive(Clone, Debug, Default)]
pub struct Counts(Arc<Mutex<HashMap<BackendKey, Counted>>>);

impl Counts {
    /// A copy of the figures.
    pub fn get(&self) -> HashMap<BackendKey, Counted> {
        self.0.lock().map(|m| m.clone()).unwrap_or_default()
    }

    fn add(&self, key: BackendKey, packets: u64, bytes: u64) {
        if let Ok(mut map) = self.0.lock() {
            let c = map.entry(key).or_default();
            c.flows += 1;
            c.packets += packets;
            c.bytes += bytes;
        }
    }
}

/// Bytes of a UDP request and of its answer.
const REQUEST: [u8; 32] = [b'?'; 32];
const ANSWER: [u8; 64] = [b'!'; 64];
/// IPv4 and UDP headers.
const UDP_HEADERS: u64 = 28;
/// How long a client waits for an answer, and how often a server looks whether it should stop.
const PATIENCE: Duration = Duration::from_millis(300);

/// Starts a server for every target port, in the calling thread's namespace.
pub(super) fn serve(
    services: &[Service],
    stop: &Arc<AtomicBool>,
    counts: &Counts,
) -> Result<Vec<JoinHandle<()>>> {
    let ports = |protocol: Protocol| -> BTreeSet<u16> {
        let of = services.iter().filter(|s| s.protocol == protocol);
        of.flat_map(|s| s.backends.iter().map(|b| b.port)).collect()
    };
    let mut threads = Vec::new();
    for port in ports(Protocol::Udp) {
        let what = || format!("opening UDP port {port} in the lab");
        let socket = UdpSocket::bind((Ipv4Addr::UNSPECIFIED, port)).map_err(|e| Error::io(what(), e))?;
        setsockopt(&socket, sockopt::Ipv4PacketInfo, &true).map_err(|e| Error::io(what(), e.into()))?;
        socket.set_read_timeout(Some(PATIENCE)).map_err(|e| Error::io(what(), e))?;
        let (stop, counts) = (stop.clone(), counts.clone());
        threads.push(std::thread::spawn(move || udp_server(&socket, port, &stop, &counts)));
    }
    // One thread and listener set for TCP.
    let mut listeners = Vec::new();
    for port in ports(Protocol::Tcp) {
        let bind = std::net::TcpListener::bind((Ipv6Addr::UNSPECIFIED, port))
            .or_else(|_| std::net::TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)));
        let listener = bind.map_err(|e| Error::io(format!("opening TCP port {port} in the lab"), e))?;
        listener.set_nonblocking(true).map_err(|e| Error::io("preparing a listener", e))?;
        listeners.push(listener);
    }
    let (stop, counts) = (stop.clone(), counts.clone());
    threads.push(std::thread::spawn(move || {
        block_on(tcp_servers(listeners, &stop, &counts));
    }));
    Ok(threads)
}

pub(super) fn block_on(future: impl Future<Output = ()>) {
    if let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() {
        runtime.block_on(future);
    }
}

fn udp_server(socket: &UdpSocket, port: u16, stop: &AtomicBool, counts: &Counts) {
    let fd = socket.as_raw_fd();
    let mut buffer = [0u8; 2048];
    let mut control = nix::cmsg_space!(libc::in_pktinfo);
    while !stop.load(Ordering::Relaxed) {
        let (len, from, info) = {
            let mut parts = [IoSliceMut::new(&mut buffer)];
            let Ok(message) = recvmsg::<SockaddrIn>(fd, &mut parts, Some(&mut control), MsgFlags::empty())
            else {
                continue; // no datagram yet
            };
            let info = message.cmsgs().ok().into_iter().flatten().find_map(|c| match c {
                ControlMessageOwned::Ipv4PacketInfo(i) => Some(i),
                _ => None,
            });
            (message.bytes, message.address, info)
        };
        let (Some(from), Some(info)) = (from, info) else { continue };
        let me = Ipv4Addr::from(u32::from_be(info.ipi_addr.s_addr));
        // Answer from the address that was asked.
        let answer_info = libc::in_pktinfo {
            ipi_ifindex: 0,
            ipi_spec_dst: info.ipi_addr,
            ipi_addr: libc::in_addr { s_addr: 0 },
        };
        let parts = [IoSlice::new(&ANSWER)];
        let control = [ControlMessage::Ipv4PacketInfo(&answer_info)];
        let sent = sendmsg(fd, &parts, &control, MsgFlags::empty(), Some(&from)).is_ok();
        let bytes = len as u64 + UDP_HEADERS + if sent { ANSWER.len() as u64 + UDP_HEADERS } else { 0 };
        counts.add((Protocol::Udp, me.into(), port), 1 + u64::from(sent), bytes);
    }
}

async fn tcp_servers(listeners: Vec<std::net::TcpListener>, stop: &AtomicBool, counts: &Counts) {
    for listener in listeners {
        let Ok(listener) = TcpListener::from_std(listener) else { continue };
        let counts = counts.clone();
        tokio::spawn(async move {
            loop {
                let Ok((mut stream, _)) = listener.accept().await else { continue };
                if let Ok(me) = stream.local_addr() {
                    counts.add((Protocol::Tcp, me.ip().to_canonical(), me.port()), 0, 0);
                }
                tokio::spawn(async move {
                    let mut buffer = [0u8; 256];
                    let asked = tokio::time::timeout(Duration::from_secs(2), stream.read(&mut buffer)).await;
                    if matches!(asked, Ok(Ok(n)) if n > 0) {
                        let _ = stream.write_all(b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nok\n").await;
                    }
                });
            }
        });
    }
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Flows that one thread of clients keeps open at once.
const AT_ONCE: usize = 64;

/// Sends streams from the calling thread's namespace until their bound is reached or the lab stops.
pub(super) fn send(streams: &[Stream], bounds: Bounds, stop: &AtomicBool) {
    block_on(async {
        let limit = Arc::new(tokio::sync::Semaphore::new(AT_ONCE));
        let began = Instant::now();
        let mut sent = vec![0u32; streams.len()];
        // Two origins share the client's namespace: each has ports of its own.
        let friend = streams.iter().any(|s| s.origin == Origin::Friend);
        let ports = if friend { 45_000..=u16::MAX } else { 1025..=44_999 };
        let mut port = *ports.end();
        while !stop.load(Ordering::Relaxed) {
            let elapsed = began.elapsed().as_secs_f32();
            let mut busy = false;
            for (i, stream) in streams.iter().enumerate() {
                let due = match bounds.flows {
                    // A bounded stream is sent as fast as the limit allows.
                    Some(flows) => flows,
                    // Rates swing gently, so that the screen lives; the integral of the swing is kept exact.
                    None => {
                        let (speed, phase) = (0.21 + 0.01 * (i % 7) as f32, i as f32);
                        let swing = 0.35 / speed * ((speed * elapsed + phase).sin() - phase.sin());
                        (stream.per_second * (elapsed + swing)).max(0.0) as u32
                    }
                };
                if sent[i] < due {
                    busy = true;
                    sent[i] += 1;
                    port = if port == *ports.end() { *ports.start() } else { port + 1 };
                    let (source, stream) = (source(stream, sent[i], port), stream.clone());
                    let Ok(permit) = limit.clone().acquire_owned().await else { return };
                    tokio::spawn(async move {
                        let _ = one_flow(&stream, source).await;
                        drop(permit);
                    });
                }
            }
            if !busy {
                if bounds.flows.is_some() {
                    break;
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
        }
        // Let what is under way end.
        let _ = limit.acquire_many(AT_ONCE as u32).await;
    });
}

/// Source address and port of a flow.
fn source(stream: &Stream, n: u32, port: u16) -> SocketAddr {
    let v4 = |a: u8, b: u8, c: u8, d: u8| IpAddr::V4(Ipv4Addr::new(a, b, c, d));
    let ip = match (stream.origin, stream.address) {
        // Several pods, so that affinity spreads.
        (Origin::Pod, IpAddr::V4(_)) => v4(10, 244, 128, 2 + (n % 8) as u8),
        (Origin::Pod, IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::new(0xfd00, 0x10, 0x244, 0x8000, 0, 0, 0, 2)),
        (Origin::Friend, _) => v4(203, 0, 113, 9),
        (_, IpAddr::V4(_)) => v4(0, 0, 0, 0),
        (_, IpAddr::V6(_)) => IpAddr::V6(Ipv6Addr::UNSPECIFIED),
    };
    // A port of its own for each flow, one in turn: none comes again while conntrack or IPVS still hold its
    // last flow, so each flow is one entry there.
    SocketAddr::new(ip, port)
}

async fn one_flow(stream: &Stream, source: SocketAddr) -> std::io::Result<()> {
    let to = SocketAddr::new(stream.address, stream.port);
    if stream.protocol == Protocol::Udp {
        let socket = tokio::net::UdpSocket::bind(source).await?;
        socket.connect(to).await?;
        socket.send(&REQUEST).await?;
        let mut buffer = [0u8; 128];
        let _ = tokio::time::timeout(PATIENCE, socket.recv(&mut buffer)).await;
        return Ok(());
    }
    let socket = if to.is_ipv4() { TcpSocket::new_v4()? } else { TcpSocket::new_v6()? };
    socket.bind(source)?;
    let work = async {
        let mut stream = socket.connect(to).await?;
        stream.write_all(b"GET / HTTP/1.1\r\n\r\n").await?;
        let mut buffer = [0u8; 256];
        stream.read(&mut buffer).await.map(drop)
    };
    // Longer than a first SYN that is lost; dropped ones give up here.
    tokio::time::timeout(Duration::from_millis(1500), work).await.unwrap_or(Ok(()))
}
