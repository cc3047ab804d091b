//! Workflow files that are wrong, submitted and served.

use crate::place::Place;

/// A workflow file is checked by the handlers of its actions, whether it is submitted here or
/// served for the API and the pages: with the same words, and before anything runs.
#[test]
fn the_server_checks_a_workflow_file_as_submit_does() {
    for (step, expect) in [
        (
            "action: sleep, with: { duration: soon }",
            "step b (sleep): ",
        ),
        (
            "action: command.run, with: { shell: x, argv: [x] }",
            "step b (command.run): ",
        ),
        ("action: no.such", "step b: there is no action `no.such`"),
    ] {
        let place = Place::new();
        std::fs::create_dir(place.path().join("flows")).unwrap();
        let text = format!(
            "workflow: w\nsteps:\n  - {{ id: a, action: sleep, with: {{ duration: 1ms }} }}\n  - {{ id: b, {step} }}\n"
        );
        place.write("flows/w.yaml", &text);
        let submitted = place.run(&["submit", "flows/w.yaml"]);
        assert_eq!(submitted.status, 2, "{step}");
        let fault = submitted.stderr.lines().next().unwrap_or_default();
        let fault = fault.trim_start_matches("error: ");
        assert!(fault.starts_with(expect), "{fault}");
        let served = place.run(&["serve", "--listen", "127.0.0.1:0", "--workflows", "flows"]);
        assert_eq!(served.status, 2, "{step}: {}", served.stderr);
        // Without the guess at what was meant, which a person at a terminal is given.
        let fault = fault.split("; did you").next().unwrap_or_default();
        assert!(served.stderr.contains(fault), "{fault}: {}", served.stderr);
    }
}
