//! The manual describes what is there, and nothing else.

use crate::common::{run, run_with};
use kptop::output::METRICS;
use kptop::snapshot::facts::READS;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

const KPTOP: &str = env!("CARGO_BIN_EXE_kptop");

fn page(name: &str) -> String {
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Targets of links: `[words](target)`.
fn links(text: &str) -> Vec<String> {
    text.split("](").skip(1).filter_map(|r| Some(r.split(')').next()?.to_string())).collect()
}

fn kptop(args: &[&str]) -> String {
    let out = Command::new(KPTOP).args(args).output().unwrap();
    assert!(out.status.success(), "kptop {args:?}: {}", String::from_utf8_lossy(&out.stderr));
    String::from_utf8(out.stdout).unwrap()
}

/// Subcommands that `--help` lists.
fn subcommands() -> Vec<String> {
    let help = kptop(&["--help"]);
    let list = help.split("Commands:\n").nth(1).unwrap().split("\n\n").next().unwrap();
    let names = list
        .lines()
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next());
    names.filter(|n| *n != "help").map(str::to_string).collect()
}

#[test]
fn every_page_is_in_the_summary_and_every_link_leads_somewhere() {
    let docs = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs");
    let listed: BTreeSet<String> = links(&page("SUMMARY.md")).into_iter().collect();
    let mut there = BTreeSet::new();
    for entry in std::fs::read_dir(&docs).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name.ends_with(".md") && name != "SUMMARY.md" {
            there.insert(name);
        }
    }
    assert_eq!(listed, there);
    let root = docs.parent().unwrap();
    let mut pages: Vec<(String, String, &Path)> =
        there.iter().map(|n| (n.clone(), page(n), docs.as_path())).collect();
    pages.push(("README.md".into(), std::fs::read_to_string(root.join("README.md")).unwrap(), root));
    for (name, text, from) in pages {
        for link in links(&text).into_iter().filter(|l| !l.starts_with("http")) {
            let file = link.split('#').next().unwrap();
            assert!(from.join(file).exists(), "{name} leads to {link}, which is not there");
        }
    }
}

/// The table of figures in the README is the one that the benchmarks wrote, and no figure of theirs stands elsewhere.
#[test]
fn the_readme_has_the_table_of_the_benchmarks() {
    let readme = Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md");
    let table = |text: &str| -> String {
        let (_, rest) = text.split_once("<!-- benchmarks: written by cargo bench -->").expect("its begin");
        rest.split_once("<!-- /benchmarks -->").expect("its end").0.to_string()
    };
    let (readme, manual) = (std::fs::read_to_string(readme).unwrap(), page("benchmarks.md"));
    assert_eq!(table(&readme), table(&manual), "run cargo bench: it writes both");
    let rows = table(&manual).lines().filter(|l| l.starts_with("| ")).count();
    assert!(rows > 20, "{rows} lines: a part of the benchmarks was never run");
}

#[test]
fn every_subcommand_stands_in_the_manual_and_has_a_page() {
    let text = page("subcommands.md");
    let all = subcommands();
    assert!(all.len() > 15, "{all:?}");
    for c in &all {
        assert!(text.contains(&format!("`{c}")), "docs/subcommands.md does not report {c}");
        assert!(!kptop(&[c, "--help"]).is_empty());
    }
    let place = crate::common::recordings::Place::new("man");
    kptop(&["man", place.0.to_str().unwrap()]);
    for c in all {
        assert!(place.file(&format!("kptop-{c}.1")).exists(), "no man page for {c}");
    }
    for shell in ["bash", "zsh", "fish"] {
        assert!(kptop(&["completions", shell]).contains("replay"));
    }
}

