//! Synthetic media that any decoder takes: silence in Opus and one still picture in VP8, filled up to the size that real ones have.

use greenroom_reports::units::{Bitrate, Micros};

/// The Opus clock (RFC 7587 section 4.1).
pub const AUDIO_CLOCK: u32 = 48_000;
/// The video clock (RFC 7741 section 4.1).
pub const VIDEO_CLOCK: u32 = 90_000;
/// Octets of an Opus packet of 20 ms: 32 kbit/s.
pub const AUDIO_BYTES: usize = 80;
/// Pictures a second.
pub const FRAMES_PER_SECOND: i64 = 30;
/// The rate of the picture, 640×360: with all headers 0.6 Mbit/s at the IP layer.
pub const VIDEO_RATE: Bitrate = Bitrate::from_kbps(550);

/// A key frame of 640×360 in one gray, as libvpx encodes it. Decoders read its last partition to where they are done, so that what is
/// appended does not matter (RFC 6386 section 9.5).
const STILL: &[u8] = include_bytes!("still.vp8");
/// Octets of a picture in a packet: with all headers it stays below the 1280 octets that every IPv6 path carries.
const MOST_OF_A_FRAME: usize = 1_100;

/// An Opus packet of silence, 20 ms in one frame, `len` octets long (6 to 258), by padding (RFC 6716 section 3.2.5).
pub fn opus_silence(len: usize) -> Vec<u8> {
    // CELT, full band, 20 ms, mono, code 3; one frame, padded; the frame is what libopus encodes silence as.
    const HEAD: usize = 5;
    let padding = u8::try_from(len.saturating_sub(HEAD)).unwrap_or(u8::MAX).min(253);
    let mut packet = vec![0xfb, 0x41, padding, 0xff, 0xfe];
    packet.resize(HEAD + usize::from(padding), 0);
    packet
}

/// The RTP payloads of one picture of about `len` octets: VP8 with a descriptor that numbers pictures (RFC 7741 section 4.2). The last one ends
/// the picture.
pub fn vp8_picture(number: u32, len: usize) -> Vec<Vec<u8>> {
    let mut frame = STILL.to_vec();
    frame.resize(len.max(STILL.len()), 0);
    let packets = frame.len().div_ceil(MOST_OF_A_FRAME);
    // Of equal size, so that none is mostly header.
    let each = frame.len().div_ceil(packets);
    let [_, _, high, low] = (number & 0x7fff).to_be_bytes();
    let payload = |(index, part): (usize, &[u8])| {
        let start_of_partition = if index == 0 { 0x10 } else { 0 };
        let mut payload = vec![0x80 | start_of_partition, 0x80, 0x80 | high, low];
        payload.extend_from_slice(part);
        payload
    };
    frame.chunks(each).enumerate().map(payload).collect()
}

/// Octets of a picture at this rate.
pub fn picture_bytes(rate: Bitrate) -> usize {
    let each = Micros::from_secs(1) / FRAMES_PER_SECOND;
    usize::try_from(rate.in_time(each).bytes()).unwrap_or(usize::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn silence_has_the_size_asked_for() {
        for len in [6, 80, 172, 258] {
            let packet = opus_silence(len);
            assert_eq!(packet.len(), len);
            assert_eq!(usize::from(packet[2]) + 5, len, "the padding that it tells");
        }
        assert_eq!((opus_silence(0).len(), opus_silence(5_000).len()), (5, 258));
    }

    #[cfg(feature = "encode")]
    #[test]
    fn a_decoder_takes_it_for_silence() {
        let mut decoder = opus::Decoder::new(48_000, opus::Channels::Stereo).unwrap();
        let mut sound = vec![1_i16; 2 * 960];
        for len in [6, AUDIO_BYTES, 258] {
            assert_eq!(decoder.decode(&opus_silence(len), &mut sound, false).unwrap(), 960, "{len}");
            assert!(sound.iter().all(|sample| *sample == 0));
        }
    }

    #[test]
    fn a_picture_is_cut_into_packets_that_pass_everywhere() {
        let len = picture_bytes(VIDEO_RATE);
        assert!((2_200..=2_300).contains(&len), "{len}");
        let packets = vp8_picture(0x1_8123, len);
        assert_eq!(packets.len(), 3);
        assert!(packets.iter().all(|packet| packet.len() <= MOST_OF_A_FRAME + 4));
        let mut frame = Vec::new();
        for (index, packet) in packets.iter().enumerate() {
            let first = if index == 0 { 0x90 } else { 0x80 };
            assert_eq!(packet[..4], [first, 0x80, 0x81, 0x23]);
            frame.extend_from_slice(&packet[4..]);
        }
        assert_eq!(frame.len(), len);
        // A key frame's tag, start code and size (RFC 6386 section 9.1).
        assert_eq!(
            (frame[0] & 1, &frame[3..6], &frame[6..10]),
            (0, &[0x9d, 1, 0x2a][..], &[0x80, 2, 0x68, 1][..])
        );
        assert_eq!(vp8_picture(0, 0).concat().len(), STILL.len() + 4, "never less than the picture itself");
    }
}
