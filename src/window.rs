//! The size of the terminal that standard output is.

use std::io;

/// Columns and rows beyond which nothing is drawn: what is beside and below stays empty. A terminal may claim to be
/// 65,535 wide and high, and each cell takes memory.
const MOST: (u16, u16) = (1_000, 500);

/// Columns and rows. Only the kernel is asked (`TIOCGWINSZ`), never another program.
pub(crate) fn size() -> io::Result<(u16, u16)> {
    // A serial line knows no size and gives zeros.
    match of_terminal()? {
        (0, _) | (_, 0) => Ok((80, 24)),
        (columns, rows) => Ok((columns.min(MOST.0), rows.min(MOST.1))),
    }
}

#[cfg(unix)]
fn of_terminal() -> io::Result<(u16, u16)> {
    let size = rustix::termios::tcgetwinsize(io::stdout())?;
    Ok((size.ws_col, size.ws_row))
}

#[cfg(not(unix))]
fn of_terminal() -> io::Result<(u16, u16)> {
    crossterm::terminal::size()
}

/// The width of what a command prints; `None` where that goes to no terminal.
pub(crate) fn width() -> Option<usize> {
    let (columns, _) = size().ok()?;
    Some(usize::from(columns))
}
