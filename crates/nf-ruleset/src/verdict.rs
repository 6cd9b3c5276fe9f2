//! Where a packet goes on, and what is not understood.

use crate::{ChainId, StrId};
use serde::{Deserialize, Serialize};

/// An extension that kptop does not decode: what the kernel said, whole.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Unknown {
    /// Its name.
    pub name: StrId,
    /// Its revision.
    pub revision: u8,
    /// Its data as the kernel gave it.
    pub bytes: Box<[u8]>,
}

/// Where a packet goes after a rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Verdict {
    /// `ACCEPT`
    Accept,
    /// `DROP`
    Drop,
    /// `QUEUE`
    Queue,
    /// `RETURN`
    Return,
    /// `continue` (nf_tables): nothing.
    Continue,
    /// `-j CHAIN`
    Jump(ChainId),
    /// `-g CHAIN`
    Goto(ChainId),
}

/// Name of the [`Unknown`] that represents a part of `nft`'s text that was not understood: its bytes are that text.
pub const UNREAD: &str = "nft";
