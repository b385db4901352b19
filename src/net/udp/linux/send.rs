//! Sending in batches by `sendmmsg`, with departure stamps for those that ask.

use std::ops::Range;
use std::os::fd::AsRawFd;

use nix::errno::Errno;
use socket2::{SockAddr, Socket};

use super::address::ReplySources;
use super::cmsg::{ControlBuffer, push};
use super::errors::Found;
use super::receive::Buffers;
use super::set_option;
use crate::net::clock::Clock;
use crate::net::udp::SendBatch;
use crate::proto::machine::{Departure, DepartureEvent, Transmit, TransmitKey};

/// Per-send stamp number (Linux 6.13).
const SCM_TS_OPT_ID: i32 = 81;
/// Stamped datagrams whose stamps may still come. Stamps are asked for at 1,000 packets per second at most.
const REMEMBERED: usize = 2_048;

/// Who numbers the departure stamps.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum StampNumbers {
    /// This program, per datagram.
    Own,
    /// The kernel counts the datagrams that asked.
    Counted,
}

/// Buffers for one batch of departures, and whose stamp is whose.
pub(super) struct Sender {
    numbers: StampNumbers,
    next: u32,
    /// By number modulo [`REMEMBERED`].
    keys: Box<[Option<(u32, TransmitKey)>]>,
    control: Box<[ControlBuffer; SendBatch::CAPACITY]>,
    pub(super) errors: Buffers,
    pub(super) found: Vec<Found>,
    pub(super) asked: u64,
    pub(super) stamped: u64,
}

impl Sender {
    pub(super) fn new(numbers: StampNumbers) -> Self {
        Self {
            numbers,
            next: 0,
            keys: vec![None; REMEMBERED].into_boxed_slice(),
            control: Box::new([ControlBuffer::new(); SendBatch::CAPACITY]),
            errors: Buffers::new(),
            found: Vec::new(),
            asked: 0,
            stamped: 0,
        }
    }

    /// Whose stamp has this number.
    pub(super) fn key_of(&self, number: u32) -> Option<TransmitKey> {
        self.keys[number as usize % REMEMBERED].filter(|(known, _)| *known == number).map(|(_, key)| key)
    }

    /// Sends the batch and reports each departure once, in order.
    pub(super) fn send(
        &mut self,
        socket: &Socket,
        clock: &Clock,
        sources: Option<&ReplySources>,
        stamp: bool,
        batch: &SendBatch,
        departed: &mut dyn FnMut(Departure),
    ) {
        let mut from = 0;
        let mut tried = false;
        while from < batch.len() {
            let first = self.next;
            let handed = clock.now();
            match self.send_part(socket, sources, stamp, batch, from) {
                Ok(count) => {
                    let to = from + count;
                    // What was not taken is asked for again under the same number.
                    self.next = first.wrapping_add(stamped(batch, from..to, stamp));
                    for at in from..to {
                        let event = DepartureEvent::Handed(handed);
                        departed(Departure { key: batch.get(at).0.key, event });
                    }
                    // The one at which the kernel stopped may have been counted.
                    let stopped_at =
                        to < batch.len().min(from + SendBatch::CAPACITY) && batch.get(to).0.stamp;
                    self.recount(socket, stamp && stopped_at);
                    from = to;
                    tried = false;
                }
                // It may be the error of an earlier datagram that waited on the socket: having been returned, it is gone. A full
                // buffer and a local firewall are about this datagram, and trying again would hide the firewall behind
                // the ICMP message that it sends itself.
                Err(error) if !tried && !matches!(error, Errno::EAGAIN | Errno::EPERM) => {
                    tried = true;
                    self.next = first;
                    self.recount(socket, stamp && batch.get(from).0.stamp);
                }
                Err(error) => {
                    let (transmit, _) = batch.get(from);
                    let event = DepartureEvent::Failed(Some(error as i32));
                    departed(Departure { key: transmit.key, event });
                    from += 1;
                    tried = false;
                    self.next = first;
                    self.recount(socket, stamp && transmit.stamp);
                }
            }
        }
    }

