//! What a camera sees, in the terminal.

use std::io::{self, Write as _};

use crate::devices::camera::paint::{Space, Style, paint};
use crate::devices::camera::{Frame, Opened, pixels};

/// More pixels than this cost time and are not seen in a terminal.
const LARGEST: (u32, u32) = (640, 480);

/// A picture that follows the camera.
pub(super) struct Preview {
    style: Style,
    space: Space,
    shown: u64,
}

impl Preview {
    /// Clears the terminal and hides its cursor.
    pub(super) fn start(style: Style, space: Space) -> Self {
        write("\x1b[?25l\x1b[2J");
        Self { style, space, shown: 0 }
    }

    /// Shows a frame where the last one was. What is left below it, of before the terminal was made smaller, goes.
    pub(super) fn show(&mut self, opened: &Opened, frame: &Frame) {
        let picture = |bytes: &Vec<u8>| pixels::sampled(opened, bytes, LARGEST.0, LARGEST.1).ok();
        let Some(picture) = frame.bytes.as_ref().and_then(picture) else { return };
        self.shown += 1;
        let text = paint(&picture, self.style, self.space);
        write(&format!(
            "\x1b[H{text}{}, {} pictures shown. Ctrl-C ends this.\x1b[J",
            opened.mode, self.shown
        ));
    }
}

impl Drop for Preview {
    fn drop(&mut self) {
        // All pictures that are to be seen: kitty keeps one of before the terminal changed its size, by whatever number.
        let kitty = if self.style == Style::Kitty { "\x1b_Ga=d,d=A,q=2\x1b\\" } else { "" };
        write(&format!("{kitty}\x1b[?25h\r\n"));
    }
}

/// A terminal that has gone is no reason to stop.
fn write(text: &str) {
    let mut stdout = io::stdout().lock();
    let _ = stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush());
}
