//! The expression language of workflow files and templates, with every limit that rendering needs.
//!
//! The fuel of the template engine bounds its work and, with a few gaps, its memory. The gaps are
//! closed here: what turns a value into text or JSON measures the value first, because the text may
//! be far larger than the value itself.

use std::fmt::{self, Write as _};
use std::io;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::Kwargs;
use minijinja::{Environment, Error, ErrorKind, Output, State, UndefinedBehavior, Value};

use super::conversions::to_text;
use crate::limits::{LimitError, MAX_VALUE_BYTES};

/// Macros, loops and statements within each other while rendering. The engine's own limit of 500 is
/// too deep for a worker's stack.
const MAX_RECURSION: usize = 100;

/// Spaces of one level in `tojson(indent=4)`.
const MAX_INDENT: usize = 16;

/// An environment whose renderings end within `fuel`. Undefined values are errors; nothing is
/// escaped.
pub fn environment(fuel: u64) -> Environment<'static> {
    let syntax = SyntaxConfig::builder()
        .variable_delimiters("${{", "}}")
        .block_delimiters("${%", "%}")
        // Not `${#`, which is a length in shell commands.
        .comment_delimiters("$<#", "#>$")
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters differ");
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(fuel));
    environment.set_recursion_limit(MAX_RECURSION);
    environment.set_formatter(format_bounded);
    environment.add_filter("tojson", tojson);
    environment.add_filter("string", string);
    environment.add_filter("join", join);
    environment.add_filter("pprint", pprint);
    // A namespace can hold itself, and whatever visits it then never ends.
    environment.remove_global("namespace");
    environment
}

/// Renders a text, to `most` bytes at most.
///
/// # Errors
/// The error that the engine reports, or the limit.
pub fn render(
    environment: &Environment<'_>,
    text: &str,
    scope: Value,
    most: usize,
) -> Result<String, Error> {
    let mut out = Bounded::new(Vec::new(), most);
    let rendered = environment
        .template_from_str(text)?
        .render_captured_to(scope, &mut out)
        .map(drop);
    out.check()?;
    rendered?;
    String::from_utf8(out.inner)
        .map_err(|error| Error::new(ErrorKind::InvalidOperation, error.to_string()))
}

/// A value of the language as JSON, if it is not too large.
///
/// # Errors
/// When it is too large or has no form in JSON.
pub(super) fn to_json(value: &Value) -> Result<serde_json::Value, Error> {
    let invalid =
        |error: serde_json::Error| Error::new(ErrorKind::InvalidOperation, error.to_string());
    let mut size = Bounded::new(io::sink(), MAX_VALUE_BYTES);
    let written = serde_json::to_writer(&mut size, value);
    size.check()?;
    written.map_err(invalid)?;
    serde_json::to_value(value).map_err(invalid)
}

/// Writes a value as texts have it: JSON notation, so that `true` is no `True`.
fn format_bounded(
    out: &mut Output<'_>,
    state: &mut State<'_, '_>,
    value: &Value,
) -> Result<(), Error> {
    if value.as_str().is_some() || value.is_undefined() {
        return minijinja::escape_formatter(out, state, value);
    }
    out.write_str(&to_text(value)?).map_err(Error::from)
}

fn tojson(value: &Value, indent: Option<Value>, args: Kwargs) -> Result<Value, Error> {
    let indent = match indent {
        Some(indent) => Some(indent),
        None => args.get("indent")?,
    };
    args.assert_all_used()?;
    let spaces = indent
        .clone()
        .and_then(|indent| usize::try_from(indent).ok())
        .unwrap_or(2);
    if spaces > MAX_INDENT {
        let message = format!("`tojson` indents by at most {MAX_INDENT} spaces");
        return Err(Error::new(ErrorKind::InvalidOperation, message));
    }
    let mut size = Bounded::new(io::sink(), MAX_VALUE_BYTES);
    let spaces = " ".repeat(spaces);
    let pretty = serde_json::ser::PrettyFormatter::with_indent(spaces.as_bytes());
    let mut serializer = serde_json::Serializer::with_formatter(&mut size, pretty);
    // An error that is not about the size is for the filter to report.
    let _ = serde::Serialize::serialize(value, &mut serializer);
    size.check()?;
    minijinja::filters::tojson(value, indent, Kwargs::from_iter([] as [(&str, Value); 0]))
}

fn string(value: &Value) -> Result<Value, Error> {
    // A text stays the same value, with its marks.
    if value.as_str().is_some() {
        Ok(value.clone())
    } else {
        to_text(value).map(Value::from)
    }
}

/// The items of a list as one text; the engine's own filter has no separator unless one is given.
fn join(list: Value, separator: Option<String>) -> Result<String, Error> {
    super::functions::join(list, Some(separator.unwrap_or_default()))
}

fn pprint(value: &Value) -> Result<String, Error> {
    text_of(format_args!("{value:#?}"))
}

fn text_of(arguments: fmt::Arguments<'_>) -> Result<String, Error> {
    let mut out = Bounded::new(Vec::new(), MAX_VALUE_BYTES);
    let written = out.write_fmt(arguments);
    out.check()?;
    written.map_err(|_| Error::from(ErrorKind::WriteFailure))?;
    Ok(String::from_utf8_lossy(&out.inner).into_owned())
}

/// A writer that takes a limited number of bytes.
struct Bounded<W> {
    inner: W,
    most: usize,
    left: usize,
    is_full: bool,
}

impl<W: io::Write> Bounded<W> {
    fn new(inner: W, most: usize) -> Self {
        Self {
            inner,
            most,
            left: most,
            is_full: false,
        }
    }

    /// Reports that more was written than fits.
    fn check(&self) -> Result<(), Error> {
        if !self.is_full {
            return Ok(());
        }
        Err(Error::new(
            ErrorKind::InvalidOperation,
            LimitError::Output(self.most).to_string(),
        ))
    }

    fn take(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(left) = self.left.checked_sub(bytes.len()) else {
            self.is_full = true;
            return Err(io::Error::other("more was written than fits"));
        };
        self.left = left;
        self.inner.write_all(bytes)
    }
}

impl<W: io::Write> io::Write for Bounded<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.take(bytes).map(|()| bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<W: io::Write> fmt::Write for Bounded<W> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.take(text.as_bytes()).map_err(|_| fmt::Error)
    }
}
