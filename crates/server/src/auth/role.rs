//! Roles, and the access that a route requires.

use std::fmt;
use std::str::FromStr;

use surefoot::AllowLists;

/// The permissions of a person or token. Each role includes those before it.
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
    /// Every role, lowest first.
    pub const ALL: [Self; 3] = [Self::Viewer, Self::Operator, Self::Admin];

    /// The role's stored name.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Viewer => "viewer",
            Self::Operator => "operator",
            Self::Admin => "admin",
        }
    }
}

/// A word that names no role.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a role: use viewer, operator or admin")]
pub struct UnknownRole(pub String);

impl fmt::Display for Role {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

impl FromStr for Role {
    type Err = UnknownRole;

    fn from_str(word: &str) -> Result<Self, UnknownRole> {
        let found = Self::ALL.into_iter().find(|role| role.as_str() == word);
        found.ok_or_else(|| UnknownRole(word.to_owned()))
    }
}

/// The allow-lists of roles. A viewer can start nothing and needs none.
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

/// The access that a route requires.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Access {
    /// None: sign-in, probes, assets, and pages behind a signed link.
    Public,
    /// Any signed-in actor.
    Viewer,
    /// An operator.
    Operator,
    /// An admin.
    Admin,
}

impl Access {
    /// The lowest role with this access; `None` if no sign-in is needed.
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
    fn each_role_includes_the_ones_before_it() {
        assert!(Role::Viewer < Role::Operator && Role::Operator < Role::Admin);
        assert!(
            Role::ALL
                .iter()
                .all(|role| role.as_str().parse() == Ok(*role))
        );
        assert_eq!("root".parse::<Role>(), Err(UnknownRole("root".to_owned())));
    }
}
