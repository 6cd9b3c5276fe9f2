//! `conntrack -L` (also `-o extended,id`, and `/proc/net/nf_conntrack`).

use crate::format::plural;
use crate::kernel::conntrack::{ASSURED, Flow, SEEN_REPLY, Traffic, Tuple};
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{Flows, SourceId, TCP_STATES, UnreadKind};

pub(super) static FORM: Form =
    Form { words: "conntrack -L", source: SourceId::Flows, repeats: false, is, read: take };

fn is(g: &Glance<'_>) -> bool {
    g.any(4, |l| l.contains("src=") && l.contains(" dst=") && flow(l).is_some())
}

fn take(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (flows, other) = read(&f.text);
    // What the tool says of how many there were is no flow: `conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.`
    let said = f.text.lines().filter(|l| l.contains("flow entries")).count() as u64;
    let other = other.saturating_sub(said);
    if other > 0 {
        to.unused(other as usize);
        let why = format!("{} {} no flow", plural(other, "line"), if other == 1 { "is" } else { "are" });
        to.unread(f, SourceId::Flows, UnreadKind::Failed, why);
    }
    to.flows = Some(flows);
    Ok(())
}

/// Flows, and how many lines are none. The first ones are kept one by one.
fn read(text: &str) -> (Flows, u64) {
    let (mut flows, mut other) = (Flows::default(), 0);
    flows.keep_all();
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        match flow(line) {
            Some(f) => flows.add(&f),
            None => other += 1,
        }
    }
    (flows, other)
}

/// `tcp      6 117 SYN_SENT src=… dst=… sport=… dport=… [UNREPLIED] src=… …`
fn flow(line: &str) -> Option<Flow> {
    let mut words = line.split_whitespace().peekable();
    if words.peek().is_some_and(|w| matches!(*w, "ipv4" | "ipv6")) {
        words.next();
        words.next();
    }
    words.next()?;
    let protocol: u8 = words.next()?.parse().ok()?;
    let timeout = words.next_if(|w| w.bytes().all(|b| b.is_ascii_digit())).and_then(|w| w.parse().ok());
    let mut tuples: Vec<(Option<_>, Option<_>, u16, u16)> = Vec::new();
    let mut traffic: Vec<Traffic> = Vec::new();
    let (mut status, mut state) = (SEEN_REPLY, None);
    for word in words {
        match word.split_once('=') {
            Some(("src", a)) => tuples.push((Some(a.parse().ok()?), None, 0, 0)),
            Some(("dst", a)) => tuples.last_mut()?.1 = Some(a.parse().ok()?),
            Some(("sport", p)) => tuples.last_mut()?.2 = p.parse().ok()?,
            Some(("dport", p)) => tuples.last_mut()?.3 = p.parse().ok()?,
            Some(("packets", n)) => traffic.push(Traffic { packets: n.parse().ok()?, bytes: 0 }),
            Some(("bytes", n)) => traffic.last_mut()?.bytes = n.parse().ok()?,
            Some(_) => {}
            None if word == "[UNREPLIED]" => status &= !SEEN_REPLY,
            None if word == "[ASSURED]" => status |= ASSURED,
            None if protocol == 6 && tuples.is_empty() => {
                state = TCP_STATES.iter().position(|s| *s == word).map(|i| i as u8);
            }
            None => {}
        }
    }
    let tuple = |i: usize| {
        let (source, destination, source_port, destination_port) = *tuples.get(i)?;
        Some(Tuple { source: source?, destination: destination?, protocol, source_port, destination_port })
    };
    Some(Flow {
        original: tuple(0)?,
        reply: tuple(1)?,
        status,
        tcp_state: state,
        timeout: timeout.unwrap_or(0),
        traffic: traffic.first().copied().zip(traffic.get(1).copied()),
        began_ns: None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn flows_are_read_as_conntrack_prints_them() {
        let text = "tcp      6 117 SYN_SENT src=10.0.0.1 dst=10.96.0.10 sport=1 dport=53 packets=2 bytes=120 [UNREPLIED] src=10.244.0.2 dst=10.0.0.1 sport=53 dport=1 packets=0 bytes=0 mark=0 use=1\n\
                    ipv6     10 udp      17 6 src=fd00::1 dst=fd00::a sport=2 dport=53 src=fd00::2 dst=fd00::1 sport=53 dport=2 [ASSURED] mark=0 use=1\n\
                    icmp     1 29 src=10.0.0.1 dst=10.0.0.2 type=8 code=0 id=5 src=10.0.0.2 dst=10.0.0.1 type=0 code=0 id=5 mark=0 use=1\n\
                    conntrack v1.4.7 (conntrack-tools): 3 flow entries have been shown.\n";
        let (flows, other) = read(text);
        assert_eq!((flows.total, flows.unreplied, flows.untranslated, other), (3, 1, 1, 1));
        assert!(flows.accounting);
        assert_eq!(flows.tcp_states[1], 1);
        assert_eq!(flows.groups.len(), 2);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "((tcp|udp|ipv4 2 tcp) +[0-9]{0,3} [A-Z_]{0,8} ?([a-z]{3,5}=[0-9.:a-f]{0,8} ?){0,9}\n){0,4}") {
            let _ = read(&text);
        }
    }
}
