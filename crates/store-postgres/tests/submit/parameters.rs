//! Errors about invalid parameters, returned at once.

use std::sync::Arc;

use serde_json::{Value, json};
use surefoot::limits::{MAX_NESTING, MAX_VALUE_BYTES};
use surefoot::{Store, Submit, SubmitError, Workflow};

use crate::support::{Scene, submit, workflow};

#[tokio::test]
async fn sql_reports_parameter_errors_as_a_client_does() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    for parameters in [
        json!({}),
        json!({ "name": "abc", "colour": "red" }),
        json!({ "size": "big", "name": "abc" }),
        json!({ "size": 1.5, "name": "abc" }),
        json!({ "kind": "huge", "name": "abc" }),
        json!({ "tags": "x", "name": "abc" }),
        json!({ "region": 5, "name": "abc" }),
        json!({ "name": 5, "colour": 6 }),
        json!("abc"),
    ] {
        let error = submit(&sql, &parameters, "").await.unwrap_err();
        let Err(SubmitError::Parameters(expect)) = scene
            .client()
            .submit(Submit::new(workflow()).parameters(parameters.clone()))
            .await
        else {
            panic!("{parameters} fits")
        };
        assert!(error.starts_with("22023 "), "{parameters}: {error}");
        for mistake in expect.iter().filter(|mistake| mistake.parameter != "(all)") {
            assert!(
                error.contains(&format!("parameter {}: ", mistake.parameter)),
                "{parameters}: {error} / {mistake}"
            );
        }
    }
    assert!(
        scene
            .store
            .runs(surefoot::store::RunFilter::default())
            .await
            .unwrap()
            .is_empty()
    );
    // These are valid: an integer written as 4.0, and a null where null is allowed.
    for (name, more) in [
        ("aa", json!({ "size": 4.0 })),
        ("bb", json!({ "tags": null })),
        ("cc", Value::Null),
    ] {
        let mut parameters = json!({ "name": name });
        for (key, value) in more.as_object().into_iter().flatten() {
            parameters[key] = value.clone();
        }
        submit(&sql, &parameters, "").await.unwrap();
    }
}

#[tokio::test]
async fn an_unknown_workflow_is_named() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let error = sql
        .query_one("SELECT surefoot.submit('nowhere')", &[])
        .await
        .unwrap_err();
    let said = error.as_db_error().unwrap();
    assert_eq!(
        (said.code().code(), said.message()),
        ("42704", "workflow `nowhere` is not known")
    );
    assert!(said.hint().unwrap().contains("publishes it"));
}

#[tokio::test]
async fn the_latest_published_workflow_is_used() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let old = submit(&sql, &json!({ "name": "abc" }), "").await.unwrap();
    let newer = Workflow::builder("shop")
        .step("only", "test.work")
        .build()
        .unwrap();
    scene.store.publish(&Arc::new(newer)).await.unwrap();
    let new = submit(&sql, &json!({ "anything": "goes" }), "")
        .await
        .unwrap();
    assert_eq!(
        (
            scene.run(old).await.steps.len(),
            scene.run(new).await.steps.len()
        ),
        (2, 1)
    );
    assert_eq!(scene.psql("SELECT count(*) FROM surefoot.workflows"), "1");
}

#[tokio::test]
async fn a_unique_expression_only_the_engine_can_evaluate_is_refused() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let publish = async |unique: &str| {
        let yaml = format!("workflow: shop\nunique: '{unique}'\nsteps: [{{ id: a, action: b }}]");
        scene
            .store
            .publish(&Arc::new(Workflow::from_yaml(&yaml).unwrap()))
            .await
            .unwrap();
    };
    publish("${{ parameters.name | upper }}").await;
    let error = submit(&sql, &json!({ "name": "abc" }), "")
        .await
        .unwrap_err();
    assert!(
        error.starts_with("0A000") && error.contains("parameters.name | upper"),
        "{error}"
    );
    publish("${{ parameters.name }}").await;
    let error = submit(&sql, &json!({}), "").await.unwrap_err();
    assert!(
        error.starts_with("22023") && error.contains("parameters.name"),
        "{error}"
    );

    // Errors that both can detect have the same text.
    publish("<${{parameters.a}}-${{ parameters.b.c }}-${{ parameters.d }}> $").await;
    let parameters = json!({ "a": "x y", "b": { "c": 12 }, "d": true });
    let made = submit(&sql, &parameters, "").await.unwrap();
    let run = scene.run(made).await;
    let again = scene
        .client()
        .submit(Submit::new(run.plan.clone()).parameters(parameters))
        .await
        .unwrap();
    assert!(
        again.existing && again.run.id == made,
        "{:?} / {:?}",
        run.unique,
        again.run.unique
    );
}

