//! Addresses and networks.

use crate::IpFamily;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// An address with a prefix length. The address keeps the bits that the mask clears, as the kernel does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct IpNet {
    /// Network address.
    pub addr: IpAddr,
    /// Length of the prefix in bits.
    pub prefix: u8,
}

impl IpNet {
    /// The network of this one address alone.
    pub fn host(addr: IpAddr) -> IpNet {
        IpNet { addr, prefix: IpFamily::of(addr).bits() }
    }

    /// True where the network is one address.
    pub fn is_host(self) -> bool {
        self.prefix == IpFamily::of(self.addr).bits()
    }

    /// The same network by its first address.
    pub fn masked(self) -> IpNet {
        let addr = match self.addr {
            IpAddr::V4(a) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                IpAddr::V4((u32::from(a) & mask).into())
            }
            IpAddr::V6(a) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                IpAddr::V6((u128::from(a) & mask).into())
            }
        };
        IpNet { addr, prefix: self.prefix }
    }

    /// True where `addr` lies inside.
    pub fn contains(self, addr: IpAddr) -> bool {
        match (self.addr, addr) {
            (IpAddr::V4(n), IpAddr::V4(a)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.prefix.min(32))).unwrap_or(0);
                u32::from(n) & mask == u32::from(a) & mask
            }
            (IpAddr::V6(n), IpAddr::V6(a)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.prefix.min(128))).unwrap_or(0);
                u128::from(n) & mask == u128::from(a) & mask
            }
            _ => false,
        }
    }
}

impl fmt::Display for IpNet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.addr, self.prefix)
    }
}

impl std::str::FromStr for IpNet {
    type Err = String;

    /// Reads `10.0.0.0/8` or a bare address.
    fn from_str(s: &str) -> Result<IpNet, String> {
        let (addr, prefix) = match s.split_once('/') {
            Some((a, p)) => (a, Some(p)),
            None => (s, None),
        };
        let addr: IpAddr = addr.parse().map_err(|_| format!("not an IP address: {addr}"))?;
        let bits = IpFamily::of(addr).bits();
        let prefix = match prefix {
            None => bits,
            Some(p) => p
                .parse::<u8>()
                .ok()
                .filter(|&p| p <= bits)
                .ok_or_else(|| format!("not a prefix length between 0 and {bits}: {p}"))?,
        };
        Ok(IpNet { addr, prefix })
    }
}

/// The bytes of an address, in network order.
pub fn octets(addr: IpAddr) -> Vec<u8> {
    match addr {
        IpAddr::V4(a) => a.octets().to_vec(),
        IpAddr::V6(a) => a.octets().to_vec(),
    }
}

/// The address at the front of these bytes, in network order.
pub fn address(family: IpFamily, bytes: &[u8]) -> Option<IpAddr> {
    Some(match family {
        IpFamily::V4 => Ipv4Addr::from(*bytes.first_chunk::<4>()?).into(),
        IpFamily::V6 => Ipv6Addr::from(*bytes.first_chunk::<16>()?).into(),
    })
}

/// An address as a number.
pub fn address_number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(a) => u128::from(u32::from(a)),
        IpAddr::V6(a) => a.into(),
    }
}

/// Length of a mask, where it is a prefix.
pub fn mask_prefix(mask: IpAddr) -> Option<u8> {
    match mask {
        IpAddr::V4(m) => {
            let m = u32::from(m);
            (m.leading_ones() + m.trailing_zeros() >= 32).then_some(m.leading_ones() as u8)
        }
        IpAddr::V6(m) => {
            let m = u128::from(m);
            (m.leading_ones() + m.trailing_zeros() >= 128).then_some(m.leading_ones() as u8)
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_contain_their_addresses() {
        let net: IpNet = "10.244.0.0/16".parse().unwrap();
        assert!(net.contains("10.244.9.1".parse().unwrap()));
        assert!(!net.contains("10.245.0.0".parse().unwrap()));
        assert!(!net.contains("::1".parse().unwrap()));
        let all: IpNet = "0.0.0.0/0".parse().unwrap();
        assert!(all.contains("203.0.113.9".parse().unwrap()));
        let v6: IpNet = "fd00::/8".parse().unwrap();
        assert!(v6.contains("fd12::1".parse().unwrap()));
        assert!("10.0.0.0/33".parse::<IpNet>().is_err());
        assert!("10.0.0/8".parse::<IpNet>().is_err());
    }
}
