//! Expressions in a shell script: values, never code.
//!
//! The value of an expression does not become part of the script. It goes into an environment
//! variable, and the script gets a quoted reference in its place, which the shell expands once and
//! does not parse again. That requires a known context: a word, single or double quotes, or `$( )`
//! in either. In every other context an expression is refused when the workflow is read.

use surefoot::{Segment, split_expressions};

/// Prefix of the variables' names; a number follows.
const VARIABLE: &str = "SUREFOOT_VALUE_";

/// Words after which a command begins.
const OPENERS: [&str; 10] = [
    "if", "then", "else", "elif", "do", "while", "until", "!", "{", "time",
];

/// Commands that interpret their arguments as code.
const READERS: [&str; 8] = [
    "eval", "source", ".", "trap", "let", "alias", "exec", "command",
];

/// Shells, which do so after `-c`.
const SHELLS: [&str; 6] = ["sh", "bash", "dash", "zsh", "ksh", "ash"];

/// A script with its expressions replaced.
#[derive(Debug, PartialEq)]
pub(super) struct Script {
    /// The script, with references to variables.
    pub(super) text: String,
    /// The variables, each with the text that it is rendered from.
    pub(super) variables: Vec<(String, String)>,
}

/// An expression where its value could be interpreted as code, or would not be read at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "field `shell`: an expression stands {0}: write `env: {{ VALUE: \"${{{{ ... }}}}\" }}` beside `shell`, and \"$VALUE\" in the \
     script"
)]
pub(super) struct ShellError(&'static str);

impl ShellError {
    /// A `with` that is one expression: its script would be the submitter's.
    pub(super) const WHOLE: Self = Self("in place of the whole `with`");
}

/// Replaces the expressions of a script.
///
/// # Errors
/// If an expression is in an unsupported context; the error names the context.
pub(super) fn quote(script: &str) -> Result<Script, ShellError> {
    if !script.contains("${{") {
        return Ok(Script {
            text: script.to_owned(),
            variables: Vec::new(),
        });
    }
    let segments = split_expressions(script).ok_or(ShellError("without its end, `}}`"))?;
    let mut tokens = Vec::new();
    for segment in &segments {
        match segment {
            Segment::Literal(literal) => tokens.extend(literal.chars().map(Token::Letter)),
            Segment::Expression(expression) => tokens.push(Token::Expression(expression)),
        }
    }
    let mut reader = Reader {
        tokens,
        at: 0,
        text: String::new(),
        variables: Vec::new(),
        frames: vec![Frame::default()],
    };
    reader.read()?;
    Ok(Script {
        text: reader.text,
        variables: reader.variables,
    })
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Token<'a> {
    Letter(char),
    Expression(&'a str),
}

/// The open quotes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Quote {
    #[default]
    None,
    Single,
    Double,
}

/// A list of commands: the script itself, or the content of brackets.
#[derive(Default)]
struct Frame {
    quote: Quote,
    /// The word so far, as it is written.
    word: String,
    /// The command that the words belong to; empty where one is about to begin.
    command: String,
    /// True after a word such as `-c`.
    has_code_flag: bool,
    /// True if the word is the target of a redirection.
    is_target: bool,
}

impl Frame {
    fn end_word(&mut self) {
        let word = std::mem::take(&mut self.word);
        if word.is_empty() {
            return;
        }
        self.has_code_flag |= word.starts_with('-') && word.contains('c');
        if std::mem::take(&mut self.is_target) || !self.command.is_empty() {
            return;
        }
        if !OPENERS.contains(&word.as_str()) && !is_assignment(&word) {
            self.command = word;
        }
    }

    fn end_command(&mut self) {
        self.end_word();
        self.command.clear();
        self.has_code_flag = false;
        self.is_target = false;
    }

    /// Returns the context if the current command does not allow an expression here.
    fn refuses(&self) -> Option<&'static str> {
        let name = self.command.rsplit('/').next().unwrap_or_default();
        if self.command.is_empty() && !self.is_target && !is_assignment(&self.word) {
            return Some("in place of a command's name");
        }
        if READERS.contains(&name) || (SHELLS.contains(&name) && self.has_code_flag) {
            return Some("among the arguments of a command that reads them as code");
        }
        None
    }
}

fn is_assignment(word: &str) -> bool {
    word.split_once('=').is_some_and(|(name, _)| {
        !name.starts_with(|first: char| first.is_ascii_digit())
            && !name.is_empty()
            && name
                .chars()
                .all(|letter| letter.is_ascii_alphanumeric() || letter == '_')
    })
}

