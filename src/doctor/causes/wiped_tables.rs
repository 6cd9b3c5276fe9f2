//! Tables of kube-proxy's that were flushed or deleted as a whole, or that are not there where they must be: what a doctor that
//! starts afterwards finds by what is left.

use crate::doctor::Subject;
use crate::doctor::context::{CheckContext, NotChecked};
use crate::doctor::finding::{Finding, Severity};
use crate::format::{count, duration, plural};
use crate::proxy::{Mode, ModeState, State, Variant, chain as names, endpoint_text, nftables, without_rules};
use crate::ruleset::{ChainId, Family, IpFamily, Table, TableBackend};
use crate::snapshot::SourceId;
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

/// How rules come back. Real kube-proxy 1.25 to 1.36 was watched for 65 to 84 s after each kind of wipe.
const RESTART: &str = "restart kube-proxy on this node: it writes all rules again";
/// It looks at mangle's canary first (`pkg/util/iptables/iptables.go`, `Monitor`): nat or filter alone stay empty.
const IPTABLES_STAYS: &str =
    "by itself kube-proxy does not repair this: it sees a flush only where its canary in mangle is gone, too";
/// Before 1.32 it wrote the table again within its sync period.
const NFTABLES_STAYS: &str = "by itself kube-proxy 1.32 and later writes the table again only after the next change of a Service or endpoint";
/// Where the node's services log that they loaded rules.
const WHO: &str = "who wiped it: journalctl -u firewalld -u nftables -u ufw";

/// Pairs of frontend and backend that other programs (container engines' published ports) do not have so many of.
const MANY_PAIRS: usize = 8;

/// With what repairs it, and what does not.
fn restart(f: Finding, stays: &str) -> Finding {
    f.advise(WHO).advise(RESTART).advise(stays)
}

/// What became of kube-proxy's chains in a table of iptables.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Left {
    /// They have rules, or something leads to them: other checks look closer.
    Rules,
    /// `iptables -F`: they are there, and all are empty.
    EmptyChains,
    /// `iptables -F; iptables -X`, or never written.
    Nothing,
}

fn left(t: &Table, chains: &[&str]) -> Left {
    let there: Vec<_> = chains.iter().filter_map(|c| t.chain(c)).collect();
    let leads = |c| t.rules.iter().any(|r| t.jump_of(r) == Some(c));
    match there.iter().any(|c| t.rules_of(*c).count() > 0 || leads(*c)) {
        true => Left::Rules,
        false if there.is_empty() => Left::Nothing,
        false => Left::EmptyChains,
    }
}

/// Tables of iptables whose chains of kube-proxy are empty, or gone with their canary while another table has it
/// (`kube-proxy --cleanup` leaves all of them). Gives the names of those tables.
pub(super) fn iptables(
    cx: &CheckContext<'_>,
    backend: TableBackend,
    family: IpFamily,
    found: &mut Vec<Finding>,
) -> Vec<&'static str> {
    // Chains that another mode left behind are no fault.
    let of_others = |m: &ModeState| {
        let variant = match backend {
            TableBackend::XTables => Variant::Legacy,
            TableBackend::NfTables => Variant::Nft,
        };
        m.state == State::Active
            && m.family == family
            && m.engine.mode() != Mode::Ipvs
            && m.engine.variant() != Some(variant)
    };
    if cx.model.services.modes.iter().any(of_others) {
        return Vec::new();
    }
    let table = |name: &str| cx.snapshot.table(backend, family.into(), name);
    let canaries: Vec<&str> = ["mangle", "nat", "filter"]
        .into_iter()
        .filter(|n| table(n).is_some_and(|i| cx.snapshot.tables[i].table.chain(names::CANARY).is_some()))
        .collect();
    let by_ipvs = cx.active_services().any(|(_, s)| s.family == family && s.engine.mode() == Mode::Ipvs);
    let translated = match by_ipvs {
        true => "nothing is masqueraded: answers go astray",
        false => "no Service's packets are translated",
    };
    let tables = [
        ("nat", &[names::SERVICES, names::POSTROUTING][..], translated),
        (
            "filter",
            &[names::FORWARD][..],
            "nothing rejects, source ranges let all pass, and a FORWARD policy of DROP takes packets to backends",
        ),
    ];
    let mut flushed = Vec::new();
    for (name, chains, means) in tables {
        let Some(i) = table(name) else { continue };
        let evidence = match left(&cx.snapshot.tables[i].table, chains) {
            Left::EmptyChains => {
                format!("{} of {name} have no rule, and nothing leads there", chains.join(" and "))
            }
            Left::Nothing if !canaries.is_empty() && !canaries.contains(&name) => format!(
                "{name} has no chain {}, and {} is in {}",
                chains[0],
                names::CANARY,
                canaries.join(" and ")
            ),
            _ => continue,
        };
        let title = format!("kube-proxy's rules in {name} were flushed: {means}");
        let about = format!("{} {name}", Family::from(family));
        let mut f = Finding::node("wiped", Severity::Critical, &about, title);
        f.subject = Subject::Table(i);
        found.push(restart(f.proved_by(evidence), IPTABLES_STAYS));
        flushed.push(name);
    }
    flushed
}

