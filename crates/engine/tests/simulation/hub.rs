//! Hints on their way to those who listen: each listener has a channel of its own, so that they are
//! woken in one order.

use std::sync::Mutex;

use surefoot::store::Hints;
use tokio::sync::watch;

use crate::history::lock;

type Pair = (watch::Sender<()>, watch::Sender<()>);

#[derive(Debug, Default)]
pub(crate) struct Hub {
    listeners: Mutex<Vec<Pair>>,
    /// Workers that receive no hints: hints may be lost.
    deaf: Mutex<Vec<Pair>>,
}

impl Hub {
    pub(crate) fn listen(&self, deaf: bool) -> Hints {
        let work = watch::Sender::new(());
        let any = watch::Sender::new(());
        let hints = Hints {
            work: work.subscribe(),
            any: any.subscribe(),
        };
        lock(if deaf { &self.deaf } else { &self.listeners }).push((work, any));
        hints
    }

    pub(crate) fn tell(&self, work: bool, any: bool) {
        if !work && !any {
            return;
        }
        let mut listeners = lock(&self.listeners);
        listeners.retain(|(work, any)| !(work.is_closed() && any.is_closed()));
        for (to_work, to_any) in listeners.iter() {
            if work {
                to_work.send_replace(());
            }
            if any {
                to_any.send_replace(());
            }
        }
    }
}