    /// One system call for what begins at `from`. Returns how many were taken, at least one.
    fn send_part(
        &mut self,
        socket: &Socket,
        sources: Option<&ReplySources>,
        stamp: bool,
        batch: &SendBatch,
        from: usize,
    ) -> Result<usize, Errno> {
        let part = (batch.len() - from).min(SendBatch::CAPACITY);
        let names: [Option<SockAddr>; SendBatch::CAPACITY] =
            std::array::from_fn(|i| (i < part).then(|| batch.get(from + i).0.to.into()));
        let mut pieces: [libc::iovec; SendBatch::CAPACITY] = std::array::from_fn(|i| {
            let bytes = if i < part { batch.get(from + i).1 } else { &[] };
            libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() }
        });
        // SAFETY: a zeroed header is an empty one.
        let mut headers: [libc::mmsghdr; SendBatch::CAPACITY] = unsafe { std::mem::zeroed() };
        for i in 0..part {
            let (transmit, _) = batch.get(from + i);
            let header = &mut headers[i].msg_hdr;
            if let Some(name) = &names[i] {
                header.msg_name = name.as_ptr().cast_mut().cast();
                header.msg_namelen = name.len();
            }
            header.msg_iov = &raw mut pieces[i];
            header.msg_iovlen = 1;
            self.control(i, header, transmit, sources, stamp);
        }
        let count = u32::try_from(part).expect("at most a batch");
        // SAFETY: all pointers lead to buffers that outlive the call; the kernel only reads from them.
        let sent =
            unsafe { libc::sendmmsg(socket.as_raw_fd(), headers.as_mut_ptr(), count, libc::MSG_DONTWAIT) };
        usize::try_from(sent).map_err(|_| Errno::last())
    }

    /// Writes the control messages of one datagram.
    fn control(
        &mut self,
        place: usize,
        header: &mut libc::msghdr,
        transmit: &Transmit,
        sources: Option<&ReplySources>,
        stamp: bool,
    ) {
        let control = &mut self.control[place];
        if transmit.tos != 0 {
            let (level, kind) = if transmit.to.is_ipv4() {
                (libc::IPPROTO_IP, libc::IP_TOS)
            } else {
                (libc::IPPROTO_IPV6, libc::IPV6_TCLASS)
            };
            push(header, control, level, kind, i32::from(transmit.tos));
        }
        if let Some(sources) = sources {
            sources.apply(transmit.to, header, control);
        }
        if stamp && transmit.stamp {
            let flags = libc::SOF_TIMESTAMPING_TX_SCHED | libc::SOF_TIMESTAMPING_TX_SOFTWARE;
            push(header, control, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags);
            if self.numbers == StampNumbers::Own {
                push(header, control, libc::SOL_SOCKET, SCM_TS_OPT_ID, self.next);
            }
            self.keys[self.next as usize % REMEMBERED] = Some((self.next, transmit.key));
            self.next = self.next.wrapping_add(1);
            self.asked += 1;
        }
    }

    /// After a stamped send failed, nobody knows whether the kernel counted it: both start again from zero. Stamps that
    /// have not come by then are lost rather than given to the wrong datagram.
    fn recount(&mut self, socket: &Socket, was_stamped: bool) {
        if !was_stamped || self.numbers == StampNumbers::Own {
            return;
        }
        let without = libc::SOF_TIMESTAMPING_RX_SOFTWARE | libc::SOF_TIMESTAMPING_SOFTWARE;
        let with = without | libc::SOF_TIMESTAMPING_OPT_ID | libc::SOF_TIMESTAMPING_OPT_TSONLY;
        // Giving the option anew resets the kernel's counter.
        for flags in [without, with] {
            let _ = set_option(socket, libc::SOL_SOCKET, libc::SO_TIMESTAMPING, flags.cast_signed());
        }
        self.keys.fill(None);
        self.next = 0;
    }
}

fn stamped(batch: &SendBatch, part: Range<usize>, stamp: bool) -> u32 {
    let count = part.filter(|at| stamp && batch.get(*at).0.stamp).count();
    u32::try_from(count).expect("at most a batch")
}

/// Whether the kernel takes a stamp number per datagram.
pub(super) fn takes_numbers(socket: &Socket, to: std::net::SocketAddr) -> bool {
    let mut control = ControlBuffer::new();
    // SAFETY: a zeroed header is an empty one.
    let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
    let name = SockAddr::from(to);
    header.msg_name = name.as_ptr().cast_mut().cast();
    header.msg_namelen = name.len();
    push(
        &mut header,
        &mut control,
        libc::SOL_SOCKET,
        libc::SO_TIMESTAMPING,
        libc::SOF_TIMESTAMPING_TX_SOFTWARE,
    );
    push(&mut header, &mut control, libc::SOL_SOCKET, SCM_TS_OPT_ID, u32::MAX);
    // SAFETY: the header leads to buffers that outlive the call; the kernel only reads from them.
    let sent = unsafe { libc::sendmsg(socket.as_raw_fd(), &raw const header, libc::MSG_DONTWAIT) };
    sent >= 0
}
