//! Rates of all Services.

use super::no_rate::{NoRate, Rate};
use crate::proxy::Services;

/// Rates of one backend.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BackendRates {
    /// New flows a second.
    pub flows: Rate,
    /// Packets a second, both ways.
    pub packets: Rate,
    /// Bytes a second, both ways.
    pub bytes: Rate,
}

/// Rates of one Service: sums over its backends.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct ServiceRates {
    /// New flows a second.
    pub flows: Rate,
    /// Packets a second, both ways.
    pub packets: Rate,
    /// Bytes a second, both ways.
    pub bytes: Rate,
    /// Packets a second that its frontends rejected or dropped.
    pub refused: Rate,
}

/// A rate in 8 bytes: what is not a number is a reason.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed(f64);

/// The reasons, by the number that represents each in a [`Packed`] one.
pub(super) const REASONS: [NoRate; 5] = [
    NoRate::FirstSample,
    NoRate::CounterReset,
    NoRate::AccountingOff,
    NoRate::NotCounted,
    NoRate::FlowsEnded,
];

impl Packed {
    pub(super) fn new(rate: Rate) -> Packed {
        Packed(match rate {
            Ok(n) => n,
            Err(why) => {
                let reason = REASONS.iter().position(|r| *r == why).unwrap_or(0);
                f64::from_bits(f64::NAN.to_bits() | reason as u64)
            }
        })
    }

    pub(super) fn rate(self) -> Rate {
        match self.0.is_nan() {
            false => Ok(self.0),
            true => Err(REASONS.get((self.0.to_bits() & 7) as usize).copied().unwrap_or(NoRate::FirstSample)),
        }
    }
}

/// Rates of one reading, flat beside the structure.
#[derive(Clone, Debug, Default)]
pub struct Rates {
    pub(super) services: Vec<ServiceRates>,
    /// Of every backend: new flows, packets, bytes.
    pub(super) backends: Vec<[Packed; 3]>,
}

impl Rates {
    /// Of a Service, by its place.
    pub fn get(&self, service: usize) -> Option<&ServiceRates> {
        self.services.get(service)
    }

    /// Of every Service.
    pub fn iter(&self) -> std::slice::Iter<'_, ServiceRates> {
        self.services.iter()
    }

    /// Of a backend, by the places of its Service and its own.
    pub fn backend(&self, services: &Services, service: usize, backend: usize) -> Option<BackendRates> {
        let [flows, packets, bytes] =
            self.backends.get(services.backends_of(service).start + backend)?.map(Packed::rate);
        Some(BackendRates { flows, packets, bytes })
    }
}
