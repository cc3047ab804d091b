//! TLS, with authorities and certificates created here.

use std::path::Path;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use surefoot::Store;
use surefoot_scratch_postgres::{ScratchOptions, ScratchPostgres};

use crate::support::{database, options, refused};

type Authority = CertifiedIssuer<'static, KeyPair>;

fn authority(name: &str) -> Authority {
    let mut params = CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

/// A server with a certificate for `localhost` that requires a password.
fn server(authority: &Authority) -> ScratchPostgres {
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(vec!["localhost".to_owned()])
        .unwrap()
        .signed_by(&key, authority)
        .unwrap();
    let options = ScratchOptions {
        certificate: Some((certificate.pem(), key.serialize_pem())),
        password: Some("sesame".to_owned()),
        ..ScratchOptions::default()
    };
    ScratchPostgres::with(options).unwrap()
}

fn url(cluster: &ScratchPostgres, host: &str, mode: &str, authority: Option<&Path>) -> String {
    let authority = authority
        .map(|path| format!("&sslrootcert={}", path.display()))
        .unwrap_or_default();
    cluster.url().replace("127.0.0.1", host) + &format!("?sslmode={mode}{authority}")
}

/// Number of the store's sessions that are encrypted, and of those that are not.
async fn sessions(cluster: &ScratchPostgres, url: &str) -> (usize, usize) {
    // The server may still accept a session that an earlier store has long given up, which is not
    // counted.
    let before = cluster
        .psql("postgres", "SELECT clock_timestamp()")
        .unwrap();
    let store = options(url).open().await.unwrap();
    store.queues().await.unwrap();
    let statement = format!(
        "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) \
         WHERE application_name = 'surefoot' AND backend_start > '{before}'"
    );
    let rows = cluster.psql("postgres", &statement).unwrap();
    let count = |word| rows.lines().filter(|row| *row == word).count();
    drop(store);
    // So that the next query does not count these.
    let gone = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'surefoot'";
    while cluster.psql("postgres", gone).unwrap() != "0" {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    (count("t"), count("f"))
}

#[tokio::test]
async fn each_mode_trusts_as_libpq_does() {
    let folder = tempfile::tempdir().unwrap();
    let file = |name: &str, authority: &Authority| {
        let path = folder.path().join(name);
        std::fs::write(&path, authority.pem()).unwrap();
        path
    };
    let ours = authority("ours");
    let other = authority("another");
    let ours_file = file("ours.pem", &ours);
    let other_file = file("other.pem", &other);
    let cluster = server(&ours);

    let secret = async |host: &str, mode: &str, authority: Option<&Path>| {
        let (encrypted, plain) = sessions(&cluster, &url(&cluster, host, mode, authority)).await;
        assert!(
            encrypted > 0 && plain == 0,
            "{mode} at {host}: {encrypted} encrypted, {plain} not"
        );
    };
    secret("localhost", "prefer", None).await;
    secret("127.0.0.1", "require", None).await;
    secret("127.0.0.1", "verify-ca", Some(&ours_file)).await;
    secret("localhost", "verify-full", Some(&ours_file)).await;
    // SCRAM is then bound to this channel.
    secret(
        "localhost",
        "verify-full&channel_binding=require",
        Some(&ours_file),
    )
    .await;
    let (encrypted, plain) = sessions(&cluster, &url(&cluster, "localhost", "disable", None)).await;
    assert!(encrypted == 0 && plain > 0, "{encrypted} {plain}");

    let no = async |host: &str, mode: &str, authority: &Path, why: &str| {
        let error = refused(options(&url(&cluster, host, mode, Some(authority)))).await;
        assert!(
            error.contains(why) && !error.contains("sesame"),
            "{mode} at {host}: {error}"
        );
    };
    no("127.0.0.1", "verify-full", &ours_file, "not valid for").await;
    no("localhost", "verify-full", &other_file, "UnknownIssuer").await;
    no("localhost", "verify-ca", &other_file, "UnknownIssuer").await;
    no("localhost", "require", &other_file, "UnknownIssuer").await;
    no(
        "localhost",
        "verify-full",
        Path::new("/nowhere.pem"),
        "/nowhere.pem",
    )
    .await;
}

#[tokio::test]
async fn without_tls_require_refuses_and_prefer_goes_on() {
    let (_, plain) = database();
    options(&format!("{plain}?sslmode=prefer"))
        .open()
        .await
        .unwrap();
    let error = refused(options(&format!("{plain}?sslmode=require"))).await;
    assert!(error.contains("does not support TLS"), "{error}");
}
