//! Where packets are sent to.

use crate::protocol_name;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, SocketAddr};

/// An address and a port of a transport protocol. Serialized as protocol number, address and port in a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(from = "(u8, IpAddr, u16)", into = "(u8, IpAddr, u16)")]
pub struct L4Endpoint {
    /// IP protocol number.
    pub protocol: u8,
    /// Address.
    pub address: IpAddr,
    /// Port; 0 where the protocol has none.
    pub port: u16,
}

impl L4Endpoint {
    /// Of its parts.
    pub fn new(protocol: u8, address: IpAddr, port: u16) -> L4Endpoint {
        L4Endpoint { protocol, address, port }
    }
}

impl From<(u8, IpAddr, u16)> for L4Endpoint {
    fn from((protocol, address, port): (u8, IpAddr, u16)) -> L4Endpoint {
        L4Endpoint { protocol, address, port }
    }
}

impl From<L4Endpoint> for (u8, IpAddr, u16) {
    fn from(e: L4Endpoint) -> (u8, IpAddr, u16) {
        (e.protocol, e.address, e.port)
    }
}

/// `10.96.0.10:53/udp`, `[fd00::a]:53/udp`
impl fmt::Display for L4Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/", SocketAddr::new(self.address, self.port))?;
        match protocol_name(self.protocol.into()) {
            Some(name) => f.write_str(name),
            None => write!(f, "{}", self.protocol),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_is_written_as_people_write_it() {
        let e = |a: &str, protocol| L4Endpoint::new(protocol, a.parse().unwrap(), 53);
        assert_eq!(e("10.96.0.10", 17).to_string(), "10.96.0.10:53/udp");
        assert_eq!(e("fd00::a", 251).to_string(), "[fd00::a]:53/251");
        assert_eq!(serde_json::to_string(&e("10.0.0.1", 6)).unwrap(), "[6,\"10.0.0.1\",53]");
    }
}
