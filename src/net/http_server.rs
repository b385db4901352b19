//! Serves HTTP/1.1 over TCP or TLS. Connections are bounded in number, and in the time that a handshake or a request's head may take.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::ConnectInfo;
use hyper::server::conn::http1;
use hyper::service::{Service as _, service_fn};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// Connections at once, where the system lets the process have as many descriptors; who comes then waits in the system's queue.
const CONNECTIONS: usize = 4_096;

/// Descriptors for all else that the process has open: its store, a media endpoint, what it asks of others.
const OTHERS: usize = 512;

/// How long a TLS handshake, and a request's head, may take. A connection without a request is closed after as long.
const HEAD: Duration = Duration::from_secs(15);

/// How long to wait when the system has no descriptor left.
const PAUSE: Duration = Duration::from_millis(100);

/// Serves `app` until stopped; then open requests may end for as long as `grace`.
///
/// With an acceptor it is HTTPS. Every request has the address that it comes from as [`ConnectInfo`].
pub async fn serve(
    listener: TcpListener,
    tls: Option<TlsAcceptor>,
    app: Router,
    stop: CancellationToken,
    grace: Duration,
) {
    let open = TaskTracker::new();
    let room = Arc::new(Semaphore::new(room_for_connections()));
    loop {
        let accepted = tokio::select! {
            () = stop.cancelled() => break,
            accepted = accept(&listener, &room) => accepted,
        };
        match accepted {
            Ok((stream, peer, permit)) => {
                let (tls, app, stop) = (tls.clone(), app.clone(), stop.clone());
                open.spawn(async move {
                    connection(stream, peer, tls, app, stop).await;
                    drop(permit);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    open.close();
    if tokio::time::timeout(grace, open.wait()).await.is_err() {
        tracing::warn!("some requests had not ended after {} s", grace.as_secs());
    }
}

/// As many connections as the descriptors are for that the process may have, which it raises as far as it may: systems begin with 1,024,
/// for programs of old that cannot have more.
#[cfg(unix)]
fn room_for_connections() -> usize {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    let Ok((soft, hard)) = getrlimit(Resource::RLIMIT_NOFILE) else { return OTHERS };
    let wanted = u64::try_from(CONNECTIONS + OTHERS).unwrap_or(u64::MAX).min(hard);
    let raised =
        if wanted > soft && setrlimit(Resource::RLIMIT_NOFILE, wanted, hard).is_ok() { wanted } else { soft };
    let descriptors = usize::try_from(raised).unwrap_or(usize::MAX);
    // Where there are few, half of them.
    descriptors.saturating_sub(OTHERS).max(descriptors / 2).clamp(1, CONNECTIONS)
}

#[cfg(not(unix))]
fn room_for_connections() -> usize {
    CONNECTIONS
}

async fn accept(
    listener: &TcpListener,
    room: &Arc<Semaphore>,
) -> io::Result<(TcpStream, SocketAddr, OwnedSemaphorePermit)> {
    let permit = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, peer) = listener.accept().await?;
    // Only delay would be lost with it.
    let _ = stream.set_nodelay(true);
    Ok((stream, peer, permit))
}

async fn connection(
    stream: TcpStream,
    peer: SocketAddr,
    tls: Option<TlsAcceptor>,
    app: Router,
    stop: CancellationToken,
) {
    let Some(tls) = tls else { return requests(stream, peer, app, stop).await };
    let shaken = tokio::select! {
        () = stop.cancelled() => return,
        shaken = tokio::time::timeout(HEAD, tls.accept(stream)) => shaken,
    };
    match shaken {
        Ok(Ok(stream)) => requests(stream, peer, app, stop).await,
        Ok(Err(error)) => tracing::debug!(%error, "a TLS handshake failed"),
        Err(_) => tracing::debug!("a TLS handshake took too long"),
    }
}

/// Answers a connection's requests, each of which knows who sent it. One may become a stream of its own (RFC 9110 §7.8).
async fn requests<S>(stream: S, peer: SocketAddr, app: Router, stop: CancellationToken)
where
    S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
{
    let app = TowerToHyperService::new(app);
    let service = service_fn(move |mut request: hyper::Request<hyper::body::Incoming>| {
        request.extensions_mut().insert(ConnectInfo(peer));
        app.call(request)
    });
    let connection = http1::Builder::new()
        .timer(TokioTimer::new())
        .header_read_timeout(HEAD)
        .serve_connection(TokioIo::new(stream), service)
        .with_upgrades();
    let mut connection = pin!(connection);
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = stop.cancelled() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke off");
    }
}

#[cfg(test)]
#[expect(clippy::disallowed_methods, reason = "a test is a client, too")]
mod tests {
    use axum::routing::get;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

    use super::*;
    use crate::net::tcp;

    #[cfg(unix)]
    #[test]
    fn there_is_room_for_as_many_as_the_system_allows() {
        use nix::sys::resource::{Resource, getrlimit};

        let room = room_for_connections();
        let (soft, hard) = getrlimit(Resource::RLIMIT_NOFILE).unwrap();
        let wanted = u64::try_from(CONNECTIONS + OTHERS).unwrap();
        assert!(soft >= wanted.min(hard), "raised as far as it may be: {soft} of {hard}");
        assert!(hard < wanted || room == CONNECTIONS, "{room} of {hard}");
    }

    #[tokio::test]
    async fn open_requests_end_before_it_does() {
        let listener = tcp::listen(([127, 0, 0, 1], 0).into()).unwrap();
        let at = listener.local_addr().unwrap();
        let stop = CancellationToken::new();
        let (arrived, go_on) = (CancellationToken::new(), CancellationToken::new());
        let answer = {
            let (arrived, go_on) = (arrived.clone(), go_on.clone());
            move || async move {
                arrived.cancel();
                go_on.cancelled().await;
                "done"
            }
        };
        let app = Router::new().route("/", get(answer));
        let serving = tokio::spawn(serve(listener, None, app, stop.clone(), Duration::from_secs(60)));
        let mut client = TcpStream::connect(at).await.unwrap();
        client.write_all(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n").await.unwrap();
        arrived.cancelled().await;
        stop.cancel();
        go_on.cancel();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n") && answer.ends_with("done"), "{answer}");
        serving.await.unwrap();
        assert!(TcpStream::connect(at).await.is_err(), "it listens no more");
    }
}
