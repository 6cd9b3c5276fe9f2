//! Whether a packet has the interface that a rule asks for.

use super::RulesetIndex;
use super::assumption::Question;
use super::match_result::MatchResult;
use super::packet_state::PacketState;
use crate::ruleset::Hook;
use std::net::IpAddr;

/// Which of a packet's interfaces a rule asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Side {
    In,
    Out,
}

impl RulesetIndex<'_> {
    /// The interface that leads to an address, where the node's networks and routes say it.
    pub fn interface_to(&self, address: IpAddr) -> Option<&str> {
        self.interfaces.to(address)
    }

    /// Whether a packet has an interface; `wanted` may end in `+` for all that begin so.
    pub(super) fn has_interface(&self, t: &PacketState, side: Side, wanted: &str) -> MatchResult {
        let is = |real: &str| match wanted.strip_suffix('+') {
            Some(begin) => real.starts_with(begin),
            None => real == wanted,
        };
        let real = match side {
            Side::In => t.in_interface(),
            Side::Out => t.out_interface(self),
        };
        if let Some(real) = real {
            return MatchResult::from(is(real));
        }
        // One that leads elsewhere is not loopback, whatever its name.
        let may_be_loopback = side == Side::In && t.sender_has_device();
        if wanted == "lo" && !may_be_loopback {
            return MatchResult::No;
        }
        let early = t.hook == Hook::Output;
        let (address, question) = match side {
            Side::In => (Some(t.first.source), Question::Arrives(wanted.to_string())),
            Side::Out => {
                let to = if early { t.first.destination } else { t.packet.destination };
                let known = (early || !t.unsure.destination).then_some(to);
                (known, Question::Leaves { interface: wanted.to_string(), to, early })
            }
        };
        if address.is_some_and(|a| self.interfaces.excludes(wanted, a)) {
            return MatchResult::No;
        }
        MatchResult::Either(question, true)
    }
}
