//! Git: it must be installed and recent enough.

use std::io::ErrorKind;
use std::process::Command;

use crate::Finding;

const SUBJECT: &str = "git";

/// Oldest version that the actions support: older ones ignore `GIT_CONFIG_GLOBAL`.
const OLDEST: (u32, u32) = (2, 32);

/// Looks for git on the `PATH`.
pub fn git() -> Finding {
    match Command::new("git").arg("--version").output() {
        Ok(output) if output.status.success() => judge(&String::from_utf8_lossy(&output.stdout)),
        Ok(output) => missing(format!("`git --version` failed ({})", output.status)),
        Err(error) if error.kind() == ErrorKind::NotFound => {
            missing("there is none on PATH".to_owned())
        }
        Err(error) => missing(format!("it cannot be run: {error}")),
    }
}

fn missing(found: String) -> Finding {
    let means =
        "no project can be initialised here: the step that needs git fails, and can be retried";
    Finding::broken(SUBJECT, found, means).advice("install git 2.32 or newer, or put it on PATH")
}

fn judge(line: &str) -> Finding {
    let version = line.trim().trim_start_matches("git version ").to_owned();
    match numbers(&version) {
        Some(numbers) if numbers >= OLDEST => {
            Finding::ok(SUBJECT, version, "new enough for every action")
        }
        Some(_) => {
            let means = "older than 2.32: it would read and apply the settings of its user";
            Finding::broken(SUBJECT, version, means).advice("install git 2.32 or newer")
        }
        None => Finding::unknown(SUBJECT, format!("`{version}` is not a version")),
    }
}

fn numbers(version: &str) -> Option<(u32, u32)> {
    let mut parts = version.split(|letter: char| !letter.is_ascii_digit());
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Level;

    #[test]
    fn versions_are_compared_as_numbers() {
        let check = |line, level| assert_eq!(judge(line).level, level, "{line}");
        check("git version 2.47.3\n", Level::Ok);
        check("git version 2.32.0", Level::Ok);
        check("git version 2.39.5 (Apple Git-154)", Level::Ok);
        check("git version 3.0.rc1", Level::Ok);
        check("git version 2.9.1", Level::Broken);
        check("git version 1.8.3.1", Level::Broken);
        check("git version unknown", Level::Note);
    }
}
