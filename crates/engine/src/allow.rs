//! Allow-lists: the workflows and actions that a worker, a queue, a role or a token permits.
//!
//! The rule is the same for each of them, and stands here once: without a list everything is
//! permitted, with one only the names that match an entry. PostgreSQL's `surefoot.submit` asks the
//! same of the database (`permits_all` in its migrations).

use std::fmt;
use std::sync::Arc;

use crate::Workflow;

/// The most entries that a list may have.
const MAX_ENTRIES: usize = 100;

/// The longest entry, in bytes.
const LONGEST: usize = 200;

/// Names that are permitted. The default permits every name; an empty list permits none.
///
/// ```
/// # use surefoot::AllowList;
/// let list = AllowList::new(["git.*", "http.request"])?;
/// assert!(list.permits("git.push") && list.permits("http.request"));
/// assert!(!list.permits("command.run"));
/// assert!(AllowList::everything().permits("command.run"));
/// # Ok::<(), surefoot::AllowListError>(())
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowList(Option<Arc<[String]>>);

/// An entry or a number of entries that no list may have.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowListError {
    /// Not a name or a pattern.
    #[error(
        "`{}` is not an entry of an allow-list: write a name such as http.request, or a pattern such as git.*",
        .0.escape_debug()
    )]
    Entry(String),
    /// Too many entries.
    #[error("an allow-list has {MAX_ENTRIES} entries at most, not {0}: use patterns such as git.*")]
    TooMany(usize),
}

impl AllowList {
    /// A list that permits every name.
    pub fn everything() -> Self {
        Self::default()
    }

    /// A list of these entries: names, in which `*` stands for any characters.
    ///
    /// # Errors
    /// When an entry is empty, longer than 200 bytes or holds a space, a comma or a control
    /// character, or there are more than 100.
    pub fn new<T: Into<String>>(
        entries: impl IntoIterator<Item = T>,
    ) -> Result<Self, AllowListError> {
        let entries: Arc<[String]> = entries.into_iter().map(Into::into).collect();
        if entries.len() > MAX_ENTRIES {
            return Err(AllowListError::TooMany(entries.len()));
        }
        match entries.iter().find(|entry| !is_entry(entry)) {
            Some(entry) => Err(AllowListError::Entry(entry.clone())),
            None => Ok(Self(Some(entries))),
        }
    }

    /// A list as a person writes it on a command line: entries between commas. An empty text is an
    /// empty list.
    ///
    /// # Errors
    /// As [`Self::new`].
    pub fn parse(text: &str) -> Result<Self, AllowListError> {
        if text.trim().is_empty() {
            return Self::new(Vec::<String>::new());
        }
        Self::new(text.split(',').map(str::trim))
    }

    /// A list as a store has it; `None` permits every name.
    pub fn stored(entries: Option<Vec<String>>) -> Self {
        Self(entries.map(Into::into))
    }

    /// The entries; `None` when every name is permitted.
    pub fn entries(&self) -> Option<&[String]> {
        self.0.as_deref()
    }

    /// Returns whether a name is permitted.
    pub fn permits(&self, name: &str) -> bool {
        self.entries()
            .is_none_or(|entries| entries.iter().any(|entry| matches(entry, name)))
    }

    /// Permits these names as well. A list that permits every name stays as it is.
    pub fn permit<T: Into<String>>(&mut self, names: impl IntoIterator<Item = T>) {
        if let Some(entries) = &self.0 {
            let all = entries
                .iter()
                .cloned()
                .chain(names.into_iter().map(Into::into));
            self.0 = Some(all.collect());
        }
    }
}

/// The entries for people to read: `git.*, http.request`, `none` for an empty list, `all` without
/// one.
impl fmt::Display for AllowList {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.entries() {
            None => f.write_str("all"),
            Some([]) => f.write_str("none"),
            Some(entries) => f.write_str(&entries.join(", ")),
        }
    }
}

