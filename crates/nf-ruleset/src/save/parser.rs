//! Lines of `iptables-save`.

use crate::protocol_number;
use crate::{AddressMatch, MaskedAddress, Match, PortRange, Target, Unknown};
use crate::{
    BaseChain, ChainId, ChainKind, Counter, Family, Hook, IpFamily, IpNet, Policy, RuleSpec, TableBackend,
    TableBuilder,
};
use crate::{ParseError, SavedTable, iptables_priority};
use std::net::IpAddr;
use std::str::FromStr;

/// Reads the tables of one `iptables-save` text. An extension that is not known is kept as `Unknown` with its
/// arguments as bytes; a line that is not understood is an error with its number.
pub fn parse_save(text: &str, family: IpFamily) -> Result<Vec<SavedTable>, ParseError> {
    let parsed = parse_save_lenient(text, family);
    match parsed.errors.into_iter().chain(parsed.cut).next() {
        Some(first) => Err(first),
        None => Ok(parsed.tables),
    }
}

/// What [`parse_save_lenient`] made of a text.
#[derive(Debug, Default)]
pub struct LenientSave {
    /// Tables, the last one perhaps not whole.
    pub tables: Vec<SavedTable>,
    /// Lines that were not understood.
    pub errors: Vec<ParseError>,
    /// That the last table ends without COMMIT: the text was cut off.
    pub cut: Option<ParseError>,
}

/// The same, where one line costs one line: a rule that is not understood is kept as text, in its place, as a target that is
/// not known ([`UNREAD_RULE`]); the errors say which lines they were. A table that ends without COMMIT is given, too.
pub fn parse_save_lenient(text: &str, family: IpFamily) -> LenientSave {
    let family = Family::from(family);
    let LenientSave { tables: mut done, mut errors, mut cut } = LenientSave::default();
    let mut current: Option<TableBuilder> = None;
    let mut name = String::new();
    for (i, raw) in text.lines().enumerate() {
        let line = raw.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        if let Some(table) = line.strip_prefix('*') {
            name = table.to_string();
            current = Some(TableBuilder::new(family, TableBackend::XTables, table));
            continue;
        }
        let Some(builder) = current.as_mut() else {
            let what = format!("expected a table (a line like `*nat`), found `{line}`");
            errors.push(ParseError { line: i + 1, what });
            continue;
        };
        if line == "COMMIT" {
            if let Some(builder) = current.take() {
                let (table, counters) = builder.finish();
                done.push(SavedTable { table, counters });
            }
        } else if let Err(what) = one_line(builder, &name, line) {
            errors.push(ParseError { line: i + 1, what });
            keep_as_text(builder, line);
        }
    }
    if let Some(builder) = current {
        cut = Some(ParseError {
            line: text.lines().count(),
            what: format!("table {name} ends without COMMIT (was the file cut off?)"),
        });
        let (table, counters) = builder.finish();
        done.push(SavedTable { table, counters });
    }
    LenientSave { tables: done, errors, cut }
}

/// The name of the target of a rule that was not understood: its text is in the target's bytes.
pub const UNREAD_RULE: &str = "(not read)";

/// A chain or a rule of a table.
fn one_line(builder: &mut TableBuilder, name: &str, line: &str) -> Result<(), String> {
    if let Some(chain) = line.strip_prefix(':') {
        let mut words = chain.split_whitespace();
        let chain = words.next().ok_or("a chain without a name")?;
        let policy = match words.next() {
            Some("ACCEPT") => Some(Policy::Accept),
            Some("DROP") => Some(Policy::Drop),
            _ => None,
        };
        let counter = words.next().and_then(parse_counter).unwrap_or_default();
        let id = builder.chain(chain);
        if let (Some(policy), Some(hook)) = (policy, Hook::from_chain_name(chain)) {
            let (kind, priority) = (ChainKind::of_iptables(name, hook), iptables_priority(name, hook));
            builder.base(id, BaseChain { hook, kind, priority, policy }, counter);
        }
        return Ok(());
    }
    let (counter, rest) = match line.strip_prefix('[').and_then(|l| l.split_once(']')) {
        Some((c, rest)) => {
            let counter = parse_counter(&format!("[{c}]")).ok_or_else(|| format!("not a counter: [{c}]"))?;
            (counter, rest.trim_start())
        }
        None => (Counter::default(), line),
    };
    let words = split_words(rest)?;
    let (chain, spec) = RuleParser::new(builder, &words).parse(counter)?;
    builder.push(chain, spec);
    Ok(())
}

