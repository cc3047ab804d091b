//! `surefoot serve`: worker, API and dashboard in one process.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;

use surefoot::{Run, Store};
use surefoot_server::{ServeError, alerts, auth};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::args::Serve;
use crate::config::OidcTable;
use crate::errors::{Exit, Failure};
use crate::host::{Host, named};
use crate::signals::Signals;
use crate::{out, serving};

/// Serves until a signal. Being told to stop is what this command is for: the exit status is then
/// 0.
pub(crate) async fn serve(app: &App, args: &Serve) -> Result<Exit, Failure> {
    let app = settled(app, args)?;
    let mut signals = Signals::install()?;
    let options = serving::options(&app)?;
    let listener = listen(&app, app.settings.server.listen()).await?;
    let store = app.store().await?;
    let address = listener
        .local_addr()
        .map_err(|error| Failure::usage(format!("cannot listen: {error}")))?;
    // Checked before anything starts: a server without sign-in must not be reachable from
    // elsewhere.
    let checked = auth::check(
        store.clone(),
        &options.auth,
        address,
        options.public_url.as_deref(),
    )
    .await;
    checked.map_err(|error| refused(error.into()))?;
    let notifiers = &options.alerts.notifiers;
    let notifying = alerts::handlers(notifiers, Some(serving::run_command()), Some(store.clone()));
    let mut host = Host::new(&app, store).knowing(
        alerts::WORKFLOW,
        notifying,
        alerts::reserved_slots(notifiers),
    );
    let left = host.others(None).await?;
    if !host.join().await? {
        return Err(
            Failure::store("another worker process lives on this store").hint(
                "one worker at a time: stop it, and `surefoot serve` takes over what it was doing",
            ),
        );
    }
    let Some(client) = host.client() else {
        return Err(Failure::store("the worker has not started"));
    };
    let stop = CancellationToken::new();
    greet(&app, &left, address);
    out::say(&sign_in(&app, client.store().as_ref(), address).await?);
    let mut serving = pin!(surefoot_server::serve(
        listener,
        client,
        options,
        stop.clone()
    ));
    tokio::select! {
        ended = &mut serving => {
            host.stop(&mut signals).await;
            return ended.map(|()| Exit::Done).map_err(refused);
        }
        () = host.until_told(&mut signals) => {}
    }
    out::say(&format!(
        "shutting down: running steps get {} (press Ctrl-C again to stop now)",
        host.grace()
    ));
    stop.cancel();
    // Requests under way are answered while steps come to an end.
    let (served, ()) = tokio::join!(serving, host.stop(&mut signals));
    served.map(|()| Exit::Done).map_err(refused)
}

/// Flags have the last word.
fn settled(app: &App, args: &Serve) -> Result<App, Failure> {
    let mut app = app.clone();
    app.settings.work(args.work.concurrency, args.work.grace)?;
    let server = &mut app.settings.server;
    let here = |folder: &std::path::PathBuf| {
        std::path::absolute(folder).unwrap_or_else(|_| folder.clone())
    };
    server.listen = args.listen.or(server.listen);
    server.public_url = args.public_url.clone().or(server.public_url.take());
    server.workflows = args
        .workflows
        .as_ref()
        .map(here)
        .or(server.workflows.take());
    Ok(app)
}

async fn listen(app: &App, address: SocketAddr) -> Result<TcpListener, Failure> {
    let error = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(listener),
        Err(error) => format!("cannot listen on {address}: {error}"),
    };
    // The one that has the address most often has the store as well, and another address would not
    // help then.
    if is_worked_on(app).await {
        return Err(Failure::store(format!(
            "another worker process lives on this store; and {error}"
        ))
        .hint("one worker at a time: stop it, and `surefoot serve` takes over what it was doing"));
    }
    Err(Failure::usage(error)
        .hint("another `surefoot serve` may have it; --listen names another address, such as 127.0.0.1:7879"))
}

/// Returns true if a worker uses an embedded store, which permits one. Does not create a store.
async fn is_worked_on(app: &App) -> bool {
    if app.is_shared() {
        return false;
    }
    let Ok(client) = app.client().await else {
        return false;
    };
    let now = client.store().now();
    client
        .store()
        .workers()
        .await
        .is_ok_and(|workers| workers.iter().any(|worker| worker.expires_at > now))
}

fn greet(app: &App, left: &[Run], address: SocketAddr) {
    let carries = if left.is_empty() {
        String::new()
    } else {
        format!("; carrying on {}", named(left))
    };
    out::say(&format!(
        "worker {} on {}{carries}",
        std::process::id(),
        app.settings.store
    ));
    let url = app
        .settings
        .server
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}"));
    out::say(&format!(
        "dashboard {url}, API {}/api/docs",
        url.trim_end_matches('/')
    ));
}

/// Describes how people sign in.
async fn sign_in(app: &App, store: &dyn Store, address: SocketAddr) -> Result<String, Failure> {
    let url = app
        .settings
        .server
        .public_url
        .clone()
        .unwrap_or_else(|| format!("http://{address}"));
    let page = format!("{}/sign-in", url.trim_end_matches('/'));
    let provider = app.settings.auth.oidc.as_ref().map(OidcTable::name);
    Ok(match (provider, auth::token::has_admin(store).await?) {
        (Some(name), _) => format!("sign in at {page}, by {name} or with a token"),
        (None, true) => {
            format!(
                "sign in at {page} with a token; `surefoot token create NAME --role admin` makes one more"
            )
        }
        (None, false) => "no sign-in configured: anyone on this machine has full access \
                          (`surefoot token create NAME --role admin` changes that)"
            .to_owned(),
    })
}

fn refused(error: ServeError) -> Failure {
    match error {
        ServeError::Auth(auth::AuthError::Store(error)) => error.into(),
        other => Failure::usage(other.to_string()),
    }
}

/// The store, as tokens and alerts are kept in it.
pub(crate) async fn documents(app: &App) -> Result<Arc<dyn Store>, Failure> {
    Ok(app.client().await?.store().clone())
}
