//! `surefoot token`: who may use the API and the dashboard.

use serde_json::json;
use surefoot::{AllowLists, Timestamp};
use surefoot_server::auth::token::{self, Token, TokenError};

use super::serve::documents;
use crate::app::{App, person};
use crate::args::{TokenCreate, Tokens};
use crate::errors::{Exit, Failure};
use crate::table::table;
use crate::{audit, out, summary};

/// Makes, lists and revokes tokens. It works beside a live server, which knows them at once.
pub(crate) async fn token(app: &App, args: &Tokens) -> Result<Exit, Failure> {
    match args {
        Tokens::Create(args) => create(app, args).await,
        Tokens::List => list(app).await,
        Tokens::Revoke { token } => revoke(app, token).await,
    }
}

async fn create(app: &App, args: &TokenCreate) -> Result<Exit, Failure> {
    // The first token may be made before the first start.
    let store = app.store().await?;
    let by = person();
    let allow = AllowLists {
        workflows: args.workflows.clone().unwrap_or_default(),
        actions: args.actions.clone().unwrap_or_default(),
    };
    let made = token::create_limited(
        store.as_ref(),
        &args.name,
        args.role,
        allow,
        args.expires,
        &by,
    )
    .await
    .map_err(refused)?;
    let allow = &made.token.allow;
    let detail = json!({
        "role": args.role.as_str(),
        "id": made.token.id,
        "workflows": allow.workflows.entries(),
        "actions": allow.actions.entries(),
    });
    audit::record(store.as_ref(), "token.create", &args.name, detail).await;
    if app.json {
        let mut value = shown(&made.token);
        value["token"] = made.secret.expose().into();
        summary::json(&value)?;
    } else {
        out::print(&format!("{}\n", made.secret.expose()))?;
        let until = made.token.expires_at.map_or_else(
            || "until it is revoked".to_owned(),
            |at| format!("until {at}"),
        );
        out::say(&format!(
            "{} token {} of {}, {until}; it is not shown again",
            args.role, made.token.id, args.name
        ));
    }
    Ok(Exit::Done)
}

async fn list(app: &App) -> Result<Exit, Failure> {
    let tokens = token::list(documents(app).await?.as_ref()).await?;
    if app.json {
        summary::json(&tokens.iter().map(shown).collect::<Vec<_>>())?;
    } else if tokens.is_empty() {
        out::say("there is no token: `surefoot token create NAME --role admin` makes one");
    } else {
        let rows = tokens.iter().map(row).collect::<Vec<_>>();
        out::print(&table(
            &[
                "ID",
                "NAME",
                "ROLE",
                "WORKFLOWS",
                "ACTIONS",
                "CREATED",
                "EXPIRES",
                "LAST USED",
            ],
            &rows,
        ))?;
    }
    Ok(Exit::Done)
}

async fn revoke(app: &App, which: &str) -> Result<Exit, Failure> {
    let store = documents(app).await?;
    let token = token::revoke(store.as_ref(), which)
        .await
        .map_err(refused)?;
    audit::record(
        store.as_ref(),
        "token.revoke",
        &token.name,
        json!({ "id": token.id }),
    )
    .await;
    if app.json {
        summary::json(&shown(&token))?;
    } else {
        out::print(&format!(
            "token {} of {} is revoked\n",
            token.id, token.name
        ))?;
    }
    Ok(Exit::Done)
}

fn refused(error: TokenError) -> Failure {
    match error {
        TokenError::Store(error) => error.into(),
        other => Failure::usage(other.to_string()),
    }
}

fn shown(token: &Token) -> serde_json::Value {
    let time = |at: Option<Timestamp>| at.map(|at| at.to_string());
    json!({
        "id": token.id,
        "name": token.name,
        "role": token.role.as_str(),
        "workflows": token.allow.workflows.entries(),
        "actions": token.allow.actions.entries(),
        "created_at": time(Some(token.created_at)),
        "created_by": token.created_by,
        "expires_at": time(token.expires_at),
        "last_used_at": time(token.last_used_at),
    })
}

fn row(token: &Token) -> Vec<String> {
    let time = |at: Option<Timestamp>| at.map_or_else(|| "never".to_owned(), super::show::time);
    let role = token.role.to_string();
    vec![
        token.id.clone(),
        token.name.clone(),
        role,
        token.allow.workflows.to_string(),
        token.allow.actions.to_string(),
        time(Some(token.created_at)),
        time(token.expires_at),
        time(token.last_used_at),
    ]
}
