//! Frames through rings whose other end is in this process.

mod accounting;
mod hostile;
mod tokens;

use super::{Frame, Peer, RingSizes, Socket, Umem, UmemConfig};

fn umem(frames: u32) -> Umem {
    Umem::new(UmemConfig {
        frames,
        ..UmemConfig::default()
    })
    .expect("memory")
}

fn socket(umem: &mut Umem, size: u32) -> (Socket, Peer) {
    Socket::in_memory(umem, &RingSizes::all(size), 0).expect("rings")
}

/// A packet of `len` bytes that no other number has.
fn packet(number: u64, len: usize) -> Vec<u8> {
    (0..len as u64)
        .map(|at| (number.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (at % 57)) as u8)
        .collect()
}

/// All that the socket has received.
fn receive(socket: &mut Socket, umem: &mut Umem) -> Vec<Frame> {
    let mut frames = Vec::with_capacity(256);
    socket.rx.receive(umem, &mut frames).expect("sane");
    frames
}
