//! `/proc/net/xt_recent/NAME`: clients that a rule remembers.

use crate::kernel::recent;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{MemoryList, RememberedClient, SourceId};

pub(super) static FORM: Form =
    Form { words: "a list of xt_recent", source: SourceId::Other, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.first().starts_with("src=") && g.first().contains("last_seen")
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let client = |c: recent::RecentEntry| RememberedClient {
        address: c.address,
        expires: None,
        packets: Some(c.packets),
    };
    let clients: Vec<_> = f.text.lines().filter_map(recent::parse).map(client).collect();
    to.unused_but(f, |l| recent::parse(l).is_some());
    // `cat /proc/net/xt_recent/KUBE-SEP-X` names the list.
    let name = f.name.rsplit_once("xt_recent_").map_or(f.name.as_str(), |n| n.1);
    to.remembered.lists.push((MemoryList::Recent(name.to_string()), clients));
    Ok(())
}
