//! The actions that any workflow may name.
