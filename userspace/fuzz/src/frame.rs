//! The one packet parser, which also runs in the XDP program.

use crate::Seed;
use ringtun_common::class::Class;
use ringtun_common::cursor::{Cursor, SliceCursor, Truncated};
use ringtun_common::fixtures::{self, World, frames};
use ringtun_common::packet::{Packet, Part, mapped, parse};
use ringtun_common::verdict::{Verdict, judge};

/// A cursor that also notes how far the parser reads.
struct Watched<'a> {
    inner: SliceCursor<&'a [u8]>,
    reads: usize,
}

impl Cursor for Watched<'_> {
    fn frame_len(&self) -> usize {
        self.inner.frame_len()
    }

    fn offset(&self) -> usize {
        self.inner.offset()
    }

    fn take<const N: usize>(&mut self) -> Result<[u8; N], Truncated> {
        let before = self.inner.offset();
        let taken = self.inner.take()?;
        assert_eq!(self.inner.offset(), before + N, "moves by what it takes");
        self.reads += 1;
        assert!(self.reads < 64, "more reads than the verifier allows");
        Ok(taken)
    }

    fn skip(&mut self, n: usize) -> Result<(), Truncated> {
        self.inner.skip(n)
    }
}

/// A datagram lies inside its frame; what is called WireGuard has its shape and is
/// taken only if it is for us; cutting the frame short never makes a different
/// message of it.
pub fn run(data: &[u8]) {
    let mut watched = Watched {
        inner: SliceCursor::new(data),
        reads: 0,
    };
    let parsed = parse(&mut watched);
    assert!(watched.offset() <= data.len());
    let (class, verdict) = judge(&parsed, data.len(), &mut World::with_socket());
    if let Ok(packet) = &parsed {
        assert!(
            usize::from(packet.payload_len) <= data.len() || packet.network.part == Part::First,
            "beyond the frame"
        );
        if class.is_wireguard() && packet.network.part == Part::Whole {
            wireguard(data, packet, watched.offset());
        }
    }
    if verdict == Verdict::Ours {
        let packet = parsed.expect("what cannot be read is not ours");
        assert_eq!(data[..6], frames::HOST_MAC);
        assert_eq!(packet.destination_port, frames::PORT);
        assert!([mapped(frames::HOST4), frames::HOST6].contains(&packet.network.destination));
    }
    if let Some(short) = data.len().checked_sub(1)
        && let (Ok(whole), Ok(cut)) = (parsed, parse(&mut SliceCursor::new(&data[..short])))
    {
        assert_eq!(whole, cut, "the last byte was padding or is not looked at");
    }
}

/// The message of `packet` was read up to `read`.
fn wireguard(data: &[u8], packet: &Packet, read: usize) {
    let head = if packet.class == Class::WireGuardData {
        8
    } else {
        4
    };
    let start = read - head;
    let payload = &data[start..start + usize::from(packet.payload_len)];
    let ports = &data[start - 8..start - 4];
    assert_eq!(ports[..2], packet.source_port.to_be_bytes());
    assert_eq!(ports[2..], packet.destination_port.to_be_bytes());
    let want = match (payload.first_chunk::<4>(), payload.len()) {
        (Some([1, 0, 0, 0]), 148) => Class::WireGuardInitiation,
        (Some([2, 0, 0, 0]), 92) => Class::WireGuardResponse,
        (Some([3, 0, 0, 0]), 64) => Class::WireGuardCookieReply,
        (Some([4, 0, 0, 0]), 32..) => Class::WireGuardData,
        shape => panic!("{shape:?} is no message"),
    };
    assert_eq!(packet.class, want);
}

/// The fixtures that the XDP program is tested with.
#[must_use]
pub fn seeds() -> Vec<Seed> {
    fixtures::all()
        .into_iter()
        // Made once per run: a name may live as long as that.
        .map(|fixture| (&*fixture.name.leak(), fixture.frame))
        .collect()
}
