//! `ip route`, of the main table or of all.

use crate::kernel::node::Route;
use crate::kernel::ways::RouteKind;
use crate::ruleset::IpNet;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, GivenRoute, Reader};
use std::sync::Arc;

pub(super) static FORM: Form = Form { words: "ip route", source: SourceId::Routes, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    let words = [" via ", " proto ", " scope ", " metric ", " table "];
    let full =
        |l: &str| l.contains(" dev ") && words.iter().any(|w| l.contains(w)) && route(l, false).is_some();
    let named = g.name.starts_with("ip") && g.name.contains("_r");
    g.any(50, |l| l.starts_with("default ") && l.contains(" dev ") || full(l))
        || named && g.any(5, |l| route(l, false).is_some())
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    // A default route without a gateway is of the family of the others.
    let first = |l: &str, c: char| l.split_whitespace().next().is_some_and(|w| w.contains(c));
    let all_v6 = f.text.lines().any(|l| first(l, ':')) && !f.text.lines().any(|l| first(l, '.'));
    let v6 = all_v6 || f.name.starts_with("ip_-6");
    // Hops of a route with several are lines of their own.
    to.unused_but(f, |l| route(l, v6).is_some() || l.trim_start().starts_with("nexthop "));
    let mut routes: Vec<GivenRoute> = f.text.lines().filter_map(|l| route(l, v6)).collect();
    for (i, hop) in hops(&f.text) {
        if let Some(r) = routes.get_mut(i).filter(|r| r.interface.is_empty()) {
            r.interface = hop;
            r.by_gateway = true;
        }
    }
    to.all_tables |= f.name.replace('-', "_").contains("table_all") || f.text.contains(" table ");
    to.take_routes(routes);
    Ok(())
}

/// The interface of each route's first hop, with the number of the route.
fn hops(text: &str) -> Vec<(usize, String)> {
    let (mut n, mut all) = (0usize, Vec::new());
    for line in text.lines().filter(|l| !l.trim().is_empty()) {
        let words: Vec<&str> = line.split_whitespace().collect();
        match words.first() {
            Some(&"nexthop") => {
                let dev = words.iter().position(|w| *w == "dev").and_then(|i| words.get(i + 1));
                all.extend(dev.filter(|_| n > 0).map(|d| (n - 1, d.to_string())));
            }
            _ => n += usize::from(route(line, false).is_some()),
        }
    }
    all
}

/// `default via 1.2.3.4 dev eth0 proto dhcp metric 100`, `unreachable 10.9.0.0/24`, `10.1.0.7 dev cali1 scope link`,
/// `local 10.0.0.1 dev eth0 table local …`
pub(super) fn route(line: &str, v6: bool) -> Option<GivenRoute> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    let kind = match *words.first()? {
        "unreachable" | "prohibit" => RouteKind::Refused,
        "blackhole" => RouteKind::Blackhole,
        "throw" => RouteKind::Throw,
        _ => RouteKind::Unicast,
    };
    let is_local = matches!(words[0], "local" | "broadcast" | "multicast" | "anycast");
    if kind != RouteKind::Unicast || is_local || words[0] == "unicast" {
        words.remove(0);
    }
    let first = *words.first()?;
    let after = |key: &str| words.iter().position(|w| *w == key).and_then(|i| words.get(i + 1).copied());
    let v6 = after("via").map_or(v6, |g| g.contains(':'));
    let net: IpNet = match first {
        "default" if v6 => "::/0".parse().ok()?,
        "default" => "0.0.0.0/0".parse().ok()?,
        net => net.parse::<IpNet>().ok().or_else(|| net.parse().ok().map(IpNet::host))?,
    };
    let is_route = kind != RouteKind::Unicast
        || after("dev").is_some()
        || first == "default"
        || after("proto").is_some();
    is_route.then(|| GivenRoute {
        net,
        kind,
        table: match after("table") {
            None | Some("main") => 254,
            Some("local") => 255,
            Some("default") => 253,
            // A name of rt_tables is one of a table that is not main.
            Some(t) => t.parse().unwrap_or(0),
        },
        metric: after("metric").and_then(|m| m.parse().ok()).unwrap_or(0),
        interface: after("dev").unwrap_or_default().to_string(),
        gateway: after("via").and_then(|g| g.trim_start_matches("inet6").parse().ok()),
        by_gateway: after("via").is_some(),
        is_local: is_local || after("table") == Some("local"),
    })
}

impl Reader {
    /// Takes routes: those by which packets leave.
    pub(super) fn take_routes(&mut self, routes: Vec<GivenRoute>) {
        let main = routes.iter().filter(|r| {
            r.table == 254
                && !r.is_local
                && r.kind == RouteKind::Unicast
                && !r.interface.is_empty()
                && r.interface != "lo"
        });
        let main =
            main.map(|r| Route { net: r.net, interface: r.interface.clone(), by_gateway: r.by_gateway });
        Arc::make_mut(&mut self.snapshot.routes).extend(main);
        self.routes.extend(routes.into_iter().filter(|r| !r.is_local));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn routes_are_read_as_ip_prints_them() {
        let text = "10.0.0.0/8 dev x scope link\nunreachable 10.9.0.0/24\n10.1.0.7 dev cali1\ndefault via 1.2.3.4 dev eth0 metric 5\nlocal 10.0.0.1 dev x table local proto kernel\n";
        let all: Vec<GivenRoute> = text.lines().filter_map(|l| route(l, false)).collect();
        let text: Vec<String> = all
            .iter()
            .map(|r| format!("{} {} {} {:?} {}", r.net, r.interface, r.by_gateway, r.kind, r.table))
            .collect();
        assert_eq!(
            text,
            [
                "10.0.0.0/8 x false Unicast 254",
                "10.9.0.0/24  false Refused 254",
                "10.1.0.7/32 cali1 false Unicast 254",
                "0.0.0.0/0 eth0 true Unicast 254",
                "10.0.0.1/32 x false Unicast 255",
            ]
        );
        assert_eq!(all[3].metric, 5);
        assert_eq!(
            hops("default proto static\n\tnexthop via 1.2.3.4 dev eth1 weight 1\n"),
            [(0, "eth1".to_string())]
        );
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([0-9a-z:@<>,/. ]{0,60}\n){0,8}") {
            let _ = (hops(&text), text.lines().filter_map(|l| route(l, true)).count());
        }
    }
}
