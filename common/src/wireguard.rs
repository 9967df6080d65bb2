//! What a WireGuard message looks like from outside.
//!
//! Message layouts: the WireGuard paper, section 5.4. A message starts with
//! its type and three reserved zero bytes:
//!
//! ```text
//!  0      1      2      3      4
//! +------+------+------+------+----
//! | type |  0   |  0   |  0   | …
//! +------+------+------+------+----
//! ```

/// Length of a handshake initiation in bytes.
pub const INITIATION_LEN: usize = 148;
/// Length of a handshake response in bytes.
pub const RESPONSE_LEN: usize = 92;
/// Length of a cookie reply in bytes.
pub const COOKIE_REPLY_LEN: usize = 64;
/// Length of the shortest data message, a keepalive: header and tag.
pub const DATA_MIN_LEN: usize = 32;

/// The four messages of the protocol, by their type byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum MessageType {
    /// Handshake initiation.
    Initiation = 1,
    /// Handshake response.
    Response = 2,
    /// Cookie reply, under load.
    CookieReply = 3,
    /// Transport data, or a keepalive.
    Data = 4,
}

impl MessageType {
    /// The message that starts with the bytes `head` and is `len` bytes long.
    ///
    /// `None` if no WireGuard message looks like that. The length of a data
    /// message need not be a multiple of 16: padding stops at the tunnel's MTU.
    #[must_use]
    #[inline]
    pub const fn classify(head: [u8; 4], len: usize) -> Option<Self> {
        match (head, len) {
            ([1, 0, 0, 0], INITIATION_LEN) => Some(Self::Initiation),
            ([2, 0, 0, 0], RESPONSE_LEN) => Some(Self::Response),
            ([3, 0, 0, 0], COOKIE_REPLY_LEN) => Some(Self::CookieReply),
            ([4, 0, 0, 0], DATA_MIN_LEN..) => Some(Self::Data),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn each_type_has_its_exact_length() {
        for (kind, len) in [
            (MessageType::Initiation, 148),
            (MessageType::Response, 92),
            (MessageType::CookieReply, 64),
        ] {
            let head = [kind as u8, 0, 0, 0];
            assert_eq!(MessageType::classify(head, len), Some(kind));
            assert_eq!(MessageType::classify(head, len - 1), None);
            assert_eq!(MessageType::classify(head, len + 1), None);
        }
        let data = [4, 0, 0, 0];
        assert_eq!(MessageType::classify(data, 31), None);
        for len in [32, 33, 48, 1452, 65_507] {
            assert_eq!(
                MessageType::classify(data, len),
                Some(MessageType::Data),
                "{len}"
            );
        }
    }

    proptest! {
        #[test]
        fn a_nonzero_reserved_byte_is_no_message(kind: u8, reserved: [u8; 3], len in 0usize..2000) {
            prop_assume!(reserved != [0; 3]);
            let head = [kind, reserved[0], reserved[1], reserved[2]];
            prop_assert_eq!(MessageType::classify(head, len), None);
        }

        #[test]
        fn other_types_are_no_message(kind: u8, len in 0usize..2000) {
            prop_assume!(!(1..=4).contains(&kind));
            prop_assert_eq!(MessageType::classify([kind, 0, 0, 0], len), None);
        }
    }
}
