//! Targets of a rule's text.

use super::parser::RuleParser;
use crate::iptables_text::{REJECT4, REJECT6};
use crate::{NatRange, Target, Verdict, nat_flags};

impl RuleParser<'_> {
    pub(super) fn target(&mut self, goto: bool) -> Result<Target, String> {
        let name = self.next("target")?;
        let start = self.at;
        let found = match name {
            // An iptables that is older than who wrote the rule.
            _ if self.is_unsupported() => None,
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

    pub(super) fn nat(&mut self, name: &str) -> Result<Option<Target>, String> {
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
                        Target::dnat_to(a, r.ports.0, 2)
                    }
                    _ => Target::Dnat(Box::new(r)),
                }
            }
            "SNAT" => Target::Snat(Box::new(r)),
            "MASQUERADE" => Target::Masquerade(Box::new(r)),
            _ => Target::Redirect(Box::new(r)),
        }))
    }

    pub(super) fn mark_target(&mut self) -> Result<Option<Target>, String> {
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

    pub(super) fn reject(&mut self) -> Result<Option<Target>, String> {
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
