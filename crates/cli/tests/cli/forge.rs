//! The places of projects: addresses that hold whatever the folder is called, and a store that
//! knows its forge.

use std::process::Command;

use crate::place::Place;

/// A folder whose path means something else in an address: git understands what is printed, and a
/// shell takes it as it is.
#[test]
fn a_path_with_odd_characters_is_escaped_in_addresses() {
    let place = Place::new();
    let ran = place.run(&["--data-dir", "feature%2Fx y", "init", "shop"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stdout
            .contains("feature%252Fx%20y/repositories/shop.git"),
        "{}",
        ran.stdout
    );
    let clone = ran
        .stdout
        .lines()
        .find_map(|line| line.trim().strip_prefix("git clone "))
        .unwrap();
    let clone = format!(
        "git clone --quiet {} cloned",
        clone.replace("[dir]", &place.path().display().to_string())
    );
    let cloned = Command::new("sh")
        .args(["-c", &clone])
        .current_dir(place.path())
        .status()
        .unwrap();
    assert!(
        cloned.success() && place.path().join("cloned/README.md").is_file(),
        "{clone}"
    );
}

/// Another data directory on the same file: it is said at once, and no second forge is made.
#[test]
fn a_second_data_directory_is_no_second_forge() {
    let place = Place::new();
    assert_eq!(place.run(&["init", "shop"]).status, 0);
    let (store, elsewhere) = (
        format!("sqlite:{}/surefoot.db", place.data().display()),
        place.path().join("elsewhere"),
    );
    let other = |args: &[&str]| {
        let mut command = place.command(args);
        command
            .env("SUREFOOT_STORE", &store)
            .env("SUREFOOT_DATA_DIR", &elsewhere);
        place.ran(command)
    };
    let ran = other(&["forge"]);
    assert!(
        ran.status == 0 && ran.stdout.contains("it is another one"),
        "{ran:?}"
    );
    place.write(
        "quick.yaml",
        "workflow: quick\nsteps: [{ id: a, action: sleep, with: { duration: 0s } }]\n",
    );
    let ran = other(&["run", "quick.yaml"]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    assert!(
        ran.stderr
            .contains("the local forge of this store is not in"),
        "{}",
        ran.stderr
    );
    assert!(!elsewhere.join("repositories").exists());
    assert_eq!(other(&["forge", "adopt"]).status, 0);
    assert_eq!(other(&["init", "blog"]).status, 0);
    assert!(elsewhere.join("repositories/blog.git").is_dir());
}
