//! Job control: stopping and going on, as a shell's user asks for it.

use super::{Error, Result};
use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal, kill, raise, sigaction};
use nix::unistd::Pid;

/// Stops this process, with `group` everything in its process group as Ctrl-Z would, until it is continued. Returns at
/// once where nobody could continue it: the kernel stops no orphaned process group (POSIX, `SIGTSTP`), so that
/// `ssh -t node kptop` goes on.
///
/// # Errors
/// The kernel refused.
pub fn stop(group: bool) -> Result<()> {
    const WHAT: &str = "stopping until it is continued";
    let failed = |e: nix::Error| Error::io(WHAT, e.into());
    let usual = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of this process.
    #[allow(unsafe_code)]
    let ours = unsafe { sigaction(Signal::SIGTSTP, &usual) }.map_err(failed)?;
    let stopped = if group { kill(Pid::from_raw(0), Signal::SIGTSTP) } else { raise(Signal::SIGTSTP) };
    // SAFETY: this is the handler that was installed a moment ago, with its flags and mask as the kernel gave them back.
    #[allow(unsafe_code)]
    unsafe { sigaction(Signal::SIGTSTP, &ours) }.map_err(failed)?;
    stopped.map_err(failed)
}
