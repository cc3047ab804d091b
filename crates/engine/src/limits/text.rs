//! Limits of a text with expressions, checked before the template engine sees it.
//!
//! The engine parses, compiles and drops expressions by recursion, and limits only some of it: a
//! chain such as `- - - 1` or `a.b.c` of some thousand links overflows the stack. The scanner here
//! counts what such recursion follows, with the engine's own rules for where an expression begins
//! and ends, and without recursion of its own. It counts rather too much than too little.

use super::LimitError;

/// Length of a text with expressions.
pub const MAX_TEXT_BYTES: usize = 1 << 20;

/// Length of one expression.
pub const MAX_EXPRESSION_BYTES: usize = 16 << 10;

/// Operators, filters and brackets that depend on each other in one expression.
pub const MAX_EXPRESSION_DEPTH: usize = 200;

/// A bracket takes the parser about as much stack as this many operators.
const BRACKET: usize = 4;

/// Statements within each other in one template, `elif` branches included.
const MAX_STATEMENTS: usize = 50;

/// Depth of all assignments of one template together: each may nest a value in the value of the one
/// before.
const MAX_ASSIGNED: usize = 2000;

/// Checks a text with `${{ }}` expressions and no statements.
///
/// # Errors
/// The limit that the text exceeds.
pub fn check_text(text: &str) -> Result<(), LimitError> {
    if text.len() > MAX_TEXT_BYTES {
        return Err(LimitError::Text);
    }
    let mut scan = Scan {
        rest: text,
        statements: Statements::default(),
    };
    scan.text(false)
}

/// Checks a template with `${{ }}` expressions and `${% %}` statements. Its length is for the
/// caller to limit.
///
/// # Errors
/// The limit that the template exceeds.
pub fn check_blocks(text: &str) -> Result<(), LimitError> {
    let mut scan = Scan {
        rest: text,
        statements: Statements::default(),
    };
    scan.text(true)
}

/// Checks one expression without its braces, such as a step's `if:`.
///
/// # Errors
/// The limit that the expression exceeds.
pub fn check_condition(expression: &str) -> Result<(), LimitError> {
    let mut scan = Scan {
        rest: expression,
        statements: Statements::default(),
    };
    scan.expression("}}").map(drop)
}

/// A text that is read from its beginning to its end.
struct Scan<'a> {
    rest: &'a str,
    statements: Statements,
}

impl<'a> Scan<'a> {
    fn text(&mut self, statements: bool) -> Result<(), LimitError> {
        while let Some((start, marker)) = first_marker(self.rest) {
            self.skip(start + marker.len());
            match marker {
                "${{" => {
                    self.expression("}}")?;
                }
                "${%" if !statements => return Err(LimitError::Statement),
                "${%" => self.statement()?,
                _ => self.skip_past("#>$"),
            }
        }
        Ok(())
    }

    fn skip(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }

    fn skip_past(&mut self, end: &str) {
        self.rest = self
            .rest
            .split_once(end)
            .map(|(_, rest)| rest)
            .unwrap_or_default();
    }

    fn statement(&mut self) -> Result<(), LimitError> {
        // A sign next to the marker is about white space.
        let inside = self.rest.trim_start_matches(['-', '+']);
        if let Some(rest) = tag(inside, "raw") {
            self.rest = after_raw(rest);
            return Ok(());
        }
        let word = first_word(inside);
        let expression = self.expression("%}")?;
        self.statements.add(word, expression)
    }

    /// Reads one expression up to its end marker. Its depth, and whether it has an `=`.
    fn expression(&mut self, end: &str) -> Result<Expression, LimitError> {
        let mut depth = Depth::default();
        let began = self.rest.len();
        while let Some(first) = self.rest.chars().next() {
            if depth.is_outside() && self.rest.starts_with(end) {
                self.skip(end.len());
                break;
            }
            let length = token_length(self.rest, first);
            depth.add(&self.rest[..length])?;
            self.skip(length);
            if began - self.rest.len() > MAX_EXPRESSION_BYTES {
                return Err(LimitError::Expression);
            }
        }
        Ok(Expression {
            depth: depth.most,
            assigns: depth.assigns,
        })
    }
}

fn first_marker(text: &str) -> Option<(usize, &'static str)> {
    let find = |marker: &'static str| text.find(marker).map(|start| (start, marker));
    ["${{", "${%", "$<#"].into_iter().filter_map(find).min()
}

