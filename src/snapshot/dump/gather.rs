//! Files, directories and archives, walked: every text in them that is of a known form.

use super::archive::{self, DEEPEST_ARCHIVE, Opened};
use super::forms;
use super::glance::Glance;
use super::nodes;
use super::reader::{Form, Found, KNOWN, Reader};
use crate::snapshot::{Snapshot, SourceId, UnreadKind};
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Bytes that are read of all files together, unpacked, where nobody asks for more.
pub const BUDGET: u64 = 1 << 30;

/// The beginning of a file, which says what it is.
const GLANCE: usize = 64 << 10;

/// The same of metrics: kube-proxy gives some 100 KiB of them.
const LONG_GLANCE: u64 = 4 << 20;

/// How deep directories are looked into: a must-gather has its files eight deep.
const DEEPEST: usize = 12;

/// Files that a directory or an archive may have.
const MOST_FILES: usize = 100_000;

/// All that was found.
#[derive(Default)]
struct Gathered {
    found: Vec<Found>,
    too_large: Vec<(PathBuf, SourceId)>,
    /// Files of other forms.
    others: u64,
    /// What went wrong with an archive.
    broken: Vec<(PathBuf, String)>,
    newest: Option<SystemTime>,
    left: u64,
    files: usize,
}

/// What became of one file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    /// Its texts, or those in it, are found.
    Used,
    /// It holds nothing, or only remarks.
    Empty,
    Other,
    TooLarge,
}

impl Gathered {
    fn new(budget: u64) -> Gathered {
        Gathered { left: budget, ..Gathered::default() }
    }

    /// Takes a file, or every file of an archive.
    fn take(
        &mut self,
        path: &Path,
        place: &Path,
        input: Box<dyn Read + '_>,
        depth: usize,
    ) -> std::io::Result<Taken> {
        let before = self.found.len();
        match archive::open(input, self.left.saturating_add(1))? {
            Opened::Plain(bytes, rest) => return self.take_text(path, place, bytes, rest),
            _ if depth >= DEEPEST_ARCHIVE => return Ok(Taken::Other),
            Opened::Tar(input) => {
                let done = archive::each_of_tar(input, &mut |name, time, content| {
                    self.take_entry(path, place, name, time, content, depth)
                });
                self.ended(path, done);
            }
            Opened::Zip(bytes) => {
                if bytes.len() as u64 > self.left {
                    return Ok(Taken::TooLarge);
                }
                let done = archive::each_of_zip(bytes, &mut |name, time, content| {
                    self.take_entry(path, place, name, time, content, depth)
                });
                self.ended(path, done);
            }
        }
        Ok(if self.found.len() > before { Taken::Used } else { Taken::Other })
    }

    fn ended(&mut self, path: &Path, done: std::io::Result<()>) {
        if let Err(e) = done {
            self.broken.push((path.to_path_buf(), format!("the archive ends early: {e}")));
        }
    }

    /// A file of an archive; false where no more are wanted.
    fn take_entry(
        &mut self,
        archive: &Path,
        place: &Path,
        name: &str,
        time: Option<u64>,
        content: &mut dyn Read,
        depth: usize,
    ) -> bool {
        self.files += 1;
        // Names are only shown, and never opened.
        let inner: PathBuf =
            Path::new(name).components().filter(|c| matches!(c, std::path::Component::Normal(_))).collect();
        if is_other_namespace(&inner) {
            return self.files < MOST_FILES;
        }
        let before = self.found.len();
        // What cannot be unpacked is as if it were not there, like what is not known.
        let taken = self
            .take(&archive.join(&inner), &place.join(&inner), Box::new(content), depth + 1)
            .unwrap_or(Taken::Other);
        self.others += u64::from(taken == Taken::Other);
        if let Some(t) = time.filter(|_| self.found.len() > before) {
            self.newest = self.newest.max(Some(UNIX_EPOCH + Duration::from_secs(t)));
        }
        self.files < MOST_FILES
    }

    /// A text, unpacked. Of one that is not known only the beginning is looked at.
    fn take_text(
        &mut self,
        path: &Path,
        place: &Path,
        mut bytes: Vec<u8>,
        mut rest: Box<dyn Read + '_>,
    ) -> std::io::Result<Taken> {
        rest.by_ref().take((GLANCE - bytes.len().min(GLANCE)) as u64).read_to_end(&mut bytes)?;
        if bytes.contains(&0) {
            return Ok(Taken::Other);
        }
        let name = name_of(path);
        let mut glance = text(bytes.clone());
        let mut known = understood(&name, &glance).first().map(|u| u.form);
        // Metrics are in the order of their names: kube-proxy's own come late.
        if known.is_none() && glance.contains("# TYPE ") {
            rest.by_ref().take(LONG_GLANCE.min(self.left)).read_to_end(&mut bytes)?;
            glance = text(bytes.clone());
            known = understood(&name, &glance).first().map(|u| u.form);
        }
        if known.is_none() && !is_empty(&glance) {
            return Ok(Taken::Other);
        }
        let more = self.left.saturating_sub(bytes.len() as u64);
        rest.take(more + 1).read_to_end(&mut bytes)?;
        if bytes.len() as u64 > self.left {
            self.too_large.push((path.to_path_buf(), known.map_or(SourceId::Other, |f| f.source)));
            return Ok(Taken::TooLarge);
        }
        self.left -= bytes.len() as u64;
        let text = text(bytes);
        let text = text.strip_prefix('\u{feff}').map(str::to_string).unwrap_or(text);
        if is_empty(&text) {
            return Ok(Taken::Empty);
        }
        let before = self.found.len();
        self.found.extend(understood(&name, &text).into_iter().map(|u| u.of(path, place)));
        Ok(if self.found.len() > before { Taken::Used } else { Taken::Other })
    }

