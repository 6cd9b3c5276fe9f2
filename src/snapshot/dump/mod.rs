//! A snapshot out of files that other tools wrote: what people send each other.
//!
//! What a text is, its content says (and for small ones, its name): each form of text is one file under `forms`. Files, directories and
//! archives are walked (`gather`), taken apart into the outputs of single commands (`sections`), told from other nodes' (`nodes`), and
//! put together (`reader`). The same snapshot, so the same panes, doctor and explanations; what files cannot say is named in
//! `unread`, and what was used of each in `parts`.

mod archive;
mod finish;
mod forms;
mod gather;
mod glance;
mod json;
mod missing;
mod nodes;
mod reader;
mod report;
mod sections;

pub(crate) use gather::of_texts;
pub use gather::{BUDGET, find_in_archive, read, read_of};
pub use report::InputPart;
