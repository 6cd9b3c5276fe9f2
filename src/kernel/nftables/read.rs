//! Reading all of nf_tables, with as few and as short walks of the kernel as there can be.

use super::decode::{Decoded, RuleDecoder, Scope, SetNames, counter_of};
use super::parse::{self, TableHead, family_number, family_of, generation_of};
use super::{Index, SUBSYSTEM, message};
use crate::kernel::netlink::{
    Message, NETLINK_NETFILTER, Request, Socket, TRIES, attrs, be_uint, nfnetlink_body as body, str_of,
};
use crate::kernel::xtables;
use crate::kernel::{Error, ErrorKind, Result};
use crate::ruleset::{
    BaseChain, Chain, ChainId, Counter, Dialect, Family, Hook, IpFamily, Rule, RuleId, Set, SetId, Table,
    TableBackend, TableCounters, set_flag,
};
use hashbrown::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

/// Rules up to which a table is read in one dump. Each 32 KiB of a dump walk again over all rules before them
/// (`nf_tables_dump_rules`), so beyond it one dump for each chain is cheaper; see `cargo bench -- nftables`.
const ONE_DUMP: usize = 20_000;

/// Elements up to which a plain set is read; maps and sets without a name always are. What rules only look
/// into is counted.
const SMALL_SET: u64 = 20_000;

/// Receive buffer of a short dump, and the rules up to which a chain's is one.
const SHORT: usize = 8 * 1024;
const FEW_RULES: u32 = 16;
const FEW_ELEMENTS: u64 = 40;

/// Flags of a set whose elements stay as they are.
const NEVER_CHANGES: u32 = set_flag::ANONYMOUS | set_flag::CONSTANT;

/// Between two tries.
const PAUSE: Duration = Duration::from_millis(2);

/// One table of a picture.
#[derive(Clone, Debug)]
pub struct Reading {
    /// Structure: the same `Arc` as in the reading before, while the generation stays.
    pub table: Arc<Table>,
    /// Counters.
    pub counters: Arc<TableCounters>,
}

/// All of nf_tables in one generation.
#[derive(Clone, Debug, Default)]
pub struct Ruleset {
    /// Number that the kernel raises with each change.
    pub generation: u32,
    /// Tables by family and name.
    pub tables: Vec<Reading>,
}

/// Names of ipsets, asked once each.
#[derive(Debug, Default)]
struct Ipsets {
    socket: Option<xtables::Socket>,
    names: HashMap<u16, Option<String>>,
}

impl SetNames for Ipsets {
    fn name(&mut self, index: u16) -> Option<String> {
        if let Some(known) = self.names.get(&index) {
            return known.clone();
        }
        if self.socket.is_none() {
            self.socket = xtables::Socket::open(IpFamily::V4).ok();
        }
        let name = self.socket.as_ref().and_then(|s| s.set_name(index).ok());
        self.names.insert(index, name.clone());
        name
    }
}

/// Reads nf_tables of the namespace in which it was opened.
#[derive(Debug)]
pub struct Client {
    socket: Socket,
    /// For many short dumps.
    short: Socket,
    last: Option<Ruleset>,
    ipsets: Ipsets,
    /// By family, number of the table, and number of the set in it.
    constant: HashMap<(Family, u64, u64), Constant, foldhash::fast::FixedState>,
    /// Of the readings of everything.
    round: u32,
}

/// Messages with the elements of a set without a name. They never change, and asking for them is dear: the
/// kernel looks for the set in the list of all its table's sets, for each message again (`nft_set_lookup`,
/// `nf_tables_dump_set`). kube-proxy makes one such set for each Service.
#[derive(Debug)]
struct Constant {
    messages: Vec<Box<[u8]>>,
    round: u32,
}

/// A dump that another program changed the rules under.
struct Moved;

/// A reading ends by an error, or because the rules moved.
enum Stop {
    Error(Error),
    Moved,
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        match e.kind {
            ErrorKind::Interrupted { .. } => Stop::Moved,
            // What is asked for by name was listed before: it was removed since.
            _ if e.errno() == Some(libc::ENOENT) => Stop::Moved,
            _ => Stop::Error(e),
        }
    }
}

impl From<Moved> for Stop {
    fn from(_: Moved) -> Stop {
        Stop::Moved
    }
}

type Step<T> = std::result::Result<T, Stop>;

