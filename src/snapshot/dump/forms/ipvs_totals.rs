//! `/proc/net/ip_vs_stats`: sums over all virtual servers, of which kptop shows nothing that the servers do not say themselves.

use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "/proc/net/ip_vs_stats", source: SourceId::Other, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    g.any(3, |l| l.trim_start().starts_with("Total Incoming Outgoing")) && g.any(3, |l| l.contains("Conns"))
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.unused(f.text.lines().count());
    to.say("sums over all virtual servers: add what ipvsadm -Ln --stats prints");
    Ok(())
}
