//! Small files that say what node it is: os-release, hostname, uname.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use std::sync::Arc;

pub(super) static FORM: Form =
    Form { words: "a fact of the node", source: SourceId::Other, repeats: true, is, read };

/// True for a name that says what is in it.
pub(in crate::snapshot::dump) fn of_node(name: &str) -> bool {
    matches!(name, "os-release" | "hostname" | "uname" | "uname_-a")
}

fn is(g: &Glance<'_>) -> bool {
    let in_etc = g.name.strip_prefix("cat__etc_").unwrap_or(g.name);
    of_node(in_etc) || g.first().starts_with("Linux ") && g.lines().count() == 1 && g.first().contains(" #")
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let first = f.text.lines().next().unwrap_or_default().trim();
    let node = Arc::make_mut(&mut to.snapshot.node);
    match f.name.strip_prefix("cat__etc_").unwrap_or(&f.name) {
        "os-release" => node.distribution = crate::kernel::node::os_release(&f.text),
        "hostname" if !first.is_empty() && !first.contains(' ') => node.hostname = Some(first.into()),
        // `Linux worker 6.1.0-13-amd64 #1 SMP …`
        _ if first.starts_with("Linux ") => {
            let mut words = first.split_whitespace().skip(1);
            node.hostname = node.hostname.take().or_else(|| words.next().map(str::to_string));
            node.kernel = first.split_whitespace().nth(2).map(str::to_string);
        }
        _ => to.unused(f.text.lines().count()),
    }
    Ok(())
}
