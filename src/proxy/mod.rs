//! kube-proxy understood: the Services that it wrote into the kernel, per mode, and writing them again.

mod addresses;
mod behind;
pub(crate) mod chain;
mod chain_names;
mod cluster;
mod detect;
pub mod ebpf;
mod engine;
mod families;
mod figures;
mod form;
pub mod iptables;
pub mod ipvs;
mod kernelspace;
mod mode;
mod model;
mod names;
pub mod nftables;
mod ovn;
mod owners;
mod parts;
mod service;
mod services;
mod userspace;

pub use addresses::{
    any_pod, local_pod_network, node_address, node_addresses, outside_client, pod_network, pod_networks,
};
pub use behind::{Aspect, Behind, Difference, differences, differences_in, without_rules};
pub use chain_names::{ChainNames, chain_of_service};
pub use cluster::{
    Expected, UnusedBecause, UnusedEndpoint, cluster_endpoint, expected, is_local, unused_endpoints,
};
pub use detect::{Detected, Proxy, detect, ipvs_interface, is_kube_routers, two_proxies};
pub use engine::{Engine, KubeProxyVersion};
pub use families::chain_families;
pub use figures::{BackendFigures, Figures, FrontendFigures, ServiceFigures};
pub use form::{RulesForm, rules_form};
pub use mode::{Mode, Protocol, Variant};
pub use model::Model;
pub use names::{Names, ServiceName, endpoint_chain, service_hash};
pub use owners::{chain_owner, enforces_policies, owners, rule_owner};
pub use parts::{Part, memory_lists, parts};
pub use service::{
    Action, Affinity, Backend, CounterSource, Frontend, FrontendKind, Lack, NamedBy, RuleRef, RulesState,
    Service, TrafficPolicies, TrafficPolicy, UnknownBackends, endpoint_text, frontend_text, screen_label,
};
pub use services::{ModeState, Services, State};
