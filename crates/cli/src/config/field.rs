//! Fields of the configuration file that are more than a word or a number. What is wrong with one
//! is said with its line.

use std::time::Duration;

use serde::de::{DeserializeOwned, Error};
use serde::{Deserialize, Deserializer};
use surefoot::{AddressRange, AllowList, AllowLists, parse_duration};
use surefoot_server::auth::{Network, Role};

/// A duration such as `10m`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Time(pub(crate) Duration);

impl<'de> Deserialize<'de> for Time {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        parse_duration(&text).map(Self).map_err(D::Error::custom)
    }
}

/// `viewer`, `operator` or `admin`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RoleName(pub(crate) Role);

impl<'de> Deserialize<'de> for RoleName {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let word = String::deserialize(deserializer)?;
        word.parse().map(Self).map_err(D::Error::custom)
    }
}

/// An address or a network, such as `10.0.0.0/8`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Proxy(pub(crate) Network);

impl<'de> Deserialize<'de> for Proxy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// `private`, or an address or a network.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses(pub(crate) AddressRange);

impl<'de> Deserialize<'de> for Addresses {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(D::Error::custom)
    }
}

/// An allow-list, as an array of entries.
#[derive(Clone, Debug)]
pub(crate) struct Entries(pub(crate) AllowList);

impl<'de> Deserialize<'de> for Entries {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let entries = Vec::<String>::deserialize(deserializer)?;
        AllowList::new(entries).map(Self).map_err(D::Error::custom)
    }
}

/// `workflows` and `actions` of a table: what is permitted there. Without either, everything.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AllowTable {
    workflows: Option<Entries>,
    actions: Option<Entries>,
}

impl AllowTable {
    pub(crate) fn lists(&self) -> AllowLists {
        lists(self.workflows.as_ref(), self.actions.as_ref())
    }
}

/// The allow-lists that two fields make.
pub(crate) fn lists(workflows: Option<&Entries>, actions: Option<&Entries>) -> AllowLists {
    let list = |entries: Option<&Entries>| entries.map(|entries| entries.0.clone());
    AllowLists {
        workflows: list(workflows).unwrap_or_default(),
        actions: list(actions).unwrap_or_default(),
    }
}

/// Something that `false` turns off.
#[derive(Clone, Debug, Default)]
pub(crate) enum Switch<T> {
    /// As it is when nothing is said.
    #[default]
    Usual,
    /// Turned off.
    Off,
    /// As it is said.
    Set(T),
}

impl<T> Switch<T> {
    /// Value in effect, with `usual` as the default.
    pub(crate) fn over<U>(self, usual: Option<U>, said: impl FnOnce(T) -> U) -> Option<U> {
        match self {
            Self::Usual => usual,
            Self::Off => None,
            Self::Set(value) => Some(said(value)),
        }
    }
}

impl<'de, T: DeserializeOwned> Deserialize<'de> for Switch<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        match toml::Value::deserialize(deserializer)? {
            toml::Value::Boolean(false) => Ok(Self::Off),
            toml::Value::Boolean(true) => Ok(Self::Usual),
            value => T::deserialize(value)
                .map(Self::Set)
                .map_err(|error| D::Error::custom(error.message())),
        }
    }
}
