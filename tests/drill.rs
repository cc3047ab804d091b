//! The drills as tests. See `docs/recovery.md`.
