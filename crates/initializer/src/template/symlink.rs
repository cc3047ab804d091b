//! Targets of symbolic links: never outside the project, by whatever chain of links.

use std::collections::BTreeMap;

use super::path;

/// A longer chain of links is a circle, or no better than one; Linux has the same limit.
const MOST_LINKS: usize = 40;

/// Refuses a symlink that leads out of the project, into `.git`, or round in circles. `links` are
/// all links of the project by path: `x -> d/../..` can leave it although it seems to stay inside,
/// if `d` is a link itself.
///
/// # Errors
/// Names the target.
pub(super) fn check(at: &str, links: &BTreeMap<&str, &str>) -> Result<(), String> {
    let mut todo = at.split('/').rev().map(str::to_owned).collect::<Vec<_>>();
    let mut here: Vec<String> = Vec::new();
    let mut followed = 0;
    while let Some(part) = todo.pop() {
        match part.as_str() {
            "" | "." => continue,
            ".." => drop(here.pop().ok_or_else(|| outside(at, links))?),
            _ => here.push(part),
        }
        let Some(target) = links.get(here.join("/").as_str()) else {
            continue;
        };
        followed += 1;
        if followed > MOST_LINKS {
            return Err(format!("its link to `{target}` goes round in circles"));
        }
        if target.is_empty() || target.starts_with('/') || target.contains(['\\', '\0']) {
            return Err(outside(at, links));
        }
        here.pop();
        todo.extend(target.split('/').rev().map(str::to_owned));
    }
    if here.is_empty() {
        Ok(())
    } else {
        path::check(&here.join("/"))
    }
}

fn outside(at: &str, links: &BTreeMap<&str, &str>) -> String {
    let target = links.get(at).copied().unwrap_or_default();
    format!("its link to `{target}` leads out of the project; a link must stay inside")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_link(at: &str, target: &str, others: &[(&str, &str)], expect: bool) {
        let mut links = others.iter().copied().collect::<BTreeMap<_, _>>();
        links.insert(at, target);
        assert_eq!(
            check(at, &links).is_ok(),
            expect,
            "{at} -> {target} with {others:?}: {:?}",
            check(at, &links)
        );
    }

    #[test]
    fn a_link_stays_inside() {
        check_link("a", "b", &[], true);
        check_link("a/b", "../c", &[], true);
        check_link("a/b", "..", &[], true);
        check_link("a", "not/there", &[], true);
        check_link("a", "..", &[], false);
        check_link("a/b", "../../c", &[], false);
        check_link("a", "/etc/passwd", &[], false);
        check_link("a", "", &[], false);
        check_link("a", ".git/config", &[], false);
        check_link("a", "b/../.GIT", &[], false);
    }

    #[test]
    fn a_link_through_links_is_followed() {
        check_link("x", "sub/d/../..", &[("sub/d", ".")], false);
        check_link("x", "d/f", &[("d", "e")], true);
        check_link("x", "y", &[("y", "x")], false);
        check_link("x", "x", &[], false);
    }
}
