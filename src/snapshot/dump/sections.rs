//! What people paste: prompts, commands, headings, fences, indentation and colours around what tools printed, several
//! commands in one text. Taken apart into the outputs of single commands, each with the command where it is known.

use std::borrow::Cow;

/// A part of a text: what one command printed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Section {
    /// The command with `_` for blanks, as sosreports name files (`iptables_-t_nat_-nvL`); empty where it is not known.
    pub(super) name: String,
    pub(super) text: String,
}

/// Programs whose output is read.
const PROGRAMS: [&str; 27] = [
    "iptables-legacy-save",
    "ip6tables-legacy-save",
    "iptables-nft-save",
    "ip6tables-nft-save",
    "iptables-save",
    "ip6tables-save",
    "iptables-legacy",
    "ip6tables-legacy",
    "iptables-nft",
    "ip6tables-nft",
    "iptables",
    "ip6tables",
    "nft",
    "ipvsadm",
    "ipset",
    "conntrack",
    "ip",
    "sysctl",
    "kubectl",
    "cat",
    "nstat",
    "netstat",
    "ss",
    "uname",
    "nfacct",
    "curl",
    "wget",
];

/// The command in a line, where the line is one: `iptables -t nat -S`. What the tools print begins otherwise, but for `ip`,
/// `nft` and their kin, of which only commands that show something count.
fn command(line: &str) -> Option<&str> {
    let mut rest = line.trim();
    loop {
        let (word, after) = rest.split_once(' ').unwrap_or((rest, ""));
        // What others are run by, with their options.
        match word {
            "sudo" => rest = after.trim_start(),
            "nsenter" | "kubectl" if rest.contains(" -- ") => rest = rest.split_once(" -- ")?.1.trim_start(),
            _ => break,
        }
    }
    let program = rest.split(' ').next()?;
    let program = program.rsplit('/').next()?;
    if !PROGRAMS.contains(&program) {
        return None;
    }
    let args: Vec<&str> = rest.split_whitespace().skip(1).collect();
    let shows = match program {
        "ip" => {
            args.iter().any(|a| {
                ["a", "addr", "address", "r", "route", "l", "link", "n", "neigh", "rule"].contains(a)
            }) && args.len() <= 5
        }
        "nft" => args.contains(&"list"),
        // Of kube-proxy's ports.
        "curl" | "wget" => ["/metrics", "/configz", "/healthz"].iter().any(|w| rest.contains(w)),
        "cat" => args.first().is_some_and(|a| a.starts_with('/')),
        "conntrack" | "ipvsadm" | "sysctl" | "iptables" | "ip6tables" => {
            args.iter().all(|a| !a.ends_with(':'))
        }
        _ => true,
    };
    shows.then_some(rest)
}

/// What a line between outputs is.
#[derive(Debug, PartialEq, Eq)]
enum Border<'a> {
    /// The next output is of this command.
    Command(&'a str),
    /// Something else begins.
    Other,
    /// The line is left out.
    Nothing,
}

/// Whether a line stands between outputs: a prompt, a heading, a fence, a bare command.
fn border(line: &str) -> Option<Border<'_>> {
    let line = line.trim();
    if line.is_empty() {
        return None;
    }
    if line.starts_with("```") || line.starts_with("~~~") {
        return Some(Border::Other);
    }
    // `=== iptables-save ===`, `*** Output of conntrack -L ***`, `--- ip addr ---`, `## ipvsadm -Ln`
    for mark in ['=', '*', '-', '#', '>', '+'] {
        let inner = line.trim_start_matches(mark);
        let n = line.len() - inner.len();
        if n < if mark == '#' { 2 } else { 3 } {
            continue;
        }
        let inner = inner.trim_end_matches(mark).trim();
        // A line of dashes under a heading of a table, or one between parts.
        if inner.is_empty() {
            return Some(Border::Other);
        }
        let inner = inner.strip_prefix("Output of ").unwrap_or(inner).trim_matches(['`', ':', '"', ' ']);
        return Some(command(inner).map_or(Border::Other, Border::Command));
    }
    // `root@node:~# iptables-save`, `$ ip addr`, `# nft list ruleset`, `[root@node ~]# conntrack -L`
    if let Some((prompt, rest)) = line.split_once(['#', '$', '%']).filter(|(p, _)| is_prompt(p)) {
        let rest = rest.trim();
        return match command(rest) {
            Some(c) => Some(Border::Command(c)),
            None if rest.is_empty() && !prompt.is_empty() => Some(Border::Other),
            // A prompt alone, or an empty remark.
            None if rest.is_empty() => Some(Border::Nothing),
            // Another command, of which nothing is read; after a bare `#` it is a remark.
            None if !prompt.trim().is_empty() => Some(Border::Other),
            None => None,
        };
    }
    command(line).map(Border::Command)
}

/// True for what stands before the sign of a prompt: `root@node:~`, `[root@node ~]`, nothing.
fn is_prompt(text: &str) -> bool {
    let text = text.trim();
    text.is_empty()
        || (text.len() < 80
            && text.contains('@')
            && text.split_whitespace().count() <= 3
            && !text.contains('='))
        || matches!(text, "bash-5.1" | "sh-5.1" | "sh-4.4" | "/")
}

/// A text as a terminal or a report holds it, without what only shows it: colours, other line ends.
fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(['\x1b', '\r']) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len());
    let mut chars = text.chars().peekable();
    while let Some(c) = chars.next() {
        match c {
            '\x1b' if chars.peek() == Some(&'[') => {
                chars.next();
                while chars.next().is_some_and(|c| !c.is_ascii_alphabetic()) {}
            }
            '\x1b' | '\r' => {}
            c => out.push(c),
        }
    }
    Cow::Owned(out)
}

