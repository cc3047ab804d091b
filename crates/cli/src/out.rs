//! Both outputs. Whoever reads them may go away (`| head`) without that being a failure, or a reason to stop working.

use std::io::{ErrorKind, Write as _};

use crate::errors::Failure;

/// Prints results on the standard output.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    match out.write_all(text.as_bytes()).and_then(|()| out.flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(Failure::store(format!(
            "cannot write to the standard output: {error}"
        ))),
        _ => Ok(()),
    }
}

/// Says something on the error output.
pub(crate) fn say(text: &str) {
    // When nobody hears it there is nobody to tell.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
