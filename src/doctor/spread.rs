//! Whether new flows fall on the backends as the rules say (chi-squared).

use crate::format::{count, plural};
use crate::proxy::{Mode, Service, ServiceFigures, TrafficPolicy};

/// Fewer flows say nothing.
const FEW: u64 = 200;

/// Standard deviations of the chi-squared distribution (by Wilson and Hilferty's approximation) beyond which chance alone
/// gets once in a billion looks.
const BEYOND_CHANCE: f64 = 6.0;

/// The same, where chance alone gets once in some 700 looks.
const ODD: f64 = 3.0;

/// What can be said of the spread of a Service's new flows.
#[derive(Clone, Debug, PartialEq)]
pub enum Spread {
    /// Nothing is, and why.
    NotJudged(&'static str),
    /// So many flows are too few.
    Few(u64),
    /// It was compared with what the rules say.
    Judged {
        /// New flows to each backend, in their order.
        got: Vec<u64>,
        /// New flows that each should have.
        expected: Vec<f64>,
        /// Chi-squared.
        chi: f64,
        /// How far that is from its mean, in standard deviations.
        z: f64,
    },
}

impl Spread {
    /// Judges the new flows that were counted so far.
    pub fn of(s: &Service, figures: ServiceFigures<'_>) -> Spread {
        use Spread::NotJudged;
        let new = || (0..s.backends.len()).map(|b| figures.new_flows_to(b));
        let Some(sum) = new().sum::<Option<u64>>() else { return NotJudged("nothing counts its new flows") };
        // Under both policies flows fall by two probabilities, and the rules count them together.
        let two = s.frontends.iter().any(|f| f.traffic_policy == Some(TrafficPolicy::Local))
            && s.backends.iter().any(|b| b.local_share.is_some());
        match () {
            () if s.backends.is_empty() => return NotJudged("it has no backends"),
            () if s.backends.len() < 2 => return NotJudged("it has one backend"),
            () if sum < FEW => return Spread::Few(sum),
            () if s.session_affinity.is_some() => return NotJudged("clients stay with their backend"),
            () if s.engine.mode() == Mode::Ipvs => return NotJudged("the scheduler spreads as it sees fit"),
            () if two => return NotJudged("two traffic policies share its backends"),
            () => {}
        }
        let got: Vec<u64> = new().flatten().collect();
        let expected: Vec<f64> = s.backends.iter().map(|b| b.share.unwrap_or(0.0) * sum as f64).collect();
        if expected.iter().any(|e| *e < 5.0) {
            return NotJudged("some backends should get nearly none");
        }
        // A sample spreads by chance so much more than all of them do.
        let variance: u64 = figures.backends().filter_map(|b| b.new_flows_variance).sum();
        let sampled = variance as f64 / sum as f64;
        let chi: f64 = got.iter().zip(&expected).map(|(g, e)| (*g as f64 - e).powi(2) / e).sum::<f64>()
            / (1.0 + sampled);
        let df = (got.len() - 1) as f64;
        let z = ((chi / df).cbrt() - (1.0 - 2.0 / (9.0 * df))) / (2.0 / (9.0 * df)).sqrt();
        Spread::Judged { got, expected, chi, z }
    }

    /// True where chance alone does not make it.
    pub fn is_uneven(&self) -> bool {
        matches!(self, Spread::Judged { z, .. } if *z >= BEYOND_CHANCE)
    }

    /// The verdict: `even within chance, 2,756 flows`.
    pub fn words(&self) -> String {
        match self {
            Spread::NotJudged(why) => format!("spread not judged: {why}"),
            Spread::Few(n) => {
                format!("spread not judged: that takes {FEW} new flows, {} were counted", count(*n))
            }
            Spread::Judged { got, z, .. } => {
                let flows = plural(got.iter().sum(), "flow");
                match z {
                    z if *z >= BEYOND_CHANCE => format!("uneven beyond chance, {flows}"),
                    z if *z >= ODD => {
                        format!("more uneven than chance mostly is, {flows}: more of them will tell")
                    }
                    _ => format!("even within chance, {flows}"),
                }
            }
        }
    }

    /// What was counted, for people who check it.
    pub fn evidence(&self) -> Option<String> {
        let Spread::Judged { got, chi, .. } = self else { return None };
        let (sum, df) = (got.iter().sum(), got.len() - 1);
        Some(format!("{} new flows counted; chi-squared {chi:.0} with {df} degrees of freedom", count(sum)))
    }
}
