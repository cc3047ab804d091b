//! `surefoot doctor --redis`: what a BullMQ installation really guarantees, in the same words as
//! for Surefoot.
//!
//! It only reads, and no script runs on the server. The layout of the keys is that of BullMQ 5
//! (checked against 5.81.5).

mod durability;
mod facts;
mod keys;
mod loss;
mod queue;
mod server;
mod verdict;

use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, IntoConnectionInfo as _, RedisError};
use surefoot::Secret;
use surefoot_doctor::Finding;

use crate::args::Doctor;
use crate::errors::Failure;
use server::Server;

/// Time limit for an answer of the server.
const PATIENCE: Duration = Duration::from_secs(5);

/// Findings about a server, with its address without a password.
pub(super) async fn examine(url: &str, args: &Doctor) -> Result<(String, Vec<Finding>), Failure> {
    let client = client(url, args.redis_password.as_ref().map(Secret::expose))
        .map_err(|error| wrong_url(&error))?;
    let address = format!("redis {}", client.get_connection_info().addr());
    let away = |error: RedisError| unreachable(&address, &error);
    let mut connection = connect(&client).await.map_err(away)?;
    let server = Server::read(&mut connection).await.map_err(away)?;
    let mut findings = durability::judge(&server);
    let names = match args.queue.as_slice() {
        [] => keys::queues(&mut connection, &args.prefix)
            .await
            .map_err(away)?,
        named => named.to_vec(),
    };
    let mut unfinished = loss::Unfinished::default();
    for name in &names {
        let facts = queue::read(&mut connection, &args.prefix, name, server.last_save)
            .await
            .map_err(away)?;
        unfinished.add(&facts);
        findings.extend(verdict::judge(&facts));
    }
    if names.is_empty() {
        findings.push(verdict::no_queue(&args.prefix));
    }
    findings.extend(loss::judge(&server, &unfinished));
    Ok((address, findings))
}

/// A password in the address goes before one from the environment.
fn client(url: &str, password: Option<&str>) -> Result<Client, RedisError> {
    let info = url.into_connection_info()?;
    let settings = info.redis_settings().clone();
    match password {
        Some(password) if settings.password().is_none() => {
            Client::open(info.set_redis_settings(settings.set_password(password)))
        }
        _ => Client::open(info),
    }
}

async fn connect(client: &Client) -> Result<MultiplexedConnection, RedisError> {
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(PATIENCE))
        .set_response_timeout(Some(PATIENCE));
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
}

/// The client's own words may repeat the address, and with it the password.
fn wrong_url(error: &RedisError) -> Failure {
    Failure::usage(format!("that is no address of a Redis: {}", error.category()))
        .hint("write it as redis://HOST:PORT/DB, redis://:PASSWORD@HOST, rediss:// for TLS, or unix:///PATH")
}

fn unreachable(address: &str, error: &RedisError) -> Failure {
    let reason = match error.detail() {
        _ if error.is_io_error() => error.to_string(),
        Some(detail) => format!("{}: {detail}", error.category()),
        None => error.category().to_owned(),
    };
    Failure::store(format!("cannot look at {address}: {reason}"))
        .hint("see that it runs, and that this host and this user may read it")
}
