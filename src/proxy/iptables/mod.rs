//! kube-proxy's iptables mode: rules -> Services and Services -> rules.
//!
//! Source of every chain and comment: `pkg/proxy/iptables/proxier.go` of kube-proxy 1.20 to 1.36, and the
//! rules that 1.20.2 and 1.36.2 wrote (`tests/rules`).

mod chains;
mod old;
mod read;
mod write;

pub use read::{Indexed, read};
pub use write::{WriteOptions, as_rules_tell, write};

/// Prefixes of the chains that belong to one Service or endpoint, and fixed chain names.
pub(crate) mod chain {
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
    pub(crate) const PROXY_FIREWALL: &str = "KUBE-PROXY-FIREWALL";
    pub(crate) const CANARY: &str = "KUBE-PROXY-CANARY";
}
