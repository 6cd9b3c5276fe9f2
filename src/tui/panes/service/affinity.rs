//! The clients that the rules of a Service with session affinity remember.

use crate::format::{clip, duration, plural};
use crate::proxy::{Engine, Service, endpoint_text};
use crate::ruleset::IpFamily;
use crate::snapshot::{MemoryList, RememberedClient, Snapshot};
use crate::tui::list::List;
use crate::tui::pane::Context;
use crate::tui::reader::Update;
use crate::tui::widgets::{draw_list, put};
use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::widgets::{Paragraph, Wrap};
use std::time::Duration;

/// The backend that a list of clients belongs to.
fn list_owner(service: &Service, snapshot: &Snapshot, list: &MemoryList) -> String {
    match list {
        MemoryList::Recent(name) => {
            let of_chain = service.backends.iter().find(|b| {
                let Some(r) = b.rule else { return false };
                let Some(t) = snapshot.tables.get(r.table) else { return false };
                t.table.chain_of(r.rule).is_some_and(|c| t.table.chain_name(c) == name)
            });
            of_chain.map_or_else(|| name.clone(), |b| endpoint_text(b.address, b.port))
        }
        // `affinity-HASH-ns/name/tcp/port__10.244.0.3/8080`
        MemoryList::Set(_, _, set) => {
            set.rsplit_once("__").map_or(set.as_str(), |s| s.1).replacen('/', ":", 1)
        }
    }
}

pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    cx: &Context,
    update: &Update,
    service: &Service,
    rows_shown: &mut List,
) {
    let theme = cx.theme;
    let say = |frame: &mut Frame<'_>, list: &mut List, text: &str| {
        list.fit(0, area);
        let place = Rect { x: area.x + 1, width: area.width.saturating_sub(2), ..area };
        let text = Paragraph::new(text.to_string()).style(theme.dim()).wrap(Wrap { trim: false });
        frame.render_widget(text, place);
    };
    let Some(affinity) = service.session_affinity else {
        say(
            frame,
            rows_shown,
            "It has no session affinity: every flow of a client may go to another backend.",
        );
        return;
    };
    let elsewhere = match service.engine {
        Engine::Ipvs => Some(
            "IPVS keeps its clients as persistence templates among its connections (ipvsadm -Ln --persistent-conn)."
                .to_string(),
        ),
        Engine::Kernelspace => Some("HNS remembers no clients: it chooses by a client's address alone.".into()),
        Engine::Cilium | Engine::CalicoEbpf => Some(format!(
            "Clients stay for {affinity}. The proxy remembers them in an eBPF map that kptop does not read."
        )),
        _ => None,
    };
    if let Some(text) = elsewhere {
        say(frame, rows_shown, &text);
        return;
    }
    let Some(found) = update.snapshot.remembered.as_ref().map(|r| r.value.clone()) else {
        say(frame, rows_shown, "Reading the clients that its rules remember …");
        return;
    };
    let mut rows: Vec<(String, &RememberedClient)> = Vec::new();
    for (list, clients) in &found.lists {
        let owner = list_owner(service, &update.snapshot, list);
        rows.extend(clients.iter().map(|c| (owner.clone(), c)));
    }
    if let (true, Some(why)) = (rows.is_empty(), found.failed.first()) {
        say(frame, rows_shown, why);
        return;
    }
    let words = format!(
        "{} remembered, each for {} after its last new flow",
        plural(rows.len() as u64, "client"),
        duration(Duration::from_secs(affinity.seconds_or_default().into()))
    );
    put(frame, Rect { x: area.x + 1, height: 1, ..area }, &words, theme.text(), false);
    let (client, backend) = if service.family == IpFamily::V6 { (40, 26) } else { (16, 22) };
    let head = format!(" {:<client$} {:<backend$} {:>15} {:>7}", "CLIENT", "BACKEND", "FORGOTTEN", "PACKETS");
    let rest = Rect { y: area.y + 1, height: area.height.saturating_sub(1), ..area };
    put(frame, Rect { height: 1, ..rest }, &head, theme.head(), false);
    let list = Rect { y: rest.y + 1, height: rest.height.saturating_sub(1), ..rest };
    rows_shown.fit(rows.len(), list);
    draw_list(frame, theme, rows_shown, Some(true), |frame, i, at| {
        let (owner, c) = &rows[i];
        let left = c.expires.map_or("-".into(), |d| format!("in {}", duration(d)));
        let packets = c.packets.map_or("-".into(), |n| n.to_string());
        let text = format!(
            " {:<client$} {:<backend$} {left:>15} {packets:>7}",
            c.address.to_string(),
            clip(owner, backend)
        );
        put(frame, at, &text, theme.text(), false);
    });
}
