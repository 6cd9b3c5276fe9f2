//! Reading `iptables-save` and `ip6tables-save` text, with or without `-c`.

mod extensions;
mod parser;
mod targets;

pub use parser::{LenientSave, UNREAD_RULE, parse_save, parse_save_lenient};
