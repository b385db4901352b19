//! Waiting for a deadline, an arrival or a command, whichever is first.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use crate::net::udp::DatagramSocket;

/// Wakes a waiting thread from another one.
#[derive(Clone)]
pub(super) struct Waker {
    stopped: Arc<AtomicBool>,
    bell: Arc<Bell>,
}

impl Waker {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self { stopped: Arc::default(), bell: Arc::new(Bell::new()?) })
    }

    /// Ends the current wait, or the next one.
    pub(super) fn wake(&self) {
        self.bell.ring();
    }

    /// Asks the thread to end.
    pub(super) fn stop(&self) {
        self.stopped.store(true, Ordering::Release);
        self.wake();
    }

    pub(super) fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::Acquire)
    }

    /// Blocks until something arrives on one of `sockets`, [`Waker::wake`] is called, or `timeout` has passed.
    pub(super) fn wait(
        &self,
        sockets: &mut [Box<dyn DatagramSocket>],
        timeout: Option<Duration>,
    ) -> io::Result<()> {
        self.bell.wait(sockets, timeout)
    }
}

#[cfg(target_os = "linux")]
use linux::Bell;
#[cfg(not(target_os = "linux"))]
use portable::Bell;

/// Makes the current thread's sleeps end on time instead of up to 50 µs later. Linux only; elsewhere it does nothing.
pub(super) fn sleep_precisely() {
    #[cfg(target_os = "linux")]
    if let Err(error) = nix::sys::prctl::set_timerslack(1) {
        tracing::debug!(%error, "timer slack stays as it is");
    }
}

#[cfg(target_os = "linux")]
mod linux {
    use std::io;
    use std::os::fd::AsFd;
    use std::time::Duration;

    use nix::errno::Errno;
    use nix::poll::{PollFd, PollFlags, ppoll};
    use nix::sys::eventfd::{EfdFlags, EventFd};
    use nix::sys::time::TimeSpec;

    use super::DatagramSocket;

    /// An eventfd beside the sockets in one `ppoll`, whose timeout counts nanoseconds.
    pub(super) struct Bell(EventFd);

    impl Bell {
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(EventFd::from_flags(EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC)?))
        }

        pub(super) fn ring(&self) {
            // It can only fail when the counter is full: then it rings already.
            let _ = self.0.write(1);
        }

        pub(super) fn wait(
            &self,
            sockets: &mut [Box<dyn DatagramSocket>],
            timeout: Option<Duration>,
        ) -> io::Result<()> {
            let mut waited = vec![PollFd::new(self.0.as_fd(), PollFlags::POLLIN)];
            waited.extend(sockets.iter().map(|socket| PollFd::new(socket.as_fd(), PollFlags::POLLIN)));
            match ppoll(&mut waited, timeout.map(TimeSpec::from_duration), None) {
                Ok(_) | Err(Errno::EINTR) => {}
                Err(error) => return Err(error.into()),
            }
            // Taking the count silences the bell; that it was silent is no error.
            let _ = self.0.read();
            Ok(())
        }
    }
}

#[cfg(any(not(target_os = "linux"), test))]
mod portable {
    use std::io;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::time::Duration;

    use super::DatagramSocket;

    /// A flag that is looked at between short waits on each socket in turn.
    pub(super) struct Bell(AtomicBool);

    /// How long a ring or another socket's arrival may go unnoticed.
    const SLICE: Duration = Duration::from_millis(2);

    #[cfg_attr(target_os = "linux", expect(dead_code, reason = "kept compiling on Linux; used elsewhere"))]
    impl Bell {
        #[expect(clippy::unnecessary_wraps, reason = "as on Linux")]
        pub(super) fn new() -> io::Result<Self> {
            Ok(Self(AtomicBool::new(false)))
        }

        pub(super) fn ring(&self) {
            self.0.store(true, Ordering::Release);
        }

        pub(super) fn wait(
            &self,
            sockets: &mut [Box<dyn DatagramSocket>],
            timeout: Option<Duration>,
        ) -> io::Result<()> {
            if self.0.swap(false, Ordering::AcqRel) || timeout == Some(Duration::ZERO) {
                return Ok(());
            }
            let count = u32::try_from(sockets.len()).unwrap_or(u32::MAX).max(1);
            let slice = timeout.map_or(SLICE, |timeout| timeout.min(SLICE)) / count;
            for socket in sockets {
                socket.wait_readable(slice)?;
            }
            Ok(())
        }
    }
}
