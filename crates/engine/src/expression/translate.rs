//! Translates an expression into the language of the template engine.
//!
//! The engine has neither the operators of GitHub Actions nor their conversions, and reads
//! `steps.get-it` as a subtraction. `a == b` becomes `__eq(a, b)`, `a && b` becomes `(__operand(a)
//! and b)`, and a name with a hyphen becomes a subscript where such a name exists. Filters, tests,
//! arithmetic, `and`, `or` and `not` stay as they are. What cannot be read is an error here, and
//! never passed on.

use std::collections::BTreeSet;

use super::functions;
use super::segments::string_length;

/// The names that stand under a path, such as the parameters under `parameters`.
pub(super) trait Names {
    /// Returns whether `name` stands under `path`; `None` when that cannot be known yet.
    fn has(&self, path: &[String], name: &str) -> Option<bool>;
}

/// A path that an expression reads, such as `steps`, `build`, `output`.
pub(crate) type Path = Vec<String>;

/// Brackets and unary operators within each other.
const MAX_DEPTH: usize = 32;

/// Comparisons one behind another, such as `a == b == c`.
const MAX_COMPARISONS: usize = 8;

/// Words that are no names.
const KEYWORDS: [&str; 7] = ["and", "or", "not", "in", "is", "if", "else"];

/// Words that are values.
const CONSTANTS: [&str; 7] = ["true", "false", "none", "null", "True", "False", "None"];

/// An expression for the template engine, and the paths that it reads.
#[derive(Debug)]
pub(super) struct Translated {
    pub(super) source: String,
    pub(super) paths: BTreeSet<Path>,
}

/// Translates one expression.
///
/// # Errors
/// A message that names the place in the expression.
pub(super) fn translate(text: &str, names: &dyn Names) -> Result<Translated, String> {
    let mut translator = Translator {
        text,
        at: 0,
        depth: 0,
        names,
        paths: BTreeSet::new(),
    };
    let source = translator.expression()?;
    match translator.peek() {
        None => Ok(Translated {
            source,
            paths: translator.paths,
        }),
        Some(_) => Err(translator.unexpected()),
    }
}

struct Translator<'a> {
    text: &'a str,
    at: usize,
    depth: usize,
    names: &'a dyn Names,
    paths: BTreeSet<Path>,
}

