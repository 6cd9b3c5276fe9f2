//! Fuzzing. Each target in [`targets`] takes any bytes; two engines feed them:
//!
//! - [`run`] alters seeds at random, in `cargo test` and, for longer, in `tests/fuzz mutate`;
//! - libFuzzer looks at which code an input reaches (`fuzz/`, `tests/fuzz`), built with `--cfg fuzzing`.

#[cfg(test)]
mod mutate;
pub mod targets;

#[cfg(test)]
pub(crate) use mutate::run;
