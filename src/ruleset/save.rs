//! Reading `iptables-save` and `ip6tables-save` text, with or without `-c`.

use super::matches::{
    ConntrackMatch, IpvsMatch, Match, MultiportMatch, NatRange, PhysdevMatch, PortRange, RecentMatch, Target,
    Unknown, Verdict, addr_type, ct_state, nat_flags, recent, set_flags,
};
use super::text::{ADDR_TYPES, REJECT4, REJECT6, protocol_number};
use super::{
    BaseChain, ChainId, Counter, Family, Hook, IpFamily, IpNet, Policy, RuleSpec, Table, TableBackend,
    TableBuilder, TableCounters,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::str::FromStr;

/// A table that was read from text, with the counters that stood there (0 where the text had none).
#[derive(Debug)]
pub struct SavedTable {
    /// Structure.
    pub table: Table,
    /// Counters.
    pub counters: TableCounters,
}

/// What could not be read, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line {line}: {what}")]
pub struct ParseError {
    /// Line, from 1.
    pub line: usize,
    /// What is wrong.
    pub what: String,
}

/// Priorities of the base chains that iptables makes (`linux/netfilter_ipv4.h`, `NF_IP_PRI_*`).
pub(crate) fn iptables_priority(table: &str, hook: Hook) -> i32 {
    match (table, hook) {
        ("raw", _) => -300,
        ("mangle", _) => -150,
        ("nat", Hook::Prerouting | Hook::Output) => -100,
        ("nat", _) => 100,
        ("security", _) => 50,
        _ => 0,
    }
}

/// Reads the tables of one `iptables-save` text. An extension that is not known is kept as `Unknown` with its
/// arguments as bytes; text that is no `iptables-save` at all is an error with its line.
pub fn parse_save(text: &str, family: IpFamily) -> Result<Vec<SavedTable>, ParseError> {
    let family = match family {
        IpFamily::V4 => Family::Ip,
        IpFamily::V6 => Family::Ip6,
    };
    let mut done = Vec::new();
    let mut current: Option<TableBuilder> = None;
    let mut name = String::new();
    for (i, raw) in text.lines().enumerate() {
        let err = |what: String| ParseError { line: i + 1, what };
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(table) = line.strip_prefix('*') {
            name = table.to_string();
            current = Some(TableBuilder::new(family, TableBackend::XTables, table));
            continue;
        }
        let Some(builder) = current.as_mut() else {
            return Err(err(format!("expected a table (a line like `*nat`), found `{line}`")));
        };
        if line == "COMMIT" {
            if let Some(builder) = current.take() {
                let (table, counters) = builder.finish();
                done.push(SavedTable { table, counters });
            }
        } else if let Some(chain) = line.strip_prefix(':') {
            let mut words = chain.split_whitespace();
            let chain = words.next().ok_or_else(|| err("a chain without a name".into()))?;
            let policy = match words.next() {
                Some("ACCEPT") => Some(Policy::Accept),
                Some("DROP") => Some(Policy::Drop),
                _ => None,
            };
            let counter = words.next().and_then(parse_counter).unwrap_or_default();
            let id = builder.chain(chain);
            if let (Some(policy), Some(hook)) = (policy, Hook::from_chain_name(chain)) {
                builder.base(
                    id,
                    BaseChain { hook, priority: iptables_priority(&name, hook), policy },
                    counter,
                );
            }
        } else {
            let (counter, rest) = match line.strip_prefix('[').and_then(|l| l.split_once(']')) {
                Some((c, rest)) => (
                    parse_counter(&format!("[{c}]")).ok_or_else(|| err(format!("not a counter: [{c}]")))?,
                    rest.trim_start(),
                ),
                None => (Counter::default(), line),
            };
            let words = split_words(rest).map_err(&err)?;
            let (chain, spec) = RuleParser::new(builder, &words).parse(counter).map_err(&err)?;
            builder.push(chain, spec);
        }
    }
    if current.is_some() {
        return Err(ParseError {
            line: text.lines().count(),
            what: format!("table {name} ends without COMMIT (was the file cut off?)"),
        });
    }
    Ok(done)
}

fn parse_counter(text: &str) -> Option<Counter> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counter { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// Splits at blanks; double quotes hold blanks, a backslash takes the next character as it is.
fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("a backslash at the end of the line".into()),
            },
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err("a quote that is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

struct RuleParser<'a> {
    builder: &'a mut TableBuilder,
    words: &'a [String],
    at: usize,
    header: Vec<Match>,
    extensions: Vec<Match>,
}

impl<'a> RuleParser<'a> {
    fn new(builder: &'a mut TableBuilder, words: &'a [String]) -> Self {
        RuleParser { builder, words, at: 0, header: Vec::new(), extensions: Vec::new() }
    }

    fn next(&mut self, what: &str) -> Result<&'a str, String> {
        let word =
            self.words.get(self.at).ok_or_else(|| format!("{what} is missing at the end of the line"))?;
        self.at += 1;
        Ok(word)
    }

    fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("not a {what}: `{word}`"))
    }

    fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    fn parse(mut self, counter: Counter) -> Result<(ChainId, RuleSpec), String> {
        if self.next("-A")? != "-A" {
            return Err(format!("expected `-A CHAIN`, found `{}`", self.words[0]));
        }
        let chain = self.next("chain")?;
        let chain = self.builder.chain(chain);
        let mut target = Target::None;
        let mut invert = false;
        while let Some(word) = self.peek() {
            self.at += 1;
            match word {
                "!" => {
                    invert = true;
                    continue;
                }
                "-s" | "--source" | "-d" | "--destination" => {
                    let net = self.network()?;
                    self.header.push(if word.starts_with("-s") || word == "--source" {
                        Match::Source { net, invert }
                    } else {
                        Match::Destination { net, invert }
                    });
                }
                "-i" | "-o" => {
                    let name = self.next("interface")?;
                    let name = self.builder.strings.intern(name);
                    self.header.push(if word == "-i" {
                        Match::InInterface { name, invert }
                    } else {
                        Match::OutInterface { name, invert }
                    });
                }
                "-p" | "--protocol" => {
                    let name = self.next("protocol")?;
                    let number = protocol_number(name).ok_or_else(|| format!("not a protocol: `{name}`"))?;
                    if number != 0 {
                        self.header.push(Match::Protocol { number, invert });
                    }
                }
                "-f" => self.header.push(Match::Fragment { invert }),
                "-m" => {
                    let module = self.next("match name")?;
                    let found = self.extension(module)?;
                    self.extensions.push(found);
                }
                "-j" | "-g" => target = self.target(word == "-g")?,
                other => return Err(format!("unknown option `{other}`")),
            }
            invert = false;
        }
        let mut matches = self.header;
        matches.extend(self.extensions);
        Ok((chain, RuleSpec { matches, target, counter }))
    }

    fn is_v6(&self) -> bool {
        self.builder.family() == Family::Ip6
    }

    fn network(&mut self) -> Result<IpNet, String> {
        let word = self.next("address")?;
        if let Ok(net) = word.parse() {
            return Ok(net);
        }
        // A mask written out, as old versions did.
        let parts = word.split_once('/').and_then(|(a, m)| Some((a.parse().ok()?, m.parse().ok()?)));
        match parts.and_then(|(addr, mask)| Some(IpNet { addr, prefix: super::text::mask_prefix(mask)? })) {
            Some(net) => Ok(net),
            None => Err(format!("not a network: `{word}`")),
        }
    }

    /// The next option of the current match, with its `!`; `None` where the match ends.
    fn option(&mut self) -> Option<(&'a str, bool)> {
        let (invert, at) = match self.peek()? {
            "!" => (true, self.at + 1),
            _ => (false, self.at),
        };
        let word = self.words.get(at)?.as_str();
        if !word.starts_with("--") {
            return None;
        }
        self.at = at + 1;
        Some((word, invert))
    }

    fn range(&mut self) -> Result<PortRange, String> {
        let word = self.next("port")?;
        let (a, b) = word.split_once(':').unwrap_or((word, word));
        match (a.parse(), b.parse()) {
            (Ok(first), Ok(last)) => Ok(PortRange { first, last }),
            _ => Err(format!("not a port or range of ports: `{word}`")),
        }
    }

    fn extension(&mut self, module: &str) -> Result<Match, String> {
        let start = self.at;
        let found = match module {
            "comment" => self.comment(),
            "tcp" | "udp" | "sctp" => self.transport(module),
            "statistic" => self.statistic(),
            "recent" => self.recent(),
            "mark" => self.mark(),
            "conntrack" | "state" => self.conntrack(module == "state"),
            "addrtype" => self.addrtype(),
            "nfacct" => self.nfacct(),
            "set" => self.set(),
            "multiport" => self.multiport(),
            "physdev" => self.physdev(),
            "ipvs" => self.ipvs(),
            _ => Ok(None),
        }?;
        match found {
            Some(m) => Ok(m),
            None => {
                self.at = start;
                Ok(Match::Unknown(Box::new(self.unknown(module))))
            }
        }
    }

    /// Keeps an extension that is not known with its arguments, up to the next switch of one letter.
    fn unknown(&mut self, name: &str) -> Unknown {
        let mut kept = String::new();
        while let Some(word) = self.peek() {
            let next_is_short =
                word == "!" && self.words.get(self.at + 1).is_some_and(|w| !w.starts_with("--"));
            if next_is_short || (word.starts_with('-') && !word.starts_with("--")) {
                break;
            }
            if !kept.is_empty() {
                kept.push(' ');
            }
            kept.push_str(word);
            self.at += 1;
        }
        Unknown { name: self.builder.strings.intern(name), revision: 0, bytes: kept.into_bytes().into() }
    }

    fn comment(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--comment", false)) => {
                let text = self.next("comment")?;
                Ok(Some(self.builder.comment(text)))
            }
            _ => Ok(None),
        }
    }

    fn transport(&mut self, module: &str) -> Result<Option<Match>, String> {
        let (mut source, mut destination) = (PortRange::ANY, PortRange::ANY);
        let (mut given, mut inverted) = (0u8, 0u8);
        let (mut flag_mask, mut flag_set, mut option, mut tcp_invert) = (0u8, 0u8, 0u8, 0u8);
        while let Some((word, invert)) = self.option() {
            let bit = match word {
                "--sport" | "--source-port" => {
                    source = self.range()?;
                    1
                }
                "--dport" | "--destination-port" => {
                    destination = self.range()?;
                    2
                }
                "--tcp-flags" if module == "tcp" => {
                    let (mask, set) = (self.next("TCP flags")?, self.next("TCP flags")?);
                    (flag_mask, flag_set) = (tcp_flags(mask)?, tcp_flags(set)?);
                    tcp_invert |= u8::from(invert) << 2;
                    continue;
                }
                "--tcp-option" if module == "tcp" => {
                    option = self.value("TCP option")?;
                    tcp_invert |= u8::from(invert) << 3;
                    continue;
                }
                _ => return Ok(None),
            };
            given |= bit;
            if invert {
                inverted |= bit;
            }
        }
        Ok(Some(match module {
            "tcp" => {
                Match::Tcp { source, destination, option, flag_mask, flag_set, invert: inverted | tcp_invert }
            }
            "udp" => Match::Udp { source, destination, invert: inverted },
            _ => Match::Sctp { source, destination, flags: given, invert: inverted },
        }))
    }

    fn statistic(&mut self) -> Result<Option<Match>, String> {
        let (mut probability, mut every, mut packet, mut inverted) = (None, None, 0u32, false);
        while let Some((word, invert)) = self.option() {
            inverted |= invert;
            match word {
                "--mode" => {
                    self.next("mode")?;
                }
                "--probability" => {
                    let p: f64 = self.value("probability")?;
                    // As libxt_statistic.c does: lround(0x80000000 * prob).
                    probability = Some((p.clamp(0.0, 1.0) * f64::from(0x8000_0000_u32)).round() as u32);
                }
                "--every" => every = Some(self.value::<u32>("number")?),
                "--packet" => packet = self.value("number")?,
                _ => return Ok(None),
            }
        }
        Ok(match (probability, every) {
            (Some(probability), _) => Some(Match::StatisticRandom { probability, invert: inverted }),
            (None, Some(every)) => {
                Some(Match::StatisticNth { every: every.saturating_sub(1), packet, invert: inverted })
            }
            _ => None,
        })
    }

    fn recent(&mut self) -> Result<Option<Match>, String> {
        let full = if self.is_v6() {
            IpAddr::V6(Ipv6Addr::from(u128::MAX))
        } else {
            IpAddr::V4(Ipv4Addr::BROADCAST)
        };
        let name = self.builder.strings.intern("DEFAULT");
        let mut r = RecentMatch {
            name,
            seconds: 0,
            hit_count: 0,
            check_set: 0,
            invert: false,
            side: 0,
            mask: full,
            revision: 1,
        };
        while let Some((word, invert)) = self.option() {
            r.invert |= invert;
            match word {
                "--set" => r.check_set |= recent::SET,
                "--rcheck" => r.check_set |= recent::CHECK,
                "--update" => r.check_set |= recent::UPDATE,
                "--remove" => r.check_set |= recent::REMOVE,
                "--reap" => r.check_set |= recent::REAP,
                "--rttl" => r.check_set |= recent::TTL,
                "--seconds" => r.seconds = self.value("number of seconds")?,
                "--hitcount" => r.hit_count = self.value("number of hits")?,
                "--name" => {
                    let name = self.next("name")?;
                    r.name = self.builder.strings.intern(name);
                }
                "--mask" => r.mask = self.value("mask")?,
                "--rsource" => r.side = 0,
                "--rdest" => r.side = 1,
                _ => return Ok(None),
            }
        }
        Ok(Some(Match::Recent(Box::new(r))))
    }

    fn mark(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--mark", invert)) => {
                let (mark, mask) = self.marks(u32::MAX)?;
                Ok(Some(Match::Mark { mark, mask, invert }))
            }
            _ => Ok(None),
        }
    }

    fn marks(&mut self, default_mask: u32) -> Result<(u32, u32), String> {
        let word = self.next("mark")?;
        let number = |s: &str| match s.strip_prefix("0x") {
            Some(hex) => u32::from_str_radix(hex, 16).ok(),
            None => s.parse().ok(),
        };
        let parsed = match word.split_once('/') {
            Some((a, b)) => number(a).zip(number(b)),
            None => number(word).map(|m| (m, default_mask)),
        };
        parsed.ok_or_else(|| format!("not a mark: `{word}`"))
    }

    fn conntrack(&mut self, state_alias: bool) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--ctstate" | "--state", invert)) => {
                let mut states = 0;
                for name in self.next("connection state")?.split(',') {
                    states |= match name {
                        "INVALID" => ct_state::INVALID,
                        "NEW" => ct_state::NEW,
                        "RELATED" => ct_state::RELATED,
                        "ESTABLISHED" => ct_state::ESTABLISHED,
                        "UNTRACKED" => ct_state::UNTRACKED,
                        "SNAT" => ct_state::SNAT,
                        "DNAT" => ct_state::DNAT,
                        _ => return Err(format!("not a connection state: `{name}`")),
                    };
                }
                if self.peek_option() {
                    return Ok(None); // more of conntrack than kptop decodes
                }
                Ok(Some(Match::Conntrack(ConntrackMatch { states, invert, state_alias, revision: 3 })))
            }
            _ => Ok(None),
        }
    }

    fn peek_option(&self) -> bool {
        match self.peek() {
            Some("!") => self.words.get(self.at + 1).is_some_and(|w| w.starts_with("--")),
            Some(w) => w.starts_with("--"),
            None => false,
        }
    }

    fn addrtype(&mut self) -> Result<Option<Match>, String> {
        let (mut source, mut destination, mut flags) = (0, 0, 0);
        while let Some((word, invert)) = self.option() {
            match word {
                "--src-type" => {
                    source = addr_types(self.next("address type")?)?;
                    flags |= if invert { addr_type::INVERT_SOURCE } else { 0 };
                }
                "--dst-type" => {
                    destination = addr_types(self.next("address type")?)?;
                    flags |= if invert { addr_type::INVERT_DEST } else { 0 };
                }
                "--limit-iface-in" => flags |= addr_type::LIMIT_IFACE_IN,
                "--limit-iface-out" => flags |= addr_type::LIMIT_IFACE_OUT,
                _ => return Ok(None),
            }
        }
        Ok(Some(Match::AddrType { source, destination, flags, revision: 1 }))
    }

    fn nfacct(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--nfacct-name", false)) => {
                let name = self.next("name")?;
                Ok(Some(Match::Nfacct { name: self.builder.strings.intern(name), revision: 1 }))
            }
            _ => Ok(None),
        }
    }

    fn set(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--match-set", invert)) => {
                let name = self.next("set name")?;
                let name = Some(self.builder.strings.intern(name));
                let mut flags = if invert { set_flags::INVERT } else { 0 };
                let mut dimensions = 0u8;
                for side in self.next("src or dst")?.split(',') {
                    match side {
                        "src" => flags |= set_flags::DIM_ONE_SRC << dimensions,
                        "dst" => {}
                        _ => return Err(format!("neither src nor dst: `{side}`")),
                    }
                    dimensions += 1;
                    if dimensions > 6 {
                        return Err("a set has at most six dimensions".into());
                    }
                }
                if self.peek_option() {
                    return Ok(None);
                }
                Ok(Some(Match::Set { name, index: 0, dimensions, flags, revision: 4 }))
            }
            _ => Ok(None),
        }
    }

    fn multiport(&mut self) -> Result<Option<Match>, String> {
        let Some((word, invert)) = self.option() else { return Ok(None) };
        let side = match word {
            "--sports" => 0,
            "--dports" => 1,
            "--ports" => 2,
            _ => return Ok(None),
        };
        let mut ports = Vec::new();
        let text = self.next("ports")?;
        for part in text.split(',') {
            let bad = || format!("not a list of ports: `{text}`");
            match part.split_once(':') {
                Some((a, b)) => {
                    ports.push((a.parse().map_err(|_| bad())?, true));
                    ports.push((b.parse().map_err(|_| bad())?, false));
                }
                None => ports.push((part.parse().map_err(|_| bad())?, false)),
            }
        }
        if ports.len() > 15 {
            return Err(format!("more than 15 ports: `{text}`"));
        }
        Ok(Some(Match::Multiport(Box::new(MultiportMatch { side, ports, invert }))))
    }

    fn physdev(&mut self) -> Result<Option<Match>, String> {
        let mut p = PhysdevMatch { input: None, output: None, invert: 0, operations: 0 };
        while let Some((word, invert)) = self.option() {
            let bit = match word {
                "--physdev-in" => {
                    let name = self.next("interface")?;
                    p.input = Some(self.builder.strings.intern(name));
                    1
                }
                "--physdev-out" => {
                    let name = self.next("interface")?;
                    p.output = Some(self.builder.strings.intern(name));
                    2
                }
                "--physdev-is-bridged" => 4,
                "--physdev-is-in" => 8,
                "--physdev-is-out" => 16,
                _ => return Ok(None),
            };
            p.operations |= bit;
            p.invert |= if invert { bit } else { 0 };
        }
        Ok(Some(Match::Physdev(Box::new(p))))
    }

    fn ipvs(&mut self) -> Result<Option<Match>, String> {
        let (zero, full): (IpAddr, IpAddr) = if self.is_v6() {
            (Ipv6Addr::UNSPECIFIED.into(), Ipv6Addr::from(u128::MAX).into())
        } else {
            (Ipv4Addr::UNSPECIFIED.into(), Ipv4Addr::BROADCAST.into())
        };
        let mut m = IpvsMatch {
            address: zero,
            mask: zero,
            port: 0,
            protocol: 0,
            method: 0,
            control_port: 0,
            invert: 0,
            operations: 0,
        };
        while let Some((word, invert)) = self.option() {
            let bit = match word {
                "--ipvs" => 1,
                "--vproto" => {
                    let name = self.next("protocol")?;
                    m.protocol = protocol_number(name)
                        .and_then(|n| u8::try_from(n).ok())
                        .ok_or_else(|| format!("not a protocol: `{name}`"))?;
                    2
                }
                "--vaddr" => {
                    m.address = self.value("address")?;
                    m.mask = full;
                    4
                }
                "--vport" => {
                    m.port = self.value("port")?;
                    8
                }
                "--vportctl" => {
                    m.control_port = self.value("port")?;
                    64
                }
                _ => return Ok(None),
            };
            m.operations |= bit;
            m.invert |= if invert { bit } else { 0 };
        }
        m.operations |= 1; // libxt_ipvs always asks for the property itself too
        Ok(Some(Match::Ipvs(Box::new(m))))
    }

    fn target(&mut self, goto: bool) -> Result<Target, String> {
        let name = self.next("target")?;
        let start = self.at;
        let found = match name {
            "ACCEPT" => Some(Target::Verdict(Verdict::Accept)),
            "DROP" => Some(Target::Verdict(Verdict::Drop)),
            "QUEUE" => Some(Target::Verdict(Verdict::Queue)),
            "RETURN" => Some(Target::Verdict(Verdict::Return)),
            "DNAT" | "SNAT" | "MASQUERADE" | "REDIRECT" => self.nat(name)?,
            "MARK" => self.mark_target()?,
            "REJECT" => self.reject()?,
            // A chain has been declared above its use; what was not is an extension.
            _ if self.builder.has_chain(name) => {
                let to = self.builder.chain(name);
                Some(Target::Verdict(if goto { Verdict::Goto(to) } else { Verdict::Jump(to) }))
            }
            _ => None,
        };
        match found {
            Some(target) => Ok(target),
            None => {
                self.at = start;
                Ok(Target::Unknown(Box::new(self.unknown(name))))
            }
        }
    }

    fn nat(&mut self, name: &str) -> Result<Option<Target>, String> {
        let v6 = self.is_v6();
        let mut r = NatRange { flags: 0, addrs: None, ports: (0, 0, 0), revision: 0 };
        while let Some((word, _)) = self.option() {
            match word {
                "--to-destination" | "--to-source" => {
                    let to = self.next("address")?;
                    let bad = || format!("not an address to translate to: `{to}`");
                    let (addr, port) = split_endpoint(to, v6);
                    if !addr.is_empty() {
                        let (a, b) = addr.split_once('-').unwrap_or((addr, addr));
                        r.addrs = Some((a.parse().map_err(|_| bad())?, b.parse().map_err(|_| bad())?));
                        r.flags |= nat_flags::MAP_IPS;
                    }
                    if let Some(port) = port {
                        r.ports = port_range(port).ok_or_else(bad)?;
                        r.flags |= nat_flags::PROTO_SPECIFIED;
                    }
                }
                "--to-ports" => {
                    let ports = self.next("ports")?;
                    r.ports = port_range(ports).ok_or_else(|| format!("not ports: `{ports}`"))?;
                    r.flags |= nat_flags::PROTO_SPECIFIED;
                }
                "--random" => r.flags |= nat_flags::PROTO_RANDOM,
                "--random-fully" => r.flags |= nat_flags::PROTO_RANDOM_FULLY,
                "--persistent" => r.flags |= nat_flags::PERSISTENT,
                _ => return Ok(None),
            }
        }
        Ok(Some(match name {
            "DNAT" => {
                r.revision = 2;
                match (r.addrs, r.flags) {
                    (Some((a, b)), f)
                        if a == b
                            && r.ports.0 == r.ports.1
                            && f == nat_flags::MAP_IPS | nat_flags::PROTO_SPECIFIED =>
                    {
                        Target::DnatTo { addr: a, port: r.ports.0, revision: 2 }
                    }
                    _ => Target::Dnat(Box::new(r)),
                }
            }
            "SNAT" => Target::Snat(Box::new(r)),
            "MASQUERADE" => Target::Masquerade(Box::new(r)),
            _ => Target::Redirect(Box::new(r)),
        }))
    }

    fn mark_target(&mut self) -> Result<Option<Target>, String> {
        match self.option() {
            Some(("--set-xmark", false)) => {
                let (mark, mask) = self.marks(u32::MAX)?;
                Ok(Some(Target::Mark { mark, mask }))
            }
            // As libxt_MARK.c turns them into --set-xmark.
            Some(("--or-mark", false)) => {
                let (mark, _) = self.marks(0)?;
                Ok(Some(Target::Mark { mark, mask: mark }))
            }
            Some(("--xor-mark", false)) => {
                let (mark, _) = self.marks(0)?;
                Ok(Some(Target::Mark { mark, mask: 0 }))
            }
            _ => Ok(None),
        }
    }

    fn reject(&mut self) -> Result<Option<Target>, String> {
        let names = if self.is_v6() { REJECT6 } else { REJECT4 };
        match self.option() {
            None => Ok(Some(Target::Reject { with: if self.is_v6() { 4 } else { 3 } })),
            Some(("--reject-with", false)) => {
                let name = self.next("answer")?;
                Ok(names.iter().find(|n| n.1 == name).map(|n| Target::Reject { with: n.0 }))
            }
            Some(_) => Ok(None),
        }
    }
}

