//! `ringtun capture NAME`: both sides of a tunnel in one file.
//!
//! What goes through AF_XDP is hidden from the host's tcpdump, so that ringtun
//! writes it down itself:
//!
//! ```text
//! workers ─ datapath::taps ─▶ queue ─ Capture: headers, pcapng ─▶ UAPI socket
//!         ─ Blocks: whole blocks, counted ─▶ file or pipe of `ringtun capture`
//! ```
//!
//! * [`request`]: what is asked for.
//! * [`stream`]: what the daemon sends until either side closes.
//! * [`outer`]: headers for encrypted packets whose own are not at hand.
//! * [`pcapng`]: the format.
//! * [`blocks`]: reading it, as far as counting takes.

pub mod blocks;
pub mod outer;
pub mod pcapng;
pub mod request;
pub mod stream;

pub use request::{CaptureRequest, CaptureSides};
pub use stream::Capture;
