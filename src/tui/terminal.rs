//! The terminal, taken over and given back in every case.

use super::App;
use super::wire::Wire;
use crossterm::clipboard::CopyToClipboard;
use crossterm::event::{DisableMouseCapture, EnableMouseCapture};
use crossterm::execute;
use crossterm::terminal::{EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode};
use ratatui::{Frame, Terminal};
use std::io::{self, BufWriter, IsTerminal, Stdout, Write};
use std::sync::Once;

/// True where both ends are a terminal.
pub(super) fn is_terminal() -> bool {
    io::stdout().is_terminal() && io::stdin().is_terminal()
}

/// The screen while kptop has it. Dropping it, also by a panic, gives it back.
pub(super) struct Screen {
    terminal: Terminal<Wire<BufWriter<Stdout>>>,
    mouse: bool,
}

static PANIC_HOOK: Once = Once::new();

impl Screen {
    pub(super) fn enter(mouse: bool) -> io::Result<Screen> {
        PANIC_HOOK.call_once(|| {
            let before = std::panic::take_hook();
            std::panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        let entered = take(mouse);
        // One write for a frame: a slow line shows no half-drawn one.
        let backend = Wire::new(BufWriter::with_capacity(64 * 1024, io::stdout()));
        match entered.and_then(|()| Terminal::new(backend)) {
            Ok(terminal) => {
                let mut screen = Screen { terminal, mouse };
                screen.clear()?; // what a killed program left in the alternate screen
                Ok(screen)
            }
            Err(e) => {
                restore();
                Err(e)
            }
        }
    }

    pub(super) fn draw(&mut self, app: &mut App) -> io::Result<()> {
        self.paint(|frame| super::draw(frame, app))
    }

    pub(super) fn paint(&mut self, paint: impl FnOnce(&mut Frame<'_>)) -> io::Result<()> {
        self.terminal.draw(paint)?;
        Ok(())
    }

    pub(super) fn clear(&mut self) -> io::Result<()> {
        self.terminal.clear()
    }

    /// Gives the terminal back and stops; takes it again when a user continues kptop. With `group` the shell's whole
    /// job stops, as by Ctrl-Z.
    pub(super) fn stop(&mut self, group: bool) -> io::Result<()> {
        restore();
        let stopped = crate::snapshot::facts::stop(group);
        self.take_again()?;
        stopped.map_err(io::Error::other)
    }

    /// Takes a terminal that a shell had in between.
    pub(super) fn take_again(&mut self) -> io::Result<()> {
        // crossterm believes that the terminal is still as it was made.
        let _ = disable_raw_mode();
        take(self.mouse)?;
        self.terminal.hide_cursor()?;
        self.clear()
    }
}

fn take(mouse: bool) -> io::Result<()> {
    enable_raw_mode()?;
    execute!(io::stdout(), EnterAlternateScreen)?;
    if mouse { execute!(io::stdout(), EnableMouseCapture) } else { Ok(()) }
}

impl Drop for Screen {
    fn drop(&mut self) {
        restore();
    }
}

/// Puts a text into the clipboard of the terminal, which need not be on this machine (OSC 52).
pub(super) fn copy(text: &str) -> io::Result<()> {
    execute!(io::stdout(), CopyToClipboard::to_clipboard_from(text))
}

fn restore() {
    let mut out = io::stdout();
    let _ = execute!(out, DisableMouseCapture, LeaveAlternateScreen, crossterm::cursor::Show);
    let _ = disable_raw_mode();
    let _ = out.flush();
}
