//! A number that is the same where nodes hold the same endpoints: metrics compare nodes by it.

use crate::proxy::{Service, TrafficPolicy};
use sha2::{Digest, Sha256};
use std::collections::BTreeSet;

/// A number below 2^48 made of the addresses and ports of a Service's endpoints, so that a `f64` keeps it whole. `services` are its
/// virtual servers in ipvs mode, else the Service alone. `None` where endpoints are not known, or where each node has its own by a
/// local policy.
pub fn endpoints_hash<'a>(services: impl Iterator<Item = &'a Service>) -> Option<u64> {
    let mut endpoints = BTreeSet::new();
    let mut may_differ = true;
    for s in services {
        if s.unknown_backends.is_some() {
            return None;
        }
        let local = |p: Option<TrafficPolicy>| p == Some(TrafficPolicy::Local);
        if !s.frontends.is_empty() && s.frontends.iter().all(|f| local(f.traffic_policy)) {
            continue;
        }
        may_differ = false;
        let shared = s
            .backends
            .iter()
            .filter(|b| b.traffic_policies.is_empty() || b.traffic_policies.contains(TrafficPolicy::Cluster));
        endpoints.extend(shared.map(|b| (b.address, b.port)));
    }
    if may_differ {
        return None;
    }
    let mut hash = Sha256::new();
    for (address, port) in endpoints {
        hash.update(crate::proxy::endpoint_text(address, port));
        hash.update(b"\n");
    }
    Some(short(hash))
}

/// 48 bits: a `f64` keeps them whole.
fn short(hash: Sha256) -> u64 {
    let digest: [u8; 32] = hash.finalize().into();
    digest[..6].iter().fold(0, |n, b| n << 8 | u64::from(*b))
}

/// A number made of all Services of a node, whatever their order.
#[derive(Clone, Copy, Debug, Default)]
pub struct ServicesHash(u64);

impl ServicesHash {
    /// Adds a Service: what names it, and the number of its endpoints.
    pub fn add(&mut self, name: &[String], endpoints: Option<u64>) {
        let mut hash = Sha256::new();
        for part in name {
            hash.update(part);
            hash.update(b"\0");
        }
        hash.update(endpoints.map_or([0xff; 8], u64::to_be_bytes));
        self.0 ^= short(hash);
    }

    /// The number.
    pub fn value(self) -> u64 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::lab::shop;

    #[test]
    fn equal_endpoints_have_equal_numbers_in_whatever_order() {
        let all = shop::services(None, 4);
        let cart = all.iter().find(|s| s.label() == "shop/cart").unwrap();
        let of = |s: &Service| endpoints_hash([s].into_iter());
        let mut turned = cart.clone();
        turned.backends.reverse();
        assert!(of(cart).is_some());
        assert_eq!(of(cart), of(&turned));
        assert_eq!(of(cart), endpoints_hash([cart, &turned].into_iter()));
        let mut other = cart.clone();
        other.backends[0].port += 1;
        assert_ne!(of(cart), of(&other));
        assert!(all.iter().filter_map(of).all(|n| n < 1 << 48));
    }

    #[test]
    fn what_each_node_has_for_itself_has_no_number() {
        let mut cart = shop::services(None, 4).into_iter().find(|s| s.label() == "shop/cart").unwrap();
        cart.frontends.iter_mut().for_each(|f| f.traffic_policy = Some(TrafficPolicy::Local));
        assert_eq!(endpoints_hash([&cart].into_iter()), None);
    }
}
