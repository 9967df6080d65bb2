//! The labels of a sample in Prometheus' text format.

/// Labels that are the same for samples of several families, written once:
///
/// ```text
/// {device="wg0",public_key="xTIBA5rboUvnH4htodjb6e697QjLERt1NAB4mZqp8Dg="}
/// ```
#[derive(Debug)]
pub(super) struct Labels {
    names: &'static [&'static str],
    text: Vec<u8>,
}

impl Labels {
    /// Of these names, which [`Self::set`] gives values.
    pub(super) const fn new(names: &'static [&'static str]) -> Self {
        Self {
            names,
            text: Vec::new(),
        }
    }

    /// The values, in the order of the names, in place of those before.
    pub(super) fn set(&mut self, values: &[&str]) {
        self.text.clear();
        write(&mut self.text, self.names, values, None);
    }

    pub(super) fn names(&self) -> &'static [&'static str] {
        self.names
    }

    pub(super) fn text(&self) -> &[u8] {
        &self.text
    }
}

/// Writes labels and one more, if there is; nothing without any.
pub(super) fn write(
    out: &mut Vec<u8>,
    names: &[&str],
    values: &[&str],
    more: Option<(&str, &str)>,
) {
    debug_assert_eq!(names.len(), values.len(), "{names:?}");
    let mut before = b'{';
    for (name, value) in names
        .iter()
        .copied()
        .zip(values.iter().copied())
        .chain(more)
    {
        out.push(before);
        out.extend_from_slice(name.as_bytes());
        out.extend_from_slice(b"=\"");
        escaped(out, value);
        out.push(b'"');
        before = b',';
    }
    if before == b',' {
        out.push(b'}');
    }
}

/// A value with what would end it, or its line, written in another way.
fn escaped(out: &mut Vec<u8>, value: &str) {
    let mut rest = value.as_bytes();
    while let Some(at) = rest
        .iter()
        .position(|byte| matches!(byte, b'\\' | b'"' | b'\n'))
    {
        let (plain, special) = rest.split_at(at);
        out.extend_from_slice(plain);
        out.extend_from_slice(match special[0] {
            b'\n' => b"\\n",
            b'"' => b"\\\"",
            _ => b"\\\\",
        });
        rest = &special[1..];
    }
    out.extend_from_slice(rest);
}
