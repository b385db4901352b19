//! The codec against the test vectors of RFC 5769, and against what is no STUN.

use super::*;

const PASSWORD: &[u8] = b"VOkJxbRl1RmTxUk/WvJxBt";

/// RFC 5769 section 2.1.
const REQUEST: &str = "000100582112a442b7e7a701bc34d686fa87dfae802200105354554e207465737420636c69656e74\
    002400046e0001ff80290008932ff9b151263b36000600096576746a3a68367659202020\
    000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a280280004e57a3bcf";
/// RFC 5769 section 2.2.
const V4_RESPONSE: &str = "0101003c2112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000080001a147e112a643000800142b91f599fd9e90c38c7489f92af9ba53f06be7d780280004c07d4c96";
/// RFC 5769 section 2.3.
const V6_RESPONSE: &str = "010100482112a442b7e7a701bc34d686fa87dfae8022000b7465737420766563746f7220\
    002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d900080014a382954e4be67bf11784c97c8292c275bfe3ed41\
    80280004c8fb0b4c";

fn octets(hex: &str) -> Vec<u8> {
    let digits: Vec<char> = hex.chars().filter(char::is_ascii_hexdigit).collect();
    let pair = |pair: &[char]| u8::from_str_radix(&pair.iter().collect::<String>(), 16).expect("digits");
    digits.chunks(2).map(pair).collect()
}

#[test]
fn the_vectors_of_rfc_5769_are_read_and_verify() {
    let id = TransactionId(octets("b7e7a701bc34d686fa87dfae").try_into().expect("12 octets"));
    let table = [
        (REQUEST, Class::Request, "STUN test client", None),
        (V4_RESPONSE, Class::Success, "test vector", Some("192.0.2.1:32853")),
        (V6_RESPONSE, Class::Success, "test vector", Some("[2001:db8:1234:5678:11:2233:4455:6677]:32853")),
    ];
    for (hex, class, software, mapped) in table {
        let raw = octets(hex);
        let message = Message::parse(&raw).expect("STUN");
        assert_eq!((message.class, message.method, message.id), (class, BINDING, id));
        assert_eq!(message.software(), Some(software));
        assert_eq!(message.mapped_address(), mapped.map(|at| at.parse().expect("an address")));
        assert_eq!(message.fingerprint(), Checked::Fits);
        assert_eq!(message.integrity(PASSWORD), Checked::Fits);
        assert_eq!(message.integrity(b"another"), Checked::Differs);
        assert_eq!(message.is_binding_answer(), class == Class::Success);
    }
}

#[test]
fn one_bit_of_damage_anywhere_is_noticed() {
    let whole = octets(V4_RESPONSE);
    for bit in 0..whole.len() * 8 {
        let mut damaged = whole.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        let fits = Message::parse(&damaged).is_ok_and(|message| message.fingerprint() == Checked::Fits);
        assert!(!fits, "bit {bit}");
    }
}

#[test]
fn a_request_of_ours_is_what_the_rfc_asks_for() {
    let mut request = vec![1, 2, 3];
    let id = TransactionId([7; 12]);
    write_binding_request(id, &mut request);
    let message = Message::parse(&request).expect("STUN");
    assert_eq!((message.class, message.method, message.id), (Class::Request, BINDING, id));
    assert_eq!(message.fingerprint(), Checked::Fits);
    assert_eq!(message.integrity(b"any"), Checked::Absent);
    assert_eq!(request.len(), 28);
}

#[test]
fn what_is_no_stun_says_why() {
    let whole = octets(V4_RESPONSE);
    let changed = |at: usize, octet: u8| {
        let mut changed = whole.clone();
        changed[at] = octet;
        changed
    };
    let table = [
        (Vec::new(), NotStun::Header),
        (whole[..19].to_vec(), NotStun::Header),
        (changed(0, 0x81), NotStun::Header),
        (changed(4, 0), NotStun::Cookie),
        (changed(3, 0x3d), NotStun::Length),
        (whole[..whole.len() - 4].to_vec(), NotStun::Length),
        // SOFTWARE that is longer than the message.
        (changed(22, 0xff), NotStun::Attribute),
    ];
    for (octets, why) in table {
        assert_eq!(Message::parse(&octets), Err(why), "{octets:02x?}");
    }
}

#[test]
fn an_error_has_its_number() {
    let mut error = octets("0111000c2112a442b7e7a701bc34d686fa87dfae0009000800000414");
    error.extend(b"Oops");
    let message = Message::parse(&error).expect("STUN");
    assert_eq!((message.class, message.error_code()), (Class::Error, Some(420)));
    error[26] = 9;
    assert_eq!(Message::parse(&error).expect("STUN").error_code(), None, "no such class");
}