const WHAT: &str = "reading nf_tables";

fn get(message: u8, family: u8) -> Request {
    Request::nfnetlink(SUBSYSTEM, message, 0, family)
}

/// A table while it is read.
#[derive(Debug)]
struct Growing {
    head: TableHead,
    table: Table,
    counters: TableCounters,
    chains: Index<ChainId>,
    sets: Index<SetId>,
    /// Rules at most: each chain counts its rules and the jumps to it.
    uses: Vec<u32>,
    handles: Vec<u64>,
}

impl Client {
    /// Opens a socket in the calling thread's namespace. Fails where the kernel has no nf_tables, without
    /// making it load the module.
    pub fn open() -> Result<Client> {
        if !crate::kernel::module::is_there("nf_tables") {
            let hint = "modprobe nf_tables";
            return Err(Error::missing(
                WHAT,
                "the kernel has no nf_tables (module nf_tables not loaded)",
                Some(hint),
            ));
        }
        Ok(Client {
            socket: Socket::open(NETLINK_NETFILTER)?,
            short: Socket::open_with(NETLINK_NETFILTER, SHORT)?,
            last: None,
            ipsets: Ipsets::default(),
            constant: HashMap::default(),
            round: 0,
        })
    }

    /// The present generation.
    pub fn generation(&mut self) -> Result<u32> {
        let mut id = None;
        self.socket.ask(WHAT, get(message::GETGEN, 0), &mut |m| {
            id = attrs(body(m.payload)).find(|a| a.0 == 1).and_then(|a| be_uint(a.1)).map(|n| n as u32);
        })?;
        id.ok_or_else(|| Error::protocol(WHAT, "no generation"))
    }

    /// Reads everything: counters always, structure where the generation moved. While other programs change
    /// the rules it is tried a bounded number of times, then [`ErrorKind::Interrupted`].
    pub fn read(&mut self) -> Result<Ruleset> {
        for _ in 0..TRIES {
            match self.once() {
                Ok(ruleset) => return Ok(ruleset),
                Err(Stop::Error(e)) => return Err(e),
                // A change that goes on has a moment to end.
                Err(Stop::Moved) => std::thread::sleep(PAUSE),
            }
        }
        Err(Error { what: WHAT.into(), kind: ErrorKind::Interrupted { tries: TRIES } })
    }

    fn once(&mut self) -> Step<Ruleset> {
        let generation = self.generation()?;
        let same = self.last.as_ref().is_some_and(|l| l.generation == generation);
        let ruleset = match self.last.take_if(|_| same) {
            Some(last) => self.recount(last)?,
            None => self.all(generation)?,
        };
        if self.generation()? != generation {
            return Err(Stop::Moved);
        }
        self.last = Some(ruleset.clone());
        Ok(ruleset)
    }

