//! What hangs on netfilter's hooks, as nfnetlink_hook lists it (`linux/netfilter/nfnetlink_hook.h`, since 5.14).

use super::netlink::{Message, NETLINK_NETFILTER, Request, Socket, attrs, be_uint, nfnetlink_body, text};
use super::{Error, Result, linux, module};

/// `NFNL_SUBSYS_HOOK` (`linux/netfilter/nfnetlink.h`)
const SUBSYSTEM: u8 = 12;
/// `NFNL_MSG_HOOK_GET`
const GET: u8 = 0;
const WHAT: &str = "reading the hooks of netfilter";

/// A function on a hook.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Function {
    /// Number of the hook in its family.
    pub hook: u32,
    /// In which order: lower first.
    pub priority: i32,
    /// Its name in the kernel.
    pub name: String,
    /// Its module, where it is in one.
    pub module: String,
}

/// The functions on the first `hooks` hooks of a family (`NFPROTO_*`), in the order in which they run.
///
/// Fails where the kernel has no such list, without making it load the module.
pub fn read(family: u8, hooks: u32) -> Result<Vec<Function>> {
    let missing = || {
        Error::missing(
            WHAT,
            "this kernel does not list them (module nfnetlink_hook not loaded)",
            Some("modprobe nfnetlink_hook"),
        )
    };
    if !module::is_there("nfnetlink_hook") {
        return Err(missing());
    }
    let mut socket = Socket::open(NETLINK_NETFILTER)?;
    let mut found = Vec::new();
    for hook in 0..hooks {
        let request = Request::nfnetlink(SUBSYSTEM, GET, 0, family).attr(1, &hook.to_be_bytes());
        let read = socket.dump(WHAT, request, &mut |m: Message<'_>| {
            found.push(Function { hook, ..parse(nfnetlink_body(m.payload)) });
        });
        match read {
            Ok(()) => {}
            // No such subsystem; or nothing on this hook.
            Err(e) if e.errno() == Some(linux::EOPNOTSUPP) || e.errno() == Some(linux::EINVAL) => {
                return Err(missing());
            }
            Err(e) if e.errno() == Some(linux::ENOENT) => {}
            Err(e) => return Err(e),
        }
    }
    Ok(found)
}

pub(super) fn parse(bytes: &[u8]) -> Function {
    let mut f = Function::default();
    for (kind, v) in attrs(bytes) {
        match kind {
            2 => f.priority = be_uint(v).unwrap_or(0) as i32,
            4 => f.name = text(v),
            5 => f.module = text(v),
            _ => {}
        }
    }
    f
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fuzz_hooks() {
        let seed = Request::part()
            .attr(1, &2u32.to_be_bytes())
            .attr(2, &(-200i32).to_be_bytes())
            .attr_str(4, "ebt_do_table")
            .attr_str(5, "ebtables")
            .into_bytes();
        let f = parse(&seed);
        assert_eq!((f.priority, f.name.as_str(), f.module.as_str()), (-200, "ebt_do_table", "ebtables"));
        crate::fuzz::run("hooks", &[seed], |bytes| {
            let _ = parse(bytes);
        });
    }
}
