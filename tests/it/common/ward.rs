//! A lab whose node is examined: faults are made in it for real, found, healed, and not found any more.

use kptop::changes::{Change, compare};
use kptop::doctor::Examination;
use kptop::kernel::netns::Netns;
use kptop::lab::packets::Sender;
use kptop::lab::{Lab, LabOptions, Origin, Plan, inside, shop};
use kptop::observe::{Observer, View};
use kptop::proxy::{Action, Engine, Model, Names, Service};
use kptop::snapshot::live::{CountFlows, Live, Wanted};
use kptop::walk::{Ingress, Packet};
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::mpsc::channel;
use std::time::Duration;

/// The first packet of a flow: source, destination, protocol.
pub type First = ((IpAddr, u16), (IpAddr, u16), u8);

/// A node with Services, to be made ill.
pub struct Ward {
    pub lab: Lab,
    pub services: Vec<Service>,
}

/// The shop without what is ill from the beginning.
pub fn healthy_shop() -> Vec<Service> {
    let mut services = shop::services(None, 4);
    services.retain(|s| s.frontends.iter().all(|f| f.action == Action::Balance));
    services
}

impl Ward {
    /// The healthy shop in a mode; with its traffic, times `traffic`.
    pub fn new(engine: Engine, traffic: f32) -> Ward {
        Ward::with(engine, healthy_shop(), traffic)
    }

    /// These Services.
    pub fn with(engine: Engine, services: Vec<Service>, traffic: f32) -> Ward {
        // Strangers that source ranges keep out would be found.
        let asked: Vec<Service> = services
            .iter()
            .filter(|s| s.frontends.iter().all(|f| f.source_ranges.is_none()))
            .cloned()
            .collect();
        let plan = if traffic > 0.0 { shop::plan(&asked, traffic) } else { Plan::default() };
        let options = LabOptions { engine, services: services.clone(), plan };
        Ward { lab: Lab::start(&options).unwrap(), services }
    }

    /// iptables mode in x_tables, without traffic: the least.
    pub fn plain() -> Ward {
        Ward::new(Engine::IptablesLegacy, 0.0)
    }

    /// The Service of a name, in IPv4.
    pub fn service(&self, label: &str) -> &Service {
        self.services.iter().find(|s| s.label() == label).unwrap_or_else(|| panic!("no {label}"))
    }

    /// Where a Service is reached first.
    pub fn reached(&self, label: &str) -> (IpAddr, u16) {
        let f = &self.service(label).frontends[0];
        (f.address.unwrap(), f.port)
    }

    /// Puts other Services in place of what is there.
    pub fn reinstall(&self, engine: Engine, services: &[Service]) {
        if [Engine::IptablesNft, Engine::Nftables].contains(&engine) {
            self.node("nft", "flush ruleset");
        }
        self.lab.install(engine, services).unwrap();
    }

    /// Runs a helper in the node's namespace.
    pub fn node(&self, program: &'static str, args: &str) -> String {
        run_in(self.lab.node(), program, args)
    }

    /// Runs a helper in the namespace of the pods.
    pub fn pods(&self, program: &'static str, args: &str) -> String {
        run_in(self.lab.pods(), program, args)
    }

    /// Sets a sysctl of the node.
    pub fn sysctl(&self, name: &str, value: &str) {
        let (path, value) = (format!("/proc/sys/net/{name}"), value.to_string());
        inside(self.lab.node(), move || {
            std::fs::write(&path, value).unwrap_or_else(|e| panic!("{path}: {e}"));
            Ok(())
        })
        .unwrap();
    }

    /// Sends first packets of flows from a namespace: source, destination, protocol.
    pub fn send(&self, origin: Origin, packets: Vec<First>) {
        self.send_from(&self.lab.origin(origin).clone(), packets);
    }

    /// The same from any namespace.
    pub fn send_from(&self, ns: &Arc<Netns>, packets: Vec<First>) {
        inside(ns, move || {
            let sender = Sender::open()?;
            for (from, to, protocol) in packets {
                sender.send(&Packet::new(from, to, protocol, Ingress::Node))?;
            }
            Ok(())
        })
        .unwrap();
    }