    fn take_dir(&mut self, dir: &Path) {
        let mut files = Vec::new();
        files_in(dir, 0, &mut files);
        for f in files {
            let own = dir.file_name().map(PathBuf::from).unwrap_or_default();
            let place = own.join(f.strip_prefix(dir).unwrap_or(&f));
            let before = self.found.len();
            let taken = crate::input::open(&f).and_then(|input| self.take(&f, &place, Box::new(input), 0));
            // What cannot be opened in a directory is as if it were not there, like what is not known.
            self.others += u64::from(!matches!(taken, Ok(Taken::Used | Taken::Empty)));
            if self.found.len() > before {
                let modified = std::fs::metadata(&f).and_then(|m| m.modified()).ok();
                self.newest = self.newest.max(modified);
            }
        }
    }
}

/// Part of a text that is of a known form.
pub(super) struct Understood {
    pub(super) name: String,
    pub(super) by_command: bool,
    pub(super) form: &'static Form,
    pub(super) text: String,
}

impl Understood {
    /// Of this file; `place` is where that is in what was named.
    fn of(self, path: &Path, place: &Path) -> Found {
        let Understood { name, by_command, form, text } = self;
        Found { path: path.to_path_buf(), place: place.to_path_buf(), name, by_command, form, text }
    }
}

/// What a text holds: the outputs of commands that are known, each with the name of its command or of the file.
pub(super) fn understood(name: &str, text: &str) -> Vec<Understood> {
    let one = |name: &str, by_command, text: String| {
        let form = forms::of(&Glance::new(name, &text))?;
        Some(Understood { name: name.to_string(), by_command, form, text })
    };
    // What looks like a prompt or a heading in these is none.
    if forms::is_whole(name, text) {
        return one(name, false, text.to_string()).into_iter().collect();
    }
    let sections = super::sections::sections(text).into_iter();
    sections
        .filter_map(|s| match s.name.is_empty() {
            true => one(name, false, s.text),
            false => one(&s.name, true, s.text),
        })
        .collect()
}

/// Bytes as text: what is no UTF-8 becomes `?`, so that it takes no more room than it did.
fn text(bytes: Vec<u8>) -> String {
    String::from_utf8(bytes).unwrap_or_else(|e| {
        let mut text = String::with_capacity(e.as_bytes().len());
        for chunk in e.as_bytes().utf8_chunks() {
            text.push_str(chunk.valid());
            if !chunk.invalid().is_empty() {
                text.push('?');
            }
        }
        text
    })
}

/// Nothing, or only remarks: a tool had nothing to print.
fn is_empty(text: &str) -> bool {
    text.lines().all(|l| l.trim().is_empty() || l.starts_with('#'))
}

/// Name of a file without what says how it is packed.
fn name_of(path: &Path) -> String {
    let name = path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    let name =
        [".gz", ".xz", ".zst"].iter().find_map(|e| name.strip_suffix(e)).map_or(name.clone(), str::to_string);
    name.trim_end_matches(".txt").to_string()
}

/// True for what a sosreport holds of other network namespaces: it would be mixed in.
fn is_other_namespace(place: &Path) -> bool {
    let parts: Vec<_> = place.components().map(|c| c.as_os_str().to_string_lossy()).collect();
    parts.windows(2).any(|w| w[0] == "networking" && w[1] == "namespaces")
        || parts.iter().any(|p| p == "netns")
}

fn files_in(dir: &Path, depth: usize, out: &mut Vec<PathBuf>) {
    let Ok(entries) = std::fs::read_dir(dir) else { return };
    let mut entries: Vec<PathBuf> = entries.flatten().map(|e| e.path()).collect();
    entries.sort();
    // The files of a directory before those of the directories in it.
    let (dirs, files): (Vec<PathBuf>, Vec<PathBuf>) =
        entries.into_iter().filter(|p| !p.is_symlink()).partition(|p| p.is_dir());
    out.extend(files.into_iter().filter(|p| p.is_file()));
    for d in dirs {
        if depth < DEEPEST && !is_other_namespace(&d) && out.len() < MOST_FILES {
            files_in(&d, depth + 1, out);
        }
    }
}

