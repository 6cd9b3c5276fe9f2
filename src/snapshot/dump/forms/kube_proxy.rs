//! What kube-proxy answers on its ports: `/metrics`, `/configz`, `/healthz`.

use crate::kube_proxy::Answer;
use crate::snapshot::SourceId;
use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::json;
use crate::snapshot::dump::reader::{Form, Found, Reader};

const fn form(
    words: &'static str,
    is: fn(&Glance<'_>) -> bool,
    read: fn(&mut Reader, &Found) -> Result<(), String>,
) -> Form {
    Form { words, source: SourceId::KubeProxy, repeats: false, is, read }
}

pub(super) static METRICS: Form = form("kube-proxy's /metrics", |g| is_metrics(g.text), read_metrics);
pub(super) static CONFIG: Form =
    form("kube-proxy's /configz", |g| g.json().contains("\"kubeproxy.config.k8s.io\""), read_config);
pub(super) static HEALTH: Form = form(
    "kube-proxy's /healthz",
    |g| g.json().contains("\"lastUpdated\"") && g.json().contains("\"currentTime\""),
    read_health,
);

/// Metrics of kube-proxy, in Prometheus' text format.
pub(super) fn is_metrics(text: &str) -> bool {
    text.contains("# TYPE kubeproxy_")
}

fn read_metrics(to: &mut Reader, f: &Found) -> Result<(), String> {
    let read = crate::kube_proxy::metrics(&f.text).ok_or("it has no metrics of kube-proxy's syncs")?;
    to.kube_proxy.get_or_insert_default().metrics = Answer::Given(read);
    Ok(())
}

/// JSON without what stands around it.
fn json_alone(to: &mut Reader, f: &Found) -> Result<String, String> {
    let (value, why) = json::read(&f.text)?;
    if let Some(why) = why {
        to.say(&why);
    }
    Ok(value.to_string())
}

fn read_config(to: &mut Reader, f: &Found) -> Result<(), String> {
    let text = json_alone(to, f)?;
    let read = crate::kube_proxy::config(&text).ok_or("it is no configuration of kube-proxy's")?;
    to.kube_proxy.get_or_insert_default().config = Some(read);
    Ok(())
}

fn read_health(to: &mut Reader, f: &Found) -> Result<(), String> {
    let text = json_alone(to, f)?;
    // The status is not in the text; from 1.33 on it says whether all is well.
    let status = if text.replace(' ', "").contains("\"healthy\":false") { 503 } else { 200 };
    let read = crate::kube_proxy::health(status, &text).ok_or("it is no health of kube-proxy's")?;
    let of = to.kube_proxy.get_or_insert_default();
    of.asked_at = read.asked_at.unwrap_or_default();
    of.health = Answer::Given(read);
    Ok(())
}
