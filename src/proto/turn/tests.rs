//! The client against what servers may answer, and the frames against hostile octets.

use proptest::prelude::*;

use super::*;

const ID: TransactionId = TransactionId([3; 12]);

/// An answer to a request of this method: the class is put in by hand.
fn answer(method: u16, class: u16, fill: impl FnOnce(&mut Writer)) -> Vec<u8> {
    let mut writer = Writer::request(method, ID);
    fill(&mut writer);
    let mut octets = writer.finish();
    // FINGERPRINT no longer fits, which the client leaves to its user.
    octets[0] |= u8::try_from(class >> 8).unwrap();
    octets[1] |= u8::try_from(class & 0xff).unwrap();
    octets
}

fn error(code: u16, challenge: bool) -> Vec<u8> {
    answer(3, 0x110, |writer| {
        writer.add(9, &[0, 0, u8::try_from(code / 100).unwrap(), u8::try_from(code % 100).unwrap()]);
        if challenge {
            writer.add(REALM, b"realm");
            writer.add(NONCE, b"nonce");
        }
    })
}

fn told(client: &mut Client, octets: &[u8]) -> Option<Answer> {
    client.answer(Ask::Allocate, ID, &Message::parse(octets).unwrap())
}

fn known() -> Client {
    Client::new(Credentials::new("alice", "hunter2"))
}

#[test]
fn a_challenge_is_answered_once_and_the_next_means_wrong_credentials() {
    let mut client = known();
    assert_eq!(told(&mut client, &error(401, true)), Some(Answer::AskAgain));
    let request = client.request(Ask::Allocate, ID);
    let message = Message::parse(&request).unwrap();
    let key = Key::of(&Credentials::new("alice", "hunter2").unwrap(), b"realm");
    assert_eq!(message.integrity(key.expose()), Checked::Fits);
    assert_eq!(message.fingerprint(), Checked::Fits);
    assert!(!request.windows(7).any(|part| part == b"hunter2"));
    assert_eq!(told(&mut client, &error(401, true)), Some(Answer::Refused(Refusal::WrongCredentials)));
}

#[test]
fn a_server_that_finds_every_nonce_stale_is_left() {
    let mut client = known();
    for _ in 0..RENEWALS {
        assert_eq!(told(&mut client, &error(438, true)), Some(Answer::AskAgain));
    }
    assert_eq!(told(&mut client, &error(438, true)), Some(Answer::Refused(Refusal::Malformed)));
}

#[test]
fn every_refusal_has_its_name() {
    let table = [
        (300, Refusal::Elsewhere(None)),
        (403, Refusal::Forbidden),
        (437, Refusal::Mismatch),
        (441, Refusal::WrongCredentials),
        (486, Refusal::Quota),
        (508, Refusal::Full),
        (500, Refusal::Other(500)),
        (401, Refusal::Malformed),
    ];
    for (code, refusal) in table {
        assert_eq!(told(&mut known(), &error(code, false)), Some(Answer::Refused(refusal)), "{code}");
    }
    let nobody = told(&mut Client::new(None), &error(401, true));
    assert_eq!(nobody, Some(Answer::Refused(Refusal::NoCredentials)));
}

#[test]
fn an_allocation_counts_only_when_it_is_signed() {
    let relayed: SocketAddr = "192.0.2.1:50000".parse().unwrap();
    let fill = |writer: &mut Writer| {
        writer.add_xored_address(XOR_RELAYED_ADDRESS, relayed);
        writer.add(LIFETIME, &600_u32.to_be_bytes());
    };
    let granted = answer(3, 0x100, fill);
    let allocation = Allocation { relayed, mapped: None, lifetime: Micros::from_secs(600) };
    assert_eq!(told(&mut Client::new(None), &granted), Some(Answer::Done(Some(allocation))));
    let mut client = known();
    assert_eq!(told(&mut client, &error(401, true)), Some(Answer::AskAgain));
    assert_eq!(told(&mut client, &granted), Some(Answer::Refused(Refusal::Malformed)));
    assert_eq!(
        told(&mut Client::new(None), &answer(3, 0x100, |_| ())),
        Some(Answer::Refused(Refusal::Malformed))
    );
    assert_eq!(told(&mut Client::new(None), &answer(4, 0x100, |_| ())), None, "another method");
}

#[test]
fn a_stream_is_cut_where_its_pieces_end() {
    let request = known().request(Ask::ChannelBind(FIRST_CHANNEL, "[::1]:5".parse().unwrap()), ID);
    let mut stream = write_channel_data(FIRST_CHANNEL, b"hello", true);
    assert_eq!(stream.len(), 12);
    stream.extend(&request);
    let mut deframer = Deframer::default();
    let mut pieces = Vec::new();
    for octet in stream {
        deframer.push(&[octet]);
        pieces.extend(deframer.pop().unwrap());
    }
    assert_eq!(pieces, [Piece::Data(FIRST_CHANNEL, b"hello".to_vec()), Piece::Stun(request)]);
    for foreign in ["HTTP/1.1 400 Bad Request", "220 mail.example ESMTP", "SSH-2.0"] {
        let mut deframer = Deframer::default();
        deframer.push(foreign.as_bytes());
        assert_eq!(deframer.pop(), Err(NotTurn), "{foreign}");
    }
}

proptest! {
    #[test]
    fn hostile_octets_never_panic(octets in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = channel_data(&octets);
        let mut deframer = Deframer::default();
        deframer.push(&octets);
        while let Ok(Some(_)) = deframer.pop() {}
    }

    #[test]
    fn channel_data_is_read_as_written(data in prop::collection::vec(any::<u8>(), 0..2_000), padded: bool) {
        let written = write_channel_data(FIRST_CHANNEL, &data, padded);
        prop_assert_eq!(channel_data(&written), Some((FIRST_CHANNEL, &data[..])));
    }
}