    /// Two readings, and what happens between them.
    pub fn examine(&self, between: impl FnOnce(&Ward)) -> Examination {
        (*self.view(between).examination).clone()
    }

    /// The same with all that is known.
    pub fn view(&self, between: impl FnOnce(&Ward)) -> View {
        let node = self.lab.node().clone();
        let ((first, wait), (go, start)) = (channel(), channel::<()>());
        let examiner = std::thread::spawn(move || {
            node.enter().unwrap();
            let mut live = Live::enter(&node).unwrap().counting_new_flows(CountFlows::Always);
            let mut observer = Observer::new(Names::default()).at_once();
            observer.observe(live.snapshot(Wanted::ALL));
            first.send(()).unwrap();
            start.recv().unwrap();
            let view = observer.observe(live.snapshot(Wanted::ALL));
            assert!(view.snapshot.failed().next().is_none(), "{:?}", view.snapshot.unread);
            view
        });
        wait.recv().unwrap();
        between(self);
        // What was sent arrives, and readings are apart.
        std::thread::sleep(Duration::from_millis(350));
        go.send(()).unwrap();
        examiner.join().unwrap()
    }

    /// Reads, lets something happen, reads again: what changed.
    pub fn changes(&self, between: impl FnOnce(&Ward)) -> Vec<Change> {
        let node = self.lab.node().clone();
        let ((first, wait), (go, start)) = (channel(), channel::<()>());
        let reader = std::thread::spawn(move || {
            node.enter().unwrap();
            let mut live = Live::enter(&node).unwrap();
            let before = live.snapshot(Wanted::ALL);
            let mut model = Model::read(&before, &Names::default());
            let old = model.clone();
            first.send(()).unwrap();
            start.recv().unwrap();
            let now = live.snapshot(Wanted::ALL);
            model.update(&now, &Names::default());
            compare((&before, &old), (&now, &model))
        });
        wait.recv().unwrap();
        between(self);
        std::thread::sleep(Duration::from_millis(50));
        go.send(()).unwrap();
        reader.join().unwrap()
    }

    /// Nothing is wrong that is a warning or worse.
    pub fn is_healthy(&self) {
        self.is_healthy_after(|_| {});
    }

    /// Nothing is wrong that is a warning or worse, after this.
    pub fn is_healthy_after(&self, between: impl FnOnce(&Ward)) {
        let done = self.examine(between);
        assert!(!done.is_alarming(), "{}", text(&done));
    }
}

fn run_in(ns: &Arc<Netns>, program: &'static str, args: &str) -> String {
    // Words in single quotes stay together.
    let mut words = Vec::new();
    for (i, part) in args.split('\'').enumerate() {
        if i % 2 == 1 {
            words.push(part.to_string());
        } else {
            words.extend(part.split_whitespace().map(str::to_string));
        }
    }
    inside(ns, move || {
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        Ok(super::run(program, &words))
    })
    .unwrap()
}

/// The findings, for people who look at a failed test.
pub fn text(done: &Examination) -> String {
    let mut out = Vec::new();
    kptop::output::write_examination(
        done,
        (&kptop::snapshot::Snapshot::default(), &Model::default()),
        true,
        None,
        &mut out,
    )
    .unwrap();
    String::from_utf8(out).unwrap()
}

/// The first thing that is named is this, and it says what it should.
#[track_caller]
pub fn named_first(done: &Examination, id: &str, says: &str) {
    let first = done.findings.first().unwrap_or_else(|| panic!("nothing found, not even {id}"));
    let all = format!("{} {} {:?}", first.about, first.title, first.evidence);
    assert!(first.id == id && all.contains(says), "wanted {id} that says `{says}`:\n{}", text(done));
    assert!(!first.evidence.is_empty() && !first.advice.is_empty(), "{id} proves or advises nothing");
    assert!(!first.commands.is_empty(), "{id} has no commands");
}

/// This is not found.
#[track_caller]
pub fn silent(done: &Examination, id: &str) {
    assert!(!done.findings.iter().any(|f| f.id == id), "{id} is still named:\n{}", text(done));
    assert!(done.checked().any(|c| c == id), "{id} was not looked for: {:?}", done.unchecked);
}
