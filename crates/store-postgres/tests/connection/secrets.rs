//! A password is sent to the database only.

use surefoot_scratch_postgres::{ScratchOptions, ScratchPostgres};

use crate::support::{options, refused};

const PASSWORD: &str = "s3cr3t";

#[tokio::test]
async fn a_password_authenticates_and_is_never_shown() {
    let wanted = ScratchOptions {
        password: Some(PASSWORD.to_owned()),
        ..ScratchOptions::default()
    };
    let cluster = ScratchPostgres::with(wanted).unwrap();
    let store = options(&cluster.url()).open().await.unwrap();
    let shown = format!(
        "{:?} {:?} {}",
        options(&cluster.url()),
        store,
        options(&cluster.url()).shown()
    );
    assert!(
        !shown.contains(PASSWORD) && shown.contains("127.0.0.1"),
        "{shown}"
    );

    let bare = cluster.url_with("postgres", "postgres", None);
    options(&bare).password(PASSWORD).open().await.unwrap();
    assert!(refused(options(&bare)).await.contains("password missing"));

    let wrong = cluster.url_with("postgres", "postgres", Some("s3cr3t-but-wrong"));
    let error = refused(options(&wrong)).await;
    assert!(
        error.contains("password authentication failed") && !error.contains(PASSWORD),
        "{error}"
    );

    let elsewhere = cluster.url_with("elsewhere", "postgres", Some(PASSWORD));
    let error = refused(options(&elsewhere)).await;
    assert!(
        error.contains("\"elsewhere\" does not exist") && !error.contains(PASSWORD),
        "{error}"
    );
}
