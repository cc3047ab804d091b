//! Parameters of a statement, each with its type: an unnamed statement needs the types each time.

use tokio_postgres::types::{ToSql, Type};
use uuid::Uuid;

/// A value that is a parameter by itself or an element of an array.
pub(crate) trait Element: ToSql + Sync + Send {
    const TYPE: Type;
    const ARRAY: Type;
}

macro_rules! elements {
    ($($rust:ty = $one:ident, $array:ident;)+) => {
        $(impl Element for $rust {
            const TYPE: Type = Type::$one;
            const ARRAY: Type = Type::$array;
        })+
    };
}

elements! {
    bool = BOOL, BOOL_ARRAY;
    i16 = INT2, INT2_ARRAY;
    i32 = INT4, INT4_ARRAY;
    i64 = INT8, INT8_ARRAY;
    &str = TEXT, TEXT_ARRAY;
    String = TEXT, TEXT_ARRAY;
    &[u8] = BYTEA, BYTEA_ARRAY;
    Vec<u8> = BYTEA, BYTEA_ARRAY;
    Uuid = UUID, UUID_ARRAY;
}

impl<T: Element> Element for Option<T> {
    const TYPE: Type = T::TYPE;
    const ARRAY: Type = T::ARRAY;
}

/// Parameters in order.
#[derive(Debug, Default)]
pub(crate) struct Args<'a>(Vec<(Box<dyn ToSql + Sync + Send + 'a>, Type)>);

impl<'a> Args<'a> {
    pub(crate) fn none() -> Self {
        Self::default()
    }

    /// Adds a parameter.
    pub(crate) fn with<T: Element + 'a>(mut self, value: T) -> Self {
        self.0.push((Box::new(value), T::TYPE));
        self
    }

    /// Adds a parameter that is an array.
    pub(crate) fn with_all<T: Element + 'a>(mut self, values: Vec<T>) -> Self {
        self.0.push((Box::new(values), T::ARRAY));
        self
    }

    /// Adds a parameter that is an array of text, or null.
    pub(crate) fn with_texts(mut self, texts: Option<&'a [String]>) -> Self {
        self.0.push((Box::new(texts), Type::TEXT_ARRAY));
        self
    }

    /// The types alone.
    pub(crate) fn types(&self) -> Vec<Type> {
        self.0.iter().map(|(_, kind)| kind.clone()).collect()
    }

    /// The values alone, for a prepared statement.
    pub(crate) fn values(&self) -> Vec<&(dyn ToSql + Sync)> {
        self.0
            .iter()
            .map(|(value, _)| &**value as &(dyn ToSql + Sync))
            .collect()
    }

    /// Values with types, for an unnamed statement.
    pub(crate) fn as_slice(&self) -> Vec<(&(dyn ToSql + Sync), Type)> {
        self.0
            .iter()
            .map(|(value, kind)| (&**value as &(dyn ToSql + Sync), kind.clone()))
            .collect()
    }
}
