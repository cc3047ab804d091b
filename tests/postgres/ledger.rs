//! A workflow whose steps write into a file outside the store, and queries of that file about a
//! run.

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Write as _};
use std::net::{TcpListener, TcpStream};
use std::path::{Path, PathBuf};

use serde_json::Value;
use surefoot::Timestamp;

use crate::common::{Place, Started, lines, stamped, text, until};

/// An HTTP server for steps that make a request instead of writing their line themselves; it writes
/// the line. Runs until the process ends.
pub(crate) struct Teller {
    port: u16,
}

impl Teller {
    pub(crate) fn of(ledger: &Ledger) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let file = ledger.file();
        std::thread::spawn(move || {
            for asked in listener.incoming().flatten() {
                // The client may be killed meanwhile.
                let _gone = answer(asked, &file);
            }
        });
        Self { port }
    }
}

/// Answers one request; its idempotency key holds the run and the step.
fn answer(mut asked: TcpStream, file: &Path) -> std::io::Result<()> {
    let mut key = None;
    for line in BufReader::new(asked.try_clone()?).lines() {
        let line = line?;
        match line.split_once(": ") {
            Some((name, value)) if name.eq_ignore_ascii_case("idempotency-key") => {
                key = Some(value.to_owned())
            }
            _ if line.is_empty() => break,
            _ => {}
        }
    }
    let Some(key) = key else { return Ok(()) };
    let (run, step) = key.split_once('/').expect("a run and a step");
    let mut lines = std::fs::File::options()
        .append(true)
        .create(true)
        .open(file)?;
    for word in ["begin", "end"] {
        lines.write_all(format!("{word} 0 {run} {step} {key}\n").as_bytes())?;
    }
    asked.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
}

/// A user's directory, and the store of its commands.
pub(crate) struct Ledger {
    pub(crate) place: Place,
    pub(crate) store: String,
}

impl Ledger {
    /// A ledger with these lines in `surefoot.toml`.
    pub(crate) fn new(store: &str, config: &str) -> Self {
        let ledger = Self {
            place: Place::new(),
            store: store.to_owned(),
        };
        std::fs::create_dir_all(ledger.place.data()).expect("a folder");
        std::fs::write(ledger.place.data().join("surefoot.toml"), config).expect("written");
        ledger
    }

    /// With short time limits for the database.
    pub(crate) fn hasty(store: &str) -> Self {
        let config = "[postgres]\nconnect_timeout = '1s'\noperation_timeout = '2s'\n";
        Self::new(store, config)
    }

    pub(crate) fn file(&self) -> PathBuf {
        self.place.path("ledger")
    }

    /// A workflow of seven steps, each of which writes its line and then takes this many seconds.
    /// One leaves a file in its workspace, which makes its commit a transaction of its own.
    pub(crate) fn seven(&self, seconds: &str) -> String {
        self.steps(&format!("sleep {seconds}"))
    }

    /// The same, but the second step waits for [`Self::open`].
    pub(crate) fn gated(&self) -> String {
        let gate = self.gate();
        self.steps(&format!(
            "[ $SUREFOOT_STEP != s2 ] || until [ -e {} ]; do sleep 0.02; done",
            gate.display()
        ))
    }

    /// Releases the step that waits at the gate.
    pub(crate) fn open(&self) {
        std::fs::write(self.gate(), "").expect("written");
    }

    fn gate(&self) -> PathBuf {
        self.place.path("gate")
    }

    fn steps(&self, between: &str) -> String {
        let path = self.place.path("seven.yaml");
        let ledger = self.file();
        let step = |number: usize| {
            let file = if number == 3 {
                "echo kept > kept.txt; "
            } else {
                ""
            };
            let say = |word: &str| {
                let what = "$SUREFOOT_RUN $SUREFOOT_STEP $SUREFOOT_IDEMPOTENCY_KEY";
                format!(
                    "echo \"{word} $(date +%s%N) {what}\" >> {}",
                    ledger.display()
                )
            };
            let shell = format!("{file}{}; {between}; {}", say("begin"), say("end"));
            format!("  - {{ id: s{number}, action: command.run, with: {{ shell: '{shell}' }} }}\n")
        };
        let steps: String = (1..=7).map(step).collect();
        let yaml = format!(
            "workflow: seven\nparameters: {{ type: object, properties: {{ name: {{ type: string }} }} }}\nsteps:\n{steps}"
        );
        std::fs::write(&path, yaml).expect("written");
        path.to_string_lossy().into_owned()
    }

