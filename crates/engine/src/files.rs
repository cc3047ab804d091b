//! Files that a step, a template or a person may have left: anything can be at their paths.
//!
//! A pipe without a writer, a device, a link to `/dev/zero`, a sparse file of terabytes: none of
//! them may make the process wait or fill its memory. Every file is looked at, opened without
//! blocking, looked at again, and read up to a limit. The functions still wait for the disk: call
//! them through [`blocking`], which takes them off the runtime's threads.

#![expect(
    clippy::disallowed_methods,
    reason = "this module is the one that opens files for the others"
)]

use std::fs::{File, Metadata, OpenOptions, Permissions};
use std::io::{self, Read as _, Seek as _, SeekFrom, Write as _};
use std::os::unix::fs::{FileTypeExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;

use rustix::fs::OFlags;

/// Why a file is not read or written.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum FileError {
    /// There is something else than a regular file.
    #[error("it is {0}, not a file")]
    Kind(&'static str),
    /// The file is larger than the limit, which is in bytes.
    #[error("it is larger than {}", size(*.0))]
    TooLarge(u64),
    /// The content is not UTF-8.
    #[error("it is not UTF-8 text")]
    NotText,
    /// The system's error.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl FileError {
    /// Returns whether there is nothing at the path.
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Io(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl From<FileError> for io::Error {
    fn from(error: FileError) -> Self {
        match error {
            FileError::Io(error) => error,
            FileError::TooLarge(_) => Self::new(io::ErrorKind::FileTooLarge, error),
            FileError::Kind(_) | FileError::NotText => Self::new(io::ErrorKind::InvalidData, error),
        }
    }
}

/// Treatment of a symbolic link at the path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Links {
    /// The link is followed: a person put it there, as mounted configuration has them.
    Follow,
    /// The link is refused: a step may have put it there, and it may lead anywhere.
    Refuse,
}

/// Reads a regular file of up to `limit` bytes.
///
/// # Errors
/// [`FileError`] says what is there instead, or that the file is larger.
pub fn read(path: &Path, links: Links, limit: u64) -> Result<Vec<u8>, FileError> {
    let (file, metadata) = open(path, links)?;
    if metadata.len() > limit {
        return Err(FileError::TooLarge(limit));
    }
    read_up_to(file, limit)
}

/// The same, for text.
///
/// # Errors
/// As [`read`]; also when the content is not UTF-8.
pub fn read_text(path: &Path, links: Links, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read(path, links, limit)?).map_err(|_| FileError::NotText)
}

/// Reads the next part of an open file: `length` bytes, or fewer at its end.
///
/// # Errors
/// The system's error.
pub fn read_next(file: &mut File, length: usize) -> io::Result<Vec<u8>> {
    let mut part = Vec::new();
    file.take(length as u64).read_to_end(&mut part)?;
    Ok(part)
}

/// Reads a part of a regular file: `length` bytes from `offset` on, or fewer at its end.
///
/// # Errors
/// [`FileError`] says what is there instead.
pub fn read_part(
    path: &Path,
    links: Links,
    offset: u64,
    length: usize,
) -> Result<Vec<u8>, FileError> {
    let (mut file, _) = open(path, links)?;
    file.seek(SeekFrom::Start(offset))?;
    Ok(read_next(&mut file, length)?)
}

/// Opens a regular file for reading, with what is known of it. Never waits for a writer.
///
/// # Errors
/// [`FileError`] says what is there instead.
pub fn open(path: &Path, links: Links) -> Result<(File, Metadata), FileError> {
    look(path, links)?;
    let file = OpenOptions::new()
        .read(true)
        .custom_flags(flags(links))
        .open(path)
        .map_err(replaced)?;
    let metadata = file.metadata()?;
    regular(&metadata)?;
    Ok((file, metadata))
}

/// Makes a regular file hold `content`, with the mode `mode` whatever the umask is; a link is
/// refused.
///
/// # Errors
/// [`FileError`] says what is there instead of a file.
pub fn write(path: &Path, content: &[u8], mode: u32) -> Result<(), FileError> {
    match look(path, Links::Refuse) {
        Err(error) if !error.is_not_found() => return Err(error),
        _ => {}
    }
    // The content stays until it is known to be a file.
    let mut options = OpenOptions::new();
    options
        .write(true)
        .create(true)
        .truncate(false)
        .mode(mode)
        .custom_flags(flags(Links::Refuse));
    let mut file = options.open(path).map_err(replaced)?;
    regular(&file.metadata()?)?;
    file.set_len(0)?;
    file.write_all(content)?;
    Ok(file.set_permissions(Permissions::from_mode(mode))?)
}

/// Reads what a person names on the command line, up to `limit` bytes. A pipe is read to its end:
/// the person made it.
///
/// # Errors
/// As [`read_text`], but for what is no regular file.
pub fn read_argument(path: &Path, limit: u64) -> Result<String, FileError> {
    String::from_utf8(read_up_to(File::open(path)?, limit)?).map_err(|_| FileError::NotText)
}

/// Does work on files off the runtime's threads.
///
/// # Errors
/// When the work panicked, or the runtime is shutting down.
pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> io::Result<T> {
    tokio::task::spawn_blocking(work)
        .await
        .map_err(io::Error::other)
}

/// Reads up to a limit, however large the file says it is.
fn read_up_to(file: File, limit: u64) -> Result<Vec<u8>, FileError> {
    let mut content = Vec::new();
    file.take(limit.saturating_add(1))
        .read_to_end(&mut content)?;
    if content.len() as u64 > limit {
        Err(FileError::TooLarge(limit))
    } else {
        Ok(content)
    }
}

/// To open a device may have effects: what is there is looked at first. It may be replaced
/// meanwhile, so [`open`] looks again.
fn look(path: &Path, links: Links) -> Result<(), FileError> {
    regular(&match links {
        Links::Follow => path.metadata()?,
        Links::Refuse => path.symlink_metadata()?,
    })
}

fn flags(links: Links) -> i32 {
    let flags = OFlags::NONBLOCK | OFlags::NOCTTY;
    let flags = if links == Links::Refuse {
        flags | OFlags::NOFOLLOW
    } else {
        flags
    };
    flags.bits().cast_signed()
}

fn regular(metadata: &Metadata) -> Result<(), FileError> {
    let kind = metadata.file_type();
    Err(FileError::Kind(match kind {
        _ if kind.is_file() => return Ok(()),
        _ if kind.is_dir() => "a folder",
        _ if kind.is_symlink() => "a symbolic link",
        _ if kind.is_fifo() => "a named pipe",
        _ if kind.is_socket() => "a socket",
        _ => "a device",
    }))
}

/// The error of an open that met another file than the one looked at.
fn replaced(error: io::Error) -> FileError {
    match rustix::io::Errno::from_io_error(&error) {
        Some(rustix::io::Errno::LOOP) => FileError::Kind("a symbolic link"),
        Some(rustix::io::Errno::NXIO) => FileError::Kind("a named pipe or a socket"),
        _ => FileError::Io(error),
    }
}

fn size(bytes: u64) -> String {
    if bytes.is_multiple_of(1 << 20) {
        format!("{} MiB", bytes >> 20)
    } else {
        format!("{} KiB", bytes >> 10)
    }
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::symlink;
    use std::os::unix::net::UnixListener;
    use std::path::PathBuf;

    use rustix::fs::{CWD, Mode};

    use super::*;

    const LIMIT: u64 = 1 << 20;

    /// A folder with one of each kind of thing that a step may leave, and what is to be said of it.
    fn scene() -> (tempfile::TempDir, Vec<(PathBuf, &'static str)>) {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        rustix::fs::mkfifoat(CWD, at("pipe"), Mode::RUSR | Mode::WUSR).unwrap();
        drop(UnixListener::bind(at("socket")).unwrap());
        std::fs::create_dir(at("folder")).unwrap();
        std::fs::write(at("file"), "text").unwrap();
        symlink("/dev/zero", at("zero")).unwrap();
        symlink("file", at("link")).unwrap();
        File::create(at("sparse"))
            .unwrap()
            .set_len(6 << 30)
            .unwrap();
        File::create(at("large"))
            .unwrap()
            .write_all(&vec![b'a'; LIMIT as usize + 1])
            .unwrap();
        let expect = [
            ("pipe", "it is a named pipe, not a file"),
            ("socket", "it is a socket, not a file"),
            ("folder", "it is a folder, not a file"),
            ("zero", "it is a symbolic link, not a file"),
            ("link", "it is a symbolic link, not a file"),
            ("sparse", "it is larger than 1 MiB"),
            ("large", "it is larger than 1 MiB"),
        ];
        let expect = expect
            .iter()
            .map(|(name, expect)| (at(name), *expect))
            .collect();
        (folder, expect)
    }

    #[test]
    fn what_is_no_file_or_too_large_is_refused_without_reading_it() {
        let (folder, expect) = scene();
        for (path, expect) in expect {
            assert_eq!(
                read(&path, Links::Refuse, LIMIT).unwrap_err().to_string(),
                expect,
                "{}",
                path.display()
            );
        }
        assert_eq!(
            read(&folder.path().join("file"), Links::Refuse, 4).unwrap(),
            b"text"
        );
        assert!(
            read(&folder.path().join("gone"), Links::Refuse, 4)
                .unwrap_err()
                .is_not_found()
        );
    }

    #[test]
    fn a_link_that_a_person_put_is_followed_but_not_to_a_device() {
        let (folder, _) = scene();
        assert_eq!(
            read_text(&folder.path().join("link"), Links::Follow, LIMIT).unwrap(),
            "text"
        );
        let zero = read(&folder.path().join("zero"), Links::Follow, LIMIT).unwrap_err();
        assert_eq!(zero.to_string(), "it is a device, not a file");
    }

    #[test]
    fn a_file_is_written_and_nothing_else_is() {
        let (folder, expect) = scene();
        for (path, expect) in expect
            .iter()
            .filter(|(_, expect)| expect.ends_with("not a file"))
        {
            assert_eq!(
                write(path, b"x", 0o644).unwrap_err().to_string(),
                *expect,
                "{}",
                path.display()
            );
        }
        let file = folder.path().join("file");
        write(&file, b"x", 0o755).unwrap();
        assert_eq!(std::fs::read(&file).unwrap(), b"x");
        assert_eq!(file.metadata().unwrap().permissions().mode() & 0o777, 0o755);
        assert_eq!(
            std::fs::read(folder.path().join("large")).unwrap().len() as u64,
            LIMIT + 1
        );
    }

    #[test]
    fn a_pipe_that_took_the_place_of_a_file_is_found_out_when_it_is_open() {
        let (folder, _) = scene();
        let pipe = folder.path().join("pipe");
        let opened = OpenOptions::new()
            .read(true)
            .custom_flags(flags(Links::Refuse))
            .open(&pipe)
            .unwrap();
        assert!(
            regular(&opened.metadata().unwrap()).is_err(),
            "it is opened without a writer, and refused"
        );
    }
}