    /// Dumps, and fails where a message belongs to another generation.
    fn dump(&mut self, generation: u32, request: Request, each: &mut dyn FnMut(Message<'_>)) -> Step<()> {
        dump(&mut self.socket, generation, request, each)
    }

    fn all(&mut self, generation: u32) -> Step<Ruleset> {
        self.round = self.round.wrapping_add(1);
        let mut growing: Vec<Growing> = Vec::new();
        self.dump(generation, get(message::GETTABLE, 0), &mut |m| {
            if let (Some(family), Some(head)) = (family_of(m.payload), parse::table(body(m.payload))) {
                let table = Table::new(family, TableBackend::NfTables, &head.name);
                growing.push(Growing::new(head, table));
            }
        })?;
        growing.sort_by(|a, b| (a.table.family, &a.table.name).cmp(&(b.table.family, &b.table.name)));
        once_each(growing.iter().map(|g| (g.table.family, &g.table.name)))?;
        self.chains(generation, &mut growing)?;
        self.sets(generation, &mut growing)?;
        for g in &growing {
            if g.chains.len() != g.table.chains.len() || g.sets.len() != g.table.sets.len() {
                return Err(Stop::Moved); // see `once_each`
            }
        }
        self.flowtables(generation, &mut growing)?;
        let mut tables = Vec::with_capacity(growing.len());
        for mut g in growing {
            g.table.dialect = dialect(&g.table);
            self.elements(generation, &mut g)?;
            self.rules(generation, &mut g)?;
            once_each(g.handles.iter())?;
            tables.push(g.finish());
        }
        let round = self.round;
        self.constant.retain(|_, c| c.round == round);
        Ok(Ruleset { generation, tables })
    }

    fn chains(&mut self, generation: u32, growing: &mut [Growing]) -> Step<()> {
        self.dump(generation, get(message::GETCHAIN, 0), &mut |m| {
            let (Some(family), Some(c)) = (family_of(m.payload), parse::chain(body(m.payload))) else {
                return;
            };
            let Some(g) = find(growing, family, c.table) else { return };
            let id = ChainId(g.table.chains.len() as u32);
            let name = g.table.strings.intern(c.name);
            let base = c.hook.and_then(|(number, priority)| {
                let hook = Hook::from_number(family, number)?;
                Some(BaseChain { hook, kind: c.kind, priority, policy: c.policy })
            });
            if let Some(counter) = c.counter {
                g.counters.policies.push((id, counter));
            }
            if let Some(comment) = c.comment {
                g.table.nf.get_or_insert_default().chain_comments.push((id, comment.to_string()));
            }
            g.table.chains.push(Chain { name, base, rules: 0..0 });
            g.chains.insert(name, id);
            g.uses.push(c.uses);
        })
    }

    fn sets(&mut self, generation: u32, growing: &mut [Growing]) -> Step<()> {
        self.dump(generation, get(message::GETSET, 0), &mut |m| {
            let bytes = body(m.payload);
            let (Some(family), Some((table, _))) = (family_of(m.payload), parse::set_names(bytes)) else {
                return;
            };
            let Some(g) = find(growing, family, table) else { return };
            if let Some(set) = parse::set(bytes, &mut g.table.strings) {
                g.sets.insert(set.name, SetId(g.table.sets.len() as u32));
                g.table.sets.push(set);
            }
        })
    }

    fn flowtables(&mut self, generation: u32, growing: &mut [Growing]) -> Step<()> {
        let found = self.dump(generation, get(message::GETFLOWTABLE, 0), &mut |m| {
            let bytes = body(m.payload);
            let (Some(family), Some((table, name))) = (family_of(m.payload), parse::set_names(bytes)) else {
                return;
            };
            if let Some(g) = find(growing, family, table) {
                g.table.nf.get_or_insert_default().flowtables.push(name.to_string());
            }
        });
        match found {
            // A kernel without flowtables says that it does not know the message.
            Err(Stop::Error(e)) if matches!(e.errno(), Some(libc::EOPNOTSUPP | libc::EINVAL)) => Ok(()),
            other => other,
        }
    }

    fn elements(&mut self, generation: u32, g: &mut Growing) -> Step<()> {
        let number = family_number(g.table.family);
        for i in 0..g.table.sets.len() {
            if !is_read(&g.table.sets[i]) {
                continue;
            }
            let name = g.table.str(g.table.sets[i].name);
            let request = get(message::GETSETELEM, number).attr_str(1, &g.table.name).attr_str(2, name);
            let (family, table) = (g.table.family, g.head.handle);
            let Table { sets, strings, .. } = &mut g.table;
            let (set, chains) = (&sets[i], &g.chains);
            // The kernel's own count is of ranges, where it tells one.
            let interval = set.flags & set_flag::INTERVAL != 0 && set.flags & set_flag::CONCAT == 0;
            let told = set.count.filter(|_| !interval && set.timeout_ms.is_none());
            let mut found = Vec::new();
            let never_changes = set.flags & NEVER_CHANGES == NEVER_CHANGES;
            let key = (family, table, set.handle);
            if let Some(known) = self.constant.get_mut(&key).filter(|_| never_changes) {
                known.round = self.round;
                for m in &known.messages {
                    parse::elements(m, set, strings, chains, &mut found);
                }
            }
            let known = !found.is_empty();
            for _ in 0..if known { 0 } else { TRIES } {
                found.clear();
                let mut messages: Vec<Box<[u8]>> = Vec::new();
                let few = set.count.is_some_and(|n| n <= FEW_ELEMENTS);
                let socket = if few { &mut self.short } else { &mut self.socket };
                dump(socket, generation, request.clone(), &mut |m| {
                    if never_changes {
                        messages.push(body(m.payload).into());
                    }
                    parse::elements(body(m.payload), set, strings, chains, &mut found);
                })?;
                if never_changes {
                    self.constant.insert(key, Constant { messages, round: self.round });
                }
                // A table that grows behind a change (`rht_deferred_worker`) is walked again from its begin:
                // elements come twice, and others not at all, in one and the same generation.
                if !interval && told != Some(found.len() as u64) {
                    let mut seen = HashSet::with_capacity(found.len());
                    found.retain(|e| seen.insert(e.key.clone()));
                }
                if told.is_none_or(|n| n == found.len() as u64) {
                    break;
                }
            }
            found.shrink_to_fit();
            let set = &mut sets[i];
            let count = if interval { found.iter().filter(|e| !e.end).count() } else { found.len() };
            set.count = Some(count as u64);
            set.elements = Some(found);
        }
        Ok(())
    }

    fn rules(&mut self, generation: u32, g: &mut Growing) -> Step<()> {
        let rules: usize = g.uses.iter().map(|n| *n as usize).sum();
        g.table.rules.reserve(rules);
        g.table.strings.reserve(rules / 3);
        let mut decoder = RuleDecoder::default();
        if rules <= ONE_DUMP {
            let request = rules_request(&g.table, None);
            return dump(&mut self.socket, generation, request, &mut |m| {
                g.rule(&mut decoder, &mut self.ipsets, body(m.payload), None);
            });
        }
        for i in 0..g.uses.len() {
            let at = g.table.rules.len() as u32;
            g.table.chains[i].rules = at..at;
            if g.uses[i] == 0 {
                continue;
            }
            let id = ChainId(i as u32);
            let request = rules_request(&g.table, Some(g.table.chain_name(id)));
            let socket = if g.uses[i] <= FEW_RULES { &mut self.short } else { &mut self.socket };
            dump(socket, generation, request, &mut |m| {
                g.rule(&mut decoder, &mut self.ipsets, body(m.payload), Some(id));
            })?;
        }
        Ok(())
    }

    /// Counters anew, of tables that count; nothing else changed.
    fn recount(&mut self, last: Ruleset) -> Step<Ruleset> {
        let Ruleset { generation, mut tables } = last;
        let mut policies: Vec<Vec<(ChainId, Counter)>> = vec![Vec::new(); tables.len()];
        if tables.iter().any(|t| !t.counters.policies.is_empty()) {
            self.dump(generation, get(message::GETCHAIN, 0), &mut |m| {
                let (Some(family), Some(c)) = (family_of(m.payload), parse::chain(body(m.payload))) else {
                    return;
                };
                let of = |t: &Reading| t.table.family == family && t.table.name == c.table;
                if let (Some(counter), Some(i)) = (c.counter, tables.iter().position(of))
                    && let Some(id) = tables[i].table.chain(c.name)
                {
                    policies[i].push((id, counter));
                }
            })?;
        }
        for (reading, policies) in tables.iter_mut().zip(policies) {
            once_each(policies.iter().map(|p| p.0))?;
            let table = reading.table.clone();
            let mut counters = TableCounters { rules: Vec::new(), policies };
            if table.rules.iter().any(|r| r.counted) {
                counters.rules = self.recount_rules(generation, &table)?;
            } else {
                counters.rules.clone_from(&reading.counters.rules);
            }
            reading.counters = Arc::new(counters);
        }
        Ok(Ruleset { generation, tables })
    }

    fn recount_rules(&mut self, generation: u32, table: &Table) -> Step<Vec<Counter>> {
        let mut found = Vec::with_capacity(table.rules.len());
        let mut read = |m: Message<'_>| {
            let list = attrs(body(m.payload)).find(|a| a.0 == 4).map_or(&[][..], |a| a.1);
            found.push(counter_of(list).unwrap_or_default());
        };
        if table.rules.len() <= ONE_DUMP {
            self.dump(generation, rules_request(table, None), &mut read)?;
        } else {
            for chain in table.chains.iter().filter(|c| !c.rules.is_empty()) {
                let request = rules_request(table, Some(table.str(chain.name)));
                if chain.rules.len() as u32 > FEW_RULES {
                    self.dump(generation, request, &mut read)?;
                } else {
                    dump(&mut self.short, generation, request, &mut read)?;
                }
            }
        }
        if found.len() == table.rules.len() { Ok(found) } else { Err(Moved.into()) }
    }

