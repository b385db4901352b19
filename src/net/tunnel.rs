//! A datagram socket without a network below it: what a machine sends goes into a channel, and what is put into another
//! one arrives. With it the same machines that are measured over UDP are measured over a WebSocket. Stamps are the
//! program's, taken where the machine runs: on the pacing thread, or on the task that brings its datagrams ([`super::inline`]).

use std::collections::VecDeque;
use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;
use greenroom_reports::trace::ClockStep;
use greenroom_reports::units::Micros;
use tokio::sync::mpsc;

use super::clock::Clock;
use super::udp::{DatagramSocket, SendBatch, SocketEvent, StampSources};
use crate::proto::machine::{Arrival, Departure, DepartureEvent};

/// Datagrams on their way between the machine and the stream: beyond it they are refused, as a full socket would.
pub(super) const DEPTH: usize = 256;

/// Makes a tunnel: a socket for a [`super::pacing::Driver`] and its other end for the stream that carries it.
///
/// # Errors
///
/// When the system refuses a descriptor.
pub fn tunnel(local: SocketAddr, peer: SocketAddr, clock: Clock) -> io::Result<(TunnelSocket, TunnelEnd)> {
    let (outgoing, sent) = mpsc::channel(DEPTH);
    let inbox = Arc::new(Mutex::new(Inbox::default()));
    let bell = Arc::new(Bell::new()?);
    let socket = TunnelSocket {
        local,
        peer,
        clock,
        outgoing,
        inbox: Arc::clone(&inbox),
        bell: Arc::clone(&bell),
        seen: 0,
    };
    Ok((socket, TunnelEnd { sent, inlet: Inlet(Inner::Queue { inbox, bell, clock }) }))
}

/// What arrived and was not yet taken.
#[derive(Debug, Default)]
struct Inbox {
    waiting: VecDeque<(Micros, Bytes)>,
    dropped: u64,
}

/// The machine's end.
pub struct TunnelSocket {
    local: SocketAddr,
    peer: SocketAddr,
    clock: Clock,
    outgoing: mpsc::Sender<Bytes>,
    inbox: Arc<Mutex<Inbox>>,
    bell: Arc<Bell>,
    seen: u64,
}

/// The stream's end.
pub struct TunnelEnd {
    sent: mpsc::Receiver<Bytes>,
    inlet: Inlet,
}

/// The half of a [`TunnelEnd`] that hands datagrams to the machine.
pub struct Inlet(Inner);

enum Inner {
    /// A thread fetches them.
    Queue { inbox: Arc<Mutex<Inbox>>, bell: Arc<Bell>, clock: Clock },
    /// It takes them itself ([`super::inline`]), while there is one.
    Machine(Weak<dyn Take>),
}

/// Takes datagrams on the task that they come in on.
pub(super) trait Take: Send + Sync {
    /// Takes one, which arrives now.
    fn take(&self, datagram: &[u8]);
}

/// The half of a [`TunnelEnd`] that gives out what the machine sends.
pub struct Outlet(mpsc::Receiver<Bytes>);

impl TunnelEnd {
    /// The end of a machine that takes datagrams itself, and gives out what it sends.
    pub(super) fn of(sent: mpsc::Receiver<Bytes>, machine: Weak<dyn Take>) -> Self {
        Self { sent, inlet: Inlet(Inner::Machine(machine)) }
    }

    /// Takes it apart, so that neither way waits for the other.
    pub fn split(self) -> (Outlet, Inlet) {
        (Outlet(self.sent), self.inlet)
    }
}

impl Inlet {
    /// Hands a datagram to the machine. When too many wait for a thread it is dropped and counted, as a receive queue would.
    pub fn deliver(&self, datagram: Bytes) {
        let (inbox, bell, clock) = match &self.0 {
            Inner::Queue { inbox, bell, clock } => (inbox, bell, clock),
            Inner::Machine(machine) => {
                if let Some(machine) = machine.upgrade() {
                    machine.take(&datagram);
                }
                return;
            }
        };
        let mut inbox = inbox.lock().unwrap_or_else(PoisonError::into_inner);
        if inbox.waiting.len() >= DEPTH {
            inbox.dropped += 1;
            return;
        }
        inbox.waiting.push_back((clock.now(), datagram));
        drop(inbox);
        bell.ring();
    }
}

