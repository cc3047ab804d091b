//! `surefoot migrate`: make or upgrade the store's schema, and nothing else.

use crate::app::App;
use crate::errors::{Exit, Failure};
use crate::out;
use crate::place::Place;

/// Makes or upgrades the schema, whatever `postgres.migrate` says.
pub(crate) async fn migrate(app: &App) -> Result<Exit, Failure> {
    let done = match &app.settings.store {
        Place::Database(options) => options.clone().upgrade().await?,
        Place::File(path) => {
            app.store().await?;
            format!(
                "{} is as this surefoot needs it: an embedded store is brought there whenever it is opened",
                path.display()
            )
        }
    };
    out::say(&done);
    Ok(Exit::Done)
}