/// Parts `a:p`, `[a]:p`, `a` and `:p` into address and port.
fn split_endpoint(text: &str, v6: bool) -> (&str, Option<&str>) {
    if let Some(rest) = text.strip_prefix('[')
        && let Some((addr, port)) = rest.split_once(']')
    {
        return (addr, port.strip_prefix(':'));
    }
    if v6 && !text.starts_with(':') {
        return (text, None);
    }
    match text.rsplit_once(':') {
        Some((addr, port)) => (addr, Some(port)),
        None => (text, None),
    }
}

fn port_range(text: &str) -> Option<(u16, u16, u16)> {
    let (a, b) = text.split_once('-').unwrap_or((text, text));
    Some((a.parse().ok()?, b.parse().ok()?, 0))
}

fn addr_types(text: &str) -> Result<u16, String> {
    text.split(',').try_fold(0, |bits, name| match ADDR_TYPES.iter().position(|t| *t == name) {
        Some(i) => Ok(bits | 1 << i),
        None => Err(format!("not an address type: `{name}`")),
    })
}

fn tcp_flags(text: &str) -> Result<u8, String> {
    text.split(',').try_fold(0, |bits, name| {
        Ok(bits
            | match name {
                "FIN" => 1,
                "SYN" => 2,
                "RST" => 4,
                "PSH" => 8,
                "ACK" => 16,
                "URG" => 32,
                "ALL" => 63,
                "NONE" => 0,
                _ => return Err(format!("not a TCP flag: `{name}`")),
            })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str, family: IpFamily) -> Vec<String> {
        let tables = parse_save(text, family).unwrap();
        let t = &tables[0].table;
        t.chains
            .iter()
            .enumerate()
            .flat_map(|(i, c)| {
                t.rules_of(ChainId(i as u32))
                    .map(move |(_, r)| format!("-A {} {}", t.str(c.name), t.rule_text(r)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn text_comes_back_as_it_was() {
        let text = r#"*nat
:PREROUTING ACCEPT [1:2]
:X - [0:0]
-A PREROUTING ! -s 10.0.0.0/8 -d 1.2.3.4/32 ! -i eth+ -p tcp -m comment --comment "a \"b\" c\\d" -m tcp ! --sport 1:2 --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j X
-A PREROUTING -p sctp -m sctp --dport 38412 -j RETURN
-A X -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.0.0.1:80
-A X -m statistic --mode nth --every 3 --packet 1 -j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --random
-A X -m recent --rcheck --seconds 10800 --reap --name N --mask 255.255.255.255 --rsource -g X
-A X -p udp -m multiport ! --dports 1,5:9 -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL
-A X -m set --match-set KUBE-CLUSTER-IP dst,dst,src -m conntrack ! --ctstate NEW,DNAT -j MARK --set-xmark 0x4000/0x4000
-A X -m mark ! --mark 0x4000/0x4000 -m nfacct --nfacct-name  some -j MASQUERADE --random-fully
-A X -m hashlimit [revision 0, 30 bytes] -j LOG [revision 0, 12 bytes]
COMMIT
"#;
        let given: Vec<&str> = text.lines().filter(|l| l.starts_with("-A")).collect();
        let with_unknown = text
            .replace("-m hashlimit [revision 0, 30 bytes]", "-m hashlimit --hashlimit-upto 5/sec --foo bar");
        let with_unknown = with_unknown.replace("[revision 0, 12 bytes]", "--log-level 4"); // 13 bytes
        let got = lines(&with_unknown, IpFamily::V4);
        assert_eq!(got[..8], given[..8]);
        assert_eq!(got[8], "-A X -m hashlimit [revision 0, 32 bytes] -j LOG [revision 0, 13 bytes]");
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("-A X -j ACCEPT\n", 1),
            ("*nat\n:X - [0:0]\n-A X -s nonsense -j ACCEPT\nCOMMIT\n", 3),
            ("*nat\n:X - [0:0]\n-A X -m comment --comment \"open\nCOMMIT\n", 3),
            ("*nat\n[1:x] -A X\nCOMMIT\n", 2),
            ("*nat\n:X - [0:0]\n", 2),
        ] {
            assert_eq!(parse_save(text, IpFamily::V4).unwrap_err().line, line, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\*nat\n)?((:|-A )X [-!a-z ,:/0-9\"\\\\]{0,60}\n){0,4}(COMMIT)?") {
            let _ = parse_save(&text, IpFamily::V4);
            let _ = parse_save(&text, IpFamily::V6);
        }
    }
}
