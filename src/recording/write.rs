//! Snapshots -> blocks.

use super::frame::{Frame, Piece, PieceId};
use super::{Head, encode, pack, pack_value, tag, unpack};
use crate::snapshot::Snapshot;
use std::fs::File;
use std::io::{self, Write};
use std::path::Path;
use std::sync::Arc;

/// Readings stored as their difference to the same whole one, at most: what a jump has to read stays small.
const MOST_DIFFERENCES: usize = 120;

/// A block with what it depends on.
#[derive(Clone, Debug)]
pub(super) enum Block {
    /// Number, and the piece that it is stored as differences to.
    Piece { id: PieceId, base: Option<PieceId>, bytes: Arc<[u8]> },
    /// Microseconds since 1970; whole or a difference.
    Frame { time: i64, whole: bool, pieces: Vec<PieceId>, bytes: Arc<[u8]> },
}

impl Block {
    pub(super) fn bytes(&self) -> &Arc<[u8]> {
        match self {
            Block::Piece { bytes, .. } | Block::Frame { bytes, .. } => bytes,
        }
    }
}

/// A piece that the last reading named.
#[derive(Debug)]
struct Written {
    id: PieceId,
    piece: Piece,
    /// The whole piece that newer ones of its kin are stored as differences to.
    base: Option<Base>,
}

/// A whole piece.
#[derive(Debug)]
struct Base {
    id: PieceId,
    /// Its block: what is never another again, as a table may be, is kept as small as it is written.
    block: Arc<[u8]>,
    /// Unpacked for the first difference, and kept for those that follow.
    open: Vec<u8>,
}

/// Bytes of a block before what is packed in it: tag, length, and a piece's number.
const PIECE_FRONT: usize = 9;

impl Base {
    fn packed(&self) -> &[u8] {
        &self.block[PIECE_FRONT..]
    }
}

/// Makes blocks out of snapshots.
#[derive(Debug, Default)]
pub struct Encoder {
    known: Vec<Written>,
    next: PieceId,
    /// The last whole reading, its compressed length, and how many refer to it.
    whole: Option<(Vec<u8>, usize, usize)>,
}

fn block(tag: u8, front: &[u8], body: &[u8]) -> Arc<[u8]> {
    let mut out = Vec::with_capacity(5 + front.len() + body.len());
    out.push(tag);
    out.extend(((front.len() + body.len()) as u32).to_le_bytes());
    out.extend(front);
    out.extend(body);
    out.into()
}

impl Encoder {
    /// The blocks of one more snapshot.
    pub(super) fn encode(&mut self, snapshot: &Snapshot) -> io::Result<Vec<Block>> {
        let mut blocks = Vec::new();
        let mut used = Vec::new();
        let mut failed = None;
        let frame = Frame::new(snapshot, |piece| match self.put(piece, &mut blocks) {
            Ok(id) => {
                used.push(id);
                id
            }
            Err(e) => {
                failed = Some(e);
                0
            }
        });
        if let Some(e) = failed {
            return Err(e);
        }
        self.known.retain(|k| used.contains(&k.id));
        let body = encode(&frame)?;
        let time = snapshot.taken_at.as_microsecond();
        let front = time.to_le_bytes();
        if let Some((prefix, length, count)) = &mut self.whole
            && *count < MOST_DIFFERENCES
        {
            let packed = pack(&body, prefix)?;
            if packed.len() * 2 < *length {
                *count += 1;
                let bytes = block(tag::FRAME_DIFFERENCE, &front, &packed);
                blocks.push(Block::Frame { time, whole: false, pieces: used, bytes });
                return Ok(blocks);
            }
        }
        let packed = pack(&body, &[])?;
        let bytes = block(tag::FRAME, &front, &packed);
        self.whole = Some((body, packed.len(), 0));
        blocks.push(Block::Frame { time, whole: true, pieces: used, bytes });
        Ok(blocks)
    }

