//! How often whoever has not signed in may make work for us: wrong tokens, and the way to the provider and back.
//!
//! In memory, per server. A token is 256 random bits, so this is not what keeps guessers out, and it shuts out nobody who has
//! the right one: that is looked up first, and costs nothing here. What an address has spent comes back evenly, so the way to
//! the provider is open again as soon as a flood ends. Waits that double at each failure outlast it: behind a proxy all have one
//! address.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often one may try to sign in.
#[derive(Clone, Debug)]
pub struct SignInLimits {
    /// Tries of one address in a minute.
    pub per_address: u32,
    /// Tries in a minute, over all addresses: far more, lest one address spend it all.
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

/// Addresses that are remembered at once; past it those that have spent least are forgotten.
const REMEMBERED: usize = 10_000;

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

/// What of a limit is spent. It comes back evenly: all of it within a minute.
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

    /// How long until there is one more; nothing when there is one now.
    fn wait(self, limit: u32) -> Duration {
        let over = self.tries + 1.0 - f64::from(limit.max(1));
        // A share of a try that is lost in rounding keeps nobody waiting.
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

    /// Spends a try of `address`. `Err` says how long to wait; what costs must not be done then.
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

    /// Somebody showed who they are: what that took is given back.
    pub(crate) fn give_back(&self, address: IpAddr, tries: u32) {
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
        if self.each.len() < REMEMBERED {
            return;
        }
        self.each
            .retain(|_, spent| spent.by(now, limits.per_address).tries > 0.0);
        let left = |spent: &Spent| spent.by(now, limits.per_address).tries;
        if self.each.len() >= REMEMBERED
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

/// Whoever has one address of IPv6 has 2^64 of them.
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
        // However often it tries meanwhile, the wait does not grow.
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
    async fn what_a_sign_in_took_is_given_back() {
        let throttle = throttle();
        for _ in 0..100 {
            assert_eq!(throttle.spend(address(1)), Ok(()));
            assert_eq!(throttle.spend(address(1)), Ok(()));
            throttle.give_back(address(1), 2);
        }
        throttle.give_back(address(1), 1000);
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
    async fn it_does_not_remember_without_end() {
        let throttle = Throttle::new(SignInLimits {
            per_minute: u32::MAX,
            ..SignInLimits::default()
        });
        for number in 0..11_000_u32 {
            throttle
                .spend(std::net::Ipv4Addr::from(number).into())
                .unwrap();
        }
        assert_eq!(throttle.counts.lock().unwrap().each.len(), REMEMBERED);
    }
}
