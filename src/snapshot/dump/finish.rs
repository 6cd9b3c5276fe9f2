//! Everything that was gathered -> one snapshot.

use super::reader::{GivenRoute, KNOWN, Reader, reading, with_backend};
use crate::api::{ApiState, Cluster, read_list};
use crate::kernel::conntrack::{Limits, Stats};
use crate::kernel::counters::Counters;
use crate::kernel::ipvs;
use crate::kernel::ways::{Deaf, WayRoute, Ways};
use crate::ruleset::{Family, TableBackend};
use crate::snapshot::{Conntrack, Snapshot, SourceId, TableState, Unread, UnreadKind};
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

impl Reader {
    /// The snapshot.
    ///
    /// # Errors
    /// Objects that were named, and that are none.
    pub(super) fn finish(mut self) -> Result<Snapshot, String> {
        self.put_tables();
        self.put_ways();
        let s = &mut self.snapshot;
        s.kube_proxy = self.kube_proxy.take().map(|mut k| {
            if k.asked_at == jiff::Timestamp::default() {
                k.asked_at = s.taken_at;
            }
            Arc::new(k)
        });
        let (uncounted, unweighted) = (!self.servers_counted, !self.weights_given);
        s.ipvs = self.ipvs.take().map(|i| reading(ipvs::Ipvs { uncounted, unweighted, ..i }));
        if self.counters != Counters::default() {
            s.counters = Some(reading(std::mem::take(&mut self.counters)));
        }
        s.hns = self.hns.take().map(Arc::new);
        if !self.maps.is_empty() {
            s.maps = Some(Arc::new(std::mem::take(&mut self.maps)));
        }
        if !self.accounts.is_empty() {
            s.accounts = Some(reading(std::mem::take(&mut self.accounts)));
        }
        if !self.remembered.lists.is_empty() {
            s.remembered = Some(reading(std::mem::take(&mut self.remembered)));
        }
        if let Some(link) = s.routes.iter().find(|r| r.is_default()).map(|r| r.interface.clone()) {
            Arc::make_mut(&mut s.addresses).sort_by_key(|a| a.interface != link);
        }
        let flows = self.flows.take().or(self.ipvs_connections.take());
        if flows.is_some() || self.limits != Limits::default() || !self.cpus.is_empty() {
            let mut limits = self.limits;
            limits.count = limits.count.or(flows.as_ref().map(|f| f.total));
            if let Some(f) = &flows {
                limits.accounting = limits.accounting.or(Some(f.accounting));
            }
            s.conntrack = Some(Conntrack {
                at: Duration::ZERO,
                limits,
                stats: (!self.cpus.is_empty()).then(|| Stats::sum(&self.cpus)),
                cpus: std::mem::take(&mut self.cpus),
                flows: flows.map(reading),
            });
        }
        self.put_objects()?;
        let s = &mut self.snapshot;
        let parts = super::missing::parts(&s.tables, &self.legacy);
        s.unread.extend(parts);
        not_given(s);
        s.parts = Arc::new(self.parts);
        Ok(self.snapshot)
    }

    fn put_tables(&mut self) {
        for t in std::mem::take(&mut self.nft) {
            let (family, name) = (t.table.family, t.table.name.clone());
            if self.snapshot.table(TableBackend::NfTables, family, &name).is_some() {
                continue; // iptables-save says more of it
            }
            // iptables-nft's rules: nft prints them without comments, probabilities, DNAT targets and more.
            let of_iptables = ["nat", "filter", "mangle", "raw", "security"].contains(&name.as_str())
                && matches!(family, Family::Ip | Family::Ip6)
                && t.table.chains.iter().any(|c| t.table.str(c.name).starts_with("KUBE-"));
            if of_iptables && !self.listed.iter().any(|l| (l.table.family, &l.table.name) == (family, &name))
            {
                self.snapshot.unread.push(Unread {
                    source: SourceId::NfTables,
                    what: format!("table {} {name}", family.name()),
                    kind: UnreadKind::Failed,
                    why: "iptables-nft wrote it, and nft prints its rules without comments, probabilities and DNAT targets".into(),
                    hint: Some("add what iptables-save -c prints".into()),
                });
            }
            if !of_iptables {
                self.push(t);
            }
        }
        for t in std::mem::take(&mut self.listed) {
            let there = |b| self.snapshot.table(b, t.table.family, &t.table.name).is_some();
            if !there(TableBackend::XTables) && !there(TableBackend::NfTables) {
                // Where nft listed a ruleset, iptables is the one that writes there.
                let backend = if self.nft_given { TableBackend::NfTables } else { TableBackend::XTables };
                self.push(with_backend(t, backend));
            }
        }
        let family = |f: Family| [Family::Ip, Family::Ip6].iter().position(|x| *x == f).unwrap_or(9);
        self.snapshot.tables.sort_by(|a, b| {
            let key = |t: &TableState| (t.backend, family(t.family));
            key(a).cmp(&key(b)).then_with(|| a.table.name.cmp(&b.table.name))
        });
    }

