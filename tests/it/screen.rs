//! Each pane on a small, a usual and a large screen, with colours and without, and what keys and the mouse do.

use crate::common::screens::{
    busy_for_long, busy_node, changing_node, dropped_packets, losing_node, moved_node, new_app, node_of,
    readings,
};
use crossterm::event::{KeyCode, KeyEvent, KeyModifiers, MouseButton, MouseEvent, MouseEventKind};
use kptop::config::{Config, ThemeName};
use kptop::tui::{App, AppEvent, ReaderCommand, Theme, draw, svg};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::buffer::Buffer;
use ratatui::style::{Color, Modifier};
use std::time::Duration;

fn app(theme: ThemeName) -> App {
    let mut app = new_app(theme);
    readings(1).into_iter().for_each(|u| app.on_update(u));
    app
}

fn busy(theme: ThemeName) -> App {
    let mut app = new_app(theme);
    busy_node().into_iter().for_each(|u| app.on_update(u));
    app
}

fn moved(theme: ThemeName) -> App {
    let mut app = new_app(theme);
    app.on_update(moved_node());
    app
}

fn changing(theme: ThemeName) -> App {
    let mut app = new_app(theme);
    changing_node().into_iter().for_each(|u| app.on_update(u));
    app
}

fn losing(theme: ThemeName) -> App {
    let mut app = new_app(theme);
    losing_node(3).into_iter().for_each(|u| app.on_update(u));
    app
}

/// With the drop monitor on.
fn dying(theme: ThemeName) -> App {
    let mut app = busy(theme);
    press(&mut app, "w");
    app.monitor_is(Ok(()));
    app.on_drops(dropped_packets());
    app
}

/// Presses keys; each sees what was drawn before, as with a person. `⎋` is Esc, `⌫` Backspace, `↓` and `→` arrows.
fn press(app: &mut App, keys: &str) -> AppEvent {
    let mut last = AppEvent::Nothing;
    for c in keys.chars() {
        let code = match c {
            '\n' => KeyCode::Enter,
            '\t' => KeyCode::Tab,
            '⎋' => KeyCode::Esc,
            '⌫' => KeyCode::Backspace,
            '↓' => KeyCode::Down,
            '→' => KeyCode::Right,
            '←' => KeyCode::Left,
            c => KeyCode::Char(c),
        };
        last = app.on_key(KeyEvent::new(code, KeyModifiers::NONE));
    }
    last
}

fn buffer(app: &mut App, width: u16, height: u16) -> Buffer {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|f| draw(f, app)).unwrap();
    terminal.backend().buffer().clone()
}

fn text(buffer: &Buffer) -> String {
    let line = |y| -> String { (0..buffer.area.width).map(|x| buffer[(x, y)].symbol()).collect() };
    (0..buffer.area.height).map(|y| format!("{}\n", line(y).trim_end())).collect()
}

fn screen(app: &mut App, width: u16, height: u16) -> String {
    text(&buffer(app, width, height))
}

/// What it takes to see a pane: its name, the node, and the keys.
type Sight = (&'static str, fn(ThemeName) -> App, &'static str);

const SIGHTS: [Sight; 37] = [
    ("overview", busy, "1"),
    ("overview-moved", moved, "1"),
    ("services", app, ""),
    ("services-moved", moved, ""),
    ("services-filtered", busy, "/ns:shop NEW/s>0\n"),
    ("service-picture", losing, "/cart\n\n"),
    ("service-picture-policies", busy, "/partners\n\n"),
    ("service-backends", busy, "/sessions\n\n]"),
    ("service-flows", busy, "/sessions\n\n]]"),
    ("service-rules", busy, "/sessions\n\n]]]"),
    ("service-affinity", busy, "/sessions\n\n]]]]"),
    ("service-path", busy, "/sessions\n\n]]]]]"),
    ("service-modes", busy, "/sessions\n\n]]]]]]"),
    ("services-heat", losing, "Z"),
    ("service-path-outside", busy, "/partners\neef"),
    ("service-rules-nftables", moved, "/mode:nftables cart\n\n]]]"),
    ("rules", app, "3jjjjjjjjj\n"),
    ("rules-sets", moved, "3/cluster\njjjjjj"),
    ("compare", busy, "4"),
    ("compare-moved", moved, "4"),
    ("compare-move", busy, "4\n"),
    ("compare-cursor", busy, "4→→→→→→→→→→"),
    ("findings-ruled-out", busy, "6G"),
    ("conntrack", busy, "5"),
    ("conntrack-cpus", busy, "5]"),
    ("conntrack-sources", busy, "5]]"),
    ("conntrack-services", busy, "5]]]"),
    ("conntrack-matrix", busy, "5]]]]"),
    ("findings", busy, "6j"),
    ("findings-firewall", changing, "6"),
    ("changes", changing, "7"),
    ("changes-none", busy, "7"),
    ("drops", dying, ""),
    ("drops-off", busy, "8"),
    ("help", app, "?"),
    ("palette", app, ":theme"),
    ("menu", busy, "n"),
];

