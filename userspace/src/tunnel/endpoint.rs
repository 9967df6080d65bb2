//! Where a peer is, and the cell in which workers read and change it.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::sync::atomic::{
    AtomicU64,
    Ordering::{AcqRel, Acquire, Relaxed, Release},
    fence,
};

/// A peer's address, and the local address it spoke to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// The peer's address and port.
    pub addr: SocketAddr,
    /// From where to answer; None lets the kernel choose.
    pub source: Option<Source>,
}

/// The local address that a peer spoke to: answers leave from it, unless it
/// is gone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Source {
    /// The local address, of the family of the endpoint.
    pub addr: IpAddr,
    /// The interface it was spoken to on.
    pub ifindex: u32,
}

impl Endpoint {
    /// An endpoint as configured: no source known yet.
    #[must_use]
    pub const fn new(addr: SocketAddr) -> Self {
        Self { addr, source: None }
    }
}

impl From<SocketAddr> for Endpoint {
    fn from(addr: SocketAddr) -> Self {
        Self::new(addr)
    }
}

const WORDS: usize = 6;

/// A peer's endpoint, read by every worker per batch, written when the peer
/// roams: a sequence lock over plain atomic words. Readers never block a
/// writer and see an old endpoint or a new one, never a mixture.
#[derive(Debug, Default)]
pub struct EndpointCell {
    /// Odd while a writer is at work.
    sequence: AtomicU64,
    words: [AtomicU64; WORDS],
}

impl EndpointCell {
    /// The endpoint, if one is known.
    #[must_use]
    pub fn get(&self) -> Option<Endpoint> {
        loop {
            let before = self.sequence.load(Acquire);
            if before.is_multiple_of(2) {
                let words = std::array::from_fn(|i| self.words[i].load(Relaxed));
                // The loads above come before the load below.
                fence(Acquire);
                if self.sequence.load(Relaxed) == before {
                    return decode(words);
                }
            }
            std::hint::spin_loop();
        }
    }

    /// Sets or forgets the endpoint.
    pub fn set(&self, endpoint: Option<Endpoint>) {
        self.update(|_| endpoint);
    }

    /// The peer authenticated itself from `from`: answer there from now on.
    /// Writes only if that is new; returns whether the peer's *address* is.
    pub fn roam(&self, from: &Endpoint) -> bool {
        let known = self.get();
        if known == Some(*from) {
            return false;
        }
        self.set(Some(*from));
        known.is_none_or(|k| k.addr != from.addr)
    }

    /// Lets the kernel choose the source address again: the one that was
    /// spoken to is gone, or nothing comes back.
    pub fn clear_source(&self) {
        self.clear_source_if(|_| true);
    }

    /// [`Self::clear_source`] if `gone` says so of the source in use.
    pub fn clear_source_if(&self, gone: impl Fn(&Source) -> bool) {
        if self
            .get()
            .and_then(|e| e.source)
            .is_some_and(|source| gone(&source))
        {
            self.update(|e| {
                e.map(|e| Endpoint {
                    source: e.source.filter(|source| !gone(source)),
                    ..e
                })
            });
        }
    }

    fn update(&self, change: impl FnOnce(Option<Endpoint>) -> Option<Endpoint>) {
        // Writers exclude each other by making the sequence odd.
        let odd = loop {
            let even = self.sequence.load(Relaxed) & !1;
            match self
                .sequence
                .compare_exchange_weak(even, even + 1, AcqRel, Relaxed)
            {
                Ok(_) => break even + 1,
                Err(_) => std::hint::spin_loop(),
            }
        };
        // The odd sequence is seen before any of the stores below.
        fence(Release);
        let old = decode(std::array::from_fn(|i| self.words[i].load(Relaxed)));
        for (word, value) in self.words.iter().zip(encode(change(old))) {
            word.store(value, Relaxed);
        }
        self.sequence.store(odd + 1, Release);
    }
}

const V4: u64 = 4;
const V6: u64 = 6;
const HAS_SOURCE: u64 = 8;

/// Words: `[flags:16 | port:16 | ifindex:32] [scope:32 | flow:32]
/// [address hi] [address lo] [source hi] [source lo]`.
fn encode(endpoint: Option<Endpoint>) -> [u64; WORDS] {
    let Some(Endpoint { addr, source }) = endpoint else {
        return [0; WORDS];
    };
    let (family, scope) = match addr {
        SocketAddr::V4(_) => (V4, 0),
        SocketAddr::V6(a) => (V6, u64::from(a.scope_id()) << 32 | u64::from(a.flowinfo())),
    };
    let flags = family | source.map_or(0, |_| HAS_SOURCE);
    let ifindex = source.map_or(0, |s| s.ifindex);
    let [a, b] = encode_ip(addr.ip());
    let [c, d] = source.map_or([0, 0], |s| encode_ip(s.addr));
    [
        flags << 48 | u64::from(addr.port()) << 32 | u64::from(ifindex),
        scope,
        a,
        b,
        c,
        d,
    ]
}