#[test]
fn requests_and_metrics_are_told() {
    let text = page("permissions.md");
    for r in READS {
        // The family is reported once: `IPVS_CMD_GET_SERVICE`, `GET_DEST`.
        let short = ["NFT_MSG_", "IPVS_CMD_", "NET_DM_CMD_"]
            .iter()
            .find_map(|p| r.name.strip_prefix(p))
            .unwrap_or(r.name);
        assert!(
            text.contains(r.name) || text.contains(&format!("`{short}`")),
            "docs/permissions.md does not name {}",
            r.name
        );
    }
    let list = kptop(&["serve", "--list"]);
    for m in METRICS {
        assert!(list.contains(&m.full_name()) && list.contains(m.help), "{}", m.name);
    }
    // Metrics that pages name are there.
    let served: BTreeSet<String> = METRICS.iter().map(|m| m.full_name()).collect();
    let text = page("metrics.md");
    for name in
        text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').filter(|w| w.starts_with("kptop_"))
    {
        assert!(served.contains(name), "docs/metrics.md names {name}");
    }
}

/// What is handed out beside the program is well-formed: manifests, the unit, scripts.
#[test]
fn assets_are_well_formed() {
    let check = "import sys, yaml\nfor f in sys.argv[1:]:\n    docs = [d for d in yaml.safe_load_all(open(f)) if d]\n    assert docs, f\n    for d in docs:\n        assert 'kind' in d or 'groups' in d, f\n        if d.get('kind') == 'DaemonSet':\n            pod = d['spec']['template']['spec']\n            c = pod['containers'][0]['securityContext']\n            assert pod['hostNetwork'] and c['readOnlyRootFilesystem'] and not c['allowPrivilegeEscalation']\n            assert c['capabilities'] == {'drop': ['ALL'], 'add': ['NET_ADMIN']}, c\n        if d.get('kind') == 'ClusterRole':\n            assert all(r['verbs'] == ['list', 'watch'] for r in d['rules'])\n        if d.get('kind') == 'Kustomization':\n            import os\n            assert all(os.path.exists(os.path.join(os.path.dirname(f), r)) for r in d['resources'])\n";
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets");
    let mut args = vec!["-c".to_string(), check.to_string()];
    for f in ["kustomization", "namespace", "rbac", "daemonset"] {
        args.push(root.join(format!("kubernetes/{f}.yaml")).display().to_string());
    }
    args.push(root.join("prometheus/kptop.rules.yaml").display().to_string());
    run("python3", &args.iter().map(String::as_str).collect::<Vec<_>>());
    for script in
        ["kubectl-kptop", "kubectl_complete-kptop", "collectors/must-gather", "packages/debian/postinst"]
    {
        run("sh", &["-n", root.join(script).to_str().unwrap()]);
    }
    for script in ["packages/build", "release/build"] {
        run("bash", &["-n", root.join(script).to_str().unwrap()]);
    }
    let unit = std::fs::read_to_string(root.join("systemd/kptop.service")).unwrap();
    assert!(unit.contains("NoNewPrivileges=yes") && unit.contains("CapabilityBoundingSet=CAP_NET_ADMIN"));
    // What the plugin installs is what is in the folder, and all of it goes with `uninstall`.
    let plugin = root.join("kubectl-kptop").display().to_string();
    let installed = run("sh", &[&plugin, "install", "--dry-run"]);
    // As kustomize puts them together: its namespace, and the image by its tag.
    let check = r#"
import sys, yaml
of_file = []
for f in sys.argv[1:]:
    of_file += [d for d in yaml.safe_load_all(open(f)) if d]
for d in of_file:
    if d['kind'] in ('ServiceAccount', 'DaemonSet'):
        d['metadata']['namespace'] = 'kptop'
    for s in d.get('subjects', []):
        s['namespace'] = 'kptop'
    if d['kind'] == 'DaemonSet':
        for c in d['spec']['template']['spec']['containers']:
            c['image'] = 'kptop:0.1.0'
key = lambda d: (d['kind'], d['metadata']['name'])
printed = [d for d in yaml.safe_load_all(sys.stdin) if d]
assert sorted(printed, key=key) == sorted(of_file, key=key), 'assets/kubectl-kptop: manifest() is not assets/kubernetes'
"#;
    let files = ["namespace", "rbac", "daemonset"].map(|f| root.join(format!("kubernetes/{f}.yaml")));
    let files: Vec<&str> =
        ["-c", check].into_iter().chain(files.iter().map(|f| f.to_str().unwrap())).collect();
    run_with("python3", &files, &installed);
    // The plugin says how it is used, and refuses what it cannot do.
    let plugin = Command::new(root.join("kubectl-kptop")).output().unwrap();
    assert_eq!(plugin.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&plugin.stderr).contains("usage: kubectl kptop NODE"));
}

