//! A pcapng stream taken apart into whole blocks, and counted: what `ringtun
//! capture` writes ends with a whole block, whatever ends it.

use super::pcapng::{ENHANCED_PACKET, SECTION_HEADER, SNAP_MAX, STATISTICS, Side};

/// Bytes of the longest block: a packet, its headers and options.
const BLOCK_MAX: usize = SNAP_MAX as usize + 1024;
/// Type, length, and the length again.
const FRAMING: usize = 12;

/// What a block holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Block {
    /// A packet.
    Packet(Side),
    /// How many packets of a side were missed so far.
    Missed(Side, u64),
    /// What every file begins with.
    Head,
}

/// The stream is not what the daemon sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("what the daemon sent is no capture (byte {at})")]
pub struct Garbled {
    /// Where the block begins that is not understood.
    pub at: u64,
}

/// Collects bytes until a block is whole.
#[derive(Debug, Default)]
pub struct Blocks {
    pending: Vec<u8>,
    used: usize,
    at: u64,
}

impl Blocks {
    /// Appends what was received.
    pub fn push(&mut self, bytes: &[u8]) {
        self.pending.drain(..self.used);
        self.used = 0;
        self.pending.extend_from_slice(bytes);
    }

    /// The next whole block, its bytes and what it holds; none without more bytes.
    ///
    /// # Errors
    /// [`Garbled`].
    pub fn next_block(&mut self) -> Result<Option<(&[u8], Block)>, Garbled> {
        let garbled = Garbled { at: self.at };
        let rest = &self.pending[self.used..];
        let (Some(kind), Some(len)) = (word(rest, 0), word(rest, 4)) else {
            return Ok(None);
        };
        let len = len as usize;
        if !(FRAMING..=BLOCK_MAX).contains(&len) || !len.is_multiple_of(4) {
            return Err(garbled);
        }
        if self.at == 0 && kind != SECTION_HEADER {
            return Err(garbled);
        }
        let Some(block) = rest.get(..len) else {
            return Ok(None);
        };
        let holds = match kind {
            ENHANCED_PACKET => Block::Packet(side(block).ok_or(garbled)?),
            STATISTICS => Block::Missed(
                side(block).ok_or(garbled)?,
                // Of the two options the second: see the writer.
                block
                    .get(36..44)
                    .and_then(|bytes| bytes.try_into().ok())
                    .map(u64::from_le_bytes)
                    .ok_or(garbled)?,
            ),
            _ => Block::Head,
        };
        self.used += len;
        self.at += len as u64;
        Ok(Some((block, holds)))
    }
}

fn side(block: &[u8]) -> Option<Side> {
    match word(block, 8)? {
        0 => Some(Side::Outer),
        1 => Some(Side::Inner),
        _ => None,
    }
}

fn word(bytes: &[u8], at: usize) -> Option<u32> {
    let bytes = bytes.get(at..at + 4)?.try_into().ok()?;
    Some(u32::from_le_bytes(bytes))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::control::capture::pcapng::{Direction, Packet, Sides, Start, Writer};
    use crate::tunnel::time::WallTime;

    fn file() -> Vec<u8> {
        let sides = Sides {
            outer: "eth0",
            inner: "wg0",
            snap: SNAP_MAX,
        };
        let mut writer = Writer::new(Vec::new(), &sides).expect("memory");
        let time = WallTime::default();
        for (side, len) in [(Side::Outer, 77), (Side::Inner, SNAP_MAX as usize + 9)] {
            let packet = Packet {
                side,
                direction: Direction::In,
                start: Start::Ethernet,
                time,
                bytes: &vec![1; len],
                len,
            };
            writer.write(&packet).expect("memory");
            writer
                .statistics(side, time, 1 << 40, 1 << 33)
                .expect("memory");
        }
        writer.finish().expect("memory")
    }

    fn read(pieces: &[&[u8]]) -> Result<(Vec<u8>, Vec<Block>), Garbled> {
        let mut blocks = Blocks::default();
        let (mut bytes, mut all) = (Vec::new(), Vec::new());
        for piece in pieces {
            blocks.push(piece);
            while let Some((block, holds)) = blocks.next_block()? {
                bytes.extend_from_slice(block);
                all.push(holds);
            }
        }
        Ok((bytes, all))
    }

    #[test]
    fn what_our_writer_writes_is_counted() {
        let file = file();
        let (bytes, blocks) = read(&[&file]).expect("sound");
        assert_eq!(bytes, file);
        let missed = |side| Block::Missed(side, 1 << 33);
        let (outer, inner) = (Side::Outer, Side::Inner);
        assert_eq!(blocks[..3], [Block::Head; 3]);
        assert_eq!(
            blocks[3..],
            [
                Block::Packet(outer),
                missed(outer),
                Block::Packet(inner),
                missed(inner)
            ]
        );
    }

    proptest! {
        #[test]
        fn cut_anywhere_it_is_the_same_and_an_end_in_the_middle_gives_whole_blocks(
            cuts in proptest::collection::vec(any::<prop::sample::Index>(), 0..5),
            end in any::<prop::sample::Index>(),
        ) {
            let file = file();
            let mut at: Vec<usize> = cuts.iter().map(|c| c.index(file.len())).collect();
            at.extend([0, file.len()]);
            at.sort_unstable();
            let pieces: Vec<&[u8]> = at.windows(2).map(|w| &file[w[0]..w[1]]).collect();
            prop_assert_eq!(read(&pieces), read(&[&file]));
            let (bytes, blocks) = read(&[&file[..end.index(file.len())]]).expect("sound");
            prop_assert!(file.starts_with(&bytes));
            prop_assert_eq!(read(&[&bytes]).expect("sound").1, blocks);
        }

        #[test]
        fn any_bytes_are_refused_or_bounded(mut bytes in proptest::collection::vec(any::<u8>(), 0..200), head in any::<bool>()) {
            if head {
                bytes.splice(..0, file());
            }
            let _ = read(&[&bytes]);
        }
    }

    #[test]
    fn what_is_no_capture_is_refused() {
        for bytes in [&b"HTTP/1.1 400 Bad Request\r\n"[..], &[0; 12], &[0xff; 12]] {
            assert_eq!(read(&[bytes]), Err(Garbled { at: 0 }));
        }
    }
}
