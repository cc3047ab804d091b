//! Templates of this machine: who gives commands here may use any, whichever process then does the
//! work.

use std::fs;
use std::process::Command;

use crate::place::Place;

/// A folder that is a template.
fn template(place: &Place, name: &str) {
    fs::create_dir_all(place.path().join(name)).unwrap();
    fs::write(place.path().join(name).join("surefoot-template.yaml"), "").unwrap();
    fs::write(
        place.path().join(name).join("hello.txt"),
        "hello ${{ name }}\n",
    )
    .unwrap();
}

fn hello(place: &Place, project: &str) -> String {
    let git = Command::new("git")
        .args(["-c", "safe.directory=*", "show", "main:hello.txt"])
        .current_dir(place.data().join(format!("repositories/{project}.git")))
        .output()
        .unwrap();
    String::from_utf8(git.stdout).unwrap()
}

fn files(place: &Place, project: &str) -> Vec<String> {
    let git = Command::new("git")
        .args([
            "-c",
            "safe.directory=*",
            "ls-tree",
            "-r",
            "--name-only",
            "main",
        ])
        .current_dir(place.data().join(format!("repositories/{project}.git")))
        .output()
        .unwrap();
    String::from_utf8(git.stdout)
        .unwrap()
        .lines()
        .map(str::to_owned)
        .collect()
}

