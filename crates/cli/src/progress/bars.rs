//! Bars on a terminal: one for the run by weight, and a line for each step with its mark,
//! sub-progress and message.

use std::sync::LazyLock;

use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use surefoot::StepStatus;

use super::picture::{Picture, StepPicture};
use crate::out;

/// The bars of one run.
#[derive(Debug)]
pub(super) struct Bars {
    multi: MultiProgress,
    overall: ProgressBar,
    /// Lines on the screen. With more steps than fit, they show those around the current one.
    slots: Vec<ProgressBar>,
}

/// Capabilities of the terminal.
struct Marks {
    done: &'static str,
    failed: &'static str,
    skipped: &'static str,
    waiting: &'static str,
    pending: &'static str,
    spinner: &'static str,
    bar: &'static str,
}

static MARKS: LazyLock<Marks> = LazyLock::new(|| if speaks_unicode() { UNICODE } else { ASCII });

const UNICODE: Marks = Marks {
    done: "✓",
    failed: "✗",
    skipped: "-",
    waiting: "◷",
    pending: "·",
    spinner: "⠋⠙⠹⠸⠼⠴⠦⠧⠇⠏ ",
    bar: "█▉▊▋▌▍▎▏ ",
};
const ASCII: Marks = Marks {
    done: "+",
    failed: "x",
    skipped: "-",
    waiting: "~",
    pending: ".",
    spinner: "|/-\\ ",
    bar: "#> ",
};

impl Bars {
    /// Bars for the run, when the error output is a terminal that can redraw.
    pub(super) fn on_terminal(picture: &Picture) -> Option<Self> {
        let target = ProgressDrawTarget::stderr();
        if target.is_hidden() {
            return None;
        }
        let rows = usize::from(console::Term::stderr().size().0);
        let multi = MultiProgress::with_draw_target(target);
        let overall = multi.add(ProgressBar::new(100).with_style(overall_style()));
        let count = picture.steps.len().min(rows.saturating_sub(3).max(1));
        let slots = (0..count)
            .map(|_| multi.add(ProgressBar::new(100)))
            .collect();
        let bars = Self {
            multi,
            overall,
            slots,
        };
        bars.draw(picture);
        Some(bars)
    }

    pub(super) fn draw(&self, picture: &Picture) {
        self.overall
            .set_message(format!("{}/{}", picture.passed(), picture.steps.len()));
        self.overall.set_position(picture.percent());
        let last_start = picture.steps.len() - self.slots.len();
        let start = picture
            .current
            .saturating_sub(self.slots.len() / 2)
            .min(last_start);
        for (slot, step) in self.slots.iter().zip(&picture.steps[start..]) {
            slot.set_style(step_style(step.status));
            slot.set_prefix(mark(step.status));
            slot.set_message(text(step));
        }
    }

    pub(super) fn say(&self, line: &str) {
        self.multi.suspend(|| out::say(line));
    }

    pub(super) fn tick(&self) {
        self.overall.tick();
        for bar in &self.slots {
            bar.tick();
        }
    }

    pub(super) fn close(&self) {
        for bar in &self.slots {
            bar.abandon();
        }
        self.overall.abandon();
    }
}

fn mark(status: StepStatus) -> &'static str {
    match status {
        StepStatus::Completed => MARKS.done,
        StepStatus::Failed => MARKS.failed,
        StepStatus::Skipped => MARKS.skipped,
        StepStatus::Waiting => MARKS.waiting,
        StepStatus::Running | StepStatus::Pending => MARKS.pending,
    }
}

fn text(step: &StepPicture) -> String {
    let message = step.message.as_deref().unwrap_or_default();
    match step.status {
        StepStatus::Running => format!("{} {} {message}", step.title, small_bar(step.progress)),
        StepStatus::Pending => step.title.clone(),
        _ => format!("{}  {message}", step.title),
    }
}

/// Ten characters' worth of a step's own progress.
fn small_bar(progress: u8) -> String {
    let full = usize::from(progress.min(100) / 10);
    format!(
        "[{}{}] {progress:>3}%",
        "=".repeat(full),
        " ".repeat(10 - full)
    )
}

fn overall_style() -> ProgressStyle {
    style("{pos:>3}% [{wide_bar:.green}] {msg} {elapsed}").progress_chars(MARKS.bar)
}

fn step_style(status: StepStatus) -> ProgressStyle {
    style(match status {
        StepStatus::Running => "  {spinner:.cyan} {wide_msg}",
        StepStatus::Completed => "  {prefix:.green} {wide_msg:.dim}",
        StepStatus::Failed => "  {prefix:.red} {wide_msg}",
        StepStatus::Waiting => "  {prefix:.yellow} {wide_msg}",
        StepStatus::Skipped | StepStatus::Pending => "  {prefix:.dim} {wide_msg:.dim}",
    })
    .tick_chars(MARKS.spinner)
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).expect("the templates above are well formed")
}

/// Returns true if the locale supports more than ASCII.
fn speaks_unicode() -> bool {
    let locale = ["LC_ALL", "LC_CTYPE", "LANG"]
        .iter()
        .find_map(|name| std::env::var(name).ok().filter(|v| !v.is_empty()));
    locale.is_some_and(|locale| {
        locale
            .to_ascii_lowercase()
            .replace('-', "")
            .contains("utf8")
    })
}
