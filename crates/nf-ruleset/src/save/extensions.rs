//! Matches of a rule's text.

use super::parser::RuleParser;
use crate::iptables_text::ADDR_TYPES;
use crate::protocol_number;
use crate::{
    ConntrackMatch, IpvsMatch, Match, MultiportMatch, PhysdevMatch, PortRange, RecentMatch, addr_type,
    ct_state, recent, set_flags,
};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

impl RuleParser<'_> {
    pub(super) fn comment(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--comment", false)) => {
                let text = self.next("comment")?;
                Ok(Some(self.builder.comment(text)))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn transport(&mut self, module: &str) -> Result<Option<Match>, String> {
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

    pub(super) fn statistic(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn recent(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn mark(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--mark", invert)) => {
                let (mark, mask) = self.marks(u32::MAX)?;
                Ok(Some(Match::Mark { mark, mask, invert }))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn marks(&mut self, default_mask: u32) -> Result<(u32, u32), String> {
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

    pub(super) fn conntrack(&mut self, state_alias: bool) -> Result<Option<Match>, String> {
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

    pub(super) fn peek_option(&self) -> bool {
        match self.peek() {
            Some("!") => self.words.get(self.at + 1).is_some_and(|w| w.starts_with("--")),
            Some(w) => w.starts_with("--"),
            None => false,
        }
    }

    pub(super) fn addrtype(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn nfacct(&mut self) -> Result<Option<Match>, String> {
        match self.option() {
            Some(("--nfacct-name", false)) => {
                let name = self.next("name")?;
                Ok(Some(Match::Nfacct { name: self.builder.strings.intern(name), revision: 1 }))
            }
            _ => Ok(None),
        }
    }

    pub(super) fn set(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn multiport(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn physdev(&mut self) -> Result<Option<Match>, String> {
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

    pub(super) fn ipvs(&mut self) -> Result<Option<Match>, String> {
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
