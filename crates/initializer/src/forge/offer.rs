//! The single local forge of a store, and the check whether a worker's directory is it.
//!
//! Two hosts with a directory each would otherwise silently build two fleets. The first worker
//! writes the identity of its forge into the store; a worker whose directory has another identity
//! does not offer it.

use std::collections::BTreeSet;

use serde_json::{Value, json};
use surefoot::document::{Document, Expect, NewDocument};
use surefoot::{Store, StoreError};

use super::identity::{ForgeId, ForgeMark, LOCAL_FORGE};

const KIND: &str = "forge";
const ID: &str = "local";

/// The local forge used by a store's runs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreForge {
    /// Its identity.
    pub id: ForgeId,
    /// Host and directory where it was when it became the store's.
    pub place: String,
}

impl StoreForge {
    /// Reads the local forge of a store; `None` until a worker has brought one.
    ///
    /// # Errors
    /// If the store cannot be read.
    pub async fn of(store: &dyn Store) -> Result<Option<Self>, StoreError> {
        store
            .document(KIND, ID)
            .await?
            .map(|document| Self::read(&document))
            .transpose()
    }

    /// Reads the local forge of a store, or makes this one the store's. Of several concurrent ones
    /// the store takes one.
    ///
    /// # Errors
    /// If the store cannot be read or written.
    pub async fn of_or_else(
        store: &dyn Store,
        id: &ForgeId,
        place: &str,
    ) -> Result<Self, StoreError> {
        if let Some(known) = Self::of(store).await? {
            return Ok(known);
        }
        let own = Self {
            id: id.clone(),
            place: place.to_owned(),
        };
        if store
            .put_document(own.document(), Expect::Nothing)
            .await?
            .is_some()
        {
            return Ok(own);
        }
        let known = Self::of(store).await?;
        known.ok_or_else(|| {
            StoreError::Fault("the store's local forge was set and removed concurrently".to_owned())
        })
    }

    /// Makes this the local forge of a store, whatever it had before.
    ///
    /// # Errors
    /// If the store cannot be written.
    pub async fn adopt(store: &dyn Store, id: &ForgeId, place: &str) -> Result<(), StoreError> {
        let own = Self {
            id: id.clone(),
            place: place.to_owned(),
        };
        store
            .put_document(own.document(), Expect::Anything)
            .await
            .map(drop)
    }

    fn read(document: &Document) -> Result<Self, StoreError> {
        let text = |field: &str| document.data[field].as_str().unwrap_or_default();
        let id = ForgeId::parse(text("forge"));
        let id = id.ok_or_else(|| {
            StoreError::Fault("the store's local forge has no identity".to_owned())
        })?;
        Ok(Self {
            id,
            place: text("place").to_owned(),
        })
    }

    fn document(&self) -> NewDocument {
        let data: Value = json!({ "forge": self.id.as_str(), "place": self.place });
        NewDocument {
            kind: KIND.to_owned(),
            id: ID.to_owned(),
            expires_at: None,
            data,
        }
    }
}

/// Resources offered by a worker whose directory has `mark`: its forge, and the store's forge if
/// this is it.
pub fn resources(mark: &ForgeMark, of_store: &StoreForge) -> BTreeSet<String> {
    let mut resources = BTreeSet::from([mark.id.resource()]);
    if mark.id == of_store.id {
        resources.insert(LOCAL_FORGE.to_owned());
    }
    resources
}
