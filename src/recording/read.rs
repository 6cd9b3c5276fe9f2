//! Blocks -> snapshots, in any order.

use super::frame::{Frame, Piece, PieceId};
use super::write::Block;
use super::{Head, MAGIC, MOST, VERSION, decode, tag, unpack};
use crate::snapshot::Snapshot;
use jiff::Timestamp;
use std::collections::HashMap;
use std::fs::File;
use std::path::Path;
use std::sync::Arc;

/// Where the bytes of a block are, behind its tag and length.
#[derive(Clone, Debug)]
enum Place {
    File(u64, u32),
    MatchResult(Arc<[u8]>),
}

#[derive(Clone, Debug)]
struct FrameAt {
    time: i64,
    session: usize,
    /// The reading that it is stored as differences to; itself where it is whole.
    whole: usize,
    place: Place,
}

#[derive(Debug, Default)]
struct Session {
    head: Head,
    pieces: HashMap<PieceId, (Option<PieceId>, Place)>,
}

/// Where and why a recording ends before its time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cut {
    /// Where the last whole block ends.
    pub at: u64,
    /// Bytes of the file.
    pub length: u64,
    /// What is wrong behind it.
    pub what: String,
}

impl std::fmt::Display for Cut {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} (whole up to byte {} of {})", self.what, self.at, self.length)
    }
}

/// Pieces that are kept in memory, so that readings that share one share it here, too.
const MOST_KEPT: usize = 64;

/// A recording to look into.
#[derive(Debug)]
pub struct Recording {
    file: Option<Bytes>,
    sessions: Vec<Session>,
    frames: Vec<FrameAt>,
    cut: Option<Cut>,
    end: u64,
    kept: Vec<((usize, PieceId), Piece)>,
    /// The last whole reading that was unpacked.
    whole: Option<(usize, Arc<Vec<u8>>)>,
}

/// Where the bytes of a recording are.
#[derive(Debug)]
enum Bytes {
    File(File),
    Memory(Vec<u8>),
}

#[cfg(unix)]
fn read_exact_at(file: &File, bytes: &mut [u8], offset: u64) -> std::io::Result<()> {
    std::os::unix::fs::FileExt::read_exact_at(file, bytes, offset)
}

#[cfg(windows)]
fn read_exact_at(file: &File, mut bytes: &mut [u8], mut offset: u64) -> std::io::Result<()> {
    while !bytes.is_empty() {
        match std::os::windows::fs::FileExt::seek_read(file, bytes, offset)? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            n => {
                bytes = &mut bytes[n..];
                offset += n as u64;
            }
        }
    }
    Ok(())
}

impl Recording {
    /// Opens a file. The error says what it is instead; a file that is cut off is none.
    pub fn open(path: &Path) -> Result<Recording, String> {
        let wrong = |e: std::io::Error| format!("reading {}: {e}", path.display());
        // A pipe or a device has no end to look at, and opening one may wait for ever.
        if !std::fs::metadata(path).map_err(wrong)?.is_file() {
            return Err(format!("{} is no file: a recording is read from its end, too", path.display()));
        }
        let file = File::open(path).map_err(wrong)?;
        let mut recording = Recording::empty(Some(Bytes::File(file)));
        recording.index().map_err(|e| format!("{}: {e}", path.display()))?;
        Ok(recording)
    }

    /// Opens one whose bytes are at hand, as those of a file of an archive.
    ///
    /// # Errors
    /// What it is instead.
    pub fn of_bytes(name: &str, bytes: Vec<u8>) -> Result<Recording, String> {
        let mut recording = Recording::empty(Some(Bytes::Memory(bytes)));
        recording.index().map_err(|e| format!("{name}: {e}"))?;
        Ok(recording)
    }

    fn empty(file: Option<Bytes>) -> Recording {
        Recording {
            file,
            sessions: Vec::new(),
            frames: Vec::new(),
            cut: None,
            end: 0,
            kept: Vec::new(),
            whole: None,
        }
    }