fn is_entry(entry: &str) -> bool {
    let is_odd = |letter: char| letter.is_whitespace() || letter.is_control() || letter == ',';
    !entry.is_empty() && entry.len() <= LONGEST && !entry.contains(is_odd)
}

/// Returns whether a name is what the entry says, where `*` stands for any characters. The leftmost
/// match of each part leaves the most for the parts after it, so no other match need be tried.
fn matches(entry: &str, name: &str) -> bool {
    let Some((beginning, pattern)) = entry.split_once('*') else {
        return entry == name;
    };
    let (middle, end) = pattern.rsplit_once('*').unwrap_or(("", pattern));
    let inside = name
        .strip_prefix(beginning)
        .and_then(|rest| rest.strip_suffix(end));
    let Some(mut rest) = inside else {
        return false;
    };
    for part in middle.split('*') {
        match rest.split_once(part) {
            Some((_, after)) => rest = after,
            None => return false,
        }
    }
    true
}

/// The lists of a worker, a queue, a role or a token. The default permits everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AllowLists {
    /// The workflows that are permitted.
    pub workflows: AllowList,
    /// The actions that are permitted: those of every step of a workflow have to be.
    pub actions: AllowList,
}

impl AllowLists {
    /// Returns whether everything is permitted.
    pub fn permit_everything(&self) -> bool {
        self.workflows.entries().is_none() && self.actions.entries().is_none()
    }

    /// Checks a workflow and the actions of all its steps.
    ///
    /// # Errors
    /// [`NotPermitted`] names what is not permitted, and `owner` as the one whose list refuses it.
    pub fn check(&self, plan: &Workflow, owner: &ListOwner) -> Result<(), NotPermitted> {
        let refused = |refused, list: &AllowList| NotPermitted {
            owner: owner.clone(),
            refused,
            permitted: list.entries().unwrap_or_default().to_vec(),
        };
        if !self.workflows.permits(plan.name()) {
            let workflow = Refused::Workflow(plan.name().to_owned());
            return Err(refused(workflow, &self.workflows));
        }
        let actions: Vec<String> = plan
            .actions()
            .into_iter()
            .filter(|action| !self.actions.permits(action))
            .map(str::to_owned)
            .collect();
        if actions.is_empty() {
            return Ok(());
        }
        Err(refused(Refused::Actions(actions), &self.actions))
    }
}

/// A workflow, or actions of its steps, that an allow-list does not permit.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{owner} does not permit {refused} (permitted: {})", listed(.permitted))]
pub struct NotPermitted {
    /// The owner of the list.
    pub owner: ListOwner,
    /// The names that match no entry.
    pub refused: Refused,
    /// The entries of the list.
    pub permitted: Vec<String>,
}

fn listed(entries: &[String]) -> String {
    if entries.is_empty() {
        return "none".to_owned();
    }
    entries.join(", ")
}

/// Names that an allow-list does not permit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The workflow.
    Workflow(String),
    /// Actions of its steps, by name.
    Actions(Vec<String>),
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Workflow(name) => write!(f, "workflow `{name}`"),
            Self::Actions(names) if names.len() == 1 => write!(f, "action {}", names[0]),
            Self::Actions(names) => write!(f, "actions {}", names.join(", ")),
        }
    }
}

/// The owner of an allow-list.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ListOwner {
    /// The worker of this process.
    Worker,
    /// A queue, by its name.
    Queue(String),
    /// A role, by its name.
    Role(String),
    /// A token, by its name.
    Token(String),
}

