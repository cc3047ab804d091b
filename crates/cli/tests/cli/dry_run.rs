//! A dry run shows what every step would be given and touches nothing.

use crate::place::Place;

#[test]
fn init_shows_its_plan_and_makes_nothing() {
    let place = Place::new();
    let ran = place.run(&[
        "init",
        "shop",
        "--dry-run",
        "--description",
        "Sells things",
        "--values",
        "port=8080",
    ]);
    assert_eq!(ran.status, 0, "{}", ran.stderr);
    insta::assert_snapshot!(ran.stdout);
    assert_eq!(
        std::fs::read_dir(place.path()).unwrap().count(),
        0,
        "something was written"
    );
}

#[test]
fn conditions_are_decided_as_far_as_they_can_be() {
    let place = Place::new();
    place.write(
        "w.yaml",
        "workflow: demo\nparameters: { properties: { on: { type: boolean, default: false } } }\nsteps:\n  \
         - { id: a, action: sleep, if: parameters.on, with: { duration: 1ms } }\n  \
         - { id: b, action: command.run, if: steps.a.status == 'skipped', with: { shell: 'echo ${{ steps.a.output }}' } }\n",
    );
    insta::assert_snapshot!(place.run(&["run", "w.yaml", "--dry-run"]).stdout);
    let plan = place.json(&["run", "w.yaml", "--dry-run", "-p", "on=true"]);
    assert_eq!(plan["steps"][0]["runs"], true);
    assert_eq!(plan["steps"][1]["runs"], "steps.a.status == 'skipped'");
}
