//! Entries of conntrack.

use super::{
    ASSURED, CTA_STATUS, CTA_TIMEOUT, CTA_TUPLE_ORIG, CTA_TUPLE_REPLY, Client, SEEN_REPLY, SUBSYSTEM, Tuple,
    address_family,
};
use crate::Result;
use crate::netlink::{CREATE, Request};
use nf_ruleset::octets;

const MSG_NEW: u8 = 0;
/// `IPS_CONFIRMED`
const CONFIRMED: u32 = 1 << 3;

impl Client {
    /// Makes an entry one that has been answered, for good. For tests and demos in namespaces of their own (feature `write`).
    pub fn set_replied(&mut self, original: Tuple) -> Result<()> {
        let request = Request::nfnetlink(SUBSYSTEM, MSG_NEW, 0, address_family(original.destination));
        let status = SEEN_REPLY | ASSURED | CONFIRMED;
        let request = put_tuple(request, CTA_TUPLE_ORIG, original).attr(CTA_STATUS, &status.to_be_bytes());
        self.socket.request("changing a conntrack entry", request, &mut |_| {})
    }

    /// Makes an entry that translates its destination. For tests and demos in namespaces of their own (feature `write`).
    pub fn create(&mut self, original: Tuple, reply: Tuple, timeout: u32) -> Result<()> {
        let family = address_family(original.destination);
        let status = SEEN_REPLY | ASSURED | CONFIRMED;
        let mut request = Request::nfnetlink(SUBSYSTEM, MSG_NEW, CREATE, family);
        for (kind, tuple) in [(CTA_TUPLE_ORIG, original), (CTA_TUPLE_REPLY, reply)] {
            request = put_tuple(request, kind, tuple);
        }
        let request =
            request.attr(CTA_STATUS, &status.to_be_bytes()).attr(CTA_TIMEOUT, &timeout.to_be_bytes());
        self.socket.request("making a conntrack entry", request, &mut |_| {})
    }
}

fn put_tuple(request: Request, kind: u16, tuple: Tuple) -> Request {
    request.nest(kind, |r| {
        r.nest(1, |r| {
            let (s, d) = if tuple.source.is_ipv4() { (1, 2) } else { (3, 4) };
            r.attr(s, &octets(tuple.source)).attr(d, &octets(tuple.destination))
        })
        .nest(2, |r| {
            r.attr(1, &[tuple.protocol])
                .attr(2, &tuple.source_port.to_be_bytes())
                .attr(3, &tuple.destination_port.to_be_bytes())
        })
    })
}
