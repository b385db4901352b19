//! The few system calls that the link needs and no safe wrapper at hand offers.

use std::fs::File;
use std::io::{self, Write as _};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::time::Duration;

/// Wakes the link's thread, once and for all.
pub(super) struct Waker(OwnedFd);

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        // SAFETY: eventfd takes two integers and touches no memory of ours.
        let fd = check(unsafe { libc::eventfd(0, libc::EFD_CLOEXEC | libc::EFD_NONBLOCK) })?;
        // SAFETY: the descriptor was just made and belongs to nobody else.
        Ok(Self(unsafe { OwnedFd::from_raw_fd(fd) }))
    }

    /// Makes the descriptor readable from now on.
    pub(super) fn wake(&self) {
        let one = 1_u64.to_ne_bytes();
        // SAFETY: the buffer lives for the call and has the eight bytes that an eventfd takes. It can only fail when
        // the counter is full, and then the descriptor is readable already.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }
}

impl AsRawFd for Waker {
    fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// The monotonic clock.
pub(crate) fn now() -> Duration {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the pointer is valid for the call; CLOCK_MONOTONIC always exists on Linux.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    let seconds = u64::try_from(time.tv_sec).unwrap_or(0);
    Duration::new(seconds, u32::try_from(time.tv_nsec).unwrap_or(0))
}

/// Sleeps until a point on the monotonic clock.
pub(crate) fn sleep_until(at: Duration) {
    loop {
        let left = at.saturating_sub(now());
        // Negative descriptors are passed over, so that nothing but the limit can end the wait.
        if left.is_zero() || wait([-1; 3], Some(left)).is_err() {
            return;
        }
    }
}

/// What there is to do after a wait.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Ready {
    /// Whether the last of the descriptors is readable.
    pub(super) last: bool,
}

/// Waits until one of three descriptors is readable or the time is up (`None`: no limit).
pub(super) fn wait(descriptors: [RawFd; 3], limit: Option<Duration>) -> io::Result<Ready> {
    let mut polled = descriptors.map(|fd| libc::pollfd { fd, events: libc::POLLIN, revents: 0 });
    let limit = limit.map(|limit| libc::timespec {
        tv_sec: libc::time_t::try_from(limit.as_secs()).unwrap_or(libc::time_t::MAX),
        tv_nsec: libc::c_long::from(limit.subsec_nanos().cast_signed()),
    });
    let limit = limit.as_ref().map_or(std::ptr::null(), std::ptr::from_ref);
    // SAFETY: three pollfd are passed and three are counted; the limit is null or valid for the call; no signal mask.
    let woken = unsafe { libc::ppoll(polled.as_mut_ptr(), 3, limit, std::ptr::null()) };
    match check(woken) {
        Err(error) if error.kind() != io::ErrorKind::Interrupted => Err(error),
        _ => Ok(Ready { last: polled[2].revents != 0 }),
    }
}

/// Gives the calling thread real-time priority, exact timers, and memory that is never paged out.
pub(super) fn become_real_time() -> io::Result<()> {
    let priority = libc::sched_param { sched_priority: 85 };
    // SAFETY: 0 is the calling thread; the parameter is valid for the call.
    check(unsafe { libc::sched_setscheduler(0, libc::SCHED_FIFO, &raw const priority) })?;
    // SAFETY: prctl with PR_SET_TIMERSLACK takes an integer. Real-time threads have no slack on current kernels; it does no harm.
    check(unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_u64) })?;
    // SAFETY: mlockall takes flags only.
    check(unsafe { libc::mlockall(libc::MCL_CURRENT | libc::MCL_FUTURE) })?;
    Ok(())
}

/// Keeps idle processors awake for as long as it is held (the kernel's PM QoS interface, `/dev/cpu_dma_latency`).
///
/// A virtual processor that has gone to sleep takes a tenth of a millisecond and more to come back, which neither the link
/// nor the programs at its ends can help. `None` where the system has no such interface.
pub(super) fn keep_processors_awake() -> Option<File> {
    let mut file = File::options().write(true).open("/dev/cpu_dma_latency").ok()?;
    file.write_all(&0_i32.to_ne_bytes()).ok()?;
    Some(file)
}

/// Makes a TUN device in the calling thread's network namespace. It goes when the descriptor is closed.
pub(super) fn open_tun(name: &str) -> io::Result<File> {
    let file = File::options().read(true).write(true).open("/dev/net/tun")?;
    // SAFETY: ifreq is plain data, for which all zeros is valid.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    for (to, from) in request.ifr_name.iter_mut().zip(name.bytes().take(libc::IFNAMSIZ - 1)) {
        *to = libc::c_char::from_ne_bytes([from]);
    }
    let flags = libc::IFF_TUN | libc::IFF_NO_PI;
    request.ifr_ifru.ifru_flags = libc::c_short::try_from(flags).expect("both flags lie in the lower bits");
    // SAFETY: TUNSETIFF reads and writes the ifreq that is passed, which is valid for the call.
    check(unsafe { libc::ioctl(file.as_raw_fd(), libc::TUNSETIFF, &raw mut request) })?;
    // SAFETY: fcntl with F_SETFL takes an integer.
    check(unsafe { libc::fcntl(file.as_raw_fd(), libc::F_SETFL, libc::O_NONBLOCK) })?;
    Ok(file)
}

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(result) }
}
