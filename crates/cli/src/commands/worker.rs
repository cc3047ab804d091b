//! `surefoot worker`: run what waits in the store until told to stop.

use crate::app::App;
use crate::args::Worker;
use crate::errors::{Exit, Failure};
use crate::host::{Host, named};
use crate::out;
use crate::signals::Signals;

/// Works until a signal. Being told to stop is what this command is for: the exit status is then 0.
pub(crate) async fn worker(app: &App, args: &Worker) -> Result<Exit, Failure> {
    let mut app = app.clone();
    app.settings.work(args.concurrency, args.grace)?;
    let mut signals = Signals::install()?;
    let mut host = Host::new(&app, app.store().await?);
    let left = host.others(None).await?;
    if !host.join().await? {
        return Err(Failure::store("another worker process lives on this store")
            .hint("one worker at a time: it runs what `surefoot submit` hands to the store"));
    }
    let carries = if left.is_empty() {
        String::new()
    } else {
        format!("; carrying on {}", named(&left))
    };
    out::say(&format!(
        "worker {} on {}{carries}",
        std::process::id(),
        app.settings.store
    ));
    host.until_told(&mut signals).await;
    out::say(&format!(
        "shutting down: running steps get {} (press Ctrl-C again to stop now)",
        host.grace()
    ));
    host.stop(&mut signals).await;
    Ok(Exit::Done)
}
