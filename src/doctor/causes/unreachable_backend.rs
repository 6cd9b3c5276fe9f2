//! Backends that do not answer while others of their Service do: flows to them stay unreplied in conntrack. The pod is dead,
//! a network policy or a host firewall drops it, or the way to its node is broken.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::proxy::{Protocol, endpoint_text};
use crate::snapshot::FlowFigures;
use crate::snapshot::SourceId;

/// Fewer unanswered flows say nothing.
const FEW: u32 = 3;

pub(super) const CHECK: Check = Check {
    id: "unreachable_backend",
    needs: &[SourceId::Flows],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    for (i, s) in cx.active_services() {
        let mut sums: Vec<FlowFigures> = vec![FlowFigures::default(); s.backends.len()];
        for (key, figures) in cx.flows_of(i) {
            let b = s.backends.iter().position(|b| b.address == key.backend && b.port == key.backend_port);
            if let Some(b) = b {
                sums[b].add(figures);
            }
        }
        let deaf = |f: &FlowFigures| f.unreplied >= FEW && f64::from(f.unreplied) >= 0.8 * f64::from(f.flows);
        let answering = sums.iter().filter(|f| f.flows > f.unreplied && !deaf(f)).count();
        let dead = sums.iter().filter(|f| deaf(f)).count();
        // Datagrams need no answer (logs, metrics): only beside others that do answer is silence a sign.
        if dead == 0 || (answering == 0 && s.protocol != Protocol::Tcp) {
            continue;
        }
        let title = match answering {
            0 => "no backend answers".to_string(),
            _ => format!(
                "{dead} of {} backends {} not answer",
                s.backends.len(),
                if dead == 1 { "does" } else { "do" }
            ),
        };
        let mut f = cx.service("unreachable_backend", Severity::Critical, i, title);
        f.lost_share = Some(if answering == 0 { 1.0 } else { dead as f64 / s.backends.len() as f64 });
        let mut example = None;
        for (b, sum) in s.backends.iter().zip(&sums).filter(|(_, f)| deaf(f)).take(8) {
            let at = endpoint_text(b.address, b.port);
            f = f.proved_by(format!(
                "{at}: {} of {} unanswered",
                sum.unreplied,
                super::shared::flows(sum.flows)
            ));
            example.get_or_insert(b);
        }
        if let Some((b, sum)) = s.backends.iter().zip(&sums).find(|(_, f)| f.flows > f.unreplied && !deaf(f))
        {
            let at = endpoint_text(b.address, b.port);
            f = f.proved_by(format!(
                "{at} answers: {} of {}",
                sum.flows - sum.unreplied,
                super::shared::flows(sum.flows)
            ));
        }
        if let Some(b) = example {
            f = f.advise(match s.protocol {
                Protocol::Tcp => format!("ask it directly: nc -vz {} {}", b.address, b.port),
                _ => format!("ask it directly: nc -vzu {} {}", b.address, b.port),
            });
            f = f.advise(format!(
                "where packets go on from here: ip route get {}; kubectl get pods -o wide | grep {}",
                b.address, b.address
            ));
        }
        found.push(f.advise("a network policy may drop it: look in pane Rules for the CNI's chains"));
    }
    Ok(())
}