/// Without the blanks that all lines begin with.
fn unindented(text: &str) -> Cow<'_, str> {
    let lines = || text.lines().filter(|l| !l.trim().is_empty());
    let blanks = |l: &str| l.len() - l.trim_start_matches([' ', '\t']).len();
    match lines().map(blanks).min() {
        None | Some(0) => Cow::Borrowed(text),
        Some(n) => Cow::Owned(text.lines().map(|l| l.get(n..).unwrap_or("").to_string() + "\n").collect()),
    }
}

/// Without times in front of all lines, as collectors of logs put them there.
fn untimed(text: &str) -> Cow<'_, str> {
    let time = |l: &str| -> Option<usize> {
        let word = l.split([' ', '\t']).next()?;
        let b = word.as_bytes();
        let is_date = b.len() >= 19 && b[4] == b'-' && b[7] == b'-' && b[10] == b'T' && b[13] == b':';
        is_date.then(|| (word.len() + 1).min(l.len()))
    };
    let mut lines = text.lines().filter(|l| !l.trim().is_empty()).peekable();
    if lines.peek().is_none() || !lines.all(|l| time(l).is_some()) {
        return Cow::Borrowed(text);
    }
    Cow::Owned(text.lines().map(|l| time(l).map_or("", |n| &l[n..]).to_string() + "\n").collect())
}

/// Takes a text apart. A text that is the output of one command is one section.
pub(super) fn sections(text: &str) -> Vec<Section> {
    let text = plain(text.strip_prefix('\u{feff}').unwrap_or(text));
    let text = untimed(&text);
    let mut all = vec![Section { name: String::new(), text: String::new() }];
    for line in text.lines() {
        match border(line) {
            Some(Border::Command(c)) => {
                let name = c.split_whitespace().collect::<Vec<_>>().join("_");
                all.push(Section { name: name.replace('/', "_"), text: String::new() });
            }
            Some(Border::Nothing) => {}
            Some(Border::Other) => all.push(Section { name: String::new(), text: String::new() }),
            None => {
                if let Some(last) = all.last_mut() {
                    last.text.push_str(line);
                    last.text.push('\n');
                }
            }
        }
    }
    all.retain(|s| !s.text.trim().is_empty());
    for s in &mut all {
        if let Cow::Owned(text) = unindented(&s.text) {
            s.text = text;
        }
    }
    all.into_iter().flat_map(by_family).collect()
}

/// `iptables-save` and `ip6tables-save` one behind the other: a text each.
fn by_family(s: Section) -> Vec<Section> {
    let heads: Vec<usize> = s
        .text
        .match_indices("# Generated by ip")
        .map(|m| m.0)
        .filter(|at| *at == 0 || s.text.as_bytes()[at - 1] == b'\n')
        .collect();
    let is_v6 = |at: &usize| s.text[*at..].starts_with("# Generated by ip6");
    if heads.len() < 2 || heads.iter().all(is_v6) || !heads.iter().any(is_v6) {
        return vec![s];
    }
    let mut parts: Vec<(bool, String)> = Vec::new();
    let begin = if heads[0] > 0 { vec![0] } else { Vec::new() };
    let bounds: Vec<usize> = begin.into_iter().chain(heads).chain([s.text.len()]).collect();
    for pair in bounds.windows(2) {
        let part = &s.text[pair[0]..pair[1]];
        let v6 = part.starts_with("# Generated by ip6");
        match parts.last_mut().filter(|p| p.0 == v6) {
            Some(last) => last.1.push_str(part),
            None => parts.push((v6, part.to_string())),
        }
    }
    parts.into_iter().map(|(_, text)| Section { name: s.name.clone(), text }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(text: &str) -> Vec<(String, String)> {
        sections(text)
            .into_iter()
            .map(|s| (s.name, s.text.lines().next().unwrap_or("").to_string()))
            .collect()
    }

    fn is(found: Vec<(String, String)>, wanted: &[(&str, &str)]) {
        let wanted: Vec<(String, String)> = wanted.iter().map(|w| (w.0.into(), w.1.into())).collect();
        assert_eq!(found, wanted);
    }

    #[test]
    fn texts_of_people_are_taken_apart() {
        is(
            names("root@node-a:~# iptables-save\n*nat\nCOMMIT\nroot@node-a:~#\n"),
            &[("iptables-save", "*nat")],
        );
        is(names("```\n  *nat\n  COMMIT\n```\n"), &[("", "*nat")]);
        is(
            names(
                "=== iptables -t nat -S ===\n-P A B\n*** Output of conntrack -L ***\nudp 17\n$ sudo ip addr\n1: lo: <X>\n",
            ),
            &[("iptables_-t_nat_-S", "-P A B"), ("conntrack_-L", "udp 17"), ("ip_addr", "1: lo: <X>")],
        );
        is(
            names("# Generated by iptables-save v1\n*nat\n# Generated by ip6tables-save v1\n*nat\n"),
            &[("", "# Generated by iptables-save v1"), ("", "# Generated by ip6tables-save v1")],
        );
        is(names("2025-03-04T10:00:00.1Z *nat\n2025-03-04T10:00:00.2Z COMMIT\n"), &[("", "*nat")]);
        is(names("\u{1b}[1m*nat\u{1b}[0m\r\nCOMMIT\r\n"), &[("", "*nat")]);
        // What is one output stays one.
        let nft = "table ip x {\n\tchain y {\n\t\tip daddr 10.0.0.1 accept # a remark\n\t}\n}\n";
        assert_eq!(sections(nft), [Section { name: String::new(), text: nft.into() }]);
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_survived(text in "([#$*=`a-z@~:0-9 \t\u{1b}\\[-]{0,40}\r?\n){0,12}") {
            for s in sections(&text) {
                let _ = s.text.len();
            }
        }
    }
}
