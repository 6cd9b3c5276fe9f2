//! What a recording is.

use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::io::{self, Read, Write};

/// What a session begins with.
pub const MAGIC: &[u8; 8] = b"kptoprec";

/// The version of the format that is written; up to this one all are read.
pub const VERSION: u16 = 1;

/// Lengths beyond this are damage, not data.
pub(super) const MOST: u32 = 1 << 30;

/// zstd's level: 3 is its default.
pub(super) const LEVEL: i32 = 3;

/// What a session says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Head {
    /// The kptop that recorded.
    pub written_by: String,
    /// Milliseconds between readings, as asked for; 0 where that is not known.
    pub every_ms: u64,
    /// True where names and addresses were replaced.
    pub redacted: bool,
}

impl Head {
    /// This kptop's.
    pub fn new(every: std::time::Duration, redacted: bool) -> Head {
        Head { written_by: env!("CARGO_PKG_VERSION").into(), every_ms: every.as_millis() as u64, redacted }
    }

    /// The bytes that a session begins with.
    pub(crate) fn bytes(&self) -> io::Result<Vec<u8>> {
        let body = rmp_serde::to_vec_named(self).map_err(io::Error::other)?;
        let mut out = MAGIC.to_vec();
        out.extend(VERSION.to_le_bytes());
        out.extend((body.len() as u32).to_le_bytes());
        out.extend(body);
        Ok(out)
    }
}

/// Tags of blocks.
pub(super) mod tag {
    pub(in crate::recording) const PIECE: u8 = b'P';
    pub(in crate::recording) const PIECE_DIFFERENCE: u8 = b'Q';
    pub(in crate::recording) const FRAME: u8 = b'F';
    pub(in crate::recording) const FRAME_DIFFERENCE: u8 = b'D';
}

/// The window must reach over the prefix and what follows it.
pub(super) fn window(prefix: usize, len: usize) -> u32 {
    ((prefix + len).next_power_of_two().trailing_zeros() + 1).clamp(10, 30)
}

/// Compresses, stored as the difference to `prefix` where there is one.
pub(super) fn pack(bytes: &[u8], prefix: &[u8]) -> io::Result<Vec<u8>> {
    let out = Vec::with_capacity(bytes.len() / 8 + 64);
    let mut encoder = match prefix.is_empty() {
        true => zstd::stream::write::Encoder::new(out, LEVEL)?,
        false => {
            let mut e = zstd::stream::write::Encoder::with_ref_prefix(out, LEVEL, prefix)?;
            e.window_log(window(prefix.len(), bytes.len()))?;
            e.long_distance_matching(prefix.len() > 1 << 20)?;
            e
        }
    };
    encoder.include_checksum(true)?;
    encoder.set_pledged_src_size(Some(bytes.len() as u64))?;
    encoder.write_all(bytes)?;
    encoder.finish()
}

/// A value, encoded and compressed in one go: all of its bytes are never there at once, as they may be many.
pub(super) fn pack_value<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    let mut encoder = zstd::stream::write::Encoder::new(Vec::new(), LEVEL)?;
    encoder.include_checksum(true)?;
    let mut out = io::BufWriter::with_capacity(1 << 16, encoder);
    rmp_serde::encode::write_named(&mut out, value).map_err(io::Error::other)?;
    out.into_inner().map_err(io::IntoInnerError::into_error)?.finish()
}

/// The opposite of [`pack`] and [`pack_value`].
pub(super) fn unpack(bytes: &[u8], prefix: &[u8]) -> io::Result<Vec<u8>> {
    let mut out = Vec::new();
    let mut decoder = match prefix.is_empty() {
        true => zstd::stream::read::Decoder::with_buffer(bytes)?,
        false => zstd::stream::read::Decoder::with_ref_prefix(bytes, prefix)?,
    };
    decoder.window_log_max(30)?;
    decoder.take(u64::from(MOST) + 1).read_to_end(&mut out)?;
    match out.len() > MOST as usize {
        true => Err(io::Error::other("it is larger than a gigabyte")),
        false => Ok(out),
    }
}

pub(super) fn encode<T: Serialize>(value: &T) -> io::Result<Vec<u8>> {
    rmp_serde::to_vec_named(value).map_err(io::Error::other)
}

pub(super) fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    rmp_serde::from_slice(bytes).map_err(|e| e.to_string())
}
