//! Rules that are older than the endpoints: kube-proxy is slow, stuck or not running. The truth to compare with is the Kubernetes
//! API, which kptop does not ask yet.

use super::{Case, Finding};

pub(super) fn find(_: &Case<'_>, _: &mut Vec<Finding>) -> Result<(), String> {
    Err("what the endpoints should be is known to the Kubernetes API alone, which kptop does not ask".into())
}
