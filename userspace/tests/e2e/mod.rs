//! What the end-to-end tests share: the program under test.

use std::path::PathBuf;

use ringtun_lab::peers::{Implementation, Prepared};

/// The `ringtun` under test: the one that `$RINGTUN_TEST_BINARY` names (`cargo xtask test` names the
/// release build, which is what users run), else the one that cargo built for these tests.
///
/// These tests make namespaces and need root; without it they fail and say so.
pub fn ringtun() -> Prepared {
    let binary = std::env::var_os("RINGTUN_TEST_BINARY").map_or_else(
        || PathBuf::from(env!("CARGO_BIN_EXE_ringtun")),
        PathBuf::from,
    );
    Implementation::Ringtun(binary)
        .prepare(&ringtun_lab::peers::default_cache())
        .expect("the binary under test runs")
}
