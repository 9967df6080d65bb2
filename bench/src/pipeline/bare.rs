//! The bare AEAD: ringtun's own backend, each packet sealed or opened in place, and nothing else.

use std::hint::black_box;

use anyhow::Result;
use ringtun::crypto::aead::TAG_LEN;
use ringtun::crypto::{DataKey, KEY_LEN};
use ringtun::tunnel::messages::DATA_HEADER_LEN;

use super::packets::{DATAGRAMS, of_datagram, of_pass, sealed};
use crate::pass::Part;

/// Any key does.
const KEY: [u8; KEY_LEN] = [7; KEY_LEN];

/// Seals into one buffer, which stays in the nearest cache.
pub struct Seal {
    key: DataKey,
    counter: u64,
    packet: Vec<u8>,
    packets: usize,
}

impl Seal {
    /// For packets of `size` bytes inside.
    pub fn new(size: usize) -> Seal {
        Seal {
            key: DataKey::new(&KEY),
            counter: 0,
            packet: vec![0; sealed(size)],
            packets: of_pass(size),
        }
    }
}

impl Part for Seal {
    fn prepare(&mut self) -> Result<()> {
        Ok(())
    }

    fn run(&mut self) {
        for _ in 0..self.packets {
            seal(&self.key, self.counter, &mut self.packet);
            self.counter += 1;
            black_box(&mut self.packet);
        }
    }
}

/// Opens batches of as many packets as a worker receives at once, where they lie.
pub struct Open {
    key: DataKey,
    counter: u64,
    datagrams: Vec<Vec<u8>>,
    sealed: usize,
}

impl Open {
    /// For packets of `size` bytes inside.
    pub fn new(size: usize) -> Open {
        let sealed = sealed(size);
        Open {
            key: DataKey::new(&KEY),
            counter: 0,
            datagrams: vec![vec![0; of_datagram(size) * sealed]; DATAGRAMS],
            sealed,
        }
    }
}

impl Part for Open {
    fn prepare(&mut self) -> Result<()> {
        let mut counter = self.counter;
        for datagram in &mut self.datagrams {
            for packet in datagram.chunks_exact_mut(self.sealed) {
                seal(&self.key, counter, packet);
                counter += 1;
            }
        }
        Ok(())
    }

    fn run(&mut self) {
        for datagram in &mut self.datagrams {
            for packet in datagram.chunks_exact_mut(self.sealed) {
                let body = &mut packet[DATA_HEADER_LEN..];
                let opened = self.key.open_in_place(self.counter, body);
                black_box(opened.expect("what was sealed with this key opens"));
                self.counter += 1;
            }
        }
    }
}

fn seal(key: &DataKey, counter: u64, packet: &mut [u8]) {
    let (text, tag) = packet[DATA_HEADER_LEN..]
        .split_last_chunk_mut::<TAG_LEN>()
        .expect("room for the tag");
    *tag = key.seal_in_place(counter, text);
}
