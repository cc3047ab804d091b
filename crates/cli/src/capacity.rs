//! The number of runs that this process can hold with the descriptors, processes and memory that it
//! may have.

use rustix::process::{Resource, getrlimit, getuid};

/// Descriptors and processes that one running command takes: it, what it starts, its watchdog, and
/// their pipes.
const DESCRIPTORS_PER_SLOT: u64 = 8;
const PROCESSES_PER_SLOT: u64 = 4;

/// Memory that one slot takes of this process and of a small command.
const MEMORY_PER_SLOT: u64 = 4 << 20;

/// Descriptors that the process itself needs: its stores, runtimes and some connections.
const OWN_DESCRIPTORS: u64 = 32;
const OWN_PROCESSES: u64 = 48;

/// The slots of a worker that is to have `wanted`: fewer where a limit of this process allows no
/// more.
pub(crate) fn slots(wanted: usize) -> usize {
    limits()
        .into_iter()
        .map(|(_, slots)| slots)
        .fold(wanted, usize::min)
}

/// The limit that allows fewer than `wanted` slots, for people to read; `None` when none does.
pub(crate) fn shortage(wanted: usize) -> Option<String> {
    let (limit, slots) = limits().into_iter().min_by_key(|(_, slots)| *slots)?;
    (slots < wanted)
        .then(|| format!("{slots} runs at once instead of {wanted}: {limit} allows no more"))
}

fn limits() -> Vec<(String, usize)> {
    let descriptors = getrlimit(Resource::Nofile).current;
    // The user `root` may have as many processes as there are.
    let processes = if getuid().is_root() {
        None
    } else {
        getrlimit(Resource::Nproc).current
    };
    let memory = getrlimit(Resource::As)
        .current
        .unwrap_or(u64::MAX)
        .min(total_memory() / 2);
    let mut limits = vec![(
        format!("memory of {} MiB", memory >> 20),
        at_least_one(memory / MEMORY_PER_SLOT),
    )];
    if let Some(limit) = descriptors {
        let own = OWN_DESCRIPTORS + (limit / 4).min(1024);
        limits.push((
            format!("the limit of {limit} open files"),
            at_least_one(limit.saturating_sub(own) / DESCRIPTORS_PER_SLOT),
        ));
    }
    if let Some(limit) = processes {
        let slots = at_least_one(limit.saturating_sub(OWN_PROCESSES) / PROCESSES_PER_SLOT);
        limits.push((format!("the limit of {limit} processes"), slots));
    }
    limits
}

fn at_least_one(slots: u64) -> usize {
    usize::try_from(slots).unwrap_or(usize::MAX).max(1)
}

fn total_memory() -> u64 {
    let system = rustix::system::sysinfo();
    system.totalram.saturating_mul(system.mem_unit.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_worker_has_a_slot_and_no_more_than_it_wants() {
        assert_eq!(slots(1), 1);
        assert!(slots(usize::MAX) >= 1);
        assert_eq!(shortage(1), None);
        assert!(shortage(usize::MAX).unwrap().contains("allows no more"));
    }
}
