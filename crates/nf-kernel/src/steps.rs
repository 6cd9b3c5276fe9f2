//! Classic BPF: programs that choose among notices.

/// One step (`struct sock_filter` in `linux/filter.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Step {
    /// What it does.
    pub code: u16,
    /// Steps that are skipped where it is true.
    pub jt: u8,
    /// Steps that are skipped where it is false.
    pub jf: u8,
    /// Its number.
    pub k: u32,
}

/// A step.
pub(crate) const fn step(code: u16, jt: u8, jf: u8, k: u32) -> Step {
    Step { code, jt, jf, k }
}
