//! Whom a request comes from when a proxy hands it on. A header that anybody can write is believed of those alone whom the
//! configuration trusts.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::str::FromStr;

use axum::http::header::{FORWARDED, VIA};
use axum::http::{HeaderMap, HeaderName};

const FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// An address, or all that begin with the same bits: `10.0.0.0/8`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    address: IpAddr,
    bits: u32,
}

impl FromStr for Network {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || format!("`{text}` is not an address or network such as 127.0.0.1, 10.0.0.0/8 or fd00::/8");
        let (address, bits) = text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let address: IpAddr = address.parse().map_err(|_| wrong())?;
        let all = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Ok(all), |bits| bits.parse().map_err(|_| wrong()))?;
        if bits > all { Err(wrong()) } else { Ok(Self { address, bits }) }
    }
}

impl fmt::Display for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}

impl Network {
    pub(crate) fn holds(&self, address: IpAddr) -> bool {
        // Both on the left of 128 bits, so that the same shift serves both kinds.
        let left = |address: IpAddr| match address {
            IpAddr::V4(four) => u128::from(u32::from(four)) << 96,
            IpAddr::V6(six) => u128::from(six),
        };
        let differ = left(self.address) ^ left(address);
        self.address.is_ipv4() == address.is_ipv4() && differ.leading_zeros() >= self.bits
    }
}

/// Who made the request that `peer` brought: the last address that no trusted proxy has, as the trusted ones say it. Each
/// proxy adds whom it heard from at the end, so that what stands before may be made up.
pub(crate) fn client(headers: &HeaderMap, peer: SocketAddr, trusted: &[Network]) -> IpAddr {
    let is_trusted = |address: IpAddr| trusted.iter().any(|network| network.holds(address));
    let mut client = peer.ip().to_canonical();
    if !is_trusted(client) {
        return client;
    }
    let lines = headers.get_all(FORWARDED_FOR).iter().map(|line| line.to_str().unwrap_or("?"));
    let said: Vec<&str> = lines.flat_map(|line| line.split(',')).collect();
    for text in said.into_iter().rev() {
        // Where a proxy says nothing that can be read, it counts itself.
        let Some(address) = address(text.trim()) else { break };
        client = address;
        if !is_trusted(client) {
            break;
        }
    }
    client
}

/// An address, as some proxies write it with its port.
fn address(text: &str) -> Option<IpAddr> {
    let bare = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
    let found = bare.parse().ok().or_else(|| text.parse().ok().map(|with_port: SocketAddr| with_port.ip()));
    found.map(|address: IpAddr| address.to_canonical())
}

/// Whether a proxy handed the request on, by what proxies add.
pub(crate) fn was_handed_on(headers: &HeaderMap) -> bool {
    let by_prefix = headers.keys().any(|name| name.as_str().starts_with("x-forwarded"));
    by_prefix || [FORWARDED, VIA, REAL_IP].iter().any(|name| headers.contains_key(name))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(lines: &[&str]) -> HeaderMap {
        lines.iter().map(|line| (FORWARDED_FOR, line.parse().unwrap())).collect()
    }

    #[test]
    fn only_whom_the_configuration_trusts_says_who_asks() {
        let trusted: Vec<Network> = ["127.0.0.1", "10.0.0.0/8", "fd00::/8"].map(|text| text.parse().unwrap()).to_vec();
        let check = |peer: &str, lines: &[&str], expect: &str| {
            let found = client(&headers(lines), SocketAddr::new(peer.parse().unwrap(), 1), &trusted);
            assert_eq!(found, expect.parse::<IpAddr>().unwrap(), "{peer} {lines:?}");
        };
        check("127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("::ffff:127.0.0.1", &["203.0.113.7"], "203.0.113.7");
        check("fd00::1", &["2001:db8::7"], "2001:db8::7");
        check("198.51.100.1", &["203.0.113.7"], "198.51.100.1");
        check("127.0.0.2", &["203.0.113.7"], "127.0.0.2");
        // What a client writes itself stands before what the proxies add.
        check("127.0.0.1", &["192.0.2.1, 203.0.113.7, 10.1.2.3"], "203.0.113.7");
        check("127.0.0.1", &["192.0.2.1", "203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["10.0.0.9, 10.0.0.8"], "10.0.0.9");
        check("127.0.0.1", &[], "127.0.0.1");
        for garbage in ["", "unknown", ", ,", "203.0.113.7.example", "_hidden", "999.1.1.1", "\u{e9}"] {
            check("127.0.0.1", &[garbage], "127.0.0.1");
            check("127.0.0.1", &[&format!("203.0.113.7, {garbage}")], "127.0.0.1");
        }
        check("127.0.0.1", &["unknown, 203.0.113.7"], "203.0.113.7");
        check("127.0.0.1", &["203.0.113.7:4711"], "203.0.113.7");
        check("127.0.0.1", &["[2001:db8::7]:4711"], "2001:db8::7");
        check("127.0.0.1", &["[2001:db8::7]"], "2001:db8::7");
        check("127.0.0.1", &["::ffff:203.0.113.7"], "203.0.113.7");
        let nobody = client(&headers(&["203.0.113.7"]), "127.0.0.1:1".parse().unwrap(), &[]);
        assert_eq!(nobody.to_string(), "127.0.0.1", "without configuration nobody is trusted");
    }

    #[test]
    fn a_network_is_its_first_bits() {
        let check = |network: &str, address: &str, expect: bool| {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.holds(address.parse().unwrap()), expect, "{network:?} {address}");
        };
        check("10.0.0.0/8", "10.255.1.2", true);
        check("10.0.0.0/8", "11.0.0.0", false);
        check("10.1.2.3", "10.1.2.3", true);
        check("10.1.2.3", "10.1.2.2", false);
        check("0.0.0.0/0", "203.0.113.7", true);
        check("0.0.0.0/0", "2001:db8::7", false);
        check("fd00::/8", "fdff::1", true);
        check("fd00::/8", "fe00::1", false);
        check("::/0", "fe00::1", true);
        for wrong in ["", "10.0.0.0/33", "fd00::/129", "10.0.0/8", "proxy.example", "10.0.0.0/x", "10.0.0.0/-1"] {
            assert!(wrong.parse::<Network>().is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_a_proxy_adds_is_known() {
        for name in ["forwarded", "via", "x-real-ip", "x-forwarded-for", "x-forwarded-proto", "x-forwarded-anything"] {
            let headers = HeaderMap::from_iter([(HeaderName::from_static(name), "x".parse().unwrap())]);
            assert!(was_handed_on(&headers), "{name}");
        }
        assert!(!was_handed_on(&HeaderMap::from_iter([(axum::http::header::HOST, "localhost".parse().unwrap())])));
    }
}
