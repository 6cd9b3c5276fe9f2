//! Why something could not be read.

use super::linux;
use std::io;

/// Why something could not be read from the kernel (or, in the lab, written).
#[derive(Debug, thiserror::Error)]
#[error("{what}: {kind}")]
pub struct Error {
    /// What was tried, on what: `reading the table nat (ip)`.
    pub what: String,
    /// Why not.
    pub kind: ErrorKind,
}

/// The reasons.
#[derive(Debug, thiserror::Error)]
pub enum ErrorKind {
    /// EPERM or EACCES.
    #[error("no permission (needs {needs}: run as root or with sudo)")]
    Permission {
        /// The capability.
        needs: &'static str,
    },
    /// The kernel does not have it, or not in this namespace.
    #[error("{why}")]
    Missing {
        /// What is missing.
        why: String,
        /// What would bring it.
        hint: Option<String>,
    },
    /// Something hides the file that reports it: what is there is not known.
    #[error("{file} cannot be read: /proc is not mounted here, or something is mounted over it")]
    Hidden {
        /// The file.
        file: &'static str,
    },
    /// It changed while it was read, each of the bounded times that kptop tried.
    #[error("interrupted: it kept changing while it was read ({tries} tries)")]
    Interrupted {
        /// How often.
        tries: u32,
    },
    /// This program was built without what reads a kernel, or for another system than Linux.
    #[error("this program was built to read files and recordings, not a kernel")]
    Elsewhere,
    /// Any other system error.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The kernel's answer is not what its headers say.
    #[error("unexpected answer of the kernel: {0}")]
    Protocol(String),
}

impl Error {
    /// An error of a system call; EPERM and EACCES become [`ErrorKind::Permission`].
    pub fn io(what: impl Into<String>, err: io::Error) -> Error {
        let kind = match err.raw_os_error() {
            Some(linux::EPERM | linux::EACCES) => ErrorKind::Permission { needs: "CAP_NET_ADMIN" },
            _ => ErrorKind::Io(err),
        };
        Error { what: what.into(), kind }
    }

    /// An answer that kptop does not understand.
    pub fn protocol(what: impl Into<String>, why: impl Into<String>) -> Error {
        Error { what: what.into(), kind: ErrorKind::Protocol(why.into()) }
    }

    /// Something that is not there.
    pub fn missing(what: impl Into<String>, why: impl Into<String>, hint: Option<&str>) -> Error {
        let kind = ErrorKind::Missing { why: why.into(), hint: hint.map(str::to_string) };
        Error { what: what.into(), kind }
    }

    /// Something of which a file of procfs says, where procfs is hidden.
    pub fn hidden(what: impl Into<String>, file: &'static str) -> Error {
        Error { what: what.into(), kind: ErrorKind::Hidden { file } }
    }

    /// A read in a program that was built without reading.
    pub fn elsewhere(what: impl Into<String>) -> Error {
        Error { what: what.into(), kind: ErrorKind::Elsewhere }
    }

    /// The same error, by a user who lacks more than usual.
    #[must_use]
    pub fn needs(mut self, what: &'static str) -> Error {
        if let ErrorKind::Permission { needs } = &mut self.kind {
            *needs = what;
        }
        self
    }

    /// What to do next, where there is something.
    pub fn hint(&self) -> Option<String> {
        match &self.kind {
            ErrorKind::Permission { .. } => Some("run as root or with sudo".into()),
            ErrorKind::Missing { hint, .. } => hint.clone(),
            ErrorKind::Interrupted { .. } => Some("try again when the rules are quieter".into()),
            ErrorKind::Hidden { .. } => Some("run it where procfs is mounted on /proc".into()),
            ErrorKind::Elsewhere => Some("record on the node, and read the recording here".into()),
            _ => None,
        }
    }

    /// True where the interface is absent, rather than refused or broken.
    pub fn is_missing(&self) -> bool {
        matches!(self.kind, ErrorKind::Missing { .. })
    }

    /// The number of the system error, where it was one.
    pub fn errno(&self) -> Option<i32> {
        match &self.kind {
            ErrorKind::Io(e) => e.raw_os_error(),
            _ => None,
        }
    }
}

/// What a read of the kernel gives.
pub type Result<T> = std::result::Result<T, Error>;
