//! The texts of a template that are to be rendered: names, contents and link targets, each in a
//! scope.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::limits::TOTAL;
use super::{RenderError, child, language};

/// Texts to render, in order. A text is there once, however many scopes it is rendered in.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Texts {
    /// Scopes of the expressions.
    scopes: Vec<Value>,
    texts: Vec<String>,
    /// Positions of a text and of its scope.
    renderings: Vec<(usize, usize)>,
}

/// A rendered text, or the line of it that is wrong and why.
pub(super) type Rendered = Result<String, String>;

/// A text as it was taken up.
#[derive(Clone, Copy, Debug)]
pub(super) struct Text(usize);

/// A rendering of a text.
#[derive(Clone, Copy, Debug)]
pub(super) struct Rendering(usize);

impl Texts {
    pub(super) fn new(scopes: Vec<Value>) -> Self {
        Self {
            scopes,
            ..Self::default()
        }
    }

    /// Takes up a text.
    pub(super) fn text(&mut self, text: &str) -> Text {
        self.texts.push(text.to_owned());
        Text(self.texts.len() - 1)
    }

    /// Asks for a rendering of a text in the scope at this position.
    pub(super) fn rendering(&mut self, text: Text, scope: usize) -> Rendering {
        self.renderings.push((text.0, scope));
        Rendering(self.renderings.len() - 1)
    }

    /// Renders all texts up to the first that is wrong, in a child process with limits of its own
    /// if this process has set one up and `is_trusted` is false.
    pub(super) fn render(&self, is_trusted: bool) -> Result<Results, RenderError> {
        let needs_work = self
            .texts
            .iter()
            .any(|text| language::has_expressions(text));
        let rendered = if needs_work && !is_trusted {
            child::render(self)?
        } else {
            self.render_here()
        };
        Ok(Results(rendered))
    }

    /// Renders all texts up to the first that is wrong.
    pub(super) fn render_here(&self) -> Vec<Rendered> {
        let mut scopes = Vec::with_capacity(self.scopes.len());
        for scope in &self.scopes {
            match minijinja::Value::deserialize(scope) {
                Ok(scope) => scopes.push(scope),
                Err(error) => return vec![Err(format!("the template's values: {error}"))],
            }
        }
        let mut results = Vec::with_capacity(self.renderings.len());
        let mut left = TOTAL;
        for &(text, scope) in &self.renderings {
            let rendered = language::render(&self.texts[text], &scopes[scope]);
            let length = rendered.as_ref().map_or(0, String::len) as u64;
            let is_over = length > left;
            left = left.saturating_sub(length);
            results.push(if is_over {
                Err(format!("all files together have more than {TOTAL} bytes"))
            } else {
                rendered
            });
            if results.last().is_some_and(Result::is_err) {
                break;
            }
        }
        results
    }
}

/// Rendered texts. There are none after the first invalid one.
#[derive(Debug)]
pub(super) struct Results(Vec<Rendered>);

impl Results {
    /// Takes one result. They are taken in the order in which they were asked for, up to the first
    /// that is wrong.
    pub(super) fn take(&mut self, rendering: Rendering) -> Rendered {
        match self.0.get_mut(rendering.0) {
            Some(rendered) => std::mem::replace(rendered, Ok(String::new())),
            None => Err("was not rendered".to_owned()),
        }
    }
}
