//! What looks Services up in the kernel, and the version of kube-proxy that wrote it.

use super::{Mode, Variant};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// A mode with the part of the kernel that holds its rules.
#[derive(
    Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, strum::IntoStaticStr,
)]
#[serde(rename_all = "kebab-case")]
#[strum(serialize_all = "kebab-case")]
pub enum Engine {
    /// iptables mode in x_tables.
    IptablesLegacy,
    /// iptables mode in nf_tables.
    IptablesNft,
    /// IPVS.
    Ipvs,
    /// nftables mode.
    Nftables,
    /// userspace mode, whose rules are in x_tables.
    UserspaceLegacy,
    /// userspace mode, whose rules are in nf_tables.
    UserspaceNft,
    /// Cilium's eBPF maps.
    Cilium,
    /// The maps of Calico's eBPF data plane.
    CalicoEbpf,
    /// OVN-Kubernetes.
    OvnKubernetes,
    /// Host Networking Service (Windows).
    Kernelspace,
}

impl Engine {
    /// Those that kptop can write, price and compare, in the order in which they are shown.
    pub const COMPARED: [Engine; 4] =
        [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Ipvs, Engine::Nftables];

    /// Its mode.
    pub fn mode(self) -> Mode {
        match self {
            Engine::IptablesLegacy | Engine::IptablesNft => Mode::Iptables,
            Engine::Ipvs => Mode::Ipvs,
            Engine::Nftables => Mode::Nftables,
            Engine::UserspaceLegacy | Engine::UserspaceNft => Mode::Userspace,
            Engine::Cilium => Mode::Cilium,
            Engine::CalicoEbpf => Mode::Calico,
            Engine::OvnKubernetes => Mode::Ovn,
            Engine::Kernelspace => Mode::Kernelspace,
        }
    }

    /// Its variant of iptables, where it has one.
    pub fn variant(self) -> Option<Variant> {
        match self {
            Engine::IptablesLegacy | Engine::UserspaceLegacy => Some(Variant::Legacy),
            Engine::IptablesNft | Engine::UserspaceNft => Some(Variant::Nft),
            Engine::Ipvs
            | Engine::Nftables
            | Engine::Cilium
            | Engine::CalicoEbpf
            | Engine::OvnKubernetes
            | Engine::Kernelspace => None,
        }
    }

    /// iptables mode by a variant.
    pub fn iptables(variant: Variant) -> Engine {
        match variant {
            Variant::Legacy => Engine::IptablesLegacy,
            Variant::Nft => Engine::IptablesNft,
        }
    }

    /// As kptop's files name it: `iptables-legacy`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// For people: `iptables (legacy)`.
    pub fn words(self) -> &'static str {
        match self {
            Engine::IptablesLegacy => "iptables (legacy)",
            Engine::IptablesNft => "iptables (nft)",
            Engine::Ipvs => "ipvs",
            Engine::Nftables => "nftables",
            Engine::UserspaceLegacy => "userspace (legacy)",
            Engine::UserspaceNft => "userspace (nft)",
            Engine::Cilium => "Cilium",
            Engine::CalicoEbpf => "Calico (eBPF)",
            Engine::OvnKubernetes => "OVN-Kubernetes",
            Engine::Kernelspace => "kernelspace",
        }
    }
}

/// A version of kube-proxy: `1.36`. Patches change no rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct KubeProxyVersion {
    major: u16,
    minor: u16,
}

impl KubeProxyVersion {
    /// The one whose rules kptop writes unless another is asked for.
    pub const LATEST: KubeProxyVersion = KubeProxyVersion::new(1, 36);

    /// `1.24` is `new(1, 24)`.
    pub const fn new(major: u16, minor: u16) -> KubeProxyVersion {
        KubeProxyVersion { major, minor }
    }
}

impl Default for KubeProxyVersion {
    fn default() -> KubeProxyVersion {
        KubeProxyVersion::LATEST
    }
}

impl fmt::Display for KubeProxyVersion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.major, self.minor)
    }
}

impl FromStr for KubeProxyVersion {
    type Err = String;

    /// `1.36`, `v1.36.2`
    fn from_str(text: &str) -> Result<KubeProxyVersion, String> {
        let mut parts = text.trim_start_matches('v').split(['.', '-', '+']);
        let mut number = || parts.next()?.parse().ok();
        match (number(), number()) {
            (Some(major), Some(minor)) => Ok(KubeProxyVersion { major, minor }),
            _ => Err(format!("`{text}` is no version of kube-proxy: 1.36, say")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_have_an_order() {
        let v = |t: &str| t.parse::<KubeProxyVersion>().unwrap();
        assert!(
            v("1.9") < v("v1.24.3")
                && v("1.24.17+k3s1") < v("1.30")
                && v("1.36.2") == KubeProxyVersion::LATEST
        );
        assert_eq!(v("v1.33.0-rc.1").to_string(), "1.33");
        assert!("latest".parse::<KubeProxyVersion>().is_err() && "1".parse::<KubeProxyVersion>().is_err());
    }

    #[test]
    fn names_are_those_of_files() {
        assert_eq!(Engine::IptablesLegacy.name(), "iptables-legacy");
        assert_eq!(serde_json::to_string(&Engine::UserspaceNft).unwrap(), "\"userspace-nft\"");
    }
}
