//! Files and pipes from outside, read within bounds: none may hold kptop up for ever or take all memory.

use std::fs::File;
use std::io::{self, ErrorKind, Read};
use std::path::Path;
#[cfg(unix)]
use std::time::Duration;

/// How long a FIFO may be without anybody who writes into it.
#[cfg(unix)]
const WITHOUT_WRITER: Duration = Duration::from_secs(3);

/// Larger files are none that a person wrote: configurations, kubeconfigs, lists of names.
const SMALL: u64 = 16 << 20;

/// A file or pipe that is being read.
#[derive(Debug)]
pub(crate) struct Input {
    /// What was read to see whether there is anything.
    head: io::Cursor<Vec<u8>>,
    file: File,
}

impl Read for Input {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self.head.read(buffer)? {
            0 => self.file.read(buffer),
            n => Ok(n),
        }
    }
}

/// Opens a file or a pipe for reading. A FIFO that nobody writes into is an error, not a wait.
///
/// # Errors
/// What the system says; a FIFO without writer; a block device.
#[cfg(unix)]
pub(crate) fn open(path: &Path) -> io::Result<Input> {
    use nix::fcntl::OFlag;
    use std::os::unix::fs::{FileTypeExt, OpenOptionsExt};
    use std::time::Instant;
    // Standard input is what it is: opened again by its name it would be another file.
    let file = File::options().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open(path)?;
    let kind = file.metadata()?.file_type();
    if kind.is_block_device() {
        return Err(io::Error::new(ErrorKind::InvalidInput, "it is a block device"));
    }
    let mut input = Input { head: io::Cursor::default(), file };
    if kind.is_fifo() {
        // The shell's `<(command)` is there with its writer, or the writer has gone without a word.
        let of_shell = ["/dev/fd", "/dev/stdin", "/proc"].iter().any(|p| path.starts_with(p));
        let began = Instant::now();
        let mut bytes = vec![0; 4096];
        loop {
            match input.file.read(&mut bytes) {
                Ok(0) if of_shell => break,
                // Nobody has it open for writing.
                Ok(0) if began.elapsed() > WITHOUT_WRITER => {
                    let why = "it is a FIFO, and nobody writes into it";
                    return Err(io::Error::new(ErrorKind::TimedOut, why));
                }
                Ok(0) => std::thread::sleep(Duration::from_millis(20)),
                Ok(n) => {
                    bytes.truncate(n);
                    input.head = io::Cursor::new(bytes);
                    break;
                }
                // Another program has, and has not written yet.
                Err(e) if e.kind() == ErrorKind::WouldBlock => break,
                Err(e) => return Err(e),
            }
        }
    }
    // From here on reading waits for what comes.
    let flags = OFlag::from_bits_retain(nix::fcntl::fcntl(&input.file, nix::fcntl::FcntlArg::F_GETFL)?);
    nix::fcntl::fcntl(&input.file, nix::fcntl::FcntlArg::F_SETFL(flags & !OFlag::O_NONBLOCK))?;
    Ok(input)
}

/// As above, where no file is a FIFO or a device.
#[cfg(not(unix))]
pub(crate) fn open(path: &Path) -> io::Result<Input> {
    Ok(Input { head: io::Cursor::default(), file: File::open(path)? })
}

/// The text of a small file: one that is larger is an error.
///
/// # Errors
/// As [`open`]; a file that is too large, or no UTF-8.
pub(crate) fn small_text(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    let mut bytes = Vec::new();
    open(path)?.take(SMALL + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > SMALL {
        let why = format!("it is larger than {} MiB", SMALL >> 20);
        return Err(io::Error::new(ErrorKind::FileTooLarge, why));
    }
    bytes.as_slice().read_to_string(&mut text)?;
    Ok(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_is_waited_for_without_end() {
        let dir = std::env::temp_dir().join(format!("kptop-input-{}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let fifo = dir.join("fifo");
        nix::unistd::mkfifo(&fifo, nix::sys::stat::Mode::S_IRWXU).unwrap();
        assert!(open(&fifo).unwrap_err().to_string().contains("nobody writes"));
        let path = fifo.clone();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(200));
            std::fs::write(path, "later\n").unwrap();
        });
        assert_eq!(small_text(&fifo).unwrap(), "later\n");
        writer.join().unwrap();
        assert!(small_text(Path::new("/dev/zero")).unwrap_err().to_string().contains("larger"));
        assert_eq!(small_text(Path::new("/dev/null")).unwrap(), "");
        std::fs::remove_dir_all(&dir).unwrap();
    }
}