/// One scene in three sizes.
fn look(name: &str) {
    let (_, node, keys) = SIGHTS.iter().find(|s| s.0 == name).unwrap();
    let mut seen = String::new();
    for (width, height) in [(60, 15), (80, 24), (160, 50)] {
        let both = [ThemeName::Dark, ThemeName::None].map(|theme| {
            let mut a = node(theme);
            for key in keys.chars() {
                buffer(&mut a, width, height);
                press(&mut a, &key.to_string());
            }
            buffer(&mut a, width, height)
        });
        // Colour never says what words do not.
        assert_eq!(text(&both[0]), text(&both[1]), "{name}");
        let coloured = both[1].content().iter().find(|c| (c.fg, c.bg) != (Color::Reset, Color::Reset));
        assert_eq!(coloured, None, "{name}: the theme without colours has one");
        seen.push_str(&format!("{width}x{height}\n{}", text(&both[0])));
    }
    insta::assert_snapshot!(name, seen);
}

#[test]
fn overview_looks_as_it_did() {
    look("overview");
}

#[test]
fn overview_moved_looks_as_it_did() {
    look("overview-moved");
}

#[test]
fn services_looks_as_it_did() {
    look("services");
}

#[test]
fn services_moved_looks_as_it_did() {
    look("services-moved");
}

#[test]
fn services_filtered_looks_as_it_did() {
    look("services-filtered");
}

#[test]
fn service_picture_looks_as_it_did() {
    look("service-picture");
}

#[test]
fn service_picture_policies_looks_as_it_did() {
    look("service-picture-policies");
}

#[test]
fn service_backends_looks_as_it_did() {
    look("service-backends");
}

#[test]
fn service_flows_looks_as_it_did() {
    look("service-flows");
}

#[test]
fn service_rules_looks_as_it_did() {
    look("service-rules");
}

#[test]
fn service_affinity_looks_as_it_did() {
    look("service-affinity");
}

#[test]
fn service_path_looks_as_it_did() {
    look("service-path");
}

#[test]
fn service_path_outside_looks_as_it_did() {
    look("service-path-outside");
}

#[test]
fn service_rules_nftables_looks_as_it_did() {
    look("service-rules-nftables");
}

#[test]
fn service_modes_looks_as_it_did() {
    look("service-modes");
}

#[test]
fn services_heat_looks_as_it_did() {
    look("services-heat");
}

#[test]
fn compare_cursor_looks_as_it_did() {
    look("compare-cursor");
}

#[test]
fn menu_looks_as_it_did() {
    look("menu");
}

#[test]
fn rules_looks_as_it_did() {
    look("rules");
}

#[test]
fn rules_sets_looks_as_it_did() {
    look("rules-sets");
}

#[test]
fn compare_move_looks_as_it_did() {
    look("compare-move");
}

#[test]
fn findings_ruled_out_looks_as_it_did() {
    look("findings-ruled-out");
}

#[test]
fn compare_looks_as_it_did() {
    look("compare");
}

#[test]
fn compare_moved_looks_as_it_did() {
    look("compare-moved");
}

#[test]
fn conntrack_looks_as_it_did() {
    look("conntrack");
}

#[test]
fn conntrack_cpus_looks_as_it_did() {
    look("conntrack-cpus");
}

#[test]
fn conntrack_sources_looks_as_it_did() {
    look("conntrack-sources");
}

#[test]
fn conntrack_services_looks_as_it_did() {
    look("conntrack-services");
}

#[test]
fn conntrack_matrix_looks_as_it_did() {
    look("conntrack-matrix");
}

#[test]
fn findings_looks_as_it_did() {
    look("findings");
}

#[test]
fn findings_firewall_looks_as_it_did() {
    look("findings-firewall");
}

#[test]
fn changes_looks_as_it_did() {
    look("changes");
}

#[test]
fn changes_none_looks_as_it_did() {
    look("changes-none");
}

#[test]
fn drops_looks_as_it_did() {
    look("drops");
}

#[test]
fn drops_off_looks_as_it_did() {
    look("drops-off");
}

#[test]
fn help_looks_as_it_did() {
    look("help");
}

#[test]
fn palette_looks_as_it_did() {
    look("palette");
}

#[test]
fn small_scenes_look_as_they_did() {
    insta::assert_snapshot!("nothing-read-yet", screen(&mut new_app(ThemeName::Dark), 80, 24));
    insta::assert_snapshot!("too-small", screen(&mut app(ThemeName::Dark), 40, 10));
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "c");
    insta::assert_snapshot!("columns-80x24", screen(&mut a, 80, 24));
}

