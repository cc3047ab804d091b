//! The faults, by the names that the command line takes.

use clap::ValueEnum;

/// Faults that a drill injects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub(crate) enum Fault {
    /// The worker is killed with SIGKILL; another one takes over, or it is started again if there
    /// is none
    WorkerKilled,
    /// The worker is killed, and started again at once on its host; SQLite: the same as
    /// worker-killed
    WorkerRestarted,
    /// The worker is killed, and so is the next one as soon as it has started a step
    WorkerKilledTwice,
    /// The worker is killed at six other moments: while it starts, during a push, between two
    /// steps, with a step done and not committed
    WorkerKilledAnywhere,
    /// A second host lacks the forge; the worker that has it is killed in each step; SQLite:
    /// skipped, has one host
    SecondHost,
    /// The worker is stopped with SIGTERM, and started again
    WorkerTerminated,
    /// The worker is frozen for longer than its lease, and woken
    WorkerFrozen,
    /// The worker is frozen, and each of its running steps fails the moment it wakes
    WorkerFrozenError,
    /// A step of three projects fails each time, after it has done its work
    StepFails,
    /// A step of every project fails twice, after it has done its work, and then succeeds
    StepFailsTwice,
    /// The database is restarted
    DatabaseRestarted,
    /// The database is killed with SIGKILL, and started again
    DatabaseKilled,
    /// The database refuses connections for 10 seconds; SQLite: another process holds its write
    /// lock
    DatabaseRefuses,
    /// The database is away for 30 seconds
    #[value(name = "database-away-30s")]
    DatabaseAway30s,
    /// The database is away for 2 minutes
    #[value(name = "database-away-120s")]
    DatabaseAway120s,
    /// The disk of the store is full for longer than a lease
    DiskFull,
    /// A project is submitted while the database is away; SQLite: while another process holds its
    /// write lock
    SubmitWhileAway,
    /// The wall clocks of the database and of a worker are set forward by an hour
    ClockForward,
    /// The wall clocks of the database and of a worker are set back by an hour
    ClockBack,
    /// A worker's connections fall silent without being closed: those of its heartbeats, then all;
    /// SQLite: skipped, has none
    SilentConnection,
    /// The primary database is killed, and its synchronous standby is promoted; SQLite: skipped,
    /// has none
    Failover,
}

impl Fault {
    /// As it stands in the table.
    pub(super) fn title(self) -> &'static str {
        match self {
            Self::WorkerKilled => "worker killed (-9)",
            Self::WorkerRestarted => "worker killed, started again on its host",
            Self::WorkerKilledTwice => "worker killed twice in a row",
            Self::WorkerKilledAnywhere => "worker killed at six other moments",
            Self::SecondHost => "a second host without the forge",
            Self::WorkerTerminated => "worker stopped by SIGTERM",
            Self::WorkerFrozen => "worker frozen for 8 s, and woken",
            Self::WorkerFrozenError => "the same, woken with errors to report",
            Self::StepFails => "a step of three projects always fails",
            Self::StepFailsTwice => "a step fails twice, then succeeds",
            Self::DatabaseRestarted => "database restarts",
            Self::DatabaseKilled => "database killed (-9)",
            Self::DatabaseRefuses => "database refuses for 10 s",
            Self::DatabaseAway30s => "database away for 30 s",
            Self::DatabaseAway120s => "database away for 120 s",
            Self::DiskFull => "disk full for 8 s",
            Self::SubmitWhileAway => "submit while the database is away",
            Self::ClockForward => "clocks set forward by an hour",
            Self::ClockBack => "clocks set back by an hour",
            Self::SilentConnection => "a worker's connections fall silent",
            Self::Failover => "failover to a synchronous standby",
        }
    }

    /// Returns whether all workers live on: then no step may be interrupted.
    pub(super) fn spares_workers(self) -> bool {
        match self {
            Self::DatabaseRestarted
            | Self::DatabaseKilled
            | Self::DatabaseRefuses
            | Self::DatabaseAway30s
            | Self::DatabaseAway120s
            | Self::DiskFull
            | Self::SubmitWhileAway
            | Self::ClockForward
            | Self::ClockBack
            | Self::SilentConnection
            | Self::Failover => true,
            Self::WorkerKilled
            | Self::WorkerRestarted
            | Self::WorkerKilledTwice
            | Self::WorkerKilledAnywhere
            | Self::WorkerTerminated
            | Self::WorkerFrozen
            | Self::WorkerFrozenError
            | Self::StepFails
            | Self::StepFailsTwice
            | Self::SecondHost => false,
        }
    }

    /// The name that the command line takes.
    pub(super) fn name(self) -> String {
        self.to_possible_value()
            .map(|value| value.get_name().to_owned())
            .unwrap_or_default()
    }

    /// Seconds that it adds to those that the projects take.
    pub(super) fn seconds(self) -> u32 {
        match self {
            Self::WorkerRestarted
            | Self::WorkerTerminated
            | Self::DatabaseRestarted
            | Self::DatabaseKilled => 2,
            Self::StepFails => 3,
            Self::WorkerKilled => 6,
            Self::WorkerKilledAnywhere | Self::StepFailsTwice => 8,
            Self::WorkerKilledTwice | Self::SecondHost => 12,
            Self::WorkerFrozen | Self::WorkerFrozenError => 9,
            Self::ClockForward | Self::ClockBack | Self::Failover => 8,
            Self::DatabaseRefuses
            | Self::DiskFull
            | Self::SubmitWhileAway
            | Self::SilentConnection => 12,
            Self::DatabaseAway30s => 32,
            Self::DatabaseAway120s => 122,
        }
    }
}