/// nftables mode, where no mode of IPv4 is active: its table is gone beside that of IPv6. kube-proxy makes both wherever the kernel has both families
/// (`pkg/proxy/nftables`, since 1.29); a kernel may lack IPv6, and none lacks IPv4.
pub(super) fn nftables_table(cx: &CheckContext<'_>, found: &mut Vec<Finding>) {
    let table = |f: IpFamily| cx.snapshot.table(TableBackend::NfTables, f.into(), nftables::TABLE);
    // Of a file with one table nothing is known of others.
    if cx.snapshot.generation.is_none() || table(IpFamily::V4).is_some() {
        return;
    }
    let Some(i) = table(IpFamily::V6) else { return };
    let mut f = Finding::node(
        "wiped",
        Severity::Critical,
        &format!("{} {}", Family::Ip, nftables::TABLE),
        "the table `ip kube-proxy` is gone: no IPv4 Service is reached",
    );
    f.subject = Subject::Table(i);
    let f = f.proved_by("the table `ip6 kube-proxy` is there, and kube-proxy makes both");
    found.push(restart(f, NFTABLES_STAYS));
}

/// Of a family without an active mode: one that held Services while kptop looked on, and holds none now.
pub(super) fn gone(
    cx: &CheckContext<'_>,
    family: IpFamily,
    found: &mut Vec<Finding>,
) -> Result<(), NotChecked> {
    let Some(had) = cx.facts.had.iter().find(|h| h.mode.family == family) else { return Ok(()) };
    let was = &had.mode;
    let stays = if was.engine.mode() == Mode::Nftables { NFTABLES_STAYS } else { IPTABLES_STAYS };
    let f = Finding::node(
        "wiped",
        Severity::Critical,
        &format!("{} mode {family}", was.engine.mode().name()),
        "kube-proxy's rules are gone: no Service is reached",
    );
    let f = f.proved_by(format!(
        "{} Services in {} rules at {}, none now",
        count(was.services as u64),
        count(was.rules as u64),
        had.at.strftime("%H:%M:%S UTC")
    ));
    found.push(restart(f, stays));
    Ok(())
}

/// The same: flows that were translated before all was wiped.
pub(super) fn flows(
    cx: &CheckContext<'_>,
    family: IpFamily,
    found: &mut Vec<Finding>,
) -> Result<(), NotChecked> {
    let Some(flows) = cx.flows_read() else { return Ok(()) };
    let mut backends: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    let mut held = 0u64;
    let mut pairs = 0;
    for (key, figures) in flows.groups.iter().filter(|(k, _)| IpFamily::of(k.frontend) == family) {
        pairs += 1;
        held += u64::from(figures.flows);
        let to = backends.entry(endpoint_text(key.frontend, key.frontend_port)).or_default();
        to.insert(endpoint_text(key.backend, key.backend_port));
    }
    if pairs < MANY_PAIRS {
        return Ok(());
    }
    // Published ports lead to one container each.
    let balanced = backends.values().filter(|b| b.len() > 1).count();
    let severity = if balanced > 0 { Severity::Critical } else { Severity::Warning };
    let shown: Vec<&str> = backends.keys().take(4).map(String::as_str).collect();
    let title = "no mode of kube-proxy holds a Service, yet flows were translated a moment ago";
    let mut f = Finding::node("wiped", severity, &format!("rules {family}"), title).proved_by(format!(
        "conntrack holds {} translated flows, to {} and others",
        count(held),
        shown.join(", ")
    ));
    if balanced > 0 {
        f = f.proved_by(format!(
            "flows of {} go to more backends than one",
            plural(balanced as u64, "address")
        ));
    }
    found.push(
        f.advise("were all rules wiped (nft flush ruleset, iptables -F)? journalctl -u firewalld -u nftables -u ufw")
            .advise(RESTART),
    );
    Ok(())
}

