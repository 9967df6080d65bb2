//! Where frames go, in namespaces of our own: the kernel's tables change, and
//! the hops with them. Needs root.

#[path = "../netlink/mod.rs"]
mod netlink;

mod changes;
mod frames;
mod many;
mod refused;
mod support;
mod ways;
