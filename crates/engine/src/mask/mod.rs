//! The masker of secrets: replaces every secret of a run, in whatever form tools write it, by
//! `***`.
//!
//! It is applied once, to everything that a driver writes ([`crate::worker`]); what is read from a
//! store needs no masking. A secret is found as it is, in base64 at any offset, in hexadecimal,
//! behind the escapes of URLs, JSON, HTML and shells, over line breaks, and, when it has lines,
//! line by line. A program that encrypts or reverses a secret is not found out.

mod automaton;
mod escapes;
mod patterns;
mod scan;
mod userinfo;

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError, RwLock};

use serde_json::Value;

use self::automaton::Automaton;
use self::scan::Partial;
pub(crate) use self::scan::{FileSearch, Lines};
use crate::Secret;

/// Replacement of a secret in a text.
const MASKED: &str = "***";

/// Secrets shorter than this are not masked: masking `ab` everywhere would garble what people read
/// and hide nothing.
pub(crate) const SHORTEST_MASKED: usize = 4;

/// A line or a cut piece of a secret, and a secret in a file, counts from this length on: what is
/// shorter is found by chance.
const SHORTEST_PART: usize = 8;

/// The most bytes of secrets that one run may have of its own: parameters, and what its handlers
/// mint.
///
/// The automaton takes up to some 350 bytes for each of them.
const LARGEST_OF_RUN: usize = 32 << 10;

/// The most bytes of credentials that a process masks; beyond it the one that was asked for longest
/// ago is forgotten.
const LARGEST_OF_PROCESS: usize = 256 << 10;

/// The longest single secret.
const LARGEST_SECRET: usize = 32 << 10;

/// An automaton for more bytes of secrets than this is built on a thread of its own.
const QUICKLY_BUILT: usize = 2 << 10;

/// A secret that is too long to be looked for in all that a run writes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum TooLong {
    #[error("a secret is longer than {} KiB: put what is secret of it into one of its own", LARGEST_SECRET >> 10)]
    Secret,
    #[error("the run's secrets are longer than {} KiB together: give it fewer or shorter ones", LARGEST_OF_RUN >> 10)]
    Run,
}

/// Masks the secrets of one run, and those that its process has handed out to any run.
#[derive(Clone, Default)]
pub(crate) struct Mask {
    process: Arc<Secrets>,
    run: Arc<Secrets>,
}

impl Mask {
    /// A mask of the process's own secrets.
    pub(crate) fn of(secrets: &[Secret]) -> Self {
        let mask = Self::default();
        for secret in secrets {
            mask.process.add(secret);
        }
        mask
    }

    /// A mask for another run of the same process.
    pub(crate) fn for_run(&self) -> Self {
        Self {
            process: self.process.clone(),
            run: Arc::default(),
        }
    }

    /// Masks a credential from now on, in every run of the process.
    pub(crate) fn add_credential(&self, secret: &Secret) -> Result<(), TooLong> {
        if secret.expose().len() > LARGEST_SECRET {
            return Err(TooLong::Secret);
        }
        self.process.add(secret);
        self.process.forget_beyond(LARGEST_OF_PROCESS);
        Ok(())
    }

    /// Masks a secret of this run from now on.
    pub(crate) fn add(&self, secret: &Secret) -> Result<(), TooLong> {
        if secret.expose().len() > LARGEST_SECRET {
            return Err(TooLong::Secret);
        }
        if self.run.add(secret) > LARGEST_OF_RUN {
            return Err(TooLong::Run);
        }
        Ok(())
    }

    /// Builds what is not yet built, off the runtime when that takes a while.
    pub(crate) async fn prepare(&self) {
        for secrets in [&self.process, &self.run] {
            if secrets.takes_a_while() {
                let secrets = secrets.clone();
                // A panic there would come again where the automaton is used.
                let _ = tokio::task::spawn_blocking(move || drop(secrets.automaton())).await;
            }
        }
    }

    /// Returns whether there is nothing to mask.
    pub(crate) fn is_empty(&self) -> bool {
        self.automata().next().is_none()
    }

    fn automata(&self) -> impl Iterator<Item = Arc<Automaton>> {
        [&self.process, &self.run]
            .into_iter()
            .filter_map(|secrets| secrets.automaton())
    }

    /// A search for whole secrets in the contents of one file.
    pub(crate) fn file_search(&self) -> FileSearch {
        FileSearch::new(self.automata())
    }

    /// A message for people, which may end in the middle of a secret. Addresses in it lose their
    /// users and passwords.
    pub(crate) fn message(&self, text: String) -> String {
        self.replaced(text, Partial::Message)
    }

    fn text(&self, text: String) -> String {
        self.replaced(text, Partial::No)
    }

    fn replaced(&self, text: String, partial: Partial) -> String {
        let mut found: Vec<_> = self
            .automata()
            .flat_map(|automaton| scan::find(&automaton, &text, partial))
            .collect();
        if partial == Partial::Message {
            found.extend(userinfo::find(&text));
        }
        scan::replace(text, found)
    }

    /// A value with every text in it masked, names of fields too. A number that holds a secret
    /// becomes a text.
    pub(crate) fn value(&self, value: Value) -> Value {
        if self.is_empty() {
            return value;
        }
        match value {
            Value::String(text) => Value::String(self.text(text)),
            Value::Number(number) => {
                let text = number.to_string();
                let masked = self.text(text.clone());
                if masked == text {
                    Value::Number(number)
                } else {
                    Value::String(masked)
                }
            }
            Value::Array(items) => items.into_iter().map(|item| self.value(item)).collect(),
            Value::Object(fields) => fields
                .into_iter()
                .map(|(name, field)| (self.text(name), self.value(field)))
                .collect(),
            other => other,
        }
    }
}

/// A set of secrets, and the automaton that finds them.
#[derive(Default)]
struct Secrets(RwLock<Known>);

#[derive(Default)]
struct Known {
    /// The one that was asked for longest ago first.
    secrets: VecDeque<Secret>,
    size: usize,
    /// `None` when it has to be built.
    automaton: Option<Arc<Automaton>>,
}

impl Secrets {
    /// Adds one, and returns how many bytes there are.
    fn add(&self, secret: &Secret) -> usize {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if let Some(position) = known.secrets.iter().position(|old| old == secret) {
            known.secrets.remove(position);
        } else {
            known.size += secret.expose().len();
            known.automaton = None;
        }
        known.secrets.push_back(secret.clone());
        known.size
    }

    fn forget_beyond(&self, most: usize) {
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        while known.size > most
            && let Some(oldest) = known.secrets.pop_front()
        {
            known.size -= oldest.expose().len();
            known.automaton = None;
        }
    }

    fn takes_a_while(&self) -> bool {
        let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
        known.automaton.is_none() && known.size > QUICKLY_BUILT
    }

    /// `None` when there is nothing to find.
    fn automaton(&self) -> Option<Arc<Automaton>> {
        {
            let known = self.0.read().unwrap_or_else(PoisonError::into_inner);
            if known.secrets.is_empty() {
                return None;
            }
            if known.automaton.is_some() {
                return known.automaton.clone();
            }
        }
        let mut known = self.0.write().unwrap_or_else(PoisonError::into_inner);
        if known.automaton.is_none() {
            let patterns: Vec<_> = known
                .secrets
                .iter()
                .flat_map(|secret| patterns::patterns(secret.expose()))
                .collect();
            known.automaton = Some(Arc::new(Automaton::new(&patterns)));
        }
        known.automaton.clone()
    }
}

fn is_line_break(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

#[cfg(test)]
mod tests;
