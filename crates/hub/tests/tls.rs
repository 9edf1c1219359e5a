//! Pulls over TLS from a server on loopback: whose certificates are believed, and what a redirect
//! may not undo. The key of that server is in `testdata/tls` for everyone to see, and of no use.

mod support;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ServerConfig, ServerConnection, StreamOwned};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use support::pulls::{Pulls, TOKEN, model_of};
use support::server::Server;

fn testdata(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../../testdata/tls").join(name)
}

fn config() -> Arc<ServerConfig> {
    let chain = vec![CertificateDer::from_pem_file(testdata("server.pem")).unwrap()];
    let key = PrivateKeyDer::from_pem_file(testdata("server.key")).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = ServerConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().unwrap();
    Arc::new(builder.with_no_client_auth().with_single_cert(chain, key).unwrap())
}

/// A server that speaks TLS and answers every connection once, with these bytes.
fn serve(answer: Vec<u8>) -> SocketAddr {
    serve_at("127.0.0.1:0", answer)
}

fn serve_at(address: &str, answer: Vec<u8>) -> SocketAddr {
    let listener = TcpListener::bind(address).unwrap();
    let (address, config) = (listener.local_addr().unwrap(), config());
    // It ends with the test's process.
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let connection = ServerConnection::new(config.clone()).unwrap();
            // Errors are those of clients that do not believe the certificate.
            let _ = answer_one(StreamOwned::new(connection, stream), &answer);
        }
    });
    address
}

fn answer_one(
    mut stream: StreamOwned<ServerConnection, TcpStream>,
    answer: &[u8],
) -> std::io::Result<()> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        stream.read_exact(&mut byte)?;
        head.push(byte[0]);
    }
    stream.write_all(answer)?;
    stream.conn.send_close_notify();
    stream.flush()
}

fn file_answer(model: &[u8]) -> Vec<u8> {
    let head = format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n", model.len());
    [head.as_bytes(), model].concat()
}

#[test]
fn a_certificate_of_a_named_authority_is_believed() {
    let model = model_of(5000);
    let address = serve(file_answer(&model));
    let mut pulls = Pulls::new();
    pulls.reach.certificates = Some(testdata("authority.pem"));
    pulls.pull(&format!("https://{address}/tiny.gguf")).unwrap();
    pulls.assert_model("tiny", "tiny.gguf", &model);
    assert!(pulls.ledger().contains(&format!("https://{address}")), "{}", pulls.ledger());
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let address = serve(file_answer(&model_of(5000)));
    let mut pulls = Pulls::new();
    // Any certificate will do that is not of this authority.
    pulls.reach.certificates = Some(testdata("server.pem"));
    pulls.refused(&format!("https://{address}/tiny.gguf"), &["certificate"]);
    // Nor is one believed for another name.
    pulls.reach.certificates = Some(testdata("authority.pem"));
    let other = serve_at("127.0.0.2:0", file_answer(&model_of(5000)));
    pulls.refused(&format!("https://{other}/tiny.gguf"), &["certificate not valid for name"]);
}

/// T4: neither the file nor the token goes on without TLS, even where plain addresses are allowed.
#[test]
fn t4_a_redirect_from_tls_to_none_is_refused() {
    let plain = Server::of_file(model_of(5000));
    let head = format!(
        "HTTP/1.1 302 X\r\nLocation: {}\r\nContent-Length: 0\r\n\r\n",
        plain.url("/tiny.gguf")
    );
    let address = serve(head.into_bytes());
    let mut pulls = Pulls::new().with_token_for(&plain);
    pulls.reach.certificates = Some(testdata("authority.pem"));
    pulls.reach.plain_http = true;
    let words = ["leads elsewhere", "is without TLS"];
    let error = pulls.refused(&format!("https://{address}/tiny.gguf"), &words);
    assert!(plain.seen().is_empty() && !error.contains(TOKEN), "{error}");
}