    /// Counters of single rules of a table of the last reading, without reading anything else: for what is on
    /// a screen. `None` where the rules changed since.
    pub fn counters_of(&mut self, table: &Table, rules: &[RuleId]) -> Result<Option<Vec<(RuleId, Counter)>>> {
        let Some(generation) = self.last.as_ref().map(|l| l.generation) else { return Ok(None) };
        let mut watched = Vec::with_capacity(rules.len());
        let handles = table.nf.as_ref().map_or(&[][..], |n| &n.rule_handles);
        for id in rules {
            let Some(handle) = handles.get(id.0 as usize) else { continue };
            let Some(chain) = table.chain_of(*id) else { continue };
            let request = rules_request(table, Some(table.chain_name(chain))).attr(3, &handle.to_be_bytes());
            let mut moved = false;
            let answer = self.socket.ask(WHAT, request, &mut |m| {
                moved |= generation_of(m.payload) != generation as u16;
                let list = attrs(body(m.payload)).find(|a| a.0 == 4).map_or(&[][..], |a| a.1);
                if let Some(counter) = counter_of(list) {
                    watched.push((*id, counter));
                }
            });
            match answer {
                Ok(()) if moved => return Ok(None),
                Ok(()) => {}
                Err(e) if e.errno() == Some(libc::ENOENT) => return Ok(None),
                Err(e) => return Err(e),
            }
        }
        Ok(Some(watched))
    }
}

