//! Names of a project's objects in a cluster: different for every project and environment, never
//! reserved, never too long.
//!
//! `shop` and its environment `staging` get the namespaces `fleet--shop` and `shop--staging`.
//! Neither part contains `--`, no project is called `fleet`, and every environment begins with a
//! letter, so a namespace can be read in one way only.

use std::collections::BTreeSet;

use surefoot::Digest;

use crate::environment::Environment;

/// Length limit of a namespace's name.
const LONGEST: usize = 63;
/// Length limit of a project's name, which must fit into a label's value.
const LONGEST_PROJECT: usize = 63;
/// Length limit of an environment's name.
const LONGEST_ENVIRONMENT: usize = 32;
/// Hex digits of the digest in a shortened name.
const DIGEST: usize = 15;
/// Separator of the two parts of a namespace.
const SEPARATOR: &str = "--";
/// First part of the namespace in which Flux works for a project.
const FLEET: &str = "fleet";

/// Project names that would collide with names of a cluster, Flux or the fleet.
const RESERVED: [&str; 6] = ["default", FLEET, "flux", "flux-system", "kube", "openshift"];
/// Prefixes of namespaces that Kubernetes and OpenShift reserve.
const RESERVED_PREFIXES: [&str; 2] = ["kube-", "openshift-"];

/// Reason for which a name cannot be used.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// The name has other characters, or too many or too few.
    #[error(
        "the {what} name `{name}` cannot be used: take {least} to {most} lower-case letters, digits and single hyphens, \
         a letter first and no hyphen last"
    )]
    Malformed {
        /// `project` or `environment`.
        what: &'static str,
        /// The name.
        name: String,
        /// Minimum length.
        least: usize,
        /// Maximum length.
        most: usize,
    },
    /// The name is one of a cluster's own.
    #[error(
        "the project name `{0}` is reserved for the fleet repository, Flux or Kubernetes itself: choose another name"
    )]
    Reserved(String),
    /// Two environments have the same name.
    #[error("environment `{0}` is named twice: name each once")]
    Twice(String),
}

/// Checks the name of a project.
///
/// # Errors
/// [`NameError::Malformed`], or [`NameError::Reserved`] for a name such as `kube-proxy` or
/// `flux-system`.
pub fn check_project(name: &str) -> Result<(), NameError> {
    check("project", name, 2, LONGEST_PROJECT)?;
    if RESERVED.contains(&name)
        || RESERVED_PREFIXES
            .iter()
            .any(|prefix| name.starts_with(prefix))
    {
        return Err(NameError::Reserved(name.to_owned()));
    }
    Ok(())
}

/// Checks the names of a project's environments.
///
/// # Errors
/// [`NameError::Malformed`], or [`NameError::Twice`].
pub fn check_environments(environments: &[Environment]) -> Result<(), NameError> {
    let mut seen = BTreeSet::new();
    for Environment { name, .. } in environments {
        check("environment", name, 1, LONGEST_ENVIRONMENT)?;
        if !seen.insert(name) {
            return Err(NameError::Twice(name.clone()));
        }
    }
    Ok(())
}

fn check(what: &'static str, name: &str, least: usize, most: usize) -> Result<(), NameError> {
    let fits = (least..=most).contains(&name.len())
        && name.starts_with(|letter: char| letter.is_ascii_lowercase())
        && name.split('-').all(is_word);
    if fits {
        Ok(())
    } else {
        Err(NameError::Malformed {
            what,
            name: name.to_owned(),
            least,
            most,
        })
    }
}

fn is_word(part: &str) -> bool {
    !part.is_empty()
        && part
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit())
}

/// Namespace of an environment's own objects: `shop--staging`.
pub fn namespace(project: &str, environment: &str) -> String {
    fitted(format!("{project}{SEPARATOR}{environment}"))
}

/// Namespace in which Flux works for a project: `fleet--shop`.
pub fn flux_namespace(project: &str) -> String {
    fitted(format!("{FLEET}{SEPARATOR}{project}"))
}