/// Files of a release name what is there: one version, one list of licences, markers that the build fills.
#[test]
fn release_files_agree_with_the_package() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let text = |f: &str| std::fs::read_to_string(root.join(f)).unwrap_or_else(|e| panic!("{f}: {e}"));
    let version = env!("CARGO_PKG_VERSION");
    let chart = text("assets/helm/kptop/Chart.yaml");
    assert!(chart.contains(&format!("appVersion: {version}\n")), "{chart}");
    let list = |text: &str, begin: &str| -> Vec<String> {
        let after = text.split_once(begin).unwrap().1.split_once(']').unwrap().0;
        after.split('"').skip(1).step_by(2).map(str::to_string).collect()
    };
    let allowed = list(&text("deny.toml"), "allow = [");
    assert!(allowed.len() > 5);
    assert_eq!(list(&text("assets/release/about.toml"), "accepted = ["), allowed);
    for file in ["krew.yaml.in", "kptop.rb.in", "PKGBUILD.in"] {
        let text = text(&format!("assets/release/{file}"));
        let markers: BTreeSet<&str> = text.split('@').skip(1).step_by(2).collect();
        let known = BTreeSet::from(["VERSION", "HOME", "SHA256_X86_64", "SHA256_AARCH64"]);
        assert!(markers.is_subset(&known) && markers.contains("VERSION"), "{file}: {markers:?}");
    }
    // The chart's pod may do what that of the folder may.
    let template = text("assets/helm/kptop/templates/daemonset.yaml");
    for line in [
        "hostNetwork: true",
        "readOnlyRootFilesystem: true",
        "allowPrivilegeEscalation: false",
        "drop: [ALL]",
        "add: [NET_ADMIN]",
        "type: RuntimeDefault",
    ] {
        assert!(text("assets/kubernetes/daemonset.yaml").contains(line), "{line}");
        assert!(template.contains(line), "{line}");
    }
    // Each value that a template asks for is in values.yaml, and the schema knows no others.
    let schema: serde_json::Value =
        serde_json::from_str(&text("assets/helm/kptop/values.schema.json")).unwrap();
    let values = text("assets/helm/kptop/values.yaml");
    let top: BTreeSet<&str> = values
        .lines()
        .filter(|l| l.starts_with(|c: char| c.is_ascii_lowercase()))
        .filter_map(|l| l.split_once(':').map(|x| x.0))
        .collect();
    let known: BTreeSet<&str> =
        schema["properties"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(known.difference(&top).copied().collect::<Vec<_>>(), ["global"]);
    assert!(top.is_subset(&known), "{top:?}");
    for entry in std::fs::read_dir(root.join("assets/helm/kptop/templates")).unwrap() {
        let text = std::fs::read_to_string(entry.unwrap().path()).unwrap();
        for asked in text.split(".Values.").skip(1) {
            let name = asked.split(|c: char| !c.is_ascii_alphanumeric()).next().unwrap();
            assert!(top.contains(name), "{name}");
        }
    }
}

/// What the shell offers behind `kubectl kptop`.
#[test]
fn the_plugin_completes() {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("assets/kubectl_complete-kptop");
    let said = |words: &[&str]| {
        // A kubectl of the test's own.
        let place = crate::common::recordings::Place::new("complete");
        let kubectl = place.file("kubectl");
        std::fs::write(&kubectl, "#!/bin/sh\necho node/worker-1\necho node/worker-2\n").unwrap();
        run("chmod", &["+x", kubectl.to_str().unwrap()]);
        let path = format!("{}:{}", kubectl.parent().unwrap().display(), std::env::var("PATH").unwrap());
        let out = Command::new(&script).args(words).env("PATH", path).output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    assert_eq!(said(&[""]), "--all\ninstall\nuninstall\nworker-1\nworker-2\n:4\n");
    assert_eq!(said(&["wo"]), "worker-1\nworker-2\n:4\n");
    assert_eq!(said(&["--all", "d"]), "doctor\ndiff\n:4\n");
    assert_eq!(said(&["worker-1", "com"]), "compare\n:4\n");
}
