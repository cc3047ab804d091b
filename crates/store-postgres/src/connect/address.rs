//! A URL `postgres://user:password@host:port/database?sslmode=verify-full`: its meaning, and the
//! part that may be shown.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr as _;

use surefoot::StoreError;
use tokio_postgres::Config;
use tokio_postgres::config::SslMode;

/// Required trust in a server's certificate, in the terms of libpq.
/// <https://www.postgresql.org/docs/current/libpq-ssl.html>
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Trust {
    /// `disable`, `allow`, `prefer`, `require`: any certificate.
    Anyone,
    /// `verify-ca`: a certificate issued by a trusted authority.
    Authority,
    /// `verify-full`: the certificate must also be for the host name used.
    Name,
}

/// Location of the database, and connection settings.
#[derive(Clone)]
pub(crate) struct Address {
    pub(crate) config: Config,
    pub(crate) trust: Trust,
    /// `sslrootcert`: the authorities to trust instead of the system's.
    pub(crate) authorities: Option<PathBuf>,
    /// `sslcert` and `sslkey`: the client certificate, if the server requires one.
    pub(crate) identity: Option<(PathBuf, PathBuf)>,
}

/// Parameters that libpq supports and `tokio-postgres` does not.
#[derive(Default)]
struct Ssl {
    mode: Option<String>,
    authorities: Option<PathBuf>,
    certificate: Option<PathBuf>,
    key: Option<PathBuf>,
}

impl Address {
    /// Parses a URL. Its content is never part of an error, because it may contain a password.
    pub(crate) fn parse(url: &str) -> Result<Self, StoreError> {
        check_form(url).map_err(wrong)?;
        let (plain, ssl) = take_ssl(url);
        let mut config = Config::from_str(&plain).map_err(|error| wrong(&reason(&error)))?;
        if config.get_hosts().is_empty() && config.get_hostaddrs().is_empty() {
            return Err(wrong("it names no host"));
        }
        let (mode, trust) = ssl.trust().map_err(wrong)?;
        config.ssl_mode(mode);
        let identity = match (ssl.certificate, ssl.key) {
            (None, None) => None,
            (Some(certificate), Some(key)) => Some((certificate, key)),
            _ => return Err(wrong("sslcert and sslkey go together")),
        };
        let authorities = ssl.authorities.filter(|path| path.as_os_str() != "system");
        Ok(Self {
            config,
            trust,
            authorities,
            identity,
        })
    }
}

fn wrong(what: &str) -> StoreError {
    StoreError::Unusable(format!(
        "the address of the database cannot be understood: {what}; it is like \
         postgres://user@host:5432/database?sslmode=verify-full"
    ))
}

/// Refuses forms that would be misread, such as the end of a password as a host.
fn check_form(url: &str) -> Result<(), &'static str> {
    let rest = ["postgres://", "postgresql://"]
        .iter()
        .find_map(|scheme| url.strip_prefix(scheme));
    let rest = rest.ok_or("it does not begin with postgres://")?;
    let (place, query) = rest.split_once('?').unwrap_or((rest, ""));
    let (authority, path) = place.split_once('/').unwrap_or((place, ""));
    let host = authority
        .split_once('@')
        .map_or(authority, |(_, host)| host);
    let cut = query
        .split('&')
        .any(|pair| !pair.is_empty() && !pair.contains('='));
    if host.contains('@') || path.contains(['@', '/']) || cut || url.contains(['#', ' ']) {
        return Err(
            "a user, password or name with @ : / ? # or % in it is written with percent escapes (@ is %40)",
        );
    }
    Ok(())
}

/// Splits the TLS parameters off the URL.
fn take_ssl(url: &str) -> (String, Ssl) {
    let (base, query) = url.split_once('?').unwrap_or((url, ""));
    let mut rest = Vec::new();
    let mut ssl = Ssl::default();
    for pair in query.split('&').filter(|pair| !pair.is_empty()) {
        let path = |value| Some(PathBuf::from(unescaped(value)));
        match pair.split_once('=') {
            Some(("sslmode", word)) => ssl.mode = Some(word.to_owned()),
            Some(("sslrootcert", value)) => ssl.authorities = path(value),
            Some(("sslcert", value)) => ssl.certificate = path(value),
            Some(("sslkey", value)) => ssl.key = path(value),
            _ => rest.push(pair),
        }
    }
    let plain = if rest.is_empty() {
        base.to_owned()
    } else {
        format!("{base}?{}", rest.join("&"))
    };
    (plain, ssl)
}

