//! Forms of text: one file each, and one line in the list.

mod accounts;
mod command_lines;
mod conntrack;
mod conntrack_count;
mod conntrack_stats;
mod describe;
mod ip_addr;
mod ip_json;
mod ip_neigh;
mod ip_route;
mod ip_rule;
mod ipset;
mod ipvs_connections;
mod ipvs_totals;
mod ipvsadm;
mod json;
mod kube_proxy;
mod kube_proxy_log;
mod kubectl_table;
mod listing;
mod nft;
mod nstat;
mod objects;
mod recent;
mod save;
mod small;
mod snmp;
mod softnet;
mod ss;
mod sysctl;
mod yaml;

pub(super) use small::of_node as small_name;

use super::gather::Found;
use super::reader::Reader;
use crate::snapshot::SourceId;
use std::borrow::Cow;

/// A form of text.
pub(super) struct Form {
    /// The command that prints it.
    pub(super) words: &'static str,
    /// What it is of.
    pub(super) source: SourceId,
    /// True where several texts of one node are normal. Of another form a second text reports the same once more, or is of another
    /// namespace.
    pub(super) repeats: bool,
    /// True for a text of this form.
    pub(super) is: fn(&Glance<'_>) -> bool,
    /// Takes a text. What could not be used it notes; the error says why nothing could.
    pub(super) read: fn(&mut Reader, &Found) -> Result<(), String>,
}

impl Form {
    /// True for rules and virtual servers: what only a node has.
    pub(super) fn is_of_rules(&self) -> bool {
        SourceId::RULES.contains(&self.source)
    }
}

impl std::fmt::Debug for Form {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.words)
    }
}

/// Every form, in the order in which a text is held against them: those that are known for certain first.
const ALL: [&Form; 39] = [
    &small::FORM,
    &kube_proxy::CONFIG,
    &nft::JSON,
    &kube_proxy::HEALTH,
    &ip_json::ADDRESSES,
    &ip_json::ROUTES,
    &objects::FORM,
    &kube_proxy::METRICS,
    &yaml::FORM,
    &save::FORM,
    &command_lines::FORM,
    &nft::FORM,
    &listing::FORM,
    &ipvsadm::STATS,
    &ipvsadm::RATES,
    &ipvsadm::LIST,
    &ipvsadm::SAVE,
    &ipvs_connections::LIST,
    &ipvs_connections::PROC,
    &ipvs_totals::FORM,
    &ipset::FORM,
    &conntrack_stats::PROC,
    &conntrack::FORM,
    &conntrack_stats::FORM,
    &conntrack_count::FORM,
    &ip_addr::FORM,
    &ip_rule::FORM,
    &ip_neigh::FORM,
    &recent::FORM,
    &accounts::FORM,
    &snmp::FORM,
    &nstat::FORM,
    &nstat::NETSTAT,
    &softnet::FORM,
    &ss::FORM,
    &kubectl_table::FORM,
    &describe::FORM,
    &kube_proxy_log::FORM,
    &ip_route::FORM,
];

/// The last of all: `a.b = c` is in many texts.
static LAST: &Form = &sysctl::FORM;

/// The form of a text.
pub(super) fn of(glance: &Glance<'_>) -> Option<&'static Form> {
    ALL.iter().copied().chain([LAST]).find(|f| (f.is)(glance))
}

/// True for a text that is not taken apart: JSON, metrics, and small files that their name makes known.
pub(super) fn is_whole(name: &str, text: &str) -> bool {
    json::begins(text) || kube_proxy::is_metrics(text) || small_name(name)
}

/// What is looked at to know a text.
pub(super) struct Glance<'a> {
    pub(super) name: &'a str,
    pub(super) text: &'a str,
}

impl<'a> Glance<'a> {
    pub(super) fn new(name: &'a str, text: &'a str) -> Glance<'a> {
        Glance { name, text }
    }

    /// Lines that are not blank, without the blanks at their ends.
    fn lines(&self) -> impl Iterator<Item = &'a str> {
        self.text.lines().map(str::trim_end).filter(|l| !l.trim().is_empty())
    }

    fn first(&self) -> &'a str {
        self.lines().next().unwrap_or_default()
    }

    /// True where one of the first `n` lines is so.
    fn any(&self, n: usize, is: impl Fn(&str) -> bool) -> bool {
        self.lines().take(n).any(is)
    }

    /// The beginning of JSON; empty for another text.
    fn json(&self) -> &'a str {
        match json::begins(self.text) {
            true => &self.text[..self.text.char_indices().nth(4096).map_or(self.text.len(), |c| c.0)],
            false => "",
        }
    }
}

/// Lines of `nft -a list`, without the handles at their ends.
fn without_handles(text: &str) -> Cow<'_, str> {
    if !text.contains(" # handle ") {
        return Cow::Borrowed(text);
    }
    let line = |l: &str| match l.rsplit_once(" # handle ") {
        Some((rule, n)) if n.trim().bytes().all(|b| b.is_ascii_digit()) => format!("{rule}\n"),
        _ => format!("{l}\n"),
    };
    Cow::Owned(text.lines().map(line).collect())
}

/// What says of a listing's figures: `12K` is 12,000.
fn rounded(text: &str) -> Option<u64> {
    let (number, factor) = match text.char_indices().next_back()? {
        (i, 'K') => (&text[..i], 1000),
        (i, 'M') => (&text[..i], 1_000_000),
        (i, 'G') => (&text[..i], 1_000_000_000),
        (i, 'T') => (&text[..i], 1_000_000_000_000),
        _ => (text, 1),
    };
    number.parse::<u64>().ok()?.checked_mul(factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn handles_are_no_part_of_a_rule() {
        assert_eq!(without_handles("table ip x { # handle 5\n\tx # y\n"), "table ip x {\n\tx # y\n");
    }

    #[test]
    fn words_stand_once() {
        let mut words: Vec<&str> = ALL.iter().map(|f| f.words).chain([LAST.words]).collect();
        let n = words.len();
        words.sort_unstable();
        words.dedup();
        assert_eq!(words.len(), n);
    }
}
