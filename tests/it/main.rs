//! Tests of kptop as a whole, in one binary: linking is most of the time of a build of tests.
//!
//! What needs root and a kernel is in modules that are called `kernel`; the rest runs anywhere:
//!
//! ```text
//! cargo test --workspace --lib --test it -- --skip kernel::
//! ```

mod api;
mod attacks;
mod behind;
mod cases;
mod changes;
mod common;
mod cost;
mod doctor;
mod dumps;
mod fleet;
mod imports;
mod kernel;
mod kube_proxy;
mod manual;
mod nodes;
mod pasted;
mod proxies;
mod recording;
mod screen;
mod serve;
mod services;
mod words;
