//! The settings of a session that change what a statement does, each at the value that the store needs.
//!
//! The server, the database and the role may set any of them. A session with a process of the server to itself gets the
//! store's values in its startup packet, which override all three. A pooler refuses or drops that part of the packet, and
//! gives each transaction to whichever process is free: there every transaction sets them for itself.

use std::fmt::Write as _;

/// A setting and the value that the store needs.
struct Setting {
    name: &'static str,
    /// A word or a list of words: it stands in SQL without quotes.
    value: &'static str,
    /// The first major version that knows it.
    since: u32,
    /// True when a transaction through a pooler sets it too. The others are part of BEGIN, or matter only to what is sent as
    /// text or kept in a session.
    each_transaction: bool,
}

const fn everywhere(name: &'static str, value: &'static str) -> Setting {
    Setting {
        name,
        value,
        since: 13,
        each_transaction: true,
    }
}

const fn at_startup(name: &'static str, value: &'static str) -> Setting {
    Setting {
        name,
        value,
        since: 13,
        each_transaction: false,
    }
}

const SETTINGS: &[Setting] = &[
    at_startup("default_transaction_isolation", "read committed"),
    at_startup("default_transaction_read_only", "off"),
    at_startup("default_transaction_deferrable", "off"),
    // The store has time limits of its own. One of the server's would end a statement that needs longer, each time anew.
    everywhere("statement_timeout", "0"),
    everywhere("lock_timeout", "0"),
    everywhere("idle_in_transaction_session_timeout", "60000"),
    Setting {
        name: "transaction_timeout",
        value: "0",
        since: 17,
        each_transaction: true,
    },
    Setting {
        name: "idle_session_timeout",
        value: "0",
        since: 14,
        each_transaction: false,
    },
    // Functions and operators are the server's own.
    everywhere("search_path", "pg_catalog,pg_temp"),
    // A policy that would hide rows is an error.
    everywhere("row_security", "off"),
    everywhere("exit_on_error", "off"),
    everywhere("standard_conforming_strings", "on"),
    everywhere("transform_null_equals", "off"),
    everywhere("array_nulls", "on"),
    everywhere("default_table_access_method", "heap"),
    at_startup("plan_cache_mode", "auto"),
    at_startup("client_min_messages", "warning"),
    at_startup("bytea_output", "hex"),
    at_startup("DateStyle", "ISO"),
    at_startup("IntervalStyle", "postgres"),
    at_startup("TimeZone", "UTC"),
];

/// The parameter that shows a session whether its startup packet came through.
const MARK: &str = "surefoot.session";

/// The oldest version whose settings are sent before the server's version is known.
const OLDEST: u32 = 13;

/// The `options` of a startup packet for a server of this major version; 0 when it is not known yet.
pub(super) fn startup_options(version: u32, mark: &str) -> String {
    let mut options = format!("-c {MARK}={mark}");
    for setting in known_to(version.max(OLDEST)) {
        let value = setting.value.replace(' ', "\\ ");
        let _infallible = write!(options, " -c {}={value}", setting.name);
    }
    options
}

/// Sets what a startup packet did not, because the server's version was not known when it was sent.
pub(super) fn set_newer_than_oldest(version: u32) -> String {
    let newer = known_to(version).filter(|setting| setting.since > OLDEST);
    newer
        .map(|setting| format!("SET {} = {};", setting.name, setting.value))
        .collect()
}

/// The settings of one transaction through a pooler; they follow its BEGIN.
pub(super) fn set_local(version: u32) -> String {
    let settings = known_to(version).filter(|setting| setting.each_transaction);
    settings
        .map(|setting| format!("; SET LOCAL {} = {}", setting.name, setting.value))
        .collect()
}

fn known_to(version: u32) -> impl Iterator<Item = &'static Setting> {
    SETTINGS
        .iter()
        .filter(move |setting| setting.since <= version)
}

/// Asks whether the startup packet came through, and what cannot be judged from outside. One row of text.
pub(super) fn question(mark: &str) -> String {
    format!(
        "SELECT current_setting('{MARK}', true) IS NOT DISTINCT FROM '{mark}', current_setting('server_version_num'), \
         current_setting('synchronous_commit')"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_gets_only_settings_that_its_version_knows() {
        assert!(!startup_options(0, "x").contains("idle_session_timeout"));
        assert!(startup_options(14, "x").contains("-c idle_session_timeout=0"));
        assert!(
            startup_options(0, "x").contains("-c default_transaction_isolation=read\\ committed")
        );
        assert_eq!(set_newer_than_oldest(13), "");
        assert_eq!(
            set_newer_than_oldest(17),
            "SET transaction_timeout = 0;SET idle_session_timeout = 0;"
        );
        assert!(set_local(17).contains("; SET LOCAL transaction_timeout = 0"));
        assert!(!set_local(16).contains("transaction_timeout"));
    }
}
