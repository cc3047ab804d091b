//! The file of keys that secret parameters are encrypted with: `secret.key` in the data directory,
//! or `secrets.key_file`.

use std::fs::{self, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::{OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use surefoot::SecretKeys;
use surefoot::files::{self, FileError, Links};

use crate::credentials::written;
use crate::errors::Failure;

/// A longer file is not one of keys.
const LARGEST: u64 = 64 << 10;

/// Reads the keys. With `makes`, a file that is not there is made, with a new key.
pub(crate) fn read(path: &Path, makes: bool) -> Result<SecretKeys, Failure> {
    let failed = |error: FileError| {
        Failure::usage(format!(
            "cannot read the key file {}: {error}",
            path.display()
        ))
    };
    if makes {
        make(path).map_err(|error| {
            Failure::usage(format!(
                "cannot make the key file {}: {error}",
                path.display()
            ))
        })?;
    }
    let hint = "secret parameters are encrypted with its keys: copy it from the host that made it";
    let (file, metadata) =
        files::open(path, Links::Follow).map_err(|error| failed(error).hint(hint))?;
    if metadata.permissions().mode() & 0o077 != 0 {
        return Err(Failure::usage(format!(
            "others can read the key file {}: chmod 600 it",
            path.display()
        )));
    }
    drop(file);
    let text = files::read_text(path, Links::Follow, LARGEST).map_err(failed)?;
    SecretKeys::parse(written(&text))
        .map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Makes the file when there is none. It is linked into place whole, so that of two processes one
/// makes it and both read it.
#[expect(
    clippy::disallowed_methods,
    reason = "a file of its own is made before anything runs"
)]
fn make(path: &Path) -> io::Result<()> {
    if path.try_exists()? {
        return Ok(());
    }
    let key = SecretKeys::generate().map_err(io::Error::other)?;
    let part = path.with_extension(format!("key-{}", std::process::id()));
    let mut file = OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&part)?;
    let linked = writeln!(file, "{key}")
        .and_then(|()| file.sync_all())
        .and_then(|()| fs::hard_link(&part, path));
    fs::remove_file(&part)?;
    match linked {
        Err(error) if error.kind() != io::ErrorKind::AlreadyExists => Err(error),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_file_is_made_once_and_only_its_owner_reads_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        assert!(read(&path, false).is_err(), "it is not made unasked");
        let made = read(&path, true).unwrap();
        let again = read(&path, true).unwrap();
        assert_eq!(
            made.ids().collect::<Vec<_>>(),
            again.ids().collect::<Vec<_>>()
        );
        assert_eq!(
            fs::metadata(&path).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::read_dir(folder.path()).unwrap().count(), 1);
        let text = fs::read_to_string(&path).unwrap();
        fs::write(&path, format!("\u{feff}{}\r\n", text.trim())).unwrap();
        assert_eq!(
            read(&path, false).unwrap().ids().collect::<Vec<_>>(),
            again.ids().collect::<Vec<_>>()
        );
        fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
        assert!(
            read(&path, true)
                .unwrap_err()
                .to_string()
                .contains("chmod 600")
        );
    }

    #[test]
    fn a_damaged_key_file_is_named_and_not_repeated() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("secret.key");
        fs::write(&path, "c2VjcmV0\n").unwrap();
        fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
        let error = read(&path, true).unwrap_err().to_string();
        assert!(
            error.contains("secret.key: line 1 is not a key") && !error.contains("c2VjcmV0"),
            "{error}"
        );
    }
}
