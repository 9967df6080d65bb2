use super::*;
use crate::net::netlink::{LinkKind, Medium};
use crate::net::outer::{Addresses, Mac, Tags};
use std::net::{IpAddr, Ipv4Addr};

const GATEWAY: Ipv4Addr = Ipv4Addr::new(10, 0, 0, 1);
const KEY: NeighbourKey = NeighbourKey {
    ifindex: 3,
    addr: IpAddr::V4(GATEWAY),
};
const MAC: Mac = Mac([2, 0, 0, 0, 0, 1]);
const OTHER_MAC: Mac = Mac([2, 0, 0, 0, 0, 2]);

fn at(millis: u64) -> BootTime {
    BootTime::ZERO + Duration::from_secs(1000) + Duration::from_millis(millis)
}

fn flow(number: u32) -> Flow {
    let [_, b, c, d] = number.to_be_bytes();
    Flow {
        to: (Ipv4Addr::new(192, b, c, d), 51820).into(),
        source: None,
        port: 51820,
        mark: 0,
        tunnel: 0,
    }
}

fn link(running: bool) -> Link {
    Link {
        index: 3,
        name: "wan".into(),
        running,
        medium: Medium::Ethernet,
        kind: LinkKind::Device,
        mac: Some(Mac([2, 0, 0, 0, 0, 3])),
        mtu: 1500,
        below: None,
    }
}

fn way() -> Way {
    Way {
        ifindex: 3,
        gateway: Some(GATEWAY.into()),
        source: Some(Ipv4Addr::new(10, 0, 0, 2).into()),
        unicast: true,
        ..Way::default()
    }
}

fn hop(flow: &Flow, next_hop_mac: Mac) -> Hop {
    Hop {
        ifindex: 3,
        source_mac: Mac([2, 0, 0, 0, 0, 3]),
        next_hop_mac,
        tags: Tags::NONE,
        addresses: Addresses::new(Ipv4Addr::new(10, 0, 0, 2).into(), flow.to.ip())
            .expect("one family"),
        mtu: 1500,
        hop_limit: 64,
    }
}

/// A kernel that answers what stands here.
struct Kernel {
    way: Result<Way, i32>,
    link: Option<Link>,
    neighbour: Neighbour,
    asked: Vec<Ask>,
}

impl Kernel {
    fn new() -> Self {
        Self {
            way: Ok(way()),
            link: Some(link(true)),
            neighbour: Neighbour::There(MAC),
            asked: Vec::new(),
        }
    }

    /// Answers all that is asked; gives the time to wait for.
    fn answer(&mut self, table: &mut Table, now: BootTime) -> Option<BootTime> {
        for _ in 0..100_000 {
            match table.next(now) {
                Next::Wait(until) => return until,
                Next::Ask(ask) => {
                    self.asked.push(ask);
                    match ask {
                        Ask::Route(flow) => table.route(&flow, self.way, now),
                        Ask::Link(index) => table.link(index, self.link.clone()),
                        Ask::Neighbour(key, flow) => {
                            table.neighbour(key, &flow, Some(self.neighbour));
                        }
                        Ask::Use(key) => table.told_in_use(key),
                    }
                }
            }
        }
        panic!("it asks for ever");
    }

    fn asked(&mut self) -> Vec<Ask> {
        std::mem::take(&mut self.asked)
    }
}

fn changes(table: &mut Table) -> Vec<(Flow, Result<Hop, NoHop>)> {
    let changes = table.take_changes();
    changes.into_iter().map(|c| (c.flow, c.hop)).collect()
}

/// A table that knows one flow.
fn settled() -> (Table, Kernel, Flow) {
    let (mut table, mut kernel, flow) = (Table::default(), Kernel::new(), flow(1));
    assert_eq!(table.wanted(&flow, at(0)), Err(NoHop::Pending));
    assert!(table.has_work());
    assert_eq!(kernel.answer(&mut table, at(0)), None);
    assert_eq!(changes(&mut table), [(flow, Ok(hop(&flow, MAC)))]);
    assert!(!table.has_work());
    let asked = [Ask::Route(flow), Ask::Link(3), Ask::Neighbour(KEY, flow)];
    assert_eq!(kernel.asked(), asked);
    (table, kernel, flow)
}

