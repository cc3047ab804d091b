//! The addresses that requests, git and notifications may reach.
//!
//! A name is resolved once, every address that it has is checked, and the connection is made to
//! those very addresses: a name that points elsewhere a moment later gains nothing.

use std::fmt;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::str::FromStr;

use crate::network::{Network, NetworkError};

/// Which addresses may be reached.
///
/// By default all but those at which clouds give out credentials of the machine, and the other
/// link-local ones. This machine and private networks may be reached: much that a workflow calls is
/// there.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AddressPolicy {
    /// Reachable whatever else is denied.
    pub allow: Vec<AddressRange>,
    /// Not reachable.
    pub deny: Vec<AddressRange>,
}

/// Addresses that a policy names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AddressRange {
    /// Every address that is not of the internet at large: this machine, private networks and
    /// special-purpose addresses.
    Private,
    /// A network, or one address.
    Network(Network),
}

impl FromStr for AddressRange {
    type Err = NetworkError;

    fn from_str(text: &str) -> Result<Self, NetworkError> {
        if text == "private" {
            Ok(Self::Private)
        } else {
            text.parse().map(Self::Network)
        }
    }
}

impl fmt::Display for AddressRange {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Private => f.write_str("private"),
            Self::Network(network) => network.fmt(f),
        }
    }
}

impl AddressRange {
    fn holds(&self, address: IpAddr) -> bool {
        match self {
            Self::Private => !is_public(address),
            Self::Network(network) => network.holds(address),
        }
    }
}

/// Why a host cannot be reached.
#[derive(Debug, thiserror::Error)]
pub enum AddressError {
    /// The policy denies an address of the host.
    #[error(
        "{host} is at {address}, which is denied: if it is meant, add \"{address}\" to `allow` under [network] in \
         surefoot.toml"
    )]
    Denied {
        /// The host.
        host: String,
        /// Its first address that is denied.
        address: IpAddr,
    },
    /// The name has no address.
    #[error("cannot find {host}: {reason}")]
    Unknown {
        /// The host.
        host: String,
        /// The answer of the name service.
        reason: String,
    },
}

impl AddressPolicy {
    /// The same policy, without private addresses unless they are allowed by name.
    #[must_use]
    pub fn public_only(mut self) -> Self {
        self.deny.push(AddressRange::Private);
        self
    }

    /// The addresses of a host, which may be an address itself, with brackets or without.
    ///
    /// # Errors
    /// When it has none, or one that is denied.
    pub async fn resolve(&self, host: &str, port: u16) -> Result<Vec<SocketAddr>, AddressError> {
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let unknown = |reason: String| AddressError::Unknown {
            host: host.to_owned(),
            reason,
        };
        let found = tokio::net::lookup_host((host, port))
            .await
            .map_err(|error| unknown(error.to_string()))?;
        let found: Vec<SocketAddr> = found.collect();
        if found.is_empty() {
            return Err(unknown("it has no address".to_owned()));
        }
        for address in &found {
            self.check(host, address.ip())?;
        }
        Ok(found)
    }

    /// Refuses an address of `host` that is denied.
    ///
    /// # Errors
    /// [`AddressError::Denied`].
    pub fn check(&self, host: &str, address: IpAddr) -> Result<(), AddressError> {
        // An IPv6 address that leads to an IPv4 one is denied with it.
        let led_to = carried(address).map(IpAddr::V4);
        if [Some(address.to_canonical()), led_to]
            .into_iter()
            .flatten()
            .all(|address| self.allows(address))
        {
            return Ok(());
        }
        Err(AddressError::Denied {
            host: host.to_owned(),
            address: address.to_canonical(),
        })
    }

    fn allows(&self, address: IpAddr) -> bool {
        let is_in = |ranges: &[AddressRange]| ranges.iter().any(|range| range.holds(address));
        is_in(&self.allow) || !(is_in(&self.deny) || is_metadata(address))
    }
}

/// Returns whether an address is link-local, or is one at which a cloud answers questions about the
/// machine.
fn is_metadata(address: IpAddr) -> bool {
    match address {
        // Amazon, Google, Azure, Oracle and others; Alibaba; Azure's wire server; Oracle.
        IpAddr::V4(four) => {
            let others = [[100, 100, 100, 200], [168, 63, 129, 16], [192, 0, 0, 192]];
            four.is_link_local() || others.contains(&four.octets())
        }
        // Amazon; Google.
        IpAddr::V6(six) => {
            let others = [
                [0xfd00, 0xec2, 0, 0, 0, 0, 0, 0x254],
                [0xfd20, 0xce, 0, 0, 0, 0, 0, 0x254],
            ];
            six.is_unicast_link_local() || others.contains(&six.segments())
        }
    }
}

/// The IPv4 address to which an IPv6 one leads: mapped, compatible, by NAT64 or by 6to4.
fn carried(address: IpAddr) -> Option<Ipv4Addr> {
    let IpAddr::V6(six) = address.to_canonical() else {
        return None;
    };
    let [a, b, c, ..] = six.segments();
    let [.., w, x, y, z] = six.octets();
    let last = Ipv4Addr::new(w, x, y, z);
    match (a, b, c) {
        (0x64, 0xff9b, 0 | 1) => Some(last),
        (0x2002, ..) => Some(Ipv4Addr::from(u32::from(b) << 16 | u32::from(c))),
        (0, 0, 0) if six.segments()[..6] == [0; 6] => Some(last),
        _ => None,
    }
}

