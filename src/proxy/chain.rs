//! Names of kube-proxy's chains of iptables (`pkg/proxy/iptables/proxier.go` of kube-proxy 1.20 to 1.36). No other
//! module spells them out but in texts for people.

use std::ops::ControlFlow;

/// Every chain of kube-proxy's, and of the kubelet's, begins like this.
pub(crate) const PREFIX: &str = "KUBE-";
/// Endpoints under the cluster policy.
pub(crate) const SVC: &str = "KUBE-SVC-";
/// Endpoints under the local policy (since 1.24).
pub(crate) const SVL: &str = "KUBE-SVL-";
/// External traffic (since 1.24).
pub(crate) const EXT: &str = "KUBE-EXT-";
/// External traffic under the local policy (until 1.23).
pub(crate) const XLB: &str = "KUBE-XLB-";
/// Source ranges of load balancers.
pub(crate) const FW: &str = "KUBE-FW-";
/// One endpoint.
pub(crate) const SEP: &str = "KUBE-SEP-";
pub(crate) const SERVICES: &str = "KUBE-SERVICES";
pub(crate) const EXTERNAL_SERVICES: &str = "KUBE-EXTERNAL-SERVICES";
pub(crate) const NODEPORTS: &str = "KUBE-NODEPORTS";
pub(crate) const POSTROUTING: &str = "KUBE-POSTROUTING";
pub(crate) const MARK_MASQ: &str = "KUBE-MARK-MASQ";
pub(crate) const MARK_DROP: &str = "KUBE-MARK-DROP";
pub(crate) const FORWARD: &str = "KUBE-FORWARD";
pub(crate) const FIREWALL: &str = "KUBE-FIREWALL";
/// Of ipvs mode: what is not let in at its addresses.
pub(crate) const IPVS_FILTER: &str = "KUBE-IPVS-FILTER";
pub(crate) const PROXY_FIREWALL: &str = "KUBE-PROXY-FIREWALL";
/// Shows that nobody flushed the table.
pub(crate) const CANARY: &str = "KUBE-PROXY-CANARY";
/// The same, of the kubelet's.
pub(crate) const KUBELET_CANARY: &str = "KUBE-KUBELET-CANARY";
/// userspace mode's (`pkg/proxy/userspace/proxier.go` of 1.20).
pub(crate) const PORTALS: &str = "KUBE-PORTALS-";
const USERSPACE_NODE_PORT: &str = "KUBE-NODEPORT";

/// Chains that belong to one Service or one endpoint.
pub(crate) const OF_ONE: [&str; 6] = [SVC, SVL, EXT, XLB, FW, SEP];

/// True for a chain of kube-proxy's, or of the kubelet's.
pub(crate) fn is_own(name: &str) -> bool {
    name.starts_with(PREFIX)
}

/// True for a chain that belongs to one Service or one endpoint.
pub(crate) fn is_of_one(name: &str) -> bool {
    OF_ONE.iter().any(|p| name.starts_with(p))
}

/// True for a chain whose rules come and go with Services.
pub(crate) fn has_services(name: &str) -> bool {
    [SERVICES, EXTERNAL_SERVICES, PROXY_FIREWALL].contains(&name)
        || is_of_one(name)
        || name.starts_with(PORTALS)
        || name.starts_with(USERSPACE_NODE_PORT)
}

/// The prefix and the hash of a chain that belongs to one Service or one endpoint: `KUBE-SVC-` and
/// `TCOU7JCQXEZGVUNU`.
pub(crate) fn hashed(name: &str) -> Option<(&'static str, &str)> {
    let found = OF_ONE.iter().try_for_each(|prefix| match name.strip_prefix(prefix) {
        Some(hash) if hash.len() == 16 => ControlFlow::Break((*prefix, hash)),
        _ => ControlFlow::Continue(()),
    });
    found.break_value()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn chains_are_told_apart() {
        assert_eq!(hashed("KUBE-SEP-TCOU7JCQXEZGVUNU"), Some((SEP, "TCOU7JCQXEZGVUNU")));
        assert_eq!((hashed("KUBE-SERVICES"), hashed("KUBE-SVC-short")), (None, None));
        assert!(
            has_services("KUBE-NODEPORT-HOST") && has_services("KUBE-NODEPORTS") && !has_services(FORWARD)
        );
    }
}