/// A rule that was not understood, in its place. Of a line that is no rule at all nothing is kept.
fn keep_as_text(builder: &mut TableBuilder, line: &str) {
    let rest =
        line.strip_prefix('[').and_then(|l| l.split_once(']')).map_or(line, |(_, rest)| rest.trim_start());
    let Some((chain, text)) = rest.strip_prefix("-A ").and_then(|r| r.split_once(' ')) else { return };
    let chain = builder.chain(chain);
    let name = builder.strings.intern(UNREAD_RULE);
    let unknown = Unknown { name, revision: 0, bytes: text.as_bytes().into() };
    let target = Target::Unknown(Box::new(unknown));
    builder.push(chain, RuleSpec { matches: Vec::new(), target, counter: Counter::default() });
}

fn parse_counter(text: &str) -> Option<Counter> {
    let (packets, bytes) = text.strip_prefix('[')?.strip_suffix(']')?.split_once(':')?;
    Some(Counter { packets: packets.parse().ok()?, bytes: bytes.parse().ok()? })
}

/// Splits at blanks; double quotes hold blanks, a backslash takes the next character as it is.
fn split_words(line: &str) -> Result<Vec<String>, String> {
    let mut words = Vec::new();
    let mut word: Option<String> = None;
    let mut quoted = false;
    let mut chars = line.chars();
    while let Some(c) = chars.next() {
        match c {
            '"' => {
                quoted = !quoted;
                word.get_or_insert_default();
            }
            '\\' if quoted => match chars.next() {
                Some(next) => word.get_or_insert_default().push(next),
                None => return Err("a backslash at the end of the line".into()),
            },
            c if c.is_whitespace() && !quoted => words.extend(word.take()),
            c => word.get_or_insert_default().push(c),
        }
    }
    if quoted {
        return Err("a quote that is not closed".into());
    }
    words.extend(word);
    Ok(words)
}

pub(super) struct RuleParser<'a> {
    pub(super) builder: &'a mut TableBuilder,
    pub(super) words: &'a [String],
    pub(super) at: usize,
    pub(super) header: Vec<Match>,
    pub(super) extensions: Vec<Match>,
}

impl<'a> RuleParser<'a> {
    pub(super) fn new(builder: &'a mut TableBuilder, words: &'a [String]) -> Self {
        RuleParser { builder, words, at: 0, header: Vec::new(), extensions: Vec::new() }
    }

