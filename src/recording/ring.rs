//! The last minutes of a live session, in bounded memory.

use super::write::{Block, Encoder};
use super::{Head, Recording};
use crate::snapshot::Snapshot;
use std::collections::VecDeque;
use std::io::{self, Write};
use std::time::Duration;

/// The last readings, as a recording holds them.
#[derive(Debug)]
pub struct Ring {
    head: Head,
    encoder: Encoder,
    pieces: VecDeque<Block>,
    frames: VecDeque<Block>,
    bytes: usize,
    most_bytes: usize,
    most_time: Duration,
}

impl Ring {
    /// Keeps up to so many bytes and so much time; the last whole reading with what hangs on it is always kept.
    pub fn new(head: Head, most_bytes: usize, most_time: Duration) -> Ring {
        Ring {
            head,
            encoder: Encoder::default(),
            pieces: VecDeque::new(),
            frames: VecDeque::new(),
            bytes: 0,
            most_bytes,
            most_time,
        }
    }

    /// Bytes in use.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Readings that are kept.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// True where nothing is kept.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// Adds a reading.
    pub fn push(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        for block in self.encoder.encode(snapshot)? {
            self.bytes += block.bytes().len();
            match block {
                Block::Piece { .. } => self.pieces.push_back(block),
                Block::Frame { .. } => self.frames.push_back(block),
            }
        }
        self.forget();
        Ok(())
    }

    fn forget(&mut self) {
        let time = |b: &Block| match b {
            Block::Frame { time, .. } => *time,
            Block::Piece { .. } => 0,
        };
        let is_whole = |b: &Block| matches!(b, Block::Frame { whole: true, .. });
        let mut forgot = false;
        loop {
            let (Some(first), Some(last)) = (self.frames.front(), self.frames.back()) else { return };
            let span = Duration::from_micros(time(last).saturating_sub(time(first)).max(0) as u64);
            if self.bytes <= self.most_bytes && span <= self.most_time {
                break;
            }
            // A whole reading goes with those that are stored as differences to it.
            let Some(next) = self.frames.iter().skip(1).position(is_whole) else { break };
            for gone in self.frames.drain(..=next) {
                self.bytes -= gone.bytes().len();
            }
            forgot = true;
            self.drop_pieces();
        }
        if forgot {
            self.pieces.shrink_to_fit();
        }
    }

    fn drop_pieces(&mut self) {
        let mut used: Vec<u32> = Vec::new();
        for f in &self.frames {
            if let Block::Frame { pieces, .. } = f {
                used.extend(pieces);
            }
        }
        used.sort_unstable();
        used.dedup();
        // Bases of later pieces, also of those to come.
        let bases: Vec<u32> = self
            .pieces
            .iter()
            .filter_map(|p| match p {
                Block::Piece { id, base, .. } if used.binary_search(id).is_ok() => *base,
                _ => None,
            })
            .chain(self.encoder.bases())
            .collect();
        let bytes = &mut self.bytes;
        self.pieces.retain(|p| match p {
            Block::Piece { id, bytes: held, .. } => {
                let keep = used.binary_search(id).is_ok() || bases.contains(id);
                if !keep {
                    *bytes -= held.len();
                }
                keep
            }
            Block::Frame { .. } => true,
        });
    }

    /// What is kept now, to look into. Nothing is copied.
    pub fn recording(&self) -> Recording {
        Recording::of_blocks(self.head.clone(), self.pieces.iter().chain(&self.frames))
    }

    /// Writes what is kept.
    pub fn save(&self, out: &mut impl Write) -> io::Result<()> {
        out.write_all(&self.head.bytes()?)?;
        self.pieces.iter().chain(&self.frames).try_for_each(|b| out.write_all(b.bytes()))
    }
}
