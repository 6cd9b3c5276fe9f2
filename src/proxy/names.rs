//! Names of Services, and the hashes of them that kube-proxy uses as chain names.

use super::Protocol;
use sha2::{Digest, Sha256};
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;

/// Name of a Service port.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ServiceName {
    /// Namespace.
    pub namespace: String,
    /// Service.
    pub name: String,
    /// Port; empty where the Service has one port without a name.
    pub port: String,
}

impl fmt::Display for ServiceName {
    /// As kube-proxy's `ServicePortName.String()`: `namespace/name:port`, without `:` where there is no port name.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.namespace, self.name)?;
        if self.port.is_empty() { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

impl ServiceName {
    /// Reads `namespace/name` or `namespace/name:port`.
    pub fn parse(text: &str) -> Option<ServiceName> {
        let (namespace, rest) = text.split_once('/')?;
        let (name, port) = rest.split_once(':').unwrap_or((rest, ""));
        let ok =
            |s: &str| !s.is_empty() && s.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.".contains(&b));
        (ok(namespace) && ok(name) && (port.is_empty() || ok(port))).then(|| ServiceName {
            namespace: namespace.into(),
            name: name.into(),
            port: port.into(),
        })
    }
}

/// The first 16 characters of the base32 of a SHA-256, as `portProtoHash` and `servicePortEndpointChainName`
/// make them (`pkg/proxy/iptables/proxier.go`, kube-proxy 1.20 to 1.36).
pub(super) fn hash16(text: &str) -> String {
    const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let digest = Sha256::digest(text.as_bytes());
    let mut out = String::with_capacity(16);
    let (mut bits, mut held) = (0u32, 0);
    for byte in &digest[..10] {
        bits = bits << 8 | u32::from(*byte);
        held += 8;
        while held >= 5 {
            held -= 5;
            out.push(char::from(ALPHABET[(bits >> held) as usize & 31]));
        }
        bits &= (1 << held) - 1;
    }
    out
}

/// The hash in the chain names of a Service port (`KUBE-SVC-…` and its kin).
pub fn service_hash(name: &ServiceName, protocol: Protocol) -> String {
    hash16(&format!("{name}{}", protocol.lower()))
}

/// Name of an endpoint's chain: `KUBE-SEP-…`. `endpoint` is `10.244.0.3:8080` or `[fd00::3]:8080`.
pub fn endpoint_chain(name: &ServiceName, protocol: Protocol, endpoint: &str) -> String {
    format!("KUBE-SEP-{}", hash16(&format!("{name}{}{endpoint}", protocol.lower())))
}

/// Names of Services, by what the kernel holds of them: by hash for rules whose comments were left off, and, where objects say it,
/// by address for virtual servers.
#[derive(Clone, Debug, Default)]
pub struct Names {
    pub(super) by_hash: Map<String, ServiceName>,
    pub(super) by_address: Map<(IpAddr, Protocol, u16), ServiceName>,
    pub(super) by_node_port: Map<(Protocol, u16), ServiceName>,
}

type Map<K, V> = HashMap<K, V, foldhash::fast::FixedState>;

impl Names {
    /// Adds a name, for every protocol.
    pub fn add(&mut self, name: &ServiceName) {
        for protocol in [Protocol::Tcp, Protocol::Udp, Protocol::Sctp] {
            self.by_hash.insert(service_hash(name, protocol), name.clone());
        }
    }

    /// The name behind a hash.
    pub fn get(&self, hash: &str) -> Option<&ServiceName> {
        self.by_hash.get(hash)
    }

    /// Reads a list: one `namespace/name[:port]` a line, `#` begins a comment. The error names the line.
    pub fn parse(text: &str) -> Result<Names, String> {
        let mut names = Names::default();
        for (i, line) in text.lines().enumerate() {
            let line = line.split('#').next().unwrap_or("").trim();
            if line.is_empty() {
                continue;
            }
            let name = ServiceName::parse(line).ok_or_else(|| {
                format!("line {}: `{line}` is not namespace/name or namespace/name:port", i + 1)
            })?;
            names.add(&name);
        }
        Ok(names)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_kube_proxys() {
        // From the captured set 1.36.2/iptables-legacy.
        let dns = ServiceName::parse("kube-system/kube-dns:dns").unwrap();
        assert_eq!(service_hash(&dns, Protocol::Udp), "TCOU7JCQXEZGVUNU");
        assert_eq!(endpoint_chain(&dns, Protocol::Udp, "10.244.0.2:53"), "KUBE-SEP-YIL6JZP7A3QYXJU2");
        let cart = ServiceName::parse("shop/cart").unwrap();
        assert_eq!(cart.port, "");
        assert_eq!(service_hash(&cart, Protocol::Tcp), "N5W5PH5NLY2BP4HG");
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "[a-z/:.# \n-]{0,80}") {
            if let Some(name) = ServiceName::parse(&text) {
                let back = name.to_string();
                proptest::prop_assert_eq!(back.as_str(), text.trim_end_matches(':'));
            }
            let _ = Names::parse(&text);
        }
    }

    #[test]
    fn a_wrong_line_is_named() {
        assert!(Names::parse("a/b:c # x\n\n# y\nshop/cart\n").unwrap().get("N5W5PH5NLY2BP4HG").is_some());
        assert!(Names::parse("a/b\nno name\n").unwrap_err().contains("line 2"));
        for bad in ["", "/", "a/", "a/b:c:d", "a b/c", "a/b has no endpoints"] {
            assert_eq!(ServiceName::parse(bad), None, "{bad}");
        }
    }
}
