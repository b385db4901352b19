//! What a server's answer to an offer of media says (RFC 8839, RFC 8866), as far as it is told or decides what can be done.

use greenroom_reports::schema::WhipCandidate;
use greenroom_reports::verdict::TargetFailure;

/// Addresses that are kept; servers name a handful.
const MOST_CANDIDATES: usize = 32;
/// Characters of a word that are kept.
const LONGEST_WORD: usize = 100;

/// The addresses for media that an answer names, each once.
pub(super) fn candidates(sdp: &str) -> Vec<WhipCandidate> {
    let mut candidates: Vec<WhipCandidate> = Vec::new();
    for line in sdp.lines() {
        let Some(candidate) = line.trim().strip_prefix("a=candidate:").and_then(candidate) else { continue };
        // RTCP goes with RTP; every media section names the same.
        if !candidates.contains(&candidate) && candidates.len() < MOST_CANDIDATES {
            candidates.push(candidate);
        }
    }
    candidates
}

/// `foundation component transport priority address port typ kind …` (RFC 8839 section 5.1).
fn candidate(line: &str) -> Option<WhipCandidate> {
    let words: Vec<&str> = line.split_ascii_whitespace().collect();
    let [_, component, transport, _, address, port, typ, kind, ..] = words[..] else { return None };
    let port: u16 = port.parse().ok()?;
    if typ != "typ" || component != "1" || address.len() > LONGEST_WORD || kind.len() > LONGEST_WORD {
        return None;
    }
    let address =
        if address.contains(':') { format!("[{address}]:{port}") } else { format!("{address}:{port}") };
    Some(WhipCandidate {
        transport: transport.to_ascii_lowercase(),
        kind: kind.to_ascii_lowercase(),
        address,
    })
}

/// What is wrong with an answer, before anything is done by it.
///
/// # Errors
///
/// [`TargetFailure::UnusableAnswer`].
pub(super) fn usable(sdp: &str, candidates: &[WhipCandidate]) -> Result<(), TargetFailure> {
    let unusable = |detail: &str| Err(TargetFailure::UnusableAnswer { detail: detail.to_owned() });
    if !sdp.trim_start().starts_with("v=0") {
        return unusable("it is no session description (SDP)");
    }
    let media: Vec<&str> = sdp.lines().filter_map(|line| line.trim().strip_prefix("m=")).collect();
    let is_refused = |line: &&str| line.split_ascii_whitespace().nth(1) == Some("0");
    if media.is_empty() {
        return unusable("it names no media");
    }
    // With `a=bundle-only` port 0 is no refusal (RFC 9143 section 7.2.2), but an offer's affair; answers use the port of the bundle.
    if media.iter().all(is_refused) {
        return unusable("it refuses both the sound (Opus) and the picture (VP8, H.264)");
    }
    if candidates.is_empty() {
        return unusable("it names no address for media");
    }
    if candidates.iter().all(|candidate| candidate.transport != "udp") {
        return unusable("it names addresses over TCP alone, and this program sends media over UDP");
    }
    Ok(())
}

/// The addresses over UDP, for people.
pub(super) fn addresses(candidates: &[WhipCandidate]) -> String {
    let mut addresses: Vec<&str> = Vec::new();
    for candidate in candidates.iter().filter(|candidate| candidate.transport == "udp") {
        if !addresses.contains(&candidate.address.as_str()) {
            addresses.push(&candidate.address);
        }
    }
    addresses.join(", ")
}

#[cfg(test)]
mod tests {
    use super::*;

    const SDP: &str = "v=0\r\no=- 1 1 IN IP4 0.0.0.0\r\ns=-\r\nt=0 0\r\n\
        m=audio 9 UDP/TLS/RTP/SAVPF 111\r\n\
        a=candidate:1 1 UDP 2130706431 192.0.2.1 8000 typ host generation 0\r\n\
        a=candidate:1 2 UDP 2130706430 192.0.2.1 8000 typ host\r\n\
        m=video 9 UDP/TLS/RTP/SAVPF 96\r\n\
        a=candidate:1 1 udp 2130706431 192.0.2.1 8000 typ host\r\n\
        a=candidate:2 1 tcp 1 2001:db8::1 443 typ srflx raddr :: rport 9 tcptype passive\r\n";

    #[test]
    fn addresses_are_read_once_each() {
        let found = candidates(SDP);
        let shown: Vec<String> =
            found.iter().map(|one| format!("{} {} {}", one.transport, one.kind, one.address)).collect();
        assert_eq!(shown, ["udp host 192.0.2.1:8000", "tcp srflx [2001:db8::1]:443"]);
        assert_eq!(addresses(&found), "192.0.2.1:8000");
        assert_eq!(usable(SDP, &found), Ok(()));
        let many: String =
            (1..100).map(|n| format!("a=candidate:1 1 udp 1 192.0.2.{n} 1 typ host\n")).collect();
        assert_eq!(candidates(&many).len(), MOST_CANDIDATES);
    }

    #[test]
    fn garbage_names_no_address() {
        for line in ["", "1", "1 1 udp 1 a 99999 typ host", "1 1 udp 1 a 1 kind host", "1 1 udp 1 a 1 typ"] {
            assert!(candidates(&format!("a=candidate:{line}\n")).is_empty(), "{line}");
        }
    }

    #[test]
    fn what_leads_nowhere_says_why() {
        for (sdp, words) in [
            ("<html>", "no session description"),
            ("v=0\r\ns=-\r\n", "no media"),
            ("v=0\r\nm=audio 0 x\r\nm=video 0 x\r\n", "refuses both"),
            ("v=0\r\nm=audio 9 x\r\nm=video 0 x\r\n", "no address"),
        ] {
            let Err(TargetFailure::UnusableAnswer { detail }) = usable(sdp, &candidates(sdp)) else {
                panic!("{sdp}")
            };
            assert!(detail.contains(words), "{detail}");
        }
        let tcp = "v=0\r\nm=audio 9 x\r\na=candidate:1 1 tcp 1 192.0.2.1 443 typ host\r\n";
        assert!(usable(tcp, &candidates(tcp)).is_err());
    }
}
