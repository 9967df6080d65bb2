//! Names that no other run on this machine uses.

use std::sync::atomic::{AtomicU32, Ordering};

/// A fresh name: `rt`, the process id, a tag of at most two letters, a counter.
///
/// At most 15 bytes long (the limit of a link name) for up to 9,999 names per tag and process.
/// WireGuard's socket directory is shared by all namespaces, so device names have to be unique on
/// the machine, not only in their namespace.
#[must_use]
pub fn unique(tag: &str) -> String {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    let name = format!(
        "rt{}{tag}{}",
        std::process::id(),
        NEXT.fetch_add(1, Ordering::Relaxed)
    );
    debug_assert!(name.len() <= 15, "{name} is too long for a link name");
    name
}

#[cfg(test)]
mod tests {
    use super::unique;

    #[test]
    fn names_differ_and_fit_a_link() {
        let (a, b) = (unique("wg"), unique("wg"));
        assert_ne!(a, b);
        assert!(a.len() <= 15 && b.len() <= 15);
    }
}
