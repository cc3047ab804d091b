//! Findings as people and scripts read them.

use console::{Style, pad_str};
use serde::Serialize;
use surefoot_doctor::{Finding, Level};

use crate::app::App;
use crate::errors::Failure;
use crate::progress::clean;
use crate::{out, summary};

/// Output of `doctor --json`.
#[derive(Debug, Serialize)]
struct Report<'a> {
    target: &'a str,
    promises_hold: bool,
    findings: &'a [Finding],
}

/// Prints what was found.
pub(super) fn print(app: &App, target: &str, findings: &[Finding]) -> Result<(), Failure> {
    if app.json {
        let promises_hold = !findings
            .iter()
            .any(|finding| finding.level == Level::Broken);
        return summary::json(&Report {
            target,
            promises_hold,
            findings,
        });
    }
    out::print(&text(target, findings))
}

pub(super) fn text(target: &str, findings: &[Finding]) -> String {
    let page = page();
    let width = findings
        .iter()
        .map(|finding| console::measure_text_width(&finding.subject))
        .max()
        .unwrap_or(0);
    let lines = findings
        .iter()
        .map(|finding| entry(finding, width, page))
        .collect::<String>();
    format!("{}\n\n{lines}\n{}\n", clean(target), verdict(findings))
}

/// Prints a finding; below it its meaning, and the advice.
fn entry(finding: &Finding, width: usize, page: usize) -> String {
    let level = style(finding.level).apply_to(format!("{:<6}", finding.level.as_str()));
    let subject = clean(&finding.subject);
    let subject = pad_str(&subject, width, console::Alignment::Left, None);
    let indent = width + 10;
    let wrapped = |text: &str| wrap(&clean(text), page.saturating_sub(indent), indent);
    let mut entry = format!("{level}  {subject}  {}\n", wrapped(&finding.found));
    let advice = finding.advice.as_ref().map(|advice| format!("-> {advice}"));
    for text in [Some(&finding.means), advice.as_ref()]
        .into_iter()
        .flatten()
    {
        entry.push_str(&format!("{:indent$}{}\n", "", wrapped(text)));
    }
    entry
}

/// Longest line, in characters.
fn page() -> usize {
    const WIDEST: usize = 110;
    console::Term::stdout()
        .size_checked()
        .map_or(WIDEST, |(_, columns)| usize::from(columns).min(WIDEST))
}

/// Breaks a text between words; lines after the first are indented. A word that is too long stays
/// whole: it may be a path.
fn wrap(text: &str, width: usize, indent: usize) -> String {
    let mut wrapped = String::new();
    let mut column = 0;
    for word in text.split(' ') {
        let length = console::measure_text_width(word);
        if column > 0 && column + 1 + length > width.max(30) {
            wrapped.push_str(&format!("\n{:indent$}", ""));
            column = 0;
        } else if column > 0 {
            wrapped.push(' ');
            column += 1;
        }
        wrapped.push_str(word);
        column += length;
    }
    wrapped
}

fn style(level: Level) -> Style {
    match level {
        Level::Ok => Style::new().green(),
        Level::Note => Style::new().cyan(),
        Level::Warn => Style::new().yellow(),
        Level::Broken => Style::new().red().bold(),
    }
}

fn verdict(findings: &[Finding]) -> String {
    let number = |level| {
        findings
            .iter()
            .filter(|finding| finding.level == level)
            .count()
    };
    let counts = [Level::Broken, Level::Warn, Level::Note, Level::Ok]
        .map(|level| format!("{} {}", number(level), level.as_str()))
        .join(", ");
    match (number(Level::Broken), number(Level::Warn)) {
        (0, 0) => format!("every promise holds here, as far as can be seen: {counts}"),
        (0, _) => format!("every promise holds here, with warnings: {counts}"),
        _ => format!("not every promise holds here: {counts}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn long_texts_are_broken_between_words() {
        let text = "no worker sweeps: these runs stand still until one does";
        assert_eq!(
            wrap(text, 30, 2),
            "no worker sweeps: these runs\n  stand still until one does"
        );
        assert_eq!(wrap("a", 0, 4), "a");
    }
}
