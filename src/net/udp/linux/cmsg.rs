//! Control messages: what rides beside a datagram, written and read with the CMSG macros of libc.

use std::mem::size_of;

/// Bytes of control messages that one datagram can have. All that this program asks for take less than 200.
pub(super) const CAPACITY: usize = 320;

/// A control buffer with the alignment that `cmsghdr` needs.
#[repr(C, align(8))]
#[derive(Clone, Copy)]
pub(super) struct ControlBuffer([u8; CAPACITY]);

impl ControlBuffer {
    pub(super) const fn new() -> Self {
        Self([0; CAPACITY])
    }

    pub(super) fn as_mut_ptr(&mut self) -> *mut libc::c_void {
        self.0.as_mut_ptr().cast()
    }
}

/// Plain old data that may stand in a control message: any bit pattern is a value, and there is no padding to leak.
///
/// # Safety
///
/// Only for types of which both holds.
pub(super) unsafe trait Plain: Copy {}
// SAFETY: integers.
unsafe impl Plain for u8 {}
// SAFETY: integers.
unsafe impl Plain for u16 {}
// SAFETY: integers.
unsafe impl Plain for i32 {}
// SAFETY: integers.
unsafe impl Plain for u32 {}
// SAFETY: three pairs of integers of the same size.
unsafe impl Plain for [libc::timespec; 3] {}
// SAFETY: integers in network order, no padding.
unsafe impl Plain for libc::in_pktinfo {}
// SAFETY: sixteen bytes and an integer, no padding.
unsafe impl Plain for libc::in6_pktinfo {}
// SAFETY: integers, explicitly padded.
unsafe impl Plain for libc::sock_extended_err {}
// SAFETY: integers and bytes, explicitly padded.
unsafe impl Plain for libc::sockaddr_in {}
// SAFETY: integers and bytes, no padding.
unsafe impl Plain for libc::sockaddr_in6 {}

/// Appends a control message to the buffer of `header`, whose `msg_controllen` says how much is used so far.
///
/// `header.msg_control` must point to a [`ControlBuffer`].
pub(super) fn push<T: Plain>(
    header: &mut libc::msghdr,
    buffer: &mut ControlBuffer,
    level: i32,
    kind: i32,
    value: T,
) {
    let used = header.msg_controllen;
    let length = u32::try_from(size_of::<T>()).expect("control values are a few bytes");
    // SAFETY: CMSG_SPACE and CMSG_LEN only compute.
    let (space, len) = unsafe { (libc::CMSG_SPACE(length) as usize, libc::CMSG_LEN(length) as usize) };
    assert!(used + space <= CAPACITY, "control messages fit by construction");
    // SAFETY: `used` is a sum of CMSG_SPACE, so it is aligned for a header, and `space` bytes from it lie in the buffer.
    unsafe {
        let at = buffer.0.as_mut_ptr().add(used).cast::<libc::cmsghdr>();
        at.write(libc::cmsghdr { cmsg_len: len, cmsg_level: level, cmsg_type: kind });
        libc::CMSG_DATA(at).cast::<T>().write_unaligned(value);
    }
    header.msg_control = buffer.as_mut_ptr();
    header.msg_controllen = used + space;
}

/// The control messages of a received header.
pub(super) struct Messages<'a> {
    header: &'a libc::msghdr,
    next: *const libc::cmsghdr,
}

/// One control message.
pub(super) struct Message<'a> {
    pub(super) level: i32,
    pub(super) kind: i32,
    data: &'a [u8],
}

impl<'a> Messages<'a> {
    /// # Safety
    ///
    /// `header.msg_control` points to `msg_controllen` bytes that the kernel filled, alive and unchanged for `'a`.
    pub(super) unsafe fn of(header: &'a libc::msghdr) -> Self {
        // SAFETY: as promised by the caller.
        let next = unsafe { libc::CMSG_FIRSTHDR(header) };
        Self { header, next }
    }
}

impl<'a> Iterator for Messages<'a> {
    type Item = Message<'a>;

    fn next(&mut self) -> Option<Message<'a>> {
        if self.next.is_null() {
            return None;
        }
        // SAFETY: CMSG_FIRSTHDR and CMSG_NXTHDR return null or a header that lies whole within the control bytes, which
        // the kernel wrote: `cmsg_len` counts the header and the data behind it.
        unsafe {
            let current = self.next;
            self.next = libc::CMSG_NXTHDR(self.header, current);
            let data = libc::CMSG_DATA(current);
            let length = (*current).cmsg_len.saturating_sub(libc::CMSG_LEN(0) as usize);
            Some(Message {
                level: (*current).cmsg_level,
                kind: (*current).cmsg_type,
                data: std::slice::from_raw_parts(data, length),
            })
        }
    }
}

impl Message<'_> {
    /// The value, when the message is long enough for one.
    pub(super) fn value<T: Plain>(&self) -> Option<T> {
        self.value_at(0)
    }

    /// The value that begins `offset` bytes into the message.
    pub(super) fn value_at<T: Plain>(&self, offset: usize) -> Option<T> {
        let bytes = self.data.get(offset..)?;
        // SAFETY: there are enough bytes, and any of them make a `T`.
        (bytes.len() >= size_of::<T>()).then(|| unsafe { bytes.as_ptr().cast::<T>().read_unaligned() })
    }

    /// A TOS or hop limit, which the kernel writes as one byte or as an integer.
    pub(super) fn octet(&self) -> Option<u8> {
        match self.value::<i32>() {
            Some(wide) => u8::try_from(wide).ok(),
            None => self.value::<u8>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_pushed_is_read_back() {
        let mut buffer = ControlBuffer::new();
        // SAFETY: a zeroed header is an empty one.
        let mut header: libc::msghdr = unsafe { std::mem::zeroed() };
        push(&mut header, &mut buffer, 1, 37, 0x0102_0304_u32);
        push(&mut header, &mut buffer, 0, 1, 46_u8 << 2);
        // SAFETY: the buffer outlives the iterator.
        let read: Vec<_> = unsafe { Messages::of(&header) }
            .map(|message| (message.level, message.kind, message.value::<u8>(), message.value::<u32>()))
            .collect();
        assert_eq!(read.len(), 2);
        assert_eq!((read[0].0, read[0].1, read[0].3), (1, 37, Some(0x0102_0304)));
        assert_eq!((read[1].0, read[1].1, read[1].2, read[1].3), (0, 1, Some(184), None));
    }

    #[test]
    fn an_octet_may_come_as_an_integer() {
        let wide = Message { level: 0, kind: 0, data: &64_i32.to_ne_bytes() };
        let narrow = Message { level: 0, kind: 0, data: &[184] };
        let absurd = Message { level: 0, kind: 0, data: &4_096_i32.to_ne_bytes() };
        assert_eq!((wide.octet(), narrow.octet(), absurd.octet()), (Some(64), Some(184), None));
    }
}
