//! kube-proxy's rules are here, and kube-proxy is not: they stay as they are while the cluster changes.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::duration;
use crate::proxy::{Proxy, detect};
use crate::snapshot::SourceId;
use crate::snapshot::facts::{Answer, Process};
use std::time::Duration;

pub(super) const CHECK: Check = Check {
    id: "kube_proxy_down",
    about: "kube-proxy does not run",
    needs: &[SourceId::KubeProxy],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let k = cx.kube_proxy()?;
    let refused = matches!(k.metrics, Answer::Refused) && matches!(k.health, Answer::Refused);
    if !refused {
        return Ok(());
    }
    // Others need no kube-proxy.
    let its = detect(cx.snapshot, cx.model).into_iter().any(|d| d.serves && d.proxy == Proxy::KubeProxy);
    if cx.model.services.modes.is_empty() || !its {
        return Err(NotChecked::new(
            None,
            "no mode of kube-proxy holds a Service here, and nobody answers for it",
        ));
    }
    let process = match &k.process {
        Process::Runs { pid, name } | Process::Stopped { pid, name } => {
            return Err(NotChecked::new(
                SourceId::KubeProxy,
                format!(
                    "process {pid} ({name}) runs, and nobody listens on 127.0.0.1:10249 and 10256: it may be bound elsewhere"
                ),
            ));
        }
        Process::Gone => "no process of its name runs on this node",
        Process::Hidden | Process::NotLookedFor => "the node's processes are not visible from here",
    };
    let answered =
        k.answered_at.map(|at| Duration::try_from(k.asked_at.duration_since(at)).unwrap_or_default());
    // Rules in another namespace may have been put there by hand.
    let severity = match (answered, k.in_first_netns) {
        (Some(_), _) => Severity::Critical,
        (None, true) => Severity::Warning,
        (None, false) => Severity::Info,
    };
    let mut f =
        Finding::node(CHECK.id, severity, "kube-proxy", "its rules are here, and kube-proxy does not run")
            .proved_by("nobody listens on 127.0.0.1:10249 and 127.0.0.1:10256")
            .proved_by(process);
    if let Some(ago) = answered {
        f = f.proved_by(format!("it answered last {} ago", duration(ago)));
    }
    found.push(
        f.advise("what became of it: kubectl -n kube-system get pods -o wide | grep kube-proxy; crictl ps -a --name kube-proxy")
            .advise("its rules go on working, but endpoints that went still get traffic: start it again, or drain the node"),
    );
    Ok(())
}
