//! TCP connections for measuring: how long they take, what the kernel says of them, and why there is none.

use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use greenroom_reports::units::{DataSize, Micros};
use socket2::{Domain, Protocol, Socket, Type};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};

use super::tls::tcp_socket;
use super::udp::Interface;

/// A connection and what making it told.
#[derive(Debug)]
pub struct TcpConnected {
    /// The connection. Small writes leave at once.
    pub stream: TcpStream,
    /// What the kernel says of it; `None` where it does not.
    pub kernel: Option<KernelView>,
}

/// What the kernel says of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct KernelView {
    /// Round trip of SYN and SYN-ACK: without this program's own delay.
    pub rtt: Micros,
    /// Packets that were sent again so far: of a fresh connection, its SYNs.
    pub sent_again: u32,
}

/// Connections that wait to be accepted.
const BACKLOG: i32 = 1_024;

/// Listens on an address. `[::]` carries IPv6 alone.
///
/// # Errors
///
/// When the address cannot be had.
pub fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A port in use a moment ago would else stay taken for a minute. Windows means another thing by it.
    #[cfg(unix)]
    socket.set_reuse_address(true)?;
    if address.is_ipv6() {
        socket.set_only_v6(true)?;
    }
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    socket.set_nonblocking(true)?;
    TcpListener::from_std(socket.into())
}

/// Why there is no connection.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TcpFailure {
    /// The host answers and nothing listens there.
    #[error("nothing listens there")]
    Refused,
    /// It was broken off.
    #[error("the connection was broken off")]
    Reset,
    /// Nothing came back in time.
    #[error("nothing came back")]
    Silent,
    /// A router or host on the way says that there is no way.
    #[error("there is no way to it: {0}")]
    Unreachable(String),
    /// A firewall says no, here or on the way.
    #[error("a firewall says no: {0}")]
    Prohibited(String),
    /// This computer cannot even try.
    #[error("this computer cannot connect: {0}")]
    Local(String),
}

impl TcpFailure {
    /// What an error of a connection that is being made, or was, means.
    pub fn of(error: &io::Error) -> Self {
        let said = error.to_string();
        match error.kind() {
            io::ErrorKind::ConnectionRefused => Self::Refused,
            io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::BrokenPipe
            | io::ErrorKind::UnexpectedEof => Self::Reset,
            io::ErrorKind::TimedOut => Self::Silent,
            io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => Self::Unreachable(said),
            io::ErrorKind::PermissionDenied => Self::Prohibited(said),
            _ => Self::Local(said),
        }
    }
}

/// Connects within `patience`, over an interface when given.
///
/// # Errors
///
/// A [`TcpFailure`] for each way to fail.
pub async fn connect(
    interface: Option<&Interface>,
    to: SocketAddr,
    patience: Duration,
) -> Result<TcpConnected, TcpFailure> {
    let socket = tcp_socket(interface, to).map_err(|error| TcpFailure::Local(error.to_string()))?;
    let stream = tokio::time::timeout(patience, socket.connect(to))
        .await
        .map_err(|_| TcpFailure::Silent)?
        .map_err(|error| TcpFailure::of(&error))?;
    // Only delay would be lost with it.
    let _ = stream.set_nodelay(true);
    let kernel = kernel_view(&stream);
    Ok(TcpConnected { stream, kernel })
}

/// Asks the kernel (TCP_INFO).
#[cfg(all(target_os = "linux", target_env = "gnu"))]
fn kernel_view(stream: &TcpStream) -> Option<KernelView> {
    use std::os::fd::AsRawFd as _;

    let mut info = std::mem::MaybeUninit::<libc::tcp_info>::zeroed();
    let size = size_of::<libc::tcp_info>();
    let mut len = libc::socklen_t::try_from(size).ok()?;
    // SAFETY: `info` has room for `len` octets, the descriptor is open, and the kernel writes no more than `len`.
    let done = unsafe {
        libc::getsockopt(
            stream.as_raw_fd(),
            libc::IPPROTO_TCP,
            libc::TCP_INFO,
            info.as_mut_ptr().cast(),
            &raw mut len,
        )
    };
    // An old kernel knows less than this.
    let whole = usize::try_from(len).is_ok_and(|len| len >= size);
    if done != 0 || !whole {
        return None;
    }
    // SAFETY: zeroed at first, and every pattern of bits is one of its integers.
    let info = unsafe { info.assume_init() };
    // Before there was a measurement it is zero.
    let rtt = Micros::new(i64::from(info.tcpi_rtt));
    (rtt > Micros::ZERO).then_some(KernelView { rtt, sent_again: info.tcpi_total_retrans })
}

/// Where the kernel is not asked.
#[cfg(not(all(target_os = "linux", target_env = "gnu")))]
fn kernel_view(_stream: &TcpStream) -> Option<KernelView> {
    None
}

/// Counts the octets that connections carry, for what a run cost.
#[derive(Debug, Clone, Default)]
pub struct Meter(Arc<AtomicU64>);

/// What the headers of a connection's packets take, beside their content: nine packets with time stamps, over IPv6.
const CONNECTION: u64 = 9 * 72;
/// Content of a full packet, and what its header and acknowledgment take.
const SEGMENT: u64 = 1_400;
const HEADERS: u64 = 2 * 72;

impl Meter {
    /// Counts what goes over `stream` from now on.
    pub fn on<S>(&self, stream: S) -> Metered<S> {
        Metered { stream, meter: self.clone() }
    }

    /// About the octets at the IP layer, of so many connections with their content.
    pub fn about(&self, connections: usize) -> DataSize {
        let content = self.0.load(Ordering::Relaxed);
        let connections = u64::try_from(connections).unwrap_or(u64::MAX);
        let headers = connections.saturating_mul(CONNECTION) + content / SEGMENT * HEADERS;
        DataSize::from_bytes(content + headers)
    }

    fn add(&self, octets: usize) {
        self.0.fetch_add(u64::try_from(octets).unwrap_or(u64::MAX), Ordering::Relaxed);
    }
}

/// A connection whose octets are counted.
#[derive(Debug)]
pub struct Metered<S> {
    stream: S,
    meter: Meter,
}

impl<S: AsyncRead + Unpin> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let polled = Pin::new(&mut self.stream).poll_read(context, buffer);
        self.meter.add(buffer.filled().len().saturating_sub(before));
        polled
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        octets: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.stream).poll_write(context, octets);
        if let Poll::Ready(Ok(written)) = &polled {
            self.meter.add(*written);
        }
        polled
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(context)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(context)
    }
}