impl fmt::Display for ListOwner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Worker => f.write_str("this worker"),
            Self::Queue(name) => write!(f, "queue `{name}`"),
            Self::Role(name) => write!(f, "role {name}"),
            Self::Token(name) => write!(f, "token `{name}`"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_star_stands_for_any_characters() {
        let check = |entry: &str, name: &str, expect: bool| {
            let list = AllowList::new([entry]).unwrap();
            assert_eq!(list.permits(name), expect, "{entry} and {name}");
        };
        check("git.push", "git.push", true);
        check("git.push", "git.pushed", false);
        check("git.push", "git_push", false);
        check("git.*", "git.push", true);
        check("git.*", "git.", true);
        check("git.*", "git", false);
        check("git.*", "gitops.write", false);
        check("*", "", true);
        check("*", "anything.at-all", true);
        check("*.run", "command.run", true);
        check("*.run", "command.run.more", false);
        check("a*a", "a", false);
        check("a*a", "aa", true);
        check("a*b*c", "a-b-b-c", true);
        check("a*b*c", "a-c-b", false);
        check("a**c", "ac", true);
        check("*ab*ab*", "ab", false);
        check("*ab*ab*", "xabab", true);
    }

    #[test]
    fn no_list_permits_everything_and_an_empty_one_nothing() {
        assert!(AllowList::everything().permits("x"));
        let nothing = AllowList::parse(" ").unwrap();
        assert!(!nothing.permits("x") && !nothing.permits(""));
        assert_eq!(nothing.to_string(), "none");
        assert_eq!(AllowList::everything().to_string(), "all");
        let two = AllowList::parse("git.*, http.request").unwrap();
        assert_eq!(two, AllowList::new(["git.*", "http.request"]).unwrap());
        assert_eq!(two.to_string(), "git.*, http.request");
    }

    #[test]
    fn what_is_no_entry_is_refused() {
        for odd in ["", "a b", "a\n", "a,b", &"x".repeat(LONGEST + 1)] {
            assert_eq!(
                AllowList::new([odd]),
                Err(AllowListError::Entry(odd.to_owned()))
            );
        }
        assert!(AllowList::parse("a,,b").is_err());
        let many = (0..=MAX_ENTRIES).map(|number| format!("w{number}"));
        let error = AllowList::new(many).unwrap_err();
        assert!(
            error.to_string().contains("100 entries at most, not 101"),
            "{error}"
        );
    }

    #[test]
    fn a_list_that_is_there_takes_more_names() {
        let mut list = AllowList::new(["a"]).unwrap();
        list.permit(["b"]);
        assert_eq!(list, AllowList::new(["a", "b"]).unwrap());
        let mut everything = AllowList::everything();
        everything.permit(["b"]);
        assert!(everything.permits("c"));
    }

    #[test]
    fn a_refusal_names_the_list_and_what_it_permits() {
        let plan = Workflow::from_yaml(
            "workflow: deploy\nsteps:\n  - { id: a, action: git.push }\n  - { id: b, action: command.run, with: { argv: [x] } }\n",
        )
        .unwrap();
        let lists = |workflows: &str, actions: &str| AllowLists {
            workflows: AllowList::parse(workflows).unwrap(),
            actions: AllowList::parse(actions).unwrap(),
        };
        let check = |lists: AllowLists, owner: ListOwner, expect: &str| {
            let error = lists.check(&plan, &owner).unwrap_err();
            assert_eq!(error.to_string(), expect);
        };
        check(
            lists("project-*", "*"),
            ListOwner::Token("ci".to_owned()),
            "token `ci` does not permit workflow `deploy` (permitted: project-*)",
        );
        check(
            lists("deploy", "git.*, http.request"),
            ListOwner::Queue("q".to_owned()),
            "queue `q` does not permit action command.run (permitted: git.*, http.request)",
        );
        check(
            lists("*", ""),
            ListOwner::Worker,
            "this worker does not permit actions command.run, git.push (permitted: none)",
        );
        let role = ListOwner::Role("operator".to_owned());
        assert_eq!(lists("d*", "git.*,command.*").check(&plan, &role), Ok(()));
        assert_eq!(AllowLists::default().check(&plan, &role), Ok(()));
        assert!(AllowLists::default().permit_everything());
    }
}
