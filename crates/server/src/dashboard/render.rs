//! The embedded templates, with one environment per language. All output is escaped.

use std::sync::LazyLock;

use minijinja::syntax::SyntaxConfig;
use minijinja::value::{Kwargs, Serde};
use minijinja::{AutoEscape, Environment, Error, UndefinedBehavior, Value};
use serde::Serialize;

use super::i18n::Lang;
use super::{assets, icons};

macro_rules! templates {
    ($($name:literal),+ $(,)?) => {
        /// Every template, by the name that others use to extend or import it.
        pub(super) const TEMPLATES: &[(&str, &str)] =
            &[$(($name, include_str!(concat!("../../templates/", $name)))),+];
    };
}

templates!(
    "alerts.html",
    "audit.html",
    "bare.html",
    "bulk.html",
    "fields.html",
    "form.html",
    "layout.html",
    "new.html",
    "overview.html",
    "parts.html",
    "problem.html",
    "projects.html",
    "queues.html",
    "run.html",
    "runs.html",
    "settings.html",
    "sign_in.html",
    "widget.html",
    "workers.html",
);

static ENGLISH: LazyLock<Environment<'static>> = LazyLock::new(|| environment(Lang::En));
static CHINESE: LazyLock<Environment<'static>> = LazyLock::new(|| environment(Lang::Zh));

/// Renders a page.
pub(crate) fn render(lang: Lang, template: &str, view: impl Serialize) -> Result<String, Error> {
    let environment = match lang {
        Lang::En => &ENGLISH,
        Lang::Zh => &CHINESE,
    };
    environment
        .get_template(template)?
        .render(Value::from(Serde(view)))
}

/// Marks trusted markup as safe.
pub(crate) fn safe(html: String) -> Value {
    Value::from_safe_string(html)
}

fn environment(lang: Lang) -> Environment<'static> {
    let mut environment = Environment::new();
    let syntax = SyntaxConfig::builder()
        .trim_blocks(true)
        .lstrip_blocks(true)
        .build();
    environment.set_syntax(syntax.expect("the usual delimiters differ"));
    environment.set_auto_escape_callback(|_| AutoEscape::Html);
    // Templates may test an undefined value; printing one is an error.
    environment.set_undefined_behavior(UndefinedBehavior::SemiStrict);
    // `None` prints nothing.
    environment.set_formatter(|out, state, value| {
        if value.is_none() {
            Ok(())
        } else {
            minijinja::escape_formatter(out, state, value)
        }
    });
    environment.add_function("t", move |key: String, values: Kwargs| {
        translate(lang, &key, &values)
    });
    environment.add_function("icon", |name: String| safe(icons::svg(&name)));
    environment.add_function("asset", |name: String| assets::address(&name));
    for (name, source) in TEMPLATES {
        environment
            .add_template(name, source)
            .expect("the templates are part of the program, and a test reads each");
    }
    environment
}

fn translate(lang: Lang, key: &str, values: &Kwargs) -> Result<String, Error> {
    let mut pairs = Vec::new();
    for name in values.args() {
        pairs.push((name, values.get::<Value>(name)?.to_string()));
    }
    let pairs = pairs
        .iter()
        .map(|(name, text)| (*name, text.as_str()))
        .collect::<Vec<_>>();
    Ok(lang.text(key, &pairs))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_template_can_be_parsed() {
        for lang in Lang::ALL {
            assert_eq!(environment(lang).templates().count(), TEMPLATES.len());
        }
    }

    /// The literal text of a template that a reader sees or hears, without the values printed into
    /// it.
    fn literals(template: &str) -> String {
        let mut text = String::new();
        let mut rest = template;
        while let Some((before, after)) = rest.split_once('{') {
            text.push_str(before);
            let end = match after.chars().next() {
                Some('{') => "}}",
                Some('%') => "%}",
                Some('#') => "#}",
                _ => panic!("a bare brace in {after:.40}"),
            };
            // Printed values are skipped.
            rest = after.split_once(end).map_or("", |(_, rest)| rest);
        }
        text.push_str(rest);
        let mut shown = String::new();
        for (index, part) in text.split('<').enumerate() {
            let (tag, words) = if index == 0 {
                ("", part)
            } else {
                part.split_once('>').unwrap_or((part, ""))
            };
            for name in [
                "aria-label=\"",
                "title=\"",
                "placeholder=\"",
                "alt=\"",
                "value=\"",
            ] {
                let value = tag
                    .split_once(name)
                    .and_then(|(_, rest)| rest.split_once('"'))
                    .map_or("", |(value, _)| value);
                // The values of hidden fields, options and buttons are identifiers.
                if name != "value=\"" || tag.starts_with("input type=\"submit") {
                    shown.push_str(value);
                }
            }
            shown.push_str(words);
            shown.push(' ');
        }
        shown.replace("&amp;", " ").replace("Surefoot", " ")
    }

    #[test]
    fn no_template_contains_words_of_a_language() {
        for (name, template) in TEMPLATES {
            let shown = literals(template);
            // A macro contains attributes and no tag.
            let attribute = |word: &&str| word.contains("=\"") || *word == "required";
            let words = shown
                .split_whitespace()
                .filter(|word| word.chars().any(char::is_alphabetic) && !attribute(word));
            let words = words.collect::<Vec<_>>();
            assert!(words.is_empty(), "{name} says {words:?}");
        }
    }

    #[test]
    fn every_text_that_a_template_names_exists() {
        for (name, template) in TEMPLATES {
            let calls = template
                .match_indices("t(\"")
                .filter(|(at, _)| !template[..*at].ends_with(char::is_alphanumeric));
            for (at, call) in calls {
                let (key, rest) = template[at + call.len()..]
                    .split_once('"')
                    .expect("a text ends");
                if rest.trim_start().starts_with('~') {
                    // The rest of the key is computed when the page is rendered. At least one key
                    // must have this prefix.
                    assert!(Lang::En.has_prefix(key), "{name} names {key}...");
                } else {
                    assert!(Lang::En.try_text(key, &[]).is_some(), "{name} names {key}");
                }
            }
        }
    }

    #[test]
    fn output_is_escaped() {
        let view = serde_json::json!({ "lang": "en", "theme": null, "status": 400, "title": "<b>", "detail": "\"'&<script>", "back": "/" });
        let page = render(Lang::En, "problem.html", &view).unwrap();
        assert!(
            page.contains("&lt;b&gt;") && !page.contains("<script>"),
            "{page}"
        );
    }
}