    /// The same, but all steps except two send their line by HTTP: they leave no snapshot, so their
    /// commits are written in batches.
    pub(crate) fn light(&self, teller: &Teller) -> String {
        let heavy = std::fs::read_to_string(self.seven("0")).expect("written");
        let step = |(number, line): (usize, &str)| match number {
            0..3 | 5 | 8 => format!("{line}\n"),
            _ => {
                let with = format!(
                    "{{ method: POST, url: 'http://127.0.0.1:{}/' }}",
                    teller.port
                );
                format!(
                    "  - {{ id: s{}, action: http.request, with: {with} }}\n",
                    number - 2
                )
            }
        };
        let path = self.place.path("light.yaml");
        std::fs::write(
            &path,
            heavy.lines().enumerate().map(step).collect::<String>(),
        )
        .expect("written");
        path.to_string_lossy().into_owned()
    }

    pub(crate) fn command(&self, args: &[&str]) -> std::process::Command {
        let mut command = self.place.command(args);
        command.env("SUREFOOT_STORE", &self.store);
        command
    }

    /// Starts a process of the host that gives the commands. One that is started again after it is
    /// gone is a restart: what the dead one held is free at once.
    pub(crate) fn start(&self, args: &[&str]) -> Started {
        self.place.start(&mut self.command(args))
    }

    /// Starts a process of another host: one with the same configuration, and a data directory of
    /// its own.
    pub(crate) fn start_on(&self, host: &str, args: &[&str]) -> Started {
        self.place.start(&mut self.command_on(host, args))
    }

    /// The command of a process of another host.
    pub(crate) fn command_on(&self, host: &str, args: &[&str]) -> std::process::Command {
        let data = self.place.path(host);
        std::fs::create_dir_all(&data).expect("a folder");
        let config = self.place.data().join("surefoot.toml");
        std::fs::copy(config, data.join("surefoot.toml")).expect("copied");
        let mut command = self.command(args);
        command.env("SUREFOOT_DATA_DIR", data);
        command
    }

    /// Starts a worker of another host, which reaches the store by this URL.
    pub(crate) fn worker_on(&self, host: &str, store: &str) -> Started {
        let mut command = self.command_on(host, &["worker"]);
        self.place.start(command.env("SUREFOOT_STORE", store))
    }

    /// Starts two workers, each on a host of its own.
    pub(crate) fn two_workers(&self) -> Vec<Started> {
        ["one", "other"]
            .map(|host| self.start_on(host, &["worker"]))
            .into()
    }

    /// Submits that many runs, and waits until so many steps of them have begun.
    pub(crate) fn runs_under_way(&self, file: &str, runs: usize, begun: usize) -> Vec<String> {
        let runs = (0..runs)
            .map(|key| self.until_submitted(file, &format!("run {key}")))
            .collect();
        self.until_lines("begin", begun);
        runs
    }

    /// Waits until the runs have completed, no step of which was interrupted or begun twice, and
    /// stops the workers.
    pub(crate) fn check_untouched(&self, runs: &[String], workers: Vec<Started>, what: &str) {
        for run in runs {
            let shown = self.until_completed(run);
            assert_eq!(self.check(&shown, what), 0, "no step began again");
            let steps = shown["steps"].as_array().expect("steps");
            assert!(
                steps.iter().all(|step| step["interruptions"] == 0),
                "{what}: {shown:#}"
            );
        }
        for worker in workers {
            worker.signal("-TERM");
            let output = worker.finish();
            assert!(output.status.success(), "{what}: {}", text(&output));
        }
    }

    pub(crate) fn run(&self, args: &[&str]) -> std::process::Output {
        self.command(args).output().expect("the binary starts")
    }

