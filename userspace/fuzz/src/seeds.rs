//! Writes a target's seeds where the fuzzer looks for its corpus.

use crate::Seed;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

/// Writes each seed as `DIRECTORY/CASE`, for the first directory on the command
/// line; nothing if there is none (a single input is being run again).
pub fn write(seeds: &[Seed]) {
    let Some(corpus) = corpus(std::env::args_os().skip(1)) else {
        return;
    };
    for (case, bytes) in seeds {
        write_one(&corpus.join(case), bytes);
    }
}

fn corpus(arguments: impl Iterator<Item = OsString>) -> Option<PathBuf> {
    arguments.map(PathBuf::from).find(|path| path.is_dir())
}

fn write_one(path: &Path, bytes: &[u8]) {
    if fs::read(path).is_ok_and(|old| old == bytes) {
        return;
    }
    if let Err(error) = fs::write(path, bytes) {
        eprintln!("seed {}: {error}", path.display());
    }
}
