//! Whoever asks: a person or a program, and how we know.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use surefoot::{AllowLists, ListOwner, NotPermitted, Workflow};

use super::{Refusal, Role};

/// A person or program that may do what its role says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// What people call it; runs and the audit log keep it.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) via: Via,
    /// The allow-lists of its role and of its token: all of them have to permit what it makes run.
    pub(crate) lists: Vec<(ListOwner, AllowLists)>,
}

/// How we know who it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// By an API token; its id.
    Token(String),
    /// By a session; its id, which form tokens are bound to.
    Session(String),
    /// It is on this machine, and nobody has been given a token yet.
    Loopback,
}

impl Actor {
    /// Whoever is on this machine while nothing else is configured.
    pub(crate) fn local() -> Self {
        Self {
            name: "local".to_owned(),
            role: Role::Admin,
            via: Via::Loopback,
            lists: Vec::new(),
        }
    }

    /// Checks a workflow and its actions against the actor's allow-lists.
    ///
    /// # Errors
    /// Names what is not permitted, and the list that refuses it.
    pub(crate) fn check(&self, plan: &Workflow) -> Result<(), NotPermitted> {
        self.lists
            .iter()
            .try_for_each(|(owner, lists)| lists.check(plan, owner))
    }

    /// Whether it may do what needs this role.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl Via {
    /// How people read it: never enough to become it.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Token(id) => format!("token {id}"),
            Self::Session(id) => format!("session {}", id.get(..8).unwrap_or_default()),
            Self::Loopback => "this machine".to_owned(),
        }
    }
}

/// What [`super::guard`] found. A route that needs nobody has none to give.
impl<S: Sync> FromRequestParts<S> for Actor {
    type Rejection = Refusal;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Refusal> {
        parts
            .extensions
            .get::<Self>()
            .cloned()
            .ok_or(Refusal::SignIn { bad_token: false })
    }
}
