//! A snapshot out of files that other tools wrote: what people send each other.
//!
//! What a file is, its content says (and for small ones, its name). The same snapshot, so the same panes, doctor and
//! explanations; what files cannot say is named in `unread`.

mod conntrack;
mod ipset;
mod ipvsadm;
mod listing;
mod missing;
mod node;
mod parts;
mod sections;

#[cfg(test)]
pub(crate) use parts::of_texts;
pub use parts::{BUDGET, read, read_within};
