//! The client address of a request that a proxy forwarded. Headers are believed only if they come
//! from a proxy that the configuration trusts.

use std::net::{IpAddr, SocketAddr};

use axum::http::header::{FORWARDED, VIA};
use axum::http::{HeaderMap, HeaderName};
use surefoot::Network;

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The client address of a request that arrived from `peer`: the last address in the chain that is
/// not a trusted proxy's. Each proxy appends the address it received from, so earlier entries may
/// be forged.
pub(crate) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lines = headers
        .get_all(FORWARDED_FOR)
        .iter()
        .map(|line| line.to_str().unwrap_or("?"));
    let said: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    for text in said.into_iter().rev() {
        // Without a readable entry, the proxy itself counts as the client.
        let Some(address) = address(text.trim()) else {
            break;
        };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// Parses an address, with or without a port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text
        .strip_prefix('[')
        .and_then(|rest| rest.strip_suffix(']'))
        .unwrap_or(text);
    let found = bare.parse().ok().or_else(|| {
        text.parse()
            .ok()
            .map(|with_port: SocketAddr| with_port.ip())
    });
    found.map(|address: IpAddr| address.to_canonical())
}

/// Returns true if the request has a header that proxies add.
pub(crate) fn is_forwarded(headers: &HeaderMap) -> bool {
    let by_prefix = headers
        .keys()
        .any(|name| name.as_str().starts_with("x-forwarded"));
    by_prefix
        || [FORWARDED, VIA, REAL_IP]
            .iter()
            .any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines
            .iter()
            .map(|line| (FORWARDED_FOR, line.parse().unwrap()))
            .collect()
    }

    #[test]
    fn only_trusted_proxies_state_the_client_address() {
        let trusted: Vec<Network> = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"]
            .map(|text| text.parse().unwrap())
            .to_vec();
        let check = |peer: &str, lines: &[&str], expect: &str| {
            let found = client(
                &headers(lines),
                SocketAddr::new(peer.parse().unwrap(), 1),
                &trusted,
            );
            assert_eq!(found, expect.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        };
        check("127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("fd00::1", &["2001:db8::7"], "2001:db8::7");
        check("198.51.100.1", &["203.0.113.7"], "198.51.100.1");
        check("127.0.0.2", &["203.0.113.7"], "127.0.0.2");
        // Entries written by the client itself stand before those that the proxies append.
        check(
            "127.0.0.1",
            &["192.0.2.1, 203.0.113.7, 10.1.2.3"],
            "203.0.113.7",
        );
        check("127.0.0.1", &["192.0.2.1", "203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9");
        check("127.0.0.1", &[], "127.0.0.1");
        for garbage in [
            "",
            "unknown",
            ", ,",
            "203.0.113.7.example",
            "_hidden",
            "999.1.1.1",
            "\u{e9}",
        ] {
            check("127.0.0.1", &[garbage], "127.0.0.1");
            check(
                "127.0.0.1",
                &[&format!("203.0.113.7, {garbage}")],
                "127.0.0.1",
            );
        }
        check("127.0.0.1", &["unknown, 203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7");
        check("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("127.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7");
        let client = client(
            &headers(&["203.0.113.7"]),
            "127.0.0.1:1".parse().unwrap(),
            &[],
        );
        assert_eq!(
            client.to_string(),
            "127.0.0.1",
            "without configuration no proxy is trusted"
        );
    }

    #[test]
    fn headers_added_by_proxies_are_recognised() {
        for name in [
            "forwarded",
            "via",
            "x-real-ip",
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-anything",
        ] {
            let headers =
                HeaderMap::from_iter([(HeaderName::from_static(name), "x".parse().unwrap())]);
            assert!(is_forwarded(&headers), "{name}");
        }
        assert!(!is_forwarded(&HeaderMap::from_iter([(
            axum::http::header::HOST,
            "localhost".parse().unwrap()
        )])));
    }
}
