//! TLS: what a service has to prove, and whom a handler believes beside the public authorities.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use dutiful_server::push::{Resolved, Resolver};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};

use super::*;

/// Every name leads to this machine.
struct Here;

impl Resolver for Here {
    fn resolve(&self, _: &str) -> Resolved {
        Box::pin(async { Ok(vec![IpAddr::from([127, 0, 0, 1])]) })
    }
}

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

/// Answers `7` over TLS as this host, for as long as the test lasts; returns the port and the
/// certificate.
fn serve(host: &str) -> (u16, Vec<u8>) {
    let folder = tempfile::tempdir().unwrap();
    certificate(folder.path(), host);
    let pem = std::fs::read(folder.path().join("cert.pem")).unwrap();
    let key = PrivateKeyDer::from_pem_file(folder.path().join("key.pem")).unwrap();
    let chain = vec![CertificateDer::from_pem_slice(&pem).unwrap()];
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let settings = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .unwrap();
    let settings = Arc::new(settings);
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = socket.local_addr().unwrap().port();
    std::thread::spawn(move || {
        for stream in socket.incoming() {
            let tls = ServerConnection::new(settings.clone()).unwrap();
            // A client that believes nothing here ends the handshake.
            let _ = answer_one(StreamOwned::new(tls, stream.unwrap()));
        }
    });
    (port, pem)
}

fn answer_one(stream: StreamOwned<ServerConnection, std::net::TcpStream>) -> std::io::Result<()> {
    let mut stream = BufReader::new(stream);
    let (mut line, mut length) = (String::new(), 0);
    while stream.read_line(&mut line)? > 2 {
        if let Some(value) = line.to_lowercase().strip_prefix("content-length: ") {
            length = value.trim().parse().unwrap();
        }
        line.clear();
    }
    stream.read_exact(&mut vec![0; length])?;
    let answer = b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 1\r\n\r\n7";
    stream.get_mut().write_all(answer)?;
    stream.get_mut().flush()
}

async fn send(host: &str, port: u16, ca_pem: Option<Vec<u8>>) -> (JobInfo, Came) {
    let url = format!("https://{host}:{port}/");
    let push = Push::new().resolver(Here);
    let target = push.target(TargetSettings { ca_pem, ..private(&url) }).unwrap();
    Site::working(target).await.run("1").await
}

#[tokio::test]
async fn a_service_proves_who_it_is_by_an_authority_that_is_believed() {
    let (port, pem) = serve("shop.internal");
    let (job, came) = send("shop.internal", port, Some(pem.clone())).await;
    assert_eq!((came, job.result.unwrap().get()), (Came::Completed, "7"));
    let (_, came) = send("shop.internal", port, None).await;
    assert_eq!(came.class(), "connect", "nobody vouches for it: {came:?}");
    let (_, came) = send("other.internal", port, Some(pem)).await;
    assert_eq!(came.class(), "connect", "it is somebody else: {came:?}");
}
