//! The HTTP client: it follows no redirect by itself, and connects to no address that the policy
//! denies.

use std::net::IpAddr;
use std::time::Duration;

use reqwest::dns::{Addrs, Name, Resolve, Resolving};
use reqwest::{Client, Url, redirect};
use surefoot::{AddressError, AddressPolicy, BoxError, StepError};

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);

pub(super) fn client(addresses: &AddressPolicy) -> Result<Client, StepError> {
    // An error means that the program has chosen a provider already, which serves as well.
    let _ = rustls::crypto::ring::default_provider().install_default();
    Client::builder()
        .user_agent(concat!("surefoot/", env!("CARGO_PKG_VERSION")))
        .connect_timeout(CONNECT_TIMEOUT)
        .redirect(redirect::Policy::none())
        .dns_resolver(CheckedResolver(addresses.clone()))
        .build()
        .map_err(|error| StepError::from(format!("cannot make an HTTP client: {error}")))
}

/// Returns only addresses that were checked.
struct CheckedResolver(AddressPolicy);

impl Resolve for CheckedResolver {
    fn resolve(&self, name: Name) -> Resolving {
        let policy = self.0.clone();
        Box::pin(async move {
            let found = policy
                .resolve(name.as_str(), 0)
                .await
                .map_err(BoxError::from)?;
            Ok(Box::new(found.into_iter()) as Addrs)
        })
    }
}

/// Checks the host of a URL that is an address literal: the client does not resolve it.
pub(super) fn check_literal(addresses: &AddressPolicy, url: &Url) -> Result<(), StepError> {
    let host = host(url);
    match host.parse::<IpAddr>() {
        Ok(address) => addresses.check(&host, address).map_err(StepError::fatal),
        Err(_) => Ok(()),
    }
}

/// Host of a URL, an IPv6 address without its brackets.
pub(super) fn host(url: &Url) -> String {
    url.host_str()
        .unwrap_or_default()
        .trim_start_matches('[')
        .trim_end_matches(']')
        .to_owned()
}

/// Returns whether a request was not sent because of the policy.
pub(super) fn is_denied(error: &reqwest::Error) -> bool {
    let mut source = std::error::Error::source(error);
    while let Some(error) = source {
        if matches!(error.downcast_ref(), Some(AddressError::Denied { .. })) {
            return true;
        }
        source = error.source();
    }
    false
}
