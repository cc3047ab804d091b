//! Standard output and error. A reader that goes away (`| head`) is no failure and no reason to
//! stop.

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
    // Without a reader there is no way to report it.
    let _ = writeln!(std::io::stderr().lock(), "{text}");
}
