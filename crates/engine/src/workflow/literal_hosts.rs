//! Hosts that a workflow writes out in its steps, without an expression: the author of the workflow
//! chose them.

use std::collections::BTreeSet;

use serde_json::Value;

use super::Workflow;

/// The hosts of every URL in the steps that name `credential`, in lower case.
pub(crate) fn of(workflow: &Workflow, credential: &str) -> BTreeSet<String> {
    let mut hosts = BTreeSet::new();
    for step in workflow.steps() {
        if step.with.get("credential").and_then(Value::as_str) == Some(credential) {
            collect(&step.with, &mut hosts);
        }
    }
    hosts
}

fn collect(with: &Value, hosts: &mut BTreeSet<String>) {
    for field in ["url", "remote"] {
        hosts.extend(
            with.get(field)
                .and_then(Value::as_str)
                .and_then(literal_host),
        );
    }
}

/// The host of a URL. None when an expression has a part in it, when it has a user's name, or when
/// the URL does not end its host with `/`, `?`, `#` or its own end: `https://git.example${{ ... }}`
/// may continue the host.
fn literal_host(url: &str) -> Option<String> {
    let rest = url
        .strip_prefix("https://")
        .or_else(|| url.strip_prefix("http://"))?;
    let authority = rest.split(['/', '?', '#']).next()?;
    if authority.contains(['$', '{', '}', '@', '\\', '%'])
        || authority.contains(char::is_whitespace)
    {
        return None;
    }
    let host = match authority.strip_prefix('[') {
        Some(six) => six.split_once(']')?.0,
        None => authority.split(':').next()?,
    };
    (!host.is_empty()).then(|| host.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_host_without_an_expression_is_literal() {
        let check = |url: &str, expect: Option<&str>| {
            assert_eq!(literal_host(url).as_deref(), expect, "{url}")
        };
        check(
            "https://Git.example/team/${{ parameters.name }}",
            Some("git.example"),
        );
        check("http://127.0.0.1:8080/x", Some("127.0.0.1"));
        check("http://[::1]:8080?x", Some("::1"));
        check("https://git.example", Some("git.example"));
        check("https://git.example${{ parameters.rest }}", None);
        check("https://git.example:${{ parameters.port }}/x", None);
        check("https://${{ parameters.host }}/x", None);
        check("${{ parameters.url }}", None);
        check("https://git.example@${{ parameters.host }}/x", None);
        check("https://git.example\\@evil.example/x", None);
        check("git@git.example:x", None);
    }
}
