//! The operating system's random bytes.

use getrandom::SysRng;
use rand_core::UnwrapErr;

/// `getrandom(2)` as an infallible generator.
pub type OsRng = UnwrapErr<SysRng>;

/// The operating system's generator.
///
/// It panics if the kernel gives no random bytes: going on without them would
/// give keys away.
#[must_use]
pub const fn os_rng() -> OsRng {
    UnwrapErr(SysRng)
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_core::Rng;

    #[test]
    fn no_two_draws_are_equal() {
        let mut draws = [[0u8; 32]; 8];
        for draw in &mut draws {
            os_rng().fill_bytes(draw);
        }
        for (i, draw) in draws.iter().enumerate() {
            assert!(!draws[..i].contains(draw));
            assert_ne!(*draw, [0; 32]);
        }
    }
}
