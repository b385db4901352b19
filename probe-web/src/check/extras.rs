//! What a page tells besides: the computer and the browser, the sizes that the camera gave, the sweep that the microphone heard, the screen.

use serde::{Deserialize, Serialize};

use super::read::{amount, name, number};
use crate::problem::Problem;

/// Most entries of each list: three sizes of pictures, a few codecs.
const MOST: usize = 24;

/// The computer, as far as a browser tells, and what the browser can do.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct MachineRun {
    /// Threads that run at once.
    pub(super) cores: Option<u32>,
    /// Memory as browsers tell it: a power of two, and no more than some of them tell.
    pub(super) memory_gb: Option<f64>,
    /// The graphics processor, as it is called.
    pub(super) graphics: Option<String>,
    /// Whether pictures are drawn without a graphics processor.
    pub(super) software_drawing: Option<bool>,
    /// The smallest step of the clock that the page measured.
    pub(super) clock_step_us: Option<f64>,
    #[serde(default)]
    pub(super) can: Abilities,
    #[serde(default)]
    pub(super) encode: Vec<EncodeRun>,
    /// How fast each renderer drew.
    #[serde(default)]
    pub(super) drawing: Vec<DrawRun>,
    /// How fast the work of background effects was done.
    #[serde(default)]
    pub(super) effects: Option<DrawRun>,
}

/// What the browser has.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields, default)]
#[expect(clippy::struct_excessive_bools, reason = "each is one thing that a browser has or not")]
pub(super) struct Abilities {
    pub(super) secure_context: bool,
    pub(super) cross_origin_isolated: bool,
    pub(super) web_transport: bool,
    pub(super) web_rtc: bool,
    pub(super) web_codecs: bool,
    pub(super) audio_worklet: bool,
    pub(super) screen_capture: bool,
    pub(super) speaker_choice: bool,
    pub(super) offscreen_canvas: bool,
    pub(super) web_gpu: bool,
}

/// How fast pictures of one size were encoded.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EncodeRun {
    /// Lines of the picture: 360, 720, 1080.
    pub(super) lines: u32,
    pub(super) codec: String,
    /// Whether the browser was asked for hardware and took it.
    pub(super) hardware: bool,
    /// Real time over the time it took.
    pub(super) times_real_time: f64,
    pub(super) frames: u32,
}

/// How fast pictures of one size were drawn.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct DrawRun {
    /// Lines of the picture.
    pub(super) lines: u32,
    pub(super) renderer: Renderer,
    /// Real time, of 30 pictures a second, over the time it took. Nothing where it did not come about.
    pub(super) times_real_time: Option<f64>,
    pub(super) frames: u32,
    /// Why it did not come about.
    #[serde(default)]
    pub(super) reason: Option<Undrawn>,
}

/// What draws pictures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Renderer {
    /// The element that plays them.
    Video,
    Canvas,
    WebGl,
    WebGpu,
}

/// Why nothing was drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum Undrawn {
    Unsupported,
    Failed,
}

/// The preview of the camera, where an application chose what draws it.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct PreviewRun {
    /// What drew it at last.
    pub(super) renderer: Renderer,
    pub(super) wanted: Renderer,
    /// What did not come about, or was lost, in that order.
    pub(super) fell_back: Vec<Renderer>,
    pub(super) drawn: u32,
    /// Pictures that came by meanwhile. Nothing where the browser does not tell.
    pub(super) presented: Option<u32>,
    /// What a picture took the page, median.
    pub(super) draw_ms: Option<f64>,
    pub(super) fps: f64,
}

/// A size that was asked of the camera.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SizeRun {
    /// Lines asked for.
    pub(super) lines: u32,
    /// What it gave. Nothing when it refused.
    pub(super) given: Option<super::read::Given>,
    /// Pictures per second that came.
    pub(super) came_fps: Option<f64>,
}

/// What the microphone heard of the sweep that the speaker played.
#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct EchoRun {
    pub(super) confidence_db: f64,
    pub(super) delay_ms: f64,
    pub(super) return_db: f64,
}

/// What came of sharing the screen.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum ScreenRun {
    Shared,
    Black,
    Cancelled,
    Denied,
    System,
    Policy,
    Unsupported,
    Failed,
    Skipped,
}

impl MachineRun {
    pub(super) fn check(&self) -> Result<(), Problem> {
        name("/machine/graphics", self.graphics.as_deref().unwrap_or_default())?;
        number("/machine/memory_gb", self.memory_gb.unwrap_or(0.0), 1e6)?;
        number("/machine/clock_step_us", self.clock_step_us.unwrap_or(0.0), 1e9)?;
        few("/machine/encode", self.encode.len())?;
        self.encode.iter().try_for_each(|run| {
            name("/machine/encode/codec", &run.codec)?;
            number("/machine/encode/times_real_time", run.times_real_time, 1e6)
        })?;
        few("/machine/drawing", self.drawing.len())?;
        self.drawing.iter().chain(&self.effects).try_for_each(|run| {
            amount("/machine/drawing/times_real_time", run.times_real_time.unwrap_or(0.0), 1e6)
        })
    }
}

impl PreviewRun {
    pub(super) fn check(&self) -> Result<(), Problem> {
        few("/camera/preview/fell_back", self.fell_back.len())?;
        amount("/camera/preview/draw_ms", self.draw_ms.unwrap_or(0.0), 1e6)?;
        amount("/camera/preview/fps", self.fps, 10_000.0)
    }
}

/// Looks at the camera's sizes.
pub(super) fn check_sizes(sizes: &[SizeRun]) -> Result<(), Problem> {
    few("/camera/sizes", sizes.len())?;
    sizes.iter().try_for_each(|size| {
        let claimed = size.given.and_then(|given| given.fps).unwrap_or(0.0);
        number("/camera/sizes/came_fps", size.came_fps.unwrap_or(0.0), 10_000.0)?;
        number("/camera/sizes/given/fps", claimed, 10_000.0)
    })
}

impl EchoRun {
    pub(super) fn check(self) -> Result<(), Problem> {
        number("/speaker/echo/confidence_db", self.confidence_db, 400.0)?;
        number("/speaker/echo/delay_ms", self.delay_ms, 10_000.0)?;
        number("/speaker/echo/return_db", self.return_db, 400.0)
    }
}

fn few(pointer: &str, count: usize) -> Result<(), Problem> {
    match count <= MOST {
        true => Ok(()),
        false => Err(Problem::field(pointer, "has more entries than any run")),
    }
}
