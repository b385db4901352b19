//! Which pictures this terminal shows.

use std::io::{self, IsTerminal as _};

use crate::devices::camera::paint::{CELL, Space, Style};

/// How pictures are best written to standard output, asked of the terminal itself where that is possible.
pub(super) fn style() -> Style {
    if !io::stdin().is_terminal() || !io::stdout().is_terminal() {
        return Style::HalfBlocks;
    }
    answer().map_or(Style::HalfBlocks, |answer| style_in(&answer))
}

/// The space for a picture: the terminal less two lines for text.
pub(super) fn space() -> Space {
    let size = terminal_size::terminal_size().map(|(columns, rows)| (columns.0, rows.0));
    // A serial line does not know its size, and says 0.
    let (columns, rows) = size.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or((80, 24));
    Space {
        columns: u32::from(columns),
        rows: u32::from(rows.saturating_sub(3)).max(4),
        cell: cell().unwrap_or(CELL),
    }
}

/// Pixels of a character cell, across and down, where the terminal tells its size in pixels.
#[cfg(unix)]
fn cell() -> Option<(u32, u32)> {
    use std::os::fd::AsRawFd as _;

    nix::ioctl_read_bad!(window_size, libc::TIOCGWINSZ, libc::winsize);

    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: the request fills exactly one such structure, which lives across the call.
    unsafe { window_size(io::stdout().as_raw_fd(), &raw mut size) }.ok()?;
    let each = |pixels: u16, cells: u16| pixels.checked_div(cells).filter(|each| *each > 0).map(u32::from);
    Some((each(size.ws_xpixel, size.ws_col)?, each(size.ws_ypixel, size.ws_row)?))
}

#[cfg(not(unix))]
fn cell() -> Option<(u32, u32)> {
    None
}

/// From the answers to kitty's graphics query and to "primary device attributes" (DA1): kitty's says OK; in DA1, attribute 4
/// is sixel (DEC, VT340 manual).
fn style_in(answer: &[u8]) -> Style {
    let text = String::from_utf8_lossy(answer);
    if text.contains("\x1b_Gi=31;OK") {
        return Style::Kitty;
    }
    let attributes = text.split("\x1b[?").nth(1).and_then(|rest| rest.split('c').next()).unwrap_or_default();
    // The first number is the terminal's class, not an attribute.
    if attributes.split(';').skip(1).any(|attribute| attribute == "4") {
        Style::Sixel
    } else {
        Style::HalfBlocks
    }
}

#[cfg(unix)]
fn answer() -> Option<Vec<u8>> {
    use std::io::{Read as _, Write as _};
    use std::os::fd::AsFd as _;

    use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
    use nix::sys::termios::{LocalFlags, SetArg, tcgetattr, tcsetattr};

    // Every terminal answers the second question, so that silence on the first is told apart from slowness.
    const QUESTION: &[u8] = b"\x1b_Gi=31,s=1,v=1,a=q,t=d,f=24;AAAA\x1b\\\x1b[c";
    const PATIENCE_MS: u16 = 300;

    let stdin = io::stdin();
    let before = tcgetattr(stdin.as_fd()).ok()?;
    let mut raw = before.clone();
    raw.local_flags.remove(LocalFlags::ICANON | LocalFlags::ECHO);
    tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &raw).ok()?;
    let asked = io::stdout().write_all(QUESTION).and_then(|()| io::stdout().flush());
    let mut answer = Vec::new();
    while asked.is_ok() && !is_whole(&answer) && answer.len() < 1024 {
        let mut ready = [PollFd::new(stdin.as_fd(), PollFlags::POLLIN)];
        if !poll(&mut ready, PollTimeout::from(PATIENCE_MS)).is_ok_and(|ready| ready > 0) {
            break;
        }
        let mut some = [0; 256];
        match stdin.lock().read(&mut some) {
            Ok(n) if n > 0 => answer.extend_from_slice(&some[..n]),
            _ => break,
        }
    }
    // What can be done if the terminal does not take its own settings back?
    let _ = tcsetattr(stdin.as_fd(), SetArg::TCSANOW, &before);
    Some(answer)
}

#[cfg(not(unix))]
fn answer() -> Option<Vec<u8>> {
    None
}

/// Whether the answer to DA1 is there to its end.
#[cfg(any(unix, test))]
fn is_whole(answer: &[u8]) -> bool {
    let Some(start) = answer.windows(3).position(|three| three == b"\x1b[?") else { return false };
    answer[start..].contains(&b'c')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terminals_are_taken_at_their_word() {
        let cases: [(&[u8], Style); 6] = [
            (b"\x1b_Gi=31;OK\x1b\\\x1b[?62;c", Style::Kitty),
            (b"\x1b[?62;4;6;22c", Style::Sixel),
            (b"\x1b[?4;6c", Style::HalfBlocks),
            (b"\x1b[?1;2c", Style::HalfBlocks),
            (b"\x1b_Gi=31;ENOTSUPPORTED\x1b\\\x1b[?62;4c", Style::Sixel),
            (b"", Style::HalfBlocks),
        ];
        for (answer, style) in cases {
            assert_eq!(style_in(answer), style, "{}", String::from_utf8_lossy(answer));
        }
        assert!(is_whole(b"\x1b[?62;4c") && !is_whole(b"\x1b[?62;4") && !is_whole(b"\x1b_Gi=31;OK\x1b\\"));
    }
}
