//! Named counters of nfnetlink_acct, which rules raise by name (`linux/netfilter/nfnetlink_acct.h`).

use super::netlink::{
    Message, NETLINK_NETFILTER, Request, Socket, attrs, be_uint, nfnetlink_body, retry, text,
};
use super::{Result, module};
use nf_ruleset::Counter;
use serde::{Deserialize, Serialize};

/// `NFNL_SUBSYS_ACCT` (`linux/netfilter/nfnetlink.h`)
const SUBSYSTEM: u8 = 7;
/// `NFNL_MSG_ACCT_GET`; its neighbour `GET_CTRZERO` would reset what it reads.
const GET: u8 = 1;
const WHAT: &str = "reading nfacct objects";

/// A named counter.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Object {
    /// Its name.
    pub name: String,
    /// What it has counted.
    pub counter: Counter,
    /// How many rules raise it.
    pub references: u64,
}

/// All named counters of the calling thread's namespace. Fails where the kernel has none, without making it
/// load the module.
pub fn read() -> Result<Vec<Object>> {
    let why = "the kernel has no nfacct (module nfnetlink_acct not loaded)";
    module::need("nfnetlink_acct", WHAT, why, None)?;
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    retry(|| {
        let mut found = Vec::new();
        socket.dump(WHAT, Request::nfnetlink(SUBSYSTEM, GET, 0, 0), &mut |m: Message<'_>| {
            found.push(parse(nfnetlink_body(m.payload)));
        })?;
        Ok(found)
    })
}

pub(super) fn parse(bytes: &[u8]) -> Object {
    let mut o = Object::default();
    for (kind, v) in attrs(bytes) {
        let number = || be_uint(v).unwrap_or(0);
        match kind {
            1 => o.name = text(v),
            2 => o.counter.packets = number(),
            3 => o.counter.bytes = number(),
            4 => o.references = number(),
            _ => {}
        }
    }
    o
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn fuzz_nfacct() {
        let seed = Request::part()
            .attr_str(1, "ct_state_invalid_dropped_pkts")
            .attr(2, &7u64.to_be_bytes())
            .attr(3, &900u64.to_be_bytes())
            .attr(4, &1u32.to_be_bytes())
            .into_bytes();
        crate::fuzz::run("nfacct", &[seed], |bytes| {
            let _ = parse(bytes);
        });
    }

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = parse(&bytes);
        }
    }
}
