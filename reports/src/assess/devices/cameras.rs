//! Cameras judged: what is on their pictures, how they come, and whether they are large enough.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::json;

use super::{Judge, Judged, Tried, chosen, exactly, tried, went_away};
use crate::schema::{Camera, Cause, DeviceKind, Place, Seen, State, Use};
use crate::verdict::DeviceFigure;

impl Judge<'_> {
    pub(super) fn camera(&mut self, at: usize, camera: &Camera) -> Tried {
        use DeviceFigure as Figure;
        let kind = DeviceKind::Camera;
        if let Some(failure) = &camera.failure {
            self.failed(kind, failure, Some(&camera.device));
            if went_away(failure) {
                return Tried::Yes;
            }
        }
        let seen = camera.picture.seen.fact().copied();
        let trouble = match seen {
            Some(Seen::Black) => Some(("camera_black", State::Blocked)),
            Some(Seen::Frozen) => Some(("camera_frozen", State::Blocked)),
            Some(Seen::Covered) => Some(("camera_covered", State::Blocked)),
            Some(Seen::Dark) => Some(("camera_dark", State::Degraded)),
            Some(Seen::Overexposed) => Some(("camera_overexposed", State::Degraded)),
            Some(Seen::Blurred) => Some(("camera_blurred", State::Degraded)),
            Some(Seen::Picture) | None => None,
        };
        if let Some((code, state)) = trouble {
            let mut cause = self.cause(code, kind, BTreeMap::new());
            cause.state = state;
            cause.metric = Some(format!("devices.cameras.{at}.picture.seen"));
            self.causes.push(cause);
        }
        let frames = &camera.frames;
        let path = |name: &str| format!("devices.cameras.{at}.frames.{name}");
        let fps = frames.rate_fps.measured().map(|rate| rate.value);
        let claimed = camera.state.measured().and_then(|stream| stream.given.fps);
        let percent = |value: f64| vec![("percent", json!(value * 100.0))];
        let rates = |_| vec![("fps", json!(fps)), ("claimed", json!(claimed))];
        let first = frames.first_ms.fact().copied().map(exactly);
        let judged: [Judged<'_>; 5] = [
            (
                Figure::FrameRateRatio,
                frames.rate_ratio.measured().copied(),
                "camera_slow",
                path("rate_ratio"),
                &rates,
            ),
            (
                Figure::FrameSpreadRatio,
                frames.interval_spread_ratio.measured().copied(),
                "camera_uneven",
                path("interval_spread_ratio"),
                &|_| Vec::new(),
            ),
            (
                Figure::FramesLostRatio,
                frames.lost_ratio.measured().copied(),
                "camera_frames_lost",
                path("lost_ratio"),
                &percent,
            ),
            (
                Figure::FramesDamagedRatio,
                frames.damaged_ratio.measured().copied(),
                "camera_frames_damaged",
                path("damaged_ratio"),
                &percent,
            ),
            (Figure::FirstFrameMs, first, "camera_late", path("first_ms"), &|value| {
                vec![("ms", json!(value.round()))]
            }),
        ];
        self.all_beyond(judged, kind);
        match (seen, &camera.failure) {
            (None, None) => Tried::No("no frame came that could be looked at".to_owned()),
            _ => Tried::Yes,
        }
    }

    /// A camera whose pictures are smaller than those that a use asked for sends.
    pub(super) fn too_small(&self, asked: &BTreeSet<Use>) -> Option<Cause> {
        let tried_ones = |camera: &Camera| tried(&camera.state, camera.failure.as_ref());
        let (at, camera) = chosen(&self.devices.cameras, |d| (&d.device, tried_ones(d)))?;
        let given = camera.state.measured()?.given.clone();
        let offered = camera.formats.fact().into_iter().flatten();
        let most = offered.map(|format| format.height).max().unwrap_or(0).max(given.height);
        let lacking = |use_: &&Use| lines_of(**use_).is_some_and(|lines| most < lines);
        let uses: Vec<Use> = asked.iter().filter(lacking).copied().collect();
        let names: Vec<&str> = uses.iter().map(|use_| use_.short()).collect();
        let needed = uses.iter().filter_map(|use_| lines_of(*use_)).min()?;
        let params = [("lines", json!(most)), ("uses", json!(names.join(", ")))];
        let params = params.into_iter().map(|(name, value)| (name.to_owned(), value)).collect();
        Some(Cause {
            state: State::Degraded,
            place: Place::Device,
            uses,
            metric: Some(format!("devices.cameras.{at}.formats")),
            measured: Some(f64::from(most)),
            good: Some(f64::from(needed)),
            ..self.worded("camera_small", params)
        })
    }
}

/// How many lines a video of this use has.
const fn lines_of(use_: Use) -> Option<u32> {
    match use_ {
        Use::Video360p => Some(360),
        Use::Video720p => Some(720),
        Use::Video1080p => Some(1_080),
        _ => None,
    }
}
