//! Targets measured by the program, for whole-program tests: the run, its report, and servers to run against.

use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::Value;

use super::support::greenroom;

/// How a measurement ended.
#[derive(Debug)]
pub(crate) struct Measured {
    pub(crate) code: Option<i32>,
    pub(crate) report: Value,
    pub(crate) err: String,
}

impl Measured {
    pub(crate) fn target(&self) -> &Value {
        &self.report["targets"][0]
    }

    pub(crate) fn details(&self) -> &Value {
        &self.target()["details"]
    }

    /// The failure's code; empty without one.
    pub(crate) fn failure(&self) -> &str {
        self.target()["failure"]["code"].as_str().unwrap_or_default()
    }

    /// The codes of what is wrong with the certificate.
    pub(crate) fn faults(&self) -> Vec<&str> {
        let faults = self.details()["security"]["faults"].as_array().expect("faults");
        faults.iter().filter_map(|fault| fault["code"].as_str()).collect()
    }

    /// Says that the report is valid, and shows it.
    pub(crate) fn shown(&self) -> String {
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("r.json");
        std::fs::write(&file, self.report.to_string()).expect("writable");
        let valid = greenroom(["report", "validate"]).arg(&file).output().expect("the binary runs");
        assert_eq!(valid.status.code(), Some(0), "{}", String::from_utf8_lossy(&valid.stdout));
        let mut show = greenroom(["report", "show"]);
        let shown = output(show.arg(&file).arg("--html").arg(folder.path().join("r.html")));
        assert!(folder.path().join("r.html").exists());
        shown
    }
}

fn output(command: &mut Command) -> String {
    let output = command.output().expect("the binary runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Measures for a second.
pub(crate) fn measure(url: &str) -> Measured {
    measured(&mut for_a_second(url))
}

/// The command that measures for a second.
pub(crate) fn for_a_second(url: &str) -> Command {
    greenroom(["measure", url, "--duration", "1s", "--json", "-"])
}

pub(crate) fn measured(command: &mut Command) -> Measured {
    let output = command.output().expect("the binary runs");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    let report = serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}"));
    Measured { code: output.status.code(), report, err: err.into_owned() }
}

/// An authority of a test's own, which a program trusts that is told so.
pub(crate) struct Authority {
    issuer: Issuer<'static, KeyPair>,
    file: PathBuf,
    _folder: tempfile::TempDir,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let folder = tempfile::tempdir().expect("a temporary directory");
        let file = folder.path().join("ca.pem");
        std::fs::write(&file, params.self_signed(&key).expect("signed").pem()).expect("writable");
        Self { issuer: Issuer::new(params, key), file, _folder: folder }
    }

    /// What this computer trusts (SSL_CERT_FILE), with this authority alone in it.
    pub(crate) fn file(&self) -> &Path {
        &self.file
    }

    /// A certificate for these names, changed by `change`.
    pub(crate) fn certificate(
        &self,
        names: &[&str],
        change: impl FnOnce(&mut CertificateParams),
    ) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
        let key = KeyPair::generate().expect("a key");
        let mut params = params(names);
        change(&mut params);
        let own = params.signed_by(&key, &self.issuer).expect("signed");
        (vec![own.der().clone()], key.into())
    }
}

fn params(names: &[&str]) -> CertificateParams {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, "service.example");
    params
}

/// A certificate that vouches for itself.
pub(crate) fn self_signed(names: &[&str]) -> (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>) {
    let key = KeyPair::generate().expect("a key");
    let own = params(names).self_signed(&key).expect("signed");
    (vec![own.der().clone()], key.into())
}

/// A TLS server's configuration.
pub(crate) fn server_config(
    (chain, key): (Vec<CertificateDer<'static>>, PrivateKeyDer<'static>),
    alpn: &[&[u8]],
) -> Arc<ServerConfig> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key)
        .expect("the key fits");
    config.alpn_protocols = alpn.iter().map(|name| name.to_vec()).collect();
    Arc::new(config)
}

/// Listens on a free port of the loopback and hands each connection to `serve`, on a thread of its own.
pub(crate) fn tcp_server(serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    tcp_server_on(Ipv4Addr::LOCALHOST.into(), serve)
}

pub(crate) fn tcp_server_on(ip: IpAddr, serve: impl Fn(TcpStream) + Send + Sync + 'static) -> SocketAddr {
    let listener = TcpListener::bind((ip, 0)).expect("a port");
    let at = listener.local_addr().expect("bound");
    let serve = Arc::new(serve);
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            let serve = Arc::clone(&serve);
            std::thread::spawn(move || serve(stream));
        }
    });
    at
}

/// A TLS server that shakes hands, says `says` to whoever sent something, and ends.
pub(crate) fn tls_server(
    config: Arc<ServerConfig>,
    says: impl Fn(&str) -> String + Send + Sync + 'static,
) -> SocketAddr {
    tls_server_on(Ipv4Addr::LOCALHOST.into(), config, says)
}

pub(crate) fn tls_server_on(
    ip: IpAddr,
    config: Arc<ServerConfig>,
    says: impl Fn(&str) -> String + Send + Sync + 'static,
) -> SocketAddr {
    tcp_server_on(ip, move |mut tcp| serve_tls(&mut tcp, &config, &says))
}

/// Shakes hands on a connection, says `says` to what came, and ends.
pub(crate) fn serve_tls(tcp: &mut TcpStream, config: &Arc<ServerConfig>, says: &dyn Fn(&str) -> String) {
    let mut connection = rustls::ServerConnection::new(Arc::clone(config)).expect("a configuration");
    let mut tls = rustls::Stream::new(&mut connection, tcp);
    let mut request = [0; 4_096];
    // Whoever measures may go at any time.
    let Ok(len @ 1..) = tls.read(&mut request) else { return };
    let answer = says(&String::from_utf8_lossy(&request[..len]));
    let _ = tls.write_all(answer.as_bytes());
    connection.send_close_notify();
    let _ = connection.complete_io(tcp);
}

/// An address of the loopback that nothing listens on.
pub(crate) fn closed_port() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).and_then(|it| it.local_addr()).expect("a port")
}
