//! Errors: text for the person that runs the tests.

/// Reason for which a scratch cluster could not be created or did not obey.
#[derive(Debug)]
pub struct ScratchError(pub(crate) String);

impl std::fmt::Display for ScratchError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for ScratchError {}

/// Adds what was being done.
pub(crate) fn while_doing<E: std::fmt::Display>(
    what: impl std::fmt::Display,
) -> impl FnOnce(E) -> ScratchError {
    move |error| ScratchError(format!("{what}: {error}"))
}
