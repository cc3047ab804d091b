//! Addresses that lead nowhere but to this server: a link or a form says where to go on, and may not send people elsewhere.

/// The path if it is one of ours, and otherwise `/`. `//evil.example` and `/\evil.example` only look like one.
pub(crate) fn local_path(to: Option<&str>) -> &str {
    let elsewhere = |letter: char| letter == '\\' || letter.is_control();
    to.filter(|to| to.starts_with('/') && !to.starts_with("//") && !to.contains(elsewhere))
        .unwrap_or("/")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nobody_is_sent_elsewhere() {
        for to in [
            "//evil.example",
            "https://evil.example",
            "/\\evil.example",
            "evil",
            "",
            "/\nx",
            "/x\u{7f}",
        ] {
            assert_eq!(local_path(Some(to)), "/", "{to}");
        }
        assert_eq!(
            local_path(Some("/runs?status=failed")),
            "/runs?status=failed"
        );
        assert_eq!(local_path(None), "/");
    }
}
