//! The file system under a path: does its content survive a power cut, and do locks work?
//!
//! The kernel's type number decides the kind; the mount table only supplies name and options.

#![expect(
    clippy::disallowed_methods,
    reason = "`doctor` looks at the disk on a blocking thread"
)]

use std::path::{Path, PathBuf};

use crate::Finding;

const SUBJECT: &str = "file system";

/// Kind of a file system, as far as a crash is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Kind {
    /// A disk of this machine.
    Disk,
    /// A disk of this machine, without a journal.
    Plain,
    /// Memory.
    Memory,
    /// A disk of another machine.
    Network,
    /// A container's writable layer.
    Layer,
    /// A directory of the host, shared through a protocol.
    Shared,
    /// A file system implemented by a program.
    Program,
    /// None of the known kinds.
    Other,
}

/// `f_type` of statfs(2) and its kind. The numbers are those of the Linux manual page and
/// `linux/magic.h`.
const KINDS: &[(u32, &str, Kind)] = &[
    (0xef53, "ext4", Kind::Disk),
    (0x5846_5342, "xfs", Kind::Disk),
    (0x9123_683e, "btrfs", Kind::Disk),
    (0x2fc1_2fc1, "zfs", Kind::Disk),
    (0xf2f5_2010, "f2fs", Kind::Disk),
    (0xca45_1a4e, "bcachefs", Kind::Disk),
    (0x3153_464a, "jfs", Kind::Disk),
    (0x5265_4973, "reiserfs", Kind::Disk),
    (0x7366_746e, "ntfs3", Kind::Disk),
    (0x4d44, "vfat", Kind::Plain),
    (0x2011_bab0, "exfat", Kind::Plain),
    (0x0102_1994, "tmpfs", Kind::Memory),
    (0x8584_58f6, "ramfs", Kind::Memory),
    (0x9584_58f6, "hugetlbfs", Kind::Memory),
    (0x6969, "nfs", Kind::Network),
    (0x517b, "smb", Kind::Network),
    (0xff53_4d42, "cifs", Kind::Network),
    (0xfe53_4d42, "smb2", Kind::Network),
    (0x00c3_6400, "ceph", Kind::Network),
    (0x5346_414f, "afs", Kind::Network),
    (0x6b41_4653, "kafs", Kind::Network),
    (0x7375_7245, "coda", Kind::Network),
    (0x0bd0_0bd0, "lustre", Kind::Network),
    (0x4750_4653, "gpfs", Kind::Network),
    (0x0116_1970, "gfs2", Kind::Network),
    (0x7461_636f, "ocfs2", Kind::Network),
    (0x794c_7630, "overlay", Kind::Layer),
    (0x0102_1997, "9p", Kind::Shared),
    (0x6573_5546, "fuse", Kind::Program),
];

/// FUSE programs that keep files on another machine.
const REMOTE: &[&str] = &[
    "sshfs",
    "s3fs",
    "gcsfuse",
    "goofys",
    "rclone",
    "mount-s3",
    "glusterfs",
    "juicefs",
    "davfs",
    "ceph-fuse",
    "mfs",
    "seaweedfs",
    "blobfuse",
    "ossfs",
];

/// A mounted file system.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Mount {
    point: PathBuf,
    /// `ext4`, `nfs4`, `fuse.sshfs`.
    name: String,
    options: String,
}

/// Checks the file system under `path`, which need not exist yet. `holds` names the content:
/// `the store`.
pub fn file_system(path: &Path, holds: &str) -> Finding {
    let Some(path) = nearest(path) else {
        return Finding::unknown(SUBJECT, "no folder above it can be read");
    };
    match magic(&path) {
        Ok(magic) => judge(magic, &mount_of(&path), holds),
        Err(error) => Finding::unknown(SUBJECT, error),
    }
}

/// Looks for a file system on which another machine may not see this one's locks, such as NFS, SMB,
/// SSHFS, 9P or virtiofs. Gives no finding for any other, and for one that cannot be looked at.
pub fn remote_file_system(path: &Path, holds: &str) -> Option<Finding> {
    let path = nearest(path)?;
    let magic = magic(&path).ok()?;
    remote(magic, &mount_of(&path), holds)
}

fn remote(magic: u32, mount: &Mount, holds: &str) -> Option<Finding> {
    let is_remote = matches!(kind(magic, mount).0, Kind::Network | Kind::Shared);
    is_remote.then(|| judge(magic, mount, holds))
}

/// The path itself or its nearest existing ancestor, with symlinks resolved.
pub(crate) fn nearest(path: &Path) -> Option<PathBuf> {
    path.ancestors().find_map(|path| path.canonicalize().ok())
}

#[cfg(target_os = "linux")]
fn magic(path: &Path) -> std::io::Result<u32> {
    // The type of the field differs between architectures; every number has 32 bits.
    #[expect(
        clippy::cast_possible_truncation,
        reason = "the numbers are of 32 bits"
    )]
    Ok(rustix::fs::statfs(path)?.f_type as u32)
}

