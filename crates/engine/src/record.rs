//! Records: durable facts that a completed step publishes - a project, a repository, an
//! environment.

use serde_json::Value;

use crate::{RunId, Timestamp};

/// A durable fact. `(kind, name)` is unique; the run that published it owns it.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// Kind of the record: `project`, `repository`, `environment`.
    pub kind: String,
    /// Its name among those of its kind.
    pub name: String,
    /// The run that published it.
    pub run: RunId,
    /// Content of the record.
    pub data: Value,
    /// When it was first published.
    pub created_at: Timestamp,
    /// When it was last published.
    pub updated_at: Timestamp,
}

/// Change of the records in a step's commit.
#[derive(Clone, Debug, PartialEq)]
pub enum RecordChange {
    /// Publishes a record, or its newer content. Refused when another run owns the name.
    Put {
        /// See [`Record::kind`].
        kind: String,
        /// See [`Record::name`].
        name: String,
        /// See [`Record::data`].
        data: Value,
    },
    /// Takes back a record, if this run owns it.
    Remove {
        /// See [`Record::kind`].
        kind: String,
        /// See [`Record::name`].
        name: String,
    },
}
