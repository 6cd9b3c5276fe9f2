//! The loop: keys and answers in, frames out.

use super::ask::{self, FleetQuestion};
use super::draw::draw_fleet;
use super::state::{FleetEvent, FleetScreen};
use crate::config::Config;
use crate::fleet::{Scope, Store};
use crate::signals::{self, SignalKind, signal};
use crate::tui::error::ScreenError;
use crate::tui::run::{Ends, end_when_stuck};
use crate::tui::terminal;
use crate::tui::theme::Theme;
use crossterm::event::{Event, EventStream};
use futures_util::StreamExt;
use std::time::Duration;

/// How the screen is.
#[derive(Clone, Debug)]
pub struct FleetOptions {
    /// What the header calls the store.
    pub store: String,
    /// Time between questions.
    pub every: Duration,
    /// The user's choices.
    pub config: Config,
}

/// Shows the screen until the user leaves, or goes to a node: then this is the command that does.
pub fn run_fleet(
    store: Box<dyn Store + Send>,
    scope: Scope,
    options: FleetOptions,
) -> Result<Option<String>, ScreenError> {
    if !terminal::is_terminal() {
        return Err(ScreenError::NoTerminal);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let mut keys = EventStream::new();
        let mut hangup = signal(SignalKind::hangup())?;
        let mut ends = Ends::new()?;
        let (mut stop, mut go_on) = signals::job()?;
        let (questions, mut answers) = ask::start(store, scope, options.every)?;
        let mut screen = terminal::Screen::enter(options.config.mouse != Some(false))?;
        let theme = Theme::from_environment(options.config.theme);
        let mut fleet = FleetScreen::new(theme, options.store, options.every);
        end_when_stuck();
        // The ages of answers rise by themselves.
        let mut clock = tokio::time::interval(Duration::from_secs(1));
        screen.paint(|f| draw_fleet(f, &mut fleet))?;
        loop {
            let event = tokio::select! {
                event = keys.next() => match event {
                    Some(Ok(Event::Key(key))) => fleet.on_key(key),
                    Some(Ok(Event::Mouse(mouse))) => fleet.on_mouse(mouse),
                    Some(Ok(Event::Resize(..))) => FleetEvent::Redraw,
                    Some(Ok(_)) => FleetEvent::Nothing,
                    Some(Err(_)) | None => return Err(ScreenError::TerminalGone),
                },
                answer = answers.recv() => match answer {
                    Some(answer) => fleet.on_answer(answer),
                    None => FleetEvent::Quit,
                },
                _ = clock.tick() => FleetEvent::Draw,
                () = ends.any() => FleetEvent::Quit,
                _ = hangup.recv() => return Err(ScreenError::TerminalGone),
                _ = stop.recv() => {
                    screen.stop(false)?;
                    FleetEvent::Draw
                }
                _ = go_on.recv() => {
                    screen.take_again()?;
                    FleetEvent::Draw
                }
            };
            match event {
                FleetEvent::Nothing => continue,
                FleetEvent::Quit => return Ok(None),
                FleetEvent::GoTo(command) => return Ok(Some(command)),
                FleetEvent::Copy(text) => terminal::copy(&text)?,
                FleetEvent::Stop => screen.stop(true)?,
                FleetEvent::Redraw => screen.clear()?,
                FleetEvent::Ask(question) => send(&questions, question),
                FleetEvent::Draw => {}
            }
            screen.paint(|f| draw_fleet(f, &mut fleet))?;
        }
    })
}

/// A thread that is gone is noticed by its answers that do not come.
fn send(to: &std::sync::mpsc::Sender<FleetQuestion>, question: FleetQuestion) {
    let _ = to.send(question);
}