impl Outlet {
    /// The next datagram that the machine sent; `None` when the machine is gone. Cancel-safe.
    pub async fn next(&mut self) -> Option<Bytes> {
        self.0.recv().await
    }

    /// The next one, if there is one by now.
    pub fn try_next(&mut self) -> Option<Bytes> {
        self.0.try_recv().ok()
    }
}

/// Hands a datagram to the stream's end.
pub(super) fn hand_over(outgoing: &mpsc::Sender<Bytes>, clock: Clock, payload: &[u8]) -> DepartureEvent {
    // Taken before: afterwards the other end may have answered already, and seem to have held the packet too long.
    let handed = clock.now();
    match outgoing.try_send(Bytes::copy_from_slice(payload)) {
        Ok(()) => DepartureEvent::Handed(handed),
        Err(mpsc::error::TrySendError::Full(_)) => DepartureEvent::Failed(Some(libc::ENOBUFS)),
        Err(mpsc::error::TrySendError::Closed(_)) => DepartureEvent::Failed(Some(libc::EPIPE)),
    }
}

impl DatagramSocket for TunnelSocket {
    fn local_addr(&self) -> SocketAddr {
        self.local
    }

    fn stamp_sources(&self) -> StampSources {
        StampSources::USER
    }

    fn receive_buffer(&self) -> usize {
        DEPTH * super::udp::MAX_DATAGRAM
    }

    fn send(&mut self, batch: &SendBatch, departed: &mut dyn FnMut(Departure)) {
        for (transmit, payload) in batch.iter() {
            let event = hand_over(&self.outgoing, self.clock, payload);
            departed(Departure { key: transmit.key, event });
        }
    }

    fn receive(&mut self, deliver: &mut dyn FnMut(Micros, &Arrival, &[u8])) -> io::Result<usize> {
        self.bell.silence();
        let mut taken = 0;
        while taken < SendBatch::CAPACITY {
            let next = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).waiting.pop_front();
            let Some((at, datagram)) = next else { return Ok(taken) };
            let arrival = Arrival { from: self.peer, at, kernel: false, tos: None, ttl: None };
            deliver(self.clock.now(), &arrival, &datagram);
            taken += 1;
        }
        self.bell.ring();
        Ok(taken)
    }

    fn read_errors(&mut self, _report: &mut dyn FnMut(SocketEvent)) {}

    fn queue_drops(&mut self) -> Option<u64> {
        self.seen = self.inbox.lock().unwrap_or_else(PoisonError::into_inner).dropped;
        Some(self.seen)
    }

    fn oversized(&self) -> u64 {
        0
    }

    fn clock_steps(&self) -> &[ClockStep] {
        &[]
    }

    #[cfg(unix)]
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.bell.as_fd()
    }

    fn wait_readable(&mut self, timeout: std::time::Duration) -> io::Result<()> {
        self.bell.wait(timeout)
    }
}

/// Something to wait for: readable while there is something in the inbox.
struct Bell {
    /// Whether it rings already: to ring it twice costs as much as once.
    rings: AtomicBool,
    ear: std::os::unix::net::UnixDatagram,
    hand: std::os::unix::net::UnixDatagram,
}

impl Bell {
    fn new() -> io::Result<Self> {
        let (ear, hand) = std::os::unix::net::UnixDatagram::pair()?;
        ear.set_nonblocking(true)?;
        hand.set_nonblocking(true)?;
        Ok(Self { rings: AtomicBool::new(false), ear, hand })
    }

    /// Comes after what it rings for.
    fn ring(&self) {
        if !self.rings.swap(true, Ordering::AcqRel) {
            // A full buffer means that it can be heard.
            let _ = self.hand.send(&[1]);
        }
    }

