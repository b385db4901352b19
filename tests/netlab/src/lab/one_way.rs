//! Sends packets from one end to the other with the kernel's own stamps on both: what the lab itself adds can be seen from it.

use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, SocketAddrV4, UdpSocket};
use std::os::fd::{AsFd, AsRawFd};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, TimestampingFlag, recvmsg, setsockopt, sockopt::Timestamping,
};

use super::{Lab, system};

/// Payload of a probe: an Opus-sized packet makes 200 bytes with its headers.
const PAYLOAD: usize = 172;
/// Where probes go.
pub const PORT: u16 = 7444;
/// Room for the stamps of one packet and the error that carries them.
const CONTROL: usize = 512;

/// One packet as the kernels at both ends saw it, on the machine's wall clock.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct OneWay {
    /// When it left. `None`: the kernel gave no stamp.
    pub sent: Option<Duration>,
    /// When each copy arrived.
    pub received: Vec<Duration>,
}

/// Sends `count` packets, one every `gap`, from here to there; waits `linger` for the last ones.
///
/// Each carries its number in its first four bytes, big endian. Returns what was seen of each, in order of number, and the
/// numbers in order of arrival.
pub fn send(lab: &Lab, count: u32, gap: Duration, linger: Duration) -> io::Result<(Vec<OneWay>, Vec<u32>)> {
    let receiver = lab.there().within(|| bind(lab.there().ipv4(), PORT))?;
    let sender = lab.here().within(|| bind(lab.here().ipv4(), 0))?;
    let to = SocketAddr::from((lab.there().ipv4(), PORT));
    let done = AtomicBool::new(false);
    let (stamps, arrivals) = std::thread::scope(|scope| {
        let receiving = scope.spawn(|| receive(&receiver, &done));
        let stamps = transmit(&sender, to, count, gap);
        system::sleep_until(system::now() + linger);
        done.store(true, Ordering::Relaxed);
        let arrivals = receiving.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
        Ok::<_, io::Error>((stamps?, arrivals?))
    })?;
    let mut packets = vec![OneWay::default(); usize::try_from(count).expect("fits the address space")];
    let place = |seq: u32| usize::try_from(seq).expect("fits the address space");
    for (seq, at) in stamps {
        if let Some(packet) = packets.get_mut(place(seq)) {
            packet.sent = Some(at);
        }
    }
    let mut order = Vec::with_capacity(arrivals.len());
    for (seq, at) in arrivals {
        if let Some(packet) = packets.get_mut(place(seq)) {
            packet.received.push(at);
            order.push(seq);
        }
    }
    Ok((packets, order))
}

fn transmit(
    socket: &UdpSocket,
    to: SocketAddr,
    count: u32,
    gap: Duration,
) -> io::Result<Vec<(u32, Duration)>> {
    let start = system::now();
    let mut stamps = Vec::new();
    let mut payload = [0_u8; PAYLOAD];
    for seq in 0..count {
        system::sleep_until(start + gap * seq);
        payload[..4].copy_from_slice(&seq.to_be_bytes());
        socket.send_to(&payload, to)?;
        stamps.extend(next(socket, MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT)?);
    }
    // The stamp of the last packet is in the queue when it has left, which on this device is before send returns.
    while let Some(stamp) = next(socket, MsgFlags::MSG_ERRQUEUE | MsgFlags::MSG_DONTWAIT)? {
        stamps.push(stamp);
    }
    Ok(stamps)
}

fn receive(socket: &UdpSocket, done: &AtomicBool) -> io::Result<Vec<(u32, Duration)>> {
    let mut arrivals = Vec::new();
    while !done.load(Ordering::Relaxed) {
        arrivals.extend(next(socket, MsgFlags::empty())?);
    }
    Ok(arrivals)
}

/// The next packet's number with the kernel's stamp; `None` when there is none within the socket's time limit.
fn next(socket: &UdpSocket, flags: MsgFlags) -> io::Result<Option<(u32, Duration)>> {
    let mut buffer = [0_u8; 2048];
    let mut control = [0_u8; CONTROL];
    let (length, stamp) = {
        let mut parts = [IoSliceMut::new(&mut buffer)];
        let message = match recvmsg::<()>(socket.as_raw_fd(), &mut parts, Some(&mut control), flags) {
            Ok(message) => message,
            Err(nix::Error::EAGAIN | nix::Error::EINTR) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let stamp = message.cmsgs()?.find_map(|part| match part {
            ControlMessageOwned::ScmTimestampsns(stamps) => Some(Duration::from(stamps.system)),
            _ => None,
        });
        (message.bytes, stamp)
    };
    // On the error queue the packet comes with its headers: the payload is its end.
    let payload = buffer[..length].last_chunk::<PAYLOAD>();
    let seq = payload.and_then(|payload| payload.first_chunk::<4>()).copied().map(u32::from_be_bytes);
    Ok(seq.zip(stamp))
}

#[expect(clippy::disallowed_methods, reason = "the lab measures itself with sockets of its own")]
fn bind(address: std::net::Ipv4Addr, port: u16) -> io::Result<UdpSocket> {
    let socket = UdpSocket::bind(SocketAddrV4::new(address, port))?;
    socket.set_read_timeout(Some(Duration::from_millis(50)))?;
    let flags = TimestampingFlag::SOF_TIMESTAMPING_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_RX_SOFTWARE
        | TimestampingFlag::SOF_TIMESTAMPING_TX_SOFTWARE;
    setsockopt(&socket.as_fd(), Timestamping, &flags)?;
    Ok(socket)
}
