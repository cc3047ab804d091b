//! Where runs live: a file of the embedded store, or a PostgreSQL database. A database's address may hold a password, which is
//! never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use surefoot::parse_duration;
use surefoot_postgres::{PostgresOptions, PostgresStore};

use crate::errors::Failure;

/// Where runs live.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// `sqlite:PATH`.
    File(PathBuf),
    /// `postgres://...`.
    Database(Box<PostgresOptions>),
}

/// `[postgres]`: how the database is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresTable {
    /// The schema that the store lives in.
    schema: Option<String>,
    /// Whether processes tell each other of work.
    notify: Option<bool>,
    /// Whether the schema is made and upgraded without `surefoot migrate`.
    migrate: Option<bool>,
    connect_timeout: Option<String>,
    operation_timeout: Option<String>,
}

impl Place {
    /// Understands an address. Paths are relative to `base`.
    pub(crate) fn read(address: &str, base: &Path, table: &PostgresTable, config: &Path) -> Result<Self, Failure> {
        match address.split_once(':') {
            Some(("sqlite", path)) if !path.is_empty() => Ok(Self::File(base.join(path))),
            Some(("postgres" | "postgresql", _)) => table.options(address, config).map(|options| Self::Database(Box::new(options))),
            _ => Err(Failure::usage(format!("`{}` is not a store that this build knows", without_secret(address)))
                .hint("write it as sqlite:PATH, such as sqlite:./surefoot-data/surefoot.db, or as postgres://USER@HOST/DATABASE")),
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::File(path) => path.display().fmt(f),
            Self::Database(options) => f.write_str(&options.shown()),
        }
    }
}

impl PostgresTable {
    fn options(&self, url: &str, config: &Path) -> Result<PostgresOptions, Failure> {
        let mut options = PostgresStore::options(url);
        if let Ok(password) = std::env::var("PGPASSWORD") {
            options = options.password(&password);
        }
        if let Some(schema) = &self.schema {
            options = options.schema(schema);
        }
        let time = |name: &str, text: &Option<String>| -> Result<Option<Duration>, Failure> {
            let wrong = |message| Failure::usage(format!("{}: postgres.{name}: {message}", config.display()));
            text.as_deref().map(|text| parse_duration(text).map_err(wrong)).transpose()
        };
        if let Some(timeout) = time("connect_timeout", &self.connect_timeout)? {
            options = options.connect_timeout(timeout);
        }
        if let Some(timeout) = time("operation_timeout", &self.operation_timeout)? {
            options = options.operation_timeout(timeout);
        }
        options = options.notify(self.notify.unwrap_or(true)).migrate(self.migrate.unwrap_or(true));
        options.check().map_err(|error| Failure::usage(error.to_string()))?;
        Ok(options)
    }
}

/// A text that may have an address of a database in it, to be shown: no password is left in it.
pub(crate) fn without_secret(text: &str) -> String {
    let Some((before, rest)) = text.split_once("://") else { return text.to_owned() };
    let rest = match rest.rsplit_once('@') {
        Some((person, place)) => match person.split_once(':') {
            Some((user, _)) => format!("{user}:***@{place}"),
            None => rest.to_owned(),
        },
        None => rest.to_owned(),
    };
    let rest = match rest.split_once("password=") {
        Some((front, secret)) => {
            let after = secret.split_once('&').map(|(_, after)| format!("&{after}")).unwrap_or_default();
            format!("{front}password=***{after}")
        }
        None => rest,
    };
    format!("{before}://{rest}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, table: &str) -> Result<Place, String> {
        let table = toml::from_str(table).unwrap();
        Place::read(address, Path::new("/base"), &table, Path::new("surefoot.toml")).map_err(|error| error.to_string())
    }

    #[test]
    fn files_and_databases() {
        assert_eq!(read("sqlite:x.db", "").unwrap().to_string(), "/base/x.db");
        let all = "schema = 's'\nnotify = false\nmigrate = false\nconnect_timeout = '3s'\noperation_timeout = '1m'";
        let place = read("postgres://ann:s3cr3t@db.example/shop", all).unwrap();
        assert_eq!(place.to_string(), "postgres://db.example:5432/shop");
        assert!(!format!("{place:?}").contains("s3cr3t"), "{place:?}");
        assert!(
            read("postgresql://ann@h/shop", "connect_timeout = 'soon'")
                .unwrap_err()
                .contains("postgres.connect_timeout")
        );
        assert!(read("postgres://h/shop", "schema = 'Big'").unwrap_err().contains("`Big`"));
    }

    #[test]
    fn what_is_shown_has_no_password() {
        let check = |text: &str, expect: &str| assert_eq!(without_secret(text), expect);
        check("postgres://ann:s3cr3t@h/d", "postgres://ann:***@h/d");
        check("--store=postgres://ann:s3@cr3t@h/d", "--store=postgres://ann:***@h/d");
        check("postgre://ann@h/d?password=s3cr3t&x=1", "postgre://ann@h/d?password=***&x=1");
        check("sqlite:x.db", "sqlite:x.db");
        check("https://example.org/a", "https://example.org/a");
        let error = read("postgre://ann:s3cr3t@h/d", "").unwrap_err();
        assert!(error.contains("postgre://ann:***@h/d"), "{error}");
    }
}
