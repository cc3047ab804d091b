//! The words of the state machine, each with the one string under which stores keep it.

use std::fmt;
use std::str::FromStr;

macro_rules! words {
    ($(#[$doc:meta])* $name:ident { $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)+ }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum $name { $($(#[$variant_doc])* $variant,)+ }

        impl $name {
            /// Every value, in order.
            pub const ALL: &'static [Self] = &[$(Self::$variant),+];

            /// The word under which it is stored and shown.
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $word,)+ }
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(self.as_str())
            }
        }

        impl FromStr for $name {
            type Err = String;

            fn from_str(word: &str) -> Result<Self, String> {
                match word {
                    $($word => Ok(Self::$variant),)+
                    _ => Err(format!("`{word}` is none of {}", [$($word),+].join(", "))),
                }
            }
        }
    };
}

words! {
    /// Status of a run.
    RunStatus {
        /// It waits for a worker.
        Queued = "queued",
        /// A worker holds it.
        Running = "running",
        /// It waits for a time, for the next attempt or for a person's answer; no worker holds it.
        Waiting = "waiting",
        /// Every step is completed or skipped.
        Completed = "completed",
        /// A step failed for good. A person's retry makes it queued again.
        Failed = "failed",
        /// A person cancelled it.
        Cancelled = "cancelled",
    }
}

impl RunStatus {
    /// Returns true if the run has ended.
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed | Self::Cancelled)
    }
}

words! {
    /// Status of a step.
    StepStatus {
        /// Its turn has not come.
        Pending = "pending",
        /// An attempt is under way.
        Running = "running",
        /// It goes on later; [`Wait`] says on what.
        Waiting = "waiting",
        /// It is done and never runs again, unless a person asks for it.
        Completed = "completed",
        /// It failed for good.
        Failed = "failed",
        /// Its condition gave false, a person skipped it, or the run was cancelled first.
        Skipped = "skipped",
    }
}

impl StepStatus {
    /// Returns true if the run continues past the step.
    pub const fn is_passed(self) -> bool {
        matches!(self, Self::Completed | Self::Skipped)
    }
}

words! {
    /// Reason why a step waits.
    Wait {
        /// The next attempt, after a failed one.
        Retry = "retry",
        /// A time that its handler named, or at which it is tried again after it was deferred.
        Timer = "timer",
        /// A worker, after an interruption: the same attempt runs again.
        Worker = "worker",
        /// A person, who says what becomes of an interrupted attempt: rerun, skip or fail.
        Interrupted = "interrupted",
        /// A person's answer to the handler's question: approve or reject.
        Approval = "approval",
    }
}

words! {
    /// Mode of a cancel requested by a person.
    CancelMode {
        /// Stop; what was made stays.
        Stop = "cancel",
        /// Stop, and take back what the run made, last step first.
        Undo = "undo",
    }
}

words! {
    /// Progress of a step's undo.
    Undo {
        /// Under way.
        Running = "running",
        /// Its worker was lost; it runs again.
        Interrupted = "interrupted",
        /// The things that the step made are gone.
        Done = "done",
        /// The things that the step made stay: its handler cannot take them back, or people have
        /// changed them since.
        Kept = "kept",
        /// It could not be taken back.
        Failed = "failed",
    }
}
