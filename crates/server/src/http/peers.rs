//! Limits the connections of each peer, so that one peer cannot use up the server's limit.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::{Network, network_of};

/// Counts the connections of each peer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    limit: usize,
    /// Networks without a limit: proxies, which connect for many clients, and this machine, where a
    /// proxy may run.
    unlimited: Vec<Network>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// The permit of one connection; dropping it releases the connection.
#[derive(Debug)]
pub(crate) struct ConnectionPermit(Option<(Peers, IpAddr)>);

impl Peers {
    pub(crate) fn new(limit: usize, unlimited: Vec<Network>) -> Self {
        Self(Arc::new(Inner {
            limit,
            unlimited,
            counts: Mutex::default(),
        }))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A permit for one more connection of `peer`; `None` when it is at its limit.
    pub(crate) fn permit(&self, peer: IpAddr) -> Option<ConnectionPermit> {
        let peer = peer.to_canonical();
        if self.0.unlimited.iter().any(|network| network.holds(peer)) {
            return Some(ConnectionPermit(None));
        }
        let peer = network_of(peer);
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= self.0.limit {
            return None;
        }
        *count += 1;
        Some(ConnectionPermit(Some((self.clone(), peer))))
    }
}

impl Drop for ConnectionPermit {
    fn drop(&mut self) {
        let Some((peers, peer)) = self.0.take() else {
            return;
        };
        let mut counts = peers.counts();
        if let Some(count) = counts.get_mut(&peer) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&peer);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_peer_at_its_limit_may_connect_again_after_closing_a_connection() {
        let peers = Peers::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let of = |text: &str| peers.permit(text.parse().unwrap());
        let first = of("203.0.113.1").unwrap();
        let second = of("::ffff:203.0.113.1").unwrap();
        assert!(of("203.0.113.1").is_none());
        assert!(of("203.0.113.2").is_some(), "another peer has its own");
        drop(first);
        assert!(of("203.0.113.1").is_some());
        drop(second);
        assert!(
            peers.counts().is_empty(),
            "peers without connections are forgotten"
        );
        let proxied: Vec<_> = (0..9).map(|_| of("10.1.2.3")).collect();
        assert!(proxied.iter().all(Option::is_some), "a proxy has no limit");
    }
}
