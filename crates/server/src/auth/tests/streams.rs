//! An open event stream ends when its reader loses access.

use std::time::Duration;

use reqwest::Method;
use reqwest::header::AUTHORIZATION;

use super::Server;
use crate::auth::{Role, token};

/// Reads a stream to its end.
async fn to_the_end(mut stream: reqwest::Response) {
    while stream.chunk().await.unwrap().is_some() {}
}

#[tokio::test]
async fn a_stream_ends_when_its_token_is_revoked_and_no_other_does() {
    let (server, tokens) = Server::with_tokens().await;
    let open = async |role: Role| {
        let (_, secret) = tokens.iter().find(|(other, _)| *other == role).unwrap();
        let request = server
            .ask(Method::GET, "/api/v1/events")
            .header(AUTHORIZATION, format!("Bearer {secret}"));
        let stream = request.send().await.unwrap();
        assert_eq!(stream.status(), 200);
        stream
    };
    let revoked = open(Role::Viewer).await;
    let kept = open(Role::Admin).await;
    token::revoke(server.store.as_ref(), &format!("{} 2", Role::Viewer))
        .await
        .unwrap();
    // The documented limit is a few seconds.
    tokio::time::timeout(Duration::from_secs(30), to_the_end(revoked))
        .await
        .expect("it ends");
    tokio::time::timeout(Duration::from_secs(6), to_the_end(kept))
        .await
        .expect_err("it goes on");
}
