//! `ipvsadm -Sn` and `-Ln`, with `--stats`, `--rate`, `--thresholds`, `--persistent-conn`, or of one address (ipvsadm 1.31); and
//! `/proc/net/ip_vs`.

use crate::kernel::ipvs::{
    Forwarding, Ipvs, IpvsStats, RealServer, SVC_ONE_PACKET, SVC_PERSISTENT, VirtualAddress, VirtualServer,
};
use crate::ruleset::{IpFamily, protocol_number};
use crate::snapshot::dump::glance::{Glance, rounded};
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{SourceId, UnreadKind};
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

/// Takes a text; a line that is none of it costs itself.
fn take(to: &mut Reader, f: &Found) -> Result<(), String> {
    let into = to.ipvs.get_or_insert_default();
    let wrong = read(&f.text, into);
    if into.servers.is_empty() && !wrong.is_empty() {
        return Err(wrong[0].clone());
    }
    to.lines_lost(f, &wrong, (SourceId::Other, UnreadKind::Missing), "");
    Ok(())
}

fn take_weighted(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.weights_given = true;
    take(to, f)
}

fn take_counted(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.servers_counted = true;
    take(to, f)
}

const fn form(
    words: &'static str,
    is: fn(&Glance<'_>) -> bool,
    read: fn(&mut Reader, &Found) -> Result<(), String>,
) -> Form {
    Form { words, source: SourceId::Ipvs, repeats: true, is, read }
}

pub(super) static SAVE: Form = form("ipvsadm -Sn", is_save, take_weighted);
pub(super) static LIST: Form = form("ipvsadm -Ln", is_list, take_weighted);
pub(super) static STATS: Form = form("ipvsadm -Ln --stats", |g| has_head(g, "InPkts"), take_counted);
pub(super) static RATES: Form = form("ipvsadm -Ln --rate", |g| has_head(g, "InPPS"), take);

fn is_save(g: &Glance<'_>) -> bool {
    let service = ["-t ", "-u ", "-f ", "--sctp-service "];
    g.any(3, |l| {
        service.iter().any(|s| l.strip_prefix("-A ").is_some_and(|r| r.starts_with(s)) && l.contains(" -s "))
    })
}

fn is_list(g: &Glance<'_>) -> bool {
    let head = |l: &str| {
        l.trim_start().starts_with("Prot LocalAddress:Port") || l.starts_with("IP Virtual Server version")
    };
    g.any(3, head)
}

fn has_head(g: &Glance<'_>, column: &str) -> bool {
    is_list(g) && g.any(4, |l| l.contains(column))
}

/// Reads one of them into what is known; gives the lines that are none of it.
fn read(text: &str, into: &mut Ipvs) -> Vec<String> {
    // What `-Sn` and `-Ln` both say is reported once.
    let is_list =
        |l: &str| l.starts_with("IP Virtual Server") || l.trim_start().starts_with("Prot LocalAddress");
    match text.lines().any(is_list) {
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
    let is_head = |l: &str| l.trim() == "-> RemoteAddress:Port Forward Weight ActiveConn InActConn";
    let head = text.lines().take(6).position(is_head)?;
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
    let head: String = lines.by_ref().take(head + 1).map(|l| format!("{l}\n")).collect();
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
fn save(text: &str, into: &mut Ipvs) -> Vec<String> {
    let mut index = Index::new(into);
    let lines = text.lines().enumerate();
    lines.filter_map(|(i, line)| saved(&mut index, i, line).err()).collect()
}

fn saved(index: &mut Index<'_>, i: usize, line: &str) -> Result<(), String> {
    {
        let words: Vec<&str> = line.split_whitespace().collect();
        let wrong = || format!("line {}: `{line}` is nothing that ipvsadm -S prints", i + 1);
        let (Some(command), rest) = (words.first(), words.get(1..).unwrap_or_default()) else {
            return Ok(());
        };
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
            return Ok(());
        }
        let (a, port) = to.ok_or_else(wrong)?;
        let r = index.find_real(&address, scheduler, a, port);
        (r.weight, r.forwarding) = (weight, forwarding);
        (r.upper_threshold, r.lower_threshold) = (upper, lower);
    }
    Ok(())
}

/// What the columns behind the addresses are.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Columns {
    /// `Forward Weight ActiveConn InActConn`
    Usual,
    /// `Conns InPkts OutPkts InBytes OutBytes`
    Stats,
    /// `CPS InPPS OutPPS InBPS OutBPS`
    Rates,
    /// `Uthreshold Lthreshold ActiveConn InActConn`
    Thresholds,
    /// `Weight PersistConn ActiveConn InActConn`
    Persistent,
}

fn columns(text: &str) -> Columns {
    let head = |column: &str| text.lines().take(6).any(|l| l.contains(column));
    match () {
        () if head("InPkts") => Columns::Stats,
        () if head("InPPS") => Columns::Rates,
        () if head("Uthreshold") => Columns::Thresholds,
        () if head("PersistConn") => Columns::Persistent,
        () => Columns::Usual,
    }
}

fn list(text: &str, into: &mut Ipvs) -> Vec<String> {
    let columns = columns(text);
    let mut now: Option<VirtualAddress> = None;
    let mut index = Index::new(into);
    let lines = text.lines().enumerate();
    lines.filter_map(|(i, line)| listed(&mut index, columns, &mut now, i, line).err()).collect()
}

fn listed(
    index: &mut Index<'_>,
    columns: Columns,
    now: &mut Option<VirtualAddress>,
    i: usize,
    line: &str,
) -> Result<(), String> {
    let wrong = || format!("line {}: `{line}` is nothing that ipvsadm -Ln prints", i + 1);
    if let Some(rest) = line.strip_prefix("IP Virtual Server version ") {
        let (version, size) = rest.split_once(' ').unwrap_or((rest, ""));
        index.ipvs.version = version.to_string();
        let size = size.trim_matches(|c: char| !c.is_ascii_digit());
        index.ipvs.connection_table_size = size.parse().unwrap_or(index.ipvs.connection_table_size);
        return Ok(());
    }
    let words: Vec<&str> = line.split_whitespace().collect();
    let figures = |to: &mut IpvsStats| -> Option<()> {
        let n = |i: usize| rounded(words.get(2 + i)?);
        match columns {
            Columns::Rates => {
                to.connections_per_s = n(0)?;
                (to.in_packets_per_s, to.out_packets_per_s) = (n(1)?, n(2)?);
                (to.in_bytes_per_s, to.out_bytes_per_s) = (n(3)?, n(4)?);
            }
            _ => {
                to.connections = n(0)?;
                (to.in_packets, to.out_packets) = (n(1)?, n(2)?);
                (to.in_bytes, to.out_bytes) = (n(3)?, n(4)?);
            }
        }
        Some(())
    };
    let counted = matches!(columns, Columns::Stats | Columns::Rates);
    match words[..] {
        [] | ["Prot", ..] | ["->", "RemoteAddress:Port", ..] => {}
        ["->", to, ..] => {
            let (a, port) = place(to).ok_or_else(wrong)?;
            let Some(at) = now else { return Err(wrong()) };
            let r = index.find_real(at, "", a, port);
            if counted {
                return figures(&mut r.stats).ok_or_else(wrong);
            }
            let n = |i: usize| words.get(i).and_then(|t| t.parse::<u32>().ok()).ok_or_else(wrong);
            match columns {
                Columns::Thresholds => {
                    (r.upper_threshold, r.lower_threshold) = (n(2)?, n(3)?);
                }
                Columns::Persistent => (r.weight, r.persistent) = (n(2)?, n(3)?),
                _ => {
                    r.forwarding = match words.get(2) {
                        Some(&"Masq") => Forwarding::Masquerade,
                        Some(&"Route") => Forwarding::DirectRoute,
                        Some(&"Tunnel") => Forwarding::Tunnel,
                        Some(&"Local") => Forwarding::Local,
                        _ => return Err(wrong()),
                    };
                    r.weight = n(3)?;
                }
            }
            (r.active, r.inactive) = (n(4)?, n(5)?);
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
            *now = Some(address);
            let s = index.find(&address, "");
            if counted {
                return figures(&mut s.stats).ok_or_else(wrong);
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
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_three_tell_of_the_same() {
        let mut ipvs = Ipvs::default();
        let saved = "-A -t 10.0.0.1:80 -s rr -p 10800\n-a -t 10.0.0.1:80 -r 10.244.0.3:8080 -m -w 3\n-A -u [fd00::1]:53 -s wlc\n";
        assert!(read(saved, &mut ipvs).is_empty());
        let listed = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port Scheduler Flags\n  -> RemoteAddress:Port           Forward Weight ActiveConn InActConn\nTCP  10.0.0.1:80 rr persistent 10800\n  -> 10.244.0.3:8080              Masq    3      5          1         \nUDP  [fd00::1]:53 wlc\nFWM  7 lc\n";
        assert!(read(listed, &mut ipvs).is_empty());
        let figures = "IP Virtual Server version 1.2.1 (size=4096)\nProt LocalAddress:Port               Conns   InPkts  OutPkts  InBytes OutBytes\n  -> RemoteAddress:Port\nTCP  10.0.0.1:80                         3      18K       12     1152      660\n  -> 10.244.0.3:8080                     1        6        4      384      220\n";
        assert!(read(figures, &mut ipvs).is_empty());
        assert_eq!((ipvs.servers.len(), ipvs.connection_table_size), (3, 4096));
        let s = &ipvs.servers[0];
        assert_eq!((s.timeout, s.stats.in_packets, s.scheduler.as_str()), (10800, 18_000, "rr"));
        let r = &s.real_servers[0];
        assert_eq!((r.weight, r.active, r.inactive, r.stats.out_bytes), (3, 5, 1, 220));
        let rates = figures
            .replace("Conns   InPkts  OutPkts  InBytes OutBytes", "CPS    InPPS   OutPPS    InBPS   OutBPS");
        assert!(read(&rates, &mut ipvs).is_empty());
        let limits =
            listed.replace("Forward Weight", "Uthreshold Lthreshold").replace("Masq    3", "100     90");
        assert!(read(&limits, &mut ipvs).is_empty());
        let r = &ipvs.servers[0].real_servers[0];
        assert_eq!((r.stats.in_packets_per_s, r.upper_threshold, r.lower_threshold), (6, 100, 90));
        // A line that is none of it costs itself.
        let wrong = read("-A -t nonsense -s rr\n-A -t 10.0.0.9:1 -s rr\n", &mut ipvs);
        assert!(wrong.len() == 1 && wrong[0].contains("line 1") && ipvs.servers.len() == 4);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "(IP Virtual Server version 1\\n)?([-A-Za-z0-9.: >\\[\\]]{0,60}\n){0,6}") {
            let _ = read(&text, &mut Ipvs::default());
        }
    }
}
