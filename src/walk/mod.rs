//! One packet through the rules of a snapshot, as the kernel would run them.
//!
//! All tables on the packet's way are met in the order of their hooks' priorities (`linux/netfilter_ipv4.h`), every
//! rule that is evaluated is counted, and where chance decides (`statistic`, `numgen`, an IPVS scheduler) the way
//! branches with its probability. What cannot be known from a snapshot (a match that kptop does not decode, an interface
//! that nobody named, a limit) becomes a fork: both ways are gone, and each end says what it assumes.
//!
//! The way of a packet between hooks is that of `net/ipv4/ip_input.c`, `ip_forward.c` and `ip_output.c`; that of nat
//! chains, which only the first packet of a flow meets and which all run at one place, of `net/netfilter/nf_nat_core.c`.

mod assumption;
mod interface_match;
mod interfaces;
mod ipsets;
mod ipvs;
mod match_result;
mod matching;
mod native;
mod packet;
mod packet_state;
mod ruleset_index;
mod targets;
#[cfg(test)]
mod tests;
mod trace;
mod travel;
mod unsure;

pub use assumption::{Answer, Assumption, Question};
pub use packet::{CtState, Ingress, Options, Packet};
pub use ruleset_index::RulesetIndex;
pub use targets::takes_out_of_tracking;
pub use trace::{End, Outcome, Place, Step, StepKind, Tally, Trace};
