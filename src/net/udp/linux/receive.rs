//! Receiving in batches by `recvmmsg`.

use std::io;
use std::os::fd::AsRawFd;

use greenroom_reports::units::Micros;
use nix::errno::Errno;
use socket2::Socket;

use super::DropCounter;
use super::address::{ReplySources, decode};
use super::cmsg::{CAPACITY, ControlBuffer, Messages};
use crate::net::clock::Clock;
use crate::net::stamps::StampClock;
use crate::net::udp::MAX_DATAGRAM;
use crate::proto::machine::Arrival;

/// Datagrams per system call.
pub(super) const BATCH: usize = 64;
/// How many errors of earlier datagrams one call clears before it gives up until the next.
const PENDING_ERRORS: usize = 8;

/// Buffers for one batch of arrivals, and counts.
pub(super) struct Receiver {
    buffers: Buffers,
    payload: Box<[u8]>,
    pub(super) arrived: u64,
    pub(super) stamped: u64,
    pub(super) oversized: u64,
}

/// Room for the addresses and control messages of a batch.
pub(super) struct Buffers {
    names: Box<[libc::sockaddr_storage; BATCH]>,
    control: Box<[ControlBuffer; BATCH]>,
}

impl Buffers {
    pub(super) fn new() -> Self {
        // SAFETY: zeroes are a valid address of no family.
        let name: libc::sockaddr_storage = unsafe { std::mem::zeroed() };
        Self { names: Box::new([name; BATCH]), control: Box::new([ControlBuffer::new(); BATCH]) }
    }

    /// Calls `recvmmsg` and hands each message to `each`: its address buffer, its header, and its place in the batch.
    /// With an empty `payload` only addresses and control messages are taken.
    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        payload: &mut [u8],
        flags: i32,
        mut arrived: impl FnMut(usize),
        mut each: impl FnMut(Entry<'_>),
    ) -> Result<usize, Errno> {
        let share = payload.len() / BATCH;
        let payload = payload.as_mut_ptr();
        let mut parts: [libc::iovec; BATCH] = std::array::from_fn(|i| libc::iovec {
            // SAFETY: `i * share` lies within the payload.
            iov_base: unsafe { payload.add(i * share) }.cast(),
            iov_len: share,
        });
        let mut headers: [libc::mmsghdr; BATCH] = std::array::from_fn(|i| {
            // SAFETY: a zeroed header is an empty one.
            let mut header: libc::mmsghdr = unsafe { std::mem::zeroed() };
            header.msg_hdr.msg_name = (&raw mut self.names[i]).cast();
            header.msg_hdr.msg_namelen = libc::socklen_t::try_from(size_of::<libc::sockaddr_storage>())
                .expect("a socket address has 128 octets");
            header.msg_hdr.msg_iov = &raw mut parts[i];
            header.msg_hdr.msg_iovlen = 1;
            header.msg_hdr.msg_control = self.control[i].as_mut_ptr();
            header.msg_hdr.msg_controllen = CAPACITY;
            header
        });
        let size = u32::try_from(BATCH).expect("a batch is a few dozen");
        // SAFETY: all pointers lead to buffers of the stated sizes that outlive the call; nobody else uses them.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                size,
                flags | libc::MSG_DONTWAIT,
                std::ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| Errno::last())?;
        arrived(count);
        for (i, header) in headers.iter().enumerate().take(count) {
            let length = (header.msg_len as usize).min(share);
            // SAFETY: the kernel wrote `msg_len` bytes, never more than the share it was given.
            let bytes = unsafe { std::slice::from_raw_parts(payload.add(i * share), length) };
            each(Entry { name: &self.names[i], header: &header.msg_hdr, bytes });
        }
        Ok(count)
    }
}

/// One received message.
pub(super) struct Entry<'a> {
    pub(super) name: &'a libc::sockaddr_storage,
    header: &'a libc::msghdr,
    bytes: &'a [u8],
}

impl Entry<'_> {
    pub(super) fn messages(&self) -> Messages<'_> {
        // SAFETY: the control buffer outlives the entry and is not touched while it is borrowed.
        unsafe { Messages::of(self.header) }
    }

    fn is_truncated(&self) -> bool {
        self.header.msg_flags & libc::MSG_TRUNC != 0
    }
}

