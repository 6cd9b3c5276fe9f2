//! kube-proxy hangs: it was stopped, or a write does not end.

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::doctor::syncs::{failures, overdue};
use crate::snapshot::SourceId;
use crate::snapshot::facts::{Answer, KubeProxy, Process};

pub(super) const CHECK: Check = Check {
    id: "sync_stuck",
    about: "kube-proxy is stopped or does not answer",
    needs: &[SourceId::KubeProxy],
    looks_at: &[],
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let k = cx.kube_proxy()?;
    let silent = silent(k);
    if !silent.is_empty() {
        let (title, severity) = match &k.process {
            Process::Stopped { .. } => ("kube-proxy is stopped", Severity::Critical),
            _ => ("kube-proxy takes connections and does not answer", Severity::Critical),
        };
        let mut f = Finding::node(CHECK.id, severity, "kube-proxy", title);
        for why in silent {
            f = f.proved_by(why);
        }
        f = match &k.process {
            Process::Stopped { pid, name } => f
                .proved_by(format!(
                    "its process {pid} ({name}) is in state T: a signal or a debugger stopped it"
                ))
                .advise(format!("let it go on: kill -CONT {pid}")),
            Process::Runs { pid, name } => f
                .proved_by(format!("its process {pid} ({name}) runs"))
                .advise(format!("what it waits for: cat /proc/{pid}/wchan; its log; then restart it")),
            _ => f.advise("look at its process and log, then restart it"),
        };
        found.push(f);
        return Ok(());
    }
    if !k.answers() {
        return Err(cx.kube_proxy_silent(k));
    }
    let late = overdue(k);
    if late.is_empty() || failures(k).is_some() {
        return Ok(());
    }
    let mut f = Finding::node(
        CHECK.id,
        Severity::Critical,
        "kube-proxy",
        "kube-proxy's last write of rules does not end",
    );
    for why in late {
        f = f.proved_by(why);
    }
    if let Some(pending) = k.metrics.given().and_then(|m| m.pending).filter(|p| *p > 0) {
        f = f.proved_by(format!("{pending} changes wait to be written, and no write failed (kubeproxy_sync_proxy_rules_…_changes_pending)"));
    }
    found.push(
        f.advise("who holds the xtables lock, and which iptables or nft hangs? ps -eo pid,stat,wchan,args | grep -E 'iptables|nft|xtables'; fuser /run/xtables.lock")
            .advise("restart kube-proxy when that is gone"),
    );
    Ok(())
}

/// The ports that take a connection and say nothing.
fn silent(k: &KubeProxy) -> Vec<String> {
    let ports = [
        ("127.0.0.1:10249/metrics", matches!(k.metrics, Answer::Silent)),
        ("127.0.0.1:10256/healthz", matches!(k.health, Answer::Silent)),
    ];
    ports
        .iter()
        .filter(|p| p.1)
        .map(|p| format!("{} was connected to and did not answer within 2 s", p.0))
        .collect()
}
