//! The words of the project (DESIGN's table, ARCHITECTURE.md): the manual, the help and the screens use none of those to
//! avoid.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Words and phrases to avoid, with what to say.
const AVOID: &[(&str, &str)] = &[
    ("told", "reported"),
    ("tells", "reports, says, shows"),
    ("left over", "stale"),
    ("at work", "active"),
    ("as written", "projected"),
    ("passed over", "checked, no match"),
    ("becomes of", "outcome"),
    ("odds", "probability"),
    ("HELD", "CONNS"),
    ("UNREP", "NO REPLY"),
    ("REF/s", "DROP/s"),
    ("let in", "disallowed sources"),
    ("anew", "again"),
    ("somebody", "another program, a user"),
    ("stands", "is"),
    ("stand", "is"),
    ("the other way round", "reversed"),
];

fn words_of(text: &str) -> String {
    // What begins and ends a word, as a blank; so that a phrase is found where it is whole.
    let plain: String = text
        .chars()
        .map(|c| if c.is_alphanumeric() || matches!(c, '/' | '-' | '_') { c } else { ' ' })
        .collect();
    format!(" {} ", plain.split_whitespace().collect::<Vec<_>>().join(" "))
}

fn check(name: &str, text: &str, wrong: &mut Vec<String>) {
    for (n, line) in text.lines().enumerate() {
        let words = words_of(line);
        for (word, better) in AVOID {
            let there = match word.chars().all(|c| c.is_uppercase() || c == '/') {
                true => words.contains(&format!(" {word} ")),
                false => words.to_lowercase().contains(&format!(" {} ", word.to_lowercase())),
            };
            if there {
                wrong.push(format!("{name}:{}: `{word}` (say: {better}): {}", n + 1, line.trim()));
            }
        }
    }
}

fn files(dir: &Path, extension: &str) -> Vec<PathBuf> {
    let found = fs::read_dir(dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
    let mut all: Vec<PathBuf> = found.flatten().map(|e| e.path()).collect();
    all.retain(|p| p.extension().is_some_and(|x| x == extension));
    all.sort();
    all
}

#[test]
fn the_manual_and_the_screens_use_plain_words() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut all = files(&root.join("docs"), "md");
    all.extend(files(&root.join("tests/it/snapshots"), "snap"));
    all.extend(["README.md", "ARCHITECTURE.md"].map(|f| root.join(f)));
    assert!(all.len() > 30, "{}", all.len());
    let mut wrong = Vec::new();
    for path in all {
        check(&path.display().to_string(), &fs::read_to_string(&path).unwrap(), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_help_uses_plain_words() {
    let help = |args: &[&str]| {
        let out = Command::new(env!("CARGO_BIN_EXE_kptop")).args(args).arg("--help").output().unwrap();
        String::from_utf8(out.stdout).unwrap()
    };
    let main = help(&[]);
    let commands: Vec<&str> = main
        .lines()
        .skip_while(|l| *l != "Commands:")
        .skip(1)
        .take_while(|l| !l.trim().is_empty())
        .filter(|l| l.starts_with("  ") && !l.starts_with("   "))
        .filter_map(|l| l.split_whitespace().next())
        .filter(|c| *c != "help")
        .collect();
    assert!(commands.len() > 12, "{commands:?}");
    let mut wrong = Vec::new();
    check("--help", &main, &mut wrong);
    for command in commands {
        check(command, &help(&[command]), &mut wrong);
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn words_to_avoid_are_found() {
    for text in
        ["a rule is left over here", "what becomes of it", "HELD  NEW/s", "It Stands there.", "(told)"]
    {
        let mut wrong = Vec::new();
        check("x", text, &mut wrong);
        assert_eq!(wrong.len(), 1, "{text}: {wrong:?}");
    }
    let mut wrong = Vec::new();
    check("x", "standard, understand, held, retold; a leftover key of JSON", &mut wrong);
    assert!(wrong.is_empty(), "{wrong:?}");
}