    pub(super) fn next(&mut self, what: &str) -> Result<&'a str, String> {
        let word =
            self.words.get(self.at).ok_or_else(|| format!("{what} is missing at the end of the line"))?;
        self.at += 1;
        Ok(word)
    }

    pub(super) fn value<T: FromStr>(&mut self, what: &str) -> Result<T, String> {
        let word = self.next(what)?;
        word.parse().map_err(|_| format!("not a {what}: `{word}`"))
    }

    pub(super) fn peek(&self) -> Option<&'a str> {
        self.words.get(self.at).map(String::as_str)
    }

    pub(super) fn parse(mut self, counter: Counter) -> Result<(ChainId, RuleSpec), String> {
        if self.next("-A")? != "-A" {
            return Err(format!("expected `-A CHAIN`, found `{}`", self.words[0]));
        }
        let chain = self.next("chain")?;
        let chain = self.builder.chain(chain);
        let mut target = Target::None;
        let mut invert = false;
        while let Some(word) = self.peek() {
            self.at += 1;
            match word {
                "!" => {
                    invert = true;
                    continue;
                }
                "-s" | "--source" | "-d" | "--destination" => {
                    let destination = word == "-d" || word == "--destination";
                    let m = self.network(destination, invert)?;
                    self.header.push(m);
                }
                "-i" | "-o" => {
                    let name = self.next("interface")?;
                    let name = self.builder.strings.intern(name);
                    self.header.push(if word == "-i" {
                        Match::InInterface { name, invert }
                    } else {
                        Match::OutInterface { name, invert }
                    });
                }
                "-p" | "--protocol" => {
                    let name = self.next("protocol")?;
                    let number = protocol_number(name).ok_or_else(|| format!("not a protocol: `{name}`"))?;
                    if number != 0 {
                        self.header.push(Match::Protocol { number, invert });
                    }
                }
                "-f" => self.header.push(Match::Fragment { invert }),
                "-m" => {
                    let module = self.next("match name")?;
                    let found = self.extension(module)?;
                    self.extensions.push(found);
                }
                "-j" | "-g" => target = self.target(word == "-g")?,
                other => return Err(format!("unknown option `{other}`")),
            }
            invert = false;
        }
        let mut matches = self.header;
        matches.extend(self.extensions);
        Ok((chain, RuleSpec { matches, target, counter }))
    }

    pub(super) fn is_v6(&self) -> bool {
        self.builder.family() == Family::Ip6
    }

    /// `-s` or `-d`.
    pub(super) fn network(&mut self, destination: bool, invert: bool) -> Result<Match, String> {
        let word = self.next("address")?;
        let of = |net| Match::from(AddressMatch { net, destination, invert });
        if let Ok(net) = word.parse() {
            return Ok(of(net));
        }
        // A mask written out, as old versions did, or one that is no prefix.
        let parts: Option<(IpAddr, IpAddr)> =
            word.split_once('/').and_then(|(a, m)| Some((a.parse().ok()?, m.parse().ok()?)));
        let Some((addr, mask)) = parts else { return Err(format!("not a network: `{word}`")) };
        Ok(match crate::mask_prefix(mask) {
            Some(prefix) => of(IpNet { addr, prefix }),
            None => Match::MaskedAddress(Box::new(MaskedAddress { destination, addr, mask, invert })),
        })
    }

    /// The next option of the current match, with its `!`; `None` where the match ends.
    pub(super) fn option(&mut self) -> Option<(&'a str, bool)> {
        let (invert, at) = match self.peek()? {
            "!" => (true, self.at + 1),
            _ => (false, self.at),
        };
        let word = self.words.get(at)?.as_str();
        if !word.starts_with("--") {
            return None;
        }
        self.at = at + 1;
        Some((word, invert))
    }

    pub(super) fn range(&mut self) -> Result<PortRange, String> {
        let word = self.next("port")?;
        let (a, b) = word.split_once(':').unwrap_or((word, word));
        match (a.parse(), b.parse()) {
            (Ok(first), Ok(last)) => Ok(PortRange { first, last }),
            _ => Err(format!("not a port or range of ports: `{word}`")),
        }
    }

    pub(super) fn extension(&mut self, module: &str) -> Result<Match, String> {
        let start = self.at;
        let found = match module {
            _ if self.is_unsupported() => Ok(None),
            "comment" => self.comment(),
            "tcp" | "udp" | "sctp" => self.transport(module),
            "statistic" => self.statistic(),
            "recent" => self.recent(),
            "mark" => self.mark(),
            "conntrack" | "state" => self.conntrack(module == "state"),
            "addrtype" => self.addrtype(),
            "nfacct" => self.nfacct(),
            "set" => self.set(),
            "multiport" => self.multiport(),
            "physdev" => self.physdev(),
            "ipvs" => self.ipvs(),
            _ => Ok(None),
        }?;
        match found {
            Some(m) => Ok(m),
            None => {
                self.at = start;
                Ok(Match::Unknown(Box::new(self.unknown(module))))
            }
        }
    }

    /// True where iptables printed `[unsupported revision]` in place of an extension's options.
    pub(super) fn is_unsupported(&self) -> bool {
        self.peek() == Some("[unsupported")
    }

    /// Keeps an extension that is not known with its arguments, up to the next switch of one letter.
    pub(super) fn unknown(&mut self, name: &str) -> Unknown {
        let mut kept = String::new();
        while let Some(word) = self.peek() {
            let next_is_short =
                word == "!" && self.words.get(self.at + 1).is_some_and(|w| !w.starts_with("--"));
            if next_is_short || (word.starts_with('-') && !word.starts_with("--")) {
                break;
            }
            if !kept.is_empty() {
                kept.push(' ');
            }
            kept.push_str(word);
            self.at += 1;
        }
        Unknown { name: self.builder.strings.intern(name), revision: 0, bytes: kept.into_bytes().into() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_costs_one_line() {
        let text = "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -p tcp -j ACCEPT\n[3:180] -A INPUT --what is this\nno rule at all\n-A INPUT -j DROP\nCOMMIT\n*nat\n:OUTPUT ACCEPT [0:0]\n";
        let found = parse_save_lenient(text, IpFamily::V4);
        let at: Vec<usize> = found.errors.iter().map(|e| e.line).collect();
        assert_eq!((at, found.cut.map(|c| c.line)), (vec![4, 5], Some(9)));
        let t = &found.tables[0].table;
        let rules: Vec<String> = t.rules.iter().map(|r| t.rule_text(r).to_string()).collect();
        assert_eq!(rules.len(), 3);
        // Its text is kept as the bytes of an extension that is not known.
        let kept = format!("-j {UNREAD_RULE} [revision 0, {} bytes]", "--what is this".len());
        assert_eq!(rules[1], kept);
        assert_eq!(found.tables[1].table.name, "nat");
        assert_eq!(parse_save(text, IpFamily::V4).unwrap_err().line, 4);
    }

    fn lines(text: &str, family: IpFamily) -> Vec<String> {
        let tables = parse_save(text, family).unwrap();
        let t = &tables[0].table;
        t.chains
            .iter()
            .enumerate()
            .flat_map(|(i, c)| {
                t.rules_of(ChainId(i as u32))
                    .map(move |(_, r)| format!("-A {} {}", t.str(c.name), t.rule_text(r)))
                    .collect::<Vec<_>>()
            })
            .collect()
    }

    #[test]
    fn text_comes_back_as_it_was() {
        let text = r#"*nat
:PREROUTING ACCEPT [1:2]
:X - [0:0]
-A PREROUTING ! -s 10.0.0.0/8 -d 1.2.3.4/32 ! -i eth+ -p tcp -m comment --comment "a \"b\" c\\d" -m tcp ! --sport 1:2 --dport 80 --tcp-flags FIN,SYN,RST,ACK SYN -j X
-A PREROUTING -p sctp -m sctp --dport 38412 -j RETURN
-A X -m statistic --mode random --probability 0.33333333349 -j DNAT --to-destination 10.0.0.1:80
-A X -m statistic --mode nth --every 3 --packet 1 -j DNAT --to-destination 10.0.0.1-10.0.0.9:80-90 --random
-A X -m recent --rcheck --seconds 10800 --reap --name N --mask 255.255.255.255 --rsource -g X
-A X -p udp -m multiport ! --dports 1,5:9 -m physdev ! --physdev-is-in -m addrtype ! --src-type LOCAL
-A X -m set --match-set KUBE-CLUSTER-IP dst,dst,src -m conntrack ! --ctstate NEW,DNAT -j MARK --set-xmark 0x4000/0x4000
-A X -m mark ! --mark 0x4000/0x4000 -m nfacct --nfacct-name  some -j MASQUERADE --random-fully
-A X -m hashlimit [revision 0, 30 bytes] -j LOG [revision 0, 12 bytes]
COMMIT
"#;
        let given: Vec<&str> = text.lines().filter(|l| l.starts_with("-A")).collect();
        let with_unknown = text
            .replace("-m hashlimit [revision 0, 30 bytes]", "-m hashlimit --hashlimit-upto 5/sec --foo bar");
        let with_unknown = with_unknown.replace("[revision 0, 12 bytes]", "--log-level 4"); // 13 bytes
        let got = lines(&with_unknown, IpFamily::V4);
        assert_eq!(got[..8], given[..8]);
        assert_eq!(got[8], "-A X -m hashlimit [revision 0, 32 bytes] -j LOG [revision 0, 13 bytes]");
    }

    #[test]
    fn errors_name_the_line() {
        for (text, line) in [
            ("-A X -j ACCEPT\n", 1),
            ("*nat\n:X - [0:0]\n-A X -s nonsense -j ACCEPT\nCOMMIT\n", 3),
            ("*nat\n:X - [0:0]\n-A X -m comment --comment \"open\nCOMMIT\n", 3),
            ("*nat\n[1:x] -A X\nCOMMIT\n", 2),
            ("*nat\n:X - [0:0]\n", 2),
        ] {
            assert_eq!(parse_save(text, IpFamily::V4).unwrap_err().line, line, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn never_panics(text in "(\\*nat\n)?((:|-A )X [-!a-z ,:/0-9\"\\\\]{0,60}\n){0,4}(COMMIT)?") {
            let _ = parse_save(&text, IpFamily::V4);
            let _ = parse_save(&text, IpFamily::V6);
        }
    }
}
