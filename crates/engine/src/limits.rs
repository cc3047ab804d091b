//! Limits of what enters a run: values by nesting and size, texts with expressions by length and
//! depth.
//!
//! Every reader of the project reads deeper than these limits allow to write, and every accepted
//! text is parsed and rendered within the 2 MB stack of a worker's thread. So nothing that was
//! accepted once stops a process that reads it later.

mod text;
mod value;

pub use text::{
    MAX_EXPRESSION_BYTES, MAX_EXPRESSION_DEPTH, MAX_TEXT_BYTES, check_blocks, check_condition,
    check_text,
};
pub use value::{
    MAX_NESTING, MAX_RUN_OUTPUT_BYTES, MAX_VALUE_BYTES, check_run_output, check_value,
};

/// A value or a text beyond a limit. The message fits behind the name of what is checked.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum LimitError {
    /// Lists and objects within each other.
    #[error("is nested more than {MAX_NESTING} levels deep: flatten it")]
    Nesting,
    /// The length of a value as JSON.
    #[error("has more than {} MiB as JSON: keep large data in files", MAX_VALUE_BYTES >> 20)]
    Size,
    /// The length of all outputs of a run as JSON.
    #[error("brings the outputs of this run to more than {} MiB: keep large data in files", MAX_RUN_OUTPUT_BYTES >> 20)]
    RunOutput,
    /// The length of a text with expressions.
    #[error("has more than {} MiB: split it", MAX_TEXT_BYTES >> 20)]
    Text,
    /// The length of one expression.
    #[error("has an expression of more than {} KiB: split it over several steps", MAX_EXPRESSION_BYTES >> 10)]
    Expression,
    /// Operators, brackets and filters that depend on each other in one expression.
    #[error(
        "has an expression with more than {MAX_EXPRESSION_DEPTH} operators in a chain: split it over several steps"
    )]
    Depth,
    /// Statements within each other, `elif` branches included, in a template.
    #[error("has statements nested too deep, or too many `elif` branches: split the file")]
    Statements,
    /// Assignments in a template.
    #[error("has too many or too deep `set` and `with` statements: split the file")]
    Assignments,
    /// A statement where only expressions are allowed.
    #[error("has a statement, `${{%`: only expressions, `${{{{ }}}}`, are allowed here")]
    Statement,
    /// The length of what an expression gives or a template renders to.
    #[error("gives more than {} MiB", .0 >> 20)]
    Output(usize),
}
