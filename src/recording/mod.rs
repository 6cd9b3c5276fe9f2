//! Recordings: snapshots one after the other, compressed, in a file or in memory.
//!
//! A recording is a row of sessions, so that two files one behind the other are one. A session begins with a head:
//! [`MAGIC`], the version of the format and the length of what follows (both little-endian), and a [`Head`]. Then come
//! blocks, each a tag, the length of the rest and the rest:
//!
//! | tag | holds |
//! |---|---|
//! | `P` | what seldom changes (a table, the node): its number, then the piece |
//! | `Q` | the same, stored as the difference to an earlier piece: its number, that of the other, then the piece |
//! | `F` | a reading: microseconds since 1970, then the reading |
//! | `D` | the same, stored as the difference to the last `F` |
//!
//! Pieces and readings are MessagePack with fields by name (what a newer kptop adds has a default, so that it reads what
//! an older one wrote), compressed by zstd with a checksum. A difference is zstd's: the other one is its prefix. A reading
//! is whole once its last byte is there: a file that was cut off replays up to where it was cut.

mod file;
mod frame;
mod read;
mod redact;
mod ring;
mod write;

pub use file::{Head, MAGIC, VERSION};
use file::{MOST, decode, encode, pack, pack_value, tag, unpack};
pub use read::{Cut, Recording};
pub use redact::Redactor;
pub use ring::Ring;
pub use write::{Encoder, FileWriter};
