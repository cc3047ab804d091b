//! Step 1: the forge and the credential that it needs, by name. Fails at once when one is missing; gives names alone.

use std::sync::Arc;

use async_trait::async_trait;
use serde::Deserialize;
use serde_json::{Value, json};
use surefoot::{Outcome, Output, StepContext, StepError, StepHandler};

use super::errors::OrStep;
use super::shared::Shared;
use crate::actions::fields::Fields;
use crate::forge::LOCAL;
use crate::git::Git;

const FIELDS: Fields = Fields { required: &["forge"], one_of: &[], optional: &[] };

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Input {
    forge: String,
}

pub(super) struct ResolveCredentials(pub(super) Arc<Shared>);

#[async_trait]
impl StepHandler for ResolveCredentials {
    fn check(&self, with: &Value) -> Result<(), String> {
        FIELDS.check(with)
    }

    async fn run(&self, context: StepContext) -> Result<Outcome, StepError> {
        let Input { forge } = context.input()?;
        self.0.reached(&context, 10, format!("looking for the forge `{forge}`")).await;
        if forge != LOCAL {
            return Err(StepError::fatal(format!("there is no forge `{forge}`: the only one is `{LOCAL}`")));
        }
        let git = Git::new(std::env::temp_dir()).version().await.or_step()?;
        context.log(format!("git {git}"));
        self.0.reached(&context, 50, "looking for credentials").await;
        let credential = self.0.forge_credential.as_deref();
        if let Some(name) = credential {
            context.credential(name)?;
            context.log(format!("credential `{name}` found"));
        }
        let message = credential.map_or("none needed".to_owned(), |name| format!("found `{name}`"));
        self.0.reached(&context, 100, message).await;
        Ok(Output::new(json!({ "forge": forge, "credentials": credential.into_iter().collect::<Vec<_>>() }))?.into())
    }
}
