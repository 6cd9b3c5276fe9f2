//! `ipvsadm -Lnc` and `/proc/net/ip_vs_conn`: connections of IPVS, taken for flows where conntrack's were not given.

use crate::format::plural;
use crate::kernel::conntrack::{Flow, SEEN_REPLY, Tuple};
use crate::ruleset::protocol_number;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{Flows, SourceId, UnreadKind};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};

pub(super) static LIST: Form =
    Form { words: "ipvsadm -Lnc", source: SourceId::Flows, repeats: false, is: is_list, read };
pub(super) static PROC: Form =
    Form { words: "/proc/net/ip_vs_conn", source: SourceId::Flows, repeats: false, is: is_proc, read };

fn is_list(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("IPVS connection entries") || l.starts_with("pro expire state"))
}

fn is_proc(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.starts_with("Pro FromIP") && l.contains("DestIP"))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (flows, wrong) = connections(&f.text);
    if wrong > 0 {
        to.unused(wrong);
        let why = format!(
            "{} {} no connection",
            plural(wrong as u64, "line"),
            if wrong == 1 { "is" } else { "are" }
        );
        to.unread(f, SourceId::Flows, UnreadKind::Failed, why);
    }
    to.ipvs_connections = Some(flows);
    Ok(())
}

/// `TCP 14:59 ESTABLISHED 10.0.0.1:40000 10.96.0.1:80 10.244.0.2:8080`; and in hexadecimal
/// `TCP 0A000001 9C40 0A600001 0050 0AF40002 1F90 ESTABLISHED 899`.
fn connection(words: &[&str]) -> Option<Flow> {
    let protocol = u8::try_from(protocol_number(&words.first()?.to_lowercase())?).ok()?;
    let place = |text: &str| text.parse::<SocketAddr>().ok().map(|a| (a.ip(), a.port()));
    let hex = |address: &str, port: &str| -> Option<(IpAddr, u16)> {
        let port = u16::from_str_radix(port, 16).ok()?;
        let address = match address.contains(':') {
            true => address.trim_matches(['[', ']']).parse().ok()?,
            false => {
                Ipv4Addr::from(u32::from_str_radix(address, 16).ok().filter(|_| address.len() == 8)?).into()
            }
        };
        Some((address, port))
    };
    let (from, to, at, state, left) = match words {
        [_, expire, state, from, to, at, ..] if expire.contains(':') => {
            let (minutes, seconds) = expire.split_once(':')?;
            let left = minutes.parse::<u32>().ok()?.checked_mul(60)? + seconds.parse::<u32>().ok()?;
            (place(from)?, place(to)?, place(at)?, *state, left)
        }
        [_, a, ap, b, bp, c, cp, state, left, ..] => {
            (hex(a, ap)?, hex(b, bp)?, hex(c, cp)?, *state, left.parse().ok()?)
        }
        _ => return None,
    };
    // `include/net/ip_vs.h`, IP_VS_TCP_S_*, as `enum tcp_conntrack` names them.
    let tcp_state = match state {
        "SYN_SENT" | "SYN_RECV" | "SYNACK" => 1,
        "ESTABLISHED" => 3,
        "FIN_WAIT" => 4,
        "CLOSE_WAIT" => 5,
        "LAST_ACK" => 6,
        "TIME_WAIT" => 7,
        _ => 8,
    };
    let tuple = |from: (IpAddr, u16), to: (IpAddr, u16)| Tuple {
        source: from.0,
        destination: to.0,
        protocol,
        source_port: from.1,
        destination_port: to.1,
    };
    Some(Flow {
        original: tuple(from, to),
        reply: tuple(at, from),
        // A state behind the first says that an answer came; of UDP nothing says it.
        status: if protocol == 6 && tcp_state == 1 { 0 } else { SEEN_REPLY },
        tcp_state: (protocol == 6).then_some(tcp_state),
        timeout: left,
        traffic: None,
        began_ns: None,
    })
}

/// Flows, and how many lines are none.
fn connections(text: &str) -> (Flows, usize) {
    let (mut flows, mut wrong) = (Flows::default(), 0);
    flows.keep_all();
    for line in text.lines() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let is_head = matches!(words[..], [] | ["IPVS", ..] | ["pro", ..] | ["Pro", ..]);
        // A template of a persistent client is no connection: its client has no port.
        let is_template = words.iter().any(|w| w.ends_with(":0")) || words.contains(&"NONE");
        match connection(&words) {
            Some(flow) if !is_template => flows.add(&flow),
            Some(_) => {}
            None => wrong += usize::from(!is_head),
        }
    }
    (flows, wrong)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn both_say_the_same_connections() {
        let list = "IPVS connection entries\npro expire state       source             virtual            destination\nTCP 14:59  ESTABLISHED 10.0.0.1:40000 10.96.0.1:80 10.244.0.2:8080\nUDP 04:10  UDP         10.0.0.1:1024 10.96.0.10:53 10.244.0.3:53\nTCP 02:00 NONE 10.0.0.1:0 10.96.0.1:80 10.244.0.2:8080\nstray\n";
        let proc = "Pro FromIP   FPrt ToIP     TPrt DestIP   DPrt State       Expires PEName PEData\nTCP 0A000001 9C40 0A600001 0050 0AF40002 1F90 ESTABLISHED     899\nUDP 0A000001 0400 0A60000A 0035 0AF40003 0035 UDP             250\nstray\n";
        let ((a, wrong), (b, other)) = (connections(list), connections(proc));
        assert_eq!((a.total, wrong, b.total, other), (2, 1, 2, 1));
        let mut keys: Vec<_> = a.groups.keys().copied().collect();
        keys.sort();
        let mut same: Vec<_> = b.groups.keys().copied().collect();
        same.sort();
        assert_eq!(keys, same);
        assert_eq!(a.tcp_states[3], 1);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "((TCP|UDP) [0-9A-F:.]{0,9} [A-Z0-9.:]{0,12} ?[0-9A-F.: ]{0,40}\n){0,4}") {
            let _ = connections(&text);
        }
    }
}