fn decode([head, scope, a, b, c, d]: [u64; WORDS]) -> Option<Endpoint> {
    let flags = head >> 48;
    let port = (head >> 32) as u16;
    let addr = match (flags & 7, decode_ip(flags, a, b)) {
        (V4, IpAddr::V4(ip)) => SocketAddr::V4(SocketAddrV4::new(ip, port)),
        (V6, IpAddr::V6(ip)) => SocketAddr::V6(SocketAddrV6::new(
            ip,
            port,
            scope as u32,
            (scope >> 32) as u32,
        )),
        _ => return None,
    };
    let source = (flags & HAS_SOURCE != 0).then(|| Source {
        addr: decode_ip(flags, c, d),
        ifindex: head as u32,
    });
    Some(Endpoint { addr, source })
}

/// A source is of its endpoint's family, so one flag tells both.
fn encode_ip(addr: IpAddr) -> [u64; 2] {
    match addr {
        IpAddr::V4(a) => [0, u64::from(a.to_bits())],
        IpAddr::V6(a) => [(a.to_bits() >> 64) as u64, a.to_bits() as u64],
    }
}

fn decode_ip(flags: u64, hi: u64, lo: u64) -> IpAddr {
    if flags & 7 == V4 {
        IpAddr::V4(Ipv4Addr::from_bits(lo as u32))
    } else {
        IpAddr::V6(Ipv6Addr::from_bits(u128::from(hi) << 64 | u128::from(lo)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::atomic::AtomicBool;

    fn endpoint(n: u32) -> Endpoint {
        Endpoint {
            addr: SocketAddr::new(
                IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 90 | u128::from(n))),
                n as u16,
            ),
            source: Some(Source {
                addr: IpAddr::V6(Ipv6Addr::from_bits(u128::from(n) << 70 | u128::from(!n))),
                ifindex: n,
            }),
        }
    }

    #[test]
    fn every_endpoint_comes_back_as_it_was() {
        let cell = EndpointCell::default();
        assert_eq!(cell.get(), None);
        let v4 = Endpoint {
            addr: "192.0.2.1:51820".parse().unwrap(),
            source: Some(Source {
                addr: "198.51.100.7".parse().unwrap(),
                ifindex: u32::MAX,
            }),
        };
        let scoped = Endpoint::new(SocketAddr::V6(SocketAddrV6::new(
            "fe80::1".parse().unwrap(),
            65535,
            7,
            u32::MAX,
        )));
        for e in [
            v4,
            scoped,
            endpoint(1),
            endpoint(u32::MAX),
            Endpoint::new("[::]:0".parse().unwrap()),
        ] {
            cell.set(Some(e));
            assert_eq!(cell.get(), Some(e));
        }
        cell.set(None);
        assert_eq!(cell.get(), None);
    }

    #[test]
    fn roaming_tells_a_new_address_from_a_new_source() {
        let cell = EndpointCell::default();
        let a = endpoint(1);
        assert!(cell.roam(&a));
        assert!(!cell.roam(&a));
        let other_source = Endpoint { source: None, ..a };
        assert!(!cell.roam(&other_source));
        assert_eq!(cell.get(), Some(other_source));
        assert!(cell.roam(&endpoint(2)));
        cell.clear_source_if(|s| s.ifindex == 1);
        assert_eq!(cell.get(), Some(endpoint(2)));
        cell.clear_source();
        assert_eq!(
            cell.get(),
            Some(Endpoint {
                source: None,
                ..endpoint(2)
            })
        );
    }

    #[test]
    fn readers_never_see_half_an_endpoint() {
        let cell = EndpointCell::default();
        cell.set(Some(endpoint(0)));
        let done = AtomicBool::new(false);
        std::thread::scope(|s| {
            for _ in 0..2 {
                s.spawn(|| {
                    while !done.load(Relaxed) {
                        let e = cell.get().unwrap();
                        assert_eq!(e, endpoint(e.source.unwrap().ifindex));
                    }
                });
            }
            let writers: Vec<_> = (0..2)
                .map(|w| {
                    let cell = &cell;
                    s.spawn(move || {
                        (0..50_000u32).for_each(|n| cell.set(Some(endpoint(n * 2 + w))))
                    })
                })
                .collect();
            for w in writers {
                w.join().unwrap();
            }
            done.store(true, Relaxed);
        });
    }
}
