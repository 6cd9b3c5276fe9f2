//! Fuzzing by mutation: valid bytes, cut, spliced and altered, for as long as asked.
//!
//! `cargo test` gives each target two seconds (`KPTOP_FUZZ_SECONDS`). A target that panics prints its input in
//! hexadecimal, and the seed that makes the run again (`KPTOP_FUZZ_SEED`). With `KPTOP_FUZZ_CORPUS` it only writes its
//! seeds there, in a directory for each target: what libFuzzer begins with.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

/// A small generator (xorshift64*): the same numbers for the same seed.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    /// Begins with a seed.
    pub fn new(seed: u64) -> Random {
        Random(seed.max(1))
    }

    /// One of some, of which there is at least one.
    pub fn pick<'a, T>(&mut self, from: &'a [T]) -> &'a T {
        &from[self.below(from.len())]
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    /// Less than `n`; 0 for 0.
    pub fn below(&mut self, n: usize) -> usize {
        (self.next() >> 33) as usize % n.max(1)
    }
}

fn env(name: &str) -> Option<u64> {
    std::env::var(name).ok()?.parse().ok()
}

/// Numbers that tend to lie at edges.
const EDGES: [u64; 10] = [0, 1, 2, 3, 4, 5, 16, 0x7f, 0xff, 0xffff];

fn mutate(input: &mut Vec<u8>, seeds: &[Vec<u8>], r: &mut Random) {
    for _ in 0..1 + r.below(6) {
        if input.is_empty() {
            input.push(0);
        }
        let at = r.below(input.len());
        match r.below(9) {
            0 => input[at] ^= 1 << r.below(8),
            1 => input[at] = r.next() as u8,
            2 => input[at] = EDGES[r.below(EDGES.len())] as u8,
            3 => input.truncate(at),
            4 => {
                // A length or a type of an attribute: 16 bits on a multiple of 4 or 2.
                let at = at & !1;
                if let Some(two) = input.get_mut(at..at + 2) {
                    let n =
                        if r.below(2) == 0 { EDGES[r.below(EDGES.len())] as u16 } else { r.below(64) as u16 };
                    two.copy_from_slice(&n.to_ne_bytes());
                }
            }
            5 => {
                let end = (at + 1 + r.below(40)).min(input.len());
                let piece = input[at..end].to_vec();
                let to = r.below(input.len());
                input.splice(to..to, piece);
            }
            6 => {
                let end = (at + 1 + r.below(40)).min(input.len());
                input.drain(at..end);
            }
            7 => {
                let other = &seeds[r.below(seeds.len())];
                if !other.is_empty() {
                    let from = r.below(other.len()) & !3;
                    let end = (from + 1 + r.below(120)).min(other.len());
                    let to = at & !3;
                    input.splice(to..to, other[from..end].iter().copied());
                }
            }
            _ => {
                let at = at & !3;
                if let Some(four) = input.get_mut(at..at + 4) {
                    four.copy_from_slice(&(EDGES[r.below(EDGES.len())] as u32).to_be_bytes());
                }
            }
        }
        input.truncate(64 * 1024);
    }
}

/// Runs `target` on mutations of `seeds`.
pub fn run(name: &str, seeds: &[Vec<u8>], mut target: impl FnMut(&[u8])) {
    assert!(!seeds.is_empty(), "{name} has no seeds");
    if let Some(corpus) = std::env::var_os("KPTOP_FUZZ_CORPUS") {
        let dir = std::path::Path::new(&corpus).join(name);
        std::fs::create_dir_all(&dir).expect("a directory for the seeds");
        for (i, seed) in seeds.iter().enumerate() {
            std::fs::write(dir.join(format!("seed-{i}")), seed).expect("a file for a seed");
        }
        return;
    }
    let clock = SystemTime::now().duration_since(UNIX_EPOCH).map_or(1, |d| d.as_nanos() as u64);
    let seed = env("KPTOP_FUZZ_SEED").unwrap_or(clock) | 1;
    let time = Duration::from_secs(env("KPTOP_FUZZ_SECONDS").unwrap_or(2));
    let mut r = Random::new(seed);
    // The seeds as they are must pass too.
    seeds.iter().for_each(|s| target(s));
    let (began, mut runs) = (Instant::now(), 0u64);
    let mut corpus = seeds.to_vec();
    while runs % 64 != 0 || began.elapsed() < time {
        runs += 1;
        let mut input = corpus[r.below(corpus.len())].clone();
        mutate(&mut input, seeds, &mut r);
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| target(&input))) {
            let mut hex = String::new();
            input.iter().for_each(|b| {
                let _ = write!(hex, "{b:02x}");
            });
            let reported = format!("{name}: run {runs} of seed {seed} failed on {hex}\n");
            let _ = std::io::Write::write_all(&mut std::io::stderr(), reported.as_bytes());
            resume_unwind(panic);
        }
        // Altered inputs are altered further: a corpus that wanders, and stays small.
        if r.below(50) == 0 {
            if corpus.len() < seeds.len() + 400 {
                corpus.push(input);
            } else {
                let at = seeds.len() + r.below(400);
                corpus[at] = input;
            }
        }
    }
    assert!(runs > 0);
    if time > Duration::from_secs(10) {
        let _ = std::io::Write::write_all(
            &mut std::io::stderr(),
            format!("fuzz {name}: {runs} inputs in {:.0} s, seed {seed}\n", began.elapsed().as_secs_f64())
                .as_bytes(),
        );
    }
}
