//! Server configuration, already parsed: nothing here reads files or the environment.

use std::time::Duration;

use crate::alerts::AlertOptions;
use crate::auth::AuthOptions;
use crate::checkup::Checkup;
use crate::submission::SubmissionCheck;
use crate::workflows::Workflows;

/// Configuration of a server.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// The public address, if it differs from the listening one.
    pub public_url: Option<String>,
    /// Authentication.
    pub auth: AuthOptions,
    /// Alert rules and their notifications.
    pub alerts: AlertOptions,
    /// The workflows that can be submitted.
    pub workflows: Workflows,
    /// The configuration for display: names and values, without secrets.
    pub settings_view: Vec<(String, String)>,
    /// The check behind the settings page, if there is one.
    pub checkup: Option<Checkup>,
    /// Checks what is submitted beyond the schema of its workflow.
    pub submission_check: Option<SubmissionCheck>,
    /// Limits of size and time for requests.
    pub limits: RequestLimits,
}

/// Limits of size and time for requests.
#[derive(Clone, Copy, Debug)]
pub struct RequestLimits {
    /// Maximum size of a request's body, in bytes.
    pub body: usize,
    /// Time limit from the request's first line to the response's. A stream may go on without
    /// limit.
    pub time: Duration,
    /// Time limit for the head of a request.
    pub head: Duration,
    /// Maximum number of connections. Further clients wait until one closes.
    pub connections: usize,
    /// Maximum number of connections per peer, except for this machine and trusted proxies. A
    /// further one is closed.
    pub connections_per_peer: usize,
    /// Time limit of a write that makes no progress because the client does not read.
    pub write: Duration,
    /// Grace period for requests under way when the server stops.
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
    /// The defaults, with this authentication and these workflows.
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
