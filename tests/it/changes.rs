//! What changed between two readings, made for real in a lab.

use crate::common::ward::{Ward, healthy_shop};
use kptop::changes::{Change, What};
use kptop::lab::{Origin, inside};
use kptop::proxy::{Engine, Service};
use kptop::snapshot::live::Waker;
use std::time::{Duration, Instant};

fn lines(all: &[Change]) -> Vec<String> {
    let line = |c: &Change| format!("{} {} {}: {}", c.mark(), c.what.name(), c.subject, c.text());
    all.iter().map(line).collect()
}

#[track_caller]
fn says(all: &[Change], line: &str) {
    assert!(lines(all).iter().any(|l| l == line), "no `{line}` in:\n{}", lines(all).join("\n"));
}

/// The shop after a rollout: a pod of the cart more, one less; a Service gone, one come.
fn next_shop() -> Vec<Service> {
    let mut services = healthy_shop();
    let cart = services.iter_mut().find(|s| s.label() == "shop/cart").unwrap();
    let gone = cart.backends.remove(0);
    cart.backends.push(kptop::proxy::Backend { address: "10.244.99.9".parse().unwrap(), ..gone });
    services.retain(|s| s.label() != "shop/mail:smtp");
    let mut new = services.iter().find(|s| s.label() == "shop/images:http").unwrap().clone();
    new.name = kptop::proxy::ServiceName::parse("shop/fresh:http");
    new.frontends[0].address = Some("10.96.77.7".parse().unwrap());
    services.push(new);
    services
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    /// nf_tables says who made a generation; a full sync that only draws the order again is no change.
    #[test]
    fn who_changed_nf_tables_is_said_and_order_is_no_change() {
        let ward = Ward::new(Engine::IptablesNft, 0.0);
        let all = ward.changes(|w| {
            w.node("nft", "add table inet mine");
            w.node("nft", "add chain inet mine forward '{ type filter hook forward priority 9; }'");
        });
        let table =
            all.iter().find(|c| c.subject.contains("inet mine")).unwrap_or_else(|| panic!("{all:#?}"));
        let by = table.by.as_deref().unwrap_or_default();
        assert!(by.starts_with("nft (") && table.what == What::Rules, "{table:?}");
        // The last rule of KUBE-SERVICES but one, once more in front.
        let rules = ward.node("iptables-nft", "-t nat -S KUBE-SERVICES");
        let rule = rules.lines().filter(|l| l.starts_with("-A ")).nth(3).unwrap().replace('"', "'");
        let rule = rule.strip_prefix("-A KUBE-SERVICES ").unwrap().to_string();
        let all = ward.changes(|w| {
            w.node("iptables-nft", &format!("-t nat -I KUBE-SERVICES 1 {rule}"));
            w.node("iptables-nft", "-t nat -D KUBE-SERVICES 5");
        });
        assert_eq!(lines(&all), [""; 0]);
    }

    /// Another mode writes the same Services: a few lines.
    #[test]
    fn a_switch_of_the_mode_is_a_few_lines() {
        let ward = Ward::new(Engine::IptablesNft, 0.0);
        let all = ward.changes(|w| w.reinstall(Engine::Nftables, &w.services));
        assert!(all.len() < 16, "{}", lines(&all).join("\n"));
        let moved =
            |c: &Change| c.what == What::Service && c.text() == "iptables mode (nft) -> nftables mode";
        assert!(all.iter().any(moved), "{}", lines(&all).join("\n"));
    }

    /// A change of nf_tables ends the waiting; otherwise it takes its time.
    #[test]
    fn a_change_of_nf_tables_wakes() {
        let ward = Ward::new(Engine::Nftables, 0.0);
        let node = ward.lab.node().clone();
        let (ready, wait) = std::sync::mpsc::channel();
        let sleeper = std::thread::spawn(move || {
            node.enter().unwrap();
            let mut waker = Waker::open();
            assert!(!waker.wait(Duration::from_millis(50)), "nothing changed");
            ready.send(()).unwrap();
            let began = Instant::now();
            (waker.wait(Duration::from_secs(20)), began.elapsed())
        });
        wait.recv().unwrap();
        inside(ward.lab.node(), || {
            crate::common::run("nft", &["add", "table", "inet", "mine"]);
            Ok(())
        })
        .unwrap();
        let (woken, took) = sleeper.join().unwrap();
        assert!(woken && took < Duration::from_secs(10), "{took:?}");
    }

    /// The one rule that matters is named, and many Services at once are one line.
    #[test]
    fn a_deleted_jump_is_named_and_a_wiped_table_is_one_event() {
        let ward = Ward::plain();
        let jump = "PREROUTING -m comment --comment 'kubernetes service portals' -j KUBE-SERVICES";
        let all = ward.changes(|w| drop(w.node("iptables-legacy", &format!("-t nat -D {jump}"))));
        says(
            &all,
            "- rules ip nat (x_tables) PREROUTING: was -m comment --comment \"kubernetes service portals\" -j KUBE-SERVICES",
        );
        let ward = Ward::new(Engine::Nftables, 0.0);
        let all = ward.changes(|w| drop(w.node("nft", "delete table ip kube-proxy")));
        let gone: Vec<&Change> = all.iter().filter(|c| c.what == What::Service).collect();
        assert!(gone.len() == 1 && gone[0].subject.ends_with("Services at once"), "{:#?}", lines(&all));
        assert!(all.len() < 8, "{:#?}", lines(&all));
    }

    #[test]
    fn frontends_that_refuse_and_modes_that_are_left() {
        let ward = Ward::plain();
        let to = ward.reached("shop/cart");
        let mut empty = healthy_shop();
        let cart = empty.iter_mut().find(|s| s.label() == "shop/cart").unwrap();
        cart.backends.clear();
        cart.frontends[0].action = kptop::proxy::Action::Reject;
        let all = ward.changes(|w| w.reinstall(Engine::IptablesLegacy, &empty));
        says(
            &all,
            &format!(
                "~ frontend shop/cart TCP cluster IP {}:{}: balance, policy cluster -> reject",
                to.0, to.1
            ),
        );
        let all = ward.changes(|w| w.lab.install(Engine::Nftables, &healthy_shop()).unwrap());
        says(&all, "~ mode iptables mode (legacy) ipv4: active -> stale");
        says(&all, "+ mode nftables mode ipv4: active");
    }

    #[test]
    fn rules_of_others_sysctls_and_counters() {
        let ward = Ward::plain();
        ward.node("nft", "add table inet firewalld");
        ward.node("nft", "add chain inet firewalld f '{ type filter hook forward priority 10; }'");
        ward.send(Origin::Pod, vec![(("10.244.128.5".parse().unwrap(), 999), ward.reached("shop/cart"), 6)]);
        let all = ward.changes(|w| {
            w.node("nft", "add rule inet firewalld f ip daddr 192.0.2.1 drop");
            w.node("iptables-legacy", "-P FORWARD DROP");
            w.node("iptables-legacy", "-A INPUT -s 192.0.2.9 -j DROP");
            w.node("ip", "addr add 192.0.2.50/32 dev lo");
            w.node("ip", "link set apps0 down");
            w.sysctl("ipv4/ip_forward", "0");
            w.sysctl("netfilter/nf_conntrack_acct", "1");
        });
        says(&all, "+ rules inet firewalld (nf_tables) f: ip daddr 192.0.2.1 drop");
        says(&all, "~ rules ip filter (x_tables) FORWARD: policy ACCEPT -> policy DROP");
        says(&all, "+ rules ip filter (x_tables) INPUT: -s 192.0.2.9/32 -j DROP");
        says(&all, "+ address 192.0.2.50 on lo: there");
        says(&all, "~ link apps0: up -> down");
        says(&all, "~ sysctl net.ipv4.ip_forward: 1 -> 0");
        says(&all, "~ conntrack nf_conntrack_acct: 0 -> 1");
        let all = ward.changes(|w| {
            w.node("iptables-legacy", "-t nat -Z");
        });
        assert!(all.iter().any(|c| c.what == What::Counters), "{:#?}", lines(&all));
        let all = ward.changes(|w| {
            w.node("nft", "delete table inet firewalld");
        });
        says(&all, "- rules table inet firewalld (nf_tables): was 1 rule");
    }

    #[test]
    fn services_and_backends_that_come_and_go() {
        for engine in [Engine::IptablesLegacy, Engine::IptablesNft, Engine::Nftables] {
            let ward = Ward::new(engine, 0.0);
            assert_eq!(lines(&ward.changes(|_| {})), [""; 0], "nothing happened");
            let mail = ward.reached("shop/mail:smtp");
            let gone = ward.service("shop/cart").backends[0].address;
            let all = ward.changes(|w| w.reinstall(engine, &next_shop()));
            says(&all, "+ service shop/fresh:http TCP: 10.96.77.7:80, 4 backends");
            says(&all, &format!("- service shop/mail:smtp TCP: was {}:{}, 2 backends", mail.0, mail.1));
            says(&all, "+ backend shop/cart TCP backend 10.244.99.9:8080: cluster");
            says(&all, &format!("- backend shop/cart TCP backend {gone}:8080: was cluster"));
            // And nothing else of Services.
            let kinds = [What::Service, What::Frontend, What::Backend];
            let of_services = all.iter().filter(|c| kinds.contains(&c.what)).count();
            assert_eq!(of_services, 4, "{:#?}", lines(&all));
            assert!(all.iter().any(|c| c.what == What::Rules), "{:#?}", lines(&all));
        }
    }
}
