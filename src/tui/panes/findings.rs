//! What is wrong: a list, and the proof for the chosen one.

use super::widgets::severity_style;
use crate::doctor::{self, Finding, Subject};
use crate::format::{clip, clip_end, duration, share_text, short, time_of_day, wrapped};
use crate::tui::keys::Action;
use crate::tui::list::List;
use crate::tui::pane::{Clicks, Context, Effect, Lists, Pane, Search};
use crate::tui::request::Request;
use crate::tui::section::Section;
use crate::tui::text_filter::TextFilter;
use crate::tui::theme::Theme;
use crate::tui::widgets::{draw_list, part, read_lines};
use jiff::Timestamp;
use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;
use std::time::Duration;
use unicode_width::UnicodeWidthStr;

#[derive(Debug, Default)]
pub(in crate::tui) struct Findings {
    list: List,
    /// Lines of the chosen one.
    below: List,
    lower: bool,
    filter: TextFilter,
    /// How many pass it.
    found: usize,
}

impl Findings {
    /// Those that pass the search.
    fn rows<'a>(&self, examination: &'a doctor::Examination) -> Vec<&'a Finding> {
        let passes = |f: &&Finding| {
            let words = || [f.id, f.severity.mark(), &f.about, &f.title, &f.evidence.join(" ")].join(" ");
            self.filter.passes(words)
        };
        examination.findings.iter().filter(passes).collect()
    }

    /// What comes below them: what could not be looked for, and what was ruled out, where they pass the search.
    fn rest(&self, examination: &doctor::Examination) -> Vec<Rest> {
        let passes = |id: &str, why: &str| self.filter.passes(|| [id, doctor::about(id), why].join(" "));
        let mut rest = Vec::new();
        if examination.findings.is_empty() {
            rest.push(Rest::Nothing(examination.checked().next().is_some()));
        }
        let unchecked = examination.unchecked.iter().enumerate();
        rest.extend(unchecked.filter(|(_, u)| passes(u.id, &u.why)).map(|(i, _)| Rest::Unchecked(i)));
        rest.extend(examination.ruled_out().filter(|id| passes(id, "ruled out")).map(Rest::RuledOut));
        rest
    }

    fn chosen<'a>(&self, cx: &'a Context) -> Option<&'a Finding> {
        self.rows(&cx.update.as_ref()?.examination).get(self.list.chosen).copied()
    }
}

/// `2 min`
fn ago(now: Timestamp, at: Timestamp) -> String {
    duration(Duration::try_from(now.duration_since(at)).unwrap_or_default())
}