/// While a change goes on, what it removed still stands in the kernel's lists, and a dump that resumes counts it
/// where the part before had not: objects come twice, in one and the same generation (`nf_tables_dump_chains`
/// and its kin skip inactive objects without counting them). It lasts no longer than the change.
fn once_each<T: std::hash::Hash + Eq>(objects: impl ExactSizeIterator<Item = T>) -> Step<()> {
    let mut seen: HashSet<T, foldhash::fast::FixedState> =
        HashSet::with_capacity_and_hasher(objects.len(), foldhash::fast::FixedState::default());
    for o in objects {
        if !seen.insert(o) {
            return Err(Stop::Moved);
        }
    }
    Ok(())
}

fn dump(
    socket: &mut Socket,
    generation: u32,
    request: Request,
    each: &mut dyn FnMut(Message<'_>),
) -> Step<()> {
    let mut moved = false;
    socket.dump(WHAT, request, &mut |m| {
        moved |= generation_of(m.payload) != generation as u16;
        if !moved {
            each(m);
        }
    })?;
    if moved { Err(Stop::Moved) } else { Ok(()) }
}

/// Which rules: of a table, or of one chain of it.
fn rules_request(table: &Table, chain: Option<&str>) -> Request {
    let request = get(message::GETRULE, family_number(table.family)).attr_str(1, &table.name);
    match chain {
        Some(chain) => request.attr_str(2, chain),
        None => request,
    }
}

/// Whether a set's elements are read.
fn is_read(set: &Set) -> bool {
    let small = set.count.is_none_or(|n| n <= SMALL_SET);
    set.flags & set_flag::ANONYMOUS != 0 || (!set.is_dynamic() && (set.is_map() || small))
}

fn find<'a>(growing: &'a mut [Growing], family: Family, name: &str) -> Option<&'a mut Growing> {
    growing.iter_mut().find(|g| g.table.family == family && g.table.name == name)
}

/// Tables of iptables-nft have the names of iptables' tables, and its base chains.
fn dialect(table: &Table) -> Dialect {
    let names: &[&str] = match table.family {
        Family::Ip | Family::Ip6 => &["filter", "nat", "mangle", "raw", "security"],
        _ => &[],
    };
    let built_in =
        |c: &Chain| c.base.is_none_or(|b| Hook::from_chain_name(table.str(c.name)) == Some(b.hook));
    if names.contains(&table.name.as_str()) && table.chains.iter().all(built_in) {
        Dialect::Iptables
    } else {
        Dialect::Nft
    }
}

impl Growing {
    fn new(head: TableHead, table: Table) -> Growing {
        Growing {
            head,
            table,
            counters: TableCounters::default(),
            chains: Index::default(),
            sets: Index::default(),
            uses: Vec::new(),
            handles: Vec::new(),
        }
    }