#[test]
fn a_flow_is_looked_up_once_and_a_second_one_shares_link_and_neighbour() {
    let (mut table, mut kernel, first) = settled();
    assert_eq!(table.wanted(&first, at(1)), Ok(hop(&first, MAC)));
    kernel.answer(&mut table, at(1));
    assert_eq!(kernel.asked(), []);
    let second = flow(2);
    let _ = table.wanted(&second, at(1));
    kernel.answer(&mut table, at(1));
    assert_eq!(kernel.asked(), [Ask::Route(second)]);
    assert_eq!(changes(&mut table), [(second, Ok(hop(&second, MAC)))]);
    assert_eq!(table.get(&second), Some(Ok(hop(&second, MAC))));
}

#[test]
fn a_neighbours_other_mac_is_told_at_once_to_all_its_users() {
    let (mut table, mut kernel, first) = settled();
    let second = flow(2);
    let _ = table.wanted(&second, at(1));
    kernel.answer(&mut table, at(1));
    let _ = (table.take_changes(), kernel.asked());

    table.heard(NetEvent::Neighbour(KEY, Neighbour::There(OTHER_MAC)), at(2));
    kernel.answer(&mut table, at(2));
    assert_eq!(kernel.asked(), [], "the event says it all");
    let mut told = changes(&mut table);
    told.sort_by_key(|(flow, _)| flow.to);
    let expected = [first, second].map(|flow| (flow, Ok(hop(&flow, OTHER_MAC))));
    assert_eq!(told, expected);

    table.heard(NetEvent::Neighbour(KEY, Neighbour::Failed), at(3));
    kernel.answer(&mut table, at(3));
    let (next_hop, device) = (GATEWAY.into(), "wan".into());
    let gone = Err(NoHop::NoAnswer { next_hop, device });
    assert_eq!(table.get(&first), Some(gone.clone()));
    assert_eq!(changes(&mut table).len(), 2);

    // Somebody else's neighbour is nobody's business.
    let other = NeighbourKey { ifindex: 4, ..KEY };
    table.heard(NetEvent::Neighbour(other, Neighbour::There(MAC)), at(4));
    assert!(!table.has_work());
    assert_eq!(table.neighbours.len(), 1);
}

#[test]
fn routes_are_looked_up_again_soon_after_they_change_and_only_changes_are_told() {
    let (mut table, mut kernel, flow) = settled();
    for event in [
        NetEvent::RoutesChanged,
        NetEvent::AddressAdded,
        NetEvent::AddressRemoved {
            addr: GATEWAY.into(),
            ifindex: 1,
        },
        NetEvent::LinkRemoved(17),
    ] {
        let start = at(0);
        table.rest_until = BootTime::ZERO;
        // A burst is one change.
        for millis in 0..30 {
            table.heard(event.clone(), start + Duration::from_millis(millis));
        }
        let until = kernel.answer(&mut table, start + Duration::from_millis(30));
        assert_eq!(kernel.asked(), [], "{event:?}: not yet");
        assert_eq!(until, Some(start + SETTLE), "{event:?}");
        assert_eq!(table.get(&flow), Some(Ok(hop(&flow, MAC))));
        assert_eq!(kernel.answer(&mut table, start + SETTLE), None);
        assert_eq!(kernel.asked(), [Ask::Route(flow)], "{event:?}");
        assert_eq!(changes(&mut table), [], "{event:?}: the same as before");
    }
    kernel.way = Err(libc::EHOSTUNREACH);
    table.heard(NetEvent::RoutesChanged, at(100));
    kernel.answer(&mut table, at(200));
    let expected = (flow, Err(NoHop::Unreachable(flow.to.ip())));
    assert_eq!(changes(&mut table), [expected]);
    assert!(table.neighbours.is_empty(), "nobody uses it any more");
}

