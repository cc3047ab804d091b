//! Paths in addresses: characters that a URL cannot contain, or would misinterpret, are escaped.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

/// A path inside a URL. Git and Flux decode it; for a shell it is one word.
pub(crate) fn escaped(path: &Path) -> String {
    path.as_os_str()
        .as_bytes()
        .iter()
        .fold(String::new(), |mut url, &byte| {
            if byte.is_ascii_alphanumeric() || b"/-._~".contains(&byte) {
                url.push(char::from(byte));
            } else {
                let _never_fails = write!(url, "%{byte:02X}");
            }
            url
        })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn special_characters_of_urls_and_shells_are_escaped() {
        let check = |path: &str, expect: &str| assert_eq!(escaped(Path::new(path)), expect);
        check("/srv/my-shop_1.git", "/srv/my-shop_1.git");
        check("/feature%2Fx/a b", "/feature%252Fx/a%20b");
        check(
            "/a?b#c&d;e'f\"g$h(i)",
            "/a%3Fb%23c%26d%3Be%27f%22g%24h%28i%29",
        );
        check("/日", "/%E6%97%A5");
        let odd = Path::new(std::ffi::OsStr::from_bytes(b"/\xff"));
        assert_eq!(escaped(odd), "/%FF");
    }
}
