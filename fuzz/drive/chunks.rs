use greenroom_reports::trace::encoding::{ChunkEncoder, HalfAssembler};

/// Reads the input as chunks of a growing half, each behind two octets of its length. A chunk that is refused changes
/// nothing, and what was assembled comes back the same from a chunk of its own.
pub(crate) fn drive(data: &[u8]) {
    let mut assembler = HalfAssembler::new();
    let mut rest = data;
    while let Some((length, behind)) = rest.split_first_chunk() {
        let length = usize::from(u16::from_be_bytes(*length)).min(behind.len());
        let (chunk, behind) = behind.split_at(length);
        let before = assembler.half().clone();
        if assembler.push(chunk).is_err() {
            assert_eq!(*assembler.half(), before);
        }
        rest = behind;
    }
    let half = assembler.into_half();
    let mut whole = HalfAssembler::new();
    whole.push(&ChunkEncoder::new().encode(&half)).expect("no larger than what came in");
    assert_eq!(*whole.half(), half);
}
