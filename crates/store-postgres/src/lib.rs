//! The store of Surefoot for many workers: one PostgreSQL database.
