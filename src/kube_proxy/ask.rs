//! Questions by HTTP to a port on loopback, bounded in size and time.

use super::report::Answer;
use http_body_util::{BodyExt, Empty, Limited};
use hyper::Request;
use hyper::body::Bytes;
use hyper_util::rt::TokioIo;
use std::io::ErrorKind;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;
use tokio::net::TcpStream;

/// How long an answer may take. It comes from the same machine, and is some 100 kB.
const ANSWER: Duration = Duration::from_secs(2);

/// Bytes of an answer.
const LARGEST: usize = 4 << 20;

/// Asks one port for each path in turn, with a connection for each: servers may close it after an answer.
pub(super) async fn ask(port: u16, paths: &[&str]) -> Vec<Answer<(u16, String)>> {
    let mut answers: Vec<Answer<(u16, String)>> = Vec::new();
    for path in paths {
        let answer = match answers.last() {
            // What did not answer once is not waited for again.
            Some(no @ (Answer::Refused | Answer::Silent)) => no.clone(),
            _ => match connect(port).await {
                Ok(stream) => match tokio::time::timeout(ANSWER, question(stream, port, path)).await {
                    Ok(Ok(given)) => Answer::Given(given),
                    Ok(Err(why)) => Answer::Failed(why),
                    Err(_) => Answer::Silent,
                },
                Err(no) => no,
            },
        };
        answers.push(answer);
    }
    answers
}

/// A connection to a port on loopback, or what came instead of one. A cluster of IPv6 alone has it on ::1.
async fn connect<T>(port: u16) -> Result<TcpStream, Answer<T>> {
    for address in [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)] {
        let connect = TcpStream::connect(SocketAddr::new(address, port));
        match tokio::time::timeout(ANSWER, connect).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(e)) if e.kind() == ErrorKind::ConnectionRefused => {}
            // Without IPv6 there is no such address.
            Ok(Err(_)) if address.is_ipv6() => {}
            Ok(Err(e)) => return Err(Answer::Failed(e.to_string())),
            Err(_) => return Err(Answer::Silent),
        }
    }
    Err(Answer::Refused)
}

async fn question(stream: TcpStream, port: u16, path: &str) -> Result<(u16, String), String> {
    let said = |e: hyper::Error| e.to_string();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.map_err(said)?;
    let request = Request::get(path)
        .header("Host", format!("localhost:{port}"))
        .header("Connection", "close")
        .body(Empty::<Bytes>::new())
        .map_err(|e| e.to_string())?;
    let answer = async {
        let answer = sender.send_request(request).await.map_err(said)?;
        let status = answer.status().as_u16();
        let body = Limited::new(answer.into_body(), LARGEST).collect().await;
        let body = body.map_err(|e| format!("{path}: {e}"))?.to_bytes();
        Ok((status, String::from_utf8_lossy(&body).into_owned()))
    };
    let mut answer = std::pin::pin!(answer);
    tokio::select! {
        biased;
        answer = &mut answer => answer,
        // It ends when the server closes; the answer is there by then, or never comes.
        _ = connection => answer.await,
    }
}
