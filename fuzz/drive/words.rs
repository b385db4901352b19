use bytes::Bytes;
use greenroom::address::EndpointUrl;
use greenroom::address::Fingerprint;
use greenroom::cli::values;
use greenroom::net::udp::Interface;
use greenroom::net::ws;
use greenroom::proto::admission::TokenSet;
use greenroom::proto::stamp::SessionKey;

/// Reads the input as everything that people write in one word, and as a message of the WebSocket.
pub(crate) fn drive(data: &[u8]) {
    if let Ok(ws::Frame::Datagram(content) | ws::Frame::Control(content)) =
        ws::Frame::parse(&Bytes::copy_from_slice(data))
    {
        assert_eq!(content, data[1..]);
    }
    let Ok(text) = std::str::from_utf8(data) else { return };
    endpoint(text);
    if let Ok(pin) = text.parse::<Fingerprint>() {
        assert_eq!(pin.to_string().parse(), Ok(pin));
    }
    let tokens = TokenSet::parse(text);
    assert!(tokens.len() <= text.lines().count());
    let _ = SessionKey::try_from(text.to_owned());
    let _ = Interface::parse(text);
    for written in [text, &format!("1{text}"), &format!("{text}M")] {
        let _ = values::size(written);
        let _ = values::bitrate(written);
        let _ = values::duration(written);
        let _ = values::traffic_item(written);
        let _ = values::traffic_item(&format!("video@{written}"));
    }
    let items: Vec<String> = text.split(',').map(str::to_owned).collect();
    assert!(
        values::uses(&items).is_ok_and(|uses| uses.len() <= items.len()) || values::uses(&items).is_err()
    );
}

/// An endpoint's address: what is shown of it reads as the same, but for the pin; what is refused as a secret is not told.
fn endpoint(text: &str) {
    match text.parse::<EndpointUrl>() {
        Ok(url) => {
            let again = EndpointUrl { pin: None, ..url.clone() };
            assert_eq!(url.to_string().parse(), Ok(again));
        }
        Err(error) => {
            let secret = text.split_once('@').map(|(secret, _)| secret);
            if let Some(secret) = secret.filter(|secret| secret.len() > 20) {
                assert!(!error.to_string().contains(secret));
            }
        }
    }
}
