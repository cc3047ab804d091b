//! The loop over cases.

use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::time::{Duration, Instant};

use crate::Random;

/// The stack of the thread that runs the cases: half of a worker's thread, which has 2 MiB.
///
/// The frames of a debug build are several times larger (75 levels of YAML take just over 1 MiB), so
/// there the cases have all of it.
const STACK: usize = if cfg!(debug_assertions) {
    2 << 20
} else {
    1 << 20
};

/// Which cases are run, by the environment.
struct Plan {
    seed: u64,
    /// Only this case.
    only: Option<u64>,
    /// Not a number of cases, but so long.
    time: Option<Duration>,
    /// Each case is named before it is run: one that ends the process is known by the last name.
    traced: bool,
}

impl Plan {
    fn of_environment() -> Self {
        let number = |name: &str| std::env::var(name).ok()?.parse::<u64>().ok();
        Self {
            seed: number("SUREFOOT_FUZZ_SEED").unwrap_or(1),
            only: number("SUREFOOT_FUZZ_CASE"),
            time: number("SUREFOOT_FUZZ_SECONDS").map(Duration::from_secs),
            traced: std::env::var_os("SUREFOOT_FUZZ_TRACE").is_some(),
        }
    }
}

/// Runs `case` for `cases` different [`Random`]s, or for `SUREFOOT_FUZZ_SECONDS`. `target` names it
/// in what is printed.
///
/// # Panics
/// When a case does; says its number.
pub fn fuzz(target: &str, cases: u64, case: impl Fn(&mut Random) + Sync) {
    let plan = Plan::of_environment();
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name(format!("fuzz {target}"))
            .stack_size(STACK)
            .spawn_scoped(scope, || run(target, cases, &plan, &case))
            .expect("a thread can be made");
        if let Err(panic) = thread.join() {
            resume_unwind(panic);
        }
    });
}

fn run(target: &str, cases: u64, plan: &Plan, case: &impl Fn(&mut Random)) {
    let began = Instant::now();
    let mut slowest = (Duration::ZERO, 0);
    let mut number = plan.only.unwrap_or(0);
    let is_over = |number: u64| match (plan.only, plan.time) {
        (Some(only), _) => number > only,
        (None, Some(time)) => began.elapsed() >= time,
        (None, None) => number >= cases,
    };
    while !is_over(number) {
        if plan.traced {
            eprintln!("fuzz {target}: case {number} of seed {}", plan.seed);
        }
        let mut random = Random::new(plan.seed.wrapping_mul(0x2545_f491_4f6c_dd1d) ^ number);
        let started = Instant::now();
        if let Err(panic) = catch_unwind(AssertUnwindSafe(|| case(&mut random))) {
            eprintln!(
                "fuzz {target}: repeat it with SUREFOOT_FUZZ_SEED={} SUREFOOT_FUZZ_CASE={number}",
                plan.seed
            );
            resume_unwind(panic);
        }
        slowest = slowest.max((started.elapsed(), number));
        number += 1;
    }
    if plan.time.is_some() {
        eprintln!(
            "fuzz {target}: {number} cases, the slowest took {:?} (case {})",
            slowest.0, slowest.1
        );
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use super::*;

    #[test]
    fn the_same_cases_come_every_time() {
        let drawn = || {
            let drawn = Mutex::new(Vec::new());
            fuzz("itself", 20, |random| {
                drawn.lock().unwrap().push(random.bits())
            });
            drawn.into_inner().unwrap()
        };
        let first = drawn();
        assert_eq!(first, drawn());
        assert!(first.windows(2).all(|pair| pair[0] != pair[1]));
    }

    #[test]
    #[should_panic(expected = "found")]
    fn a_panic_of_a_case_fails_the_test() {
        fuzz("itself", 5, |_| panic!("found"));
    }
}
