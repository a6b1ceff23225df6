//! The interoperability suite's wallet on axum and hyper. See ../../README.md for what every wallet does.

use std::fs::OpenOptions;
use std::io::{BufReader, Write};
use std::os::fd::FromRawFd;
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs};

use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::routing::post;
use axum::Router;
use base64::prelude::{Engine, BASE64_STANDARD};
use hmac::{Hmac, Mac};
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use hyper_util::server::graceful::GracefulShutdown;
use hyper_util::service::TowerToHyperService;
use sha2::Sha256;
use tokio::signal::unix::{signal, SignalKind};
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::TlsAcceptor;

struct Wallet {
    ledger: String,
    authorization: String,
    private_key: String,
    slow: Duration,
}

impl Wallet {
    /// Names what is wrong with a request; "-" for nothing.
    fn fault(&self, headers: &HeaderMap, body: &[u8]) -> &'static str {
        let text = |name| headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or("");
        let mut mac = Hmac::<Sha256>::new_from_slice(self.private_key.as_bytes()).expect("any key length");
        mac.update(body);
        let signature: String = mac.finalize().into_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        if text("content-length") != body.len().to_string() {
            "content-length"
        } else if text("authorization") != self.authorization {
            "authorization"
        } else if text("x-request-signature") != signature {
            "signature"
        } else {
            "-"
        }
    }

    fn record(&self, token: &str, fault: &str, body: &[u8]) {
        let line = format!("{token} {fault} {}\n", BASE64_STANDARD.encode(body));
        let mut file = OpenOptions::new().append(true).open(&self.ledger).expect("the ledger exists");
        file.write_all(line.as_bytes()).expect("the ledger can be written");
    }
}

fn token(body: &[u8]) -> String {
    let text = String::from_utf8_lossy(body);
    let found = text.split_once("\"token\":\"").and_then(|(_, rest)| rest.split_once('"'));
    found.map_or_else(|| "none".to_owned(), |(token, _)| token.to_owned())
}

async fn terminate(State(wallet): State<Arc<Wallet>>, headers: HeaderMap, body: Bytes) -> (StatusCode, [(&'static str, &'static str); 1], Vec<u8>) {
    let (token, fault) = (token(&body), wallet.fault(&headers, &body));
    wallet.record(&token, fault, &body);
    let json = [("content-type", "application/json")];
    if fault != "-" {
        return (StatusCode::UNAUTHORIZED, json, b"{\"code\":3,\"status\":false,\"message\":\"refused\"}".to_vec());
    }
    if token.contains("slow") {
        tokio::time::sleep(wallet.slow).await;
    }
    let mut answer = b"{\"code\":1,\"status\":true,\"message\":\"\",\"request_id\":\"r\",\"balance\":1.50,".to_vec();
    answer.extend_from_slice(&body[1..]);
    (StatusCode::OK, json, answer)
}

fn acceptor() -> Option<TlsAcceptor> {
    let certificate = env::var("INTEROP_CERTIFICATE").ok()?;
    let key = env::var("INTEROP_KEY").expect("INTEROP_KEY");
    let mut reader = BufReader::new(fs::File::open(certificate).expect("certificate"));
    let chain = CertificateDer::pem_reader_iter(&mut reader).collect::<Result<Vec<_>, _>>().expect("PEM");
    let key = PrivateKeyDer::from_pem_file(key).expect("PEM");
    let mut config = ServerConfig::builder().with_no_client_auth().with_single_cert(chain, key).expect("a pair");
    config.alpn_protocols = vec![b"h2".to_vec()];
    Some(TlsAcceptor::from(Arc::new(config)))
}

fn builder() -> auto::Builder<TokioExecutor> {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http2_only();
    if env::var("INTEROP_ODD").is_ok() {
        builder.http2().max_concurrent_streams(1).initial_stream_window_size(1).max_frame_size(16_384).max_header_list_size(2048);
    }
    builder
}

#[tokio::main]
async fn main() {
    let variable = |name: &str| env::var(name).unwrap_or_else(|_| panic!("{name} is not set"));
    let wallet = Arc::new(Wallet {
        ledger: variable("INTEROP_LEDGER"),
        authorization: variable("INTEROP_AUTHORIZATION"),
        private_key: variable("INTEROP_PRIVATE_KEY"),
        slow: Duration::from_secs_f64(variable("INTEROP_SLOW_S").parse().expect("seconds")),
    });
    let app = Router::new().route("/api/wallet/terminate", post(terminate)).with_state(wallet);
    // SAFETY: descriptor 0 is the listening socket that the suite hands over, and nobody else uses it.
    let inherited = unsafe { std::net::TcpListener::from_raw_fd(0) };
    inherited.set_nonblocking(true).expect("a socket");
    let listener = tokio::net::TcpListener::from_std(inherited).expect("a listening socket");
    let (tls, graceful) = (acceptor(), GracefulShutdown::new());
    let mut end = signal(SignalKind::terminate()).expect("SIGTERM");
    println!("ready");
    loop {
        let stream = tokio::select! {
            accepted = listener.accept() => accepted.expect("accept").0,
            _ = end.recv() => break,
        };
        let (app, tls, watcher) = (app.clone(), tls.clone(), graceful.watcher());
        tokio::spawn(async move {
            let service = TowerToHyperService::new(app);
            // How a connection ends is the bridge's business: the suite judges by the ledger.
            match tls {
                None => { let _ = watcher.watch(builder().serve_connection(TokioIo::new(stream), service).into_owned()).await; }
                Some(tls) => if let Ok(stream) = tls.accept(stream).await {
                    let _ = watcher.watch(builder().serve_connection(TokioIo::new(stream), service).into_owned()).await;
                }
            }
        });
    }
    drop(listener);
    graceful.shutdown().await;
}