impl Ssl {
    /// As in libpq, `require` with an authority means `verify-ca`.
    fn trust(&self) -> Result<(SslMode, Trust), &'static str> {
        Ok(match self.mode.as_deref() {
            Some("disable") => (SslMode::Disable, Trust::Anyone),
            None | Some("prefer" | "allow") => (SslMode::Prefer, Trust::Anyone),
            Some("require") if self.authorities.is_none() => (SslMode::Require, Trust::Anyone),
            Some("require" | "verify-ca") => (SslMode::Require, Trust::Authority),
            Some("verify-full") => (SslMode::Require, Trust::Name),
            Some(_) => {
                return Err("sslmode is none of disable, prefer, require, verify-ca, verify-full");
            }
        })
    }
}

/// The crate's errors name parameters, and of values only hosts and ports.
fn reason(error: &tokio_postgres::Error) -> String {
    std::error::Error::source(error).map_or_else(|| error.to_string(), ToString::to_string)
}

/// Decodes percent escapes in a query's value.
fn unescaped(text: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        let escaped = tail
            .get(..2)
            .and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        match escaped {
            Some(byte) if *first == b'%' => {
                bytes.push(byte);
                rest = &tail[2..];
            }
            _ => {
                bytes.push(*first);
                rest = tail;
            }
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

/// Shows only host, port and database.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let hosts = self.config.get_hosts().iter().map(|host| match host {
            tokio_postgres::config::Host::Tcp(name) => name.clone(),
            tokio_postgres::config::Host::Unix(path) => path.display().to_string(),
        });
        let addresses = self.config.get_hostaddrs().iter().map(ToString::to_string);
        let hosts = hosts.chain(addresses).collect::<Vec<_>>().join(",");
        let ports = self
            .config
            .get_ports()
            .iter()
            .map(ToString::to_string)
            .collect::<Vec<_>>()
            .join(",");
        let ports = if ports.is_empty() {
            "5432".to_owned()
        } else {
            ports
        };
        let user = self.config.get_user().unwrap_or_default();
        write!(
            f,
            "postgres://{hosts}:{ports}/{}",
            self.config.get_dbname().unwrap_or(user)
        )
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Address({self})")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_is_understood_as_libpq_does() {
        let check = |query: &str, ssl, trust| {
            let address =
                Address::parse(&format!("postgres://ann@db.example:6432/shop{query}")).unwrap();
            assert_eq!(
                (address.config.get_ssl_mode(), address.trust),
                (ssl, trust),
                "{query}"
            );
            assert_eq!(address.to_string(), "postgres://db.example:6432/shop");
        };
        check("", SslMode::Prefer, Trust::Anyone);
        check("?sslmode=disable", SslMode::Disable, Trust::Anyone);
        check(
            "?sslmode=require&connect_timeout=3",
            SslMode::Require,
            Trust::Anyone,
        );
        check(
            "?connect_timeout=3&sslmode=verify-ca",
            SslMode::Require,
            Trust::Authority,
        );
        check(
            "?sslmode=require&sslrootcert=/ca.pem",
            SslMode::Require,
            Trust::Authority,
        );
        check(
            "?sslmode=verify-full&sslrootcert=%2Fetc%2Fca.pem",
            SslMode::Require,
            Trust::Name,
        );
        let address = Address::parse("postgresql://ann@h/shop?sslrootcert=/a%20b.pem").unwrap();
        assert_eq!(address.authorities, Some(PathBuf::from("/a b.pem")));
    }

    #[test]
    fn a_password_is_never_shown() {
        for url in [
            "postgres://ann:s3cr3t@db.example/shop",
            "postgres://ann@db.example/shop?password=s3cr3t",
            "postgres://ann:s3cr3t@db.example:no-port/shop",
            "postgres://ann:s3cr3t@db.example/shop?sslmode=s3cr3t",
            "postgres://ann:s3cr3t@db.example/shop?unheard=s3cr3t",
            "mysql://ann:s3cr3t@db.example/shop",
            "postgres://ann:s3cr3t@/shop",
            // Passwords that should have been escaped: parts of them look like hosts, databases and
            // parameters.
            "postgres://ann:a@s3cr3t@db.example/shop",
            "postgres://ann:a/s3cr3t@db.example/shop",
            "postgres://ann:a?s3cr3t@db.example/shop",
            "postgres://ann:a?s=s3cr3t@db.example/shop",
            "postgres://ann:a#s3cr3t@db.example/shop",
            "ann:s3cr3t@db.example/shop",
        ] {
            let shown = match Address::parse(url) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!shown.contains("s3cr3t"), "{url}: {shown}");
        }
    }

    #[test]
    fn what_needs_escapes_is_refused_with_how_to_write_it() {
        for url in [
            "postgres://u:a@b@h/d",
            "postgres://u:a/b@h/d",
            "postgres://u:a?b@h/d",
            "postgres://u:a#b@h/d",
        ] {
            let error = Address::parse(url).unwrap_err().to_string();
            assert!(error.contains("%40"), "{url}: {error}");
        }
        let address = Address::parse("postgres://u:a%40%2Fb@h/d").unwrap();
        assert_eq!(address.config.get_password(), Some(b"a@/b".as_slice()));
    }
}
