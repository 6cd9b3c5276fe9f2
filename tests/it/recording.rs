//! Recordings replay to what was live, cut ones to their end, old ones for good.

use crate::common::recordings::{Place, json, replays_as_it_was};
use kptop::proxy::{Engine, Names};
use kptop::recording::{FileWriter, Head, MAGIC, Recording, Ring, VERSION};
use kptop::replay::{Player, Travel};
use kptop::snapshot::{SourceId, Unread, UnreadKind};
use proptest::prelude::*;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

fn sample() -> (PathBuf, String) {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/recordings");
    let json = std::fs::read_to_string(dir.join("1.json")).unwrap();
    (dir.join("1.rec"), json)
}

/// `tests/recordings/1.rec` was made by kptop 0.1.0 and is never made again: what it holds must stay readable. Its JSON
/// gains fields where the contract does; nothing that is there may become something else.
#[test]
fn a_recording_of_the_first_version_is_read_for_good() {
    let (file, wanted) = sample();
    let mut recording = Recording::open(&file).unwrap();
    assert_eq!((recording.len(), recording.cut(), recording.session(3)), (5, None, 0));
    let is: serde_json::Value = serde_json::from_str(&json(recording.snapshot(4).unwrap())).unwrap();
    let was: serde_json::Value = serde_json::from_str(&wanted).unwrap();
    same_or_more("", &was, &is);
}

fn same_or_more(at: &str, was: &serde_json::Value, is: &serde_json::Value) {
    use serde_json::Value;
    match (was, is) {
        (Value::Object(a), Value::Object(b)) => {
            for (k, v) in a {
                same_or_more(&format!("{at}.{k}"), v, b.get(k).unwrap_or_else(|| panic!("{at}.{k} is gone")));
            }
        }
        (Value::Array(a), Value::Array(b)) => {
            assert_eq!(a.len(), b.len(), "{at}");
            for (i, (a, b)) in a.iter().zip(b).enumerate() {
                same_or_more(&format!("{at}[{i}]"), a, b);
            }
        }
        _ => assert_eq!(was, is, "{at}"),
    }
}

/// Cut at each of its bytes, a recording replays up to there and says what is missing.
#[test]
fn a_recording_cut_anywhere_replays_to_its_end() {
    let (file, _) = sample();
    let whole = std::fs::read(file).unwrap();
    let place = Place::new("cut");
    let file = place.file("cut.rec");
    let (mut seen, mut last) = (0, 0);
    for n in 0..whole.len() {
        std::fs::write(&file, &whole[..n]).unwrap();
        match Recording::open(&file) {
            Ok(mut recording) => {
                // At a block's end nothing is known to be missing.
                let end = recording.end();
                match recording.cut() {
                    Some(cut) => {
                        assert!(
                            cut.at == end && cut.length == n as u64 && !cut.what.is_empty(),
                            "{n}: {cut}"
                        );
                    }
                    None => assert_eq!(end, n as u64),
                }
                // Reading is slow: where there is a new one, and now and then.
                if recording.len() != seen || n % 977 == 0 {
                    seen = recording.len();
                    assert!(seen >= last, "{n}");
                    last = seen;
                    recording.snapshot(seen - 1).unwrap();
                }
            }
            Err(why) => {
                assert_eq!(seen, 0, "{n}: {why}");
                let known = ["is empty", "no whole reading"];
                assert!(known.iter().any(|k| why.contains(k)), "{n}: {why}");
            }
        }
    }
    assert_eq!(seen, 4, "all but the last, which lacks a byte");
}

