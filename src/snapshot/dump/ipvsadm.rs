//! `ipvsadm -Sn`, `-Ln` and `-Ln --stats` (ipvsadm 1.31).

use crate::kernel::ipvs::{
    Forwarding, Ipvs, IpvsStats, RealServer, SVC_ONE_PACKET, SVC_PERSISTENT, VirtualAddress, VirtualServer,
};
use crate::ruleset::{IpFamily, protocol_number};
use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};

/// `10.0.0.1:80`, `[fd00::1]:80`
fn place(text: &str) -> Option<(IpAddr, u16)> {
    text.parse::<SocketAddr>().ok().map(|a| (a.ip(), a.port()))
}

fn server(address: VirtualAddress, scheduler: &str) -> VirtualServer {
    let family = match address {
        VirtualAddress::Socket { address, .. } => IpFamily::of(address),
        VirtualAddress::Mark(_) => IpFamily::V4,
    };
    VirtualServer {
        family,
        address,
        scheduler: scheduler.to_string(),
        flags: 2, // IP_VS_SVC_F_HASHED, as always in the kernel
        timeout: 0,
        netmask: if family == IpFamily::V4 { u32::MAX } else { 128 },
        persistence_engine: None,
        stats: IpvsStats::default(),
        real_servers: Vec::new(),
    }
}

/// `1234`, `12K`: what ipvsadm prints without `--exact`.
fn figure(text: &str) -> Option<u64> {
    let (number, factor) = match text.char_indices().next_back()? {
        (i, 'K') => (&text[..i], 1000),
        (i, 'M') => (&text[..i], 1_000_000),
        (i, 'G') => (&text[..i], 1_000_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

/// Reads one of them into what is known. The error names the line.
pub(super) fn read(text: &str, into: &mut Ipvs) -> Result<(), String> {
    // What `-Sn` and `-Ln` both say is reported once.
    match text.lines().any(|l| l.starts_with("IP Virtual Server")) {
        true => match from_proc(text) {
            Some(text) => list(&text, into),
            None => list(text, into),
        },
        false => save(text, into),
    }
}

/// `/proc/net/ip_vs` as `ipvsadm -Ln` prints it: the kernel prints addresses and ports in hexadecimal
/// (`ip_vs_info_seq_show`, net/netfilter/ipvs/ip_vs_ctl.c). `None` for another text.
fn from_proc(text: &str) -> Option<String> {
    let head = text.lines().nth(2)?;
    if head.trim_end() != "  -> RemoteAddress:Port Forward Weight ActiveConn InActConn" {
        return None;
    }
    let place = |word: &str| -> Option<String> {
        let (address, port) = word.rsplit_once(':')?;
        let port = u16::from_str_radix(port, 16).ok()?;
        Some(match address.strip_prefix('[') {
            Some(_) => format!("{address}:{port}"),
            None => format!("{}:{port}", std::net::Ipv4Addr::from(u32::from_str_radix(address, 16).ok()?)),
        })
    };
    let line = |l: &str| -> String {
        let words: Vec<&str> = l.split_whitespace().collect();
        let new = match words[..] {
            ["FWM", mark, ref rest @ ..] => {
                let mark = u32::from_str_radix(mark, 16).ok();
                mark.map(|m| format!("FWM  {m} {}", rest.join(" ")))
            }
            ["->", to, ref rest @ ..] => place(to).map(|to| format!("  -> {to} {}", rest.join(" "))),
            [protocol @ ("TCP" | "UDP" | "SCTP"), to, ref rest @ ..] => {
                // Behind the time of a persistent one is its netmask.
                let mask = rest.last().is_some_and(|m| m.len() == 8 && rest.contains(&"persistent"));
                let rest = &rest[..rest.len() - usize::from(mask)];
                place(to).map(|to| format!("{protocol}  {to} {}", rest.join(" ")))
            }
            _ => None,
        };
        new.unwrap_or_else(|| l.to_string()) + "\n"
    };
    let mut lines = text.lines();
    let head: String = lines.by_ref().take(3).map(|l| format!("{l}\n")).collect();
    Some(head + &lines.map(line).collect::<String>())
}

/// Virtual and real servers by their addresses, while a text is read.
struct Index<'a> {
    ipvs: &'a mut Ipvs,
    servers: HashMap<VirtualAddress, usize>,
    real: HashMap<(usize, IpAddr, u16), usize>,
}

impl Index<'_> {
    fn new(ipvs: &mut Ipvs) -> Index<'_> {
        let servers = ipvs.servers.iter().enumerate().map(|(i, s)| (s.address, i)).collect();
        let each = |(i, s): (usize, &VirtualServer)| {
            s.real_servers.iter().enumerate().map(|(n, r)| ((i, r.address, r.port), n)).collect::<Vec<_>>()
        };
        let real = ipvs.servers.iter().enumerate().flat_map(each).collect();
        Index { ipvs, servers, real }
    }

    fn server(&mut self, address: &VirtualAddress, scheduler: &str) -> usize {
        *self.servers.entry(*address).or_insert_with(|| {
            self.ipvs.servers.push(server(*address, scheduler));
            self.ipvs.servers.len() - 1
        })
    }

    fn find(&mut self, address: &VirtualAddress, scheduler: &str) -> &mut VirtualServer {
        let i = self.server(address, scheduler);
        &mut self.ipvs.servers[i]
    }

    fn find_real(
        &mut self,
        of: &VirtualAddress,
        scheduler: &str,
        address: IpAddr,
        port: u16,
    ) -> &mut RealServer {
        let i = self.server(of, scheduler);
        let real = &mut self.ipvs.servers[i].real_servers;
        let n = *self.real.entry((i, address, port)).or_insert_with(|| {
            real.push(RealServer::new(address, port, 1));
            real.len() - 1
        });
        &mut real[n]
    }
}

