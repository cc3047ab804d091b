//! What a server goes by. Plain values: whoever starts it has read them from wherever they come from.

use std::time::Duration;

use crate::alerts::AlertOptions;
use crate::auth::AuthOptions;
use crate::checkup::Checkup;
use crate::submission::SubmissionCheck;
use crate::workflows::Workflows;

/// What a server goes by.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The address by which people reach it, when that is not the one that it listens on.
    pub public_url: Option<String>,
    /// Who is let in.
    pub auth: AuthOptions,
    /// What raises an alert, and who is told.
    pub alerts: AlertOptions,
    /// What can be submitted.
    pub workflows: Workflows,
    /// The configuration as people may read it: names and values, without secrets.
    pub settings_view: Vec<(String, String)>,
    /// Who looks at the deployment for the settings page, if anybody does.
    pub checkup: Option<Checkup>,
    /// Checks what is submitted beyond the schema of its workflow.
    pub submission_check: Option<SubmissionCheck>,
    /// How large and how slow a request may be.
    pub limits: RequestLimits,
}

/// How large and how slow a request may be.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Bytes in a request's body.
    pub body: usize,
    /// From the request's first line to the answer's; a stream may then go on for as long as it likes.
    pub time: Duration,
    /// How long a client may take to send the head of a request.
    pub head: Duration,
    /// Connections at a time. One more waits until another ends.
    pub connections: usize,
    /// Connections at a time of one peer, other than this machine and trusted proxies. One more is closed.
    pub connections_per_peer: usize,
    /// How long a client may take nothing of what is written to it.
    pub write: Duration,
    /// How long requests under way may go on once the server is told to stop.
    pub grace: Duration,
}

impl Default for RequestLimits {
    fn default() -> Self {
        Self {
            body: 1 << 20,
            time: Duration::from_secs(30),
            head: Duration::from_secs(10),
            connections: 4096,
            connections_per_peer: 512,
            write: Duration::from_secs(30),
            grace: Duration::from_secs(5),
        }
    }
}

impl ServerOptions {
    /// The usual, with these to let in and to submit.
    pub fn new(auth: AuthOptions, workflows: Workflows) -> Self {
        Self {
            public_url: None,
            auth,
            alerts: AlertOptions::default(),
            workflows,
            settings_view: Vec::new(),
            checkup: None,
            submission_check: None,
            limits: RequestLimits::default(),
        }
    }
}
