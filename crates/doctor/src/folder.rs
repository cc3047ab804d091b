//! Directories that must be writable.

#![expect(
    clippy::disallowed_methods,
    reason = "`doctor` looks at the disk on a blocking thread"
)]

use std::io::ErrorKind;
use std::path::Path;

use crate::Finding;

/// Checks that files can be created in `folder`. A missing directory is created by the first
/// command that needs it.
pub fn writable(subject: &str, folder: &Path) -> Finding {
    let path = folder.join(format!(".surefoot-doctor-{}", std::process::id()));
    let shown = folder.display();
    match std::fs::OpenOptions::new()
        .write(true)
        .create(true)
        .truncate(true)
        .open(&path)
    {
        Ok(_) => {
            // If it cannot be removed, an empty file with our name remains.
            let _ = std::fs::remove_file(&path);
            Finding::ok(
                subject,
                format!("{shown} can be written"),
                "what steps leave behind has a place",
            )
        }
        Err(error) if error.kind() == ErrorKind::NotFound => Finding::note(
            subject,
            format!("{shown} is not there yet"),
            "it is made by the first command that needs it",
        ),
        Err(error) => Finding::broken(
            subject,
            format!("{shown} cannot be written: {error}"),
            "runs cannot work here: each fails at its first file, and can be retried",
        )
        .advice("give it to the user that Surefoot runs as, or name another with --data-dir"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn folders_are_tried() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(writable("data", dir.path()).level, Level::Ok);
        assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 0);
        assert_eq!(
            writable("data", &dir.path().join("later")).level,
            Level::Note
        );
        std::fs::write(dir.path().join("file"), "").unwrap();
        assert_eq!(
            writable("data", &dir.path().join("file")).level,
            Level::Broken
        );
    }
}
