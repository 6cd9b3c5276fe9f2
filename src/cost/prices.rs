//! Prices: nanoseconds for the first packet of a flow and for later ones, for each way in which a kernel finds Services.
//!
//! A rule that does not match has no single price: it costs more once the table no longer fits the CPU's caches
//! (measured on Linux 6.18, two shared cores: 2.5 ns at 1,000 Services, 5.6 ns at 10,000 in x_tables). So each engine has a curve: at some sizes of its
//! table, what a packet costs before any rule, and what each evaluated rule adds. Between the sizes it is
//! interpolated over the logarithm of the size.

use crate::proxy::Engine;
use serde::{Deserialize, Serialize};

/// Prices at one size.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Price {
    /// Rules in all tables of the engine and family.
    pub rules: u64,
    /// First packet of a flow, before any rule, in nanoseconds.
    pub base_ns: f64,
    /// Each rule evaluated.
    pub rule_ns: f64,
}

/// Prices of one engine.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct EnginePrices {
    /// Which.
    pub engine: Engine,
    /// By size, the smallest first.
    pub curve: Vec<Price>,
    /// A later packet of a flow that was answered, in nanoseconds.
    pub later_ns: f64,
}

impl EnginePrices {
    /// Prices at a size of the tables: interpolated over its logarithm, and those of the nearest end outside.
    pub fn at(&self, rules: u64) -> Option<Price> {
        let first = self.curve.first()?;
        let last = self.curve.last()?;
        if rules <= first.rules {
            return Some(Price { rules, ..*first });
        }
        if rules >= last.rules {
            return Some(Price { rules, ..*last });
        }
        let next = self.curve.iter().position(|p| p.rules > rules)?;
        let (a, b) = (self.curve.get(next.checked_sub(1)?)?, self.curve.get(next)?);
        let ln = |n: u64| (n.max(1) as f64).ln();
        let part = (ln(rules) - ln(a.rules)) / (ln(b.rules) - ln(a.rules)).max(f64::EPSILON);
        let mix = |a: f64, b: f64| a + (b - a) * part;
        Some(Price { rules, base_ns: mix(a.base_ns, b.base_ns), rule_ns: mix(a.rule_ns, b.rule_ns) })
    }

    /// The first packet of a flow.
    pub fn first_packet_ns(&self, rules_in_tables: u64, evaluated: f64) -> Option<f64> {
        let p = self.at(rules_in_tables)?;
        Some(p.base_ns + p.rule_ns * evaluated)
    }
}

/// Where prices come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum PricesFrom {
    /// kptop's own, of another machine.
    Defaults,
    /// This node's, by `kptop calibrate`.
    Calibration,
}

impl PricesFrom {
    /// As in JSON.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// Prices of a kernel on a CPU.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Calibration {
    /// Version of this form.
    pub version: u32,
    /// Kernel that was measured.
    pub kernel: String,
    /// Its CPU.
    pub cpu: String,
    /// When, RFC 3339.
    pub measured_at: String,
    /// A packet through no rules at all: first and later ones, in nanoseconds.
    pub bare_ns: (f64, f64),
    /// Prices.
    pub engines: Vec<EnginePrices>,
    /// Those of them that were measured, where others were filled in.
    #[serde(skip)]
    pub measured: Vec<Engine>,
}

/// The present form of [`Calibration`].
pub const VERSION: u32 = 1;

impl Calibration {
    /// Prices of another machine, for nodes that were never calibrated: `kptop calibrate` on a shared virtual machine
    /// with 2 cores, kernel 6.18 (November 2026). Other figures for such a machine (this project's facts): legacy 2.5 ns a rule
    /// at 1,000 Services and 5.6 at 10,000, nft 16 ns. IPVS was not in that kernel: its prices are those of nftables mode
    /// times the ratio of both in Debian's 6.1 under an emulated CPU; a comparison, good for orders of magnitude.
    pub fn defaults() -> Calibration {
        let engine = |engine, later_ns, curve: &[(u64, f64, f64)]| EnginePrices {
            engine,
            curve: curve.iter().map(|c| Price { rules: c.0, base_ns: c.1, rule_ns: c.2 }).collect(),
            later_ns,
        };
        Calibration {
            version: VERSION,
            kernel: "6.18".into(),
            cpu: "a shared virtual machine with 2 cores".into(),
            measured_at: "2026-11-23T00:00:00Z".into(),
            bare_ns: DEFAULT_BARE,
            engines: DEFAULTS.iter().map(|(e, later, curve)| engine(*e, *later, curve)).collect(),
            measured: Vec::new(),
        }
    }

    /// Whether it was measured on this node: the same kernel and CPU.
    pub fn fits(&self, kernel: Option<&str>, cpu: Option<&str>) -> bool {
        kernel == Some(&self.kernel) && cpu == Some(&self.cpu)
    }

    /// Prices of an engine; `None` where it was not measured.
    pub fn engine(&self, engine: Engine) -> Option<&EnginePrices> {
        self.engines.iter().find(|e| e.engine == engine)
    }

    /// Engines that this one lacks, taken from another.
    pub fn filled_from(mut self, other: &Calibration) -> Calibration {
        self.measured = self.engines.iter().map(|e| e.engine).collect();
        for e in &other.engines {
            if self.engine(e.engine).is_none() {
                self.engines.push(e.clone());
            }
        }
        self
    }
}

