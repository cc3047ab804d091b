//! The cases of the conformance suite, by topic. Each takes a fresh [`crate::Scene`] and panics if
//! the store fails it.

pub mod allow;
pub mod content;
pub mod documents;
pub mod events;
pub mod fields;
pub mod leases;
pub mod limits;
pub mod lists;
pub mod nul;
pub mod people;
pub mod requirements;
pub mod starts;
pub mod statistics;
pub mod submit;
pub mod together;
pub mod undo;
pub mod unreadable;
