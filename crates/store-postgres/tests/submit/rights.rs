//! Submission needs no right to read anything, and no role may submit until it is granted.

use crate::support::{Scene, shop, submit};

#[tokio::test]
async fn submission_needs_no_rights_on_the_tables() {
    let mut scene = Scene::new().await;
    let role = format!("app_{}", scene.database);
    scene.psql(&format!("CREATE ROLE {role} LOGIN"));
    let url = scene.url.replace("postgres@", &format!("{role}@"));
    let sql = scene.sql_at(&url).await;
    assert!(
        submit(&sql, &shop("abc"), "")
            .await
            .unwrap_err()
            .contains("permission denied")
    );
    scene.psql(&format!("GRANT USAGE ON SCHEMA surefoot TO {role}"));
    assert!(
        submit(&sql, &shop("abc"), "")
            .await
            .unwrap_err()
            .contains("permission denied")
    );
    scene.psql(&format!(
        "GRANT EXECUTE ON FUNCTION surefoot.submit TO {role}"
    ));
    submit(&sql, &shop("abc"), "").await.unwrap();
    assert!(sql.query("SELECT FROM surefoot.runs", &[]).await.is_err());

    // A table of the caller named like one of the function's is not used instead of it.
    sql.batch_execute("CREATE TEMP TABLE runs (id int); CREATE TEMP TABLE jsonb_each (id int)")
        .await
        .unwrap();
    submit(&sql, &shop("xyz"), ", 'k'").await.unwrap();
    assert_eq!(scene.psql("SELECT count(*) FROM surefoot.runs"), "2");
}