/// The cells of the first line that holds this text, where the text is.
fn cells_of<'b>(buffer: &'b Buffer, wanted: &str) -> Vec<&'b ratatui::buffer::Cell> {
    let lines: Vec<String> = text(buffer).lines().map(str::to_string).collect();
    let y = lines
        .iter()
        .position(|l| l.contains(wanted))
        .unwrap_or_else(|| panic!("{wanted}:\n{}", lines.join("\n")));
    let x = lines[y].split(wanted).next().unwrap_or_default().chars().count();
    (x..x + wanted.chars().count()).map(|x| &buffer[(x as u16, y as u16)]).collect()
}

/// Styles mean something: what is wrong is red and what is fine green in themes with colours, and each differs from the
/// other in every theme; the chosen row and the lit tab differ from the others.
#[test]
fn styles_mean_something() {
    for theme in ThemeName::ALL.iter().copied() {
        let mut a = busy(theme);
        press(&mut a, "2");
        buffer(&mut a, 160, 50);
        // The chosen row has colours of its own: another is chosen.
        press(&mut a, "G");
        let list = buffer(&mut a, 160, 50);
        let style = |cells: Vec<&ratatui::buffer::Cell>| {
            let c = cells[0];
            (c.fg, c.bg, c.modifier)
        };
        let [bad, good] = ["✗", "●"].map(|symbol| style(cells_of(&list, &format!("{symbol} "))));
        if !matches!(theme, ThemeName::None) {
            assert_ne!(bad.0, good.0, "{theme:?}");
        }
        if theme == ThemeName::Ansi {
            assert!(matches!(bad.0, Color::Red | Color::LightRed), "{bad:?}");
            assert!(matches!(good.0, Color::Green | Color::LightGreen), "{good:?}");
        }
        press(&mut a, "g");
        let list = buffer(&mut a, 160, 50);
        let tab = |name: &str| style(cells_of(&list, name));
        assert_ne!(tab("2 Services"), tab("4 Compare"), "{theme:?}: the lit tab");
        let row = |y: u16| (list[(10, y)].bg, list[(10, y)].modifier.contains(Modifier::REVERSED));
        let rows: Vec<_> = (5..20).map(row).collect();
        let usual = rows.iter().max_by_key(|r| rows.iter().filter(|o| o == r).count()).unwrap();
        assert_eq!(rows.iter().filter(|r| *r != usual).count(), 1, "{theme:?}: one row is chosen: {rows:?}");
        press(&mut a, "6");
        let findings = buffer(&mut a, 160, 50);
        let warning = style(cells_of(&findings, "▲ warning"));
        assert_ne!(warning, tab("4 Compare"), "{theme:?}: a warning is no usual text");
    }
}

#[test]
fn a_chain_that_was_found_stays_chosen_when_the_search_ends() {
    let mut a = moved(ThemeName::Dark);
    press(&mut a, "3/@cluster-ips\njj");
    let found = |a: &mut App| screen(a, 120, 40).contains(" ip kube-proxy @cluster-ips ");
    for _ in 0..10 {
        if found(&mut a) {
            break;
        }
        press(&mut a, "j");
    }
    assert!(found(&mut a), "{}", screen(&mut a, 120, 40));
    press(&mut a, "⎋");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains(" ip kube-proxy @cluster-ips ") && text.contains("@hairpin-connections"), "{text}");
}

/// Every screen size draws, also between the layouts, in every pane and theme.
#[test]
fn no_size_breaks_the_screen() {
    for (i, (_, node, keys)) in SIGHTS.iter().enumerate() {
        let mut a = node(ThemeName::ALL[i % ThemeName::ALL.len()]);
        press(&mut a, keys);
        for width in [1, 20, 59, 60, 71, 80, 95, 120, 200, 300] {
            for height in [1, 5, 14, 15, 19, 24, 60] {
                let text = screen(&mut a, width, height);
                // What is there says what it is, or why nothing is.
                let at = format!("sight {i}, {width}x{height}:\n{text}");
                match (width, height) {
                    (60.., 15..) => {
                        assert!(text.lines().filter(|l| !l.is_empty()).count() > 5, "{at}");
                        assert!(text.contains("kptop") || text.contains("worker"), "{at}");
                        assert!(!text.contains("too small"), "{at}");
                    }
                    (28.., _) => assert!(text.contains("This terminal is too small"), "{at}"),
                    _ => assert!(
                        text.starts_with("This terminal"[..usize::from(width).min(13)].trim_end()),
                        "{at}"
                    ),
                }
            }
        }
    }
}

