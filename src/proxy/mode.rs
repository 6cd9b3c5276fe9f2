//! Modes of kube-proxy, and protocols of Services.

/// A mode of kube-proxy.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Mode {
    /// Rules of iptables.
    Iptables,
    /// Virtual servers of IPVS.
    Ipvs,
    /// Rules of nftables.
    Nftables,
    /// A proxy in the kube-proxy process, as before 1.26.
    Userspace,
    /// None of kube-proxy's: Cilium's eBPF maps.
    Cilium,
    /// None of kube-proxy's: the maps of Calico's eBPF data plane.
    Calico,
    /// None of kube-proxy's: OVN-Kubernetes, whose endpoints are in Open vSwitch.
    Ovn,
    /// Load balancers of the Host Networking Service, on Windows nodes.
    Kernelspace,
}

impl Mode {
    /// As kube-proxy's `--proxy-mode` names it.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// True where no rule leads to Services: they are in eBPF maps, or in another kernel.
    pub fn keeps_no_rules(self) -> bool {
        matches!(self, Mode::Cilium | Mode::Calico | Mode::Kernelspace)
    }
}

/// Variant of iptables: which part of the kernel holds the rules.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Variant {
    /// x_tables.
    Legacy,
    /// nf_tables, written by iptables-nft.
    Nft,
}

impl Variant {
    /// `legacy` or `nft`.
    pub fn name(self) -> &'static str {
        self.into()
    }
}

/// A transport protocol that Services know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, strum::IntoStaticStr)]
#[strum(serialize_all = "SCREAMING_SNAKE_CASE")]
pub enum Protocol {
    /// TCP.
    Tcp,
    /// UDP.
    Udp,
    /// SCTP.
    Sctp,
    /// Whatever has a firewall mark (IPVS): the mark says nothing of the protocol.
    Any,
}

impl Protocol {
    /// From the IP protocol number.
    pub fn from_number(number: u16) -> Option<Protocol> {
        match number {
            6 => Some(Protocol::Tcp),
            17 => Some(Protocol::Udp),
            132 => Some(Protocol::Sctp),
            _ => None,
        }
    }

    /// IP protocol number.
    pub fn number(self) -> u8 {
        match self {
            Protocol::Tcp => 6,
            Protocol::Udp => 17,
            Protocol::Sctp => 132,
            Protocol::Any => 0,
        }
    }

    /// In Kubernetes' spelling: `TCP`.
    pub fn name(self) -> &'static str {
        self.into()
    }

    /// As in rules and chain hashes: `tcp`.
    pub fn lower(self) -> &'static str {
        match self {
            Protocol::Tcp => "tcp",
            Protocol::Udp => "udp",
            Protocol::Sctp => "sctp",
            Protocol::Any => "any",
        }
    }
}