#[test]
fn a_link_is_looked_at_again_when_something_about_it_changed() {
    let (mut table, mut kernel, flow) = settled();
    table.heard(NetEvent::Link(link(true)), at(0));
    assert_eq!(kernel.answer(&mut table, at(1000)), None, "nothing new");
    assert_eq!(kernel.asked(), []);
    table.heard(NetEvent::Link(link(false)), at(1000));
    kernel.answer(&mut table, at(1100));
    assert_eq!(kernel.asked(), [Ask::Route(flow)]);
    assert_eq!(
        changes(&mut table),
        [(flow, Err(NoHop::Down("wan".into())))]
    );
    table.heard(NetEvent::LinkRemoved(3), at(1200));
    kernel.link = None;
    kernel.answer(&mut table, at(2000));
    assert_eq!(kernel.asked(), [Ask::Route(flow), Ask::Link(3)]);
    assert_eq!(changes(&mut table), [(flow, Err(NoHop::NoDevice(3)))]);
}

#[test]
fn after_lost_news_everything_is_asked_for_again() {
    let (mut table, mut kernel, flow) = settled();
    kernel.neighbour = Neighbour::There(OTHER_MAC);
    table.heard(NetEvent::Lost, at(0));
    kernel.answer(&mut table, at(100));
    let asked = [Ask::Route(flow), Ask::Link(3), Ask::Neighbour(KEY, flow)];
    assert_eq!(kernel.asked(), asked);
    assert_eq!(changes(&mut table), [(flow, Ok(hop(&flow, OTHER_MAC)))]);
}

#[test]
fn a_stale_neighbour_is_reported_in_use_once_and_again_after_it_changed() {
    let (mut table, mut kernel, flow) = settled();
    let stale = || NetEvent::Neighbour(KEY, Neighbour::Stale(MAC));
    table.heard(stale(), at(10));
    kernel.answer(&mut table, at(10));
    assert_eq!(kernel.asked(), [Ask::Use(KEY)]);
    let _ = table.wanted(&flow, at(20));
    kernel.answer(&mut table, at(20));
    assert_eq!(kernel.asked(), [], "once is enough");
    assert_eq!(changes(&mut table), [], "it is used meanwhile");
    table.heard(NetEvent::Neighbour(KEY, Neighbour::There(MAC)), at(30));
    table.heard(stale(), at(40));
    kernel.answer(&mut table, at(40));
    assert_eq!(kernel.asked(), [Ask::Use(KEY)]);
}

#[test]
fn a_stale_neighbour_that_nobody_uses_is_left_alone_until_somebody_does() {
    let (mut table, mut kernel, flow) = settled();
    let later = at(0) + IN_USE;
    table.heard(NetEvent::Neighbour(KEY, Neighbour::Stale(MAC)), later);
    kernel.answer(&mut table, later);
    assert_eq!(kernel.asked(), []);
    let _ = table.wanted(&flow, later);
    kernel.answer(&mut table, later);
    assert_eq!(kernel.asked(), [Ask::Use(KEY), Ask::Route(flow)]);
}

#[test]
fn a_wanted_flow_is_looked_up_again_every_half_minute() {
    let (mut table, mut kernel, flow) = settled();
    let _ = table.wanted(&flow, at(29_999));
    kernel.answer(&mut table, at(29_999));
    assert_eq!(kernel.asked(), []);
    kernel.way = Ok(Way {
        mtu: Some(1280),
        ..way()
    });
    let _ = table.wanted(&flow, at(30_000));
    kernel.answer(&mut table, at(30_000));
    assert_eq!(kernel.asked(), [Ask::Route(flow)]);
    let expected = Hop {
        mtu: 1280,
        ..hop(&flow, MAC)
    };
    assert_eq!(changes(&mut table), [(flow, Ok(expected))]);
}

