//! Reading `iptables-save` and `ip6tables-save` text, with or without `-c`.

mod extensions;
mod parser;
mod targets;

pub use parser::parse_save;
