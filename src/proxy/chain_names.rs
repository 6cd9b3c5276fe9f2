//! Which Service, and which backend, a chain of iptables mode belongs to: its own name is a hash.

use super::{RuleRef, Service, chain, endpoint_text};
use crate::snapshot::Snapshot;
use std::collections::HashMap;

/// The names of the chain that holds a rule, beside its hash: for a few rules of one Service, without a table of all chains.
pub fn chain_of_service(snapshot: &Snapshot, service: &Service, rule: RuleRef) -> Option<String> {
    let table = &snapshot.tables.get(rule.table)?.table;
    let within = table.chain_of(rule.rule)?;
    let is_there = |r: &RuleRef| r.table == rule.table && table.chain_of(r.rule) == Some(within);
    let hash = chain::hashed(table.str(table.chains.get(within.0 as usize)?.name))?;
    if service.chain_hash.as_deref() == Some(hash.1) {
        return Some(service.label());
    }
    let b = service.backends.iter().find(|b| b.rule.as_ref().is_some_and(is_there))?;
    Some(endpoint_text(b.address, b.port))
}

/// Chains of one Service or one endpoint, by table and chain.
#[derive(Clone, Debug, Default)]
pub struct ChainNames {
    all: HashMap<(usize, u32), (u32, Option<u32>), foldhash::fast::FixedState>,
}

impl ChainNames {
    /// Finds them in a reading.
    pub fn of(snapshot: &Snapshot, services: &[Service]) -> ChainNames {
        let mut by_hash: HashMap<&str, u32, foldhash::fast::FixedState> = HashMap::default();
        let mut all: HashMap<(usize, u32), (u32, Option<u32>), foldhash::fast::FixedState> =
            HashMap::default();
        for (i, s) in (0..).zip(services) {
            if let Some(hash) = &s.chain_hash {
                by_hash.insert(hash, i);
            }
            for (n, b) in (0..).zip(&s.backends) {
                let Some(rule) = b.rule else { continue };
                let within = snapshot.tables.get(rule.table).and_then(|t| t.table.chain_of(rule.rule));
                if let Some(c) = within {
                    all.insert((rule.table, c.0), (i, Some(n)));
                }
            }
        }
        if by_hash.is_empty() {
            return ChainNames::default();
        }
        for (i, t) in snapshot.tables.iter().enumerate() {
            for (c, chain) in (0..).zip(&t.table.chains) {
                let Some((prefix, hash)) = chain::hashed(t.table.str(chain.name)) else { continue };
                if let Some(service) = by_hash.get(hash).filter(|_| prefix != chain::SEP) {
                    all.insert((i, c), (*service, None));
                }
            }
        }
        ChainNames { all }
    }

    /// `shop/cart:http`, or `shop/cart:http → 10.244.0.3:8080`.
    pub fn words(&self, services: &[Service], table: usize, chain: u32) -> Option<String> {
        let (service, backend) = self.all.get(&(table, chain))?;
        let s = services.get(*service as usize)?;
        let b = backend.and_then(|b| s.backends.get(b as usize));
        Some(match b {
            Some(b) => format!("{} → {}", s.label(), endpoint_text(b.address, b.port)),
            None => s.label(),
        })
    }
}
