//! Environment of commands: the variables that tools need, without those that may hold secrets of
//! this process.

use std::sync::OnceLock;

use tokio::process::Command;

/// Variables that every command gets if this process has them, in addition to those that begin with
/// `LC_`.
const PASSED: [&str; 21] = [
    "PATH",
    "HOME",
    "USER",
    "LOGNAME",
    "SHELL",
    "LANG",
    "LANGUAGE",
    "TZ",
    "TMPDIR",
    "TERM",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "ALL_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    "all_proxy",
    "SSL_CERT_FILE",
    "SSL_CERT_DIR",
    "XDG_RUNTIME_DIR",
];

/// Prefixes of variables that no command gets, whatever the configuration passes. `SUREFOOT_STORE`
/// may contain the database's password, the collector's headers a token.
const SECRET: [&str; 8] = [
    "SUREFOOT_CREDENTIAL_",
    "SUREFOOT_STORE",
    "PGPASS",
    "REDISCLI_AUTH",
    "OTEL_EXPORTER_OTLP_HEADERS",
    "OTEL_EXPORTER_OTLP_TRACES_HEADERS",
    "OTEL_EXPORTER_OTLP_METRICS_HEADERS",
    "OTEL_EXPORTER_OTLP_LOGS_HEADERS",
];

/// Additional variables that the configuration passes.
static MORE: OnceLock<Vec<String>> = OnceLock::new();

/// Passes these variables to commands too. Only the first call in the process counts.
pub fn pass_environment(names: Vec<String>) {
    let _first = MORE.set(names);
}

/// Gives `command` the variables that commands may have, and of this process's others only `more`.
pub fn allow_environment(command: &mut Command, more: &[&str]) {
    command.env_clear();
    for (name, value) in std::env::vars_os() {
        if name
            .to_str()
            .is_some_and(|name| is_passed(name) || more.contains(&name))
        {
            command.env(name, value);
        }
    }
}

fn is_passed(name: &str) -> bool {
    let is_listed = PASSED.contains(&name) || name.starts_with("LC_");
    let is_configured = MORE
        .get()
        .is_some_and(|more| more.iter().any(|passed| passed == name));
    (is_listed || is_configured) && !SECRET.iter().any(|prefix| name.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_get_what_tools_need_but_no_secrets() {
        pass_environment(vec!["CARGO_HOME".to_owned(), "PGPASSWORD".to_owned()]);
        for name in ["PATH", "HOME", "LC_ALL", "https_proxy", "CARGO_HOME"] {
            assert!(is_passed(name), "{name}");
        }
        let kept = [
            "AWS_SECRET_ACCESS_KEY",
            "GITHUB_TOKEN",
            "DATABASE_URL",
            "SUREFOOT_STORE",
            "PGPASSWORD",
            "LD_PRELOAD",
        ];
        for name in kept {
            assert!(!is_passed(name), "{name}");
        }
    }
}
