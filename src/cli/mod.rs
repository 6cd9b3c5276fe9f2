//! Flags, and one small file for each subcommand.

#[cfg(feature = "lab")]
mod bench;
#[cfg(feature = "lab")]
mod calibrate;
mod collect;
mod compare;
mod config;
mod config_file;
#[cfg(feature = "lab")]
mod demo;
#[cfg_attr(not(feature = "lab"), path = "demo_of_none.rs")]
mod demo_of;
mod diff;
mod doctor;
mod drops;
mod execute;
mod explain;
mod fetch;
mod files;
mod fleet;
mod globals;
mod http;
mod pages;
mod prices;
mod print;
mod record;
mod run;
mod serve;
mod shot;
mod snapshot;
mod source;
mod top;
mod values;
mod watch;

pub use run::run;
