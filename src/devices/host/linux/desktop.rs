//! The session that a person is logged in to: whether the screen can be captured, and what programs may use.

use std::ffi::OsString;
use std::fs;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use greenroom_reports::schema::{Granted, ScreenCapture};
use nix::unistd::{AccessFlags, access};

/// What the environment tells of the session.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Session {
    /// `DISPLAY`: an X server.
    pub display: Option<String>,
    /// `WAYLAND_DISPLAY`: a Wayland compositor.
    pub wayland: Option<String>,
    /// `XDG_CURRENT_DESKTOP`: `GNOME`, `sway:wlroots`, …
    pub desktop: Option<String>,
    /// `XDG_RUNTIME_DIR`, where the sockets of the session's servers lie.
    pub runtime: Option<PathBuf>,
    /// Whether this program runs in a sandbox (Flatpak, Snap), where the desktop's portal grants what may be used.
    pub sandboxed: bool,
}

impl Session {
    /// This program's own.
    pub fn here() -> Self {
        let text = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let runtime = std::env::var_os("XDG_RUNTIME_DIR").filter(|path: &OsString| !path.is_empty());
        Self {
            display: text("DISPLAY"),
            wayland: text("WAYLAND_DISPLAY"),
            desktop: text("XDG_CURRENT_DESKTOP"),
            runtime: runtime.map(PathBuf::from),
            sandboxed: Path::new("/.flatpak-info").exists() || std::env::var_os("SNAP").is_some(),
        }
    }
}

/// Whether a program of this session can capture the screen, and how.
///
/// Under Wayland and in a sandbox only the desktop's portal gives out pictures, through PipeWire, and asks the person each
/// time; under X11 every program that the server lets in can read the screen.
pub(super) fn screen_capture(root: &Path, session: &Session) -> ScreenCapture {
    let no = |how: String| ScreenCapture { possible: false, how };
    if session.wayland.is_some() || session.sandboxed {
        return match portal(root, session) {
            Ok(how) => ScreenCapture { possible: true, how },
            Err(how) => no(how),
        };
    }
    match &session.display {
        Some(display) => match reach_x11(root, display) {
            Ok(()) => ScreenCapture { possible: true, how: format!("X11 display {display}") },
            Err(why) => no(format!("the X11 display {display} cannot be reached: {why}")),
        },
        None => no("there is no screen: neither WAYLAND_DISPLAY nor DISPLAY is set".to_owned()),
    }
}

/// The portal that shares the screen; else what is missing, with what to install.
fn portal(root: &Path, session: &Session) -> Result<String, String> {
    if !root.join("usr/share/dbus-1/services/org.freedesktop.portal.Desktop.service").exists() {
        return Err(
            "xdg-desktop-portal is not installed, through which the desktop shares the screen".to_owned()
        );
    }
    let Some(backend) = screen_cast_backend(root, session.desktop.as_deref()) else {
        return Err("no xdg-desktop-portal backend of this desktop shares the screen (install xdg-desktop-portal-gtk, \
             -gnome, -kde or -wlr)"
            .to_owned());
    };
    let pipewire = session.runtime.as_ref().map(|runtime| runtime.join("pipewire-0"));
    match pipewire {
        Some(socket) if UnixStream::connect(&socket).is_ok() => {
            Ok(format!("xdg-desktop-portal ({backend}): the desktop asks which screen"))
        }
        _ => Err("PipeWire does not run, through which the desktop shares the screen".to_owned()),
    }
}

/// The backend that shares the screen on this desktop: each says in its file what it can do and for which desktops.
fn screen_cast_backend(root: &Path, desktop: Option<&str>) -> Option<String> {
    let files = fs::read_dir(root.join("usr/share/xdg-desktop-portal/portals")).ok()?;
    let mut names: Vec<PathBuf> = files.flatten().map(|entry| entry.path()).collect();
    names.sort();
    names.into_iter().find_map(|path| {
        let text = fs::read_to_string(&path).ok()?;
        let field = |name: &str| text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix('='));
        field("Interfaces")?.contains("org.freedesktop.impl.portal.ScreenCast").then_some(())?;
        // A backend that names no desktop, or a session that names none, fits with every one.
        let fits = match (field("UseIn"), desktop) {
            (Some(wanted), Some(desktop)) => wanted.split([';', ',']).any(|wanted| {
                desktop.split(':').any(|own| !wanted.is_empty() && own.eq_ignore_ascii_case(wanted))
            }),
            _ => true,
        };
        fits.then(|| path.file_stem().map(|stem| stem.to_string_lossy().into_owned()))?
    })
}

/// Whether an X server listens behind a local display (`:0`, `:10.0`). One on another machine is believed.
fn reach_x11(root: &Path, display: &str) -> Result<(), String> {
    let Some(number) = display.strip_prefix(':').or_else(|| display.strip_prefix("unix:")) else {
        return Ok(());
    };
    let number = number.split('.').next().unwrap_or(number);
    let socket = root.join(format!("tmp/.X11-unix/X{number}"));
    UnixStream::connect(socket).map(drop).map_err(|error| error.to_string())
}

/// What programs of this session may use, of what there is.
pub(super) fn permissions(root: &Path, session: &Session) -> Vec<Granted> {
    let kinds = [("microphone", "dev/snd", "pcmC", "audio"), ("camera", "dev", "video", "video")];
    kinds
        .into_iter()
        .filter_map(|(what, folder, prefix, group)| {
            if session.sandboxed {
                let source = "the desktop's portal, which asks when it comes to it".to_owned();
                return Some(Granted { what: what.to_owned(), granted: None, source });
            }
            let files = devices(&root.join(folder), prefix);
            let open = |path: &PathBuf| access(path, AccessFlags::R_OK | AccessFlags::W_OK).is_ok();
            (!files.is_empty()).then(|| Granted {
                what: what.to_owned(),
                granted: Some(files.iter().any(open)),
                source: format!("group {group}"),
            })
        })
        .collect()
}

/// The device files of a kind. Capturing ones among the sound devices end in `c`.
fn devices(folder: &Path, prefix: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().flatten();
    let wanted = |name: &str| name.starts_with(prefix) && (prefix != "pcmC" || name.ends_with('c'));
    let mut files: Vec<PathBuf> = entries
        .filter(|entry| wanted(&entry.file_name().to_string_lossy()))
        .map(|entry| entry.path())
        .collect();
    files.sort();
    files
}
