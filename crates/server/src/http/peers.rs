//! How many connections one peer may hold, so that it does not take the places of all others.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::auth::{Network, network_of};

/// Counts the connections of each peer. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Peers(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    most: usize,
    /// Those who speak for many: proxies, and this machine, where one may stand.
    free: Vec<Network>,
    counts: Mutex<HashMap<IpAddr, usize>>,
}

/// One connection, for as long as it is held.
#[derive(Debug)]
pub(crate) struct Place(Option<(Peers, IpAddr)>);

impl Peers {
    pub(crate) fn new(most: usize, free: Vec<Network>) -> Self {
        Self(Arc::new(Inner {
            most,
            free,
            counts: Mutex::default(),
        }))
    }

    fn counts(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A place for one more connection of this peer; `None` when it has as many as it may.
    pub(crate) fn place(&self, peer: IpAddr) -> Option<Place> {
        let peer = peer.to_canonical();
        if self.0.free.iter().any(|network| network.holds(peer)) {
            return Some(Place(None));
        }
        let peer = network_of(peer);
        let mut counts = self.counts();
        let count = counts.entry(peer).or_default();
        if *count >= self.0.most {
            return None;
        }
        *count += 1;
        Some(Place(Some((self.clone(), peer))))
    }
}

impl Drop for Place {
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
    fn a_peer_that_has_all_its_places_gets_one_when_it_gives_one_back() {
        let peers = Peers::new(2, vec!["10.0.0.0/8".parse().unwrap()]);
        let of = |text: &str| peers.place(text.parse().unwrap());
        let (first, second) = (
            of("203.0.113.1").unwrap(),
            of("::ffff:203.0.113.1").unwrap(),
        );
        assert!(of("203.0.113.1").is_none());
        assert!(of("203.0.113.2").is_some(), "another peer has its own");
        drop(first);
        assert!(of("203.0.113.1").is_some());
        drop(second);
        assert!(
            peers.counts().is_empty(),
            "nobody is remembered who holds nothing"
        );
        let proxied: Vec<_> = (0..9).map(|_| of("10.1.2.3")).collect();
        assert!(
            proxied.iter().all(Option::is_some),
            "a proxy speaks for many"
        );
    }
}