/// On the smallest screen keys lead to the last line of each part, and a mark says that there is more.
#[test]
fn what_does_not_fit_is_scrolled_to() {
    let size = (60, 15);
    for (scene, keys, scroll, last) in [
        (busy as fn(ThemeName) -> App, "6", "→", "$ "),
        (dying, "8", "→", "ip6"),
        (busy, "4", "]", "Prices: "),
        (busy, "5", "", "nf_conntrack_acct = 0"),
        (busy, "/sessions\n\n]]]]]]", "", "later packets"),
    ] {
        let mut app = scene(ThemeName::Dark);
        for key in keys.chars() {
            screen(&mut app, size.0, size.1);
            press(&mut app, &key.to_string());
        }
        let before = screen(&mut app, size.0, size.1);
        assert!(before.contains('▼'), "{keys}: no mark in\n{before}");
        press(&mut app, scroll);
        let mut seen = String::new();
        for _ in 0..40 {
            seen.push_str(&screen(&mut app, size.0, size.1));
            press(&mut app, "j");
        }
        assert!(!before.contains(last) && seen.contains(last), "{keys}: never saw {last:?}\n{seen}");
    }
}

#[test]
fn without_colour_nothing_is_coloured() {
    for (name, node, keys) in SIGHTS {
        let mut a = node(ThemeName::None);
        press(&mut a, keys);
        for cell in &buffer(&mut a, 120, 40).content {
            assert_eq!((cell.fg, cell.bg), (Color::Reset, Color::Reset), "{name}");
        }
    }
}

#[test]
fn search_filters_and_sorting_work_by_keys() {
    let mut a = app(ThemeName::Dark);
    let services = |text: &str| text.lines().filter(|l| l.contains(" TCP ") || l.contains(" UDP ")).count();
    let all = services(&screen(&mut a, 120, 60));
    press(&mut a, "/redis\n");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains("shop/redis-leader:redis") && text.contains("Services 1 ·"), "{text}");
    assert!(text.contains("only \"redis\""));
    press(&mut a, "⎋");
    // By a backend's address.
    press(&mut a, "/10.244.0.5:6379");
    assert!(screen(&mut a, 120, 60).contains("Services 1 ·"));
    press(&mut a, "⎋");
    assert_eq!(services(&screen(&mut a, 120, 60)), all);
    // A filter that is wrong says so while one types.
    press(&mut a, "/flow>1");
    assert!(screen(&mut a, 120, 60).contains("no column `flow`"));
    press(&mut a, "⎋!");
    let text = screen(&mut a, 120, 60);
    assert!(
        text.contains("only problems") && text.contains("shop/checkout:http") && !text.contains("shop/cart")
    );
    press(&mut a, "⎋n");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains("all namespaces") && text.contains("33 Services"), "{text}");
    press(&mut a, "defau\n");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains("only namespace default") && !text.contains("shop/cart"), "{text}");
    press(&mut a, "m");
    assert!(screen(&mut a, 120, 60).contains("all modes"));
    press(&mut a, "⎋s");
    assert!(screen(&mut a, 120, 60).contains("Sort by"));
    press(&mut a, "conns\n");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains("CONNS▾"), "{text}");
    press(&mut a, "⎋");
    let text = screen(&mut a, 120, 60);
    let first = text.lines().position(|l| l.contains("✗")).unwrap();
    assert!(text.lines().nth(first - 1).unwrap().contains("SERVICE"), "{text}");
    press(&mut a, "P");
    // The chosen Service stays chosen when the order changes.
    press(&mut a, "/cart\n");
    screen(&mut a, 120, 60);
    press(&mut a, "gj⎋");
    press(&mut a, ">>>>");
    let text = screen(&mut a, 120, 60);
    assert!(text.contains(" shop/cart TCP ─"), "{text}");
    assert_eq!(press(&mut a, "q"), AppEvent::Quit);
}

#[test]
fn ports_of_a_service_are_one_line_where_they_agree() {
    let mut a = busy(ThemeName::Dark);
    let line = |text: &str, of: &str| text.lines().find(|l| l.contains(of)).map(str::to_string);
    let text = screen(&mut a, 130, 60);
    // 27 Services of 35 ports; the figures of their ports are together.
    assert!(text.contains("Services 27 ─") && !text.contains("kube-dns:dns"), "{text}");
    let folded = line(&text, "kube-system/kube-dns ▸ 3 ports v4+v6").expect("folded");
    press(&mut a, "/kube-dns\n");
    press(&mut a, "→");
    let text = screen(&mut a, 130, 60);
    assert!(
        text.contains("kube-system/kube-dns ▾ 3 ports v4+v6") && text.contains("one of several"),
        "{text}"
    );
    let new =
        |line: &str| line.split_whitespace().rev().nth(3).map(|n| n.parse::<f64>().unwrap_or(0.0)).unwrap();
    let parts = text.lines().filter(|l| l.contains("   :"));
    let sum: f64 = parts.map(new).sum();
    assert!(sum > 0.0 && (sum - new(&folded)).abs() < 1.0, "{sum}: {folded}");
    // A part opens, and one comes back to it; folded again the line above is chosen.
    press(&mut a, "jj\n");
    assert!(screen(&mut a, 130, 60).contains("kube-system/kube-dns:dns v6 UDP · iptables"));
    press(&mut a, "⎋");
    assert!(screen(&mut a, 130, 60).contains("kube-system/kube-dns:dns v6 UDP ─"));
    press(&mut a, "←");
    let text = screen(&mut a, 130, 60);
    assert!(text.contains("kube-dns ▸ 3 ports") && text.contains("Services 1 ·"), "{text}");
    press(&mut a, "\n");
    assert!(screen(&mut a, 130, 60).contains("kube-dns ▾ 3 ports"), "Enter unfolds, too");
    // A line for each namespace, then for each port.
    press(&mut a, "⎋z");
    let text = screen(&mut a, 130, 60);
    assert!(line(&text, "shop ▸ 13 Services").is_some_and(|l| l.contains("✗")), "{text}");
    assert!(text.contains("Services 27 in 9 namespaces ─"), "{text}");
    press(&mut a, "z");
    let text = screen(&mut a, 130, 60);
    assert!(text.contains("Services 27 ─") && text.contains("kube-dns:dns-tcp v6"), "{text}");
}

