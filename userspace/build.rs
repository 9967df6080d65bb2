//! Embeds the BPF object that `$RINGTUN_BPF` names (`cargo xtask build` sets
//! it). Without it the crate builds all the same, and there is no XDP.

use std::path::PathBuf;
use std::{env, fs, process};

fn main() {
    println!("cargo::rustc-check-cfg=cfg(ringtun_bpf)");
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=RINGTUN_BPF");
    let Some(object) = env::var_os("RINGTUN_BPF").filter(|path| !path.is_empty()) else {
        return;
    };
    let object = PathBuf::from(object);
    println!("cargo::rerun-if-changed={}", object.display());
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("cargo sets OUT_DIR"));
    if let Err(error) = fs::copy(&object, out.join("ringtun.bpf.o")) {
        eprintln!(
            "RINGTUN_BPF={}: {error}. Build it with `cargo xtask build`, or unset RINGTUN_BPF \
             to build without XDP.",
            object.display()
        );
        process::exit(1);
    }
    println!("cargo::rustc-cfg=ringtun_bpf");
}
