//! `cargo run -p transactional-submit -- postgres://user@host/database 42 boots`: places an order
//! and prints its run.

use anyhow::Context as _;
use tokio::task::JoinSet;
use tokio_postgres::NoTls;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let mut args = std::env::args().skip(1);
    let mut next = |what: &'static str| args.next().context(what);
    let url = next("which database?")?;
    let order = next("which order?")?.parse()?;
    let item = next("which item?")?;
    let (mut client, connection) = tokio_postgres::connect(&url, NoTls).await?;
    let mut session = JoinSet::new();
    session.spawn(connection);
    let run = transactional_submit::place_order(&mut client, order, &item).await?;
    println!("{run}");
    Ok(())
}