#[tokio::test]
async fn a_run_requires_what_its_workflow_says() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let yaml = "
workflow: shop
requires: ['forge:${{ parameters.forge }}', '${{ parameters.also }}', 'forge:local', 'a']
parameters: { properties: { forge: { default: local }, also: { default: '' } } }
steps: [{ id: only, action: test.work }]
";
    let workflow = Arc::new(Workflow::from_yaml(yaml).unwrap());
    scene.store.publish(&workflow).await.unwrap();
    for parameters in [json!({}), json!({ "forge": "b", "also": "key:1" })] {
        let run = submit(&sql, &parameters, "").await.unwrap();
        let requires = scene.run(run).await.requires;
        let by_client = scene
            .client()
            .submit(Submit::new(workflow.clone()).parameters(parameters))
            .await
            .unwrap()
            .run;
        assert_eq!(
            (requires.len() >= 2, &requires),
            (true, &by_client.requires)
        );
    }
}

/// Only a program with the key can encrypt: secret parameters are refused, and their values are in
/// no answer.
#[tokio::test(flavor = "multi_thread")]
async fn a_secret_parameter_is_refused_and_not_repeated() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let secret = json!({ "type": "string", "writeOnly": true, "minLength": 100, "enum": ["a"] });
    let own = json!({ "properties": {
        "name": { "type": "string" },
        "password": secret,
        "deep": { "properties": { "list": { "items": { "format": "password" } } } },
        "usual": { "format": "password", "default": "none" },
    } });
    let named = json!({ "$defs": { "s": secret }, "properties": { "any": { "$ref": "#/$defs/s" }, "name": {} } });
    let publish = async |schema: &Value| {
        let workflow = Workflow::builder("shop")
            .parameters(schema.clone())
            .step("one", "test.work")
            .build()
            .unwrap();
        scene.store.publish(&Arc::new(workflow)).await.unwrap();
    };
    let refused = async |given: Value, name: &str| {
        let error = submit(&sql, &given, "").await.unwrap_err();
        let expect = format!("parameter {name}: is or may be secret");
        assert!(
            error.contains(&expect) && !error.contains("hunter22"),
            "{given}: {error}"
        );
    };
    publish(&own).await;
    refused(json!({ "password": "hunter22" }), "password").await;
    refused(json!({ "deep": { "list": ["hunter22"] } }), "deep").await;
    refused(json!({ "usual": "hunter22" }), "usual").await;
    submit(&sql, &json!({ "name": "shop" }), "").await.unwrap();
    publish(&named).await;
    refused(json!({ "any": "hunter22" }), "any").await;
    refused(json!({ "name": "hunter22" }), "name").await;
    submit(&sql, &json!({}), "").await.unwrap();
}

/// The limits of nesting and of size are those of every other entry, and what is accepted can be
/// read.
#[tokio::test]
async fn what_is_nested_too_deep_or_too_large_is_refused() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let nested = |levels: usize| (0..levels).fold(json!(1), |inside, _| json!([inside]));
    // The object of the parameters is a level too.
    let deep = |name: &str, levels: usize| json!({ "name": name, "tags": nested(levels - 1) });
    let id = submit(&sql, &deep("aa", MAX_NESTING), "").await.unwrap();
    let run = scene.run(id).await;
    assert_eq!(run.unreadable, None);
    assert_eq!(run.parameters["tags"], nested(MAX_NESTING - 1));
    for levels in [MAX_NESTING + 1, 300, 3000] {
        let error = submit(&sql, &deep("bb", levels), "").await.unwrap_err();
        let expect = "the parameters are nested more than 64 levels deep";
        assert!(
            error.starts_with("22023 ") && error.contains(expect),
            "{levels}: {error}"
        );
        if levels == MAX_NESTING + 1 {
            let submit = Submit::new(workflow()).parameters(deep("bb", levels));
            let refused = scene.client().submit(submit).await.unwrap_err();
            assert!(refused.to_string().contains("64 levels"), "{refused}");
        }
    }
    let large = json!({ "name": "cc", "tags": ["x".repeat(MAX_VALUE_BYTES)] });
    let error = submit(&sql, &large, "").await.unwrap_err();
    assert!(error.contains("more than 16 MiB"), "{error}");
}

/// A number keeps its digits: as a number where one holds it, otherwise as a text.
#[tokio::test]
async fn numbers_keep_their_digits() {
    let mut scene = Scene::new().await;
    let sql = scene.sql().await;
    let text = "{\"name\": \"aa\", \"tags\": [18446744073709551615, 12345678901234567890123, 3.141592653589793238, 0.1]}";
    let call = format!("SELECT surefoot.submit('shop', '{text}'::jsonb)::text");
    let row = sql.query_one(&call, &[]).await.unwrap();
    let id = row.get::<_, &str>(0).parse().unwrap();
    let run = scene.run(id).await;
    assert_eq!(run.unreadable, None);
    assert_eq!(
        run.parameters["tags"],
        json!([
            u64::MAX,
            "12345678901234567890123",
            "3.141592653589793238",
            0.1
        ])
    );
}