/// The same: the API has Services with ready endpoints, and this node has no rule for any of them. `Err` where another program may serve
/// them by other means.
pub(super) fn api(
    cx: &CheckContext<'_>,
    family: IpFamily,
    found: &mut Vec<Finding>,
) -> Result<(), NotChecked> {
    // A machine that is no node of the cluster has no rules to have.
    let known = cx.snapshot.cluster.as_ref().filter(|c| c.complete && c.node.is_some());
    let Some(cluster) = known.filter(|_| has_all_rules(cx, family)) else {
        return Ok(());
    };
    let missing: Vec<String> = without_rules(cluster, family).iter().map(ToString::to_string).collect();
    if missing.is_empty() {
        return Ok(());
    }
    if let Some(link) = cx.snapshot.links.iter().find(|l| l.name.starts_with("cilium")) {
        let why = format!("{} is here: Cilium may serve Services in eBPF, without rules", link.name);
        return Err(NotChecked::new(None, why));
    }
    let title = format!("no rule of kube-proxy is here, and {}", has_endpoints(missing.len() as u64));
    found.push(
        Finding::node("wiped", Severity::Critical, &format!("rules {family}"), title)
            .proved_by(format!(
                "ready in EndpointSlices, and no rule here: {}",
                missing[..missing.len().min(6)].join(", ")
            ))
            .advise("does kube-proxy run on this node? kubectl -n kube-system get pods -o wide | grep kube-proxy")
            .advise(RESTART)
            .advise("does another program (Cilium, Calico's eBPF mode) serve Services here? then this is no fault"),
    );
    Ok(())
}

/// kube-proxy runs and wrote its rules, and there is none, nor one of its chains.
pub(super) fn kube_proxy(cx: &CheckContext<'_>, found: &mut Vec<Finding>) {
    let Some(k) = cx.snapshot.kube_proxy.as_ref() else { return };
    let Some(written) = k.synced_at().filter(|_| has_all_rules(cx, IpFamily::V4)) else { return };
    let is_own = |t: &Table| {
        t.name == nftables::TABLE
            || (0..t.chains.len() as u32).any(|c| t.chain_name(ChainId(c)).starts_with(names::PREFIX))
    };
    // Who cannot read all rules finds none.
    if !cx.model.services.modes.is_empty()
        || cx.snapshot.failed().any(|u| SourceId::RULES.contains(&u.source))
        || cx.snapshot.tables.iter().any(|t| is_own(&t.table))
    {
        return;
    }
    let ago = Duration::try_from(k.asked_at.duration_since(written)).unwrap_or_default();
    let mode = k.mode.as_deref().unwrap_or("its");
    let stays = if mode == Mode::Nftables.name() { NFTABLES_STAYS } else { IPTABLES_STAYS };
    let f = Finding::node(
        "wiped",
        Severity::Critical,
        "rules",
        "kube-proxy runs here, and none of its rules are: no Service is reached",
    );
    let f = f.proved_by(format!(
        "it answers on 127.0.0.1:10249 and says that it wrote the rules of {mode} mode {} ago",
        duration(ago)
    ));
    found.push(restart(f, stays));
}

/// True for a kernel that was read, and for files that hold the nat table of a family. Of others nothing is known of what they
/// leave out.
fn has_all_rules(cx: &CheckContext<'_>, family: IpFamily) -> bool {
    let nat = |b| cx.snapshot.table(b, family.into(), "nat").is_some();
    cx.snapshot.netns.inode.is_some() || nat(TableBackend::XTables) || nat(TableBackend::NfTables)
}

fn has_endpoints(n: u64) -> String {
    if n == 1 {
        "1 Service port has ready endpoints".into()
    } else {
        format!("{} Service ports have ready endpoints", count(n))
    }
}
