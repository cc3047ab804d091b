//! The authenticated caller of a request, and how it was authenticated.

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use surefoot::{AllowLists, ListOwner, NotPermitted, Workflow};

use super::{Refusal, Role};

/// A person or program with a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Actor {
    /// Display name, as recorded on runs and in the audit log.
    pub(crate) name: String,
    pub(crate) role: Role,
    pub(crate) via: Via,
    /// The allow-lists of its role and its token; all of them must permit what it runs.
    pub(crate) lists: Vec<(ListOwner, AllowLists)>,
}

/// The way an [`Actor`] was authenticated.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Via {
    /// An API token, by its id.
    Token(String),
    /// A session, by its id; form tokens are bound to it.
    Session(String),
    /// A connection from this machine, while no token exists and no provider is configured.
    Loopback,
}

impl Actor {
    /// The actor of local connections while no sign-in is configured.
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

    /// Returns true if the actor's role includes `role`.
    pub(crate) fn may(&self, role: Role) -> bool {
        self.role >= role
    }
}

impl Via {
    /// A short form for people; not enough to authenticate with.
    pub(crate) fn short(&self) -> String {
        match self {
            Self::Token(id) => format!("token {id}"),
            Self::Session(id) => format!("session {}", id.get(..8).unwrap_or_default()),
            Self::Loopback => "this machine".to_owned(),
        }
    }
}

/// The actor that [`super::guard`] found. Public routes have none.
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