/// Text behind a tag that is one word, such as `${% raw %}`, when `text` begins behind its opening.
fn tag<'a>(text: &'a str, word: &str) -> Option<&'a str> {
    let white = |letter: char| letter.is_ascii_whitespace();
    let rest = text
        .trim_start_matches(white)
        .strip_prefix(word)?
        .trim_start_matches(white);
    rest.strip_prefix(['-', '+'])
        .unwrap_or(rest)
        .strip_prefix("%}")
}

/// Text behind the end of a raw block.
fn after_raw(mut text: &str) -> &str {
    while let Some((_, rest)) = text.split_once("${%") {
        let inside = rest.strip_prefix(['-', '+']).unwrap_or(rest);
        if let Some(after) = tag(inside, "endraw") {
            return after;
        }
        text = rest;
    }
    ""
}

fn first_word(text: &str) -> &str {
    let text = text.trim_start();
    let end = text
        .find(|letter: char| !letter.is_ascii_alphanumeric() && letter != '_')
        .unwrap_or(text.len());
    &text[..end]
}

/// The length of the token that `text` begins with.
fn token_length(text: &str, first: char) -> usize {
    let is_word = |letter: char| letter.is_alphanumeric() || letter == '_';
    match first {
        '\'' | '"' => string_length(text, first),
        '=' | '!' | '<' | '>' if text[1..].starts_with('=') => 2,
        first if first.is_whitespace() => text.len() - text.trim_start().len(),
        first if is_word(first) => text.find(|letter| !is_word(letter)).unwrap_or(text.len()),
        other => other.len_utf8(),
    }
}

