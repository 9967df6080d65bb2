//! Configuration files, the UAPI socket and the life of devices.
//!
//! * [`capture`]: both sides of a tunnel in one file.
//! * [`daemon`]: the process, from start to end.
//! * [`device`]: a device and the tasks that serve it.
//! * [`doctor`]: what is wrong, and what mends it.
//! * [`log`]: what is logged, changed while the process runs.
//! * [`plane`]: workers and handshake threads.
//! * [`names`]: what a device may be called.
//! * [`nics`]: network cards with the XDP program, and who uses them.
//! * [`options`]: what a daemon is told when it starts.
//! * [`peers`]: clients added to a file, and taken out of it.
//! * [`quick`]: `up`, `down` and `reload`, what wg-quick does.
//! * [`report`]: what a bug report needs, without keys and names.
//! * [`uapi`]: what `wg` speaks.
//! * [`wgquick`]: the files of wg-quick, `/etc/wireguard/NAME.conf`.
//! * [`errno`]: the error numbers it speaks in.

pub mod capture;
pub mod daemon;
pub mod device;
pub mod doctor;
pub mod errno;
pub mod gateway;
pub mod log;
pub mod names;
pub mod nics;
pub mod options;
pub mod peers;
pub mod plane;
pub mod quick;
pub mod report;
pub mod uapi;
pub mod wgquick;
