//! Fuzzing. Each target in [`targets`] takes any bytes; two engines feed them:
//!
//! - [`run`] alters seeds at random, in `cargo test` and, for longer, in `tests/fuzz mutate`;
//! - libFuzzer looks at which code an input reaches (`fuzz/`, `tests/fuzz`).

mod nf_tables;
pub mod targets;

#[cfg(test)]
pub(crate) use nf_kernel::fuzz::run;
