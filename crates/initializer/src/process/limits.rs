//! Resource limits of this process: raised as far as allowed, and restored for commands.

use std::sync::OnceLock;

use rustix::process::{Pid, Resource, Rlimit, getrlimit, prlimit, setrlimit};

/// Limit of descriptors before it was raised.
static ORIGINAL: OnceLock<Rlimit> = OnceLock::new();

/// Raises the soft limit of open files to the hard one. If the system refuses, it stays as it is.
pub fn raise_descriptor_limit() {
    let original = getrlimit(Resource::Nofile);
    let raised = Rlimit {
        current: original.maximum,
        maximum: original.maximum,
    };
    if setrlimit(Resource::Nofile, raised).is_ok() {
        let _first = ORIGINAL.set(original);
    }
}

/// Gives a command the limit of descriptors with which this process was started: some programs
/// misbehave with more.
pub(super) fn restore_for(child: Option<u32>) {
    let pid = child
        .and_then(|id| i32::try_from(id).ok())
        .and_then(Pid::from_raw);
    if let (Some(pid), Some(original)) = (pid, ORIGINAL.get()) {
        // A process that has ended already needs none.
        let _ = prlimit(Some(pid), Resource::Nofile, *original);
    }
}
