//! Hosts with separate directories: a run stays with the forge that holds its repository, and every
//! host shows why it waits.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use surefoot_scratch_postgres::ScratchPostgres;

use crate::common::{Place, Started, lines, text, until};

/// A database, and a data directory for each host.
struct Hosts {
    place: Place,
    store: String,
}

impl Hosts {
    fn new() -> Self {
        Self {
            place: Place::new(),
            store: ScratchPostgres::shared()
                .fresh_database()
                .expect("a database"),
        }
    }

    fn data(&self, host: &str) -> PathBuf {
        self.place.path(host)
    }

    fn repository(&self, host: &str, name: &str) -> PathBuf {
        self.data(host)
            .join("repositories")
            .join(format!("{name}.git"))
    }

    fn configure(&self, host: &str, config: &str) {
        std::fs::create_dir_all(self.data(host)).expect("a folder");
        std::fs::write(self.data(host).join("surefoot.toml"), config).expect("written");
    }

    fn command(&self, host: &str, args: &[&str]) -> Command {
        let mut command = self.place.command(args);
        command
            .env("SUREFOOT_STORE", &self.store)
            .env("SUREFOOT_DATA_DIR", self.data(host));
        command
    }

    fn run(&self, host: &str, args: &[&str]) -> (Option<i32>, String) {
        let output = self
            .command(host, args)
            .output()
            .expect("the binary starts");
        (output.status.code(), text(&output))
    }

    fn done(&self, host: &str, args: &[&str]) -> String {
        let (status, said) = self.run(host, args);
        assert_eq!(status, Some(0), "{args:?}: {said}");
        said
    }

    /// A worker whose steps take a while, once it is registered.
    fn worker(&self, host: &str, pace: &str) -> (Started, PathBuf) {
        let log = self.place.path(&format!("{host}.log"));
        let mut command = self.command(host, &["worker"]);
        let file = std::fs::File::options()
            .append(true)
            .create(true)
            .open(&log)
            .expect("a file");
        let before = lines(&log).len();
        let child = command.env("SUREFOOT_PACE", pace).stderr(file);
        let worker = self.place.start_quietly(child);
        until("the worker works", || {
            lines(&log)[before..]
                .iter()
                .any(|line| line.contains("worker "))
                .then_some(())
        });
        (worker, log)
    }

    fn submit(&self, host: &str, name: &str) -> String {
        let parameter = format!("name={name}");
        let args = [
            "submit",
            "project-initialization",
            "-p",
            &parameter,
            "-p",
            "gitops=false",
            "--key",
            name,
        ];
        self.done(host, &args)
            .lines()
            .next()
            .expect("an id")
            .to_owned()
    }

    fn show(&self, host: &str, run: &str) -> Value {
        serde_json::from_str(&self.done(host, &["show", run, "--json"])).expect("JSON")
    }

    fn until_status(&self, run: &str, status: &str) -> Value {
        until(&format!("the run is {status}"), || {
            let shown = self.show("b", run);
            (shown["status"] == status).then_some(shown)
        })
    }

    fn until_completed(&self, run: &str, step: &str) {
        until(&format!("{step} is completed"), || {
            let shown = self.show("b", run);
            let steps = shown["steps"].as_array().expect("steps");
            steps
                .iter()
                .any(|it| it["id"] == step && it["status"] == "completed")
                .then_some(())
        });
    }
}

fn repositories(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<_> = names
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.retain(|name| name.ends_with(".git"));
    names.sort();
    names
}

