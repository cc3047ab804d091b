//! Roles, and what a route needs of whoever asks.

use std::fmt;
use std::str::FromStr;

use surefoot::AllowLists;

/// What a person or token may do. Each role may do all that the ones before it may.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Sees everything, changes nothing.
    Viewer,
    /// Submits, retries, cancels and answers runs, pauses queues, acknowledges alerts.
    Operator,
    /// Also changes limits and sees the audit log.
    Admin,
}

impl Role {
    /// Every role, the least first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The word for it.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = String;

    fn from_str(word: &str) -> Result<Self, String> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == word);
        found.ok_or_else(|| format!("`{word}` is no role: viewer, operator or admin"))
    }
}

/// The allow-lists of roles. A viewer makes nothing run, and needs none.
#[derive(Clone, Debug, Default)]
pub struct RoleLists {
    /// The workflows and actions that operators may make run.
    pub operator: AllowLists,
    /// The same for admins.
    pub admin: AllowLists,
}

impl RoleLists {
    /// The lists of a role; `None` when everything is permitted.
    pub(crate) fn of(&self, role: Role) -> Option<&AllowLists> {
        let lists = match role {
            Role::Viewer => return None,
            Role::Operator => &self.operator,
            Role::Admin => &self.admin,
        };
        (!lists.permit_everything()).then_some(lists)
    }
}

/// What a route needs of whoever asks.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Need {
    /// Nothing: sign-in, probes, assets, and what carries a signed link.
    Public,
    /// Anybody who is signed in.
    Viewer,
    /// An operator.
    Operator,
    /// An admin.
    Admin,
}

impl Need {
    /// The least role that has it; `None` when nobody need be signed in.
    pub(crate) const fn role(self) -> Option<Role> {
        match self {
            Self::Public => None,
            Self::Viewer => Some(Role::Viewer),
            Self::Operator => Some(Role::Operator),
            Self::Admin => Some(Role::Admin),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_may_do_what_the_ones_before_it_may() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert!(
            Role::ALL
                .iter()
                .all(|role| role.as_str().parse() == Ok(*role))
        );
        assert_eq!(
            "root".parse::<Role>(),
            Err("`root` is no role: viewer, operator or admin".to_owned())
        );
    }
}
