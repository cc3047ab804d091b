//! Shortages of the worker's own resources: errors of the system that say nothing about the step
//! that met them.

use std::error::Error;
use std::io::{self, ErrorKind};

/// Returns whether a shortage of descriptors, memory or disk space is among the causes of `error`.
///
/// `EAGAIN` is not in the list: most calls report by it that they would block. The code that starts
/// a process knows better.
pub(crate) fn is_cause_of(error: &(dyn Error + 'static)) -> bool {
    std::iter::successors(Some(error), |error| cause_of(*error))
        .filter_map(|error| error.downcast_ref::<io::Error>())
        .any(is_shortage)
}

/// The cause of an error; of a boxed `io::Error` its content, which `source` passes over.
fn cause_of<'a>(error: &'a (dyn Error + 'static)) -> Option<&'a (dyn Error + 'static)> {
    match error
        .downcast_ref::<io::Error>()
        .and_then(io::Error::get_ref)
    {
        Some(inner) => Some(inner),
        None => error.source(),
    }
}

fn is_shortage(error: &io::Error) -> bool {
    // Neither has an `ErrorKind`: too many open files, in this process (EMFILE) or on this machine
    // (ENFILE), and no buffer for a socket (ENOBUFS, whose number differs between systems).
    const ENFILE: i32 = 23;
    const EMFILE: i32 = 24;
    const ENOBUFS: i32 = if cfg!(target_os = "linux") { 105 } else { 55 };
    let by_kind = matches!(
        error.kind(),
        ErrorKind::OutOfMemory | ErrorKind::StorageFull | ErrorKind::QuotaExceeded
    );
    by_kind || matches!(error.raw_os_error(), Some(ENFILE | EMFILE | ENOBUFS))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::StepError;

    /// ENFILE, EMFILE, ENOMEM, ENOSPC, EDQUOT and ENOBUFS of Linux.
    const SHORTAGES: [i32; 6] = [23, 24, 12, 28, 122, 105];

    #[test]
    fn a_shortage_is_found_behind_any_number_of_causes() {
        for code in SHORTAGES {
            let system = || io::Error::from_raw_os_error(code);
            let wrapped = io::Error::new(ErrorKind::NotFound, io::Error::other(system()));
            let said = StepError::caused_by("cannot start `make`", system());
            assert!(StepError::from(system()).is_unavailable(), "{code}");
            assert!(StepError::from(wrapped).is_unavailable(), "{code}");
            assert!(
                StepError::fatal(system()).is_unavailable()
                    && !StepError::fatal(system()).is_fatal(),
                "{code}"
            );
            assert!(
                said.is_unavailable()
                    && said
                        .chain()
                        .starts_with("resources of the worker: cannot start `make`: ")
            );
        }
    }

    #[test]
    fn what_a_step_is_to_blame_for_is_none() {
        // ENOENT, EACCES, EISDIR, and EAGAIN from a call that would block.
        for code in [2, 13, 21, 11] {
            assert!(
                !StepError::from(io::Error::from_raw_os_error(code)).is_unavailable(),
                "{code}"
            );
        }
        assert!(!StepError::from("No space left on device").is_unavailable());
        assert!(StepError::fatal("no").is_fatal());
    }
}
