//! Bulk UDP: many datagrams per system call by segmentation and receive offload (UDP_SEGMENT, UDP_GRO).
//!
//! For capacity alone, never for delay: the datagrams of one call leave and arrive together.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};

use quinn_udp::{BATCH_SIZE, RecvMeta, Transmit, UdpSocketState};

use super::udp::{OpenError, UdpOptions, bind, bound_address};

/// The most bytes that one call takes: what an IP packet can hold, as the kernel sees the whole batch as one.
pub const MAX_BURST: usize = 65_000;

/// A UDP socket for bulk.
#[derive(Debug)]
pub struct BulkSocket {
    socket: UdpSocket,
    state: UdpSocketState,
    local: SocketAddr,
    buffer: Box<[u8]>,
}

impl BulkSocket {
    /// Opens a non-blocking socket with whatever offload the system has.
    ///
    /// # Errors
    ///
    /// As [`super::udp::open`].
    pub fn open(options: &UdpOptions) -> Result<Self, OpenError> {
        let socket = bind(options)?;
        let local = bound_address(&socket, options)?;
        let socket = UdpSocket::from(socket);
        let state =
            UdpSocketState::new((&socket).into()).map_err(|source| OpenError::Bind { local, source })?;
        let buffer = vec![0; BATCH_SIZE * usize::from(u16::MAX)].into_boxed_slice();
        Ok(Self { socket, state, local, buffer })
    }

    /// The address it is bound to.
    pub fn local_addr(&self) -> SocketAddr {
        self.local
    }

    /// Datagrams of `segment` bytes that one call may carry; 1 without offload.
    pub fn burst(&self, segment: usize) -> usize {
        self.state.max_gso_segments().min(MAX_BURST / segment.max(1)).max(1)
    }

    /// Sends `payload` as datagrams of `segment` bytes (the last may be shorter); at most [`BulkSocket::burst`] of them.
    ///
    /// # Errors
    ///
    /// `WouldBlock` when the buffer is full; otherwise what the system says.
    pub fn send(&self, to: SocketAddr, payload: &[u8], segment: usize) -> io::Result<()> {
        let segment_size = (payload.len() > segment).then_some(segment);
        let transmit = Transmit { destination: to, ecn: None, contents: payload, segment_size, src_ip: None };
        self.state.try_send((&self.socket).into(), &transmit)
    }

    /// Delivers what has arrived, datagram by datagram, and returns how many there were; 0 when there is nothing.
    ///
    /// # Errors
    ///
    /// What the system says.
    pub fn receive(&mut self, mut deliver: impl FnMut(SocketAddr, &[u8])) -> io::Result<usize> {
        let mut metas = [RecvMeta::default(); BATCH_SIZE];
        let mut parts = self.buffer.chunks_mut(usize::from(u16::MAX));
        let mut slices: [IoSliceMut<'_>; BATCH_SIZE] =
            std::array::from_fn(|_| IoSliceMut::new(parts.next().expect("one part per slice")));
        let received = match self.state.recv((&self.socket).into(), &mut slices, &mut metas) {
            Ok(received) => received,
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => return Ok(0),
            Err(error) => return Err(error),
        };
        let mut count = 0;
        for (meta, slice) in metas.iter().zip(&slices).take(received) {
            for datagram in slice[..meta.len].chunks(meta.stride.max(1)) {
                count += 1;
                deliver(meta.addr, datagram);
            }
        }
        Ok(count)
    }

    /// What to wait on.
    #[cfg(unix)]
    pub fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&self.socket)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::net::clock::Clock;
    use greenroom_reports::units::Micros;

    #[test]
    fn a_burst_arrives_as_the_datagrams_that_it_was() {
        let options = UdpOptions::new("127.0.0.1:0".parse().unwrap());
        let (here, mut there) = (BulkSocket::open(&options).unwrap(), BulkSocket::open(&options).unwrap());
        let segment = 1_200;
        let count = here.burst(segment);
        #[cfg(target_os = "linux")]
        assert!(count > 1, "Linux has UDP_SEGMENT since 4.18");
        // Each datagram is full of its own number; the last is shorter.
        let mut payload = Vec::new();
        for number in 0..count {
            payload.extend(vec![u8::try_from(number).unwrap(); segment]);
        }
        payload.truncate(count * segment - 100);
        here.send(there.local_addr(), &payload, segment).unwrap();
        let mut received = Vec::new();
        let clock = Clock::start();
        while received.len() < count {
            assert!(clock.now() < Micros::from_secs(10), "{} of {count} arrived", received.len());
            there
                .receive(|from, datagram| {
                    assert_eq!(from, here.local_addr());
                    received.push(datagram.to_vec());
                })
                .unwrap();
        }
        let expected: Vec<_> = payload.chunks(segment).map(<[u8]>::to_vec).collect();
        assert_eq!(received, expected);
        assert_eq!(there.receive(|_, _| ()).unwrap(), 0);
    }
}
