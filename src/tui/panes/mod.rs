//! One file a pane, and the list of them.

mod all;
mod changes;
mod compare;
mod conntrack;
mod drops;
mod findings;
mod layout;
mod overview;
mod rules;
mod service;
mod services;
mod widgets;

pub(super) use all::make;
pub(super) use service::Service;
pub(super) use widgets::{severity_style, state_style};
