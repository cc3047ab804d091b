//! Values in URLs and documents: ids, times, words. Parsing errors explain what is wrong.

use std::fmt::Display;
use std::str::FromStr;

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use surefoot::state::Answer;
use surefoot::{RunId, RunStatus, Timestamp, WorkerId};
use utoipa::ToSchema;

macro_rules! text_values {
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

text_values! {
    /// A run's id.
    #[schema(value_type = String, format = "uuid", example = "0198c0de-0000-7000-8000-000000000001")]
    Id(RunId);
    /// A worker's id; each start of a worker creates a new one.
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

macro_rules! word_enums {
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

word_enums! {
    /// The status of a run.
    Status as RunStatus { Queued, Running, Waiting, Completed, Failed, Cancelled, }
    /// A person's answer: `rerun`, `skip` or `fail` for an interrupted step, `approve` or `reject`
    /// for a step that asks.
    AnswerWord as Answer { Rerun, Skip, Fail, Approve, Reject, }
}

/// A text of one line, such as a key or a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
#[schema(value_type = String, min_length = 1, max_length = 255, pattern = r"^[^\u0000-\u001f\u007f-\u009f]*$")]
pub(crate) struct Line(pub(crate) String);

/// Length limit of a line, in characters.
const MAX_LINE_LENGTH: usize = surefoot::LONGEST_KEY;

/// Why a text is not a [`Line`].
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LineError {
    #[error("has {0} characters: 1 to {MAX_LINE_LENGTH} are allowed")]
    Length(usize),
    #[error("has control characters: a single line of text is allowed")]
    Control,
}

impl Line {
    pub(crate) fn parse(text: String) -> Result<Self, LineError> {
        let length = text.chars().count();
        if length == 0 || length > MAX_LINE_LENGTH {
            return Err(LineError::Length(length));
        }
        if text.chars().any(char::is_control) {
            return Err(LineError::Control);
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

const MAX_NOTE_LENGTH: usize = 4000;

impl<'de> Deserialize<'de> for Note {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let control = |letter: char| letter.is_control() && !matches!(letter, '\n' | '\r' | '\t');
        if text.chars().count() > MAX_NOTE_LENGTH || text.chars().any(control) {
            return Err(serde::de::Error::custom(format!(
                "a text of at most {MAX_NOTE_LENGTH} characters was expected"
            )));
        }
        Ok(Self(text))
    }
}

/// Deserializes the number of a history entry, within the range of stores.
pub(crate) fn entry<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<u64>, D::Error> {
    let number = Option::<u64>::deserialize(deserializer)?;
    let is_in_range = number.is_none_or(|number| i64::try_from(number).is_ok());
    if is_in_range {
        Ok(number)
    } else {
        Err(serde::de::Error::custom("no history has so many entries"))
    }
}

/// Distinguishes an absent field (`None`) from null (`Some(None)`).
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