/// The worker dies after it created the repository; another lives on a host without it. The run
/// waits and shows for what, so does its undo, and the name gets no second repository.
#[test]
fn a_run_waits_for_the_host_that_has_its_repository() {
    let hosts = Hosts::new();
    let (first, _) = hosts.worker("a", "1s");
    let run = hosts.submit("a", "shop");
    hosts.until_completed(&run, "create_repository");
    first.kill();

    let (_second, said) = hosts.worker("b", "0s");
    let said = std::fs::read_to_string(said).expect("a log");
    assert!(
        said.contains("warning: the local forge of this store is not in"),
        "{said}"
    );
    assert!(
        said.contains("[forge] repositories = PATH") && said.contains("surefoot forge adopt"),
        "{said}"
    );
    let waits = until("the run is taken from the dead worker", || {
        let shown = hosts.done("b", &["show", &run]);
        shown
            .contains("for a worker that has forge:")
            .then_some(shown)
    });
    assert!(waits.contains("queued"), "{waits}");
    let shown = hosts.show("b", &run);
    let requires = shown["requires"].as_array().expect("a list");
    assert!(
        requires[0].as_str().expect("a name").starts_with("forge:"),
        "{shown}"
    );
    assert_eq!(
        shown["lacking"][0]["resources"], shown["requires"],
        "{shown}"
    );
    assert!(
        waits.contains("lacking") && waits.contains("requires"),
        "{waits}"
    );
    assert_eq!(
        repositories(&hosts.data("b").join("repositories")),
        Vec::<String>::new()
    );
    let (_, doctor) = hosts.run("b", &["doctor"]);
    assert!(
        doctor.contains("the local forge of this store is not in"),
        "{doctor}"
    );
    assert!(
        doctor.contains("1 run waits for a worker that has what it requires"),
        "{doctor}"
    );
    // Other runs continue here.
    let echo = hosts.place.path("echo.yaml");
    std::fs::write(
        &echo,
        "workflow: echo\nsteps: [{ id: a, action: command.run, with: { shell: 'true' } }]\n",
    )
    .expect("written");
    hosts.done("b", &["run", &echo.to_string_lossy()]);
    // A new project also needs the host with the forge.
    let other = hosts.submit("b", "blog");
    assert!(
        hosts
            .done("b", &["show", &other])
            .contains("for a worker that has forge:local")
    );

    hosts.done("b", &["cancel", &run, "--undo"]);
    assert!(
        hosts
            .done("b", &["show", &run])
            .contains("for a worker that has forge:")
    );
    assert!(
        hosts.repository("a", "shop").is_dir(),
        "an undo that is not done removes nothing"
    );
    let (_again, _) = hosts.worker("a", "0s");
    hosts.until_status(&run, "cancelled");
    assert!(
        !hosts.repository("a", "shop").exists(),
        "and then it removes what there is"
    );
    hosts.until_status(&other, "completed");
    let again = hosts.submit("b", "shop");
    hosts.until_status(&again, "completed");
    assert_eq!(
        repositories(&hosts.data("a").join("repositories")),
        ["blog.git", "shop.git"]
    );
    assert_eq!(
        repositories(&hosts.data("b").join("repositories")),
        Vec::<String>::new()
    );
}

/// A directory that both hosts share, under different paths: the other takes over.
#[test]
fn a_host_that_shares_the_folder_takes_over() {
    let hosts = Hosts::new();
    let shared = hosts.place.path("shared");
    std::fs::create_dir(&shared).expect("a folder");
    std::os::unix::fs::symlink(&shared, hosts.place.path("mounted")).expect("a link");
    hosts.configure("a", "[forge]\nrepositories = '../shared'\n");
    hosts.configure("b", "[forge]\nrepositories = '../mounted'\n");
    let (first, _) = hosts.worker("a", "1s");
    let (_second, said) = hosts.worker("b", "0s");
    let said = std::fs::read_to_string(said).expect("a log");
    assert!(!said.contains("warning"), "{said}");
    let run = hosts.submit("a", "shop");
    hosts.until_completed(&run, "create_repository");
    first.kill();
    let shown = hosts.until_status(&run, "completed");
    assert_eq!(shown["steps"][1]["attempt"], 1, "{shown}");
    assert_eq!(repositories(&shared), ["shop.git"]);
}

/// `init` on a host without the forge hands the run over, and a host with the forge executes it
/// though another worker lives.
#[test]
fn init_works_beside_a_worker_that_lacks_the_forge() {
    let hosts = Hosts::new();
    let init = ["init", "shop", "-p", "gitops=false"];
    hosts.done("a", &init);
    let (_lacking, _) = hosts.worker("b", "0s");
    let said = hosts.done("a", &["init", "blog", "-p", "gitops=false"]);
    assert!(
        said.contains("blog: project-initialization completed"),
        "{said}"
    );
    let (_having, _) = hosts.worker("a", "0s");
    let said = hosts.done("b", &["init", "news", "-p", "gitops=false"]);
    assert!(
        said.contains("news: project-initialization completed"),
        "{said}"
    );
    assert_eq!(
        repositories(&hosts.data("a").join("repositories")),
        ["blog.git", "news.git", "shop.git"]
    );
    assert_eq!(
        repositories(&hosts.data("b").join("repositories")),
        Vec::<String>::new()
    );
}

