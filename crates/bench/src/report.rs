//! Figures sent from a measuring process to the one that prints the table.

use serde::{Deserialize, Serialize};

/// Figures of one measurement. Fields without a meaning for it stay at zero.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct Figures {
    /// Appends, rows or runs in a second.
    pub(crate) per_second: f64,
    /// Time from submission to the start of the handler, in microseconds.
    pub(crate) p50_us: f64,
    pub(crate) p99_us: f64,
    /// Peak memory of the process, MiB.
    pub(crate) memory_mib: f64,
    /// Size of the store file and its log at the end, MiB.
    pub(crate) file_mib: f64,
}

pub(crate) fn print(figures: &Figures) -> anyhow::Result<()> {
    println!("{}", serde_json::to_string(figures)?);
    Ok(())
}

/// The median of one figure over the rounds.
pub(crate) fn median(rounds: &[Figures], figure: impl Fn(&Figures) -> f64) -> f64 {
    let mut values = rounds.iter().map(figure).collect::<Vec<_>>();
    values.sort_by(f64::total_cmp);
    values.get(values.len() / 2).copied().unwrap_or(f64::NAN)
}

/// The value below which `share` of the sorted samples lie; zero when there are none.
pub(crate) fn percentile(sorted: &[f64], share: f64) -> f64 {
    let index = (sorted.len() as f64 * share) as usize;
    sorted
        .get(index.min(sorted.len().saturating_sub(1)))
        .copied()
        .unwrap_or_default()
}

/// Peak memory of this process, MiB, as Linux counts it.
pub(crate) fn peak_memory() -> f64 {
    peak_memory_of("self")
}

/// Peak memory of another process, by its id.
pub(crate) fn peak_memory_of(process: &str) -> f64 {
    let status = std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default();
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmHWM:"))
        .unwrap_or_default();
    line.trim()
        .trim_end_matches("kB")
        .trim()
        .parse::<f64>()
        .map_or(f64::NAN, |kib| kib / 1024.0)
}