/// `-A -t 10.0.0.1:80 -s rr -p 10800`, `-a -t 10.0.0.1:80 -r 10.244.0.3:8080 -m -w 1`
fn save(text: &str, into: &mut Ipvs) -> Result<(), String> {
    let mut index = Index::new(into);
    for (i, line) in text.lines().enumerate() {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = || format!("line {}: `{line}` is nothing that ipvsadm -S prints", i + 1);
        let (Some(command), rest) = (words.first(), words.get(1..).unwrap_or_default()) else { continue };
        if !matches!(*command, "-A" | "-a") {
            return Err(wrong());
        }
        let (mut address, mut to, mut scheduler) = (None, None, "");
        let (mut persistent, mut one_packet, mut weight, mut forwarding) =
            (None, false, 1, Forwarding::Masquerade);
        let (mut upper, mut lower, mut engine) = (0, 0, None);
        let mut rest = rest.iter();
        while let Some(word) = rest.next() {
            let mut value = || rest.next().copied().ok_or_else(wrong);
            match *word {
                kind @ ("-t" | "-u" | "--sctp-service") => {
                    let (a, port) = place(value()?).ok_or_else(wrong)?;
                    let protocol = match kind {
                        "-t" => 6,
                        "-u" => 17,
                        _ => 132,
                    };
                    address = Some(VirtualAddress::Socket { protocol, address: a, port });
                }
                "-f" => address = Some(VirtualAddress::Mark(value()?.parse().map_err(|_| wrong())?)),
                "-s" => scheduler = value()?,
                "-p" => persistent = Some(value()?.parse::<u32>().map_err(|_| wrong())?),
                "-r" => to = Some(place(value()?).ok_or_else(wrong)?),
                "-w" => weight = value()?.parse().map_err(|_| wrong())?,
                "-x" => upper = value()?.parse().map_err(|_| wrong())?,
                "-y" => lower = value()?.parse().map_err(|_| wrong())?,
                "--pe" => engine = Some(value()?.to_string()),
                "-o" => one_packet = true,
                "-m" => forwarding = Forwarding::Masquerade,
                "-g" => forwarding = Forwarding::DirectRoute,
                "-i" => forwarding = Forwarding::Tunnel,
                // What else it prints has a value or none: -M 255.255.255.0, -6, --tun-type …
                _ => {}
            }
        }
        let address = address.ok_or_else(wrong)?;
        if *command == "-A" {
            let s = index.find(&address, scheduler);
            s.scheduler = scheduler.to_string();
            s.persistence_engine = engine;
            if let Some(t) = persistent {
                s.flags |= SVC_PERSISTENT;
                s.timeout = t;
            }
            s.flags |= if one_packet { SVC_ONE_PACKET } else { 0 };
            continue;
        }
        let (a, port) = to.ok_or_else(wrong)?;
        let r = index.find_real(&address, scheduler, a, port);
        (r.weight, r.forwarding) = (weight, forwarding);
        (r.upper_threshold, r.lower_threshold) = (upper, lower);
    }
    Ok(())
}

