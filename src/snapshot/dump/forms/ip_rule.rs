//! `ip rule`: whether another table than main is asked.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form = Form { words: "ip rule", source: SourceId::Routes, repeats: true, is, read };

/// `32766: from all lookup main`
fn is_rule(line: &str) -> bool {
    let Some((priority, rest)) = line.split_once(':') else { return false };
    let rest = rest.trim_start();
    priority.parse::<u32>().is_ok() && (rest.starts_with("from ") || rest.starts_with("not "))
}

fn is(g: &Glance<'_>) -> bool {
    g.any(3, is_rule)
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let mut rules = f.text.lines().filter(|l| is_rule(l));
    to.unused_but(f, is_rule);
    let usual = ["from all lookup local", "from all lookup main", "from all lookup default"];
    let is_usual = |l: &str| l.split_once(':').is_some_and(|r| usual.contains(&r.1.trim()));
    to.rules_given = Some(to.rules_given.unwrap_or(true) && rules.all(is_usual));
    Ok(())
}
