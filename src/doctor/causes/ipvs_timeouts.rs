//! IPVS forgets idle connections before TCP's keepalive asks whether they live: 900 against 7,200 seconds by default. The next
//! packet of such a connection is lost (`ipvsadm -l --timeout`; kube-proxy: `--ipvs-tcp-timeout`).

use crate::doctor::context::{Check, CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::count;
use crate::proxy::Mode;
use crate::snapshot::SourceId;

pub(super) const CHECK: Check = Check {
    id: "ipvs_timeouts",
    about: "IPVS forgets idle connections too early",
    needs: &[SourceId::Ipvs],
    looks_at: SourceId::RULES,
    readings: 1,
    run,
};

fn run(cx: &CheckContext<'_>, found: &mut Vec<Finding>) -> Result<(), NotChecked> {
    let (true, Some(ipvs)) = (cx.active(Mode::Ipvs), &cx.snapshot.ipvs) else { return Ok(()) };
    let t = ipvs.value.timeouts;
    if (t.tcp, t.udp) == (0, 0) {
        return Err(NotChecked::new(SourceId::Ipvs, "the timeouts of IPVS are not known"));
    }
    cx.need(SourceId::Sysctls)?;
    let keepalive = cx.sysctl_number("net/ipv4/tcp_keepalive_time").unwrap_or(7200);
    let mut f = Finding::node(
        "ipvs_timeouts",
        Severity::Info,
        "IPVS",
        "idle connections are forgotten before keepalive asks for them",
    );
    if i64::from(t.tcp) < keepalive {
        f = f
            .proved_by(format!("TCP: forgotten after {} s idle, first keepalive after {} s", count(u64::from(t.tcp)), count(keepalive as u64)))
            .advise("clients that hold idle connections: keepalive below that time; or kube-proxy --ipvs-tcp-timeout");
    }
    let udp = cx.sysctl_number("net/netfilter/nf_conntrack_udp_timeout_stream").unwrap_or(120);
    if i64::from(t.udp) < udp {
        f = f
            .proved_by(format!(
                "UDP: forgotten after {} s, conntrack keeps it {udp} s: the two disagree on the backend then",
                t.udp
            ))
            .advise("kube-proxy --ipvs-udp-timeout at nf_conntrack_udp_timeout_stream or above");
    }
    if !f.evidence.is_empty() {
        found.push(f);
    }
    Ok(())
}
