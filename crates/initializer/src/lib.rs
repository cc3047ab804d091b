//! What Surefoot does with its engine: the actions that any workflow may name, and project initialization.

pub mod actions;
mod commit;
pub mod forge;
pub mod git;
pub mod process;
pub mod template;