    /// Comes before one looks what it rang for: what comes after that rings again.
    fn silence(&self) {
        self.rings.swap(false, Ordering::AcqRel);
        // Of one who has not come to it yet it is heard once too often later.
        let _ = self.ear.recv(&mut [0; 8]);
    }

    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.ear)
    }

    fn wait(&self, timeout: std::time::Duration) -> io::Result<()> {
        use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
        let mut wanted = [PollFd::new(self.as_fd(), PollFlags::POLLIN)];
        let timeout = PollTimeout::try_from(timeout).unwrap_or(PollTimeout::MAX);
        poll(&mut wanted, timeout).map(|_| ()).map_err(io::Error::from)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::proto::machine::{Transmit, TransmitKey};

    fn address(port: u16) -> SocketAddr {
        SocketAddr::from(([192, 0, 2, 1], port))
    }

    #[tokio::test]
    async fn datagrams_pass_both_ways_and_the_bell_rings() {
        let (mut socket, end) = tunnel(address(1), address(2), Clock::start()).expect("descriptors");
        let (mut outlet, inlet) = end.split();
        inlet.deliver(Bytes::from_static(b"down"));
        socket.wait_readable(std::time::Duration::from_secs(5)).expect("rings");
        let mut got = Vec::new();
        let taken = socket
            .receive(&mut |_, arrival, bytes| got.push((arrival.from, arrival.kernel, bytes.to_vec())))
            .expect("works");
        assert_eq!((taken, got), (1, vec![(address(2), false, b"down".to_vec())]));

        let mut batch = SendBatch::default();
        let transmit =
            Transmit { to: address(2), key: TransmitKey(7), intended: Micros::ZERO, tos: 0, stamp: true };
        batch.push(transmit, b"up");
        let mut departures = Vec::new();
        socket.send(&batch, &mut |departure| departures.push(departure));
        assert!(matches!(
            departures[..],
            [Departure { key: TransmitKey(7), event: DepartureEvent::Handed(_) }]
        ));
        assert_eq!(outlet.next().await.as_deref(), Some(&b"up"[..]));
    }

    /// Notes when it is woken and holds whoever wakes it until the clock has moved on.
    struct Woken {
        clock: Clock,
        at: Mutex<Option<Micros>>,
    }

    impl std::task::Wake for Woken {
        fn wake(self: Arc<Self>) {
            let at = self.clock.now();
            *self.at.lock().expect("nobody panics with it") = Some(at);
            while self.clock.now() == at {
                std::hint::spin_loop();
            }
        }
    }

    /// The other end is woken while the datagram is being handed over, and may answer at once.
    #[test]
    fn a_datagram_is_stamped_before_the_other_end_can_have_it() {
        let clock = Clock::start();
        let (mut socket, end) = tunnel(address(1), address(2), clock).expect("descriptors");
        let (mut outlet, _inlet) = end.split();
        let woken = Arc::new(Woken { clock, at: Mutex::new(None) });
        let waker = Arc::clone(&woken).into();
        let mut next = std::pin::pin!(outlet.next());
        assert!(next.as_mut().poll(&mut std::task::Context::from_waker(&waker)).is_pending());

        let mut batch = SendBatch::default();
        let transmit =
            Transmit { to: address(2), key: TransmitKey(0), intended: Micros::ZERO, tos: 0, stamp: true };
        batch.push(transmit, b"up");
        let mut handed = None;
        socket.send(&batch, &mut |departure| handed = Some(departure.event));
        let had = woken.at.lock().expect("nobody panics with it").expect("woken by what was sent");
        match handed {
            Some(DepartureEvent::Handed(handed)) => assert!(handed <= had, "{handed} {had}"),
            other => panic!("not handed over: {other:?}"),
        }
    }

    #[test]
    fn what_does_not_fit_is_counted_as_dropped_here() {
        let (mut socket, end) = tunnel(address(1), address(2), Clock::start()).expect("descriptors");
        let (_outlet, inlet) = end.split();
        for _ in 0..DEPTH + 3 {
            inlet.deliver(Bytes::from_static(b"x"));
        }
        assert_eq!(socket.queue_drops(), Some(3));
        let mut all = 0;
        while let taken @ 1.. = socket.receive(&mut |_, _, _| ()).expect("works") {
            all += taken;
        }
        assert_eq!(all, DEPTH);
    }
}
