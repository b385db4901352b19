//! A client by WebTransport: the control stream, and packets as datagrams.

use bytes::Bytes;
use greenroom::proto::control::Decoder;
use greenroom_reports::units::Micros;
use url::Url;
use web_transport_quinn::ClientBuilder;

use super::{Audio, Coming, Crowd, Done, accepted, hello};
use crate::Fallible;

pub(super) async fn run(shared: &Crowd, token: &str, phase: Micros, coming: Coming) -> Fallible<Done> {
    // With a socket of its own, as every browser has.
    let client = ClientBuilder::new().with_server_certificate_hashes(vec![shared.certificate.to_vec()])?;
    let url = Url::parse(&format!("https://{}/media", shared.media))?;
    let session = client.connect(url).await?;
    let (mut send, mut receive) = session.open_bi().await?;
    send.write_all(&hello(token)?).await?;
    let mut decoder = Decoder::new();
    let accept = loop {
        if let Some(accept) = accepted(&mut decoder)? {
            break accept;
        }
        let chunk = receive.read_chunk(65_536, true).await?.ok_or("the endpoint hung up")?;
        decoder.push(&chunk.bytes);
    };
    coming.arrive().await;
    let mut audio = Audio::begin(shared, &accept, phase);
    while !audio.is_over(shared) {
        while let Some(packet) = audio.due() {
            session.send_datagram(Bytes::copy_from_slice(packet))?;
        }
        let next = shared.clock.instant(audio.next()).into();
        tokio::select! {
            packet = session.read_datagram() => audio.take(&packet?),
            // The endpoint's log: read, so that it does not wait.
            chunk = receive.read_chunk(65_536, true) => drop(chunk?.ok_or("the endpoint hung up")?),
            () = tokio::time::sleep_until(next) => {}
        }
    }
    Ok((audio.seen(), Box::new((client, session))))
}