/// The store's forge is moved only by a person, and not under live workers that have it.
#[test]
fn another_forge_is_adopted_only_on_request() {
    let hosts = Hosts::new();
    hosts.done("a", &["init", "shop", "-p", "gitops=false"]);
    let shown = hosts.done("b", &["forge"]);
    assert!(
        shown.contains("it is another one") && shown.contains("live workers that have it   none"),
        "{shown}"
    );
    let (having, _) = hosts.worker("a", "0s");
    let (status, said) = hosts.run("b", &["forge", "adopt"]);
    assert!(
        status == Some(2) && said.contains("stop them first"),
        "{said}"
    );
    having.signal("-TERM");
    having.finish();
    hosts.done("b", &["forge", "adopt"]);
    hosts.done("b", &["init", "blog", "-p", "gitops=false"]);
    assert_eq!(
        repositories(&hosts.data("b").join("repositories")),
        ["blog.git"]
    );
    let shown: Value = serde_json::from_str(&hosts.done("b", &["forge", "--json"])).expect("JSON");
    assert_eq!(shown["is_here"], true, "{shown}");
}

/// The first host is lost with its folder: its runs are listed when another forge is adopted, and
/// given up one by one, a pending undo too. A run that had no repository yet goes on in the new
/// forge.
#[test]
fn runs_of_a_lost_forge_are_listed_and_given_up() {
    let hosts = Hosts::new();
    let (first, _) = hosts.worker("a", "1s");
    let shop = hosts.submit("a", "shop");
    let news = hosts.submit("a", "news");
    for run in [&shop, &news] {
        hosts.until_completed(run, "create_repository");
    }
    first.kill();
    hosts.done("b", &["queue", "pause", "project-initialization"]);
    let blog = hosts.submit("b", "blog");
    until("no worker is thought to live", || {
        let shown = hosts.done("b", &["forge"]);
        shown
            .contains("live workers that have it   none")
            .then_some(())
    });

    let said = hosts.done("b", &["forge", "adopt"]);
    assert!(said.contains("2 unfinished runs"), "{said}");
    for (name, run) in [("shop", &shop), ("news", &news)] {
        assert!(
            said.contains(&format!("surefoot cancel {run}")) && said.contains(name),
            "{said}"
        );
    }
    assert!(!said.contains(&blog), "{said}");
    hosts.done("b", &["cancel", &news, "--undo"]);
    let shown: Value = serde_json::from_str(&hosts.done("b", &["forge", "--json"])).expect("JSON");
    assert_eq!(
        shown["elsewhere"].as_array().map(Vec::len),
        Some(2),
        "{shown}"
    );

    hosts.done("b", &["queue", "resume", "project-initialization"]);
    let (_second, _) = hosts.worker("b", "0s");
    hosts.until_status(&blog, "completed");
    for run in [&shop, &news] {
        hosts.until_status(run, "queued");
        hosts.done("b", &["cancel", run]);
        hosts.until_status(run, "cancelled");
    }
    let reason = hosts.show("b", &news)["error"].to_string();
    assert!(
        reason.contains("its undo given up") && reason.contains("create_repository"),
        "{reason}"
    );
    let shown: Value = serde_json::from_str(&hosts.done("b", &["forge", "--json"])).expect("JSON");
    assert_eq!(shown["elsewhere"], serde_json::json!([]), "{shown}");
    let again = hosts.submit("b", "shop");
    hosts.until_status(&again, "completed");
    assert_eq!(
        repositories(&hosts.data("b").join("repositories")),
        ["blog.git", "shop.git"]
    );
}

/// A copy of the directory beside the original is not accepted silently as the same forge.
#[test]
fn a_copy_of_the_folder_is_named_as_one() {
    let hosts = Hosts::new();
    hosts.done("a", &["init", "shop", "-p", "gitops=false"]);
    let copied = Command::new("cp")
        .arg("-a")
        .arg(hosts.data("a"))
        .arg(hosts.data("b"))
        .status()
        .expect("cp runs");
    assert!(copied.success());
    let (_worker, log) = hosts.worker("b", "0s");
    let said = std::fs::read_to_string(log).expect("a log");
    assert!(
        said.contains("is a copy, was restored, or was moved to another file system"),
        "{said}"
    );
    assert!(hosts.done("b", &["forge"]).contains("is a copy"));
}

/// A key on one host only: the run that needs it continues there, though a worker of another host
/// lives.
#[test]
fn a_run_with_a_secret_continues_on_the_host_that_has_its_key() {
    let hosts = Hosts::new();
    let (_lacking, _) = hosts.worker("b", "0s");
    let secret = hosts.place.path("secret.yaml");
    let yaml = "workflow: secret\nparameters: { properties: { password: { type: string, writeOnly: true } } }\n\
                steps: [{ id: a, action: command.run, with: { shell: 'true' } }]\n";
    std::fs::write(&secret, yaml).expect("written");
    let said = hosts.done(
        "a",
        &[
            "run",
            &secret.to_string_lossy(),
            "-p",
            "password=correct-horse-battery",
        ],
    );
    assert!(said.contains("secret completed"), "{said}");
}
