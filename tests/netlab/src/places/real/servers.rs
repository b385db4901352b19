//! Servers that live in a namespace of the lab until they are dropped.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, UdpSocket};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use rustls::{ServerConfig, ServerConnection, Stream};

use crate::lab::Namespace;
use crate::lab::system;

/// How often a server looks whether it is to end.
const LOOK: Duration = Duration::from_millis(100);
/// Who connected and says nothing is left alone after this.
const PATIENCE: Duration = Duration::from_secs(10);

/// A server. It ends when it is dropped.
pub(super) struct Server {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

/// What a server answers, and after which time.
pub(super) struct Answer {
    pub(super) after: Duration,
    pub(super) octets: Vec<u8>,
}

impl Answer {
    pub(super) const fn at_once(octets: Vec<u8>) -> Self {
        Self { after: Duration::ZERO, octets }
    }
}

impl Server {
    /// Answers datagrams. `None` keeps silent.
    #[expect(clippy::disallowed_methods, reason = "the lab has servers of its own")]
    pub(super) fn udp(
        namespace: &Namespace,
        at: SocketAddr,
        mut answer: impl FnMut(&[u8], SocketAddr) -> Option<Answer> + Send + 'static,
    ) -> io::Result<Self> {
        let socket = namespace.within(|| UdpSocket::bind(at))?;
        socket.set_read_timeout(Some(LOOK))?;
        let socket = Arc::new(socket);
        Self::start(move |stop| {
            let mut buffer = [0; 2_048];
            while !stop.load(Ordering::Relaxed) {
                let Ok((len, from)) = socket.recv_from(&mut buffer) else { continue };
                let Some(Answer { after, octets }) = answer(&buffer[..len], from) else { continue };
                if after.is_zero() {
                    // Who asked may be gone.
                    let _ = socket.send_to(&octets, from);
                    continue;
                }
                let socket = Arc::clone(&socket);
                let due = system::now() + after;
                std::thread::spawn(move || {
                    system::sleep_until(due);
                    let _ = socket.send_to(&octets, from);
                });
            }
        })
    }

    /// Hands each connection to `serve`, on a thread of its own.
    #[expect(clippy::disallowed_methods, reason = "the lab has servers of its own")]
    pub(super) fn tcp(
        namespace: &Namespace,
        at: SocketAddr,
        serve: impl Fn(TcpStream) + Send + Sync + 'static,
    ) -> io::Result<Self> {
        let listener = namespace.within(|| TcpListener::bind(at))?;
        listener.set_nonblocking(true)?;
        let serve = Arc::new(serve);
        Self::start(move |stop| {
            while !stop.load(Ordering::Relaxed) {
                let mut waiting = [PollFd::new(listener.as_fd(), PollFlags::POLLIN)];
                let look = PollTimeout::try_from(LOOK).unwrap_or(PollTimeout::ZERO);
                if poll(&mut waiting, look).is_err() {
                    continue;
                }
                let Ok((stream, _)) = listener.accept() else { continue };
                let serve = Arc::clone(&serve);
                std::thread::spawn(move || {
                    let ready = stream.set_nonblocking(false).and(stream.set_read_timeout(Some(PATIENCE)));
                    if ready.is_ok() {
                        serve(stream);
                    }
                });
            }
        })
    }

    /// Shakes hands, reads a request and says what is to be said, after a while.
    pub(super) fn tls(
        namespace: &Namespace,
        at: SocketAddr,
        config: Arc<ServerConfig>,
        says: Answer,
    ) -> io::Result<Self> {
        Self::tcp(namespace, at, move |mut tcp| {
            // Whoever measures may go at any time.
            let _ = serve_tls(&mut tcp, &config, &says);
        })
    }

    /// Reads a request without TLS and says what is to be said.
    pub(super) fn plain(namespace: &Namespace, at: SocketAddr, says: Vec<u8>) -> io::Result<Self> {
        Self::tcp(namespace, at, move |mut tcp| {
            if matches!(tcp.read(&mut [0; 4_096]), Ok(1..)) {
                let _ = tcp.write_all(&says);
            }
        })
    }

    fn start(work: impl FnOnce(&AtomicBool) + Send + 'static) -> io::Result<Self> {
        let stop = Arc::new(AtomicBool::new(false));
        let seen = Arc::clone(&stop);
        let thread = std::thread::Builder::new().name("server".into()).spawn(move || work(&seen))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            // A server that panicked has said so on standard error.
            let _ = thread.join();
        }
    }
}

fn serve_tls(tcp: &mut TcpStream, config: &Arc<ServerConfig>, says: &Answer) -> io::Result<()> {
    let mut connection = ServerConnection::new(Arc::clone(config)).map_err(io::Error::other)?;
    let mut tls = Stream::new(&mut connection, tcp);
    if tls.read(&mut [0; 4_096])? == 0 {
        return Ok(());
    }
    system::sleep_until(system::now() + says.after);
    tls.write_all(&says.octets)?;
    connection.send_close_notify();
    connection.complete_io(tcp).map(drop)
}
