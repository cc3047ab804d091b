//! Values as they stand in addresses and documents: ids, times, words. Each says what is wrong with a text that is none.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use surefoot::state::Answer;
use surefoot::{RunId, RunStatus, Timestamp, WorkerId};
use utoipa::ToSchema;

macro_rules! written {
    ($($(#[$meta:meta])* $name:ident($inner:ty);)+) => {$(
        #[derive(Clone, Copy, Debug, PartialEq, Eq, ToSchema)]
        $(#[$meta])*
        pub(crate) struct $name(pub(crate) $inner);

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(&self.0)
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                parsed(deserializer).map(Self)
            }
        }
    )+};
}

written! {
    /// A run's id.
    #[schema(value_type = String, format = "uuid", example = "0198c0de-0000-7000-8000-000000000001")]
    Id(RunId);
    /// A worker's id; a restart makes another.
    #[schema(value_type = String, format = "uuid")]
    Worker(WorkerId);
    /// A point in time, RFC 3339.
    #[schema(value_type = String, format = "date-time", example = "2026-05-04T09:30:00Z")]
    Time(Timestamp);
}

fn parsed<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: FromStr<Err: Display>,
{
    String::deserialize(deserializer)?
        .parse()
        .map_err(serde::de::Error::custom)
}

macro_rules! words {
    ($($(#[$meta:meta])* $name:ident as $inner:ident { $($(#[$variant_meta:meta])* $variant:ident,)+ })+) => {$(
        $(#[$meta])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
        #[serde(rename_all = "lowercase")]
        pub(crate) enum $name { $($(#[$variant_meta])* $variant,)+ }

        impl From<$name> for $inner {
            fn from(word: $name) -> Self {
                match word { $($name::$variant => Self::$variant,)+ }
            }
        }

        impl From<$inner> for $name {
            fn from(word: $inner) -> Self {
                match word { $($inner::$variant => Self::$variant,)+ }
            }
        }
    )+};
}

words! {
    /// Where a run stands.
    Status as RunStatus { Queued, Running, Waiting, Completed, Failed, Cancelled, }
    /// A person's answer: `rerun`, `skip` or `fail` for a step that was interrupted, `approve` or `reject` for one that asks.
    AnswerWord as Answer { Rerun, Skip, Fail, Approve, Reject, }
}

/// A text of one line, as keys and names are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
pub(crate) struct Line(pub(crate) String);

/// The longest text of one line, in characters.
const LONGEST_LINE: usize = surefoot::LONGEST_KEY;

impl Line {
    pub(crate) fn parse(text: String) -> Result<Self, String> {
        let length = text.chars().count();
        if length == 0 || length > LONGEST_LINE {
            return Err(format!(
                "has {length} characters: 1 to {LONGEST_LINE} are allowed"
            ));
        }
        if text.chars().any(char::is_control) {
            return Err("has control characters: a single line of text is allowed".to_owned());
        }
        Ok(Self(text))
    }
}

impl<'de> Deserialize<'de> for Line {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        Self::parse(String::deserialize(deserializer)?).map_err(serde::de::Error::custom)
    }
}

/// A text of a person, which may have several lines.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, max_length = 4000, pattern = r"^[^\u0000-\u0008\u000b\u000c\u000e-\u001f\u007f-\u009f]*$")]
pub(crate) struct Note(pub(crate) String);

const LONGEST_NOTE: usize = 4000;

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let control = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
        if text.chars().count() > LONGEST_NOTE || text.chars().any(control) {
            return Err(serde::de::Error::custom(format!(
                "a text of at most {LONGEST_NOTE} characters was expected"
            )));
        }
        Ok(Self(text))
    }
}

/// The number of an entry of a history: as far as stores count.
pub(crate) fn entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(deserializer)?;
    let known = number.is_none_or(|number| i64::try_from(number).is_ok());
    if known {
        Ok(number)
    } else {
        Err(serde::de::Error::custom("no history has so many entries"))
    }
}

/// Tells what is absent (`None`) from what is null (`Some(None)`).
pub(crate) fn present<'de, D, T>(deserializer: D) -> Result<Option<Option<T>>, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de>,
{
    Option::deserialize(deserializer).map(Some)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_has_no_control_characters() {
        for text in ["", "a\0b", "a\nb", &"x".repeat(256)] {
            assert!(Line::parse(text.to_owned()).is_err(), "{text:?}");
        }
        assert_eq!(
            Line::parse("\u{5f00} shop".to_owned())
                .map(|line| line.0)
                .as_deref(),
            Ok("\u{5f00} shop")
        );
    }

    #[test]
    fn absent_is_not_null() {
        #[derive(Deserialize)]
        struct Change {
            #[serde(default, deserialize_with = "present")]
            limit: Option<Option<u32>>,
        }
        let read = |text: &str| serde_json::from_str::<Change>(text).unwrap().limit;
        assert_eq!(
            (
                read("{}"),
                read(r#"{"limit":null}"#),
                read(r#"{"limit":3}"#)
            ),
            (None, Some(None), Some(Some(3)))
        );
    }
}
