//! Rate limit of requests that make work before the caller is authenticated: wrong tokens, and
//! round trips to the identity provider.
//!
//! Kept in memory, per server. A token has 256 random bits, so this is no defence against guessing.
//! It also locks no one out who has a valid token: tokens are looked up first, and valid ones cost
//! nothing here. Tries come back evenly, so sign-in at the provider works again as soon as a flood
//! ends. Exponential delays would outlast the flood, and behind a proxy all clients can share one
//! address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// Rate limits of sign-in attempts.
#[derive(Clone, Debug)]
pub struct SignInLimits {
    /// Tries per minute and address.
    pub per_address: u32,
    /// Tries per minute over all addresses. Much larger, so that one address cannot spend it all.
    pub per_minute: u32,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self {
            per_address: 60,
            per_minute: 600,
        }
    }
}

/// Number of addresses remembered. Beyond it, the address that has spent least is forgotten.
const MAX_ADDRESSES: usize = 10_000;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts tries.
#[derive(Debug)]
pub(crate) struct Throttle {
    limits: SignInLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    each: HashMap<IpAddr, Spent>,
    all: Option<Spent>,
}

/// The spent part of a limit. It comes back evenly, all of it within a minute.
#[derive(Clone, Copy, Debug)]
struct Spent {
    tries: f64,
    at: Instant,
}

impl Spent {
    fn none(now: Instant) -> Self {
        Self {
            tries: 0.0,
            at: now,
        }
    }

    fn by(self, now: Instant, limit: u32) -> Self {
        let back =
            now.duration_since(self.at).as_secs_f64() * f64::from(limit) / MINUTE.as_secs_f64();
        Self {
            tries: (self.tries - back).max(0.0),
            at: now,
        }
    }

    /// The wait until the next try; zero if one is available.
    fn wait(self, limit: u32) -> Duration {
        let over = self.tries + 1.0 - f64::from(limit.max(1));
        // A rounding error must not cause a wait.
        if over < 1e-6 {
            Duration::ZERO
        } else {
            MINUTE.mul_f64(over / f64::from(limit.max(1)))
        }
    }

    fn and(self, tries: f64) -> Self {
        Self {
            tries: (self.tries + tries).max(0.0),
            ..self
        }
    }
}

impl Throttle {
    pub(crate) fn new(limits: SignInLimits) -> Self {
        Self {
            limits,
            counts: Mutex::default(),
        }
    }

    /// Spends a try of `address`. On `Err`, the caller must refuse the request; the value is the
    /// wait until the next try.
    pub(crate) fn spend(&self, address: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, all) = counts.spent(address, now, &self.limits);
        let wait = own
            .wait(self.limits.per_address)
            .max(all.wait(self.limits.per_minute));
        if !wait.is_zero() {
            return Err(wait);
        }
        counts.forget(now, &self.limits);
        counts.each.insert(address, own.and(1.0));
        counts.all = Some(all.and(1.0));
        Ok(())
    }

    /// Returns the tries of a successful sign-in.
    pub(crate) fn refund(&self, address: IpAddr, tries: u32) {
        let now = Instant::now();
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        let (own, all) = counts.spent(address, now, &self.limits);
        counts.all = Some(all.and(-f64::from(tries)));
        if let Some(known) = counts.each.get_mut(&address) {
            *known = own.and(-f64::from(tries));
        }
    }
}

impl Counts {
    fn spent(&self, address: IpAddr, now: Instant, limits: &SignInLimits) -> (Spent, Spent) {
        let own = self
            .each
            .get(&address)
            .map_or(Spent::none(now), |spent| spent.by(now, limits.per_address));
        let all = self
            .all
            .map_or(Spent::none(now), |spent| spent.by(now, limits.per_minute));
        (own, all)
    }

    fn forget(&mut self, now: Instant, limits: &SignInLimits) {
        if self.each.len() < MAX_ADDRESSES {
            return;
        }
        self.each
            .retain(|_, spent| spent.by(now, limits.per_address).tries > 0.0);
        let left = |spent: &Spent| spent.by(now, limits.per_address).tries;
        if self.each.len() >= MAX_ADDRESSES
            && let Some(least) = self
                .each
                .iter()
                .min_by(|a, b| left(a.1).total_cmp(&left(b.1)))
                .map(|(least, _)| *least)
        {
            self.each.remove(&least);
        }
    }
}

/// The network that an address is counted under. For IPv6 that is the /64, since each client has
/// 2^64 addresses.
pub(crate) fn network(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(six) => {
            let [a, b, c, d, ..] = six.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
        four @ IpAddr::V4(_) => four,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn throttle() -> Throttle {
        Throttle::new(SignInLimits {
            per_address: 6,
            per_minute: 20,
        })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_has_spent_its_tries_gets_them_back_evenly() {
        let throttle = throttle();
        for _ in 0..6 {
            assert_eq!(throttle.spend(address(1)), Ok(()));
        }
        // The wait does not grow, however often the address tries.
        for _ in 0..50 {
            assert_eq!(throttle.spend(address(1)), Err(10 * SECOND));
        }
        assert_eq!(
            throttle.spend(address(2)),
            Ok(()),
            "another address need not wait"
        );
        tokio::time::advance(10 * SECOND).await;
        assert_eq!(throttle.spend(address(1)), Ok(()));
        assert!(throttle.spend(address(1)).is_err(), "one came back");
        tokio::time::advance(MINUTE).await;
        for _ in 0..6 {
            assert_eq!(throttle.spend(address(1)), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn tries_of_a_successful_sign_in_are_refunded() {
        let throttle = throttle();
        for _ in 0..100 {
            assert_eq!(throttle.spend(address(1)), Ok(()));
            assert_eq!(throttle.spend(address(1)), Ok(()));
            throttle.refund(address(1), 2);
        }
        throttle.refund(address(1), 1000);
        for _ in 0..6 {
            assert_eq!(throttle.spend(address(1)), Ok(()));
        }
        assert!(
            throttle.spend(address(1)).is_err(),
            "no more than there was"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_have_a_limit_too() {
        let throttle = throttle();
        for last in 0..20 {
            assert_eq!(throttle.spend(address(last)), Ok(()));
        }
        assert_eq!(throttle.spend(address(99)), Err(3 * SECOND));
        tokio::time::advance(3 * SECOND).await;
        assert_eq!(throttle.spend(address(99)), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_one_network_count_together() {
        let throttle = throttle();
        let of = |text: &str| throttle.spend(text.parse().unwrap());
        for last in 1..=6 {
            assert!(of(&format!("2001:db8::{last}:4")).is_ok());
        }
        assert!(of("2001:db8::5").is_err());
        assert!(of("2001:db8:0:1::5").is_ok());
        for _ in 0..6 {
            assert!(of("192.0.2.7").is_ok());
        }
        assert!(
            of("::ffff:192.0.2.7").is_err(),
            "an IPv4 address in disguise is one"
        );
    }

    #[tokio::test(start_paused = true)]
    async fn the_number_of_remembered_addresses_is_limited() {
        let throttle = Throttle::new(SignInLimits {
            per_minute: u32::MAX,
            ..SignInLimits::default()
        });
        for number in 0..11_000_u32 {
            throttle
                .spend(std::net::Ipv4Addr::from(number).into())
                .unwrap();
        }
        assert_eq!(throttle.counts.lock().unwrap().each.len(), MAX_ADDRESSES);
    }
}