    /// Pieces that later ones may be stored as differences to.
    pub(super) fn bases(&self) -> impl Iterator<Item = PieceId> {
        self.known.iter().filter_map(|k| Some(k.base.as_ref()?.id))
    }

    fn put(&mut self, piece: Piece, blocks: &mut Vec<Block>) -> io::Result<PieceId> {
        if let Some(known) = self.known.iter().find(|k| k.piece.is(&piece)) {
            return Ok(known.id);
        }
        let id = self.next;
        self.next += 1;
        let old = self.known.iter().position(|k| k.piece.is_kin(&piece));
        let base = old.and_then(|i| self.known.swap_remove(i).base);
        let packed = if let Some(mut base) = base {
            let body = encode(&piece)?;
            if base.open.is_empty() {
                base.open = unpack(base.packed(), &[])?;
            }
            let packed = pack(&body, &base.open)?;
            if packed.len() * 2 < base.packed().len() {
                let front: Vec<u8> = [id.to_le_bytes(), base.id.to_le_bytes()].concat();
                let bytes = block(tag::PIECE_DIFFERENCE, &front, &packed);
                blocks.push(Block::Piece { id, base: Some(base.id), bytes });
                self.known.push(Written { id, piece, base: Some(base) });
                return Ok(id);
            }
            pack(&body, &[])?
        } else {
            pack_value(&piece)?
        };
        let bytes = block(tag::PIECE, &id.to_le_bytes(), &packed);
        // What is small is written whole each time: its bytes need not be kept.
        let base = (packed.len() > 4096).then(|| Base { id, block: bytes.clone(), open: Vec::new() });
        blocks.push(Block::Piece { id, base: None, bytes });
        self.known.push(Written { id, piece, base });
        Ok(id)
    }
}

/// A recording that grows in a file.
#[derive(Debug)]
pub struct FileWriter {
    file: File,
    encoder: Encoder,
    written: u64,
    readings: u64,
    largest: u64,
}

impl FileWriter {
    /// A new file; one that is there is left as it is, and that is an error.
    pub fn create(path: &Path, head: &Head) -> io::Result<FileWriter> {
        let file = File::options().write(true).create_new(true).open(path)?;
        FileWriter::begin(file, head, 0)
    }

    /// Another session at the end of a recording, behind its last whole block, where `end` is.
    pub fn append(path: &Path, head: &Head, end: u64) -> io::Result<FileWriter> {
        let mut file = File::options().write(true).open(path)?;
        file.set_len(end)?;
        io::Seek::seek(&mut file, io::SeekFrom::Start(end))?;
        FileWriter::begin(file, head, end)
    }

    fn begin(mut file: File, head: &Head, before: u64) -> io::Result<FileWriter> {
        let bytes = head.bytes()?;
        file.write_all(&bytes)?;
        let written = before + bytes.len() as u64;
        Ok(FileWriter { file, encoder: Encoder::default(), written, readings: 0, largest: 0 })
    }

    /// Writes one more snapshot: when this returns, it will be replayed.
    pub fn write(&mut self, snapshot: &Snapshot) -> io::Result<()> {
        let blocks = self.encoder.encode(snapshot)?;
        let bytes: Vec<u8> = blocks.iter().flat_map(|b| b.bytes().iter().copied()).collect();
        self.file.write_all(&bytes)?;
        self.written += bytes.len() as u64;
        self.largest = self.largest.max(bytes.len() as u64);
        self.readings += 1;
        Ok(())
    }

    /// True where one more reading of the largest size so far leaves the file no larger than this.
    pub fn fits(&self, most: u64) -> bool {
        self.written + self.largest <= most
    }

    /// Bytes in the file.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// Readings that were written.
    pub fn readings(&self) -> u64 {
        self.readings
    }

    /// Waits until the disk has it.
    pub fn sync(&self) -> io::Result<()> {
        self.file.sync_all()
    }
}
