//! Starts the service on `PORT`, ${{ values.port }} unless it is set.

use std::net::TcpListener;

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let port: u16 = std::env::var("PORT").map_or(Ok(${{ values.port }}), |port| port.parse())?;
    let listener = TcpListener::bind(("0.0.0.0", port))?;
    println!("{} listens on {}", app::NAME, listener.local_addr()?);
    app::serve(&listener)?;
    Ok(())
}
