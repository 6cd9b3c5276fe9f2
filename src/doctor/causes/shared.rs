//! What several causes say.

use crate::doctor::context::CheckContext;
use crate::doctor::finding::{Finding, Severity, Subject};
use crate::doctor::group::{SHOWN, several};
use crate::doctor::losses::{Lost, Taken};
use crate::format::{count, plural, share_text};
use crate::proxy::{Frontend, Lack, Mode, endpoint_text, frontend_text};
use crate::reach::{ALL, Taker};
use crate::ruleset::TableBackend;

/// Services some frontend of which refuses all new flows: how much it matters depends on whether clients ask.
pub(super) fn refusing(
    cx: &CheckContext<'_>,
    lack: Lack,
    found: &mut Vec<Finding>,
    say: impl Fn(usize, Option<f64>, Finding) -> Finding,
) {
    for (i, s) in cx.model.services.lacking().filter(|(_, s)| !s.stale) {
        let frontends = lacking(cx, i, lack);
        if frontends.is_empty() {
            continue;
        }
        let rises = frontends.iter().filter_map(|(f, _)| cx.rule_rise(f.refusal?));
        let now = rises.map(|r| r.per_second()).reduce(|a, b| a + b);
        let refused = frontends.iter().filter_map(|(_, refused)| *refused).reduce(|a, b| a + b);
        // Rules of iptables mode count; that a file has no counters says nothing.
        let counts = s.engine.mode() == Mode::Iptables;
        let severity = match (now, refused, lack) {
            (Some(_), _, Lack::Endpoints) => Severity::Critical,
            // By design: balancers see it by the health check, and send elsewhere.
            (Some(_), _, Lack::LocalEndpoints) => Severity::Warning,
            (None, _, Lack::LocalEndpoints) | (None, Some(0), _) => Severity::Info,
            (None, None, _) if !counts => Severity::Info,
            (None, ..) => Severity::Warning,
        };
        let mut f = say(i, now, cx.service("", severity, i, ""));
        f.lost_rate = now;
        if refused.is_none() {
            f.evidence.push(match counts {
                true => "whether anybody asks is not known: the rules came without counters".into(),
                false => "whether anybody asks is not counted in this mode".into(),
            });
        }
        found.push(f);
    }
}

/// Frontends of a Service that refuse new flows for want of this, each with the packets that it refused.
pub(super) fn lacking<'a>(
    cx: &CheckContext<'a>,
    service: usize,
    lack: Lack,
) -> Vec<(&'a Frontend, Option<u64>)> {
    let frontends = &cx.model.services[service].frontends;
    let figures = cx.model.figures(service);
    let lacking = frontends.iter().enumerate().filter(|(_, f)| f.lack() == Some(lack));
    lacking.map(|(i, f)| (f, figures.frontend(i).refused)).collect()
}

/// `, 12 packets so far`, where they are counted.
pub(super) fn so_far(packets: Option<u64>) -> String {
    packets.map_or(String::new(), |n| format!(", {} so far", plural(n, "packet")))
}

