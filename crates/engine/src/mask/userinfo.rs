//! Takes users and passwords out of the addresses in a text.

use std::ops::Range;

/// Characters that end an address in a text for people.
const ENDS: [char; 9] = ['"', '\'', '`', '<', '>', '(', ')', '|', '\\'];

/// Ranges of users and passwords in the addresses of a text. The user of an SSH address without a
/// password is none of them: it is a part of the address.
pub(super) fn find(text: &str) -> Vec<Range<usize>> {
    text.match_indices("://")
        .filter_map(|(at, mark)| userinfo(text, at, at + mark.len()))
        .collect()
}

fn userinfo(text: &str, scheme_ends: usize, from: usize) -> Option<Range<usize>> {
    let rest = &text[from..];
    let address = &rest[..rest
        .find(|letter: char| letter.is_whitespace() || ENDS.contains(&letter))
        .unwrap_or(rest.len())];
    let authority = &address[..address.find(['/', '?', '#']).unwrap_or(address.len())];
    // A password with a slash in it: what stands before it is no host and port.
    let is_host = |text: &str| {
        text.rsplit_once(':')
            .is_none_or(|(_, port)| port.bytes().all(|byte| byte.is_ascii_digit()))
    };
    let place = if authority.contains('@') || is_host(authority) {
        authority
    } else {
        address
    };
    let user = &place[..place.rfind('@')?];
    let is_ssh = text[..scheme_ends].ends_with("ssh");
    let is_secret = !user.is_empty() && (!is_ssh || user.contains(':'));
    is_secret.then(|| from..from + user.len())
}

#[cfg(test)]
mod tests {
    use super::super::scan::replace;
    use super::*;

    #[test]
    fn no_user_and_no_password_is_left_in_an_address() {
        let check =
            |text: &str, expect: &str| assert_eq!(replace(text.to_owned(), find(text)), expect);
        check(
            "GET http://bob:hunter2@h:9/x got no answer",
            "GET http://***@h:9/x got no answer",
        );
        check(
            "'https://token@forge/a.git/' and ftp://a:b@c",
            "'https://***@forge/a.git/' and ftp://***@c",
        );
        check("postgres://ann:hun/ter@h/d", "postgres://***@h/d");
        check("redis://:hunter2@h", "redis://***@h");
        check(
            "ssh://git@h/x and git+ssh://git:pw@h",
            "ssh://git@h/x and git+ssh://***@h",
        );
        check(
            "https://h:80/a@b https://h/?at=a@b git@h:x :// @",
            "https://h:80/a@b https://h/?at=a@b git@h:x :// @",
        );
        check("https://[::1]:80/a@b", "https://[::1]:80/a@b");
    }
}
