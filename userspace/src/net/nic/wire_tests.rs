use super::*;
use proptest::prelude::*;

/// An error message: the number, and the head of the question.
fn refusal(code: i32, sequence: u32) -> Vec<u8> {
    let mut fixed = code.to_ne_bytes().to_vec();
    fixed.extend([0; HEADER]);
    question(NLMSG_ERROR, sequence, &fixed, &[])
}

#[test]
fn a_question_is_laid_out_as_the_kernel_reads_it() {
    let attributes = [Attribute {
        kind: 2,
        value: b"netdev\0",
    }];
    let bytes = question(16, 7, &[3, 1, 0, 0], &attributes);
    let mut expected = 32u32.to_ne_bytes().to_vec();
    expected.extend(16u16.to_ne_bytes());
    expected.extend(1u16.to_ne_bytes());
    expected.extend(7u32.to_ne_bytes());
    expected.extend(0u32.to_ne_bytes());
    expected.extend([3, 1, 0, 0]);
    expected.extend(11u16.to_ne_bytes());
    expected.extend(2u16.to_ne_bytes());
    expected.extend(b"netdev\0\0");
    assert_eq!(bytes, expected);
}

#[test]
fn a_refusal_is_the_kernels_number() {
    let error = answer(&refusal(-libc::ENOENT, 3), 16, 3).expect_err("refused");
    assert_eq!(error.raw_os_error(), Some(libc::ENOENT));
    for code in [0, 1, i32::MAX, i32::MIN] {
        let error = answer(&refusal(code, 3), 16, 3).expect_err("no answer");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{code}");
    }
}

#[test]
fn what_answers_another_question_is_no_answer() {
    let bytes = question(20, 5, &[1, 2, 3, 4], &[]);
    assert_eq!(answer(&bytes, 20, 5).expect("an answer"), [1, 2, 3, 4]);
    for (kind, sequence) in [(21, 5), (20, 6)] {
        let error = answer(&bytes, kind, sequence).expect_err("another's");
        assert_eq!(error.kind(), io::ErrorKind::InvalidData);
    }
}

/// All attributes that are told before the end or an error.
fn told(bytes: &[u8]) -> Vec<(u16, Vec<u8>)> {
    let mut all = Vec::new();
    let _ = attributes(bytes, |kind, value| all.push((kind, value.to_vec())));
    all
}

proptest! {
    #[test]
    fn attributes_come_back_and_every_truncation_tells_the_first_of_them(
        written in proptest::collection::vec(
            (0u16..0x3fff, proptest::collection::vec(any::<u8>(), 0..40)),
            0..8,
        ),
    ) {
        let list: Vec<_> = written
            .iter()
            .map(|(kind, value)| Attribute { kind: *kind, value })
            .collect();
        let bytes = question(20, 1, &[0; 4], &list);
        let payload = answer(&bytes, 20, 1).expect("an answer");
        let rest = after(payload, 4).expect("the header");
        prop_assert_eq!(&told(rest), &written);
        for len in 0..rest.len() {
            let some = told(&rest[..len]);
            prop_assert!(written.starts_with(&some));
        }
        // A message that is cut is shorter than it says.
        for len in 0..bytes.len() {
            prop_assert!(answer(&bytes[..len], 20, 1).is_err());
        }
    }

    #[test]
    fn any_bytes_are_read_without_harm(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        let sequence = bytes.get(8..12).and_then(number).unwrap_or(0);
        let kind = bytes.get(4..6).map_or(0, |kind| u16::from_ne_bytes([kind[0], kind[1]]));
        if let Ok(payload) = answer(&bytes, kind, sequence) {
            prop_assert!(payload.len() + HEADER <= bytes.len());
        }
        let values: usize = told(&bytes).iter().map(|(_, value)| 4 + value.len()).sum();
        prop_assert!(values <= bytes.len());
    }
}
