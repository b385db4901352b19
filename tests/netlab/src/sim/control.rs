//! The control stream in virtual time: messages in order, each a packet that crosses the link and is sent again until it came.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;

use greenroom_reports::units::Micros;

/// What a message's packet begins with, where probes have their number: never the number of one that is measured.
const MARK: [u8; 4] = [0xff; 4];
/// A message fits into one packet of this many octets.
const PAYLOAD: usize = 1_100;
/// Backs off no further than this.
const MOST_WAIT: Micros = Micros::from_secs(2);

/// One direction of a control stream, seen from both of its ends.
///
/// Only time is simulated: a packet says which message it stands for, and the sender knows at once that it came.
pub(super) struct Control<M>(Rc<RefCell<Messages<M>>>);

struct Messages<M> {
    /// Those that the receiver has not read.
    unread: VecDeque<Message<M>>,
    /// Number of the first of them.
    first: u32,
}

struct Message<M> {
    content: M,
    /// When it is to be sent, or sent again.
    due: Micros,
    wait: Micros,
    arrived: bool,
}

impl<M> Control<M> {
    pub(super) fn new() -> Self {
        Self(Rc::new(RefCell::new(Messages { unread: VecDeque::new(), first: 0 })))
    }

    /// The same stream for its other end.
    pub(super) fn other_end(&self) -> Self {
        Self(Rc::clone(&self.0))
    }

    /// Sends a message; what is lost is sent again after `wait`, then after twice as long, and so on.
    pub(super) fn send(&self, now: Micros, wait: Micros, content: M) {
        self.0.borrow_mut().unread.push_back(Message { content, due: now, wait, arrived: false });
    }

    /// When a packet is next to be sent.
    pub(super) fn due(&self) -> Option<Micros> {
        self.0.borrow().unread.iter().filter(|message| !message.arrived).map(|message| message.due).min()
    }

    /// Writes a packet that is due.
    pub(super) fn poll(&self, now: Micros, payload: &mut Vec<u8>) -> bool {
        let mut messages = self.0.borrow_mut();
        let first = messages.first;
        let due = (first..).zip(&mut messages.unread).find(|(_, it)| !it.arrived && it.due <= now);
        let Some((number, message)) = due else { return false };
        message.due = now + message.wait;
        message.wait = (message.wait * 2).min(MOST_WAIT);
        payload.clear();
        payload.extend(MARK);
        payload.extend(number.to_be_bytes());
        payload.resize(PAYLOAD, 0);
        true
    }

    /// Takes a packet in, if it is one of this stream.
    pub(super) fn receive(&self, payload: &[u8]) -> bool {
        let Some(number) = number_of(payload) else { return false };
        let mut messages = self.0.borrow_mut();
        let place = number.checked_sub(messages.first).and_then(|place| usize::try_from(place).ok());
        if let Some(message) = place.and_then(|place| messages.unread.get_mut(place)) {
            message.arrived = true;
        }
        true
    }

    /// The next message, once it and all before it have come.
    pub(super) fn read(&self) -> Option<M> {
        let mut messages = self.0.borrow_mut();
        messages.unread.front().filter(|message| message.arrived)?;
        messages.first += 1;
        messages.unread.pop_front().map(|message| message.content)
    }
}

/// Whether a datagram belongs to a control stream.
pub(super) fn is_control(payload: &[u8]) -> bool {
    number_of(payload).is_some()
}

fn number_of(payload: &[u8]) -> Option<u32> {
    let rest = payload.strip_prefix(&MARK)?;
    rest.first_chunk().copied().map(u32::from_be_bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_lost_is_sent_again_and_read_in_order() {
        let (here, wait) = (Control::new(), Micros::from_millis(100));
        let there = here.other_end();
        here.send(Micros::ZERO, wait, 'a');
        here.send(Micros::ZERO, wait, 'b');
        let (mut lost, mut kept) = (Vec::new(), Vec::new());
        assert!(here.poll(Micros::ZERO, &mut lost) && here.poll(Micros::ZERO, &mut kept));
        assert!(!here.poll(Micros::ZERO, &mut Vec::new()), "both are under way");

        assert!(there.receive(&kept) && is_control(&kept));
        assert_eq!(there.read(), None, "a comes before b");
        assert_eq!(here.due(), Some(wait));
        assert!(here.poll(wait, &mut lost));
        assert!(there.receive(&lost));
        assert_eq!([there.read(), there.read(), there.read()], [Some('a'), Some('b'), None]);
        assert_eq!(here.due(), None);
        assert!(there.receive(&kept), "a copy is taken in and changes nothing");
        assert!(!there.receive(b"audio"));
    }
}
