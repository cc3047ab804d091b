//! Where a notification may go. A name is resolved once, every address that it has is judged, and the connection is made to
//! those very addresses: a name that points elsewhere a moment later gains nothing.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use surefoot::BoxError;

/// The addresses of a host.
///
/// # Errors
/// When it has none, or one that is not public although that is not allowed.
pub(super) async fn resolve(host: &str, port: u16, allow_private: bool) -> Result<Vec<SocketAddr>, BoxError> {
    let host = host.trim_start_matches('[').trim_end_matches(']');
    let found = tokio::net::lookup_host((host, port)).await.map_err(|error| format!("cannot find {host}: {error}"))?;
    let found: Vec<SocketAddr> = found.collect();
    if found.is_empty() {
        return Err(format!("cannot find {host}: it has no address").into());
    }
    match found.iter().find(|address| !allow_private && !is_public(address.ip())) {
        None => Ok(found),
        Some(address) => Err(format!(
            "{host} is at {}, which is not a public address: set allow_private = true for this notifier if it is meant",
            address.ip()
        )
        .into()),
    }
}

/// Whether an address is of the internet at large: not of this machine, its networks or its cloud.
pub(super) fn is_public(address: IpAddr) -> bool {
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

/// Only what is given out for the internet (2000::/3), and of that not what leads elsewhere. An address that carries one of
/// IPv4 is worth what that one is.
fn is_public_six(address: Ipv6Addr) -> bool {
    let [a, b, c, ..] = address.segments();
    let [.., w, x, y, z] = address.octets();
    if (a, b) == (0x64, 0xff9b) {
        return c == 0 && is_public_four(Ipv4Addr::new(w, x, y, z));
    }
    if a == 0x2002 {
        let ([w, x], [y, z]) = (b.to_be_bytes(), c.to_be_bytes());
        return is_public_four(Ipv4Addr::new(w, x, y, z));
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

    #[tokio::test]
    async fn a_private_address_must_be_allowed() {
        for host in
            ["127.0.0.1", "localhost", "[::1]", "0.0.0.0", "10.0.0.1", "169.254.169.254", "2130706433", "0x7f.1"]
        {
            let error = resolve(host, 80, false).await.unwrap_err().to_string();
            assert!(error.contains("allow_private") || error.contains("cannot find"), "{host}: {error}");
        }
        assert_eq!(resolve("127.0.0.1", 80, true).await.unwrap(), ["127.0.0.1:80".parse().unwrap()]);
        assert!(!resolve("localhost", 80, true).await.unwrap().is_empty());
    }
}