type DefaultPrices = (Engine, f64, &'static [(u64, f64, f64)]);

const DEFAULT_BARE: (f64, f64) = (3_700.0, 3_700.0);
const DEFAULTS: [DefaultPrices; 4] = [
    (
        Engine::IptablesLegacy,
        5_600.0,
        &[
            (1_423, 8_500.0, 1.2),
            (14_023, 8_800.0, 3.6),
            (28_023, 8_800.0, 4.5),
            (70_023, 9_000.0, 5.0),
            (140_023, 9_500.0, 5.4),
        ],
    ),
    (
        Engine::IptablesNft,
        5_800.0,
        &[(1_423, 9_100.0, 20.0), (14_023, 9_300.0, 22.0), (70_023, 11_000.0, 22.5)],
    ),
    // 1.15 and 1.28 times nftables mode, by `kptop calibrate` in an emulated CPU (first and later packets).
    (Engine::Ipvs, 7_200.0, &[(23, 10_400.0, 0.0)]),
    (Engine::Nftables, 5_600.0, &[(121, 9_000.0, 0.0)]),
];

/// Prices that are used, and where they come from.
#[derive(Clone, Debug)]
pub struct Prices {
    /// The prices.
    pub calibration: Calibration,
    /// Whose.
    pub from: PricesFrom,
    /// Where they come from, in words.
    pub about: String,
}

impl Default for Prices {
    fn default() -> Prices {
        let calibration = Calibration::defaults();
        let about =
            format!("kptop's defaults, measured on {} (kernel {})", calibration.cpu, calibration.kernel);
        Prices { calibration, from: PricesFrom::Defaults, about }
    }
}

impl Prices {
    /// What was kept on this node, if it was measured with this kernel and CPU; else the defaults, with why.
    pub fn choose(kept: Option<Calibration>, kernel: Option<&str>, cpu: Option<&str>) -> Prices {
        let defaults = Prices::default();
        match kept {
            Some(c) if c.version == VERSION && c.fits(kernel, cpu) => {
                let about = format!("measured on this node ({})", c.measured_at);
                let calibration = c.filled_from(&defaults.calibration);
                Prices { calibration, from: PricesFrom::Calibration, about }
            }
            Some(c) => {
                let about = format!(
                    "{}; the calibration that is kept is of kernel {} on {}",
                    defaults.about, c.kernel, c.cpu
                );
                Prices { about, ..defaults }
            }
            None => defaults,
        }
    }

    /// Whose an engine's prices are: a kernel that lacks a mode cannot have measured it.
    pub fn source(&self, engine: Engine) -> PricesFrom {
        let measured = self.calibration.measured.is_empty() || self.calibration.measured.contains(&engine);
        if measured { self.from } else { PricesFrom::Defaults }
    }
}

/// One measured point.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Sample {
    /// Rules in the tables.
    pub rules: u64,
    /// Rules that the packet met, by the walk.
    pub evaluated: f64,
    /// Nanoseconds of its first packet.
    pub ns: f64,
}

/// The curve that fits samples best: at each size a line through its samples (least squares). Where all ways of a size
/// are equally long (maps, hashes) the price of a rule is 0 and all of it is base.
pub fn fit(samples: &[Sample]) -> Vec<Price> {
    let mut sizes: Vec<u64> = samples.iter().map(|s| s.rules).collect();
    sizes.sort_unstable();
    sizes.dedup();
    sizes
        .into_iter()
        .map(|rules| {
            let of: Vec<&Sample> = samples.iter().filter(|s| s.rules == rules).collect();
            let n = of.len() as f64;
            let mean = |f: fn(&Sample) -> f64| of.iter().map(|s| f(s)).sum::<f64>() / n;
            let (x, y) = (mean(|s| s.evaluated), mean(|s| s.ns));
            let spread: f64 = of.iter().map(|s| (s.evaluated - x).powi(2)).sum();
            let slope = match spread > 1.0 {
                true => of.iter().map(|s| (s.evaluated - x) * (s.ns - y)).sum::<f64>() / spread,
                false => 0.0,
            };
            let slope = slope.max(0.0);
            Price { rules, base_ns: (y - slope * x).max(0.0), rule_ns: slope }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn prices_between_sizes_lie_between() {
        let e = EnginePrices {
            engine: Engine::IptablesLegacy,
            curve: vec![
                Price { rules: 100, base_ns: 1000.0, rule_ns: 2.0 },
                Price { rules: 10_000, base_ns: 2000.0, rule_ns: 6.0 },
            ],
            later_ns: 500.0,
        };
        assert_eq!(e.at(10).map(|p| p.rule_ns), Some(2.0));
        assert_eq!(e.at(1_000).map(|p| (p.base_ns.round(), p.rule_ns.round())), Some((1500.0, 4.0)));
        assert_eq!(e.at(1_000_000).map(|p| p.rule_ns), Some(6.0));
        assert_eq!(e.first_packet_ns(100, 50.0), Some(1100.0));
    }

    proptest! {
        #[test]
        fn a_fit_finds_the_prices_that_made_its_samples(base in 500.0..9000.0f64, rule in 0.0..30.0f64, n in 10u64..5000) {
            let samples: Vec<Sample> = [15.0, 15.0 + n as f64 / 2.0, 15.0 + n as f64]
                .into_iter()
                .map(|evaluated| Sample { rules: 14 * n, evaluated, ns: base + rule * evaluated })
                .collect();
            let curve = fit(&samples);
            prop_assert_eq!(curve.len(), 1);
            prop_assert!((curve[0].base_ns - base).abs() < 1e-3 && (curve[0].rule_ns - rule).abs() < 1e-6);
        }
    }
}
