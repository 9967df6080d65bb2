//! Lines out of a byte stream that may be cut anywhere, in bounded memory.

use zeroize::Zeroize;

/// Longest line that is looked at, in bytes. The longest legal one, an
/// endpoint with a zone, has fewer than 100.
pub const MAX_LINE: usize = 1024;

/// Collects bytes until a line is whole. Lines with keys pass through here, so
/// what it held is wiped.
pub struct Lines {
    // Never grows: growing would leave copies of key lines behind.
    pending: Vec<u8>,
    state: State,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Collecting,
    /// More than `MAX_LINE` bytes came; the rest of the line is thrown away.
    Overlong,
    /// `pending` was handed out and makes room at the next call.
    HandedOut,
}

/// One line, without its line feed.
#[derive(Debug, PartialEq, Eq)]
pub enum Line<'a> {
    /// At most [`MAX_LINE`] bytes.
    Whole(&'a [u8]),
    /// More than that; its bytes were thrown away.
    TooLong,
}

impl Default for Lines {
    fn default() -> Self {
        Self {
            pending: Vec::with_capacity(MAX_LINE),
            state: State::Collecting,
        }
    }
}

impl Lines {
    /// Takes bytes off `input` up to and including the next line feed; `None`
    /// when the input ends before it. Call again with more input then.
    pub fn next<'a>(&'a mut self, input: &mut &[u8]) -> Option<Line<'a>> {
        if self.state == State::HandedOut {
            self.pending.zeroize();
            self.state = State::Collecting;
        }
        let end = input.iter().position(|&b| b == b'\n');
        let part = &input[..end.unwrap_or(input.len())];
        if self.state == State::Overlong || self.pending.len() + part.len() > MAX_LINE {
            self.state = State::Overlong;
            self.pending.zeroize();
        } else {
            self.pending.extend_from_slice(part);
        }
        *input = &input[part.len()..];
        end?;
        *input = &input[1..];
        let overlong = self.state == State::Overlong;
        self.state = State::HandedOut;
        Some(if overlong {
            Line::TooLong
        } else {
            Line::Whole(&self.pending)
        })
    }

    /// Whether a line has begun and not ended.
    #[must_use]
    pub fn is_partial(&self) -> bool {
        match self.state {
            State::Collecting => !self.pending.is_empty(),
            State::Overlong => true,
            State::HandedOut => false,
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        self.pending.zeroize();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn collect(lines: &mut Lines, mut input: &[u8]) -> Vec<Option<Vec<u8>>> {
        let mut out = Vec::new();
        while let Some(line) = lines.next(&mut input) {
            out.push(match line {
                Line::Whole(bytes) => Some(bytes.to_vec()),
                Line::TooLong => None,
            });
        }
        assert!(input.is_empty());
        out
    }

    #[test]
    fn a_line_may_come_in_any_pieces() {
        let text = b"set=1\n\nlisten_port=7\n";
        let expected = vec![
            Some(b"set=1".to_vec()),
            Some(Vec::new()),
            Some(b"listen_port=7".to_vec()),
        ];
        for cut in 0..=text.len() {
            let mut lines = Lines::default();
            let mut got = collect(&mut lines, &text[..cut]);
            got.extend(collect(&mut lines, &text[cut..]));
            assert_eq!(got, expected, "cut at {cut}");
            assert!(!lines.is_partial());
        }
    }

    #[test]
    fn an_endless_line_takes_no_memory_and_the_next_one_is_whole() {
        let mut lines = Lines::default();
        for _ in 0..1000 {
            assert!(collect(&mut lines, &[b'x'; 4096]).is_empty());
            assert!(lines.is_partial());
            assert!(lines.pending.capacity() <= 2 * MAX_LINE);
        }
        assert_eq!(
            collect(&mut lines, b"x\nok\n"),
            [None, Some(b"ok".to_vec())]
        );
    }

    #[test]
    fn the_limit_is_exact() {
        let mut lines = Lines::default();
        let mut longest = vec![b'x'; MAX_LINE];
        longest.push(b'\n');
        assert_eq!(collect(&mut lines, &longest), [Some(vec![b'x'; MAX_LINE])]);
        longest.insert(0, b'x');
        assert_eq!(collect(&mut lines, &longest), [None]);
    }
}
