//! A wire between a program and a server that can be cut: whatever stands in the middle forgets its connections without a word to either side.
#![expect(clippy::disallowed_methods, reason = "a test connects over sockets of its own")]

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// A wire. Its port stays open as long as the test runs.
pub(crate) struct Wire {
    pub(crate) at: SocketAddr,
    /// Odd while it is cut. A connection lives in the even one that it began in.
    times: Arc<AtomicU64>,
}

impl Wire {
    /// One to a socket in the file system.
    pub(crate) fn to(socket: &Path) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let at = listener.local_addr().expect("an address");
        let times = Arc::new(AtomicU64::new(0));
        let (socket, theirs) = (socket.to_owned(), Arc::clone(&times));
        std::thread::spawn(move || {
            for near in listener.incoming().flatten() {
                let (socket, times) = (socket.clone(), Arc::clone(&theirs));
                std::thread::spawn(move || connect(&near, &socket, &times));
            }
        });
        Self { at, times }
    }

    /// Nothing passes any more, and connections that there are never come back.
    pub(crate) fn cut(&self) {
        assert!(self.times.fetch_add(1, Ordering::SeqCst).is_multiple_of(2), "it is cut already");
    }

    /// New connections pass.
    pub(crate) fn mend(&self) {
        assert!(!self.times.fetch_add(1, Ordering::SeqCst).is_multiple_of(2), "it is whole");
    }
}

fn connect(near: &TcpStream, socket: &PathBuf, times: &Arc<AtomicU64>) {
    let began = times.load(Ordering::SeqCst);
    if !began.is_multiple_of(2) {
        swallow(near);
        return;
    }
    let Ok(far) = UnixStream::connect(socket) else { return };
    let passes = || times.load(Ordering::SeqCst) == began;
    std::thread::scope(|scope| {
        scope.spawn(|| pass(near, &far, &passes, || far.shutdown(std::net::Shutdown::Write)));
        pass(&far, near, &passes, || near.shutdown(std::net::Shutdown::Write));
    });
}

/// Passes on what comes, and that it ended. What comes after the cut is lost.
fn pass(
    mut from: impl Read,
    mut to: impl Write,
    passes: &(dyn Fn() -> bool + Sync),
    end: impl FnOnce() -> std::io::Result<()>,
) {
    let mut buffer = [0; 16_384];
    while let Ok(read) = from.read(&mut buffer) {
        if !passes() {
            swallow(from);
            return;
        }
        if read == 0 || to.write_all(buffer.get(..read).unwrap_or_default()).is_err() {
            break;
        }
    }
    if passes() {
        // The other side may be gone first.
        let _ = end();
    }
}

fn swallow(mut from: impl Read) {
    let mut buffer = [0; 16_384];
    while from.read(&mut buffer).is_ok_and(|read| read > 0) {}
}