fn list(text: &str, into: &mut Ipvs) -> Result<(), String> {
    let stats = text.lines().any(|l| l.contains("InPkts"));
    // Rates are the kernel's own estimates, and are in columns of the same number.
    if text.lines().any(|l| l.contains("CPS")) {
        return Ok(());
    }
    let mut now: Option<VirtualAddress> = None;
    let mut index = Index::new(into);
    for (i, line) in text.lines().enumerate() {
        let wrong = || format!("line {}: `{line}` is nothing that ipvsadm -Ln prints", i + 1);
        if let Some(rest) = line.strip_prefix("IP Virtual Server version ") {
            let (version, size) = rest.split_once(' ').unwrap_or((rest, ""));
            index.ipvs.version = version.to_string();
            let size = size.trim_matches(|c: char| !c.is_ascii_digit());
            index.ipvs.connection_table_size = size.parse().unwrap_or(index.ipvs.connection_table_size);
            continue;
        }
        let words: Vec<&str> = line.split_whitespace().collect();
        let figures = |from: usize| -> Option<IpvsStats> {
            let n = |i: usize| figure(words.get(from + i)?);
            Some(IpvsStats {
                connections: n(0)?,
                in_packets: n(1)?,
                out_packets: n(2)?,
                in_bytes: n(3)?,
                out_bytes: n(4)?,
                ..IpvsStats::default()
            })
        };
        match words[..] {
            [] | ["Prot", ..] | ["->", "RemoteAddress:Port", ..] => {}
            ["->", to, ..] => {
                let (a, port) = place(to).ok_or_else(wrong)?;
                let Some(at) = &now else { return Err(wrong()) };
                let r = index.find_real(at, "", a, port);
                if stats {
                    r.stats = figures(2).ok_or_else(wrong)?;
                } else if let [_, _, forward, weight, active, inactive, ..] = words[..] {
                    r.forwarding = match forward {
                        "Masq" => Forwarding::Masquerade,
                        "Route" => Forwarding::DirectRoute,
                        "Tunnel" => Forwarding::Tunnel,
                        "Local" => Forwarding::Local,
                        _ => return Err(wrong()),
                    };
                    let n = |t: &str| t.parse().map_err(|_| wrong());
                    (r.weight, r.active, r.inactive) = (n(weight)?, n(active)?, n(inactive)?);
                } else {
                    return Err(wrong());
                }
            }
            [protocol, to, ..] => {
                let address = match protocol {
                    "FWM" => VirtualAddress::Mark(to.parse().map_err(|_| wrong())?),
                    _ => {
                        let number = protocol_number(&protocol.to_lowercase()).ok_or_else(wrong)?;
                        let (address, port) = place(to).ok_or_else(wrong)?;
                        VirtualAddress::Socket { protocol: number, address, port }
                    }
                };
                now = Some(address);
                let s = index.find(&address, "");
                if stats {
                    s.stats = figures(2).ok_or_else(wrong)?;
                    continue;
                }
                let mut rest = words[2..].iter();
                while let Some(word) = rest.next() {
                    match *word {
                        "persistent" => {
                            s.flags |= SVC_PERSISTENT;
                            s.timeout = rest.next().and_then(|t| t.parse().ok()).ok_or_else(wrong)?;
                        }
                        "ops" => s.flags |= SVC_ONE_PACKET,
                        "mask" => drop(rest.next()),
                        "pe" => s.persistence_engine = rest.next().map(|p| (*p).to_string()),
                        scheduler if s.scheduler.is_empty() => s.scheduler = scheduler.to_string(),
                        _ => {}
                    }
                }
            }
            _ => return Err(wrong()),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_tell_of_the_same() {
        let mut ipvs = Ipvs::default();
        let saved = "-A -t 10.0.0.1:80 -s rr -p 10800\n-a -t 10.0.0.1:80 -r 10.244.0.3:8080 -m -w 3\n-A -u [fd00::1]:53 -s wlc\n";
        read(saved, &mut ipvs).unwrap();
        let listed = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  10.0.0.1:80 rr persistent 10800\n  -> 10.244.0.3:8080              Masq    3      5          1         \nUDP  [fd00::1]:53 wlc\nFWM  7 lc\n";
        read(listed, &mut ipvs).unwrap();
        let figures = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\nTCP  10.0.0.1:80                         3      18K       12     1152      660\n  -> 10.244.0.3:8080                     1        6        4      384      220\n";
        read(figures, &mut ipvs).unwrap();
        assert_eq!((ipvs.servers.len(), ipvs.connection_table_size), (3, 4096));
        let s = &ipvs.servers[0];
        assert_eq!((s.timeout, s.stats.in_packets, s.scheduler.as_str()), (10800, 18_000, "rr"));
        let r = &s.real_servers[0];
        assert_eq!((r.weight, r.active, r.inactive, r.stats.out_bytes), (3, 5, 1, 220));
        assert!(read("-A -t nonsense -s rr", &mut ipvs).unwrap_err().contains("line 1"));
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(IP Virtual Server version 1\\n)?([-A-Za-z0-9.: >\\[\\]]{0,60}\n){0,6}") {
            let _ = read(&text, &mut Ipvs::default());
        }
    }
}