    /// Where packets go on: known only where it is known that main is the one table that is asked, or routes of all are given.
    fn put_ways(&mut self) {
        let certain = self.all_tables || self.rules_given == Some(true);
        if self.routes.is_empty() || !certain || self.snapshot.links.is_empty() {
            return;
        }
        let index = |name: &str| self.snapshot.links.iter().find(|l| l.name == name).map_or(0, |l| l.index);
        let route = |r: &GivenRoute| WayRoute {
            net: r.net,
            kind: r.kind,
            table: r.table,
            metric: r.metric,
            interface: index(&r.interface),
            gateway: r.gateway,
        };
        let deaf = self.deaf.iter().map(|(address, link)| Deaf { address: *address, interface: index(link) });
        let ways = Ways { routes: self.routes.iter().map(route).collect(), deaf: deaf.collect(), cut: false };
        self.snapshot.ways = Some(Arc::new(ways));
    }

    fn put_objects(&mut self) -> Result<(), String> {
        if self.objects.is_empty() {
            return Ok(());
        }
        let s = &mut self.snapshot;
        let partial = self.partial_objects;
        match read_list(std::mem::take(&mut self.objects)) {
            Ok(mut listed) => {
                for why in listed.unread {
                    s.unread.push(of_objects(why));
                }
                let own = |a: &IpAddr| s.addresses.iter().any(|x| x.address == *a);
                let by_name = s.node.hostname.as_deref().map(str::to_lowercase);
                let node = listed
                    .nodes
                    .iter()
                    .position(|n| n.addresses.iter().any(own))
                    .or_else(|| listed.nodes.iter().position(|n| Some(&n.name) == by_name.as_ref()));
                let endpoints = listed.services.iter().any(|s| !s.endpoints.is_empty());
                if let Some(i) = node.filter(|_| s.node.hostname.is_none()) {
                    Arc::make_mut(&mut s.node).hostname = Some(listed.nodes[i].name.clone());
                }
                s.cluster = Some(Arc::new(Cluster {
                    state: ApiState { access: "files".into(), ..ApiState::default() },
                    complete: endpoints && !listed.services.is_empty() && !partial && !listed.partial,
                    services: listed.services,
                    node: node.map(|i| listed.nodes.swap_remove(i)),
                    removed: Vec::new(),
                }));
            }
            Err(why) if self.named => return Err(format!("{why} (was the file cut off?)")),
            Err(why) => s.unread.push(of_objects(why)),
        }
        Ok(())
    }
}

/// What files could have said, and these do not.
fn not_given(s: &mut Snapshot) {
    for (source, what, is_there, which) in [
        (SourceId::Flows, "flows", s.conntrack.as_ref().is_some_and(|c| c.flows.is_some()), "conntrack -L"),
        (SourceId::Sysctls, "sysctls", !s.sysctls.is_empty(), "sysctl -a"),
        (SourceId::Addresses, "the node's addresses", !s.addresses.is_empty(), "ip addr"),
        (
            SourceId::Api,
            "EndpointSlices",
            s.cluster.is_some(),
            "kubectl get services,endpointslices,nodes -A -o json",
        ),
    ] {
        if !is_there {
            let hint = Some(format!("add what {which} prints"));
            let why = "none of the files reports them";
            s.unread.push(Unread { hint, ..Unread::of_files(source, UnreadKind::NotGiven, what, why) });
        }
    }
    if s.tables.is_empty() && s.ipvs.is_none() {
        let (what, why) = ("rules and virtual servers", "none of the files holds any");
        s.unread.push(Unread {
            hint: Some(KNOWN.into()),
            ..Unread::of_files(SourceId::NfTables, UnreadKind::Failed, what, why)
        });
    }
}

fn of_objects(why: String) -> Unread {
    Unread::of_files(SourceId::Api, UnreadKind::Failed, "objects of the Kubernetes API", why)
}
