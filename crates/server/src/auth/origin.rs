//! The server's own address: its public origin, and whether a request or the server itself is
//! local.

use std::net::{IpAddr, SocketAddr};

use axum::http::HeaderMap;
use axum::http::header::HOST;

/// The scheme and host of `public_url`, in the form of a browser's `Origin`. `None` if it is not an
/// HTTP URL, or has a path: the links of the pages begin at the root of the host.
pub(crate) fn of_public_url(public_url: &str) -> Option<String> {
    let url = reqwest::Url::parse(public_url).ok()?;
    let bare = url.path() == "/"
        && url.query().is_none()
        && url.fragment().is_none()
        && url.username().is_empty();
    (bare && matches!(url.scheme(), "http" | "https")).then(|| url.origin().ascii_serialization())
}

/// Returns true if people reach the server over TLS. Its cookies are then restricted to TLS.
pub(crate) fn is_secure(public_url: Option<&str>) -> bool {
    public_url
        .and_then(|url| reqwest::Url::parse(url).ok())
        .is_some_and(|url| url.scheme() == "https")
}

/// Returns true if only this machine can reach the server. A public URL with another name means
/// that a proxy makes it reachable for others.
pub(crate) fn is_local(listen: SocketAddr, public_url: Option<&str>) -> bool {
    let local_name = |url: &str| {
        let host = reqwest::Url::parse(url)
            .ok()
            .and_then(|url| url.host_str().map(str::to_owned));
        host.is_some_and(|host| is_loopback_name(&host))
    };
    listen.ip().to_canonical().is_loopback() && public_url.is_none_or(local_name)
}

/// Returns true if the request's `Host` is a name of this machine. This prevents DNS rebinding: a
/// page of another site can point its own name at this machine, but the browser still sends that
/// name.
pub(crate) fn is_addressed_to_loopback(headers: &HeaderMap) -> bool {
    let mut names = headers.get_all(HOST).iter();
    let Some(Ok(host)) = names.next().map(|value| value.to_str()) else {
        return false;
    };
    names.next().is_none() && is_loopback_name(without_port(host))
}

fn without_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|digit| digit.is_ascii_digit()) => name,
        _ => host,
    }
}

fn is_loopback_name(name: &str) -> bool {
    let address = name
        .trim_start_matches('[')
        .trim_end_matches(']')
        .parse::<IpAddr>();
    match address {
        Ok(address) => address.to_canonical().is_loopback(),
        Err(_) => {
            let name = name.trim_end_matches('.').to_ascii_lowercase();
            name == "localhost" || name.ends_with(".localhost")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_this_machine_are_recognised() {
        let check = |host: &str, expect: bool| {
            let headers = HeaderMap::from_iter([(HOST, host.parse().unwrap())]);
            assert_eq!(is_addressed_to_loopback(&headers), expect, "{host}");
        };
        for host in [
            "localhost",
            "localhost:7878",
            "LOCALHOST:1",
            "127.0.0.1:7878",
            "127.3.2.1",
            "[::1]:7878",
            "a.localhost",
        ] {
            check(host, true);
        }
        for host in [
            "",
            "evil.example",
            "evil.example:7878",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "10.0.0.1",
            "0.0.0.0",
            "[::2]:1",
        ] {
            check(host, false);
        }
        assert!(!is_addressed_to_loopback(&HeaderMap::new()));
        let two = HeaderMap::from_iter([(HOST, "localhost".parse().unwrap())]);
        let mut two = two;
        two.append(HOST, "evil.example".parse().unwrap());
        assert!(!is_addressed_to_loopback(&two));
    }

    #[test]
    fn a_server_is_local_by_its_address_and_its_public_name() {
        let check = |listen: &str, url: Option<&str>, expect: bool| {
            assert_eq!(
                is_local(listen.parse().unwrap(), url),
                expect,
                "{listen} {url:?}"
            );
        };
        check("127.0.0.1:7878", None, true);
        check("[::1]:7878", Some("http://localhost:7878"), true);
        check("[::ffff:127.0.0.1]:7878", None, true);
        check("0.0.0.0:7878", None, false);
        check("[::]:7878", None, false);
        check("10.1.2.3:7878", Some("http://localhost"), false);
        check("127.0.0.1:7878", Some("https://surefoot.example"), false);
        check("127.0.0.1:7878", Some("nonsense"), false);
    }

    #[test]
    fn an_origin_has_no_path() {
        assert_eq!(
            of_public_url("https://surefoot.example/"),
            Some("https://surefoot.example".to_owned())
        );
        for more in [
            "https://surefoot.example/x/",
            "https://surefoot.example/?a",
            "https://ann:b@surefoot.example",
        ] {
            assert_eq!(of_public_url(more), None, "{more}");
        }
        assert_eq!(
            of_public_url("https://surefoot.example:8443"),
            Some("https://surefoot.example:8443".to_owned())
        );
        assert_eq!(of_public_url("ftp://surefoot.example"), None);
        assert!(is_secure(Some("HTTPS://a")));
        assert!(is_secure(Some("https://a")) && !is_secure(Some("http://a")) && !is_secure(None));
    }
}