#[test]
fn a_service_that_fails_by_one_port_is_unfolded() {
    let mut services = kptop::lab::shop::services(None, 4);
    for s in services.iter_mut().filter(|s| s.label() == "media/rtp:rtcp") {
        s.backends.clear();
        s.frontends.iter_mut().for_each(|f| f.action = kptop::proxy::Action::Reject);
    }
    let mut a = new_app(ThemeName::Dark);
    a.on_update(node_of(&services));
    let text = screen(&mut a, 120, 60);
    let head = text.lines().position(|l| l.contains("media/rtp ▾ 2 ports")).expect("unfolded");
    let line = |n: usize| text.lines().nth(n).unwrap();
    assert!(line(head).contains("✗") && line(head + 1).contains("✗"), "{text}");
    assert!(line(head + 1).contains(":rtcp") && line(head + 2).contains(":rtp"), "{text}");
    // It is among those that fail.
    assert!(head < text.lines().position(|l| l.contains("shop/cart")).unwrap());
}

#[test]
fn what_is_pinned_stays_on_top() {
    let mut a = busy(ThemeName::None);
    press(&mut a, "/shop/cart\n*⎋");
    let first = |text: &str| {
        let head = text.lines().position(|l| l.contains("SERVICE")).unwrap();
        text.lines().nth(head + 1).unwrap().to_string()
    };
    let text = screen(&mut a, 120, 40);
    assert!(first(&text).starts_with("*● shop/cart"), "{text}");
    // Whatever sorts the rest.
    press(&mut a, "s");
    press(&mut a, "conns\nr");
    assert!(first(&screen(&mut a, 120, 40)).starts_with("*● shop/cart"));
    press(&mut a, "*");
    assert!(!screen(&mut a, 120, 40).contains("*●"));
}

#[test]
fn columns_are_chosen_and_ordered() {
    let mut a = busy(ThemeName::Dark);
    // From the default: the second one (the name) behind the next, then the first one off.
    press(&mut a, "c↓Jk↓");
    screen(&mut a, 120, 40);
    press(&mut a, "⎋");
    let text = screen(&mut a, 120, 40);
    let head = text.lines().find(|l| l.contains("SERVICE")).unwrap();
    assert!(head.find("PROTO") < head.find("SERVICE"), "{head}");
    press(&mut a, "cd⎋");
    let text = screen(&mut a, 120, 40);
    let head = text.lines().find(|l| l.contains("SERVICE")).unwrap();
    assert!(head.find("SERVICE") < head.find("PROTO"), "{head}");
    let config = Config::parse("[services]\ncolumns = [\"backends\", \"name\", \"scheduler\"]").unwrap();
    let mut a = App::new(Theme::new(ThemeName::Dark), Duration::from_secs(1), &config);
    readings(1).into_iter().for_each(|u| a.on_update(u));
    let text = screen(&mut a, 120, 40);
    let head = text.lines().find(|l| l.contains("SERVICE")).unwrap();
    let words: Vec<&str> = head.split_whitespace().collect();
    assert_eq!(words, ["ENDPTS", "SERVICE", "SCHED"]);
}

#[test]
fn jumps_are_followed_and_one_comes_back() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "3/KUBE-SERVICES\n");
    screen(&mut a, 120, 40);
    while !screen(&mut a, 120, 40).contains(" ip nat KUBE-SERVICES ") {
        press(&mut a, "j");
    }
    press(&mut a, "\n⎋");
    assert!(screen(&mut a, 120, 40).contains(" ip nat KUBE-SERVICES "));
    press(&mut a, "→jj\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains(" ip nat KUBE-SVC-"), "{text}");
    press(&mut a, "⌫");
    assert!(screen(&mut a, 120, 40).contains(" ip nat KUBE-SERVICES "));
    press(&mut a, "⌫");
    assert!(screen(&mut a, 120, 40).contains("no jump was followed"));
}

