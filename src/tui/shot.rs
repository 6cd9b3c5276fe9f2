//! One frame of the screen as a picture: the real panes, without a terminal.

use super::app::App;
use super::draw::draw;
use super::reader::{ReaderCommand, Update, by_table};
use super::run::Options;
use super::svg::svg;
use super::theme::Theme;
use crate::config::ThemeName;
use crate::observe::Observer;
use crate::proxy::Names;
use crate::snapshot::Snapshot;
use crate::snapshot::facts::Meter;
use crate::snapshot::live::{Live, Wanted};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use std::time::{Duration, Instant};

/// What the picture should show.
#[derive(Clone, Debug)]
pub struct Shot {
    /// Columns and lines.
    pub size: (u16, u16),
    /// Keys that are pressed before.
    pub keys: Keys,
    /// How long to watch before.
    pub watch: Duration,
}

/// Keys, as a user would press them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Keys(pub Vec<KeyCode>);

impl Keys {
    /// Reads `2/cart<Enter><Down>`: letters represent themselves, others have names.
    ///
    /// # Errors
    /// Which names there are.
    pub fn parse(text: &str) -> Result<Keys, String> {
        const NAMES: [(&str, KeyCode); 9] = [
            ("Enter", KeyCode::Enter),
            ("Esc", KeyCode::Esc),
            ("Tab", KeyCode::Tab),
            ("Up", KeyCode::Up),
            ("Down", KeyCode::Down),
            ("Left", KeyCode::Left),
            ("Right", KeyCode::Right),
            ("PgDn", KeyCode::PageDown),
            ("PgUp", KeyCode::PageUp),
        ];
        let mut keys = Vec::new();
        let mut rest = text;
        while let Some(c) = rest.chars().next() {
            rest = &rest[c.len_utf8()..];
            // `<` alone is a key, too.
            match rest.split_once('>').filter(|_| c == '<') {
                Some((name, after)) => {
                    let found = NAMES.iter().find(|n| n.0.eq_ignore_ascii_case(name));
                    let (_, code) = found.ok_or_else(|| {
                        let all: Vec<String> = NAMES.iter().map(|n| format!("<{}>", n.0)).collect();
                        format!("no key <{name}>; there are {}", all.join(" "))
                    })?;
                    keys.push(*code);
                    rest = after;
                }
                None => keys.push(KeyCode::Char(c)),
            }
        }
        Ok(Keys(keys))
    }
}

/// The screen, on paper.
struct Studio {
    app: App,
    observer: Observer,
    terminal: Terminal<TestBackend>,
    theme: Theme,
}

impl Studio {
    fn new(names: Names, options: &Options, size: (u16, u16)) -> Studio {
        let theme = Theme::new(options.config.theme.unwrap_or(ThemeName::Dark));
        let Ok(terminal) = Terminal::new(TestBackend::new(size.0, size.1));
        Studio {
            app: App::new(theme, options.interval, &options.config),
            observer: Observer::new(names).priced(options.prices.clone()),
            terminal,
            theme,
        }
    }

    fn draw(&mut self) {
        let Ok(_) = self.terminal.draw(|f| draw(f, &mut self.app));
    }

    fn press(&mut self, keys: &Keys) {
        for code in &keys.0 {
            self.draw(); // lists know their height by what was drawn
            self.app.on_key(KeyEvent::new(*code, KeyModifiers::NONE));
        }
    }

    fn picture(mut self) -> String {
        self.draw();
        svg(self.terminal.backend().buffer(), self.theme)
    }
}

/// Watches for a while, presses the keys, and draws: the text of an SVG file.
pub fn shot(live: &mut Live, names: Names, options: &Options, shot: &Shot) -> String {
    let mut studio = Studio::new(names, options, shot.size);
    let began = Instant::now();
    let mut pressed = false;
    loop {
        let meter = Meter::start();
        let view = studio.observer.observe(live.snapshot(Wanted::ALL));
        live.new_flows_are_counted(view.model.new_flows_are_counted());
        studio.app.on_update(Update::now(view, meter.stop().wall, Duration::ZERO));
        let last = began.elapsed() + options.interval >= shot.watch;
        if last && pressed {
            break;
        }
        if last {
            studio.press(&shot.keys);
            pressed = true;
        }
        studio.draw();
        studio.app.subscribe();
        for command in studio.app.take_commands() {
            match command {
                ReaderCommand::LookAt(what) => live.look_at(what),
                ReaderCommand::Watch(rules) => {
                    if let Some(u) = &studio.app.cx.update {
                        live.watch(by_table(&u.snapshot, &rules));
                    }
                }
                _ => {}
            }
        }
        std::thread::sleep(options.interval);
    }
    studio.picture()
}

/// The same of readings that were recorded: what is drawn is the last one.
pub fn shot_of(snapshots: Vec<Snapshot>, names: Names, options: &Options, shot: &Shot) -> String {
    let mut studio = Studio::new(names, options, shot.size);
    for snapshot in snapshots {
        let view = studio.observer.observe(snapshot);
        studio.app.on_update(Update::now(view, Duration::ZERO, Duration::ZERO));
    }
    studio.press(&shot.keys);
    studio.draw();
    studio.picture()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_read_as_one_writes_them() {
        let keys = Keys::parse("2/a b<Enter><").unwrap();
        let c = KeyCode::Char;
        assert_eq!(keys.0, [c('2'), c('/'), c('a'), c(' '), c('b'), KeyCode::Enter, c('<')]);
        assert!(Keys::parse("<Return>").unwrap_err().contains("<Enter>"));
    }
}
