use greenroom::proto::asking::{Heard, Questions as _};
use greenroom::proto::marking::{Marks, Reflected as _, Stamp};

/// Reads the input as a reflector's answer to a marked packet: nothing but one of its own is one.
pub(crate) fn drive(data: &[u8]) {
    let mut stamp = Stamp::new(4, true, [7; 8]);
    stamp.ask_for(Marks { up: 0xb8, down: 0x88 });
    let told = stamp.told(data);
    assert!(told.there.is_some() || !told.dscp);
    if let Heard::Answer(index) = stamp.read(data, 4) {
        assert!(index < 4);
    }
}
