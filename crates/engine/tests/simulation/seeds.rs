//! Plays many seeds on all cores, and shows how to play the one that failed again.

use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::broken::Broken;
use crate::history::lock;
use crate::world::{self, Counts};

/// Lines of a trace that are shown, the last ones.
const SHOWN: usize = 150;

/// Plays `SUREFOOT_SEED`, or `SUREFOOT_SEEDS` seeds instead of `seeds`: none may break a promise.
pub(crate) fn all_hold(seeds: u64) {
    if let Some(seed) = number("SUREFOOT_SEED") {
        return assert!(
            show(seed, usize::MAX).is_none(),
            "seed {seed} breaks a promise"
        );
    }
    let first = number("SUREFOOT_FIRST_SEED").unwrap_or(1);
    let seeds = number("SUREFOOT_SEEDS").unwrap_or(seeds);
    let began = std::time::Instant::now();
    let (failed, counts) = first_failure(first, seeds, Broken::Nothing);
    eprintln!(
        "{} seeds/s; {counts:?}",
        (seeds as f64 / began.elapsed().as_secs_f64()).round()
    );
    if let Some((seed, violation)) = failed {
        let again = show(seed, SHOWN);
        assert_eq!(
            again.as_ref(),
            Some(&violation),
            "seed {seed} is not played the same way again"
        );
        panic!(
            "seed {seed}: {violation}\nreplay: SUREFOOT_SEED={seed} cargo test -p surefoot --test simulation seed"
        );
    }
    assert!(
        counts.interruptions > seeds as usize / 2 && counts.cut_off > seeds as usize,
        "too little happens: {counts:?}"
    );
}

/// Each deliberate fault is found within this number of seeds, and for the right reason.
#[track_caller]
pub(crate) fn seen_within(broken: Broken, seeds: u64, promise: &str) {
    let mut others = Vec::new();
    for seed in 1..=seeds {
        match world::play(seed, broken, false).violation {
            Some(violation) if violation.starts_with(promise) => {
                eprintln!("{broken:?}: seed {seed}: {violation}; before: {others:?}");
                return;
            }
            Some(violation) => others.push(violation),
            None => {}
        }
    }
    panic!("{broken:?}: not seen within {seeds} seeds; {others:?}");
}

fn number(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| {
        text.parse()
            .unwrap_or_else(|_| panic!("{name}={text} is no number"))
    })
}

/// Plays seeds on all cores. The lowest one that failed, and how much happened in all.
fn first_failure(first: u64, seeds: u64, broken: Broken) -> (Option<(u64, String)>, Counts) {
    let next = AtomicU64::new(first);
    let end = AtomicU64::new(first + seeds);
    let failed: Mutex<Option<(u64, String)>> = Mutex::default();
    let total: Mutex<Counts> = Mutex::default();
    let work = || {
        loop {
            let seed = next.fetch_add(1, Ordering::SeqCst);
            if seed >= end.load(Ordering::SeqCst) {
                return;
            }
            let played = world::play(seed, broken, false);
            lock(&total).add(played.counts);
            if let Some(violation) = played.violation {
                end.fetch_min(seed, Ordering::SeqCst);
                let mut failed = lock(&failed);
                if failed.as_ref().is_none_or(|(known, _)| seed < *known) {
                    *failed = Some((seed, violation));
                }
            }
        }
    };
    std::thread::scope(|scope| {
        for _ in 0..std::thread::available_parallelism().map_or(2, usize::from) {
            scope.spawn(work);
        }
    });
    (failed.into_inner().unwrap(), total.into_inner().unwrap())
}

/// Plays a seed with its trace, and prints it.
fn show(seed: u64, lines: usize) -> Option<String> {
    let played = world::play(seed, Broken::Nothing, true);
    let skipped = played.lines.len().saturating_sub(lines);
    eprintln!(
        "seed {seed}: {:?}{}",
        played.counts,
        if skipped > 0 {
            format!(", {skipped} lines before")
        } else {
            String::new()
        }
    );
    for line in &played.lines[skipped..] {
        eprintln!("{line}");
    }
    played.violation
}

impl Counts {
    fn add(&mut self, more: Self) {
        self.runs += more.runs;
        self.calls += more.calls;
        self.cut_off += more.cut_off;
        self.interruptions += more.interruptions;
        self.writes += more.writes;
        self.seconds += more.seconds;
    }
}
