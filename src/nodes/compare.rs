//! What differs between nodes, and which of them is the odd one.

use super::state::{ANY, AT, Aspects, BACKEND, NodeState, SETTINGS, Said};
use std::collections::{BTreeMap, BTreeSet, HashMap};

/// A node that says something else than the most.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Odd {
    /// Its place among the nodes.
    pub node: usize,
    /// What it says; `None` where it has no such thing.
    pub said: Option<String>,
}

/// Something in which nodes differ.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Difference {
    /// The Service, as `shop/cart:http TCP`; empty for settings of the node.
    pub subject: String,
    /// In what: `Service`, `backend 10.244.0.5:8080`, `affinity`, `net/ipv4/ip_forward`.
    pub aspect: String,
    /// What the most say; `None` where they have no such thing.
    pub usual: Option<String>,
    /// How many say that.
    pub agree: usize,
    /// Those that say something else. Of two nodes it is the second, though nobody knows which of them is right.
    pub odd: Vec<Odd>,
    /// Nodes of which it is not known, or must differ.
    pub open: usize,
}

/// What differs between nodes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Comparison {
    /// The differences: settings first, then Services by name.
    pub differences: Vec<Difference>,
    /// For each node in how many of them it is odd.
    pub odd: Vec<usize>,
}

/// Virtual servers without a name, by `ADDRESS:PORT PROTOCOL`, and what other nodes call them.
fn names(nodes: &[NodeState]) -> HashMap<String, String> {
    let places = nodes.iter().flat_map(|n| &n.named_places);
    places
        .map(|((protocol, address, port), name)| {
            (format!("{} {protocol}", crate::proxy::endpoint_text(*address, *port)), name.clone())
        })
        .collect()
}

/// What a node says of an aspect of a subject that it has: `None` for nothing, where others have something.
fn said<'a>(aspects: &'a Aspects, aspect: &str) -> Option<&'a Said> {
    if let Some(said) = aspects.get(aspect) {
        return Some(said);
    }
    // A set, or all sysctls, that the node says nothing of.
    let any = match aspect {
        a if a.starts_with(BACKEND) => format!("{BACKEND}{ANY}"),
        a if a.starts_with(AT) || a.starts_with("table ") => return None,
        _ => ANY.to_string(),
    };
    aspects.get(&any)
}

/// Compares one aspect; `None` where nobody differs.
fn differ(subject: &str, aspect: &str, all: &[(usize, Option<&Said>)]) -> Option<Difference> {
    let mut votes: BTreeMap<Option<&str>, usize> = BTreeMap::new();
    let mut open = 0;
    for (_, said) in all {
        match said {
            Some(Said::Open) => open += 1,
            Some(Said::Value(v)) => *votes.entry(Some(v)).or_default() += 1,
            None => *votes.entry(None).or_default() += 1,
        }
    }
    if votes.len() < 2 {
        return None;
    }
    // Of as many for each, what the first node says that is there.
    let first = |v: &Option<&str>| {
        let place = all.iter().position(|(_, s)| match s {
            Some(Said::Value(x)) => *v == Some(x.as_str()),
            Some(Said::Open) => false,
            None => v.is_none(),
        });
        std::cmp::Reverse(place)
    };
    let (usual, agree) = votes.into_iter().max_by_key(|(v, n)| (*n, first(v)))?;
    let usual = usual.map(str::to_string);
    let odd = all
        .iter()
        .filter_map(|(node, said)| {
            let said = match said {
                Some(Said::Open) => return None,
                Some(Said::Value(v)) => Some(v.clone()),
                None => None,
            };
            (said != usual).then_some(Odd { node: *node, said })
        })
        .collect();
    Some(Difference { subject: subject.into(), aspect: aspect.into(), usual, agree, odd, open })
}