#[test]
fn a_folder_that_a_command_names_is_used_also_by_another_process() {
    let place = Place::new();
    template(&place, "mine");
    let ran = place.run(&["init", "one", "--template", "./mine", "-p", "gitops=false"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(hello(&place, "one"), "hello one\n");

    template(&place, "other");
    let git = |args: &[&str]| {
        let mut command = Command::new("git");
        command
            .args(["-c", "user.name=A", "-c", "user.email=a@b"])
            .args(args);
        assert!(
            command
                .current_dir(place.path().join("other"))
                .status()
                .unwrap()
                .success()
        );
    };
    git(&["init", "--quiet", "--initial-branch=main"]);
    git(&["add", "--all"]);
    git(&["commit", "--quiet", "-m", "first"]);
    // A `file://` means the commit, and not what else lies in the clone.
    fs::write(place.path().join("other/.env"), "TOKEN=1\n").unwrap();
    let url = format!("file://{}", place.path().join("other").display());
    let ran = place.run(&["init", "three", "--template", &url, "-p", "gitops=false"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert_eq!(files(&place, "three"), ["hello.txt"]);
    let args = [
        "-p",
        "template=other",
        "-p",
        "template_ref=main",
        "-p",
        "gitops=false",
    ];
    let submitted = place.run(
        &[
            &[
                "submit",
                "project-initialization",
                "--key",
                "two",
                "-p",
                "name=two",
            ],
            &args[..],
        ]
        .concat(),
    );
    assert_eq!(submitted.status, 0, "{}", submitted.stderr);
    let mut worker = place.command(&["worker"]);
    worker.current_dir("/");
    let _worker = place.started(worker);
    let run = place.until("two", |run| {
        run["status"] != "queued" && run["status"] != "running"
    });
    assert_eq!(run["status"], "completed", "{run:#}");
    assert_eq!(hello(&place, "two"), "hello two\n");
}

#[test]
fn what_is_wrong_with_a_template_is_told_before_anything_is_written() {
    let place = Place::new();
    fs::create_dir_all(place.path().join("foreign")).unwrap();
    fs::write(place.path().join("foreign/cookiecutter.json"), "{}").unwrap();
    template(&place, "broken");
    fs::write(place.path().join("broken/hello.txt"), "one\n${{ nmae }}\n").unwrap();
    fs::create_dir_all(place.path().join("plain")).unwrap();
    fs::write(place.path().join("plain/ci.yml"), "${{ secrets.X }}").unwrap();
    fs::create_dir_all(place.path().join("old")).unwrap();
    fs::write(
        place.path().join("old/hello.txt"),
        b"Gr\xfc\xdfe ${{ name }}\n",
    )
    .unwrap();
    for command in [
        &["init", "shop"][..],
        &["init", "shop", "--dry-run"],
        &["submit", "project-initialization", "-p", "name=shop"],
    ] {
        let check = |more: &[&str], expect: &str| {
            let ran = place.run(&[command, more].concat());
            assert!(
                ran.status == 2 && ran.stderr.contains(expect),
                "{command:?} {more:?}: {} {}",
                ran.status,
                ran.stderr
            );
        };
        check(&["-p", "template=foreign"], "a cookiecutter template");
        check(&["-p", "template=broken"], "hello.txt: line 2");
        check(&["-p", "template=plain"], "-p gitops=false");
        check(
            &["-p", "template=old", "-p", "gitops=false"],
            "hello.txt: is not UTF-8 text",
        );
        check(&["-p", "values={\"bogus\":1}"], "values.bogus");
        check(
            &[
                "-p",
                "environments=[{\"name\":\"qa\"},{\"name\":\"qa\",\"approvals\":1}]",
            ],
            "named twice",
        );
    }
    assert!(!place.data().exists(), "something was written");
    // Corrected, the same name goes on.
    let ran = place.run(&["init", "shop", "--template", "plain", "-p", "gitops=false"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("plain (copied as it is: no surefoot-template.yaml)"),
        "{}",
        ran.stdout
    );
    assert_eq!(files(&place, "shop"), ["ci.yml"]);
}

/// Lists that share their items take a line each and hours to compare, or all memory to write down.
/// The engine's fuel does not see it.
#[test]
fn whatever_a_template_asks_for_it_ends_or_is_refused() {
    let place = Place::new();
    let shared = |name: &str| {
        let doubled = format!("${{% set {name} = [{}] %}}", [name; 9].join(", "));
        format!("${{% set {name} = [1] %}}{}", doubled.repeat(12))
    };
    let x = shared("x");
    let y = shared("y");
    let product = "[[[[1] * 900] * 900] * 900] * 900";
    let time = "processor time";
    let hostile = [
        ("compared", format!("{x}{y}${{{{ x == y }}}}"), time),
        ("key", format!("{x}${{{{ {{x: 1}}|length }}}}"), time),
        (
            "products",
            format!("${{% set a = {product} %}}${{% set b = {product} %}}${{{{ a < b }}}}"),
            time,
        ),
        (
            "often",
            "${% set a = [range(90000)|list] %}${% set b = [range(90000)|list] %}\
             ${% for i in range(90000) %}${{ a == b }}${% endfor %}"
                .to_owned(),
            time,
        ),
        (
            "joined",
            format!("{x}${{% set t = x ~ '' %}}"),
            "takes more than",
        ),
        (
            "endless",
            "${% for i in range(90000) %}${% for j in range(90000) %}x${% endfor %}${% endfor %}"
                .to_owned(),
            "out of fuel",
        ),
    ];
    for (name, text, _) in &hostile {
        template(&place, name);
        fs::write(place.path().join(name).join("hello.txt"), text).unwrap();
    }
    // Two at a time: each takes all of its processor time.
    for pair in hostile.chunks(2) {
        std::thread::scope(|scope| {
            for (name, _, expect) in pair {
                let place = &place;
                let refused = move || {
                    let init = ["init", "shop", "--template", name, "-p", "gitops=false"];
                    let ran = place.run(&init);
                    assert!(
                        ran.status == 2 && ran.stderr.contains(expect),
                        "{name}: {} {}",
                        ran.status,
                        ran.stderr
                    );
                };
                scope.spawn(refused);
            }
        });
    }
    assert!(!place.data().exists(), "something was written");
}

#[test]
fn a_finished_run_needs_its_template_no_more() {
    let place = Place::new();
    template(&place, "mine");
    let init = ["init", "one", "--template", "./mine", "-p", "gitops=false"];
    assert_eq!(place.run(&init).status, 0);
    fs::remove_file(place.path().join("mine/surefoot-template.yaml")).unwrap();
    fs::write(place.path().join("mine/copier.yml"), "").unwrap();
    let ran = place.run(&init);
    assert!(
        ran.status == 0 && ran.stderr.contains("completed already"),
        "{} {}",
        ran.status,
        ran.stderr
    );
}

/// The template changes between the submission and the first step, so that the run fails there:
/// nothing was created, and the same name goes on with corrected parameters.
#[test]
fn init_with_corrected_values_goes_on_where_nothing_was_created() {
    let place = Place::new();
    template(&place, "mine");
    let values = ["-p", "template=mine", "-p", "gitops=false"];
    let submit = ["submit", "project-initialization", "-p", "name=shop"];
    let submitted = place.run(&[&submit[..], &values, &["--key", "shop"]].concat());
    assert_eq!(submitted.status, 0, "{}", submitted.stderr);
    fs::remove_file(place.path().join("mine/surefoot-template.yaml")).unwrap();
    fs::write(place.path().join("mine/copier.yml"), "").unwrap();
    let ran = place.run(&[&["init", "shop"][..], &values].concat());
    assert!(
        ran.status == 1 && ran.stderr.contains("a copier template"),
        "{} {}",
        ran.status,
        ran.stderr
    );
    // What is wrong again is refused, and leaves the run as it was.
    let ran = place.run(&["init", "shop", "--values", "bogus=1"]);
    assert!(
        ran.status == 2 && ran.stderr.contains("values.bogus"),
        "{}",
        ran.stderr
    );
    assert_eq!(place.json(&["show", "shop"])["status"], "failed");

    let ran = place.run(&["init", "shop"]);
    assert!(
        ran.status == 0 && ran.stderr.contains("had failed before it created anything"),
        "{} {}",
        ran.status,
        ran.stderr
    );
    assert!(files(&place, "shop").contains(&"README.md".to_owned()));
    let runs = place.json(&["runs"]);
    let statuses = runs.as_array().unwrap().iter().map(|run| &run["status"]);
    assert_eq!(statuses.collect::<Vec<_>>(), ["completed", "cancelled"]);
}

#[test]
fn a_failed_run_says_how_its_name_becomes_free() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("repositories/shop.git")).unwrap();
    assert_eq!(place.run(&["init", "shop"]).status, 1);
    let ran = place.run(&["init", "shop", "--values", "port=9000"]);
    let run = place.json(&["runs"])[0]["id"].as_str().unwrap().to_owned();
    let command = format!("surefoot cancel {run} --undo --wait");
    let again = "then `surefoot init shop --values port=9000`";
    assert!(
        ran.status == 2 && ran.stderr.contains("--undo --wait") && ran.stderr.contains(again),
        "{}",
        ran.stderr
    );
    fs::remove_dir(place.data().join("repositories/shop.git")).unwrap();
    let words = command.split(' ').skip(1).collect::<Vec<_>>();
    assert_eq!(place.run(&words).status, 0);
    assert_eq!(
        place.run(&["init", "shop", "--values", "port=9000"]).status,
        0
    );
}

#[test]
fn what_surefoot_keeps_to_itself_is_no_template() {
    let place = Place::new();
    fs::create_dir_all(place.data().join("credentials")).unwrap();
    fs::write(place.data().join("credentials/forge"), "hunter2").unwrap();
    let check = |template: &str, expect: &str| {
        let ran = place.run(&["init", "shop", "--template", template]);
        assert!(
            ran.status == 2 && ran.stderr.contains(expect),
            "{template}: {} {}",
            ran.status,
            ran.stderr
        );
    };
    check(
        "data/credentials",
        "it lies in [dir]/data, which Surefoot keeps to itself",
    );
    check("data", "it lies in [dir]/data");
    check(".", "it holds [dir]/data, which Surefoot keeps to itself");
    check("/", "it holds [dir]/data");
    assert!(
        !place.data().join("surefoot.db").exists(),
        "something was written"
    );
}
