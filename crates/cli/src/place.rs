//! Address of the store: a SQLite file or a PostgreSQL database. The address of a database may hold
//! a password, which is never shown.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use surefoot::{Secret, parse_duration};
use surefoot_postgres::{PostgresOptions, PostgresStore};

use crate::errors::Failure;

/// Address of the store.
#[derive(Clone, Debug)]
pub(crate) enum Place {
    /// `sqlite:PATH`.
    File(PathBuf),
    /// `postgres://...`.
    Database(Box<PostgresOptions>),
}

/// The address of a store as it was written. It shows itself without its password.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub(crate) struct Address(String);

impl Address {
    /// As it was written, for what connects.
    pub(crate) fn expose(&self) -> &str {
        &self.0
    }

    /// Secrets of this address: the password, as written and as the database receives it. A
    /// password that equals the name of the user or the database is not masked: that would garble
    /// texts and hide nothing.
    pub(crate) fn secrets(&self, database: &PostgresOptions) -> Vec<Secret> {
        let public = without_secret(&self.0);
        let written = password(&self.0).map(Secret::new);
        let secrets = written.into_iter().chain(database.secret());
        secrets
            .filter(|secret| !public.contains(secret.expose()))
            .collect()
    }
}

impl From<String> for Address {
    fn from(text: String) -> Self {
        Self(text)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}", without_secret(&self.0))
    }
}

/// `[postgres]`: how the database is used.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PostgresTable {
    /// The schema that the store lives in.
    schema: Option<String>,
    /// Returns true if processes notify each other of work.
    notify: Option<bool>,
    /// True if the schema is created and upgraded without `surefoot migrate`.
    migrate: Option<bool>,
    connect_timeout: Option<String>,
    operation_timeout: Option<String>,
}

impl Place {
    /// Understands an address. Paths are relative to `base`.
    pub(crate) fn read(
        address: &str,
        base: &Path,
        table: &PostgresTable,
        config: &Path,
    ) -> Result<Self, Failure> {
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
            let wrong = |message| {
                Failure::usage(format!("{}: postgres.{name}: {message}", config.display()))
            };
            text.as_deref()
                .map(|text| parse_duration(text).map_err(wrong))
                .transpose()
        };
        if let Some(timeout) = time("connect_timeout", &self.connect_timeout)? {
            options = options.connect_timeout(timeout);
        }
        if let Some(timeout) = time("operation_timeout", &self.operation_timeout)? {
            options = options.operation_timeout(timeout);
        }
        options = options
            .notify(self.notify.unwrap_or(true))
            .migrate(self.migrate.unwrap_or(true));
        options
            .check()
            .map_err(|error| Failure::usage(error.to_string()))?;
        Ok(options)
    }
}

/// A text that may have an address of a database in it, to be shown: no password is left in it.
pub(crate) fn without_secret(text: &str) -> String {
    let text = match text
        .split_once("://")
        .and_then(|(scheme, rest)| Some((scheme, rest.rsplit_once('@')?)))
    {
        Some((scheme, (person, place))) => match person.split_once(':') {
            Some((user, _)) => format!("{scheme}://{user}:***@{place}"),
            None => text.to_owned(),
        },
        None => text.to_owned(),
    };
    match text.split_once(PARAMETER) {
        Some((front, rest)) => {
            let after = rest.find(['&', ' ', '\'']).map_or("", |end| &rest[end..]);
            format!("{front}{PARAMETER}***{after}")
        }
        None => text,
    }
}

/// A text with words of the command line in it, which may be addresses of databases: no password is
/// left in it.
pub(crate) fn without_secret_arguments(
    text: &str,
    arguments: impl Iterator<Item = String>,
) -> String {
    let parts = arguments.flat_map(|word| {
        let value = word.split_once('=').map(|(_, value)| value.to_owned());
        std::iter::once(word).chain(value)
    });
    parts.fold(text.to_owned(), |text, part| {
        let shown = without_secret(&part);
        if shown == part {
            text
        } else {
            text.replace(&part, &shown)
        }
    })
}

const PARAMETER: &str = "password=";

/// The password in an address, as it is written there.
fn password(address: &str) -> Option<&str> {
    let (place, query) = address.split_once('?').unwrap_or((address, ""));
    let person = place
        .split_once("://")
        .and_then(|(_, rest)| rest.rsplit_once('@'))
        .map(|(person, _)| person);
    let word = person
        .and_then(|person| person.split_once(':'))
        .map(|(_, word)| word);
    word.or_else(|| {
        query
            .split('&')
            .find_map(|pair| pair.strip_prefix(PARAMETER))
    })
    .filter(|word| !word.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(address: &str, table: &str) -> Result<Place, String> {
        let table = toml::from_str(table).unwrap();
        Place::read(
            address,
            Path::new("/base"),
            &table,
            Path::new("surefoot.toml"),
        )
        .map_err(|error| error.to_string())
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
        assert!(
            read("postgres://h/shop", "schema = 'Big'")
                .unwrap_err()
                .contains("`Big`")
        );
    }

    #[test]
    fn what_is_shown_has_no_password() {
        let check = |text: &str, expect: &str| assert_eq!(without_secret(text), expect);
        check("postgres://ann:s3cr3t@h/d", "postgres://ann:***@h/d");
        check(
            "--store=postgres://ann:s3@cr3t@h/d",
            "--store=postgres://ann:***@h/d",
        );
        check(
            "postgre://ann@h/d?password=s3cr3t&x=1",
            "postgre://ann@h/d?password=***&x=1",
        );
        check("sqlite:x.db", "sqlite:x.db");
        check("https://example.org/a", "https://example.org/a");
        check(
            "host=h password=s3cr3t user=ann",
            "host=h password=*** user=ann",
        );
        let error = read("postgre://ann:s3cr3t@h/d", "").unwrap_err();
        assert!(error.contains("postgre://ann:***@h/d"), "{error}");
    }

    #[test]
    fn an_address_shows_no_password_and_knows_what_to_mask() {
        let check = |text: &str, expect: &[&str]| {
            let address = Address::from(text.to_owned());
            let secrets = address.secrets(&PostgresStore::options(text));
            assert_eq!(
                secrets.iter().map(Secret::expose).collect::<Vec<_>>(),
                expect,
                "{text}"
            );
        };
        check("postgres://ann:s3cr%40t@h/d", &["s3cr%40t", "s3cr@t"]);
        check(
            "postgres://ann@h/d?password=s3cr3t&sslmode=disable",
            &["s3cr3t", "s3cr3t"],
        );
        check("postgres://ann:annegret@h/annegret", &[]);
        check("postgres://postgres:postgres@h/d", &[]);
        check("postgres://ann@h/d", &[]);
        let shown = format!(
            "{:?}",
            Address::from("postgres://ann:s3cr3t@h/d".to_owned())
        );
        assert_eq!(shown, "\"postgres://ann:***@h/d\"");
    }

    #[test]
    fn what_is_said_of_the_command_line_has_no_password() {
        let arguments = [
            "runs",
            "postgres://ann:s3 cr3t@h/d",
            "--stor=postgres://ann:0ther@h/d",
        ];
        let text = "unexpected argument 'postgres://ann:s3 cr3t@h/d' found\n  --stor <postgres://ann:0ther@h/d>";
        let shown = without_secret_arguments(text, arguments.into_iter().map(str::to_owned));
        assert_eq!(
            shown,
            "unexpected argument 'postgres://ann:***@h/d' found\n  --stor <postgres://ann:***@h/d>"
        );
    }
}