/// Compares nodes: with two of them one with the other, with more each with what the most say.
pub fn compare(nodes: &mut [NodeState]) -> Comparison {
    let names = names(nodes);
    nodes.iter_mut().for_each(|n| n.take_names(&names));
    let nodes = &*nodes;
    let subjects: BTreeSet<&String> = nodes.iter().flat_map(|n| n.subjects.keys()).collect();
    let mut found = Vec::new();
    for subject in subjects {
        let has: Vec<(usize, &Aspects)> =
            nodes.iter().enumerate().filter_map(|(i, n)| Some((i, n.subjects.get(subject)?))).collect();
        if has.len() < nodes.len() {
            let there = Said::Value("there".into());
            let all: Vec<(usize, Option<&Said>)> =
                (0..nodes.len()).map(|i| (i, has.iter().any(|h| h.0 == i).then_some(&there))).collect();
            found.extend(differ(subject, "Service", &all));
        }
        // Most Services are alike everywhere, to the last byte.
        if has.windows(2).all(|w| w[0].1 == w[1].1) {
            continue;
        }
        let aspects: BTreeSet<&String> = has.iter().flat_map(|h| h.1.keys()).collect();
        for aspect in aspects.into_iter().filter(|a| !a.ends_with(ANY)) {
            let of_place = aspect.split_once(" of ").map(|(_, at)| format!("{AT}{at}"));
            let all: Vec<(usize, Option<&Said>)> = has
                .iter()
                // What is not reached there says nothing of how.
                .filter(|h| of_place.as_ref().is_none_or(|at| subject == SETTINGS || h.1.contains_key(at)))
                .map(|(i, a)| (*i, said(a, aspect)))
                .collect();
            found.extend(differ(subject, aspect, &all));
        }
    }
    let mut odd = vec![0; nodes.len()];
    found.iter().flat_map(|d| &d.odd).for_each(|o| odd[o.node] += 1);
    Comparison { differences: found, odd }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::health::Health;
    use crate::lab::shop;
    use crate::observe::View;
    use crate::proxy::{Model, Service};
    use crate::snapshot::Snapshot;
    use std::sync::Arc;

    fn node(name: &str, services: Vec<Service>) -> NodeState {
        let mut snapshot = Snapshot::default();
        Arc::make_mut(&mut snapshot.node).hostname = Some(name.into());
        let model = Model::of(services);
        let written = crate::health::written(&Snapshot::default(), &model, &Default::default());
        let health = Health::judge(&written.into(), &Default::default());
        NodeState::of_view(&View { snapshot: Arc::new(snapshot), model, health, ..View::default() }, name)
    }

    fn lines(c: &Comparison) -> Vec<String> {
        let line = |d: &Difference| {
            let odd: Vec<String> =
                d.odd.iter().map(|o| format!("{}={}", o.node, o.said.as_deref().unwrap_or("-"))).collect();
            format!(
                "{} | {} | {} | {}",
                d.subject,
                d.aspect,
                d.usual.as_deref().unwrap_or("-"),
                odd.join(" ")
            )
        };
        c.differences.iter().map(line).collect()
    }

    #[test]
    fn a_node_that_is_behind_is_the_odd_one() {
        let all = shop::services(None, 4);
        let mut stale = all.clone();
        stale.retain(|s| s.label() != "shop/mail:smtp");
        for s in stale.iter_mut().filter(|s| s.label() == "shop/cart") {
            s.backends[1].address = "10.244.9.9".parse().unwrap();
        }
        let mut nodes = [node("a", all.clone()), node("b", stale), node("c", all)];
        let c = compare(&mut nodes);
        let cart = "10.244.1.27:8080";
        assert_eq!(
            lines(&c),
            [
                format!("shop/cart TCP | backend {cart} | there | 1=-"),
                "shop/cart TCP | backend 10.244.9.9:8080 | - | 1=there".to_string(),
                "shop/mail:smtp TCP | Service | there | 1=-".to_string(),
            ]
        );
        assert_eq!(c.odd, [0, 3, 0]);
    }

    #[test]
    fn nodes_that_are_alike_do_not_differ_and_unnamed_servers_are_known_by_their_address() {
        let all = shop::services(None, 4);
        let mut unnamed = all.clone();
        unnamed.iter_mut().for_each(|s| {
            s.name = None;
            s.frontends.iter_mut().for_each(|f| (f.kind, f.traffic_policy) = (None, None));
        });
        // A frontend each, as IPVS without names has them.
        let split: Vec<Service> = unnamed
            .iter()
            .flat_map(|s| {
                let each = |f: &crate::proxy::Frontend| Service { frontends: vec![f.clone()], ..s.clone() };
                s.frontends.iter().filter(|f| f.address.is_some()).map(each).collect::<Vec<_>>()
            })
            .collect();
        let mut nodes = [node("a", all.clone()), node("b", all.clone())];
        assert_eq!(compare(&mut nodes), Comparison { differences: Vec::new(), odd: vec![0, 0] });
        let mut nodes = [node("a", all.clone()), node("b", split), node("c", all)];
        let found = lines(&compare(&mut nodes));
        // Node ports at the node's own addresses are not in it, and nothing else differs.
        assert!(found.iter().all(|l| l.contains("at node port")), "{found:#?}");
    }
}
