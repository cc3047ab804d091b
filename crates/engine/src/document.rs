//! Documents: small facts that are no part of a run, kept beside the runs: an API token, a session,
//! an alert, an entry of the audit log.
//!
//! The store does not look into them. Compare-and-set ([`Document::version`]) is what makes "once,
//! over all processes" possible.

use serde_json::Value;

use crate::Timestamp;

/// A small fact that is no part of a run.
#[derive(Clone, Debug, PartialEq)]
pub struct Document {
    /// Kind of the document: `token`, `alert`.
    pub kind: String,
    /// Its name, unique for its kind. Listings go by it.
    pub id: String,
    /// Counts its writes, from 1.
    pub version: u64,
    /// When it was last written.
    pub updated_at: Timestamp,
    /// From when on it counts as removed.
    pub expires_at: Option<Timestamp>,
    /// Content of the document.
    pub data: Value,
}

/// A document to write.
#[derive(Clone, Debug, PartialEq)]
pub struct NewDocument {
    /// [`Document::kind`].
    pub kind: String,
    /// [`Document::id`].
    pub id: String,
    /// [`Document::expires_at`].
    pub expires_at: Option<Timestamp>,
    /// [`Document::data`].
    pub data: Value,
}

/// On which condition a document is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expect {
    /// Whatever there is.
    Anything,
    /// There is none.
    Nothing,
    /// There is one with this [`Document::version`].
    Version(u64),
}

/// Which documents to list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DocumentFilter {
    /// Only of this kind.
    pub kind: String,
    /// Only those whose id comes after this one in the order of the listing: the last of the page
    /// before.
    pub after: Option<String>,
    /// From the last id to the first.
    pub descending: bool,
    /// Documents at most.
    pub limit: usize,
}
