//! Backends that get more or fewer new flows than the rules' probability give them, beyond what chance does (chi-squared). Rules of
//! other programs that jump past the Service's chain, or a damaged chain, do that; session affinity does it rightly, and is left out.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::{Mode, TrafficPolicy, endpoint_text};
use crate::snapshot::SourceId;

/// Fewer flows say nothing.
const FEW: u64 = 200;

/// Standard deviations of the chi-squared distribution (by Wilson and Hilferty's approximation) beyond which chance alone
/// gets once in a billion looks.
const BEYOND_CHANCE: f64 = 6.0;

pub(super) const CHECK: Check =
    Check { id: "uneven_backends", needs: &[], looks_at: SourceId::RULES, readings: 1, run };

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, s) in cx.active_services() {
        let figures = cx.model.figures(i);
        let new = || (0..s.backends.len()).map(|b| figures.new_flows_to(b));
        // Most Services have too few: nothing else of them is looked at.
        let Some(sum) = new().sum::<Option<u64>>().filter(|sum| *sum >= FEW) else { continue };
        // Under both policies flows fall by two probability, and the rules count them together.
        let two = s.frontends.iter().any(|f| f.traffic_policy == Some(TrafficPolicy::Local))
            && s.backends.iter().any(|b| b.local_share.is_some());
        // IPVS' schedulers spread as they see fit.
        let is_ipvs = s.engine.mode() == Mode::Ipvs;
        if s.backends.len() < 2 || s.session_affinity_s.is_some() || is_ipvs || two {
            continue;
        }
        let got: Vec<u64> = new().flatten().collect();
        let expected: Vec<f64> = s.backends.iter().map(|b| b.share.unwrap_or(0.0) * sum as f64).collect();
        if expected.iter().any(|e| *e < 5.0) {
            continue;
        }
        // A sample spreads by chance so much more than all of them do.
        let variance: u64 = figures.backends().filter_map(|b| b.new_flows_variance).sum();
        let sampled = variance as f64 / sum as f64;
        let chi: f64 = got.iter().zip(&expected).map(|(g, e)| (*g as f64 - e).powi(2) / e).sum::<f64>()
            / (1.0 + sampled);
        let df = (got.len() - 1) as f64;
        let z = ((chi / df).cbrt() - (1.0 - 2.0 / (9.0 * df))) / (2.0 / (9.0 * df)).sqrt();
        if z < BEYOND_CHANCE {
            continue;
        }
        let mut order: Vec<usize> = (0..got.len()).collect();
        order.sort_by(|a, b| {
            let off = |i: usize| (got[i] as f64 - expected[i]).abs();
            off(*b).total_cmp(&off(*a))
        });
        let mut f = cx
            .service(
                "uneven_backends",
                Severity::Warning,
                i,
                "new flows are spread unevenly over backends, beyond chance",
            )
            .proved_by(format!(
                "{} new flows counted; chi-squared {chi:.0} with {df:.0} degrees of freedom",
                count(sum)
            ));
        for i in order.into_iter().take(4) {
            let b = &s.backends[i];
            f = f.proved_by(format!(
                "{}: {:.1} % of them, {:.1} % by the rules",
                endpoint_text(b.address, b.port),
                got[i] as f64 / sum as f64 * 100.0,
                b.share.unwrap_or(0.0) * 100.0
            ));
        }
        found.push(
            f.advise("look who else jumps to its KUBE-SEP- chains: pane Rules, or iptables-save -t nat | grep KUBE-SEP-")
                .advise("restart kube-proxy: it writes the Service's chain again"),
        );
    }
    Ok(())
}
