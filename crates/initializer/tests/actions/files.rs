//! `file.write` and `template.render`.

use serde_json::json;

use crate::world::World;

#[tokio::test]
async fn files_are_written() {
    let world = World::new().await;
    let run = world
        .run(
            r##"
- { id: text, action: file.write, with: { path: a/b.txt, content: "one\ntwo\n" } }
- { id: json, action: file.write, with: { path: c.json, json: { port: 80 } } }
- { id: script, action: file.write, with: { path: run, content: "#!/bin/sh\necho ran\n", mode: "755" } }
- { id: again, action: file.write, with: { path: a/b.txt, content: "three\n" } }
- { id: show, action: command.run, with: { shell: "cat a/b.txt c.json; ./run; stat -c %a c.json run" } }
"##,
        )
        .await;
    let expect = ["three", "{", r#"  "port": 80"#, "}", "ran", "644", "755"];
    assert_eq!(world.log(&run).await, expect, "{:?}", run.head.error);
    assert_eq!(
        run.steps[0].output,
        Some(json!({ "path": "a/b.txt", "bytes": 8 }))
    );
}

#[tokio::test]
async fn files_outside_the_workspace_are_left_alone() {
    let world = World::new().await;
    let outside = world.path("outside");
    std::fs::create_dir(&outside).unwrap();
    let check = async |path: &str, rest: &str, expect: &str| {
        let steps = format!(
            "- {{ id: link, action: command.run, with: {{ shell: 'mkdir d && ln -s {} out' }} }}\n\
             - {{ id: write, action: file.write, with: {{ path: '{path}', {rest} }} }}",
            outside.display()
        );
        let (error, attempts) = world.failure(&steps).await;
        assert!(error.contains(expect) && attempts == 1, "{path}: {error}");
    };
    check("../x", "content: ''", "leaves the workspace").await;
    check("/tmp/surefoot-x", "content: ''", "leaves the workspace").await;
    check("out/x", "content: ''", "symbolic link").await;
    check("out", "content: ''", "symbolic link").await;
    check("d", "content: ''", "it is a folder").await;
    check("x", "content: '', mode: '999'", "the mode `999` is none").await;
    assert_eq!(std::fs::read_dir(outside).unwrap().count(), 0);
}

#[tokio::test]
async fn folders_and_files_are_rendered() {
    let world = World::new().await;
    let run = world
        .run(
            r##"
- id: make
  action: command.run
  with:
    # Written so that the engine sees no expression of its own in it.
    shell: |
      mkdir -p t/bin
      echo 'I am $''{{ name }}' > 't/$''{{ name }}.txt'
      printf '#!/bin/sh\necho $''{{ name }} goes\n' > t/bin/go; chmod +x t/bin/go
      echo 'only $''{{ name }}' > one.tmpl
- { id: folder, action: template.render, with: { from: t, to: out, values: { name: shop } } }
- { id: file, action: template.render, with: { from: one.tmpl, to: out/one, values: { name: shop } } }
- { id: show, action: command.run, with: { shell: "cat out/shop.txt out/one; out/bin/go" } }
"##,
        )
        .await;
    assert_eq!(
        world.log(&run).await,
        ["I am shop", "only shop", "shop goes"],
        "{:?}",
        run.head.error
    );
    assert_eq!(run.steps[1].output, Some(json!({ "files": 2 })));
}

#[tokio::test]
async fn a_template_that_does_not_render_fails_at_once() {
    let world = World::new().await;
    let check = async |with: &str, expect: &str| {
        let steps = format!(
            "- {{ id: one, action: command.run, with: {{ shell: \"echo '$''{{{{ nmae }}}}' > one\" }} }}\n\
             - {{ id: render, action: template.render, with: {{ {with} }} }}"
        );
        let (error, attempts) = world.failure(&steps).await;
        assert!(error.contains(expect) && attempts == 1, "{with}: {error}");
    };
    check("from: one, to: two, values: { name: x }", "nmae").await;
    check("from: gone, to: two", "there is no `gone`").await;
    check("from: .., to: two", "leaves the workspace").await;
}