#[test]
fn a_path_is_walked_from_everywhere_and_leads_to_its_rules() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "/partners\ne");
    let text = screen(&mut a, 140, 50);
    assert!(
        text.contains("From a pod of this node to 10.96.2.20:443") && text.contains("The outcome"),
        "{text}"
    );
    assert!(text.contains("50.0 %  to 10.244.") && text.contains("PREROUTING"), "{text}");
    press(&mut a, "e");
    let text = screen(&mut a, 140, 50);
    assert!(text.contains("From a client outside"), "{text}");
    // By the load balancer's address it is masqueraded.
    press(&mut a, "f");
    let text = screen(&mut a, 140, 50);
    assert!(text.contains("to 198.51.100.20:443") && text.contains(", masqueraded"), "{text}");
    // From the last line upwards: a rule is near.
    press(&mut a, "G");
    let in_rules = |a: &mut App| screen(a, 140, 50).contains("Tables and chains");
    for _ in 0..12 {
        press(&mut a, "\n");
        if in_rules(&mut a) {
            break;
        }
        press(&mut a, "k");
    }
    assert!(in_rules(&mut a), "{}", screen(&mut a, 140, 50));
    press(&mut a, "⌫");
    assert!(screen(&mut a, 140, 50).contains("to 198.51.100.20:443"));
    // Elsewhere the keys say where they work.
    press(&mut a, "⎋5e");
    assert!(screen(&mut a, 140, 50).contains("choose a Service"));
}

#[test]
fn findings_lead_to_what_they_are_about() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "6");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("insert_failed rises") && text.contains("no endpoints"), "{text}");
    // The first of several Services: the one that loses most.
    press(&mut a, "\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains(" shop/invoices:http TCP · iptables · no endpoints"), "{text}");
}

#[test]
fn what_is_looked_at_is_asked_for_and_nothing_else() {
    let mut a = busy(ThemeName::Dark);
    let asked = |a: &mut App| -> Vec<ReaderCommand> {
        screen(a, 120, 40);
        a.subscribe();
        a.take_commands().into_iter().filter(|o| matches!(o, ReaderCommand::LookAt(_))).collect()
    };
    assert_eq!(asked(&mut a), []);
    press(&mut a, "/sessions\n\n");
    match &asked(&mut a)[..] {
        [ReaderCommand::LookAt(what)] => assert_eq!((what.flows.len(), what.memory.len()), (1, 0)),
        other => panic!("{other:?}"),
    }
    press(&mut a, "]]]]");
    match &asked(&mut a)[..] {
        [ReaderCommand::LookAt(what)] => assert_eq!((what.flows.len(), what.memory.len()), (0, 3)),
        other => panic!("{other:?}"),
    }
    press(&mut a, "⎋");
    assert_eq!(asked(&mut a), [ReaderCommand::LookAt(Default::default())]);
}

#[test]
fn findings_and_changes_are_searched_and_esc_undoes_it() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "6/invoices\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("Findings 1 · only \"invoices\"") && !text.contains("insert_failed"), "{text}");
    press(&mut a, "⎋");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("insert_failed") && text.contains("causes ruled out"), "{text}");
    let mut a = changing(ThemeName::Dark);
    press(&mut a, "7/checkout\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("shop/checkout:http") && !text.contains("shop/cart"), "{text}");
    press(&mut a, "⎋/nothing like it\n");
    assert!(screen(&mut a, 120, 40).contains("passes the search. Esc clears it"));
    press(&mut a, "⎋");
    assert!(screen(&mut a, 120, 40).contains("shop/cart"));
}

/// Enter on a backend that loses its packets goes to the rule that takes them, on another one to the path that ends there; the
/// title says what was opened on the way, and Esc leads back.
#[test]
fn a_backend_leads_to_its_rule_or_its_path() {
    let mut a = losing(ThemeName::Dark);
    press(&mut a, "/cart\n\n");
    assert!(screen(&mut a, 120, 40).contains(" Services › shop/cart TCP · iptables"));
    press(&mut a, "j\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("Services › shop/cart › Tables and chains"), "{text}");
    assert!(text.contains("inet quarantine forward") && text.contains("10.244.1.27"), "{text}");
    press(&mut a, "⎋");
    assert!(screen(&mut a, 120, 40).contains("25% from pods dropped by a rule"));
    press(&mut a, "k\n");
    let text = screen(&mut a, 120, 40);
    assert!(
        text.contains("The way to 10.244.0.29:8080") || text.contains("path to 10.244.0.29:8080"),
        "{text}"
    );
    press(&mut a, "⎋");
    assert!(screen(&mut a, 120, 40).contains(" Services "));
}

/// Chains of iptables mode are hashes: the Service and the backend are beside them, and a search finds them by these.
#[test]
fn chains_have_the_names_of_their_services() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "3/shop/cart\n");
    let text = screen(&mut a, 140, 40);
    let line = |start: &str, end: &str| {
        text.lines().any(|l| l.trim_start().starts_with(start) && l.trim_end().ends_with(end))
    };
    assert!(line("KUBE-SVC-", " shop/cart"), "{text}");
    assert!(line("KUBE-SEP-", " shop/cart → 10.244.0.29:8080"), "{text}");
    assert!(!text.contains("KUBE-FORWARD"), "{text}");
}