    pub(crate) fn json(&self, args: &[&str]) -> Value {
        let output = self.run(args);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{args:?}: {error}\n{}", text(&output)))
    }

    /// Submits a run by its key; returns its id.
    pub(crate) fn submit(&self, file: &str, key: &str) -> String {
        let output = self.run(&["submit", file, "--key", key]);
        assert!(output.status.success(), "{}", text(&output));
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    }

    /// The same on a store that may not answer in time, or not yet: the submission fails with the
    /// advice to try again, and is repeated.
    pub(crate) fn until_submitted(&self, file: &str, key: &str) -> String {
        until(&format!("{key} is submitted"), || {
            let output = self.run(&["submit", file, "--key", key]);
            assert!(
                matches!(output.status.code(), Some(0 | 3)),
                "{}",
                text(&output)
            );
            output
                .status
                .success()
                .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
        })
    }

    /// Number of starts of each step of a run.
    pub(crate) fn calls(&self, run: &str) -> BTreeMap<String, u64> {
        let mut calls = BTreeMap::new();
        for line in lines(&self.file()) {
            let words: Vec<&str> = line.split(' ').collect();
            if let ["begin", _, of, step, _] = words[..]
                && of == run
            {
                *calls.entry(step.to_owned()).or_default() += 1;
            }
        }
        calls
    }

    /// Waits until there are so many lines of this kind.
    pub(crate) fn until_lines(&self, word: &str, count: usize) {
        until(&format!("{count} lines of {word}"), || {
            (self.lines(word).len() >= count).then_some(())
        });
    }

    /// Waits for the line of this kind with this number and returns its time.
    pub(crate) fn until_line(&self, word: &str, number: usize) -> Timestamp {
        self.until_lines(word, number);
        stamped(
            self.lines(word)[number - 1]
                .split(' ')
                .nth(1)
                .expect("a time"),
        )
    }

    pub(crate) fn lines(&self, word: &str) -> Vec<String> {
        let prefix = format!("{word} ");
        lines(&self.file())
            .into_iter()
            .filter(|line| line.starts_with(&prefix))
            .collect()
    }

    /// Status of a run; `None` while the store does not answer.
    pub(crate) fn status(&self, run: &str) -> Option<String> {
        let shown =
            serde_json::from_slice::<Value>(&self.run(&["show", run, "--json"]).stdout).ok()?;
        shown["status"].as_str().map(str::to_owned)
    }

    /// Waits for completion, also through times in which the store does not answer.
    pub(crate) fn until_completed(&self, run: &str) -> Value {
        until(&format!("{run} is completed"), || {
            let shown: Value =
                serde_json::from_slice(&self.run(&["show", run, "--json"]).stdout).ok()?;
            assert_ne!(shown["status"], "failed", "{shown:#}");
            (shown["status"] == "completed").then_some(shown)
        })
    }

    /// Checks a completed run: every step has one effect by its key, started once plus at most once
    /// for each interruption, and used no attempt. Returns the number of steps that started again.
    pub(crate) fn check(&self, shown: &Value, what: &str) -> u64 {
        let run = shown["id"].as_str().expect("an id");
        assert_eq!(shown["status"], "completed", "{what}: {shown:#}");
        let calls = self.calls(run);
        let mut again = 0;
        for step in shown["steps"].as_array().expect("steps") {
            let id = step["id"].as_str().expect("an id");
            let begun = calls.get(id).copied().unwrap_or(0);
            let interruptions = step["interruptions"].as_u64().unwrap_or(0);
            assert_eq!(
                (&step["status"], &step["attempt"]),
                (&"completed".into(), &1.into()),
                "{what}: {step:#}"
            );
            assert!(
                (1..=1 + interruptions).contains(&begun),
                "{what}: {id} began {begun} times: {step:#}"
            );
            again += begun - 1;
        }
        let effects: std::collections::BTreeSet<String> = lines(&self.file())
            .iter()
            .filter(|line| line.starts_with("end ") && line.contains(run))
            .filter_map(|line| line.rsplit(' ').next().map(str::to_owned))
            .collect();
        assert_eq!(effects.len(), 7, "{what}: one effect a step, by its key");
        again
    }
}