#[cfg(not(target_os = "linux"))]
fn magic(_path: &Path) -> std::io::Result<u32> {
    Err(std::io::Error::other(
        "only Linux is asked for the type of a file system",
    ))
}

fn mount_of(path: &Path) -> Mount {
    let table = std::fs::read_to_string("/proc/self/mountinfo").unwrap_or_default();
    find_mount(&table, path).unwrap_or_default()
}

/// The mount with the longest mount point above `path`; among several on one point, the last.
fn find_mount(table: &str, path: &Path) -> Option<Mount> {
    let above = table
        .lines()
        .filter_map(parse_mount)
        .filter(|mount| path.starts_with(&mount.point));
    above.max_by_key(|mount| mount.point.as_os_str().len())
}

/// Parses a line of proc_pid_mountinfo(5):
/// `36 35 98:0 /root /point rw,noatime shared:1 - ext4 /dev/vda rw,errors=continue`.
fn parse_mount(line: &str) -> Option<Mount> {
    let (before, after) = line.split_once(" - ")?;
    let (before, after): (Vec<_>, Vec<_>) =
        (before.split(' ').collect(), after.split(' ').collect());
    let point = before.get(4)?.replace("\\040", " ");
    let options = format!(
        "{},{}",
        before.get(5)?,
        after.get(2).copied().unwrap_or_default()
    );
    Some(Mount {
        point: point.into(),
        name: after.first()?.to_string(),
        options,
    })
}

/// The kind of a file system, and its name.
fn kind(magic: u32, mount: &Mount) -> (Kind, String) {
    let known = KINDS.iter().find(|(number, ..)| *number == magic);
    let (name, kind) = known.map_or(("", Kind::Other), |(_, name, kind)| (*name, *kind));
    let name = match (mount.name.as_str(), name) {
        ("", "") => format!("type {magic:#x}"),
        ("", name) => name.to_owned(),
        (mounted, _) => mounted.to_owned(),
    };
    (refine(kind, &name), name)
}

fn judge(magic: u32, mount: &Mount, holds: &str) -> Finding {
    let (kind, name) = kind(magic, mount);
    let at = if mount.point.as_os_str().is_empty() {
        String::new()
    } else {
        format!(" at {}", mount.point.display())
    };
    let found = format!("{name}{at}");
    match kind {
        Kind::Disk if without_barriers(&mount.options) => Finding::broken(
            SUBJECT,
            format!("{found}, mounted without write barriers"),
            format!("a power cut loses what the disk's own cache held: promise 1 does not hold for {holds}"),
        )
        .advice("mount it without `nobarrier` or `barrier=0`"),
        Kind::Disk => Finding::ok(SUBJECT, found, "a disk of this machine: what is synced is there after a power cut"),
        kind => unusual(kind, found, holds),
    }
}

fn unusual(kind: Kind, found: String, holds: &str) -> Finding {
    match kind {
        Kind::Memory => Finding::broken(
            SUBJECT,
            format!("{found}: memory"),
            format!("{holds} is gone after a power cut or a restart of the machine: promise 1 does not hold"),
        )
        .advice("keep it on a disk: --data-dir or --store names another place"),
        Kind::Network => Finding::broken(
            SUBJECT,
            format!("{found}: another machine's disk"),
            "locks and the write-ahead log need one machine: two workers may live at once, and a crash of either side may \
             damage the file: promises 1 and 3 cannot be vouched for",
        )
        .advice("keep the store on a disk of this machine, or use PostgreSQL for several"),
        Kind::Layer => Finding::warn(
            SUBJECT,
            format!("{found}: layers, as in a container"),
            format!("{holds} survives a crash and a restart; if this is a container's own layer, it goes with the container"),
        )
        .advice("in a container, mount a volume for the data directory"),
        Kind::Shared => Finding::warn(
            SUBJECT,
            format!("{found}: a folder of the host, seen through a protocol"),
            "what a sync and a lock mean is up to the host; other systems that open the same file may not see its locks",
        )
        .advice("open the store from this system alone, or keep it on a disk of its own"),
        Kind::Program => Finding::warn(
            SUBJECT,
            format!("{found}: a program behind it"),
            "what a sync and a lock mean is up to that program",
        )
        .advice("keep the store on a plain disk unless you know what that program does on fsync and flock"),
        Kind::Plain => Finding::warn(
            SUBJECT,
            format!("{found}: no journal"),
            "a power cut can damage the file system itself, and the store with it",
        )
        .advice("keep the store on ext4, xfs or the like"),
        Kind::Disk | Kind::Other => Finding::note(
            SUBJECT,
            format!("{found}: not known here"),
            format!("nothing can be said of what {holds} survives"),
        )
        .advice("see what it does on fsync, and whether its locks hold between processes"),
    }
}

/// FUSE reveals the program only by the name of the file system.
fn refine(kind: Kind, name: &str) -> Kind {
    match kind {
        Kind::Program if name == "virtiofs" => Kind::Shared,
        Kind::Program if name.starts_with("fuseblk") => Kind::Program,
        Kind::Program if REMOTE.iter().any(|remote| name.contains(remote)) => Kind::Network,
        kind => kind,
    }
}

