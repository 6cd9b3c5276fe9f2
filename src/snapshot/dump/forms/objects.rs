//! `kubectl get … -o json`: Services, Endpoints, EndpointSlices, Nodes.

use crate::snapshot::dump::glance::Glance;
use crate::snapshot::dump::json;
use crate::snapshot::dump::reader::{Form, Found, Reader};
use crate::snapshot::{SourceId, UnreadKind};

pub(super) static FORM: Form =
    Form { words: "kubectl get -o json", source: SourceId::Api, repeats: true, is, read };

fn is(g: &Glance<'_>) -> bool {
    let json = g.json();
    json.contains("\"apiVersion\"") || json.contains("\"items\"")
}

fn read(to: &mut Reader, f: &Found) -> Result<(), String> {
    let (value, why) = json::read(&f.text)?;
    if let Some(why) = why {
        to.partial_objects = true;
        to.unread(f, SourceId::Api, UnreadKind::Failed, why);
    }
    to.objects.push((f.path.display().to_string(), value));
    Ok(())
}