#[test]
fn what_is_forgotten_is_neither_told_nor_kept() {
    let (mut table, mut kernel, first) = settled();
    table.heard(NetEvent::Neighbour(KEY, Neighbour::Failed), at(1));
    table.forget(&first);
    kernel.answer(&mut table, at(1));
    assert_eq!(changes(&mut table), []);
    assert_eq!(table.get(&first), None);
    assert!(table.neighbours.is_empty());
    // Forgotten between question and answer.
    let second = flow(2);
    let _ = table.wanted(&second, at(2));
    assert_eq!(table.next(at(2)), Next::Ask(Ask::Route(second)));
    table.forget(&second);
    table.route(&second, Ok(way()), at(2));
    table.neighbour(KEY, &second, Some(Neighbour::There(MAC)));
    assert_eq!(kernel.answer(&mut table, at(2)), None);
    assert_eq!(kernel.asked(), []);
    assert!(table.entries.is_empty() && table.neighbours.is_empty());
    // Wanting and forgetting by turns does not fill the queue.
    for _ in 0..1000 {
        let _ = table.wanted(&second, at(3));
        table.forget(&second);
    }
    assert_eq!(table.work.len(), 1);
}

#[test]
fn a_full_table_gives_up_what_is_not_in_use_and_says_so() {
    let (mut table, mut kernel) = (Table::default(), Kernel::new());
    let old = 100;
    for number in 0..FLOWS_MAX as u32 {
        let when = if number < old { at(0) } else { at(50_000) };
        let _ = table.wanted(&flow(number), when);
    }
    kernel.answer(&mut table, at(50_000));
    assert_eq!(changes(&mut table).len(), FLOWS_MAX);
    let newcomer = flow(1 << 20);
    // All are in use.
    let full = Err(NoHop::TableFull);
    assert_eq!(table.wanted(&newcomer, at(59_500)), full);
    // Room is not looked for all the time.
    assert_eq!(table.wanted(&newcomer, at(60_000)), full);
    assert_eq!(table.wanted(&newcomer, at(60_500)), Err(NoHop::Pending));
    let given_up = changes(&mut table);
    assert_eq!(given_up.len(), old as usize);
    for (flow, answer) in given_up {
        assert_eq!(answer, Err(NoHop::Forgotten));
        assert_eq!(table.get(&flow), None);
    }
    let known = &table.neighbours[&KEY];
    assert_eq!(known.users.len(), FLOWS_MAX - old as usize);
}

#[test]
fn endless_changes_take_a_fifth_of_the_time() {
    let (mut table, _, flow) = settled();
    table.heard(NetEvent::RoutesChanged, at(0));
    assert_eq!(table.next(at(50)), Next::Ask(Ask::Route(flow)));
    // More changes while it asks: one more round, after a rest that is four
    // times as long.
    table.heard(NetEvent::RoutesChanged, at(100));
    table.route(&flow, Ok(way()), at(250));
    assert_eq!(table.next(at(250)), Next::Wait(Some(at(250 + 800))));
    assert_eq!(table.next(at(1050)), Next::Ask(Ask::Route(flow)));
    table.route(&flow, Ok(way()), at(1150));
    assert_eq!(table.next(at(1150)), Next::Wait(None));
    table.heard(NetEvent::RoutesChanged, at(1160));
    assert_eq!(table.next(at(1160)), Next::Wait(Some(at(1150 + 400))));
    // Whoever was kept from working for a minute does not rest for four.
    assert_eq!(table.next(at(1550)), Next::Ask(Ask::Route(flow)));
    table.route(&flow, Ok(way()), at(61_550));
    table.heard(NetEvent::RoutesChanged, at(61_550));
    assert_eq!(table.next(at(61_550)), Next::Wait(Some(at(61_550 + 2000))));
}