struct Reader<'a> {
    tokens: Vec<Token<'a>>,
    at: usize,
    text: String,
    variables: Vec<(String, String)>,
    frames: Vec<Frame>,
}

impl Reader<'_> {
    fn read(&mut self) -> Result<(), ShellError> {
        while let Some(token) = self.tokens.get(self.at).copied() {
            self.at += 1;
            match (token, self.frame().quote) {
                (Token::Expression(expression), quote) => self.expression(expression, quote)?,
                (Token::Letter(letter), Quote::Single) => self.single(letter),
                (Token::Letter(letter), Quote::Double) => self.double(letter)?,
                (Token::Letter(letter), Quote::None) => self.plain(letter)?,
            }
        }
        match self.frames.as_slice() {
            [frame] if frame.quote == Quote::None => Ok(()),
            _ => Err(ShellError(
                "in a script whose quotes or brackets are not closed",
            )),
        }
    }

    fn frame(&mut self) -> &mut Frame {
        self.frames
            .last_mut()
            .expect("the script itself is never closed")
    }

    fn next_is(&self, letter: char) -> bool {
        self.tokens.get(self.at) == Some(&Token::Letter(letter))
    }

    fn push(&mut self, letter: char) {
        self.text.push(letter);
        self.frame().word.push(letter);
    }

    fn expression(&mut self, expression: &str, quote: Quote) -> Result<(), ShellError> {
        if let Some(place) = self.frame().refuses() {
            return Err(ShellError(place));
        }
        if self.text.ends_with('$') && quote != Quote::Single {
            return Err(ShellError("behind a `$`"));
        }
        let name = format!("{VARIABLE}{}", self.variables.len() + 1);
        self.text.push_str(&match quote {
            Quote::None => format!("\"${{{name}}}\""),
            Quote::Double => format!("${{{name}}}"),
            Quote::Single => format!("'\"${{{name}}}\"'"),
        });
        self.frame().word.push('"');
        self.variables
            .push((name, format!("${{{{ {expression} }}}}")));
        Ok(())
    }

    fn single(&mut self, letter: char) {
        self.push(letter);
        if letter == '\'' {
            self.frame().quote = Quote::None;
        }
    }

    fn double(&mut self, letter: char) -> Result<(), ShellError> {
        match letter {
            '"' => {
                self.push(letter);
                self.frame().quote = Quote::None;
                Ok(())
            }
            '\\' => self.escape(),
            '$' => self.dollar(),
            '`' => Err(ShellError(
                "in a script with a backquote, in place of which `$( )` can be used",
            )),
            letter => {
                self.push(letter);
                Ok(())
            }
        }
    }

    fn plain(&mut self, letter: char) -> Result<(), ShellError> {
        match letter {
            '\'' | '"' => {
                self.push(letter);
                self.frame().quote = if letter == '"' {
                    Quote::Double
                } else {
                    Quote::Single
                };
            }
            '\\' => self.escape()?,
            '$' => self.dollar()?,
            '`' => {
                return Err(ShellError(
                    "in a script with a backquote, in place of which `$( )` can be used",
                ));
            }
            '#' if self.frame().word.is_empty() => self.comment(),
            '<' if self.next_is('<') => return Err(ShellError("in a script with a here-document")),
            '<' | '>' => self.redirection(letter),
            '(' if self.next_is('(') => {
                return Err(ShellError("in a script with arithmetic, `(( ))`"));
            }
            '(' => self.open(),
            ')' => self.close(),
            '\n' | ';' | '&' | '|' => {
                self.word_ends()?;
                self.text.push(letter);
                // `>&` and `>|` are redirections.
                if !(matches!(letter, '&' | '|') && self.frame().is_target) {
                    self.frame().end_command();
                }
            }
            letter if letter.is_whitespace() => {
                self.word_ends()?;
                self.text.push(letter);
                self.frame().end_word();
            }
            letter => self.push(letter),
        }
        Ok(())
    }

    /// Refuses a word after which the rest of the script may not be parsed as it seems.
    fn word_ends(&mut self) -> Result<(), ShellError> {
        let is_nested = self.frames.len() > 1;
        match self.frame().word.as_str() {
            "[[" => Err(ShellError(
                "in a script with `[[`, in place of which `[` can be used",
            )),
            "case" if is_nested => Err(ShellError("in a script with `case` in brackets")),
            _ => Ok(()),
        }
    }

    fn redirection(&mut self, letter: char) {
        let frame = self.frame();
        if frame.word.chars().all(|letter| letter.is_ascii_digit()) {
            frame.word.clear();
        }
        frame.end_word();
        frame.is_target = true;
        self.text.push(letter);
    }

    fn escape(&mut self) -> Result<(), ShellError> {
        self.push('\\');
        match self.tokens.get(self.at).copied() {
            Some(Token::Expression(_)) => Err(ShellError("behind a backslash")),
            Some(Token::Letter(letter)) => {
                self.at += 1;
                self.push(letter);
                Ok(())
            }
            None => Ok(()),
        }
    }

    fn dollar(&mut self) -> Result<(), ShellError> {
        self.push('$');
        let next = match self.tokens.get(self.at) {
            Some(Token::Letter(letter)) => *letter,
            _ => return Ok(()),
        };
        match next {
            '(' if self.tokens.get(self.at + 1) == Some(&Token::Letter('(')) => {
                Err(ShellError("in a script with arithmetic, `$(( ))`"))
            }
            '(' => {
                self.at += 1;
                self.text.push('(');
                self.frames.push(Frame::default());
                Ok(())
            }
            '{' => self.parameter(),
            '[' => Err(ShellError("in a script with arithmetic, `$[ ]`")),
            '\'' | '"' if self.frame().quote == Quote::None => {
                Err(ShellError("in a script with `$'` or `$\"`"))
            }
            '$' | '?' | '!' | '#' | '@' | '*' | '-' => {
                self.at += 1;
                self.push(next);
                Ok(())
            }
            _ => Ok(()),
        }
    }

    /// `${NAME}`, with a default or the like that has no quotes and no expansion of its own.
    fn parameter(&mut self) -> Result<(), ShellError> {
        let refused = Err(ShellError(
            "in a script with `${ }` that has quotes, `$` or an expression in it",
        ));
        while let Some(token) = self.tokens.get(self.at).copied() {
            self.at += 1;
            match token {
                Token::Letter('}') => {
                    self.push('}');
                    return Ok(());
                }
                Token::Letter('$' | '`' | '"' | '\'' | '\\') | Token::Expression(_) => {
                    return refused;
                }
                Token::Letter(letter) => self.push(letter),
            }
        }
        refused
    }

    /// Removes a comment, which means nothing to the shell.
    fn comment(&mut self) {
        while let Some(token) = self.tokens.get(self.at) {
            if *token == Token::Letter('\n') {
                break;
            }
            self.at += 1;
        }
    }

    fn open(&mut self) {
        self.frame().end_word();
        self.text.push('(');
        self.frames.push(Frame::default());
    }

    /// The end of brackets; at the outermost level it is that of a pattern of `case`, after which a
    /// command begins.
    fn close(&mut self) {
        self.text.push(')');
        if self.frames.len() == 1 {
            self.frame().end_command();
            return;
        }
        self.frames.pop();
        self.frame().word.push(')');
    }
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    /// Values that would do something if they were read as code, or be split.
    const VALUES: [&str; 14] = [
        "plain",
        "two  words",
        "; echo HACKED #",
        "$(echo HACKED)",
        "`echo HACKED`",
        "\"; echo HACKED; \"",
        "'; echo HACKED; '",
        "' \" ` $ \\ * ? [a] {a,b} ~ ! # & | < > ( )",
        "a\necho HACKED\n",
        "${HOME} $HOME $$",
        "\\",
        "-n",
        "a[$(echo HACKED)]",
        "",
    ];

    fn run(script: &str, value: &str) -> String {
        let script = quote(script).unwrap_or_else(|error| panic!("{script}: {error}"));
        let mut command = Command::new("/bin/sh");
        command.arg("-c").arg(&script.text);
        for (name, _) in &script.variables {
            command.env(name, value);
        }
        let output = command.output().unwrap();
        assert!(
            output.status.success(),
            "{}\n{}",
            script.text,
            String::from_utf8_lossy(&output.stderr)
        );
        String::from_utf8(output.stdout).unwrap()
    }

    #[test]
    fn a_value_is_one_text_wherever_it_stands() {
        let places = [
            ("printf '[%s]' ${{ x }}", "[V]"),
            ("printf '[%s]' a${{ x }}b", "[aVb]"),
            ("printf '[%s]' \"a ${{ x }} b\"", "[a V b]"),
            ("printf '[%s]' 'a ${{ x }} b'", "[a V b]"),
            ("printf '[%s]' \"\\\"${{ x }}\\\"\"", "[\"V\"]"),
            ("printf '[%s]' '$x'${{ x }}\"$y\"", "[$xV]"),
            ("printf '[%s]' \"$(printf %s ${{ x }}; printf .)\"", "[V.]"),
            (
                "printf '[%s]' \"$(printf %s \"a${{ x }}\"; printf '.')\"",
                "[aV.]",
            ),
            (
                "printf '[%s]' \"$( (printf %s '${{ x }}'); printf .)\"",
                "[V.]",
            ),
            ("A=${{ x }}; printf '[%s]' \"$A\"", "[V]"),
            ("A=${{ x }} B=2 env -u Z printf '[%s]' ${{ x }}", "[V]"),
            (
                "# don't ${{ x }}\nprintf '[%s]' ${{ x }} # it's ${{ x }}",
                "[V]",
            ),
            ("printf '[%s]' it\\'s${{ x }}", "[it'sV]"),
            (
                "if [ ${{ x }} = \"${{ x }}\" ]; then printf '[%s]' ${{ x }}; fi",
                "[V]",
            ),
            (
                "case ${{ x }} in '${{ x }}') printf '[%s]' ${{ x }};; *) echo no;; esac",
                "[V]",
            ),
            (
                "for v in ${{ x }} ${{ x }}; do printf '[%s]' \"$v\"; done",
                "[V][V]",
            ),
            ("printf '[%s]' ${HOME:+x}${{ x }} 2>/dev/null", "[xV]"),
            ("{ printf '[%s]' ${{ x }}; } && ! false", "[V]"),
            ("printf '[%s]' \\\n  ${{ x }}", "[V]"),
            ("true ${{ x }} | printf '[%s]' \"${{ x }}\" & wait", "[V]"),
        ];
        for (script, expect) in places {
            for value in VALUES {
                // The shell itself would misread a `-n` or a word of `[`: that is the script's
                // affair.
                if script.starts_with("if [") && value.contains(['(', ')', '!']) {
                    continue;
                }
                assert_eq!(
                    run(script, value),
                    expect.replace('V', value),
                    "{script}\n{value}"
                );
            }
        }
    }

    #[test]
    fn an_expression_anywhere_else_is_refused() {
        let places = [
            ("${{ x }}", "command's name"),
            ("${{ x }} --version", "command's name"),
            ("\"${{ x }}\"", "command's name"),
            ("a; ${{ x }}", "command's name"),
            ("a && b-${{ x }} c", "command's name"),
            ("if ${{ x }}; then a; fi", "command's name"),
            ("A=1 ${{ x }}", "command's name"),
            ("echo \"$(${{ x }})\"", "command's name"),
            ("(${{ x }})", "command's name"),
            ("a\n${{ x }}", "command's name"),
            (">f ${{ x }}", "command's name"),
            ("eval ${{ x }}", "reads them as code"),
            ("eval \"echo ${{ x }}\"", "reads them as code"),
            ("sh -c \"echo ${{ x }}\"", "reads them as code"),
            ("/bin/bash -euc 'echo ${{ x }}'", "reads them as code"),
            (". ${{ x }}", "reads them as code"),
            ("trap 'rm ${{ x }}' EXIT", "reads them as code"),
            ("cat <<E\n${{ x }}\nE", "here-document"),
            ("cat <<'E'\n${{ x }}\nE", "here-document"),
            ("echo $((${{ x }} + 1))", "arithmetic"),
            ("echo \"$((${{ x }} + 1))\"", "arithmetic"),
            ("((${{ x }}))", "arithmetic"),
            ("echo $[${{ x }}]", "arithmetic"),
            ("echo `echo ${{ x }}`", "backquote"),
            ("echo \"`echo ${{ x }}`\"", "backquote"),
            ("echo ${A:-${{ x }}}", "`${ }`"),
            ("echo ${A:-\"b\"} ${{ x }}", "`${ }`"),
            ("echo \\${{ x }}", "backslash"),
            ("echo \"\\${{ x }}\"", "backslash"),
            ("echo $${{ x }}", "behind a `$`"),
            ("echo \"$${{ x }}\"", "behind a `$`"),
            ("echo $'a' ${{ x }}", "`$'`"),
            ("[[ ${{ x }} -eq 1 ]]", "`[[`"),
            ("echo $(case a in a) echo ${{ x }};; esac)", "`case`"),
            ("echo 'a ${{ x }}", "not closed"),
            ("echo $(a ${{ x }}", "not closed"),
            ("echo ${{ x", "without its end"),
        ];
        for (script, expect) in places {
            let error = quote(script).unwrap_err().to_string();
            assert!(error.contains(expect), "{script}: {error}");
            assert!(error.contains("env: { VALUE: \"${{ ... }}\" }"), "{error}");
        }
    }

    #[test]
    fn a_script_without_expressions_is_left_alone() {
        let script = "cat <<E\n$((1+1)) `date`\nE\n[[ a ]] # it's";
        assert_eq!(
            quote(script).unwrap(),
            Script {
                text: script.to_owned(),
                variables: vec![]
            }
        );
    }
}
