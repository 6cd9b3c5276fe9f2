//! Whether a part of the kernel is there. Asking it by netlink would make the kernel load its module, and
//! kptop leaves a node as it was.

use super::{Error, Result};
use std::fs;
use std::path::Path;

/// True where the module is loaded or built in, or cannot be loaded anyway, so that asking changes nothing.
pub fn is_there(name: &str) -> bool {
    let Ok(loaded) = fs::read_to_string("/proc/modules") else {
        // A kernel without modules; or procfs is hidden, and only sysfs says.
        return super::procfs_is_there() || Path::new("/sys/module").join(name).exists();
    };
    is_loaded(&loaded, name) || Path::new("/sys/module").join(name).exists() || is_built_in(name)
}

/// An error where a part of the kernel is not there, or where that cannot be seen.
///
/// # Errors
/// See above; `why` and `hint` are for a kernel that is known not to have it.
pub fn need(name: &str, what: &str, why: &str, hint: Option<&str>) -> Result<()> {
    match is_there(name) {
        true => Ok(()),
        false if !super::procfs_is_there() => Err(Error::hidden(what, "/proc/modules")),
        false => Err(Error::missing(what, why, hint)),
    }
}

fn is_loaded(modules: &str, name: &str) -> bool {
    modules.lines().any(|l| l.split(' ').next() == Some(name))
}

fn is_built_in(name: &str) -> bool {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let list = format!("/lib/modules/{}/modules.builtin", release.trim());
    fs::read_to_string(list).is_ok_and(|text| lists(&text, name))
}

/// True where `modules.builtin` names the module; its files may write `-` for `_`.
fn lists(text: &str, name: &str) -> bool {
    text.lines().any(|l| {
        let file = l.rsplit('/').next().unwrap_or(l);
        file.strip_suffix(".ko").unwrap_or(file).replace('-', "_") == name
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_whole_word_by_whole_word() {
        let loaded = "nf_tables_set 16384 0 - Live\nip_set_hash_ip 1 1 - Live\n";
        assert!(is_loaded(loaded, "nf_tables_set"));
        assert!(!is_loaded(loaded, "nf_tables") && !is_loaded(loaded, "ip_set"));
        let built_in = "kernel/net/netfilter/nf-tables.ko\nkernel/net/x.ko\n";
        assert!(lists(built_in, "nf_tables") && !lists(built_in, "tables"));
    }
}
