//! Signals, as far as the system has them.

use std::io;
#[cfg(unix)]
pub(crate) use tokio::signal::unix::{Signal, SignalKind, signal};

#[cfg(not(unix))]
pub(crate) use elsewhere::{Signal, SignalKind, signal};

/// What a shell reports of a program that SIGTERM ended.
pub(crate) const TERMINATED: u8 = 128 + 15;

/// The job is stopped, as by Ctrl-Z, and goes on.
#[cfg(unix)]
pub(crate) fn job() -> io::Result<(Signal, Signal)> {
    let of = |number| signal(SignalKind::from_raw(number));
    Ok((of(libc::SIGTSTP)?, of(libc::SIGCONT)?))
}

/// As above: here no job is stopped.
#[cfg(not(unix))]
pub(crate) fn job() -> io::Result<(Signal, Signal)> {
    Ok((signal(SignalKind::hangup())?, signal(SignalKind::hangup())?))
}

/// Windows: Ctrl-C, and none of the others.
#[cfg(not(unix))]
mod elsewhere {
    use std::io;
    use tokio::signal::windows::{CtrlC, ctrl_c};

    pub(crate) struct SignalKind {
        is_ctrl_c: bool,
    }

    impl SignalKind {
        pub(crate) fn interrupt() -> SignalKind {
            SignalKind { is_ctrl_c: true }
        }

        pub(crate) fn terminate() -> SignalKind {
            SignalKind { is_ctrl_c: false }
        }

        pub(crate) fn hangup() -> SignalKind {
            SignalKind { is_ctrl_c: false }
        }

        pub(crate) fn quit() -> SignalKind {
            SignalKind { is_ctrl_c: false }
        }

        pub(crate) fn user_defined1() -> SignalKind {
            SignalKind { is_ctrl_c: false }
        }

        pub(crate) fn user_defined2() -> SignalKind {
            SignalKind { is_ctrl_c: false }
        }
    }

    pub(crate) struct Signal(Option<CtrlC>);

    pub(crate) fn signal(kind: SignalKind) -> io::Result<Signal> {
        Ok(Signal(if kind.is_ctrl_c { Some(ctrl_c()?) } else { None }))
    }

    impl Signal {
        pub(crate) async fn recv(&mut self) -> Option<()> {
            match &mut self.0 {
                Some(ctrl_c) => ctrl_c.recv().await,
                None => std::future::pending().await,
            }
        }
    }
}
