//! Live progress of one run, on the error output: bars on a terminal, plain lines elsewhere.
//! Results go to the standard output, so the two never mix.

mod bars;
mod lines;
mod picture;

use surefoot::{Event, Run};

use bars::Bars;

use crate::out;
pub(crate) use picture::Picture;

/// Output of the progress.
#[derive(Debug)]
pub(crate) struct Screen {
    picture: Picture,
    bars: Option<Bars>,
}

impl Screen {
    /// A screen that shows `run` as it stands.
    pub(crate) fn new(run: &Run, plain: bool) -> Self {
        Self::on(Picture::of(run), plain)
    }

    /// A screen for who is shown all that happened, from the first event on.
    pub(crate) fn from_the_start(run: &Run, plain: bool) -> Self {
        Self::on(Picture::unbegun(run), plain)
    }

    fn on(picture: Picture, plain: bool) -> Self {
        let bars = if plain {
            None
        } else {
            Bars::on_terminal(&picture)
        };
        Self { picture, bars }
    }

    /// Shows what happened.
    pub(crate) fn show(&mut self, event: &Event) {
        self.picture.apply(event);
        let line = lines::line(&self.picture, event);
        match (&self.bars, line) {
            (Some(bars), line) => {
                if let Some(line) = line
                    && lines::wants_a_person(event, &self.picture)
                {
                    bars.say(&line);
                }
                bars.draw(&self.picture);
            }
            (None, Some(line)) => out::say(&line),
            (None, None) => {}
        }
    }

    /// Says something beside the progress.
    pub(crate) fn note(&self, text: &str) {
        match &self.bars {
            Some(bars) => bars.say(text),
            None => out::say(text),
        }
    }

    /// Keeps spinners and clocks going.
    pub(crate) fn tick(&self) {
        if let Some(bars) = &self.bars {
            bars.tick();
        }
    }

    /// Leaves the last picture on the screen.
    pub(crate) fn close(&self) {
        if let Some(bars) = &self.bars {
            bars.close();
        }
    }
}

/// Text from handlers and commands without what would move a terminal's cursor.
pub(crate) fn clean(text: &str) -> String {
    let kept = |letter: char| if letter.is_control() { ' ' } else { letter };
    text.trim_end().chars().map(kept).collect()
}
