//! A server that speaks TLS with a certificate of an authority of its own, made out as a test
//! wants it and until when it wants it. Every request is answered with an empty list, as an archive
//! answers a search for what it does not have.

use std::io::{BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::time::Duration;

use forepost::clock;
use rcgen::{CertificateParams, CertifiedIssuer, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::PrivateKeyDer;

/// The server. Its thread ends with the process of the test.
pub struct TlsServer {
    pub address: SocketAddr,
    /// The authority's certificate, PEM.
    pub authority: String,
}

impl TlsServer {
    /// With a certificate for `name` that ends in so many seconds, before now where it is negative.
    pub fn start(name: &str, ends_in: i64) -> TlsServer {
        let now = clock::now().0 / 1_000;
        let at = |seconds: i64| {
            date_time_ymd(1970, 1, 1) + Duration::from_secs(u64::try_from(seconds).unwrap())
        };
        let mut authority = CertificateParams::new(Vec::new()).unwrap();
        authority.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        let authority =
            CertifiedIssuer::self_signed(authority, KeyPair::generate().unwrap()).unwrap();
        let mut about = CertificateParams::new(vec![name.to_owned()]).unwrap();
        (about.not_before, about.not_after) = (at(now - 90 * 86_400), at(now + ends_in));
        let key = KeyPair::generate().unwrap();
        let certificate = about.signed_by(&key, &authority).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(
                vec![certificate.der().clone()],
                PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
            )
            .unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("a bound address");
        let config = Arc::new(config);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let config = Arc::clone(&config);
                std::thread::spawn(move || answer(stream, config));
            }
        });
        TlsServer { address, authority: authority.pem() }
    }
}

/// Who hangs up in the middle is not answered.
fn answer(stream: TcpStream, config: Arc<ServerConfig>) -> Option<()> {
    let connection = rustls::ServerConnection::new(config).ok()?;
    let mut stream = BufReader::new(rustls::StreamOwned::new(connection, stream));
    loop {
        let (_, headers) = super::http::read_head(&mut stream).ok()?;
        let length = headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-length"));
        let length = length.and_then(|(_, length)| length.parse().ok()).unwrap_or(0);
        let mut body = vec![0; length];
        stream.read_exact(&mut body).ok()?;
        let answer = "HTTP/1.1 200 OK\r\nContent-Type: application/dicom+json\r\nContent-Length: \
                      2\r\n\r\n[]";
        stream.get_mut().write_all(answer.as_bytes()).ok()?;
    }
}