/// Returns whether an address is of the internet at large: not of this machine, its networks or its
/// cloud.
fn is_public(address: IpAddr) -> bool {
    match address.to_canonical() {
        IpAddr::V4(four) => is_public_four(four),
        IpAddr::V6(six) => is_public_six(six),
    }
}

/// By the registry of special-purpose addresses (RFC 6890 and its updates).
fn is_public_four(address: Ipv4Addr) -> bool {
    let [a, b, c, _] = address.octets();
    !(a == 0
        || a == 10
        || a == 127
        || a >= 224
        || (a == 100 && (64..128).contains(&b))
        || (a == 169 && b == 254)
        || (a == 172 && (16..32).contains(&b))
        || (a == 192 && b == 0 && (c == 0 || c == 2))
        || (a == 192 && b == 88 && c == 99)
        || (a == 192 && b == 168)
        || (a == 198 && (b == 18 || b == 19))
        || (a == 198 && b == 51 && c == 100)
        || (a == 203 && b == 0 && c == 113))
}

/// Only what is given out for the internet (2000::/3), and of that not what leads elsewhere. An
/// address that carries one of IPv4 is worth what that one is.
fn is_public_six(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    if (a, b, c) == (0x64, 0xff9b, 0) || a == 0x2002 {
        return carried(IpAddr::V6(address)).is_some_and(is_public_four);
    }
    let special = a == 0x2001 && (b < 0x200 || b == 0xdb8) || a == 0x3fff && b < 0x1000;
    a & 0xe000 == 0x2000 && !special
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_not_of_the_internet_is_known() {
        let private = "127.0.0.1 127.9.9.9 0.0.0.0 10.1.2.3 172.16.0.1 172.31.255.255 192.168.1.1 169.254.169.254 \
            100.64.0.1 100.127.0.1 192.0.0.1 198.18.0.1 198.19.255.255 224.0.0.1 255.255.255.255 240.0.0.1 ::1 :: fe80::1 \
            fc00::1 fd12:3456::1 fec0::1 ff02::1 ::ffff:127.0.0.1 ::ffff:10.0.0.1 64:ff9b::7f00:1 64:ff9b::a9fe:a9fe \
            64:ff9b:1::1 2002:7f00:1:: 2002:a00:1:: 2001::1 2001:db8::1 100::1 ::127.0.0.1 4000::1";
        for address in private.split_whitespace() {
            assert!(!is_public(address.parse().unwrap()), "{address}");
        }
        let public = "8.8.8.8 1.1.1.1 100.63.0.1 100.128.0.1 172.15.0.1 172.32.0.1 192.167.1.1 169.253.1.1 11.0.0.1 \
            2606:4700::1111 2a00:1450::1 64:ff9b::808:808 2002:808:808::1 ::ffff:8.8.8.8";
        for address in public.split_whitespace() {
            assert!(is_public(address.parse().unwrap()), "{address}");
        }
    }

    #[test]
    fn link_local_and_metadata_addresses_are_denied_by_default() {
        let policy = AddressPolicy::default();
        let denied = "169.254.169.254 169.254.0.1 fe80::1 ::ffff:169.254.169.254 64:ff9b::a9fe:a9fe 64:ff9b:1::a9fe:a9fe \
            2002:a9fe:a9fe:: ::169.254.169.254 100.100.100.200 168.63.129.16 fd00:ec2::254";
        for address in denied.split_whitespace() {
            assert!(
                policy.check("h", address.parse().unwrap()).is_err(),
                "{address}"
            );
        }
        for address in
            "127.0.0.1 ::1 10.0.0.1 192.168.1.1 8.8.8.8 2606:4700::1111".split_whitespace()
        {
            assert!(
                policy.check("h", address.parse().unwrap()).is_ok(),
                "{address}"
            );
        }
    }

    #[test]
    fn allow_is_stronger_than_deny() {
        let ranges = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.parse().unwrap())
                .collect::<Vec<AddressRange>>()
        };
        let policy = AddressPolicy {
            allow: ranges(&["10.1.0.0/16", "169.254.169.254"]),
            deny: ranges(&["private"]),
        };
        let check = |address: &str| policy.check("h", address.parse().unwrap()).is_ok();
        assert!(check("10.1.2.3") && check("169.254.169.254") && check("8.8.8.8"));
        assert!(!check("10.2.0.1") && !check("127.0.0.1") && !check("169.254.169.253"));
        assert!("intranet".parse::<AddressRange>().is_err());
    }

    #[tokio::test]
    async fn however_an_address_is_written_it_is_checked() {
        let policy = AddressPolicy::default().public_only();
        for host in [
            "127.0.0.1",
            "localhost",
            "[::1]",
            "0.0.0.0",
            "10.0.0.1",
            "169.254.169.254",
            "2130706433",
            "0x7f.1",
        ] {
            let error = policy.resolve(host, 80).await.unwrap_err().to_string();
            assert!(
                error.contains("is denied") || error.contains("cannot find"),
                "{host}: {error}"
            );
        }
        let all = AddressPolicy::default();
        assert_eq!(
            all.resolve("127.0.0.1", 80).await.unwrap(),
            ["127.0.0.1:80".parse().unwrap()]
        );
        assert!(!all.resolve("localhost", 80).await.unwrap().is_empty());
    }
}
