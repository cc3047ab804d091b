//! Session settings that change the effect of a statement, each with the value that the store
//! needs.
//!
//! The server, the database and the role may set any of them. A session with a server process of
//! its own gets the store's values in its startup packet, which override all three. A pooler
//! refuses or drops that part of the packet, and assigns each transaction to any free process:
//! there every transaction makes the settings itself.

use std::fmt::Write as _;

/// A setting and the value that the store needs.
struct Setting {
    name: &'static str,
    /// A word or a list of words, written into SQL without quotes.
    value: &'static str,
    /// First major version that supports it.
    since: u32,
    /// True if a transaction through a pooler must set it too. The others are part of BEGIN, or
    /// matter only for data sent as text or kept in a session.
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
    // The store has its own time limits. A limit of the server would end a longer statement every
    // time it is tried.
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
    // Functions and operators must be the server's own.
    everywhere("search_path", "pg_catalog,pg_temp"),
    // A policy that would hide rows becomes an error.
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

/// Parameter that shows whether a session's startup packet arrived.
const MARK: &str = "surefoot.session";

/// Oldest version whose settings are sent before the server's version is known.
const OLDEST: u32 = 13;

/// The `options` of a startup packet for a server of this major version; 0 if it is not known yet.
pub(super) fn startup_options(version: u32, mark: &str) -> String {
    let mut options = format!("-c {MARK}={mark}");
    for setting in known_to(version.max(OLDEST)) {
        let value = setting.value.replace(' ', "\\ ");
        let _infallible = write!(options, " -c {}={value}", setting.name);
    }
    options
}

/// Makes the settings that were left out of the startup packet, because the server's version was
/// unknown.
pub(super) fn set_newer_than_oldest(version: u32) -> String {
    let newer = known_to(version).filter(|setting| setting.since > OLDEST);
    newer
        .map(|setting| format!("SET {} = {};", setting.name, setting.value))
        .collect()
}

/// Settings of one transaction through a pooler; they follow its BEGIN.
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

/// Query for whether the startup packet arrived, and for settings that cannot be determined
/// otherwise. One row of text.
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
