//! `top` for Kubernetes Services on one node.
fn main() {}