impl<'a> Translator<'a> {
    /// `value if condition else other`, or any of what binds closer.
    fn expression(&mut self) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                "the expression is nested too deep: split it over several steps".to_owned(),
            );
        }
        let mut value = self.or()?;
        if self.word("if") {
            let condition = self.or()?;
            let other = if self.word("else") {
                format!(" else {}", self.expression()?)
            } else {
                String::new()
            };
            value = format!("({value} if {condition}{other})");
        }
        self.depth -= 1;
        Ok(value)
    }

    fn or(&mut self) -> Result<String, String> {
        self.chain("||", "or", Self::and)
    }

    fn and(&mut self) -> Result<String, String> {
        self.chain("&&", "and", Self::not)
    }

    /// Operands with an operator of GitHub Actions or its word between them. The word keeps the
    /// engine's own idea of truth.
    fn chain(
        &mut self,
        sign: &str,
        word: &str,
        operand: fn(&mut Self) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut source = String::new();
        let mut last = operand(self)?;
        loop {
            if self.sign(sign) {
                source.push_str(&format!("__operand({last}) {word} "));
            } else if self.word(word) {
                source.push_str(&format!("{last} {word} "));
            } else {
                break;
            }
            last = operand(self)?;
        }
        Ok(if source.is_empty() {
            last
        } else {
            format!("({source}{last})")
        })
    }

    fn not(&mut self) -> Result<String, String> {
        if self.word("not") {
            return self.deeper(|here| Ok(format!("(not {})", here.not()?)));
        }
        self.equality()
    }

    fn equality(&mut self) -> Result<String, String> {
        let mut left = self.relation()?;
        for _ in 0..MAX_COMPARISONS {
            let function = match () {
                () if self.sign("==") => "__eq",
                () if self.sign("!=") => "__ne",
                () => return Ok(left),
            };
            left = format!("{function}({left}, {})", self.relation()?);
        }
        Err("the expression has too many comparisons in a row: use brackets".to_owned())
    }

    fn relation(&mut self) -> Result<String, String> {
        let mut left = self.sum()?;
        for _ in 0..MAX_COMPARISONS {
            let function = match () {
                () if self.sign("<=") => "__le",
                () if self.sign(">=") => "__ge",
                () if self.sign("<") => "__lt",
                () if self.sign(">") => "__gt",
                () if self.word("in") => {
                    left = format!("({left} in {})", self.sum()?);
                    continue;
                }
                () if self.words("not", "in") => {
                    left = format!("({left} not in {})", self.sum()?);
                    continue;
                }
                () if self.word("is") => {
                    left = self.test(&left)?;
                    continue;
                }
                () => return Ok(left),
            };
            left = format!("{function}({left}, {})", self.sum()?);
        }
        Err("the expression has too many comparisons in a row: use brackets".to_owned())
    }

    /// `is defined`, `is not divisibleby 3`, `is in([1])`.
    fn test(&mut self, value: &str) -> Result<String, String> {
        let not = if self.word("not") { "not " } else { "" };
        let name = self.name()?;
        let argument = match self.peek() {
            Some('(') => self.arguments()?,
            Some(first) if starts_argument(first) && !self.is_at_keyword() => {
                format!(" {}", self.unary()?)
            }
            _ => String::new(),
        };
        Ok(format!("({value} is {not}{name}{argument})"))
    }

    fn sum(&mut self) -> Result<String, String> {
        self.infix(&["+", "-"], Self::concatenation)
    }

    /// `a ~ b` is a text, so its operands are written as texts are.
    fn concatenation(&mut self) -> Result<String, String> {
        let first = self.product()?;
        if self.peek() != Some('~') {
            return Ok(first);
        }
        let mut source = format!("__text({first})");
        while self.sign("~") {
            source.push_str(&format!(" ~ __text({})", self.product()?));
        }
        Ok(format!("({source})"))
    }

    fn product(&mut self) -> Result<String, String> {
        const SIGNS: [&str; 5] = ["**", "//", "*", "/", "%"];
        let first = self.unary()?;
        let mut source = format!("__factor({first})");
        let mut is_product = false;
        while let Some(sign) = SIGNS.iter().find(|sign| self.sign(sign)) {
            is_product = true;
            source.push_str(&format!(" {sign} __factor({})", self.unary()?));
        }
        Ok(if is_product { source } else { first })
    }

    fn infix(
        &mut self,
        signs: &[&str],
        operand: fn(&mut Self) -> Result<String, String>,
    ) -> Result<String, String> {
        let mut source = operand(self)?;
        while let Some(sign) = signs.iter().find(|sign| self.sign(sign)) {
            source.push_str(&format!(" {sign} {}", operand(self)?));
        }
        Ok(source)
    }

    fn unary(&mut self) -> Result<String, String> {
        if self.peek() == Some('!') && !self.rest().starts_with("!=") {
            self.at += 1;
            return self.deeper(|here| Ok(format!("__not({})", here.unary()?)));
        }
        if self.sign("-") {
            return self.deeper(|here| Ok(format!("-{}", here.unary()?)));
        }
        self.postfix()
    }

    fn deeper(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<String, String>,
    ) -> Result<String, String> {
        self.depth += 1;
        if self.depth > MAX_DEPTH {
            return Err(
                "the expression is nested too deep: split it over several steps".to_owned(),
            );
        }
        let source = read(self)?;
        self.depth -= 1;
        Ok(source)
    }

    /// A value with what follows it: names, subscripts, calls and filters.
    fn postfix(&mut self) -> Result<String, String> {
        let (mut source, mut path) = self.primary()?;
        let mut is_path = path.is_some();
        let mut steps = path.take().unwrap_or_default();
        loop {
            if self.peek() == Some('.') {
                self.at += 1;
                let name = if is_path {
                    self.member(&steps)?
                } else {
                    self.name()?
                };
                source.push_str(&member_source(&name));
                if is_path {
                    steps.push(name);
                }
            } else if self.peek() == Some('[') {
                let (subscript, literal) = self.subscript()?;
                source.push_str(&subscript);
                is_path &= literal.is_some();
                if is_path {
                    steps.extend(literal);
                }
            } else if self.peek() == Some('(') {
                // A method, whose name is no part of what is read.
                if is_path {
                    steps.pop();
                }
                is_path = false;
                source.push_str(&self.arguments()?);
            } else if self.peek() == Some('|') && !self.rest().starts_with("||") {
                self.at += 1;
                is_path = false;
                source.push_str(&format!("|{}", self.name()?));
                if self.peek() == Some('(') {
                    source.push_str(&self.arguments()?);
                }
            } else {
                break;
            }
        }
        if !steps.is_empty() {
            self.paths.insert(steps);
        }
        Ok(source)
    }

    /// A literal, a name or something in brackets; with the path that it begins, if it does.
    fn primary(&mut self) -> Result<(String, Option<Path>), String> {
        let first = self.peek().ok_or_else(|| self.unexpected())?;
        match first {
            '\'' | '"' => Ok((self.string()?.0, None)),
            '0'..='9' => Ok((self.number(), None)),
            '(' => Ok((self.list('(', ')')?, None)),
            '[' => Ok((self.list('[', ']')?, None)),
            '{' => Ok((self.object()?, None)),
            _ if is_name_start(first) && !self.is_at_keyword() => self.word_value(),
            _ => Err(self.unexpected()),
        }
    }

    fn word_value(&mut self) -> Result<(String, Option<Path>), String> {
        let word = self.name()?;
        if word == "null" {
            return Ok(("none".to_owned(), None));
        }
        if CONSTANTS.contains(&word.as_str()) {
            return Ok((word, None));
        }
        if self.peek() == Some('(') {
            let known = functions::NAMES
                .iter()
                .find(|name| name.eq_ignore_ascii_case(&word));
            let function = known.map_or(word, |name| (*name).to_owned());
            if function.starts_with("__") {
                return Err(format!("`{function}` is no function"));
            }
            return Ok((format!("{function}{}", self.arguments()?), None));
        }
        Ok((word.clone(), Some(vec![word])))
    }

    fn string(&mut self) -> Result<(String, String), String> {
        let length =
            string_length(self.rest()).ok_or_else(|| "a string has no end: close it".to_owned())?;
        let quoted = &self.rest()[..length];
        self.at += length;
        let inside = &quoted[1..length - 1];
        // `''` is a quote in a single-quoted string, for which the engine has a backslash.
        let escaped = if quoted.starts_with('\'') {
            inside.replace("''", "\\'")
        } else {
            inside.to_owned()
        };
        let quote = &quoted[..1];
        Ok((
            format!("{quote}{escaped}{quote}"),
            inside.replace("''", "'"),
        ))
    }

    fn number(&mut self) -> String {
        let bytes = self.rest().as_bytes();
        let mut length = 0;
        while let Some(&byte) = bytes.get(length) {
            let is_exponent_sign = matches!(byte, b'+' | b'-')
                && matches!(bytes[length - 1], b'e' | b'E')
                && !bytes.starts_with(b"0x")
                && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
            let is_fraction = byte == b'.' && bytes.get(length + 1).is_some_and(u8::is_ascii_digit);
            if !(byte.is_ascii_alphanumeric() || byte == b'_' || is_exponent_sign || is_fraction) {
                break;
            }
            length += 1;
        }
        let number = self.rest()[..length].to_owned();
        self.at += length;
        number
    }

    fn list(&mut self, open: char, close: char) -> Result<String, String> {
        let items = self.items(open, close, Self::expression)?;
        Ok(format!("{open}{items}{close}"))
    }

    fn object(&mut self) -> Result<String, String> {
        let field = |here: &mut Self| {
            let name = here.expression()?;
            here.expect(':')?;
            Ok(format!("{name}: {}", here.expression()?))
        };
        Ok(format!("{{{}}}", self.items('{', '}', field)?))
    }

    fn arguments(&mut self) -> Result<String, String> {
        let argument = |here: &mut Self| {
            let start = here.at;
            if here.peek().is_some_and(is_name_start) {
                let name = here.name()?;
                if here.peek() == Some('=') && !here.rest().starts_with("==") {
                    here.at += 1;
                    return Ok(format!("{name}={}", here.expression()?));
                }
            }
            here.at = start;
            here.expression()
        };
        Ok(format!("({})", self.items('(', ')', argument)?))
    }

    /// Items with commas between them. A comma behind the last one is kept: it makes a list of
    /// `(1,)`.
    fn items(
        &mut self,
        open: char,
        close: char,
        item: impl Fn(&mut Self) -> Result<String, String>,
    ) -> Result<String, String> {
        self.expect(open)?;
        let mut items = String::new();
        while self.peek() != Some(close) {
            items.push_str(&item(self)?);
            if self.peek() != Some(close) {
                self.expect(',')?;
                items.push_str(", ");
            }
        }
        self.expect(close)?;
        Ok(items)
    }

    /// `[index]` or `[from:to:step]`; with the name, when it is a literal string.
    fn subscript(&mut self) -> Result<(String, Option<String>), String> {
        self.expect('[')?;
        if matches!(self.peek(), Some('\'' | '"')) {
            let start = self.at;
            let (source, name) = self.string()?;
            if self.sign("]") {
                return Ok((format!("[{source}]"), Some(name)));
            }
            self.at = start;
        }
        let mut source = String::from("[");
        while self.peek() != Some(']') {
            let part = if self.sign(":") {
                ":".to_owned()
            } else {
                self.expression()?
            };
            source.push_str(&part);
        }
        self.expect(']')?;
        Ok((source + "]", None))
    }

    /// The name behind the dot of a path. One with hyphens is read as far as such a name exists.
    fn member(&mut self, path: &[String]) -> Result<String, String> {
        self.peek();
        let longest = hyphenated_length(self.rest());
        if longest == 0 {
            return Err(self.unexpected());
        }
        let text = &self.rest()[..longest];
        let cuts = text.match_indices('-').map(|(at, _)| at).chain([longest]);
        let candidates: Vec<&str> = cuts.map(|cut| &text[..cut]).collect();
        let mut known = Vec::new();
        for candidate in &candidates {
            match self.names.has(path, candidate) {
                Some(true) => known.push(*candidate),
                Some(false) => {}
                // Nothing is known yet: the names are checked once more when there are values.
                None => return Ok(self.take(text)),
            }
        }
        match known[..] {
            [] => Ok(self.take(text)),
            [one] => Ok(self.take(one)),
            _ => {
                let path = path.join(".");
                Err(format!(
                    "`{path}.{text}` may be a name or a subtraction, for there are {}: write {path}[\"{text}\"], or \
                     spaces around the minus",
                    known
                        .iter()
                        .map(|name| format!("`{name}`"))
                        .collect::<Vec<_>>()
                        .join(" and ")
                ))
            }
        }
    }

    fn take(&mut self, text: &str) -> String {
        self.at += text.len();
        text.to_owned()
    }

    fn name(&mut self) -> Result<String, String> {
        self.peek();
        let length = word_length(self.rest());
        if length == 0 {
            return Err(self.unexpected());
        }
        let name = self.rest()[..length].to_owned();
        self.at += length;
        Ok(name)
    }

    fn rest(&self) -> &'a str {
        &self.text[self.at..]
    }

    /// The next character that is no white space.
    fn peek(&mut self) -> Option<char> {
        let rest = self.rest();
        self.at += rest.len() - rest.trim_start().len();
        self.rest().chars().next()
    }

    fn sign(&mut self, sign: &str) -> bool {
        self.peek();
        let is_here = self.rest().starts_with(sign);
        if is_here {
            self.at += sign.len();
        }
        is_here
    }

    fn word(&mut self, word: &str) -> bool {
        self.peek();
        let is_here = &self.rest()[..word_length(self.rest())] == word;
        if is_here {
            self.at += word.len();
        }
        is_here
    }

    fn words(&mut self, first: &str, second: &str) -> bool {
        let start = self.at;
        let are_here = self.word(first) && self.word(second);
        if !are_here {
            self.at = start;
        }
        are_here
    }

    fn is_at_keyword(&self) -> bool {
        KEYWORDS.contains(&&self.rest()[..word_length(self.rest())])
    }

    fn expect(&mut self, wanted: char) -> Result<(), String> {
        if self.peek() != Some(wanted) {
            return Err(format!(
                "{}, where `{wanted}` is expected",
                self.unexpected()
            ));
        }
        self.at += wanted.len_utf8();
        Ok(())
    }

    fn unexpected(&self) -> String {
        match self.rest().trim_start().chars().next() {
            Some(letter) => format!(
                "unexpected `{letter}` at character {}",
                self.text[..self.at].chars().count() + 1
            ),
            None => "the expression ends too early".to_owned(),
        }
    }
}

fn starts_argument(first: char) -> bool {
    is_name_start(first) || first.is_ascii_digit() || matches!(first, '\'' | '"' | '[' | '{')
}

fn is_name_start(letter: char) -> bool {
    letter.is_alphabetic() || letter == '_'
}

fn word_length(text: &str) -> usize {
    text.find(|letter: char| !letter.is_alphanumeric() && letter != '_')
        .unwrap_or(text.len())
}

/// The length of a name that may have hyphens between its words.
fn hyphenated_length(text: &str) -> usize {
    let mut length = word_length(text);
    while text[length..].starts_with('-') && word_length(&text[length + 1..]) > 0 && length > 0 {
        length += 1 + word_length(&text[length + 1..]);
    }
    length
}

fn member_source(name: &str) -> String {
    let is_plain = name.starts_with(is_name_start)
        && word_length(name) == name.len()
        && !KEYWORDS.contains(&name)
        && !CONSTANTS.contains(&name);
    if is_plain {
        format!(".{name}")
    } else {
        format!("[{}]", serde_json::Value::from(name))
    }
}