/// `:` goes to Services, addresses, ports, namespaces and paths, and `kptop shop/cart` opens there.
#[test]
fn the_palette_goes_places() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, ":cart\n");
    assert!(screen(&mut a, 120, 40).contains(" shop/cart TCP · iptables"));
    press(&mut a, "⎋:30443\ne");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains(" shop/partners:https TCP") && text.contains("no address to ask"), "{text}");
    press(&mut a, "⎋:ns media\n");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("only \"ns=media\"") && text.contains("media/rtp ▸ 2 ports"), "{text}");
    press(&mut a, "⎋:explain outside cart\n");
    assert!(screen(&mut a, 120, 40).contains("From a client outside to 10.96.2.9:8080"));
    press(&mut a, ":no such thing at all\n⎋");
    let mut a = new_app(ThemeName::Dark);
    a.open(Some("10.96.2.9".into()));
    busy_node().into_iter().for_each(|u| a.on_update(u));
    assert!(screen(&mut a, 120, 40).contains(" shop/cart TCP · iptables"));
    let mut a = new_app(ThemeName::Dark);
    a.open(Some("shop/nothing".into()));
    busy_node().into_iter().for_each(|u| a.on_update(u));
    assert!(screen(&mut a, 120, 40).contains("there is no `shop/nothing` here"));
}

#[test]
fn lines_are_copied_and_commands_found_by_name() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "/payments\ny");
    assert_eq!(a.take_clipboard().as_deref(), Some("shop/payments:http TCP 10.96.2.12:8080"));
    assert!(screen(&mut a, 120, 40).contains("copied: shop/payments:http"));
    press(&mut a, "⎋:conntrack cpu\n");
    assert!(screen(&mut a, 120, 40).contains("INVALID/s"));
    press(&mut a, ":theme: none\n");
    assert!(buffer(&mut a, 120, 40).content.iter().all(|c| c.fg == Color::Reset));
    press(&mut a, ":only busy\n");
    assert!(screen(&mut a, 120, 40).contains("only \"flows>10\""));
}

/// An opened Service stays open while filters change under it, and is closed when it is gone.
#[test]
fn an_opened_service_stays_itself() {
    let mut a = busy(ThemeName::Dark);
    press(&mut a, "/cart\n\n");
    assert!(screen(&mut a, 120, 40).contains(" shop/cart TCP · iptables"));
    busy_node().into_iter().for_each(|u| a.on_update(u));
    assert!(screen(&mut a, 120, 40).contains(" shop/cart TCP · iptables"));
    readings(1).into_iter().for_each(|u| a.on_update(u));
    a.on_update(moved_node());
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("the Service that was open is gone"), "{text}");
}

#[test]
fn the_mouse_chooses_sorts_and_scrolls() {
    let mut a = app(ThemeName::Dark);
    let text = screen(&mut a, 120, 40);
    let row = text.lines().position(|l| l.contains("shop/catalog")).unwrap() as u16;
    let click = |column, row| MouseEvent {
        kind: MouseEventKind::Down(MouseButton::Left),
        column,
        row,
        modifiers: KeyModifiers::NONE,
    };
    assert_eq!(a.on_mouse(click(10, row)), AppEvent::Draw);
    assert!(screen(&mut a, 120, 40).contains(" shop/catalog:http TCP ─"));
    let place = |text: &str, line: usize, c: char| {
        text.lines().nth(line).unwrap().chars().position(|x| x == c).unwrap() as u16
    };
    let head = text.lines().position(|l| l.contains("SERVICE")).unwrap();
    a.on_mouse(click(place(&text, head, 'F'), head as u16));
    assert!(screen(&mut a, 120, 40).contains("FRONTEND▾"));
    // A second click opens, and a section is chosen by its name.
    let text = screen(&mut a, 120, 40);
    let row = text.lines().position(|l| l.contains("shop/catalog")).unwrap() as u16;
    a.on_mouse(click(10, row));
    let text = screen(&mut a, 120, 40);
    let strip = text.lines().position(|l| l.contains(" Affinity ")).expect("opened");
    a.on_mouse(click(place(&text, strip, 'A'), strip as u16));
    assert!(screen(&mut a, 120, 40).contains("no session affinity"));
    a.on_mouse(click(place(&text, 2, '3'), 2));
    assert!(screen(&mut a, 120, 40).contains("Tables and chains"));
    for _ in 0..5 {
        let kind = MouseEventKind::ScrollDown;
        a.on_mouse(MouseEvent { kind, column: 5, row: 8, modifiers: KeyModifiers::NONE });
    }
    assert_eq!(a.on_mouse(click(119, 39)), AppEvent::Nothing);
}

