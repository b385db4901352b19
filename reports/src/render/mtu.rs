//! The largest packet, as rows to show.

use super::figures::{Cell, Row, cell, once};
use super::{number, words};
use crate::schema::{MtuBy, MtuDetails};

pub(super) fn mtu(mtu: &MtuDetails) -> Vec<Row> {
    let exact = match mtu.by {
        MtuBy::EchoRequests => "path MTU by echo requests that nobody may cut up (RFC 8899)",
        MtuBy::ClosedPort => "path MTU by datagrams to a closed port that nobody may cut up (RFC 8899)",
        MtuBy::Reflector => "path MTU by STAMP packets that nobody may cut up (RFC 8899)",
    };
    let mut rows = vec![
        once("Largest packet that gets there", exact, bytes(&mtu.path_mtu_bytes, mtu)),
        once(
            "Largest UDP payload",
            "without the headers of IP and UDP",
            cell(&mtu.udp_payload_bytes, |size| Cell::bare(octets(size.value.into()))),
        ),
        once(
            "This computer's link",
            "MTU of the interface",
            cell(&mtu.link_mtu_bytes, |size| Cell::bare(octets(size.value.into()))),
        ),
        once("Larger packets", "what becomes of them", Cell::bare(words::prose(&larger(mtu)))),
    ];
    if let Some(why) = &mtu.why_not_echo {
        let said = format!("by the errors of a closed port, which are often limited: {why}");
        rows.push(once("Measured", "echo requests where they can be sent", Cell::bare(words::prose(&said))));
    }
    rows.push(once("Packets", "sent", Cell::bare(number::count(mtu.probes))).full());
    rows
}

fn bytes(found: &crate::schema::Value<crate::schema::Exact<u16>>, mtu: &MtuDetails) -> Cell {
    cell(found, |size| {
        let most = mtu.path_mtu_at_most_bytes;
        Cell::bare(match most > size.value {
            true => format!("{} or more, up to {most}", octets(size.value.into())),
            false => octets(size.value.into()),
        })
    })
}

fn octets(size: u32) -> String {
    words::prose(&format!("{size} bytes"))
}

fn larger(mtu: &MtuDetails) -> String {
    let whole = mtu.path_mtu_bytes.fact() == mtu.link_mtu_bytes.fact();
    match (mtu.black_hole.fact(), mtu.vanished_from_bytes.fact(), mtu.too_big_bytes.fact()) {
        (Some(true), Some(from), _) => format!(
            "vanish from {from} bytes on without anybody saying so (a black hole): programs that rely on being told hang"
        ),
        (_, _, Some(most)) => {
            let by = mtu.too_big_from.as_deref().unwrap_or("a router");
            format!("{by} says that no more than {most} bytes go on from there, as it should")
        }
        (Some(false), ..) if whole => "this computer's own link is the limit".to_owned(),
        (Some(false), ..) => "this computer does not send them".to_owned(),
        _ => "the search did not come to its end".to_owned(),
    }
}