/// Shortens a name that is too long, and appends a digest of the whole.
///
/// The digest follows `--` and begins with a digit, which no environment or project does: a
/// shortened name never equals one that was short enough.
fn fitted(whole: String) -> String {
    if whole.len() <= LONGEST {
        return whole;
    }
    let digest = Digest::of(whole.as_bytes()).to_string();
    let kept = &whole[..LONGEST - SEPARATOR.len() - 1 - DIGEST];
    format!(
        "{}{SEPARATOR}0{}",
        kept.trim_end_matches('-'),
        &digest[..DIGEST]
    )
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    #[test]
    fn usable_names_are_accepted() {
        let long = "x".repeat(63);
        for name in [
            "ab",
            "shop",
            "no",
            "on",
            "true",
            "null",
            "my-shop-2",
            "fleets",
            "kubernetes",
            "a1-2",
            &long,
        ] {
            assert_eq!(check_project(name), Ok(()), "{name}");
        }
    }

    #[test]
    fn unusable_names_are_refused_with_the_reason() {
        let long = "x".repeat(64);
        for name in [
            "", "x", "Shop", "1shop", "-shop", "shop-", "my--shop", "a/b", "../x", "sh\nop",
            "größe", &long,
        ] {
            assert!(
                matches!(check_project(name), Err(NameError::Malformed { .. })),
                "{name}"
            );
        }
        for name in [
            "default",
            "fleet",
            "flux",
            "flux-system",
            "kube",
            "kube-system",
            "kube-x",
            "openshift-ingress",
        ] {
            assert_eq!(
                check_project(name),
                Err(NameError::Reserved(name.to_owned()))
            );
        }
        let environment = |name: &str| Environment {
            name: name.to_owned(),
            approvals: 0,
        };
        for name in ["", "-", "Prod", "eu--prod", "9", &"x".repeat(33)] {
            assert!(check_environments(&[environment(name)]).is_err(), "{name}");
        }
        assert!(
            check_environments(&[
                environment("a"),
                environment("eu-prod"),
                environment("default")
            ])
            .is_ok()
        );
        let twice = check_environments(&[environment("a"), environment("b"), environment("a")]);
        assert_eq!(twice, Err(NameError::Twice("a".to_owned())));
    }

    #[test]
    fn no_two_pairs_share_a_namespace_and_none_is_reserved_or_too_long() {
        let words = ["a1", "eu", "prod", "flux2", "system", "n0", "no"];
        let mut parts = words.map(str::to_owned).to_vec();
        for first in words {
            parts.extend(words.map(|second| format!("{first}-{second}")));
        }
        parts.extend((1..=4).map(|length| format!("{}-eu-prod", "y".repeat(50 + length))));
        let mut seen: HashMap<String, String> = HashMap::new();
        let mut add = |name: String, of: String| {
            assert!(
                name.len() <= LONGEST && name.contains(SEPARATOR) && !name.ends_with('-'),
                "{name}"
            );
            assert!(
                !RESERVED_PREFIXES
                    .iter()
                    .any(|prefix| name.starts_with(prefix)),
                "{name}"
            );
            if let Some(other) = seen.insert(name.clone(), of.clone()) {
                panic!("{other} and {of} share {name}");
            }
        };
        for project in parts
            .iter()
            .filter(|project| check_project(project).is_ok())
        {
            add(flux_namespace(project), project.clone());
            for environment in parts
                .iter()
                .filter(|name| name.len() <= LONGEST_ENVIRONMENT)
            {
                add(
                    namespace(project, environment),
                    format!("{project} in {environment}"),
                );
            }
        }
    }

    #[test]
    fn a_shortened_name_equals_no_other_name() {
        let project = "x".repeat(60);
        let short = namespace(&project, "staging");
        assert_eq!(short.len(), 63);
        let (kept, digest) = short.rsplit_once(SEPARATOR).unwrap();
        assert!(project.starts_with(kept) && digest.starts_with('0') && digest.len() == 16);
        assert!(
            check_environments(&[Environment {
                name: digest.to_owned(),
                approvals: 0
            }])
            .is_err()
        );
        assert!(check_project(digest).is_err());
    }
}
