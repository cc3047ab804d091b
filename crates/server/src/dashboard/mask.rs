//! Parameters that a page must not show. What they are is the engine's to say ([`surefoot::workflow::secrets`]); their values
//! are masked wherever they turn up: in a step's input, its output, an error, a log line, an alert.

pub(crate) use surefoot::workflow::{MASK, Masker, without_secrets as parameters};
