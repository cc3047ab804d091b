//! The loops, by the names that the command line takes.

use clap::ValueEnum;

/// A way of disturbing workers, again and again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Loop {
    /// Workers are killed with SIGKILL and started again, at once or after their lease
    Kill,
    /// Workers are frozen for 1 to 15 seconds with SIGSTOP, and woken with SIGCONT
    Freeze,
    /// Workers are stopped with SIGTERM and started again; PostgreSQL: so is the server, fast and
    /// immediate
    Restart,
    /// All of these at random; PostgreSQL: the server is killed too
    Mixed,
}

impl Loop {
    /// The name that the command line takes.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }
}
