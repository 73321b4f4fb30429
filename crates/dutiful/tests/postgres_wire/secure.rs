//! Encrypted connections, and what a server has to prove.

use std::path::Path;
use std::process::Command;

use dutiful_fixture::Options;

use super::*;

/// Writes a key and a certificate for a host, signed by itself.
fn certificate(folder: &Path, host: &str) {
    let made = Command::new("openssl")
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1"])
        .args(["-nodes", "-days", "2", "-keyout", "key.pem", "-out", "cert.pem"])
        .args(["-subj", &format!("/CN={host}")])
        .args(["-addext", &format!("subjectAltName=DNS:{host}")])
        .args(["-addext", "basicConstraints=critical,CA:FALSE"])
        .current_dir(folder)
        .output()
        .expect("openssl is there");
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
}

/// Starts a server that speaks TLS as this host; the folder keeps its certificate.
fn start(host: &str) -> (Postgres, tempfile::TempDir) {
    let folder = tempfile::tempdir().expect("a folder");
    certificate(folder.path(), host);
    let open = |path: &Path, mode: &str| {
        let done = Command::new("chmod").arg(mode).arg(path).status().expect("chmod");
        assert!(done.success());
    };
    open(folder.path(), "755");
    open(&folder.path().join("key.pem"), "600");
    // The servers' user, where tests run as root; else it is ours already.
    for user in ["nobody", "postgres"] {
        let _ = Command::new("chown").arg(user).arg(folder.path().join("key.pem")).output();
    }
    let path = |name: &str| folder.path().join(name).display().to_string();
    let settings = [("ssl", "on".into()), ("ssl_cert_file", path("cert.pem"))];
    let settings = settings.into_iter().chain([("ssl_key_file", path("key.pem"))]);
    let settings = settings.map(|(name, value)| (name.to_owned(), value)).collect();
    let server = Postgres::start(&Options { settings, ..Options::default() });
    (server.expect("a server with TLS"), folder)
}

/// Says whether the connections of a client are encrypted, as the server sees them.
async fn is_encrypted(server: &Postgres, url: &str) -> Result<bool, Error> {
    let client = Client::builder().migrate(true).connect(url).await?;
    put(&client).await?;
    let sql = "SELECT coalesce(bool_and(s.ssl), false) FROM pg_stat_ssl s JOIN pg_stat_activity a
        USING (pid) WHERE a.application_name = 'dutiful'";
    let said = server.psql("postgres", sql).expect("the server's view");
    client.close().await?;
    Ok(said == "t")
}

#[tokio::test]
async fn connections_are_encrypted_as_much_as_was_asked() -> Kept {
    let (server, folder) = start("localhost");
    let url = server.fresh_database()?.replace("127.0.0.1", "localhost");
    assert!(is_encrypted(&server, &url).await?, "by default, where the server has it");
    assert!(is_encrypted(&server, &format!("{url}?sslmode=require")).await?);
    assert!(!is_encrypted(&server, &format!("{url}?sslmode=disable")).await?);
    let root = folder.path().join("cert.pem").display().to_string();
    let full = format!("{url}?sslmode=verify-full&sslrootcert={root}");
    assert!(is_encrypted(&server, &full).await?);

    for (wrong, why) in [
        (full.replace("@localhost", "@127.0.0.1"), "another name"),
        (format!("{url}?sslmode=verify-full"), "an authority that nobody knows"),
    ] {
        let error = soon(Client::connect(&wrong)).await.expect_err(why);
        let text = error.to_string();
        assert!(matches!(error, Error::Store(StoreError::Refused(_))), "{why}: {error:?}");
        assert!(text.contains("certificate") && text.contains("sslrootcert"), "{why}: {text}");
    }
    Ok(())
}

#[tokio::test]
async fn a_server_without_tls_is_refused_where_it_is_required() {
    let url = format!("{}?sslmode=require", database());
    let error = soon(Client::connect(&url)).await.expect_err("it speaks no TLS");
    assert!(error.to_string().contains("sslmode=disable"), "{error}");
}