/// Reads files and directories within [`BUDGET`].
///
/// # Errors
/// As [`read_of`].
pub fn read(paths: &[PathBuf]) -> Result<Snapshot, String> {
    read_of(paths, BUDGET, None)
}

/// Reads files, directories and archives: of all together no more than `budget` bytes, unpacked; where they hold several nodes, of
/// the one that is named.
///
/// # Errors
/// A file that was named and is none of those that are read, and why; a directory without any; more than the budget; several
/// nodes, and none of them is named.
pub fn read_of(paths: &[PathBuf], budget: u64, node: Option<&str>) -> Result<Snapshot, String> {
    let mut all = Gathered::new(budget);
    let size = || match budget {
        b if b.is_multiple_of(1 << 30) => format!("{} GiB", b >> 30),
        b if b.is_multiple_of(1 << 20) => format!("{} MiB", b >> 20),
        b => format!("{b} bytes"),
    };
    let mut empty = Vec::new();
    for path in paths {
        let is_input = path == Path::new("-");
        let path = if is_input { Path::new("standard input") } else { path.as_path() };
        let shown = path.display();
        let before = all.found.len();
        if path.is_dir() && !is_input {
            all.take_dir(path);
            if all.found.len() == before && all.too_large.is_empty() {
                return Err(format!("{shown}: no file in it is one that kptop reads\n  -> {KNOWN}"));
            }
            continue;
        }
        let input: Box<dyn Read> = match is_input {
            true => Box::new(std::io::stdin()),
            false => Box::new(crate::input::open(path).map_err(|e| format!("reading {shown}: {e}"))?),
        };
        let place = PathBuf::from(path.file_name().unwrap_or(path.as_os_str()));
        match all.take(path, &place, input, 0).map_err(|e| format!("reading {shown}: {e}"))? {
            Taken::Used => {}
            Taken::Empty => empty.push(path.to_path_buf()),
            Taken::TooLarge => {
                return Err(format!(
                    "{shown}: kptop reads {} of all files together, and this goes beyond it\n  -> --max-input 4G reads more",
                    size()
                ));
            }
            Taken::Other => {
                let broken =
                    all.broken.iter().find(|b| b.0 == *path).map_or(String::new(), |b| format!(" ({})", b.1));
                return Err(format!("{shown} is nothing that kptop reads{broken}\n  -> {KNOWN}"));
            }
        }
        let modified = std::fs::metadata(path).and_then(|m| m.modified()).ok();
        all.newest = all.newest.max(modified.filter(|_| all.found.len() > before));
    }
    let found = nodes::of_one(std::mem::take(&mut all.found), node)?;
    let mut reader = Reader::new(paths.iter().all(|p| !p.is_dir()));
    reader.begin(all.newest);
    for (path, source) in &all.too_large {
        let why = format!("larger than what is left of the {} that are read of all files together", size());
        reader.note(path, *source, UnreadKind::Failed, why);
    }
    for (path, why) in &all.broken {
        reader.note(path, SourceId::NfTables, UnreadKind::Failed, why.clone());
    }
    empty.iter().for_each(|path| reader.holds_nothing(path));
    reader.left_out(all.others);
    reader.all(found)?;
    reader.finish()
}

/// The first file of an archive that begins so, with its name; `None` for what is no archive, or has none.
pub fn find_in_archive(
    path: &Path,
    budget: u64,
    begins: &dyn Fn(&[u8]) -> bool,
) -> Option<(String, Vec<u8>)> {
    let mut found = None;
    let mut look = |name: &str, _: Option<u64>, content: &mut dyn Read| {
        let mut bytes = Vec::new();
        if content.take(16).read_to_end(&mut bytes).is_ok()
            && begins(&bytes)
            && content.take(budget).read_to_end(&mut bytes).is_ok()
        {
            found = Some((name.to_string(), bytes));
            return false;
        }
        true
    };
    match archive::open(Box::new(crate::input::open(path).ok()?), budget).ok()? {
        Opened::Tar(input) => archive::each_of_tar(input, &mut look).ok()?,
        Opened::Zip(bytes) => archive::each_of_zip(bytes, &mut look).ok()?,
        Opened::Plain(..) => {}
    }
    found
}

/// Reads texts with the names of their files.
///
/// # Errors
/// As [`read_of`].
pub(crate) fn of_texts(texts: impl Iterator<Item = (String, String)>) -> Result<Snapshot, String> {
    let found = texts.flat_map(|(file, text)| {
        let path = PathBuf::from(&file);
        understood(&file, &text).into_iter().map(move |u| u.of(&path, &path))
    });
    let mut reader = Reader::new(false);
    reader.all(found.collect())?;
    reader.finish()
}
