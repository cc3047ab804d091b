//! The language of templates: `${{ name }}`, as in workflow files, and `${% if %}` blocks. What is undefined is an error.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::{Environment, UndefinedBehavior, Value};

/// A file that does more work than this would not end in a reasonable time.
const FUEL: u64 = 10_000_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| {
    let syntax = SyntaxConfig::builder()
        .variable_delimiters("${{", "}}")
        .block_delimiters("${%", "%}")
        // `${#name}` is a length in shell scripts: comments open with what nobody types.
        .comment_delimiters("$<#", "#>$")
        .keep_trailing_newline(true)
        .build()
        .expect("the delimiters differ");
    let mut environment = Environment::new();
    environment.set_syntax(syntax);
    environment.set_undefined_behavior(UndefinedBehavior::Strict);
    environment.set_auto_escape_callback(|_| minijinja::AutoEscape::None);
    environment.set_fuel(Some(FUEL));
    environment
});

/// Renders one text.
///
/// # Errors
/// Names the line and what is wrong there.
pub(super) fn render(text: &str, values: &Value) -> Result<String, String> {
    if !text.contains("${{") && !text.contains("${%") {
        return Ok(text.to_owned());
    }
    ENVIRONMENT.render_str(text, values.clone()).map_err(|error| message(text, &error))
}

/// Whether `text` reads the variable `name`.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    text.contains("${{")
        && ENVIRONMENT.template_from_str(text).is_ok_and(|template| template.undeclared_variables(false).contains(name))
}

fn message(text: &str, error: &minijinja::Error) -> String {
    let line = error.line().unwrap_or(1);
    let kind = error.kind().to_string();
    let detail = error.detail().map_or(kind.clone(), |detail| format!("{kind}: {detail}"));
    let shown = text.lines().nth(line.saturating_sub(1)).unwrap_or_default().trim();
    format!("line {line}: {detail} in `{shown}`")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn renders_expressions_and_blocks_and_leaves_other_languages_alone() {
        let values = minijinja::context! { name => "shop", on => true };
        let check = |text: &str, expect: &str| assert_eq!(render(text, &values).unwrap(), expect);
        check("${{ name }}-${{ name | upper }}\n", "shop-SHOP\n");
        check("${% if on %}yes${% else %}no${% endif %}", "yes");
        check(
            "${#name} ${name%x} {{ go }} {% liquid %} {# c #} $$ ${{ name }}",
            "${#name} ${name%x} {{ go }} {% liquid %} {# c #} $$ shop",
        );
        check("<b>${{ '<&>' }}</b>", "<b><&></b>");
        check("${{ 'a\\nb' }}", "a\nb");
    }

    #[test]
    fn an_error_names_its_line() {
        let error = render("a\nb ${{ gone }}\n", &minijinja::context! {}).unwrap_err();
        assert!(error.starts_with("line 2: ") && error.contains("${{ gone }}"), "{error}");
        assert!(render("${{ name", &minijinja::context! {}).unwrap_err().starts_with("line 1: "));
        assert!(
            render(
                "${% for a in range(100000) %}${% for b in range(100000) %}x${% endfor %}${% endfor %}",
                &minijinja::context! {}
            )
            .is_err()
        );
    }

    #[test]
    fn mentions_reads_the_expression_and_not_the_text() {
        assert!(mentions("a/${{ environment.name }}", "environment"));
        assert!(!mentions("environment/${{ name }}", "environment"));
    }
}