impl Receiver {
    pub(super) fn new() -> Self {
        // Zeroed pages cost no memory until a datagram is written to them.
        let payload = vec![0; BATCH * MAX_DATAGRAM].into_boxed_slice();
        Self { buffers: Buffers::new(), payload, arrived: 0, stamped: 0, oversized: 0 }
    }

    pub(super) fn receive(
        &mut self,
        socket: &Socket,
        clock: &mut StampClock<Clock>,
        mut sources: Option<&mut ReplySources>,
        drops: &mut DropCounter,
        deliver: &mut dyn FnMut(Micros, &Arrival, &[u8]),
    ) -> io::Result<usize> {
        let Self { buffers, payload, arrived, stamped, oversized } = self;
        for _ in 0..PENDING_ERRORS {
            let now = std::cell::Cell::new(Micros::ZERO);
            let clock = std::cell::RefCell::new(&mut *clock);
            let received = buffers.receive(
                socket,
                payload,
                0,
                |count| {
                    if count > 0 {
                        now.set(clock.borrow_mut().refresh());
                    }
                },
                |entry| {
                    *arrived += 1;
                    let Some(from) = decode(entry.name) else { return };
                    let read = Read::of(&entry, from, sources.as_deref_mut());
                    if let Some(count) = read.drops {
                        drops.read(count);
                    }
                    if entry.is_truncated() {
                        *oversized += 1;
                        return;
                    }
                    let at = read.stamp.and_then(|stamp| clock.borrow().monotonic(stamp));
                    *stamped += u64::from(read.stamp.is_some());
                    let arrival = Arrival {
                        from,
                        at: at.unwrap_or(now.get()),
                        kernel: at.is_some(),
                        tos: read.tos,
                        ttl: read.ttl,
                    };
                    deliver(now.get(), &arrival, entry.bytes);
                },
            );
            match received {
                Ok(count) => return Ok(count),
                Err(Errno::EAGAIN) => return Ok(0),
                // The error of a datagram sent earlier: read from the error queue in its own time.
                Err(error) if concerns_one_datagram(error) => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(0)
    }
}

/// Whether an error tells of a datagram sent before (by ICMP), not of the socket.
pub(super) fn concerns_one_datagram(error: Errno) -> bool {
    matches!(
        error,
        Errno::EINTR
            | Errno::ECONNREFUSED
            | Errno::EHOSTUNREACH
            | Errno::ENETUNREACH
            | Errno::EHOSTDOWN
            | Errno::ENONET
            | Errno::ENOPROTOOPT
            | Errno::EOPNOTSUPP
            | Errno::EPROTO
            | Errno::EACCES
            | Errno::EMSGSIZE
    )
}

/// What the control messages of an arrival say.
#[derive(Default)]
struct Read {
    stamp: Option<i64>,
    drops: Option<u32>,
    tos: Option<u8>,
    ttl: Option<u8>,
}

impl Read {
    fn of(entry: &Entry<'_>, from: std::net::SocketAddr, mut sources: Option<&mut ReplySources>) -> Self {
        let mut read = Self::default();
        for message in entry.messages() {
            match (message.level, message.kind) {
                (libc::SOL_SOCKET, libc::SCM_TIMESTAMPING) => {
                    read.stamp = message.value().and_then(software_stamp);
                }
                (libc::SOL_SOCKET, libc::SO_RXQ_OVFL) => read.drops = message.value(),
                (libc::IPPROTO_IP, libc::IP_TOS) | (libc::IPPROTO_IPV6, libc::IPV6_TCLASS) => {
                    read.tos = message.octet();
                }
                (libc::IPPROTO_IP, libc::IP_TTL) | (libc::IPPROTO_IPV6, libc::IPV6_HOPLIMIT) => {
                    read.ttl = message.octet();
                }
                _ => {
                    if let Some(sources) = sources.as_deref_mut() {
                        sources.note(from, &message);
                    }
                }
            }
        }
        read
    }
}

/// The software stamp in nanoseconds since 1970; the first of the three, zero when there is none.
pub(super) fn software_stamp(stamps: [libc::timespec; 3]) -> Option<i64> {
    let [software, ..] = stamps;
    let nanos = software.tv_sec.checked_mul(1_000_000_000)?.checked_add(software.tv_nsec)?;
    (nanos != 0).then_some(nanos)
}
