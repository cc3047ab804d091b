//! The template language: `${{ name }}`, as in workflow files, and `${% if %}` blocks. An undefined
//! value is an error.

use std::sync::LazyLock;

use minijinja::{Environment, Value};
use surefoot::{language, limits};

use super::limits::FILE;

/// Work limit of one file, so that rendering ends in reasonable time. It also bounds memory, at 64
/// bytes a unit. Work that it does not count is bounded by the limits of the rendering process
/// (`child.rs`).
const FUEL: u64 = 2_000_000;

static ENVIRONMENT: LazyLock<Environment<'static>> = LazyLock::new(|| language::environment(FUEL));

/// Returns whether a text has anything to render.
pub(super) fn has_expressions(text: &str) -> bool {
    text.contains("${{") || text.contains("${%")
}

/// Renders one text.
///
/// # Errors
/// Names the line and the fault.
pub(super) fn render(text: &str, values: &Value) -> Result<String, String> {
    if !has_expressions(text) {
        return Ok(text.to_owned());
    }
    limits::check_blocks(text).map_err(|limit| limit.to_string())?;
    let most = usize::try_from(FILE).unwrap_or(usize::MAX);
    language::render(&ENVIRONMENT, text, values.clone(), most)
        .map_err(|error| message(text, &error))
}

/// Returns whether `text` reads the variable `name`.
pub(super) fn mentions(text: &str, name: &str) -> bool {
    text.contains("${{")
        && limits::check_blocks(text).is_ok()
        && ENVIRONMENT
            .template_from_str(text)
            .is_ok_and(|template| template.undeclared_variables(false).contains(name))
}

fn message(text: &str, error: &minijinja::Error) -> String {
    let line = error.line().unwrap_or(1);
    let kind = error.kind().to_string();
    let detail = error
        .detail()
        .map_or(kind.clone(), |detail| format!("{kind}: {detail}"));
    let shown = text
        .lines()
        .nth(line.saturating_sub(1))
        .unwrap_or_default()
        .trim();
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
        assert!(
            error.starts_with("line 2: ") && error.contains("${{ gone }}"),
            "{error}"
        );
        assert!(
            render("${{ name", &minijinja::context! {})
                .unwrap_err()
                .starts_with("line 1: ")
        );
        assert!(
            render(
                "${% for a in range(100000) %}${% for b in range(100000) %}x${% endfor %}${% endfor %}",
                &minijinja::context! {}
            )
            .is_err()
        );
    }

    /// A worker's thread has a stack of 2 MB.
    fn on_small_stack(text: String) -> Result<String, String> {
        let values = minijinja::context! { name => "shop" };
        let work = move || render(&text, &values);
        std::thread::Builder::new()
            .stack_size(1 << 20)
            .spawn(work)
            .unwrap()
            .join()
            .unwrap()
    }

    #[test]
    fn a_text_that_would_overflow_the_stack_is_refused() {
        for text in [
            format!("${{{{ {}1 }}}}", "-".repeat(6000)),
            format!("${{{{ name{} }}}}", "|abs".repeat(12_000)),
            format!(
                "${{% if 1 %}}{}${{% endif %}}",
                "${% elif 1 %}".repeat(20_000)
            ),
            format!("${{% set x = 1 %}}{}", "${% set x = [x] %}".repeat(20_000)),
            "${% if 1 %}".repeat(20_000),
        ] {
            let error = on_small_stack(text.clone()).unwrap_err();
            assert!(error.contains("split"), "{error}");
            assert!(!mentions(&text, "name"));
        }
    }

    #[test]
    fn the_deepest_accepted_statements_need_little_stack() {
        let nested = |open: &str, close: &str| {
            (0..50).fold("x".to_owned(), |inside, _| format!("{open}{inside}{close}"))
        };
        assert_eq!(
            on_small_stack(nested("${% if 1 %}", "${% endif %}")).unwrap(),
            "x"
        );
        assert_eq!(
            on_small_stack(nested("${% for a in [1] %}", "${% endfor %}")).unwrap(),
            "x"
        );
        let parentheses = format!("${{{{ {}1{} }}}}", "(".repeat(35), ")".repeat(35));
        assert!(
            on_small_stack(
                nested("${% with a = [1] %}", "${% endwith %}").replace('x', &parentheses)
            )
            .is_ok()
        );
        let assigned = "${% set x = [[[[[[x]]]]]] %}".repeat(70);
        let shown = on_small_stack(format!(
            "${{% set x = 1 %}}{assigned}${{{{ x }}}}${{{{ x|tojson }}}}${{{{ x == x }}}}"
        ));
        assert!(shown.is_ok(), "{shown:?}");
        let recursive = "${% macro m(n) %}${{ m([n]) }}${% endmacro %}${{ m(1) }}";
        assert!(
            on_small_stack(recursive.to_owned())
                .unwrap_err()
                .contains("recursion")
        );
        let own = "${% for a in [[1]] recursive %}${{ loop([[a]]) }}${% endfor %}";
        assert!(
            on_small_stack(own.to_owned())
                .unwrap_err()
                .contains("recursion")
        );
    }

    #[test]
    fn the_size_of_rendered_files_is_limited() {
        let doubled = format!(
            "${{% set x = 'x' * 1000 %}}{}${{{{ x }}}}",
            "${% set x = x ~ x %}".repeat(15)
        );
        assert!(on_small_stack(doubled).unwrap_err().contains("MiB"));
        let shared = format!(
            "${{% set x = [1] %}}{}${{{{ x }}}}",
            "${% set x = [x, x, x, x, x, x, x, x, x] %}".repeat(12)
        );
        assert!(on_small_stack(shared).unwrap_err().contains("MiB"));
        let indented = "${{ range(100000)|list|map('string')|list|tojson(indent=1000000) }}";
        assert!(
            on_small_stack(indented.to_owned())
                .unwrap_err()
                .contains("at most 16")
        );
        let own = "${% set n = namespace() %}${% set n.n = n %}${{ n }}";
        assert!(on_small_stack(own.to_owned()).is_err());
    }

    #[test]
    fn mentions_reads_the_expression_and_not_the_text() {
        assert!(mentions("a/${{ environment.name }}", "environment"));
        assert!(!mentions("environment/${{ name }}", "environment"));
    }
}
