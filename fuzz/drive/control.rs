use greenroom::endpoint::{BulkRequest, BulkResult};
use greenroom::proto::control::{Decoder, Frame};

/// Reads the input as a control stream, whole and octet by octet: both must give the same frames.
pub(crate) fn drive(data: &[u8]) {
    bulk(data);
    let frames = |chunk: usize| {
        let (mut decoder, mut seen) = (Decoder::new(), Vec::new());
        for chunk in data.chunks(chunk.max(1)) {
            decoder.push(chunk);
            while let Ok(Some(raw)) = decoder.next_frame() {
                seen.push((raw.kind, raw.payload.to_vec()));
                if let Ok(frame) = Frame::parse(raw) {
                    let mut again = Vec::new();
                    frame.write(&mut again).expect("it came in a frame");
                }
            }
        }
        seen
    };
    assert_eq!(frames(1), frames(data.len()));
}

/// The heads of bulk transfers, which stand on streams of their own: what reads must write back to what reads the same.
fn bulk(data: &[u8]) {
    if let Some(request) = data.first_chunk().and_then(|wire| BulkRequest::from_bytes(*wire)) {
        assert_eq!(BulkRequest::from_bytes(request.to_bytes()), Some(request));
    }
    if let Some(wire) = data.first_chunk() {
        assert_eq!(&BulkResult::from_bytes(*wire).to_bytes(), wire);
    }
}