    /// Takes a rule. Without a chain it says itself where it stands.
    fn rule(&mut self, decoder: &mut RuleDecoder, ipsets: &mut Ipsets, bytes: &[u8], chain: Option<ChainId>) {
        let (mut name, mut handle, mut list, mut user_data) = (None, 0, &[][..], &[][..]);
        for (kind, v) in attrs(bytes) {
            match kind {
                2 => name = Some(v),
                3 => handle = be_uint(v).unwrap_or(0),
                4 => list = v,
                7 => user_data = v,
                _ => {}
            }
        }
        let chain = chain.or_else(|| {
            let name = self.table.strings.find(str_of(name?)?)?;
            self.chains.get(&name).copied()
        });
        let Some(chain) = chain else { return };
        let Table { strings, sets, matches, family, dialect, .. } = &mut self.table;
        let first_match = matches.len() as u32;
        let mut scope = Scope {
            family: *family,
            dialect: *dialect,
            strings,
            chains: &self.chains,
            set_index: &self.sets,
            sets,
            set_names: ipsets,
        };
        let Decoded { target, counter } =
            decoder.rule(&mut scope, list, parse::comment(user_data, 0), matches);
        let match_count = (matches.len() as u32 - first_match).min(u32::from(u16::MAX)) as u16;
        let at = self.table.rules.len() as u32;
        let range = &mut self.table.chains[chain.0 as usize].rules;
        if range.start == range.end {
            *range = at..at;
        }
        range.end = at + 1;
        self.table.rules.push(Rule { first_match, match_count, counted: counter.is_some(), target });
        self.counters.rules.push(counter.unwrap_or_default());
        self.handles.push(handle);
    }

    fn finish(mut self) -> Reading {
        let table = &mut self.table;
        // Chains without rules stand where the next rule does.
        let mut at = 0;
        for c in &mut table.chains {
            if c.rules.is_empty() {
                c.rules = at..at;
            }
            at = c.rules.end;
        }
        table.chains.shrink_to_fit();
        table.rules.shrink_to_fit();
        table.matches.shrink_to_fit();
        self.handles.shrink_to_fit();
        table.strings.shrink_to_fit();
        let nf = table.nf.get_or_insert_default();
        nf.flags = self.head.flags;
        nf.comment = self.head.comment;
        nf.handle = self.head.handle;
        nf.rule_handles = self.handles;
        self.counters.rules.shrink_to_fit();
        Reading { table: Arc::new(self.table), counters: Arc::new(self.counters) }
    }
}

/// A table that tests feed with messages.
#[cfg(test)]
pub(super) struct Fed {
    growing: Growing,
    decoder: RuleDecoder,
    ipsets: Ipsets,
}

#[cfg(test)]
impl Fed {
    /// Chains and sets of a table, without its rules.
    pub(super) fn new(like: &Table, family: Family, dialect: Dialect) -> Fed {
        let mut table = Table::new(family, TableBackend::NfTables, &like.name);
        table.dialect = dialect;
        table.strings = like.strings.clone();
        table.sets.clone_from(&like.sets);
        let mut growing = Growing::new(TableHead::default(), table);
        for (i, c) in like.chains.iter().enumerate() {
            growing.table.chains.push(Chain { rules: 0..0, ..c.clone() });
            growing.chains.insert(c.name, ChainId(i as u32));
        }
        for (i, s) in like.sets.iter().enumerate() {
            growing.sets.insert(s.name, SetId(i as u32));
        }
        // Names of ipsets are a question to the kernel.
        let names = (0..64).map(|i| (i, Some(format!("set{i}")))).collect();
        Fed { growing, decoder: RuleDecoder::default(), ipsets: Ipsets { socket: None, names } }
    }

    pub(super) fn rule(&mut self, bytes: &[u8]) {
        self.growing.rule(&mut self.decoder, &mut self.ipsets, bytes, None);
    }

    /// Puts the elements of a message into a set.
    pub(super) fn elements(&mut self, set: usize, bytes: &[u8]) {
        let Table { sets, strings, .. } = &mut self.growing.table;
        let i = set % sets.len();
        let mut found = Vec::new();
        parse::elements(bytes, &sets[i], strings, &self.growing.chains, &mut found);
        sets[i].elements = Some(found);
    }

    pub(super) fn finish(self) -> Table {
        Arc::try_unwrap(self.growing.finish().table).expect("nobody else holds it")
    }
}
