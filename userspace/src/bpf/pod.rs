//! Values of `ringtun-common` as map keys and values.

use ringtun_common::lan::Inside;
use ringtun_common::seats::Seat;
use ringtun_common::steer::Steering;
use ringtun_common::tables::{Counter, Interface, LocalEndpoint};

/// A key or value of a map.
#[derive(Clone, Copy, Debug)]
#[repr(transparent)]
pub(super) struct Row<T>(pub T);

// SAFETY: any bytes are one.
unsafe impl aya::Pod for Row<u32> {}
// SAFETY: two `u64`: no padding, and any bytes are a counter.
unsafe impl aya::Pod for Row<Counter> {}
// SAFETY: eight bytes and three `u32`: no padding, and any bytes are an interface.
unsafe impl aya::Pod for Row<Interface> {}
// SAFETY: bytes alone, and any are an endpoint.
unsafe impl aya::Pod for Row<LocalEndpoint> {}
// SAFETY: two `u16` and a `u32`: no padding, and any bytes are one.
unsafe impl aya::Pod for Row<Inside> {}
// SAFETY: `u32` alone, and any are a steering.
unsafe impl aya::Pod for Row<Steering> {}
// SAFETY: `u32` and an interface, which is made of bytes and `u32`: no padding, and
// any bytes are a seat.
unsafe impl aya::Pod for Row<Seat<u32, Interface>> {}
// SAFETY: `u32` and 20 bytes: no padding, and any bytes are a seat.
unsafe impl aya::Pod for Row<Seat<LocalEndpoint, u32>> {}