    /// Out of blocks that lie in memory.
    pub(super) fn of_blocks<'a>(head: Head, blocks: impl Iterator<Item = &'a Block>) -> Recording {
        let mut recording = Recording::empty(None);
        recording.sessions.push(Session { head, pieces: HashMap::new() });
        for block in blocks {
            let place = Place::MatchResult(block.bytes().clone());
            match block {
                Block::Piece { id, base, .. } => {
                    recording.sessions[0].pieces.insert(*id, (*base, place));
                }
                Block::Frame { time, whole, .. } => recording.add_frame(*time, *whole, place),
            }
        }
        recording
    }

    fn add_frame(&mut self, time: i64, whole: bool, place: Place) {
        let session = self.sessions.len() - 1;
        let index = self.frames.len();
        let last = self.frames.last().filter(|f| f.session == session);
        // A difference without the reading that it is stored as differences to is left out.
        let whole = match (whole, last) {
            (true, _) => index,
            (false, Some(last)) => last.whole,
            (false, None) => return,
        };
        self.frames.push(FrameAt { time, session, whole, place });
    }

    /// True for the beginning of a recording.
    pub fn is_one(beginning: &[u8]) -> bool {
        beginning.starts_with(MAGIC)
    }

    fn bytes(&self, offset: u64, length: usize) -> std::io::Result<Vec<u8>> {
        let file = self.file.as_ref().ok_or_else(|| std::io::Error::other("there is no file"))?;
        match file {
            Bytes::File(file) => {
                let mut bytes = vec![0; length];
                read_exact_at(file, &mut bytes, offset)?;
                Ok(bytes)
            }
            Bytes::Memory(all) => {
                let from = usize::try_from(offset).ok().and_then(|o| all.get(o..)?.get(..length));
                from.map(<[u8]>::to_vec).ok_or_else(|| std::io::ErrorKind::UnexpectedEof.into())
            }
        }
    }

    fn index(&mut self) -> Result<(), String> {
        let length = match &self.file {
            Some(Bytes::File(f)) => f.metadata().map_err(|e| e.to_string())?.len(),
            Some(Bytes::Memory(bytes)) => bytes.len() as u64,
            None => 0,
        };
        if length == 0 {
            return Err("it is empty: nothing was recorded".into());
        }
        let beginning = self.bytes(0, (length as usize).min(MAGIC.len())).map_err(|e| e.to_string())?;
        if !MAGIC.starts_with(&beginning) {
            return Err("it is no recording of kptop (`kptop record FILE` makes one)".into());
        }
        let mut at = 0;
        while at < length {
            match self.block(at, length) {
                Ok(next) => at = next,
                Err(Stop::Newer(version)) if at == 0 => {
                    return Err(format!(
                        "it has version {version} of the format, and this kptop reads up to {VERSION}: use a newer kptop"
                    ));
                }
                Err(Stop::Newer(version)) => {
                    let what = format!("what follows has version {version} of the format: use a newer kptop");
                    self.cut = Some(Cut { at, length, what });
                    break;
                }
                Err(Stop::Cut(what)) => {
                    self.cut = Some(Cut { at, length, what });
                    break;
                }
            }
        }
        self.end = at;
        if self.frames.is_empty() {
            let why = self.cut.as_ref().map_or("it ends before the first".to_string(), Cut::to_string);
            return Err(format!("there is no whole reading in it: {why}"));
        }
        Ok(())
    }

    /// Reads what begins at `at`, and gives where the next begins.
    fn block(&mut self, at: u64, length: u64) -> Result<u64, Stop> {
        let left = length - at;
        let cut = |what: &str| Stop::Cut(what.to_string());
        let get = |r: &Recording, from: u64, n: usize| {
            r.bytes(from, n).map_err(|e| Stop::Cut(format!("reading it failed: {e}")))
        };
        let front = get(self, at, left.min(22) as usize)?;
        if MAGIC.starts_with(&front[..front.len().min(8)]) {
            const HEAD: u64 = 14; // magic, version, length
            if left < HEAD {
                return Err(cut("it was cut off in a session's head"));
            }
            let version = u16::from_le_bytes([front[8], front[9]]);
            if version > VERSION {
                return Err(Stop::Newer(version));
            }
            let n = u32::from_le_bytes([front[10], front[11], front[12], front[13]]);
            if n > MOST {
                return Err(cut("a session's head is damaged"));
            }
            if left < HEAD + u64::from(n) {
                return Err(cut("it was cut off in a session's head"));
            }
            let body = get(self, at + HEAD, n as usize)?;
            let head = decode(&body).map_err(|e| Stop::Cut(format!("a session's head is damaged: {e}")))?;
            self.sessions.push(Session { head, pieces: HashMap::new() });
            return Ok(at + HEAD + u64::from(n));
        }
        if self.sessions.is_empty() {
            return Err(cut("it was cut off in a session's head"));
        }
        let kind = front[0];
        let small = match kind {
            tag::PIECE => 4,
            tag::PIECE_DIFFERENCE | tag::FRAME | tag::FRAME_DIFFERENCE => 8,
            other => return Err(Stop::Cut(format!("it is damaged: {other:#04x} begins no block"))),
        };
        let word = match kind {
            tag::PIECE | tag::PIECE_DIFFERENCE => "a table or another part that seldom changes",
            _ => "a reading",
        };
        if left < 5 {
            return Err(Stop::Cut(format!("it was cut off in {word}")));
        }
        let n = u32::from_le_bytes([front[1], front[2], front[3], front[4]]);
        if n > MOST || n < small {
            return Err(Stop::Cut(format!("{word} is damaged: its length is {n}")));
        }
        let next = at + 5 + u64::from(n);
        if next > length {
            let missing = next - length;
            return Err(Stop::Cut(format!("it was cut off in {word}: {missing} bytes of it are missing")));
        }
        let u32_at = |i: usize| u32::from_le_bytes([front[i], front[i + 1], front[i + 2], front[i + 3]]);
        let place = Place::File(at + 5, n);
        match kind {
            tag::PIECE | tag::PIECE_DIFFERENCE => {
                let base = (kind == tag::PIECE_DIFFERENCE).then(|| u32_at(9));
                if let Some(session) = self.sessions.last_mut() {
                    session.pieces.insert(u32_at(5), (base, place));
                }
            }
            _ => {
                let mut time = [0; 8];
                time.copy_from_slice(&front[5..13]);
                self.add_frame(i64::from_le_bytes(time), kind == tag::FRAME, place);
            }
        }
        Ok(next)
    }

    /// How many readings there are; one at least.
    pub fn len(&self) -> usize {
        self.frames.len()
    }

    /// True where there is none.
    pub fn is_empty(&self) -> bool {
        self.frames.is_empty()
    }

    /// What is missing at its end.
    pub fn cut(&self) -> Option<&Cut> {
        self.cut.as_ref()
    }

    /// Where its last whole block ends.
    pub fn end(&self) -> u64 {
        self.end
    }

    /// When a reading was taken.
    pub fn time(&self, index: usize) -> Timestamp {
        let time = self.frames.get(index).map_or(0, |f| f.time);
        Timestamp::from_microsecond(time).unwrap_or_default()
    }

    /// The session of a reading: between two of them time and counters begin again.
    pub fn session(&self, index: usize) -> usize {
        self.frames.get(index).map_or(0, |f| f.session)
    }

    /// What the session of a reading says of itself.
    pub fn head(&self, index: usize) -> &Head {
        &self.sessions[self.session(index)].head
    }

    /// The last reading at or before this time; the first where all are later.
    pub fn at(&self, time: Timestamp) -> usize {
        let time = time.as_microsecond();
        // Clocks may be set back: the last one counts.
        self.frames.iter().rposition(|f| f.time <= time).unwrap_or(0)
    }

    fn load(&self, place: &Place, skip: usize) -> Result<Vec<u8>, String> {
        match place {
            Place::File(at, n) => self
                .bytes(at + skip as u64, *n as usize - skip)
                .map_err(|e| format!("reading it failed: {e}")),
            Place::MatchResult(bytes) => Ok(bytes.get(5 + skip..).unwrap_or_default().to_vec()),
        }
    }

    fn piece_bytes(&self, session: usize, id: PieceId, deep: bool) -> Result<Vec<u8>, String> {
        let (base, place) = self.sessions[session]
            .pieces
            .get(&id)
            .ok_or_else(|| format!("a part of it is missing (piece {id})"))?;
        let damaged = |e: std::io::Error| format!("a part of it is damaged (piece {id}: {e})");
        match base {
            None => unpack(&self.load(place, 4)?, &[]).map_err(damaged),
            Some(_) if deep => Err(format!("a part of it is damaged (piece {id} leads in a circle)")),
            Some(base) => {
                let prefix = self.piece_bytes(session, *base, true)?;
                unpack(&self.load(place, 8)?, &prefix).map_err(damaged)
            }
        }
    }

    fn piece(&mut self, session: usize, id: PieceId) -> Result<Piece, String> {
        if let Some(at) = self.kept.iter().position(|k| k.0 == (session, id)) {
            // What was needed last goes last.
            self.kept[at..].rotate_left(1);
            return Ok(self.kept[self.kept.len() - 1].1.clone());
        }
        let bytes = self.piece_bytes(session, id, false)?;
        let piece: Piece =
            decode(&bytes).map_err(|e| format!("a part of it is damaged (piece {id}: {e})"))?;
        if self.kept.len() >= MOST_KEPT {
            self.kept.remove(0);
        }
        self.kept.push(((session, id), piece.clone()));
        Ok(piece)
    }

    /// Takes over what an earlier view of the same ring unpacked: tables that are the same stay the same objects.
    pub(crate) fn keep(&mut self, earlier: Recording) {
        self.kept = earlier.kept;
    }

    /// A reading. The error says what of it is missing or damaged.
    pub fn snapshot(&mut self, index: usize) -> Result<Snapshot, String> {
        let frame = self.frames.get(index).ok_or("there is no such reading")?.clone();
        let damaged = |e: std::io::Error| format!("the reading is damaged ({e})");
        let whole = match &self.whole {
            Some((i, bytes)) if *i == frame.whole => bytes.clone(),
            _ => {
                let place = &self.frames[frame.whole].place;
                let bytes = Arc::new(unpack(&self.load(place, 8)?, &[]).map_err(damaged)?);
                self.whole = Some((frame.whole, bytes.clone()));
                bytes
            }
        };
        let bytes = match frame.whole == index {
            true => whole,
            false => Arc::new(unpack(&self.load(&frame.place, 8)?, &whole).map_err(damaged)?),
        };
        let read: Frame = decode(&bytes).map_err(|e| format!("the reading is damaged ({e})"))?;
        read.snapshot(|id| self.piece(frame.session, id))
    }
}

/// Why reading blocks stopped.
enum Stop {
    Cut(String),
    Newer(u16),
}
