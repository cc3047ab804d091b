//! Redirect targets that stay on this server. A link or form names the next page, and must not be
//! able to send people to another site.

/// Returns `to` if it is a path on this server, and otherwise `/`. `//evil.example` and
/// `/\evil.example` look like paths and are not.
pub(crate) fn safe_redirect(to: Option<&str>) -> &str {
    let elsewhere = |letter: char| letter == '\\' || letter.is_control();
    to.filter(|to| to.starts_with('/') && !to.starts_with("//") && !to.contains(elsewhere))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn redirects_stay_on_this_server() {
        for to in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "evil",
            "",
            "/\nx",
            "/x\u{7f}",
        ] {
            assert_eq!(safe_redirect(Some(to)), "/", "{to}");
        }
        assert_eq!(
            safe_redirect(Some("/runs?status=failed")),
            "/runs?status=failed"
        );
        assert_eq!(safe_redirect(None), "/");
    }
}
