//! Samples between what devices speak and 32-bit float, and which form is asked for.

use cpal::{
    BufferSize, Data, Sample as _, SampleFormat, StreamConfig, SupportedBufferSize, SupportedStreamConfig,
    SupportedStreamConfigRange,
};
use greenroom_reports::units::Micros;

use crate::devices::audio::{Format, Want};

/// Forms of samples that can be converted here, the most exact first.
const PREFERRED: [SampleFormat; 9] = [
    SampleFormat::F32,
    SampleFormat::F64,
    SampleFormat::I32,
    SampleFormat::U32,
    SampleFormat::I24,
    SampleFormat::I16,
    SampleFormat::U16,
    SampleFormat::I8,
    SampleFormat::U8,
];

/// Runs an expression with `$type` standing for the type of a sample of `$format`; `None` for forms not known here.
macro_rules! with_type {
    ($format:expr, $type:ident => $body:expr) => {
        match $format {
            SampleFormat::F32 => with_type!(@ f32, $type => $body),
            SampleFormat::F64 => with_type!(@ f64, $type => $body),
            SampleFormat::I32 => with_type!(@ i32, $type => $body),
            SampleFormat::U32 => with_type!(@ u32, $type => $body),
            SampleFormat::I24 => with_type!(@ cpal::I24, $type => $body),
            SampleFormat::I16 => with_type!(@ i16, $type => $body),
            SampleFormat::U16 => with_type!(@ u16, $type => $body),
            SampleFormat::I8 => with_type!(@ i8, $type => $body),
            SampleFormat::U8 => with_type!(@ u8, $type => $body),
            _ => None,
        }
    };
    (@ $real:ty, $type:ident => $body:expr) => {{
        type $type = $real;
        $body
    }};
}

/// What a form of samples is called.
pub(super) fn name(form: SampleFormat) -> &'static str {
    match form {
        SampleFormat::F32 => "f32",
        SampleFormat::F64 => "f64",
        SampleFormat::I32 => "i32",
        SampleFormat::U32 => "u32",
        SampleFormat::I24 => "i24",
        SampleFormat::I16 => "i16",
        SampleFormat::U16 => "u16",
        SampleFormat::I8 => "i8",
        SampleFormat::U8 => "u8",
        _ => "unknown",
    }
}

/// What a driver handed over, as float. Empty for forms that are never asked for.
pub(super) fn to_float(data: &Data) -> Vec<f32> {
    with_type!(data.sample_format(), T => {
        data.as_slice::<T>().map(|samples| samples.iter().map(|sample| f32::from_sample(*sample)).collect())
    })
    .unwrap_or_default()
}

/// Fills what a driver wants filled, sample by sample, from `next`.
pub(super) fn from_float(data: &mut Data, mut next: impl FnMut() -> f32) {
    let filled: Option<()> = with_type!(data.sample_format(), T => {
        data.as_slice_mut::<T>().map(|samples| {
            for sample in samples {
                *sample = T::from_sample(next());
            }
        })
    });
    debug_assert!(filled.is_some(), "only forms in PREFERRED are asked for");
}

/// Chooses the stream that comes nearest to `want` among `offered`; `own` is the device's own form.
///
/// # Errors
///
/// What was asked and is not offered.
pub(super) fn choose(
    offered: &[SupportedStreamConfigRange],
    own: &SupportedStreamConfig,
    want: Want,
) -> Result<(StreamConfig, SampleFormat), Format> {
    let asked = Format {
        rate_hz: want.rate_hz.unwrap_or_else(|| own.sample_rate()),
        channels: want.channels.unwrap_or_else(|| own.channels()),
    };
    let fits = |range: &&SupportedStreamConfigRange| {
        range.channels() == asked.channels && range.contains_rate(asked.rate_hz)
    };
    let best = PREFERRED
        .iter()
        .find_map(|form| offered.iter().filter(fits).find(|range| range.sample_format() == *form))
        .map(|range| (range.sample_format(), *range.buffer_size()));
    let own_fits = asked.channels == own.channels() && asked.rate_hz == own.sample_rate();
    let own_form = own_fits.then(|| (own.sample_format(), *own.buffer_size()));
    let (form, buffers) = best.or(own_form).filter(|(form, _)| PREFERRED.contains(form)).ok_or(asked)?;
    let config = StreamConfig {
        channels: asked.channels,
        sample_rate: asked.rate_hz,
        buffer_size: BufferSize::Fixed(block_frames(asked.rate_hz, want.block, buffers)),
    };
    Ok((config, form))
}

fn block_frames(rate_hz: u32, block: Micros, buffers: SupportedBufferSize) -> u32 {
    let frames = i64::from(rate_hz).saturating_mul(block.get()) / 1_000_000;
    let frames = u32::try_from(frames.max(1)).unwrap_or(u32::MAX);
    match buffers {
        // A driver's range is not always one: with min > max, clamp would panic.
        SupportedBufferSize::Range { min, max } => frames.min(max).max(min),
        SupportedBufferSize::Unknown => frames,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::devices::audio::BLOCK;

    fn range(channels: u16, rates: (u32, u32), form: SampleFormat) -> SupportedStreamConfigRange {
        let buffers = SupportedBufferSize::Range { min: 64, max: 8192 };
        SupportedStreamConfigRange::new(channels, rates.0, rates.1, buffers, form)
    }

    fn own(channels: u16, rate: u32, form: SampleFormat) -> SupportedStreamConfig {
        SupportedStreamConfig::new(channels, rate, SupportedBufferSize::Range { min: 64, max: 8192 }, form)
    }

    #[test]
    fn the_devices_own_rate_in_the_most_exact_form_and_never_the_default_buffer() {
        let offered = [
            range(2, (44_100, 192_000), SampleFormat::I16),
            range(2, (44_100, 192_000), SampleFormat::I32),
            range(1, (8_000, 8_000), SampleFormat::F32),
        ];
        let own = own(2, 48_000, SampleFormat::I16);
        let (config, form) = choose(&offered, &own, Want::default()).expect("it is offered");
        assert_eq!((config.channels, config.sample_rate, form), (2, 48_000, SampleFormat::I32));
        assert_eq!(config.buffer_size, BufferSize::Fixed(1920));
        let fast = Want { rate_hz: Some(192_000), ..Want::default() };
        let (config, _) = choose(&offered, &own, fast).expect("it is offered");
        assert_eq!(config.buffer_size, BufferSize::Fixed(7680));
        let wide = Want { channels: Some(32), ..Want::default() };
        assert_eq!(choose(&offered, &own, wide), Err(Format { rate_hz: 48_000, channels: 32 }));
    }

    #[test]
    fn a_form_that_cannot_be_converted_is_unsupported() {
        let own = own(2, 2_822_400, SampleFormat::DsdU8);
        assert!(choose(&[], &own, Want::default()).is_err());
        let own = self::own(32, 192_000, SampleFormat::I24);
        let (config, form) = choose(&[], &own, Want::default()).expect("its own form will do");
        assert_eq!((config.channels, form), (32, SampleFormat::I24));
    }

    #[test]
    fn a_range_that_is_none_does_not_panic() {
        let odd = SupportedBufferSize::Range { min: 4096, max: 64 };
        assert_eq!(block_frames(48_000, BLOCK, odd), 4096);
        assert_eq!(block_frames(0, BLOCK, SupportedBufferSize::Unknown), 1);
    }
}
