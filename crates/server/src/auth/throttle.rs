//! How often one may try to sign in: per address, with a wait that doubles at each failure, and over all addresses.
//!
//! In memory, per server: tokens are 256 random bits, so this is not what keeps guessers out. It keeps them from making work.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// How often one may try to sign in.
#[derive(Clone, Debug)]
pub struct SignInLimits {
    /// Failures of an address before it has to wait.
    pub free: u32,
    /// The first wait; each further failure doubles it.
    pub wait: Duration,
    /// The longest wait, and how long failures are remembered.
    pub longest: Duration,
    /// Attempts in a minute, over all addresses.
    pub per_minute: u32,
}

impl Default for SignInLimits {
    fn default() -> Self {
        Self { free: 5, wait: Duration::from_secs(1), longest: Duration::from_secs(900), per_minute: 120 }
    }
}

/// Addresses that are remembered at once; past it those that failed longest ago are forgotten.
const REMEMBERED: usize = 10_000;

const MINUTE: Duration = Duration::from_secs(60);

/// Counts attempts.
#[derive(Debug)]
pub(crate) struct Throttle {
    limits: SignInLimits,
    counts: Mutex<Counts>,
}

#[derive(Debug, Default)]
struct Counts {
    failures: HashMap<IpAddr, Failures>,
    minute: Option<(Instant, u32)>,
}

#[derive(Clone, Copy, Debug)]
struct Failures {
    count: u32,
    last: Instant,
}

impl Throttle {
    pub(crate) fn new(limits: SignInLimits) -> Self {
        Self { limits, counts: Mutex::default() }
    }

    /// Counts an attempt from `address`. It counts as failed until [`Self::succeeded`] says otherwise, so that many at once
    /// count one by one. `Err` says how long to wait; the attempt must not be made then.
    pub(crate) fn attempt(&self, address: IpAddr) -> Result<(), Duration> {
        let now = Instant::now();
        let address = network(address);
        let mut counts = self.counts.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(known) = counts.failures.get(&address).copied() {
            let wait = self.wait(known.count).saturating_sub(now.duration_since(known.last));
            if !wait.is_zero() {
                return Err(wait);
            }
        }
        self.count_all(&mut counts, now)?;
        counts.forget(now, self.limits.longest);
        let known = counts.failures.entry(address).or_insert(Failures { count: 0, last: now });
        *known = Failures { count: known.count.saturating_add(1), last: now };
        Ok(())
    }

    /// The attempt succeeded: the address begins anew.
    pub(crate) fn succeeded(&self, address: IpAddr) {
        self.counts.lock().unwrap_or_else(PoisonError::into_inner).failures.remove(&network(address));
    }

    fn wait(&self, failures: u32) -> Duration {
        match failures.checked_sub(self.limits.free) {
            None => Duration::ZERO,
            Some(more) => self.limits.wait.saturating_mul(2_u32.saturating_pow(more)).min(self.limits.longest),
        }
    }

    fn count_all(&self, counts: &mut Counts, now: Instant) -> Result<(), Duration> {
        let (began, count) = counts.minute.filter(|(began, _)| now.duration_since(*began) < MINUTE).unwrap_or((now, 0));
        if count >= self.limits.per_minute {
            return Err(MINUTE.saturating_sub(now.duration_since(began)));
        }
        counts.minute = Some((began, count + 1));
        Ok(())
    }
}

impl Counts {
    fn forget(&mut self, now: Instant, after: Duration) {
        if self.failures.len() < REMEMBERED {
            return;
        }
        self.failures.retain(|_, known| now.duration_since(known.last) < after);
        if self.failures.len() >= REMEMBERED
            && let Some(oldest) = self.failures.iter().min_by_key(|(_, known)| known.last).map(|(address, _)| *address)
        {
            self.failures.remove(&oldest);
        }
    }
}

/// Whoever has one address of IPv6 has 2^64 of them.
fn network(address: IpAddr) -> IpAddr {
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

    fn throttle() -> Throttle {
        Throttle::new(SignInLimits {
            free: 3,
            per_minute: 20,
            longest: Duration::from_secs(8),
            ..SignInLimits::default()
        })
    }

    fn address(last: u8) -> IpAddr {
        [192, 0, 2, last].into()
    }

    #[tokio::test(start_paused = true)]
    async fn an_address_that_fails_waits_twice_as_long_each_time() {
        let throttle = throttle();
        for _ in 0..3 {
            assert_eq!(throttle.attempt(address(1)), Ok(()));
        }
        for wait in [1, 2, 4, 8, 8] {
            let wait = Duration::from_secs(wait);
            assert_eq!(throttle.attempt(address(1)), Err(wait));
            assert_eq!(throttle.attempt(address(2)), Ok(()), "another address need not wait");
            throttle.succeeded(address(2));
            tokio::time::advance(wait).await;
            assert_eq!(throttle.attempt(address(1)), Ok(()));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_signs_in_begins_anew() {
        let throttle = throttle();
        for _ in 0..9 {
            assert_eq!(throttle.attempt(address(1)), Ok(()));
            throttle.succeeded(address(1));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn many_addresses_together_wait_for_the_next_minute() {
        let throttle = throttle();
        for last in 0..20 {
            assert_eq!(throttle.attempt(address(last)), Ok(()));
        }
        tokio::time::advance(Duration::from_secs(20)).await;
        assert_eq!(throttle.attempt(address(99)), Err(Duration::from_secs(40)));
        tokio::time::advance(Duration::from_secs(40)).await;
        assert_eq!(throttle.attempt(address(99)), Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn the_addresses_of_one_network_count_together() {
        let throttle = throttle();
        let of = |text: &str| throttle.attempt(text.parse().unwrap());
        assert!(of("2001:db8::1").is_ok() && of("2001:db8::2").is_ok() && of("2001:db8::3:4").is_ok());
        assert!(of("2001:db8::5").is_err());
        assert!(of("2001:db8:0:1::5").is_ok());
        assert!(of("::ffff:192.0.2.7").is_ok(), "an IPv4 address in disguise is one");
    }

    #[tokio::test(start_paused = true)]
    async fn it_does_not_remember_without_end() {
        let limits = SignInLimits { per_minute: u32::MAX, ..SignInLimits::default() };
        let throttle = Throttle::new(limits);
        for number in 0..11_000_u32 {
            throttle.attempt(std::net::Ipv4Addr::from(number).into()).unwrap();
        }
        assert_eq!(throttle.counts.lock().unwrap().failures.len(), REMEMBERED);
    }
}
