//! What is wrong: a list, and the proof for the chosen one.

use super::widgets::severity_style;
use crate::doctor::{self, Subject};
use crate::format::{clip, clip_end, duration, share_text, short, time_of_day, wrapped};
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Request};
use crate::tui::section::Section;
use crate::tui::widgets::{draw_list, part};
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::{Paragraph, Wrap};
use std::time::Duration;

#[derive(Debug, Default)]
pub(in crate::tui) struct Findings {
    list: List,
}

impl Findings {
    fn chosen<'a>(&self, cx: &'a Context) -> Option<&'a doctor::Finding> {
        cx.update.as_ref()?.examination.findings.get(self.list.chosen)
    }
}

/// `2 min`
fn ago(now: Timestamp, at: Timestamp) -> String {
    duration(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

impl Pane for Findings {
    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        let subject = self.chosen(cx).map(|f| &f.subject);
        match (action, subject) {
            (Action::Enter, Some(Subject::Service(i))) => Effect::Go(Request::Service(*i, Section::Backends)),
            (Action::Enter, Some(Subject::Rule(r))) => Effect::Go(Request::Rule(*r)),
            (Action::Enter, Some(Subject::Table(i))) => Effect::Go(Request::Table(*i)),
            (Action::Enter, Some(Subject::Node)) => {
                Effect::Notice("this is about the node as a whole".into())
            }
            (Action::Enter, None) => Effect::Nothing,
            (Action::Explain, Some(Subject::Service(i))) => Effect::Go(Request::Service(*i, Section::Path)),
            _ => Effect::Ignored,
        }
    }

    fn lists(&mut self) -> Lists<'_> {
        Lists::one(&mut self.list)
    }

    fn copied(&self, cx: &Context) -> Option<String> {
        let f = self.chosen(cx)?;
        (!f.commands.is_empty()).then(|| f.commands.join("\n"))
    }

    fn hints(&self) -> &'static [Action] {
        &[Action::Enter, Action::Explain]
    }

    fn draw(&mut self, frame: &mut Frame<'_>, area: Rect, cx: &Context, _clicks: &mut Clicks) {
        let theme = cx.theme;
        let examination = cx.update.as_ref().map(|u| u.examination.clone()).unwrap_or_default();
        let findings = &examination.findings;
        let lower = (area.height * 2 / 5).clamp(5, 14);
        let [upper, lower] = Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(area);
        let unchecked = &examination.unchecked;
        let note = match unchecked.len() {
            0 => format!("{} causes looked for", doctor::causes().count()),
            n => format!("{} causes looked for, {n} could not be", doctor::causes().count() - n),
        };
        let inner = part(frame, theme, upper, &format!("Findings {}", findings.len()), &note, true);
        self.list.fit(findings.len(), inner);
        let Some(chosen) = findings.get(self.list.chosen) else {
            let text = match cx.update {
                Some(ref u) if !u.snapshot.rules_read() => {
                    " Nothing can be said: what holds Services could not be read (pane 2 says why)."
                }
                Some(_) => " Nothing wrong was found among what is looked for.",
                None => " Reading the kernel …",
            };
            let read = cx.update.as_ref().is_none_or(|u| u.snapshot.rules_read());
            let style = if read { theme.good() } else { theme.bad() };
            frame.render_widget(Paragraph::new(text).style(style), inner);
            let inner = part(frame, theme, lower, "Ruled out", "", false);
            let ruled_out = examination.checked().collect::<Vec<_>>().join(", ");
            let mut lines = vec![Line::from(Span::styled(format!(" {ruled_out}"), theme.dim()))];
            for u in unchecked {
                lines.push(Line::from(Span::styled(
                    format!(" not looked for: {}: {}", u.id, u.why),
                    theme.dim(),
                )));
            }
            frame.render_widget(Paragraph::new(lines).wrap(Wrap { trim: false }), inner);
            return;
        };
        let width = usize::from(inner.width);
        let about = (width / 3).clamp(18, 50);
        draw_list(frame, theme, &self.list, Some(true), |frame, i, place| {
            let f = &findings[i];
            let line = Line::from(vec![
                Span::styled(format!(" {:<11}", f.severity.mark()), severity_style(theme, f.severity)),
                Span::styled(format!("{:<about$} ", clip(&f.about, about)), theme.text()),
                Span::styled(clip_end(&f.title, width.saturating_sub(about + 13)), theme.dim()),
            ]);
            frame.render_widget(Paragraph::new(line), place);
        });
        let hint =
            if width < 100 { "Enter goes there" } else { "Enter goes there, y copies what is behind $" };
        let title = format!("{}: {}", chosen.about, chosen.title);
        let title = clip_end(&title, width.saturating_sub(hint.len() + 8));
        let inner = part(frame, theme, lower, &title, hint, false);
        let mut lines: Vec<Line<'_>> = Vec::new();
        if title.ends_with('…') {
            let whole = wrapped(&chosen.title, usize::from(inner.width).saturating_sub(2));
            lines.extend(whole.into_iter().map(|l| Line::styled(format!(" {l}"), theme.text())));
        }
        let now = cx.update.as_ref().map(|u| u.snapshot.taken_at).unwrap_or_default();
        let mut when = Vec::new();
        if let Some(at) = chosen.since {
            when.push(format!("since {} ({})", time_of_day(at), ago(now, at)));
        }
        if let Some(share) = chosen.lost_share {
            when.push(format!("{} of new flows lost", share_text(Some(share))));
        }
        if let Some(rate) = chosen.lost_rate {
            when.push(format!("{} packets a second", short(rate)));
        }
        if let Some(at) = chosen.quiet_since {
            when.push(format!("not seen for {}: it goes after a minute", ago(now, at)));
        }
        if !when.is_empty() {
            lines.push(Line::styled(format!(" {}", when.join(" · ")), theme.strong()));
        }
        let room = usize::from(inner.width).saturating_sub(4);
        for (mark, style, texts) in [
            (" · ", theme.dim(), &chosen.evidence),
            (" → ", theme.key(), &chosen.advice),
            (" $ ", theme.dim(), &chosen.commands),
        ] {
            for text in texts {
                for (i, line) in wrapped(text, room).into_iter().enumerate() {
                    lines.push(Line::from(vec![
                        Span::styled(if i == 0 { mark } else { "   " }, style),
                        Span::raw(line),
                    ]));
                }
            }
        }
        frame.render_widget(Paragraph::new(lines), inner);
    }
}
