//! The loop: keys, signals and readings in, frames out.

use super::app::{App, AppEvent};
use super::error::ScreenError;
use super::reader::{self, Input};
use super::terminal;
use super::theme::Theme;
use crate::config::Config;
use crate::cost::Prices;
use crate::proxy::Names;
use crate::signals::{self, Signal, SignalKind, signal};
use crate::snapshot::DropWatch;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use std::io;
use std::sync::{Arc, mpsc};
use std::time::Duration;

/// How the screen is.
#[derive(Clone, Debug)]
pub struct Options {
    /// Time between readings.
    pub interval: Duration,
    /// The user's choices.
    pub config: Config,
    /// Prices of lookups.
    pub prices: Arc<Prices>,
    /// Opened first: a Service by name, an address, a port.
    pub open: Option<String>,
}

/// A thread that keeps what switching the drop monitor on takes, and does nothing else: the others give it up.
struct MonitorSwitch {
    ask: mpsc::Sender<()>,
    answer: mpsc::Receiver<Result<DropWatch, String>>,
}

impl MonitorSwitch {
    /// To be called in the machine's own network namespace, with all that kptop was started with.
    fn new() -> io::Result<MonitorSwitch> {
        let ((ask, asked), (say, answer)) = (mpsc::channel(), mpsc::channel());
        std::thread::Builder::new().name("monitor switch".into()).spawn(move || {
            while asked.recv().is_ok() && say.send(DropWatch::start(true).map_err(|e| e.to_string())).is_ok()
            {
            }
        })?;
        Ok(MonitorSwitch { ask, answer })
    }

    fn on(&self) -> Result<DropWatch, String> {
        let gone = "the thread that switches the drop monitor on is gone";
        self.ask.send(()).map_err(|_| gone.to_string())?;
        self.answer.recv().map_err(|_| gone.to_string())?
    }
}

/// Shows the screen until the user leaves or a signal ends it.
pub fn run(input: Input, names: Names, options: Options) -> Result<(), ScreenError> {
    if !terminal::is_terminal() {
        return Err(ScreenError::NoTerminal);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        // crossterm panics here where the terminal has gone: before anything else takes time.
        let mut keys = EventStream::new();
        let mut hangup = signal(SignalKind::hangup())?;
        // Opened before the screen is taken over, so that an error is printed as one.
        let understanding = reader::Understanding { names, prices: options.prices.clone() };
        let mut reader = reader::start(input, understanding, options.interval).await?;
        let switch = MonitorSwitch::new()?;
        let _ = crate::snapshot::facts::keep_reading_only();
        // This thread draws and waits for keys. The switch's own thread starts kptop a second time, as a guard.
        let _ = crate::snapshot::facts::run_no_program();
        // A signal that comes while the screen is taken over gives it back, too.
        let mut ends = Ends::new()?;
        let (mut stop, mut go_on) = signals::job()?;
        let mut screen = terminal::Screen::enter(options.config.mouse != Some(false))?;
        let mut app =
            App::new(Theme::from_environment(options.config.theme), options.interval, &options.config);
        app.open(options.open);
        let mut monitor: Option<DropWatch> = None;
        end_when_stuck();
        screen.draw(&mut app)?;
        loop {
            let flow = tokio::select! {
                event = keys.next() => match event {
                    Some(Ok(event)) => on_event(&mut app, event),
                    Some(Err(_)) | None => return Err(ScreenError::TerminalGone),
                },
                update = reader.next() => match update {
                    Some(update) => {
                        app.on_update(update);
                        if let Some(m) = &monitor {
                            app.on_drops(m.take());
                        }
                        AppEvent::Draw
                    }
                    None => AppEvent::Quit,
                },
                () = ends.any() => AppEvent::Quit,
                _ = hangup.recv() => return Err(ScreenError::TerminalGone),
                _ = stop.recv() => {
                    screen.stop(false)?;
                    AppEvent::Draw
                }
                _ = go_on.recv() => {
                    screen.take_again()?;
                    AppEvent::Draw
                }
            };
            for command in app.take_commands() {
                reader.send(command);
            }
            match app.take_monitor() {
                Some(true) => {
                    let started = switch.on();
                    app.monitor_is(started.as_ref().map(drop).map_err(Clone::clone));
                    monitor = started.ok();
                }
                Some(false) => monitor = None,
                None => {}
            }
            match flow {
                AppEvent::Quit => return Ok(()),
                AppEvent::Stop => {
                    screen.stop(true)?;
                    screen.draw(&mut app)?;
                }
                AppEvent::Draw => screen.draw(&mut app)?,
                AppEvent::Redraw => {
                    screen.clear()?;
                    screen.draw(&mut app)?;
                }
                AppEvent::Nothing => {}
            }
            if let Some(text) = app.take_clipboard() {
                terminal::copy(&text)?;
            }
            app.subscribe();
        }
    })
}

/// Signals that ask a program to end: each gives the terminal back first.
pub(super) struct Ends {
    terminate: Signal,
    interrupt: Signal,
    quit: Signal,
    user1: Signal,
    user2: Signal,
}

impl Ends {
    pub(super) fn new() -> io::Result<Ends> {
        Ok(Ends {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            quit: signal(SignalKind::quit())?,
            user1: signal(SignalKind::user_defined1())?,
            user2: signal(SignalKind::user_defined2())?,
        })
    }

    /// Waits for one of them.
    pub(super) async fn any(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
            _ = self.quit.recv() => {}
            _ = self.user1.recv() => {}
            _ = self.user2.recv() => {}
        }
    }
}

/// Ends the process where a signal asked for it and a stuck terminal keeps it: writing a frame to a line that
/// hangs blocks for as long as the line does.
pub(super) fn end_when_stuck() {
    let watch = || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut terminate), Ok(mut hangup)) =
                (signal(SignalKind::terminate()), signal(SignalKind::hangup()))
            else {
                return;
            };
            let code = tokio::select! {
                _ = terminate.recv() => i32::from(signals::TERMINATED),
                _ = hangup.recv() => i32::from(crate::exit::FAILED),
            };
            tokio::time::sleep(Duration::from_secs(2)).await;
            let _ = crossterm::terminal::disable_raw_mode();
            std::process::exit(code);
        });
    };
    // Without this thread only the rare case is lost.
    let _ = std::thread::Builder::new().name("last-resort".into()).spawn(watch);
}

fn on_event(app: &mut App, event: Event) -> AppEvent {
    match event {
        Event::Key(key) => app.on_key(key),
        Event::Mouse(mouse) => app.on_mouse(mouse),
        Event::Resize(..) => AppEvent::Redraw,
        _ => AppEvent::Nothing,
    }
}