/// README's pictures are what the screen looks like. `KPTOP_UPDATE_PICTURE=1` draws them again.
#[test]
fn the_pictures_are_current() {
    let mut main = new_app(ThemeName::Dark);
    readings(60).into_iter().for_each(|u| main.on_update(u));
    let (mut overview, mut losing) = (new_app(ThemeName::Dark), new_app(ThemeName::Dark));
    busy_for_long().into_iter().for_each(|u| overview.on_update(u));
    losing_node(110).into_iter().for_each(|u| losing.on_update(u));
    let compared = busy(ThemeName::Dark);
    for (name, mut a, keys) in [
        ("compare", compared, "4"),
        ("screen", main, "/frontend:http\n↓⎋"),
        ("overview", overview, "1"),
        ("picture", losing, "/cart\n\n"),
    ] {
        for key in keys.chars() {
            buffer(&mut a, 124, 36);
            press(&mut a, &key.to_string());
        }
        let drawn = svg(&buffer(&mut a, 124, 36), Theme::new(ThemeName::Dark));
        let file = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join(format!("assets/{name}.svg"));
        if std::env::var_os("KPTOP_UPDATE_PICTURE").is_some() {
            std::fs::write(&file, &drawn).unwrap();
        }
        let kept = std::fs::read_to_string(&file).unwrap_or_default();
        assert!(
            kept == drawn,
            "assets/{name}.svg is not what the screen looks like: KPTOP_UPDATE_PICTURE=1 cargo test"
        );
    }
}

/// A dropped packet opens its explanation: the Service, who sent it, and to where.
#[test]
fn a_dropped_packet_opens_its_explanation() {
    let mut app = dying(ThemeName::None);
    buffer(&mut app, 160, 50);
    press(&mut app, "\n");
    let seen = text(&buffer(&mut app, 160, 50));
    assert!(seen.contains("shop/payments:http") && seen.contains("10.244.128.5"), "{seen}");
    assert!(seen.contains("REJECT") || seen.contains("rejected"), "{seen}");
    // Of no Service.
    let mut app = dying(ThemeName::None);
    press(&mut app, "jj");
    buffer(&mut app, 160, 50);
    press(&mut app, "G\n");
    assert!(text(&buffer(&mut app, 160, 50)).contains("of no Service"));
}

/// The monitor is asked for, and given back.
#[test]
fn the_drop_monitor_is_switched_by_a_key() {
    let mut app = busy(ThemeName::None);
    press(&mut app, "w");
    assert_eq!(app.take_monitor(), Some(true));
    app.monitor_is(Err("no drop monitor here".into()));
    assert!(text(&buffer(&mut app, 80, 24)).contains("no drop monitor here"));
    press(&mut app, "w");
    app.monitor_is(Ok(()));
    press(&mut app, "w");
    assert_eq!(app.take_monitor(), Some(false));
}

/// Esc leads back to the list that one came from.
#[test]
fn one_comes_back_to_the_list_of_findings_changes_and_drops() {
    for (mut app, keys, list) in [
        (busy(ThemeName::None), "6\n", "causes ruled out"),
        (busy(ThemeName::None), "6e", "causes ruled out"),
        (changing(ThemeName::None), "7jjjj\n", "since kptop began"),
        (changing(ThemeName::None), "7j\n", "since kptop began"),
        (dying(ThemeName::None), "\n", "What counters report"),
    ] {
        for key in keys.chars() {
            buffer(&mut app, 160, 50);
            press(&mut app, &key.to_string());
        }
        let there = text(&buffer(&mut app, 160, 50));
        assert!(!there.contains(list), "{keys} led nowhere: {there}");
        press(&mut app, "⎋");
        assert!(text(&buffer(&mut app, 160, 50)).contains(list), "{keys} and Esc");
    }
}

/// The way around the panes leads back to the Service that was open; ← goes back a section, and from the first out.
#[test]
fn a_service_stays_open_on_the_way_around_the_panes() {
    let mut a = busy(ThemeName::None);
    press(&mut a, "/sessions\n\n]\t");
    assert!(screen(&mut a, 120, 40).contains("Tables"), "{}", screen(&mut a, 120, 40));
    press(&mut a, "\t\t\t\t\t\t\t");
    let text = screen(&mut a, 120, 40);
    assert!(text.contains("shop/sessions:redis") && text.contains("EXPECT"), "{text}");
    press(&mut a, "←");
    assert!(screen(&mut a, 120, 40).contains("SENDERS"));
    press(&mut a, "←");
    assert!(screen(&mut a, 120, 40).contains("Services 1 ·"));
    // A pane that is chosen by its number is the list.
    press(&mut a, "\n62");
    assert!(screen(&mut a, 120, 40).contains("Services 1 ·"));
}
