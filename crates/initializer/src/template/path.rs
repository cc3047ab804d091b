//! Paths that may be written: those that stay inside the directory, on every system on which the
//! project may be cloned.

/// Length limit of names on common file systems.
const LONGEST_PART: usize = 255;
const LONGEST_PATH: usize = 4096;

/// Refuses a path that would leave the directory or change Git's own files in it.
///
/// # Errors
/// Names the fault.
pub(super) fn check(path: &str) -> Result<(), String> {
    if path.is_empty() {
        return Err("its name is empty once rendered".to_owned());
    }
    if path.starts_with('/') {
        return Err(format!(
            "`{path}` is an absolute path; it must stay inside the project"
        ));
    }
    if path.len() > LONGEST_PATH {
        return Err(format!("its path is longer than {LONGEST_PATH} bytes"));
    }
    path.split('/').try_for_each(|part| check_part(path, part))
}

fn check_part(path: &str, part: &str) -> Result<(), String> {
    match part {
        "" => return Err(format!("`{path}` has an empty part")),
        "." | ".." => {
            return Err(format!(
                "`{path}` has a part `{part}`; it must stay inside the project"
            ));
        }
        _ => {}
    }
    if part
        .chars()
        .any(|letter| letter.is_control() || letter == '\\')
    {
        return Err(format!(
            "`{}` has a control character or a backslash",
            path.escape_debug()
        ));
    }
    if part.len() > LONGEST_PART {
        return Err(format!(
            "`{path}` has a part longer than {LONGEST_PART} bytes"
        ));
    }
    if is_git_folder(part) {
        return Err(format!("`{path}` is inside `.git`, which belongs to Git"));
    }
    Ok(())
}

/// Recognises `.git` in all spellings of file systems: in other letters, in its short form of
/// Windows, with trailing dots and spaces (which Windows drops) or with code points that HFS+
/// ignores.
fn is_git_folder(part: &str) -> bool {
    let ignored = |letter: &char| matches!(letter, '\u{200c}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{206a}'..='\u{206f}' | '\u{feff}');
    let plain = part
        .chars()
        .filter(|letter| !ignored(letter))
        .collect::<String>()
        .to_lowercase();
    let plain = plain
        .split(':')
        .next()
        .unwrap_or_default()
        .trim_end_matches([' ', '.']);
    matches!(plain, ".git" | "git~1")
}

/// A form in which two paths are equal if a case-insensitive file system considers them one.
pub(super) fn folded(path: &str) -> String {
    path.to_lowercase()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn paths_inside_are_accepted() {
        for path in [
            "a",
            "a/b.txt",
            ".gitignore",
            ".github/x",
            "..a/b",
            "a..",
            "größe/ß",
            "sp ace",
        ] {
            assert_eq!(check(path), Ok(()), "{path}");
        }
    }

    #[test]
    fn paths_that_lead_outside_are_refused() {
        let long = "x".repeat(256);
        let paths = [
            "",
            "/etc/passwd",
            "..",
            "../a",
            "a/../../b",
            "a/./b",
            "a//b",
            "a/",
            ".git",
            ".git/config",
            "a/.GIT/hooks/x",
            "git~1/x",
            ".git./x",
            ".git /x",
            ".git::$INDEX_ALLOCATION/x",
            ".g\u{200c}it/x",
            "a\\b",
            "a\nb",
            "a\0b",
            &long,
        ];
        for path in paths {
            assert!(check(path).is_err(), "{path:?}");
        }
    }
}