fn without_barriers(options: &str) -> bool {
    options
        .split(',')
        .any(|option| matches!(option, "nobarrier" | "barrier=0" | "barrier=none"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    const TABLE: &str = "\
22 1 254:0 / / rw,relatime - ext4 /dev/vda rw,discard
25 22 0:22 / /dev/shm rw,nosuid - tmpfs tmpfs rw
31 22 0:50 / /mnt/my\\040disk rw - nfs4 filer:/x rw,vers=4.2
32 22 0:51 / /srv rw - ext4 /dev/sdb rw,nobarrier
33 22 0:52 / /srv rw - xfs /dev/sdc rw
";

    #[test]
    fn the_longest_and_last_mount_is_the_one() {
        let check = |path: &str, point: &str, name: &str| {
            let mount = find_mount(TABLE, Path::new(path)).unwrap();
            assert_eq!(
                (mount.point.display().to_string(), mount.name.as_str()),
                (point.to_owned(), name),
                "{path}"
            );
        };
        check("/home/x", "/", "ext4");
        check("/dev/shm/x", "/dev/shm", "tmpfs");
        check("/dev/shmx", "/", "ext4");
        check("/mnt/my disk/x.db", "/mnt/my disk", "nfs4");
        check("/srv/x", "/srv", "xfs");
    }

    #[test]
    fn each_kind_is_judged() {
        let check = |magic: u32, name: &str, options: &str, level: Level, found: &str| {
            let mount = Mount {
                point: "/x".into(),
                name: name.to_owned(),
                options: options.to_owned(),
            };
            let finding = judge(magic, &mount, "the store");
            assert_eq!((finding.level, finding.found.as_str()), (level, found));
            assert_eq!(finding.advice.is_none(), level == Level::Ok, "{finding:?}");
        };
        check(0xef53, "ext4", "rw", Level::Ok, "ext4 at /x");
        check(
            0xef53,
            "ext4",
            "rw,barrier=0",
            Level::Broken,
            "ext4 at /x, mounted without write barriers",
        );
        check(
            0x0102_1994,
            "tmpfs",
            "",
            Level::Broken,
            "tmpfs at /x: memory",
        );
        check(
            0x6969,
            "nfs4",
            "",
            Level::Broken,
            "nfs4 at /x: another machine's disk",
        );
        check(
            0xff53_4d42,
            "cifs",
            "",
            Level::Broken,
            "cifs at /x: another machine's disk",
        );
        check(
            0x6573_5546,
            "fuse.sshfs",
            "",
            Level::Broken,
            "fuse.sshfs at /x: another machine's disk",
        );
        check(
            0x6573_5546,
            "fuse.mergerfs",
            "",
            Level::Warn,
            "fuse.mergerfs at /x: a program behind it",
        );
        check(
            0x6573_5546,
            "virtiofs",
            "",
            Level::Warn,
            "virtiofs at /x: a folder of the host, seen through a protocol",
        );
        check(
            0x794c_7630,
            "overlay",
            "",
            Level::Warn,
            "overlay at /x: layers, as in a container",
        );
        check(0x4d44, "vfat", "", Level::Warn, "vfat at /x: no journal");
        check(
            0x1234,
            "",
            "",
            Level::Note,
            "type 0x1234 at /x: not known here",
        );
    }

    #[test]
    fn file_systems_of_other_machines_are_told_from_disks() {
        let check = |magic: u32, name: &str, expect: bool| {
            let mount = Mount {
                point: "/x".into(),
                name: name.to_owned(),
                options: String::new(),
            };
            let found = remote(magic, &mount, "the store");
            assert_eq!(found.is_some(), expect, "{magic:#x} {name}: {found:?}");
        };
        check(0x6969, "nfs4", true);
        check(0xff53_4d42, "cifs", true);
        check(0xfe53_4d42, "cifs", true);
        check(0x0102_1997, "9p", true);
        check(0x6573_5546, "fuse.sshfs", true);
        check(0x6573_5546, "virtiofs", true);
        check(0x6573_5546, "fuse.mergerfs", false);
        check(0x6573_5546, "fuseblk", false);
        check(0xef53, "ext4", false);
        check(0x0102_1994, "tmpfs", false);
        check(0x794c_7630, "overlay", false);
    }

    #[test]
    fn what_is_not_there_yet_is_judged_by_the_folder_above() {
        let dir = tempfile::tempdir().unwrap();
        let finding = file_system(&dir.path().join("not/there/yet.db"), "the store");
        assert_eq!(finding, file_system(dir.path(), "the store"));
        assert!(!finding.found.contains("not known"), "{finding:?}");
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn memory_is_found_out() {
        let finding = file_system(Path::new("/dev/shm"), "the store");
        assert_eq!(
            (finding.level, finding.found.as_str()),
            (Level::Broken, "tmpfs at /dev/shm: memory")
        );
    }
}
