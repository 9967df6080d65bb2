use super::*;
use rtnetlink::packet_core::{Emitable, Parseable};

const MAC: [u8; 6] = [2, 0, 0, 0, 0, 7];

/// As the kernel writes it: through its bytes.
fn heard(
    state: NeighbourState,
    mac: &[u8],
    flags: NeighbourFlags,
) -> Option<(NeighbourKey, Neighbour)> {
    let mut message = message(key("fe80::7"));
    message.header.state = state;
    message.header.flags = flags;
    let mac = NeighbourAttribute::LinkLayerAddress(mac.to_vec());
    message.attributes.push(mac);
    let mut bytes = vec![0; message.buffer_len()];
    message.emit(&mut bytes);
    read(&NeighbourMessage::parse(&bytes).expect("well-formed"))
}

fn key(addr: &str) -> NeighbourKey {
    NeighbourKey {
        ifindex: 4,
        addr: addr.parse().expect("address"),
    }
}

#[test]
fn every_state_of_the_kernel_has_its_meaning() {
    let there = Neighbour::There(Mac(MAC));
    for (state, expected) in [
        (NeighbourState::Reachable, there),
        (NeighbourState::Permanent, there),
        (NeighbourState::Noarp, there),
        (NeighbourState::Delay, there),
        (NeighbourState::Probe, there),
        (NeighbourState::Stale, Neighbour::Stale(Mac(MAC))),
        (NeighbourState::Incomplete, Neighbour::Resolving),
        (NeighbourState::Failed, Neighbour::Failed),
        (NeighbourState::None, Neighbour::Unknown),
        (NeighbourState::Other(0x300), Neighbour::Unknown),
    ] {
        let heard = heard(state, &MAC, NeighbourFlags::Router);
        assert_eq!(heard, Some((key("fe80::7"), expected)), "{state:?}");
    }
}

#[test]
fn a_neighbour_without_a_mac_address_is_not_there() {
    for state in [NeighbourState::Reachable, NeighbourState::Stale] {
        for mac in [&[][..], &[0; 6], &[1; 20]] {
            let heard = heard(state, mac, NeighbourFlags::empty());
            assert_eq!(heard, Some((key("fe80::7"), Neighbour::Unknown)));
        }
    }
}

#[test]
fn neither_proxies_nor_a_bridges_table_are_neighbours() {
    assert_eq!(
        heard(NeighbourState::Permanent, &MAC, NeighbourFlags::Proxy),
        None
    );
    let mut fdb = NeighbourMessage::default();
    fdb.header.family = AddressFamily::Bridge;
    fdb.header.state = NeighbourState::Reachable;
    fdb.attributes = vec![NeighbourAttribute::LinkLayerAddress(MAC.to_vec())];
    assert_eq!(read(&fdb), None);
}

#[test]
fn in_use_changes_nothing_but_the_use() {
    let told = in_use(key("192.0.2.7"));
    assert_eq!(told.header.flags, NeighbourFlags::Use);
    assert_eq!(told.header.state, NeighbourState::None);
    assert_eq!(told.header.family, AddressFamily::Inet);
    assert_eq!(told.attributes.len(), 1, "the address, and no MAC address");
}
