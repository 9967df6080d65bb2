//! Tests of the conversation as a whole, against a device kept in a map.

mod capture;
mod conversation;
mod model;
mod parsing;
mod patience;
mod sockets;
