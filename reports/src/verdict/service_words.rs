//! What a cause says that services, names and clocks are: see [`super::words`].

/// Code, sentence, advice (empty: none).
pub(super) const TABLE: &[(&str, &str, &str)] = &[
    (
        "round_trips_lost",
        "About {percent} % of the questions to {host} were lost on the way, or their answers.",
        "Use a cable, or move closer to your Wi-Fi router. If it stays, ask your internet provider.",
    ),
    (
        "nat_changes_mapping",
        "Your public address or port changed in the middle of a conversation with {host}.",
        "Restart the router; calls may break off until then. On a mobile or company network, ask whoever runs it.",
    ),
    (
        "nat_symmetric",
        "The router gives you another public address or port for every {what} that you speak to.",
        "Calls over a server work. Those straight from person to person need a relay (TURN): see that the application has one.",
    ),
    (
        "marked_packets_dropped",
        "Packets to {host} marked {marks} are lost {way}, while others arrive.",
        "Ask whoever runs the network to let packets with this mark through, or switch marking (QoS) off in the application.",
    ),
    (
        "congestion_marked",
        "{percent} % of the packets to {host} are marked on the way as having met a full queue.",
        "Programs that heed it send less: stop other uploads and downloads, and see whether it stays.",
    ),
    (
        "no_reflector",
        "{host} answers no STAMP test packets, and no echo requests.",
        "Most hosts do not, by choice: it says nothing about calls. Marks are seen best by a STAMP reflector.",
    ),
    (
        "connections_fail",
        "{failed} of {tried} connections to {host} failed.",
        "Try again in a minute; if it stays, show the details to whoever runs it.",
    ),
    (
        "service_part_fails",
        "{part} of {service} will not work: {without}.",
        "Show the list of hosts and ports to whoever runs this network: it names what is in the way.",
    ),
    (
        "application_file_fails",
        "A file of this application does not load: {part}.",
        "Load the page again, without ad blocker if you have one. If it stays, show the details to support.",
    ),
    (
        "mtu_black_hole",
        "Packets of more than {bytes} bytes to {host} vanish on the way, and nobody is told.",
        "Ask whoever runs the network or VPN to let ICMP through ('packet too big'), or to clamp TCP's segments (MSS).",
    ),
    (
        "certificate_unexpected",
        "{host} shows another certificate than the one expected.",
        "A proxy or firewall may be opening encrypted traffic: ask the network's administrator.",
    ),
    (
        "tls_intercepted",
        "{by} opens the encrypted connection to {host} on the way.",
        "Ask the network's administrator to let {host} through unopened.",
    ),
    (
        "certificate_private",
        "{host} shows a certificate that this computer trusts and the public does not ({by}).",
        "That is right for a company's own service; for any other, a proxy opens the connection.",
    ),
    (
        "certificate_expired",
        "The certificate of {host} ended at {when}.",
        "Ask whoever runs the service to renew it.",
    ),
    (
        "certificate_not_yet_valid",
        "The certificate of {host} only begins at {when}.",
        "Set this computer's clock; if it is right, ask whoever runs the service.",
    ),
    (
        "certificate_wrong_name",
        "{host} shows a certificate for other names: {names}.",
        "Sign in to the network in a browser if it asks for that; otherwise check the address.",
    ),
    (
        "certificate_untrusted",
        "Nobody whom this computer trusts vouches for the certificate of {host}.",
        "On a company network, install its certificate; otherwise ask whoever runs the service.",
    ),
    (
        "certificate_revoked",
        "The certificate of {host} was taken back by its issuer.",
        "Ask whoever runs the service to replace it.",
    ),
    (
        "certificate_refused",
        "The certificate of {host} does not hold.",
        "Show the details to support: {detail}.",
    ),
    (
        "certificate_ending",
        "The certificate of {host} ends in {days} days.",
        "Whoever runs the service should renew it now.",
    ),
    (
        "captive_portal",
        "This network wants you to sign in before it lets you through.",
        "Open any web page in a browser, sign in, and run the check again.",
    ),
    (
        "vpn_on_the_way",
        "Your traffic goes through a VPN or tunnel ({names}).",
        "If calls are bad, try one without it: it may be a detour, and narrow.",
    ),
    (
        "proxy_set",
        "A proxy is set on this computer: {names}.",
        "Programs that heed it send web requests there; media mostly go past it, or not at all.",
    ),
    (
        "http3_fails",
        "{host} offers HTTP/3, and it does not work from here.",
        "Web pages take TCP instead; if UDP is what does not get through, calls suffer: ask whoever runs the network.",
    ),
    (
        "service_error",
        "{host} answers that it cannot serve (status {status}).",
        "Try again in a few minutes, and look at the service's status page.",
    ),
    (
        "service_slow",
        "{host} takes {ms} ms to answer.",
        "It is the service that is slow, not your network: try again later, or tell whoever runs it.",
    ),
    (
        "websocket_broken",
        "The connection to {host} did not stand until the end.",
        "Programs connect again; if calls drop, show the details to the network's administrator.",
    ),
    (
        "clock_wrong",
        "This computer's clock is {seconds} s {way}.",
        "Let the system set the time by itself: tokens and certificates fail with a wrong clock.",
    ),
    (
        "name_not_there",
        "There is no address for the name {name}.",
        "Check the spelling; if it is right, whoever runs the service has to enter it.",
    ),
    (
        "name_goes_in_circles",
        "The name {name} is an alias of itself.",
        "Whoever runs the service has to mend its entry.",
    ),
    (
        "name_server_refuses",
        "Your network's name servers do not answer this computer's questions for {name}.",
        "Ask the network's administrator, or use another name server.",
    ),
    (
        "name_server_fails",
        "Your network's name servers fail to find {name}.",
        "Try again in a minute, or use another name server.",
    ),
    (
        "name_server_silent",
        "A name server of this computer does not answer ({servers}).",
        "Restart the router, or take that server out of the network settings: each question waits for it.",
    ),
    (
        "name_server_invents",
        "The name server {server} makes up addresses for names that do not exist.",
        "Sign in to the network in a browser if it asks for that; otherwise use another name server.",
    ),
    (
        "names_lost",
        "The name server {server} leaves {percent} % of the questions unanswered.",
        "Use another name server, or restart the router.",
    ),
    (
        "names_slow",
        "The name server {server} takes {ms} ms to answer.",
        "Use another name server, or restart the router.",
    ),
    (
        "ipv6_broken",
        "This computer has IPv6 addresses, and nothing gets through over IPv6.",
        "Calls work over IPv4 and begin later than they could: restart the router, or ask your internet provider.",
    ),
    (
        "relay_loses",
        "About {percent} % of the audio sent through {host} is lost, on the way there or back.",
        "Use a cable, or move closer to your Wi-Fi router. If it stays, use a relay that is nearer.",
    ),
    (
        "relay_without_udp",
        "{host} cannot be used over UDP from here, and relays over {instead} instead.",
        "Calls through it work and stutter when packets are lost: ask the network's administrator to allow UDP to it.",
    ),
    (
        "relay_by_udp_alone",
        "{host} relays over UDP alone from here.",
        "Whoever is behind a firewall that blocks UDP cannot use it: whoever runs the relay should offer TLS on port 443.",
    ),
    (
        "no_echo",
        "{host} answers no echo requests.",
        "Many hosts do not, by choice: it says nothing about calls.",
    ),
];
