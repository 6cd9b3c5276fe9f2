//! Two live nodes, one of them with a stale set: `kptop diff` and `kptop fleet` name it.

use crate::common::prometheus::{Prometheus, serve};
use crate::common::recordings::Place;
use kptop::lab::{Lab, LabOptions, shop};
use kptop::proxy::{Engine, Service};
use serde_json::Value;
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

fn node(engine: Engine, services: Vec<Service>) -> (Lab, String) {
    let plan = shop::plan(&services, 0.0);
    let lab = Lab::start(&LabOptions { engine, services, plan }).unwrap();
    let path = format!("/proc/{}/fd/{}", std::process::id(), lab.node().fd().as_raw_fd());
    (lab, path)
}

#[test]
fn diff_and_fleet_name_the_stale_set() {
    for engine in [Engine::IptablesNft, Engine::Nftables] {
        let services = shop::services(None, 4);
        let mut stale = services.clone();
        stale.retain(|s| s.label() != "shop/mail:smtp");
        let cart = stale.iter_mut().find(|s| s.label() == "shop/cart").unwrap();
        // As many as before, one of them gone since: a count does not show it.
        cart.backends[1].address = "10.244.9.9".parse().unwrap();
        let (_a, good) = node(engine, services);
        let (_b, behind) = node(engine, stale);
        let place = Place::new("two-nodes");
        let token = place.file("token");
        std::fs::write(&token, "secret").unwrap();
        let token = token.to_str().unwrap();
        let (_first, a) = serve(&["--netns", &good, "--snapshot", token]);
        let (_second, b) = serve(&["--netns", &behind, "--snapshot", token]);
        // Host names are the machine's: the store distinguishes nodes by their address.
        let prometheus = Prometheus::start(&format!(
            "global: {{scrape_interval: 1s}}\nscrape_configs:\n- job_name: kptop\n  static_configs: [{{targets: ['127.0.0.1:{a}', '127.0.0.1:{b}']}}]\n"
        ));
        prometheus.wait_for("count(kptop_build_info)", 2.0, Duration::from_secs(60));
        prometheus.wait_for(
            "count(count by (instance) (kptop_service_health))",
            2.0,
            Duration::from_secs(60),
        );
        let run = |args: &[&str]| -> (i32, String, String) {
            let out = Command::new(env!("CARGO_BIN_EXE_kptop")).args(args).output().unwrap();
            let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
            (out.status.code().unwrap(), text(&out.stdout), text(&out.stderr))
        };
        let [at_a, at_b] = [a, b].map(|port| format!("http://127.0.0.1:{port}"));
        let (code, text, err) = run(&["diff", &at_a, &at_b, "--token-file", token]);
        assert_eq!(code, 1, "{engine:?} {text}{err}");
        assert!(text.contains("10.244.9.9:8080") && text.contains("shop/mail:smtp"), "{engine:?} {text}");
        let (code, text, err) = run(&["fleet", "--prometheus", &prometheus.url(), "-o", "json"]);
        assert_eq!(code, 1, "{engine:?} {text}{err}");
        let json: Value = serde_json::from_str(&text).unwrap();
        let of = |port: u16| -> Vec<String> {
            let nodes = json["nodes"].as_array().unwrap();
            let node = nodes.iter().find(|n| n["key"] == format!("127.0.0.1:{port}")).unwrap();
            let line =
                |d: &Value| format!("{} {}", d["kind"].as_str().unwrap(), d["subject"].as_str().unwrap());
            node["differs"].as_array().unwrap().iter().map(line).collect()
        };
        // Of two nobody knows which one is right: that with fewer Services is compared with the other, and that is said.
        assert_eq!(of(b), ["lacks shop/mail:smtp", "endpoints shop/cart"], "{engine:?} {text}");
        assert_eq!(of(a), Vec::<String>::new(), "{engine:?} {text}");
        assert!(text.contains("no more than half of the nodes hold the same Services"), "{engine:?} {text}");
    }
}
