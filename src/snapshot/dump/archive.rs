//! Packed files and archives: gzip, xz, zstd; tar, zip.

use std::io::{self, Cursor, Read, Write};

/// How deep archives may be in archives.
pub(super) const DEEPEST_ARCHIVE: usize = 3;

/// What a file begins with, unpacked.
pub(super) enum Opened<'a> {
    /// A tar: its files are read one by one.
    Tar(Box<dyn Read + 'a>),
    /// A zip, whole: its index is at its end.
    Zip(Vec<u8>),
    /// Anything else; the bytes that were looked at come first.
    Plain(Vec<u8>, Box<dyn Read + 'a>),
}

/// The first bytes that say what a file is, and as many as a tar's first head has.
const LOOK: usize = 512;

fn head(input: &mut dyn Read, size: usize) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    input.take(size as u64).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// Looks what a file is; unpacks it where it is packed. Of a zip no more than `most` bytes are read.
pub(super) fn open<'a>(mut input: Box<dyn Read + 'a>, most: u64) -> io::Result<Opened<'a>> {
    // Something packed may be in something packed, as a rotated log is in a bundle.
    for _ in 0..DEEPEST_ARCHIVE {
        let bytes = head(&mut input, 6)?;
        let is = |magic: &[u8]| bytes.starts_with(magic);
        let (gzip, xz, zstd, zip) =
            (is(&[0x1f, 0x8b]), is(b"\xfd7zXZ\0"), is(&[0x28, 0xb5, 0x2f, 0xfd]), is(b"PK\x03\x04"));
        let whole = Cursor::new(bytes).chain(input);
        if zip {
            let mut all = Vec::new();
            whole.take(most).read_to_end(&mut all)?;
            return Ok(Opened::Zip(all));
        }
        input = match (gzip, xz, zstd) {
            (true, ..) => Box::new(flate2::read::MultiGzDecoder::new(whole)),
            (_, true, _) => Box::new(Cursor::new(unpack_xz(whole, most)?)),
            (.., true) => Box::new(zstd::stream::read::Decoder::new(whole)?),
            _ => {
                let mut whole = whole;
                let bytes = head(&mut whole, LOOK)?;
                return Ok(match bytes.get(257..262) == Some(b"ustar") {
                    true => Opened::Tar(Box::new(Cursor::new(bytes).chain(whole))),
                    false => Opened::Plain(bytes, Box::new(whole)),
                });
            }
        };
    }
    Ok(Opened::Plain(Vec::new(), input))
}

/// Takes bytes up to a limit.
struct Bounded {
    bytes: Vec<u8>,
    most: u64,
}

impl Write for Bounded {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        if self.bytes.len() as u64 + buffer.len() as u64 > self.most {
            return Err(io::Error::other("unpacked it is larger than what is read of all files together"));
        }
        self.bytes.extend_from_slice(buffer);
        Ok(buffer.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn unpack_xz(input: impl Read, most: u64) -> io::Result<Vec<u8>> {
    let mut out = Bounded { bytes: Vec::new(), most };
    let done = lzma_rs::xz_decompress(&mut io::BufReader::new(input), &mut out);
    match done {
        Ok(()) => Ok(out.bytes),
        // A file that was cut off: what came before is used.
        Err(_) if !out.bytes.is_empty() && (out.bytes.len() as u64) < most => Ok(out.bytes),
        Err(lzma_rs::error::Error::IoError(e)) => Err(e),
        Err(e) => Err(io::Error::new(io::ErrorKind::InvalidData, format!("{e:?}"))),
    }
}

/// Takes a file of an archive: its name, time of change in seconds since 1970, and content; false where no more are wanted.
pub(super) type Each<'a> = &'a mut dyn FnMut(&str, Option<u64>, &mut dyn Read) -> bool;

/// The files of a tar, one after the other. The error says where it is cut off.
pub(super) fn each_of_tar(input: Box<dyn Read + '_>, each: Each<'_>) -> io::Result<()> {
    let mut tar = tar::Archive::new(input);
    for entry in tar.entries()? {
        let mut entry = entry?;
        if !entry.header().entry_type().is_file() {
            continue;
        }
        let name = String::from_utf8_lossy(&entry.path_bytes()).into_owned();
        let time = entry.header().mtime().ok();
        if !each(&name, time, &mut entry) {
            break;
        }
    }
    Ok(())
}

/// The same of a zip.
pub(super) fn each_of_zip(bytes: Vec<u8>, each: Each<'_>) -> io::Result<()> {
    let wrong = |e: zip::result::ZipError| io::Error::new(io::ErrorKind::InvalidData, e.to_string());
    let mut zip = zip::ZipArchive::new(Cursor::new(bytes)).map_err(wrong)?;
    for i in 0..zip.len() {
        // What is encrypted, or packed in a way that is not known, is left out.
        let Ok(mut file) = zip.by_index(i) else { continue };
        if !file.is_file() {
            continue;
        }
        let Ok(name) = file.name().map(|n| n.into_owned()) else { continue };
        if !each(&name, None, &mut file) {
            break;
        }
    }
    Ok(())
}
