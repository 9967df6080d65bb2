//! Keys in base64 (files, `wg`) and hex (UAPI), in constant time: no table
//! look-up or branch depends on the key.

use super::{KEY_LEN, Secret};
use base64ct::{Base64, Encoding};
use zeroize::Zeroizing;

/// Characters of a key in base64: 43 and one `=`.
pub const BASE64_LEN: usize = 44;
/// Characters of a key in hex.
pub const HEX_LEN: usize = 64;

/// Why a text is not a key. It never holds the text, which may be a secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum KeyParseError {
    /// Not as long as a key is.
    #[error("a key has {expected} characters, this has {found}")]
    Length {
        /// Characters of a key in this encoding.
        expected: usize,
        /// Bytes of the text.
        found: usize,
    },
    /// A character that base64 has not, or bits beyond the 32nd byte.
    #[error("not a base64 key (as `wg genkey` prints it)")]
    NotBase64,
    /// A character other than 0-9, a-f, A-F.
    #[error("not a key in hexadecimal digits")]
    NotHex,
}

/// Reads the 44 characters that `wg genkey` prints.
///
/// # Errors
/// Another length, a foreign character, or bits set beyond the 32nd byte.
pub fn from_base64(text: &[u8]) -> Result<Secret<KEY_LEN>, KeyParseError> {
    if text.len() != BASE64_LEN {
        return Err(KeyParseError::Length {
            expected: BASE64_LEN,
            found: text.len(),
        });
    }
    let mut key = Secret::zeroed();
    match Base64::decode(text, key.expose_mut()) {
        Ok(bytes) if bytes.len() == KEY_LEN => Ok(key),
        _ => Err(KeyParseError::NotBase64),
    }
}

/// Reads 64 hexadecimal digits of either case.
///
/// # Errors
/// Another length, or a character that is no hexadecimal digit.
pub fn from_hex(text: &[u8]) -> Result<Secret<KEY_LEN>, KeyParseError> {
    if text.len() != HEX_LEN {
        return Err(KeyParseError::Length {
            expected: HEX_LEN,
            found: text.len(),
        });
    }
    let mut key = Secret::zeroed();
    match base16ct::mixed::decode(text, key.expose_mut()) {
        Ok(_) => Ok(key),
        Err(_) => Err(KeyParseError::NotHex),
    }
}

/// The 44 characters that `wg` prints for this key.
#[must_use]
pub fn to_base64(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    Zeroizing::new(Base64::encode_string(key))
}

/// 64 lower-case hexadecimal digits, as UAPI wants them.
#[must_use]
pub fn to_hex(key: &[u8; KEY_LEN]) -> Zeroizing<String> {
    Zeroizing::new(base16ct::lower::encode_string(key))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BYTES: [u8; 32] = {
        let mut bytes = [0u8; 32];
        let mut i = 0;
        while i < 32 {
            bytes[i] = (i as u8).wrapping_mul(37).wrapping_add(0xf1);
            i += 1;
        }
        bytes
    };

    #[test]
    fn both_encodings_give_the_key_back() {
        for key in [BYTES, [0; 32], [0xff; 32]] {
            let b64 = to_base64(&key);
            let hex = to_hex(&key);
            assert_eq!(b64.len(), BASE64_LEN);
            assert_eq!(hex.len(), HEX_LEN);
            assert_eq!(*from_base64(b64.as_bytes()).unwrap().expose(), key);
            assert_eq!(*from_hex(hex.as_bytes()).unwrap().expose(), key);
            let upper = hex.to_uppercase();
            assert_eq!(*from_hex(upper.as_bytes()).unwrap().expose(), key);
        }
    }

    #[test]
    fn base64_is_the_ordinary_one() {
        // `printf` of 32 times 0xfb and `base64` of coreutils.
        let text = "+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/v7+/s=";
        assert_eq!(&*to_base64(&[0xfb; 32]), text);
        assert_eq!(*from_base64(text.as_bytes()).unwrap().expose(), [0xfb; 32]);
    }

    #[test]
    fn every_other_length_is_refused_with_its_length() {
        let b64 = to_base64(&BYTES).repeat(2);
        let hex = to_hex(&BYTES).repeat(2);
        for n in 0..=88 {
            if n != BASE64_LEN {
                assert_eq!(
                    from_base64(&b64.as_bytes()[..n]).unwrap_err(),
                    KeyParseError::Length {
                        expected: 44,
                        found: n
                    }
                );
            }
            if n != HEX_LEN {
                assert!(from_hex(&hex.as_bytes()[..n]).is_err());
            }
        }
    }

    #[test]
    fn every_foreign_character_at_every_place_is_refused() {
        let b64 = to_base64(&BYTES);
        let hex = to_hex(&BYTES);
        for byte in 0..=255u8 {
            let ok64 = byte.is_ascii_alphanumeric() || byte == b'+' || byte == b'/';
            for at in 0..BASE64_LEN {
                let mut text = b64.as_bytes().to_vec();
                text[at] = byte;
                let parsed = from_base64(&text);
                match at {
                    43 => assert_eq!(parsed.is_ok(), byte == b'='),
                    // Four of the six bits of the last character belong to the key.
                    42 => assert!(parsed.is_err() || ok64),
                    _ => assert_eq!(parsed.is_ok(), ok64, "{byte:#x} at {at}"),
                }
            }
            for at in 0..HEX_LEN {
                let mut text = hex.as_bytes().to_vec();
                text[at] = byte;
                assert_eq!(from_hex(&text).is_ok(), byte.is_ascii_hexdigit());
            }
        }
    }

    #[test]
    fn bits_beyond_the_key_are_refused() {
        // 16 of the 64 possible last characters leave the two surplus bits zero.
        let alphabet = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
        let mut text = to_base64(&BYTES).as_bytes().to_vec();
        let accepted = alphabet
            .iter()
            .filter(|c| {
                text[42] = **c;
                from_base64(&text).is_ok()
            })
            .count();
        assert_eq!(accepted, 16);
    }
}
