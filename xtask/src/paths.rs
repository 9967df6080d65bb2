//! Where things are.

use std::env;
use std::path::{Path, PathBuf};

/// The root of the repository.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .expect("xtask lies in the repository")
}

/// The root workspace's target directory.
pub fn target() -> PathBuf {
    match env::var_os("CARGO_TARGET_DIR") {
        Some(directory) => root().join(directory),
        None => root().join("target"),
    }
}

/// What `cargo install` installs for this repository alone.
pub fn tools() -> PathBuf {
    target().join("tools")
}

/// The BPF object to be embedded.
pub fn bpf_object() -> PathBuf {
    target().join("bpf/ringtun.o")
}

/// Outputs of programs that are of interest only when they fail.
pub fn log(name: &str) -> PathBuf {
    target().join("logs").join(format!("{name}.log"))
}

/// The file of a program on PATH, or in the directories of root's programs.
pub fn find_program(name: &str) -> Option<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    env::split_paths(&path)
        .chain(["/usr/local/sbin", "/usr/sbin", "/sbin"].map(PathBuf::from))
        .map(|directory| directory.join(name))
        .find(|file| file.is_file())
}