/// A finding about what one rule, policy or lack of one takes: where it is, what it counted, and of whom.
pub(super) fn lossy(
    cx: &CheckContext<'_>,
    id: &'static str,
    severity: Severity,
    title: String,
    t: &Taken<'_>,
) -> Finding {
    let services = t.services();
    let mut f = match (&services[..], t.taker.rule()) {
        ([one], _) => cx.service(id, severity, *one, title),
        (_, Some(rule)) => cx.rule(id, severity, rule, title),
        _ => {
            let place = t.taker.place(cx.snapshot).unwrap_or_else(|| "rules".into());
            Finding::node(id, severity, &place, title)
        }
    };
    if let (Taker::Policy(table, _), true) = (t.taker, services.len() != 1) {
        f.subject = Subject::Table(*table);
    }
    if services.len() > 1 {
        f.about = several(cx.model, &services);
    }
    f.lost_share = Some(t.share());
    if let Some(place) = t.taker.place(cx.snapshot) {
        let what = match t.taker.rule() {
            Some(rule) => cx.rule_text(rule),
            None => "its policy".into(),
        };
        let packets = match t.taker.packets(cx.snapshot) {
            Some(n) => format!("{} so far", plural(n, "packet")),
            None => "it counts nothing".into(),
        };
        f = f.proved_by(format!("{place}: {what}, {packets}"));
    }
    // Whoever changed nf_tables last while kptop listened, beside kube-proxy itself.
    let is_nft = t.taker.chain(cx.snapshot).is_some_and(|(table, _)| {
        cx.snapshot.tables.get(table).is_some_and(|t| t.backend == TableBackend::NfTables)
    });
    if let (true, Some(by)) = (is_nft, cx.last_writer()) {
        f = f.proved_by(by);
    }
    let mut named: Vec<(usize, String)> = Vec::new();
    for l in &t.losses {
        if named.iter().any(|n| n.0 == l.service) {
            continue;
        }
        if named.len() == SHOWN {
            break;
        }
        named.push((l.service, loss_text(cx, l)));
    }
    for (_, text) in named {
        f = f.proved_by(text);
    }
    if services.len() > SHOWN {
        f = f.proved_by(format!("and {} more Services", services.len() - SHOWN));
    }
    f.services = services;
    f
}

/// `shop/cart:http: 50 % of new flows from pods, those to 10.42.1.8:8080`
fn loss_text(cx: &CheckContext<'_>, l: &Lost<'_>) -> String {
    let s = &cx.model.services[l.service];
    let share = match l.part.share {
        share if share > ALL => "all new flows".to_string(),
        share => format!("{} of new flows", share_text(Some(share))),
    };
    let at = |i: &usize| s.backends.get(*i).map(|b| endpoint_text(b.address, b.port));
    let to: Vec<String> = l.part.backends.iter().take(4).filter_map(at).collect();
    let those = match (l.part.backends.len(), &l.part.taker) {
        (_, Taker::Elsewhere { to, .. }) => format!(", which arrive at {}", endpoint_text(to.0, to.1)),
        (0, _) => String::new(),
        (n, _) if n == s.backends.len() && n > 1 => ", to every backend".into(),
        (n, _) => format!(", those to {}{}", to.join(", "), if n > to.len() { ", …" } else { "" }),
    };
    let by = l.loss.frontend.map(|i| format!(" to {}", frontend_text(&s.frontends[i]))).unwrap_or_default();
    format!("{}: {share} from {}{by}{those}", label(s), l.loss.sender.words())
}

/// The command that shows the whole path of what is lost.
pub(super) fn explain_hint(cx: &CheckContext<'_>, t: &Taken<'_>) -> String {
    let Some(l) = t.losses.first() else { return String::new() };
    let s = &cx.model.services[l.service];
    let to = match l.loss.frontend {
        Some(i) => frontend_text(&s.frontends[i]).replace("*:", "NODE:"),
        None => {
            let b = l.part.backends.first().and_then(|i| s.backends.get(*i));
            b.map_or_else(String::new, |b| endpoint_text(b.address, b.port))
        }
    };
    format!("see the whole path: kptop explain {to}/{} --client {}", s.protocol.lower(), l.loss.source)
}

/// A Service's name, with its family where it is not the usual one.
pub(super) fn label(s: &crate::proxy::Service) -> String {
    let family = if s.family == crate::ruleset::IpFamily::V6 { " (ipv6)" } else { "" };
    format!("{}{family}", s.label())
}

/// How to ask the API for a Service's endpoints.
pub(super) fn ask_api(s: &crate::proxy::Service) -> String {
    let (namespace, name) =
        s.name.as_ref().map_or(("NAMESPACE", "NAME"), |n| (n.namespace.as_str(), n.name.as_str()));
    format!("kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={name}")
}

/// `1 flow`, `12 flows`
pub(super) fn flows(n: u32) -> String {
    flows_n(u64::from(n))
}

pub(super) fn flows_n(n: u64) -> String {
    format!("{} flow{}", count(n), if n == 1 { "" } else { "s" })
}

/// `1 flow is`, `12 flows are`
pub(super) fn flows_are(n: u32) -> String {
    format!("{} {}", flows(n), if n == 1 { "is" } else { "are" })
}