fn string_length(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, letter) in text.char_indices().skip(1) {
        match letter {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            letter if letter == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// State of the scanner within an expression.
struct Expression {
    depth: usize,
    assigns: bool,
}

/// Words that the parser follows by recursion as it does operators.
const OPERATORS: &[&str] = &["and", "else", "if", "in", "is", "not", "or"];

/// The depth of an expression as far as it was read.
///
/// Items between commas do not depend on each other: at each, the count of its bracket begins
/// again.
#[derive(Default)]
struct Depth {
    /// The operators of each bracket that is open, since its last comma; the expression itself is
    /// the first.
    outer: Vec<usize>,
    here: usize,
    /// The sum of `outer`.
    below: usize,
    most: usize,
    assigns: bool,
}

impl Depth {
    fn is_outside(&self) -> bool {
        self.outer.is_empty()
    }

    fn add(&mut self, token: &str) -> Result<(), LimitError> {
        let first = token.chars().next().unwrap_or(' ');
        match first {
            ' ' | '\t' | '\n' | '\r' | '\'' | '"' => {}
            '(' | '[' | '{' => {
                self.here += BRACKET;
                self.below += self.here;
                self.outer.push(std::mem::take(&mut self.here));
            }
            ')' | ']' | '}' => {
                if let Some(outer) = self.outer.pop() {
                    self.below -= outer;
                    self.here = outer;
                }
            }
            ',' => self.here = 0,
            first if first.is_alphanumeric() || first == '_' => {
                self.here += usize::from(OPERATORS.contains(&token))
            }
            _ => {
                self.assigns |= token == "=";
                self.here += 1;
            }
        }
        self.most = self.most.max(self.below + self.here);
        if self.most > MAX_EXPRESSION_DEPTH {
            Err(LimitError::Depth)
        } else {
            Ok(())
        }
    }
}

/// The statements of a template as far as they were read.
#[derive(Default)]
struct Statements {
    /// The branches of each statement that is open.
    open: Vec<usize>,
    /// The sum of `open`.
    depth: usize,
    assigned: usize,
}

impl Statements {
    fn add(&mut self, word: &str, expression: Expression) -> Result<(), LimitError> {
        match word {
            "set" | "with" | "macro" | "call" => self.assigned += 1 + expression.depth,
            _ => {}
        }
        match word {
            "elif" => {
                self.depth += 1;
                match self.open.last_mut() {
                    Some(branches) => *branches += 1,
                    None => self.open.push(1),
                }
            }
            "set" if expression.assigns => {}
            "for" | "if" | "with" | "set" | "filter" | "macro" | "call" | "block"
            | "autoescape" => {
                self.depth += 1;
                self.open.push(1);
            }
            word if word.starts_with("end") => self.depth -= self.open.pop().unwrap_or_default(),
            _ => {}
        }
        if self.depth > MAX_STATEMENTS {
            return Err(LimitError::Statements);
        }
        if self.assigned > MAX_ASSIGNED {
            Err(LimitError::Assignments)
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn accepted(expression: &str) {
        assert_eq!(
            check_text(&format!("a ${{{{ {expression} }}}} b")),
            Ok(()),
            "{expression}"
        );
        assert_eq!(check_condition(expression), Ok(()), "{expression}");
    }

    #[track_caller]
    fn refused(expression: &str, expect: LimitError) {
        assert_eq!(
            check_text(&format!("${{{{ 1 }}}} ${{{{ {expression} }}}}")),
            Err(expect.clone())
        );
        assert_eq!(
            check_blocks(&format!("${{% if {expression} %}}${{% endif %}}")),
            Err(expect.clone())
        );
        assert_eq!(check_condition(expression), Err(expect));
    }

    #[test]
    fn chains_of_every_kind_are_limited() {
        for (link, rest) in [
            ("-", "1"),
            ("not ", "1"),
            ("!", "1"),
            ("1 + ", "1"),
            ("1 ~ ", "1"),
            ("2 ** ", "1"),
            ("1 == ", "1"),
            ("a and ", "1"),
            ("a && ", "1"),
            ("a || ", "1"),
            ("1 if 1 else ", "1"),
            ("a.", "a"),
            ("1 in ", "1"),
            ("(", "1"),
            ("[", "1"),
            ("{1: ", "1"),
            ("a(", "1"),
            ("a[", "1"),
        ] {
            accepted(&format!("{}{rest}", link.repeat(40)));
            refused(&format!("{}{rest}", link.repeat(300)), LimitError::Depth);
        }
        for link in ["|abs", ".a", "[0]", "()", " is none", " if 1", " - 1"] {
            accepted(&format!("a{}", link.repeat(40)));
            refused(&format!("a{}", link.repeat(300)), LimitError::Depth);
        }
    }

    #[test]
    fn items_beside_each_other_are_no_chain() {
        accepted(&format!("[{}]", "a.b + -1, ".repeat(1000)));
        accepted(&format!("f({})", "x=1, ".repeat(1000)));
        assert_eq!(
            check_text(&"${{ parameters.name }} - . | (".repeat(1000)),
            Ok(())
        );
        let long = format!("'{}'", "-".repeat(1000));
        accepted(&long);
    }

    #[test]
    fn lengths_are_limited() {
        refused(
            &format!("'{}'", "x".repeat(MAX_EXPRESSION_BYTES)),
            LimitError::Expression,
        );
        assert_eq!(
            check_text(&"x".repeat(MAX_TEXT_BYTES + 1)),
            Err(LimitError::Text)
        );
    }

    #[test]
    fn an_end_within_a_string_or_bracket_is_none() {
        let deep = "-".repeat(300);
        for hidden in ["'}}'", "\"}}\"", "'\\'}}'", "{'a': {}}"] {
            let text = format!("${{{{ {hidden} {deep}1 }}}}");
            assert_eq!(check_text(&text), Err(LimitError::Depth), "{hidden}");
        }
        assert_eq!(check_text(&format!("${{{{ '}}}}' }}}} {deep}")), Ok(()));
        assert_eq!(
            check_text(&format!("$<# ' #>$ ${{{{ {deep} }}}}")),
            Err(LimitError::Depth)
        );
    }

    #[test]
    fn statements_are_refused_among_expressions_and_limited_in_templates() {
        assert_eq!(check_text("${% if a %}"), Err(LimitError::Statement));
        assert_eq!(
            check_blocks(&"${% if a %}x${% endif %}".repeat(1000)),
            Ok(())
        );
        assert_eq!(
            check_blocks(&"${% if a %}".repeat(300)),
            Err(LimitError::Statements)
        );
        let branches = format!("${{% if a %}}{}${{% endif %}}", "${% elif a %}".repeat(300));
        assert_eq!(check_blocks(&branches), Err(LimitError::Statements));
        assert_eq!(
            check_blocks(&"${% set x = [x] %}".repeat(2000)),
            Err(LimitError::Assignments)
        );
        assert_eq!(check_blocks(&"${% set x = 1 %}".repeat(100)), Ok(()));
    }

    #[test]
    fn a_raw_block_hides_what_looks_like_a_quote() {
        let deep = "-".repeat(300);
        let hide =
            |raw: &str| format!("{raw} ${{{{ it's }}}} ${{% endraw %}} ${{{{ {deep}1 }}}} '");
        assert_eq!(check_blocks(&hide("${% raw %}")), Err(LimitError::Depth));
        assert_eq!(check_blocks(&hide("${%- raw -%}")), Err(LimitError::Depth));
        assert_eq!(
            check_blocks(&format!(
                "${{% raw %}} ${{{{ {deep}1 }}}} ${{%- endraw -%}}"
            )),
            Ok(())
        );
    }
}
