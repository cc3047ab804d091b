//! Runs the real git.
