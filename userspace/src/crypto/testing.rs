//! What tests of cryptography share.

/// Bytes of a text of hexadecimal digits; white space and a lone `-` are nothing.
pub(crate) fn hex(text: &str) -> Vec<u8> {
    let digits: Vec<u8> = text
        .chars()
        .filter(|c| !c.is_whitespace() && *c != '-')
        .map(|c| c.to_digit(16).expect("a vector is in hex") as u8)
        .collect();
    assert_eq!(digits.len() % 2, 0, "half a byte in {text}");
    digits.chunks(2).map(|d| d[0] << 4 | d[1]).collect()
}

/// As [`hex`], of a known length.
pub(crate) fn hex_array<const N: usize>(text: &str) -> [u8; N] {
    hex(text).try_into().expect("a vector has the right length")
}
