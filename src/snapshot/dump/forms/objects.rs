//! `kubectl get … -o json`: Services, Endpoints, EndpointSlices, Nodes.

use super::{Form, Glance, json};
use crate::snapshot::dump::gather::Found;
use crate::snapshot::dump::reader::Reader;
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