impl Pane for Findings {
    fn on_action(&mut self, action: Action, cx: &Context) -> Effect {
        match action {
            Action::Focus if self.below.is_cut() => {
                self.lower = true;
                return Effect::Nothing;
            }
            Action::Back | Action::Left if self.lower => {
                self.lower = false;
                self.below.go_to_top();
                return Effect::Nothing;
            }
            Action::Back if self.filter.clear() => return Effect::Nothing,
            _ => {}
        }
        let subject = self.chosen(cx).map(|f| &f.subject);
        match (action, subject) {
            (Action::Enter, Some(Subject::Service(i))) => {
                Effect::Go(Request::Service(*i, Section::OF_SERVICE[0]))
            }
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
        Lists { upper: Some(&mut self.list), lower: Some(&mut self.below), in_lower: Some(&mut self.lower) }
    }

    fn on_chosen(&mut self, _cx: &Context) {
        self.below.go_to_top();
    }

    fn search(&self) -> Option<Search> {
        Some(self.filter.search(self.found))
    }

    fn set_search(&mut self, text: String, _cx: &Context) {
        self.filter.set(text);
        self.list.go_to_top();
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
        let Some(update) = &cx.update else {
            let inner = part(frame, theme, area, "Findings", "", true);
            frame.render_widget(Paragraph::new(" Reading the kernel …").style(theme.dim()), inner);
            return;
        };
        let examination = update.examination.clone();
        let findings = self.rows(&examination);
        let rest = self.rest(&examination);
        self.found = findings.len() + rest.iter().filter(|r| !matches!(r, Rest::Nothing(_))).count();
        let at = self.list.chosen.min((findings.len() + rest.len()).saturating_sub(1));
        let below = match (findings.get(at), at.checked_sub(findings.len())) {
            (Some(chosen), _) => finding_part(cx, area.width, chosen),
            (None, Some(at)) => rest_part(area.width, &examination, rest.get(at).copied()),
            (None, None) => Below::default(),
        };
        // Findings have their place; what is left of it is for what the chosen one says.
        let most = (area.height * 3 / 5).min(area.height.saturating_sub(findings.len() as u16 + 3));
        let lower = (below.lines.len() as u16 + 1).clamp(5, most.max(area.height * 2 / 5).max(5));
        let [upper, lower] = Layout::vertical([Constraint::Min(4), Constraint::Length(lower)]).areas(area);
        let unchecked = examination.unchecked.len();
        let note = match unchecked {
            0 => format!("{} causes ruled out", examination.ruled_out().count()),
            n => format!("{} causes ruled out, {n} not looked for", examination.ruled_out().count()),
        };
        let title = format!("Findings {}{}", findings.len(), self.filter.note());
        let inner = part(frame, theme, upper, &title, &note, !self.lower);
        self.list.fit(findings.len() + rest.len(), inner);
        let width = usize::from(inner.width);
        let about = (width / 3).clamp(18, 50);
        draw_list(frame, theme, &self.list, Some(!self.lower), |frame, i, place| {
            let line = match findings.get(i) {
                Some(f) => finding_line(theme, f, width, about),
                None => rest_line(theme, &examination, rest[i - findings.len()], width),
            };
            frame.render_widget(Paragraph::new(line), place);
        });
        let cut = below.lines.len() + 1 > usize::from(lower.height);
        let scrolls = if cut { "→ scrolls · " } else { "" };
        let hint = format!("{scrolls}{}", below.hint);
        let room = usize::from(lower.width).saturating_sub(hint.width() + 8);
        let inner = part(frame, theme, lower, &clip_end(&below.title, room), &hint, self.lower);
        read_lines(frame, theme, &mut self.below, inner, &below.lines);
    }
}

/// What the lower part shows.
#[derive(Default)]
struct Below {
    title: String,
    hint: &'static str,
    lines: Vec<Line<'static>>,
}

/// Rows below the findings.
#[derive(Clone, Copy, Debug)]
enum Rest {
    /// Nothing was found; whether what holds Services was read.
    Nothing(bool),
    /// A cause that could not be looked for, by its index.
    Unchecked(usize),
    RuledOut(&'static str),
}

fn nothing_found(read: bool) -> &'static str {
    match read {
        true => "Nothing wrong was found among what is looked for.",
        false => "Nothing can be said: what holds Services could not be read (pane 2 says why).",
    }
}

fn rest_line(theme: Theme, examination: &doctor::Examination, row: Rest, width: usize) -> Line<'static> {
    let about = |id| clip_end(doctor::about(id), width.saturating_sub(20));
    match row {
        Rest::Nothing(read) => {
            let style = if read { theme.good() } else { theme.bad() };
            Line::styled(format!(" {}", nothing_found(read)), style)
        }
        Rest::Unchecked(i) => {
            let cause = examination.unchecked.get(i).map_or(String::new(), |u| about(u.id));
            Line::from(vec![
                Span::styled(" ? not looked for  ", theme.warn()),
                Span::styled(cause, theme.dim()),
            ])
        }
        Rest::RuledOut(id) => Line::from(vec![
            Span::styled(" ● ruled out       ", theme.good()),
            Span::styled(about(id), theme.dim()),
        ]),
    }
}

/// How bad it is, the part that is lost, what it is about, and its title, which is brightest.
fn finding_line(theme: Theme, f: &Finding, width: usize, about: usize) -> Line<'static> {
    let lost = f.lost_share.map_or(String::new(), |s| share_text(Some(s)));
    let title = clip_end(&f.title, width.saturating_sub(about + 19));
    let bright = if f.quiet_since.is_some() { theme.dim() } else { theme.strong() };
    Line::from(vec![
        Span::styled(format!(" {:<11}", f.severity.mark()), severity_style(theme, f.severity)),
        Span::styled(format!("{lost:>5} "), severity_style(theme, f.severity)),
        Span::styled(format!("{:<about$} ", clip(&f.about, about)), theme.text()),
        Span::styled(title, bright),
    ])
}

/// A cause that was ruled out, or that could not be looked for with the reason.
fn rest_part(width: u16, examination: &doctor::Examination, row: Option<Rest>) -> Below {
    let unchecked = |i: usize| examination.unchecked.get(i);
    let (title, lines) = match row {
        Some(Rest::Unchecked(i)) => {
            let why = unchecked(i).map_or("", |u| u.why.as_str());
            ("Not looked for", vec![unchecked(i).map_or("", |u| u.id).to_string(), format!("Why: {why}.")])
        }
        Some(Rest::RuledOut(id)) => {
            ("Ruled out", vec![id.to_string(), "It was looked for in this reading, and is not there.".into()])
        }
        _ => ("Nothing found", vec!["What was ruled out and what was not looked for is in the list.".into()]),
    };
    let room = usize::from(width.saturating_sub(2));
    let lines = lines.iter().flat_map(|l| wrapped(l, room)).map(|l| Line::from(format!(" {l}")));
    Below { title: title.into(), hint: "kptop's manual has each cause by this name", lines: lines.collect() }
}

/// The proof of a finding, what to do, and commands.
fn finding_part(cx: &Context, width: u16, chosen: &Finding) -> Below {
    let theme = cx.theme;
    let hint = if width < 100 { "Enter goes there" } else { "Enter goes there, y copies what is behind $" };
    let title = format!("{}: {}", chosen.about, chosen.title);
    let is_cut = title.width() > usize::from(width).saturating_sub(hint.len() + 8);
    let mut lines: Vec<Line<'static>> = Vec::new();
    if is_cut {
        let whole = wrapped(&chosen.title, usize::from(width).saturating_sub(2));
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
    let room = usize::from(width).saturating_sub(4);
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
    Below { title, hint, lines }
}
