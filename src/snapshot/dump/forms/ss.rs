//! `ss -tlnp`: who listens; kptop uses of it whether kube-proxy does.

use crate::kube_proxy::Process;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::reader::{Form, Found, Reader};

pub(super) static FORM: Form =
    Form { words: "ss -tlnp", source: SourceId::KubeProxy, repeats: true, is, read };

fn is_head(line: &str) -> bool {
    line.contains("Recv-Q") && line.contains("Send-Q") && line.contains("Local Address")
}

/// `LISTEN 0 4096 …`, or netstat's `tcp 0 0 …`
fn is_row(line: &str) -> bool {
    let numbers = line.split_whitespace().skip(1).take(2).filter(|w| w.parse::<u64>().is_ok());
    numbers.count() == 2
}

fn is(g: &Glance<'_>) -> bool {
    g.any(3, is_head)
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    to.unused_but(f, |l| is_head(l) || is_row(l));
    let pid = f.text.lines().find_map(|l| {
        // `users:(("kube-proxy",pid=1234,fd=8))`, or netstat's `1234/kube-proxy`
        let (front, rest) = l.split_once("kube-proxy")?;
        let digits =
            |t: &str| t.chars().take_while(char::is_ascii_digit).collect::<String>().parse::<i32>().ok();
        rest.split_once("pid=")
            .and_then(|r| digits(r.1))
            .or_else(|| front.strip_suffix('/')?.rsplit(' ').next()?.parse().ok())
    });
    match pid {
        Some(pid) => {
            let name = "kube-proxy".into();
            to.kube_proxy.get_or_insert_default().process = Process::Runs { pid, name };
        }
        None => to.say("kube-proxy is not among those that listen; of others kptop uses nothing"),
    }
    Ok(())
}