fn altered(whole: &[u8], changes: &[(usize, u8)]) -> Vec<u8> {
    let mut bytes = whole.to_vec();
    for (at, with) in changes {
        let at = at % bytes.len();
        bytes[at] ^= with;
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    /// Altered anywhere it is refused or read: checksums see the difference, nothing panics.
    #[test]
    fn an_altered_recording_is_survived(changes in proptest::collection::vec((any::<usize>(), 1u8..), 1..4), head in any::<bool>()) {
        let (file, _) = sample();
        let whole = std::fs::read(file).unwrap();
        // Half of the changes where lengths and versions are.
        let changes: Vec<(usize, u8)> =
            changes.into_iter().map(|(at, with)| (if head { at % 200 } else { at }, with)).collect();
        let place = Place::new("altered");
        let file = place.file("altered.rec");
        std::fs::write(&file, altered(&whole, &changes)).unwrap();
        if let Ok(mut recording) = Recording::open(&file) {
            for i in 0..recording.len() {
                if let Ok(snapshot) = recording.snapshot(i) {
                    json(snapshot);
                }
            }
        }
    }
}

#[test]
fn other_files_are_refused_with_what_they_are() {
    let place = Place::new("other");
    let file = place.file("x");
    let refused = |bytes: &[u8]| {
        std::fs::write(&file, bytes).unwrap();
        Recording::open(&file).unwrap_err()
    };
    assert!(refused(b"").contains("empty"));
    assert!(refused(b"# Generated by iptables-save").contains("no recording"));
    let (sample, _) = sample();
    let mut newer = std::fs::read(sample).unwrap();
    newer[MAGIC.len()..MAGIC.len() + 2].copy_from_slice(&(VERSION + 1).to_le_bytes());
    let why = refused(&newer);
    assert!(why.contains("version 2") && why.contains("newer kptop"), "{why}");
}

#[test]
fn recordings_one_behind_the_other_are_one() {
    let place = Place::new("joined");
    let file = place.file("a.rec");
    let (sample, _) = sample();
    let bytes = std::fs::read(sample).unwrap();
    std::fs::write(&file, [&bytes[..], &bytes[..bytes.len() - 3]].concat()).unwrap();
    let mut recording = Recording::open(&file).unwrap();
    assert_eq!((recording.len(), recording.session(4), recording.session(5)), (9, 0, 1));
    assert_eq!(json(recording.snapshot(1).unwrap()), json(recording.snapshot(6).unwrap()));
    // A file that was cut off is gone on with at its last whole block.
    let end = recording.end();
    let snapshot = recording.snapshot(0).unwrap();
    let mut writer = FileWriter::append(&file, &Head::default(), end).unwrap();
    writer.write(&snapshot).unwrap();
    drop(writer);
    let recording = Recording::open(&file).unwrap();
    assert_eq!((recording.len(), recording.session(9), recording.cut()), (10, 2, None));
}

#[test]
fn the_last_minutes_stay_within_their_memory() {
    let (sample, _) = sample();
    let mut recording = Recording::open(&sample).unwrap();
    let base = recording.snapshot(0).unwrap();
    let most = 200 * 1024;
    let mut ring = Ring::new(Head::default(), most, Duration::from_secs(600));
    let mut written = 0;
    for i in 0..2000u32 {
        let mut s = base.clone();
        s.taken_at = base.taken_at + jiff::SignedDuration::from_secs(i64::from(i));
        // Something new each time, and now and then a table that is another one.
        let text = blake(i);
        s.unread.push(Unread::of_files(SourceId::Other, UnreadKind::Missing, text, ""));
        if i % 50 == 0 {
            let mut table = (*s.tables[0].table).clone();
            table.name = format!("t{i}");
            s.tables[0].table = Arc::new(table);
        }
        let before = ring.bytes();
        ring.push(&s).unwrap();
        written += ring.bytes().saturating_sub(before);
        assert!(ring.bytes() < most * 2, "reading {i}: {} bytes", ring.bytes());
    }
    assert!(written > most * 2, "only {written} bytes were written: nothing was put to the test");
    let mut kept = ring.recording();
    assert!(kept.len() > 50 && kept.len() <= 601 + 121, "{}", kept.len());
    for i in 0..kept.len() {
        kept.snapshot(i).unwrap();
    }
    let place = Place::new("ring");
    let file = place.file("saved.rec");
    ring.save(&mut std::fs::File::create(&file).unwrap()).unwrap();
    let mut saved = Recording::open(&file).unwrap();
    assert_eq!((saved.len(), saved.cut()), (kept.len(), None));
    assert_eq!(json(saved.snapshot(7).unwrap()), json(kept.snapshot(7).unwrap()));
}

/// Text that does not compress.
fn blake(seed: u32) -> String {
    let mut random = kptop::kernel::fuzz::Random::new(u64::from(seed).wrapping_mul(0x9e37_79b9_7f4a_7c15));
    (0..1000).map(|_| char::from(33 + random.below(94) as u8)).collect()
}

#[test]
fn time_travel_leads_where_it_should() {
    let (sample, _) = sample();
    let open = || Recording::open(&sample).unwrap();
    let mut player = Player::new(open(), 0, false, Names::default(), Arc::default()).unwrap();
    let index = |p: &Player| p.moment().index;
    player.travel(Travel::Step(1)).unwrap();
    player.travel(Travel::Step(1)).unwrap();
    assert_eq!(index(&player), 2);
    assert!(!player.moment().jumped);
    player.travel(Travel::Step(-1)).unwrap();
    assert_eq!(index(&player), 1);
    assert!(player.moment().jumped);
    // Rates are there though it was jumped to: the reading before was understood, too.
    assert!(player.view().rates.iter().any(|r| r.flows.is_ok()));
    assert!(player.travel(Travel::Seconds(-3600)).unwrap().is_none());
    assert_eq!(index(&player), 0);
    assert!(player.travel(Travel::Step(-1)).unwrap().unwrap().contains("first"));
    player.travel(Travel::Newest).unwrap();
    assert_eq!(index(&player), 4);
    assert!(player.is_at_end());
    let at = open().time(2);
    player.travel(Travel::To(at)).unwrap();
    assert_eq!(index(&player), 2);
    let reported = player.travel(Travel::To(at + jiff::SignedDuration::from_hours(1))).unwrap();
    assert!(reported.unwrap().contains("ended before"));
    // Playing at the end begins again; the last reading stops it.
    player.travel(Travel::Speed(64.0)).unwrap();
    player.travel(Travel::Play(true)).unwrap();
    assert_eq!((index(&player), player.moment().speed), (0, Some(64.0)));
    for _ in 0..6 {
        player.tick().unwrap();
    }
    assert_eq!((index(&player), player.moment().speed), (4, None));
}

/// Without names and addresses it is the same story: as many Services, backends and refusals, the same findings, the same ways.
#[test]
fn a_redacted_recording_tells_the_same_without_names() {
    use kptop::observe::Observer;
    use kptop::recording::Redactor;
    use kptop::snapshot::dump;
    for (version, mode) in [
        ("1.20.2", "iptables-legacy"),
        ("1.30.5", "nftables"),
        ("1.36.2", "iptables-nft"),
        ("1.36.2", "nftables"),
        ("1.36.2", "ipvs-nft"),
    ] {
        let what = format!("{version}/{mode}");
        let plain = dump::read(&[crate::common::set(version, mode)]).unwrap();
        let mut hidden = plain.clone();
        let redactor = Redactor::with_key([3; 32]);
        redactor.redact(&mut hidden);
        // Twice the same, and the same objects.
        let mut again = plain.clone();
        redactor.redact(&mut again);
        assert!(
            hidden.tables.iter().zip(&again.tables).all(|(a, b)| Arc::ptr_eq(&a.table, &b.table)),
            "{what}"
        );
        let text = json(hidden.clone());
        for word in [
            "\"shop\"",
            "\"frontend\"",
            "\"ingress-nginx\"",
            "node-a",
            "192.168.50.10",
            "10.96.0.10",
            "10.244.0.3",
        ] {
            assert!(
                json(plain.clone()).contains(word) || word == "node-a" || version == "1.20.2",
                "{what}: {word} was never there"
            );
            assert!(!text.contains(word), "{what}: {word} is still in its JSON");
        }
        // Nor does it are in what is written.
        let mut ring = Ring::new(Head::default(), usize::MAX, Duration::MAX);
        ring.push(&hidden).unwrap();
        let back = ring.recording().snapshot(0).unwrap();
        let rules: String = back
            .tables
            .iter()
            .flat_map(|t| t.table.rules.iter().map(|r| t.table.rule_text(r).to_string()))
            .collect();
        assert!(!rules.contains("shop/") && !rules.contains("10.244.0.3"), "{what}");
        let [a, b] = [plain, back].map(|s| Observer::new(Names::default()).observe(s));
        assert_eq!(a.model.services.len(), b.model.services.len(), "{what}");
        let story = |v: &kptop::observe::View| {
            let mut all: Vec<_> = v
                .model
                .iter()
                .map(|(s, figures)| {
                    let hits: u64 = figures.frontends().filter_map(|f| f.hits).sum();
                    (
                        s.backends.len(),
                        s.frontends.len(),
                        s.rules_state(),
                        s.protocol,
                        s.family,
                        s.name.is_some(),
                        hits,
                    )
                })
                .collect();
            all.sort_by_key(|s| format!("{s:?}"));
            all
        };
        assert_eq!(story(&a), story(&b), "{what}");
        let found = |v: &kptop::observe::View| {
            let mut ids: Vec<_> = v.examination.findings.iter().map(|f| f.id).collect();
            ids.sort_unstable();
            ids
        };
        assert_eq!(found(&a), found(&b), "{what}");
        // The pod that represents all pods may be another: a few ways are a rule or two shorter.
        let ways = [&a, &b].map(|v| v.lookups.iter().map(|l| l.map(|l| (l.min, l.max))).collect::<Vec<_>>());
        let mut rest = ways[1].clone();
        let mut unlike = 0;
        for w in &ways[0] {
            match rest.iter().position(|r| r == w) {
                Some(i) => drop(rest.swap_remove(i)),
                None => unlike += 1,
            }
        }
        assert!(unlike <= 4, "{what}: {unlike} of {} ways are others", ways[0].len());
    }
}

/// On a real kernel, in network namespaces made for it.
mod kernel {
    use super::*;

    #[test]
    fn iptables_legacy_replays_as_it_was() {
        replays_as_it_was(Engine::IptablesLegacy);
    }

    #[test]
    fn iptables_nft_replays_as_it_was() {
        replays_as_it_was(Engine::IptablesNft);
    }

    #[test]
    fn nftables_replays_as_it_was() {
        replays_as_it_was(Engine::Nftables);
    }
}
