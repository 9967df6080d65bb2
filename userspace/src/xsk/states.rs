//! Who has each frame: one byte per frame.

/// Sockets that one UMEM can have at a time.
pub(super) const PORTS_MAX: u8 = 63;

/// Names a socket within its UMEM; below [`PORTS_MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PortId(pub(super) u8);

/// Who has a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    /// Nobody: it is on the free list.
    Free,
    /// The program: there is a token.
    Held,
    /// The kernel, to receive into, by this socket's fill ring.
    Filled(PortId),
    /// The kernel, to transmit from, by this socket's transmit ring.
    Sent(PortId),
}

impl State {
    /// Two bits for the kind, six for the socket.
    const fn encode(self) -> u8 {
        match self {
            Self::Free => 0,
            Self::Held => 1,
            Self::Filled(port) => 2 | port.0 << 2,
            Self::Sent(port) => 3 | port.0 << 2,
        }
    }

    const fn decode(byte: u8) -> Self {
        let port = PortId(byte >> 2);
        match byte & 3 {
            0 => Self::Free,
            1 => Self::Held,
            2 => Self::Filled(port),
            _ => Self::Sent(port),
        }
    }
}

/// The state of every frame of a UMEM.
#[derive(Debug)]
pub(super) struct States(Box<[u8]>);

impl States {
    /// `frames` free ones.
    pub(super) fn new(frames: u32) -> Self {
        Self(vec![State::Free.encode(); frames as usize].into())
    }

    /// Makes a frame that is in state `from` one in state `to`; false if it was not.
    #[must_use]
    pub(super) fn change(&mut self, index: u32, from: State, to: State) -> bool {
        match self.0.get_mut(index as usize) {
            Some(byte) if *byte == from.encode() => {
                *byte = to.encode();
                true
            }
            _ => false,
        }
    }

    /// The state of each frame, in order.
    pub(super) fn iter(&self) -> impl Iterator<Item = State> + '_ {
        self.0.iter().map(|byte| State::decode(*byte))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_state_of_each_socket_is_its_own_byte() {
        let mut states = vec![State::Free, State::Held];
        for port in (0..PORTS_MAX).map(PortId) {
            states.extend([State::Filled(port), State::Sent(port)]);
        }
        let mut bytes: Vec<u8> = states.iter().map(|state| state.encode()).collect();
        for (state, byte) in states.iter().zip(&bytes) {
            assert_eq!(State::decode(*byte), *state);
        }
        bytes.sort_unstable();
        bytes.dedup();
        assert_eq!(bytes.len(), states.len());
    }
}
