//! What this machine's kernel lacks and Debian's has: run by `tests/run` in the VM, where these fail, not pass, if
//! something is missing.

use crate::common::{in_new_netns, run, run_with};
use kptop::kernel::nftables::Client;
use kptop::ruleset::Family;
use kptop::snapshot::live::{Live, Wanted};

/// Where the kernel does not list its hooks kptop leaves ebtables' tables alone and says so; the reader itself is
/// asked for a table that the test made.
#[test]
#[ignore = "needs ebtable_filter: run by tests/run, in the VM"]
fn tables_of_legacy_ebtables_are_read_where_they_are_known_to_be() {
    in_new_netns(|| {
        run("ebtables-legacy", &["-N", "mine"]);
        run("ebtables-legacy", &["-A", "FORWARD", "-s", "00:11:22:33:44:55", "-j", "mine"]);
        run("ebtables-legacy", &["-A", "mine", "-p", "arp", "-j", "DROP"]);
        run("ebtables-legacy", &["-A", "mine", "-j", "CONTINUE"]);
        run("ebtables-legacy", &["-P", "OUTPUT", "DROP"]);
        let reading = kptop::kernel::xtables::BridgeReader::default().table("filter").unwrap();
        let t = &reading.table;
        let reported: Vec<String> = t
            .chains
            .iter()
            .map(|c| {
                let policy = c.base.map_or("-", |b| b.policy.name());
                let rules: Vec<String> =
                    c.rules.clone().map(|i| t.rule_text(&t.rules[i as usize]).to_string()).collect();
                format!("{} {policy}: {}", t.str(c.name), rules.join("; "))
            })
            .collect();
        assert_eq!(
            reported,
            [
                "INPUT ACCEPT: ",
                "FORWARD ACCEPT: -m ebt [revision 0, 112 bytes] -j mine",
                "OUTPUT DROP: ",
                "mine -: -m ebt [revision 0, 112 bytes] -j DROP; ",
            ]
        );
        assert_eq!(reading.counters.rules.len(), 3);
        // The source reads it where it can know of it, and says what it cannot know.
        let snapshot = Live::open(None).unwrap().snapshot(Wanted::ALL);
        let read = snapshot.tables.iter().any(|t| t.family == Family::Bridge && t.table.rules.len() == 3);
        let said = snapshot.unread.iter().any(|u| u.what == "tables of legacy ebtables");
        assert!(read != said, "{:?}", snapshot.unread);
    });
}

#[test]
#[ignore = "needs flowtables: run by tests/run, in the VM"]
fn flowtables_are_read_by_name() {
    in_new_netns(|| {
        run_with(
            "nft",
            &["-f", "-"],
            "table inet t {\n flowtable fast {\n hook ingress priority 0\n devices = { lo }\n }\n\
             chain f {\n type filter hook forward priority 0\n ip protocol tcp flow add @fast counter\n }\n}\n",
        );
        let ruleset = Client::open().unwrap().read().unwrap();
        let t = &ruleset.tables[0].table;
        assert_eq!(t.nf.as_ref().unwrap().flowtables, ["fast"]);
        assert_eq!(t.rules.len(), 1);
        let text = t.rule_text(&t.rules[0]).to_string();
        assert_eq!(text, "ip protocol tcp flow add @fast counter");
        let listed = run("nft", &["list", "chain", "inet", "t", "f"]);
        assert!(listed.contains(&format!("{text} packets 0 bytes 0")), "{listed}");
        // This kernel does not say how many elements a set has that packets fill.
        run("nft", &["add", "set", "inet", "t", "d", "{ type ipv4_addr; flags dynamic; size 9; }"]);
        let ruleset = Client::open().unwrap().read().unwrap();
        let t = &ruleset.tables[0].table;
        assert_eq!((t.element_count(), t.set(t.find_set("d").unwrap()).is_dynamic()), (None, true));
    });
}
