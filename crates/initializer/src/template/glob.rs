//! Globs of a template's manifest: `*` and `?` within one part of a path, `**` over any number of
//! parts.

/// Returns whether `path` matches `pattern`. A pattern without `/` matches a file of that name in
/// any directory, as in `.gitignore`.
pub(super) fn matches(pattern: &str, path: &str) -> bool {
    if !pattern.contains('/') {
        let name = path.rsplit('/').next().unwrap_or(path);
        return part(pattern.as_bytes(), name.as_bytes());
    }
    let pattern = pattern
        .trim_start_matches('/')
        .split('/')
        .collect::<Vec<_>>();
    parts(&pattern, &path.split('/').collect::<Vec<_>>())
}

fn parts(pattern: &[&str], path: &[&str]) -> bool {
    match (pattern, path) {
        ([], []) => true,
        (["**"], _) => !path.is_empty(),
        (["**", rest @ ..], _) => (0..=path.len()).any(|skipped| parts(rest, &path[skipped..])),
        ([first, pattern @ ..], [name, path @ ..]) => {
            part(first.as_bytes(), name.as_bytes()) && parts(pattern, path)
        }
        _ => false,
    }
}

/// Remembers the last `*` instead of trying every one: linear in practice, whatever the pattern.
fn part(pattern: &[u8], name: &[u8]) -> bool {
    let mut at_pattern = 0;
    let mut at_name = 0;
    let mut star = None;
    while at_name < name.len() {
        match pattern.get(at_pattern) {
            Some(b'*') => {
                star = Some((at_pattern, at_name));
                at_pattern += 1;
            }
            Some(letter) if *letter == b'?' || *letter == name[at_name] => {
                at_pattern += 1;
                at_name += 1;
            }
            _ => match star {
                Some((star_pattern, star_name)) => {
                    star = Some((star_pattern, star_name + 1));
                    at_pattern = star_pattern + 1;
                    at_name = star_name + 1;
                }
                None => return false,
            },
        }
    }
    pattern[at_pattern..].iter().all(|letter| *letter == b'*')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn globs_match_as_in_gitignore() {
        let check = |pattern: &str, path: &str, expect: bool| {
            assert_eq!(matches(pattern, path), expect, "{pattern} on {path}");
        };
        check("*.yml", "a.yml", true);
        check("*.yml", "deep/a.yml", true);
        check("*.yml", "a.yml.txt", false);
        check(".github/**", ".github/workflows/ci.yml", true);
        check(".github/**", ".github", false);
        check(".github/*", ".github/workflows/ci.yml", false);
        check("**/ci.yml", "ci.yml", true);
        check("**/ci.yml", "a/b/ci.yml", true);
        check("a/**/z", "a/z", true);
        check("a/**/z", "a/b/c/z", true);
        check("a/**/z", "a/b/c", false);
        check("/top.txt", "top.txt", true);
        check("/top.txt", "deep/top.txt", false);
        check("a?c", "abc", true);
        check("a?c", "ac", false);
        check("*a*b*c", "xxaxxbxxc", true);
        check("*a*b*c", "xxaxxbxx", false);
        check("*", "anything", true);
    }
}
