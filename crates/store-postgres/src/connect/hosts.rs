//! A URL with several hosts, taken apart into one configuration for each host.
//!
//! `tokio-postgres` tries hosts in turn by itself, but its connect timeout covers the TCP handshake
//! only: a host that accepts and never answers would keep the others from being tried.

use tokio_postgres::Config;
use tokio_postgres::config::{Host, LoadBalanceHosts, TargetSessionAttrs};
use uuid::Uuid;

/// Returns a configuration for each host, in the order of trying.
pub(super) fn of_each(config: &Config) -> Vec<Config> {
    let hosts = config.get_hosts();
    let addresses = config.get_hostaddrs();
    let ports = config.get_ports();
    let count = hosts.len().max(addresses.len());
    let fits = [hosts.len(), addresses.len()]
        .iter()
        .all(|given| *given == 0 || *given == count)
        && (ports.len() <= 1 || ports.len() == count);
    // An inconsistent configuration stays as it is: the error comes from connecting.
    if count <= 1 || !fits {
        return vec![config.clone()];
    }
    let mut each = Vec::with_capacity(count);
    for index in 0..count {
        let mut one = without_hosts(config);
        match hosts.get(index) {
            Some(Host::Tcp(name)) => {
                one.host(name);
            }
            Some(Host::Unix(path)) => {
                one.host_path(path);
            }
            None => {}
        }
        if let Some(address) = addresses.get(index) {
            one.hostaddr(*address);
        }
        if let Some(port) = ports.get(index).or(ports.first()) {
            one.port(*port);
        }
        each.push(one);
    }
    if config.get_load_balance_hosts() == LoadBalanceHosts::Random {
        each.sort_by_cached_key(|_| Uuid::new_v4());
    }
    each
}

/// Returns a copy without hosts and ports. Of several hosts the store needs the one that accepts
/// writes.
fn without_hosts(config: &Config) -> Config {
    let mut copy = Config::new();
    if let Some(user) = config.get_user() {
        copy.user(user);
    }
    if let Some(password) = config.get_password() {
        copy.password(password);
    }
    if let Some(name) = config.get_dbname() {
        copy.dbname(name);
    }
    if let Some(options) = config.get_options() {
        copy.options(options);
    }
    if let Some(name) = config.get_application_name() {
        copy.application_name(name);
    }
    if let Some(timeout) = config.get_connect_timeout() {
        copy.connect_timeout(*timeout);
    }
    if let Some(timeout) = config.get_tcp_user_timeout() {
        copy.tcp_user_timeout(*timeout);
    }
    if let Some(interval) = config.get_keepalives_interval() {
        copy.keepalives_interval(interval);
    }
    if let Some(retries) = config.get_keepalives_retries() {
        copy.keepalives_retries(retries);
    }
    copy.keepalives(config.get_keepalives());
    copy.keepalives_idle(config.get_keepalives_idle());
    copy.ssl_mode(config.get_ssl_mode());
    copy.ssl_negotiation(config.get_ssl_negotiation());
    copy.channel_binding(config.get_channel_binding());
    copy.target_session_attrs(match config.get_target_session_attrs() {
        TargetSessionAttrs::Any => TargetSessionAttrs::ReadWrite,
        wanted => wanted,
    });
    copy
}

#[cfg(test)]
mod tests {
    use super::*;

    fn each(url: &str) -> Vec<Config> {
        of_each(&url.parse().unwrap())
    }

    #[test]
    fn each_host_has_its_port_and_everything_else() {
        let url = "postgres://ann:secret@a:1,b:2/shop?application_name=me&connect_timeout=3";
        let each = each(url);
        assert_eq!(each.len(), 2);
        for (one, (name, port)) in each.iter().zip([("a", 1), ("b", 2)]) {
            let whole = format!(
                "postgres://ann:secret@{name}:{port}/shop\
                 ?application_name=me&connect_timeout=3&target_session_attrs=read-write"
            );
            assert_eq!(*one, whole.parse().unwrap(), "{name}");
        }
    }

    #[test]
    fn one_host_is_left_as_it_is() {
        let url = "postgres://ann@a:1/shop";
        assert_eq!(each(url), [url.parse().unwrap()]);
    }

    #[test]
    fn ports_that_do_not_fit_are_left_to_the_error() {
        let url = "postgres://ann@/shop?host=a,b,c&port=1,2";
        assert_eq!(each(url), [url.parse().unwrap()]);
    }
}
