//! The way in for clients whose UDP is blocked: control and probes over one WebSocket on TLS. Browsers, which take no certificate that
//! nobody signed, come over the WebSocket of the server that their page is from ([`WebSockets`]).
//!
//! Each such session has a reflector of its own, which runs where its datagrams come in ([`crate::net::inline`]): the machine is the same
//! as over UDP. So it is measured by the same code, with stamps that say that the program took them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::session::{self, Shared};
use crate::net::ws;

/// How long TLS and the WebSocket handshake may take.
const HANDSHAKE: Duration = Duration::from_secs(5);
/// A pause after the system refused a connection (mostly: no descriptors left).
const PAUSE: Duration = Duration::from_millis(200);

/// Takes connections until stopped.
pub(super) async fn accept(
    listener: TcpListener,
    acceptor: TlsAcceptor,
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
) {
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => return,
            accepted = listener.accept() => accepted,
        };
        let (stream, peer) = match accepted {
            Ok(accepted) => accepted,
            Err(error) => {
                tracing::warn!(%error, "a TCP connection could not be taken");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let (acceptor, shared, stop) = (acceptor.clone(), Arc::clone(&shared), stop.clone());
        tasks.spawn(async move {
            tokio::select! {
                () = stop.cancelled() => {}
                () = serve(stream, peer, &acceptor, &shared) => {}
            }
        });
    }
}

/// Takes streams that have become WebSockets elsewhere.
#[derive(Clone)]
pub struct WebSockets {
    shared: Arc<Shared>,
    stop: CancellationToken,
    tasks: TaskTracker,
}

impl WebSockets {
    pub(super) fn new(shared: Arc<Shared>, stop: CancellationToken, tasks: TaskTracker) -> Self {
        Self { shared, stop, tasks }
    }

    /// Serves one, from its hello on, behind whoever calls. Admission is that of every session.
    pub fn take<S>(&self, stream: S, peer: SocketAddr)
    where
        S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
    {
        let Self { shared, stop, .. } = self.clone();
        self.tasks.spawn(async move {
            let serving = async {
                let socket = ws::upgraded(stream).await;
                session::serve_web_socket(socket, peer, &shared).await;
            };
            tokio::select! {
                () = stop.cancelled() => {}
                () = serving => {}
            }
        });
    }
}

async fn serve(stream: TcpStream, peer: SocketAddr, acceptor: &TlsAcceptor, shared: &Shared) {
    // Only delay would be lost with it.
    let _ = stream.set_nodelay(true);
    let handshake = async {
        let secured = acceptor.accept(stream).await.map_err(|error| error.to_string())?;
        ws::accept(secured).await.map_err(|error| error.to_string())
    };
    match tokio::time::timeout(HANDSHAKE, handshake).await {
        Ok(Ok(socket)) => session::serve_web_socket(socket, peer, shared).await,
        Ok(Err(error)) => tracing::debug!(%peer, error, "no WebSocket"),
        Err(_) => tracing::debug!(%peer, "the TLS or WebSocket handshake took too long"),
    }
}
