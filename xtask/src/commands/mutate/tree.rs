//! Copies that can be broken. Of the protocol core: the modules `tunnel` and
//! `crypto` and their tests, as a crate of their own, so that a change costs
//! the compilation of little more than itself. Of the data path: that, and the
//! modules `datapath`, `net` and `xsk`. Of the XDP programs: their workspace and
//! `common`.

use crate::paths;
use anyhow::{Context as _, Result, ensure};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// What the copy of the XDP programs consists of.
const XDP: &[&str] = &[
    "Cargo.toml",
    "common/Cargo.toml",
    "common/src",
    "ebpf/.cargo",
    "ebpf/Cargo.lock",
    "ebpf/Cargo.toml",
    "ebpf/src",
];

/// What the copy of the core consists of, unchanged.
const COPIED: &[&str] = &[
    "Cargo.lock",
    "common/Cargo.toml",
    "common/src",
    "userspace/src/crypto",
    "userspace/src/drops.rs",
    "userspace/src/tunnel",
    "userspace/tests/protocol",
];

/// What the copy of the data path has besides.
const COPIED_DATAPATH: &[&str] = &[
    "userspace/src/datapath",
    "userspace/src/net",
    "userspace/src/xsk",
];

/// Tests of more than the core, which the copy leaves out.
const LEFT_OUT: &[&str] = &["data_path", "ring_path"];

/// The main file of the tests, less the modules that are left out.
const TESTS: &str = "userspace/tests/protocol/main.rs";

/// The core's dependencies; the rest of ringtun's would only cost time. The
/// copy does not compile if one is missing.
const DEPENDENCIES: &[&str] = &[
    "arc-swap",
    "base16ct",
    "base64ct",
    "blake2",
    "chacha20",
    "chacha20poly1305",
    "crossbeam-utils",
    "getrandom",
    "hmac",
    "rand_core",
    "ring",
    "ringtun-common",
    "subtle",
    "thiserror",
    "x25519-dalek",
    "zeroize",
];

/// What the data path needs besides.
const DEPENDENCIES_DATAPATH: &[&str] = &[
    "aya",
    "crossbeam-queue",
    "futures-util",
    "libc",
    "mio",
    "netlink-packet-route",
    "nix",
    "proptest",
    "rtnetlink",
    "serde",
    "tempfile",
    "tokio",
    "tracing",
];

/// What lints are set below.
const LINTS: &str = "[workspace.lints.rust]";

const LIB: &str =
    "//! The protocol core alone.\n\npub mod crypto;\npub mod drops;\npub mod tunnel;\n";

/// Added to [`LIB`].
const LIB_DATAPATH: &str = "pub mod datapath;\npub mod net;\npub mod xsk;\n";

pub struct Tree {
    root: PathBuf,
}

impl Tree {
    /// Makes the copy of the core like the working tree.
    pub fn core() -> Result<Self> {
        let generated = [
            ("Cargo.toml", workspace_manifest()?),
            ("userspace/Cargo.toml", package_manifest(DEPENDENCIES)?),
            ("userspace/src/lib.rs", LIB.to_owned()),
            (TESTS, tests()?),
        ];
        let cleaned = &["common", "userspace"];
        Self::update("mutate", COPIED, LEFT_OUT, generated, cleaned)
    }

    /// Makes the copy of core and data path like the working tree.
    pub fn datapath() -> Result<Self> {
        let dependencies = [DEPENDENCIES, DEPENDENCIES_DATAPATH].concat();
        let generated = [
            ("Cargo.toml", workspace_manifest()?),
            ("userspace/Cargo.toml", package_manifest(&dependencies)?),
            ("userspace/src/lib.rs", format!("{LIB}{LIB_DATAPATH}")),
        ];
        let copied = [COPIED, COPIED_DATAPATH].concat();
        let cleaned = &["common", "userspace"];
        Self::update("mutate-datapath", &copied, &[], generated, cleaned)
    }

    /// Makes the copy of the XDP programs like the working tree.
    pub fn xdp() -> Result<Self> {
        Self::update("mutate-xdp", XDP, &[], [], &["common/src", "ebpf/src"])
    }

    /// What is the same stays untouched, so that nothing is compiled twice.
    fn update<const N: usize>(
        name: &str,
        copied: &[&str],
        left_out: &[&str],
        generated: [(&str, String); N],
        cleaned: &[&str],
    ) -> Result<Self> {
        let tree = Self {
            root: paths::target().join(name),
        };
        let is_generated = |path: &Path| generated.iter().any(|(name, _)| path == Path::new(name));
        let mut wanted = BTreeSet::new();
        for path in copied {
            tree.copy(Path::new(path), left_out, &is_generated, &mut wanted)?;
        }
        for (path, text) in &generated {
            wanted.insert(PathBuf::from(path));
            tree.write(Path::new(path), text.as_bytes())?;
        }
        for part in cleaned {
            tree.remove_others(Path::new(part), &wanted)?;
        }
        Ok(tree)
    }

    pub fn root(&self) -> &Path {
        &self.root
    }

    fn copy(
        &self,
        path: &Path,
        left_out: &[&str],
        is_generated: &impl Fn(&Path) -> bool,
        wanted: &mut BTreeSet<PathBuf>,
    ) -> Result<()> {
        let from = paths::root().join(path);
        if from.is_dir() {
            for entry in fs::read_dir(&from)? {
                self.copy(
                    &path.join(entry?.file_name()),
                    left_out,
                    is_generated,
                    wanted,
                )?;
            }
            return Ok(());
        }
        let content = fs::read(&from).with_context(|| format!("cannot read {}", from.display()))?;
        let left_out = path.starts_with("userspace/tests")
            && left_out.iter().any(|name| {
                let in_folder = path.iter().any(|part| part == *name);
                in_folder || path.file_stem().is_some_and(|stem| stem == *name)
            });
        if left_out || is_generated(path) {
            return Ok(());
        }
        wanted.insert(path.to_owned());
        // Cargo shortens the copy's lock file; that is no difference.
        if path == Path::new("Cargo.lock") && self.root.join(path).exists() {
            return Ok(());
        }
        self.write(path, &content)
    }

    /// Writes a file if it is different.
    pub fn write(&self, path: &Path, content: &[u8]) -> Result<()> {
        let to = self.root.join(path);
        if fs::read(&to).is_ok_and(|old| old == content) {
            return Ok(());
        }
        if let Some(directory) = to.parent() {
            fs::create_dir_all(directory)?;
        }
        fs::write(&to, content).with_context(|| format!("cannot write {}", to.display()))
    }

    fn remove_others(&self, directory: &Path, wanted: &BTreeSet<PathBuf>) -> Result<()> {
        for entry in fs::read_dir(self.root.join(directory))? {
            let entry = entry?;
            let path = directory.join(entry.file_name());
            if entry.file_type()?.is_dir() {
                self.remove_others(&path, wanted)?;
            } else if !wanted.contains(&path) {
                fs::remove_file(entry.path())?;
            }
        }
        Ok(())
    }
}

/// The workspace's manifest with fewer members: profiles, lints and versions
/// are the real ones.
fn workspace_manifest() -> Result<String> {
    let text = fs::read_to_string(paths::root().join("Cargo.toml"))?;
    let mut found = false;
    let lines = text.lines().map(|line| {
        if line.starts_with("members = ") {
            found = true;
            "members = [\"common\", \"userspace\"]"
        } else if line.starts_with("exclude = ") {
            ""
        } else {
            line
        }
    });
    let manifest = lines.collect::<Vec<_>>().join("\n");
    ensure!(found, "Cargo.toml: no line `members = …`");
    // A mutation leaves values unused; that is not what is looked for.
    let quiet = format!("{LINTS}\nwarnings = \"allow\"");
    ensure!(manifest.contains(LINTS), "Cargo.toml: no line `{LINTS}`");
    let manifest = manifest.replacen(LINTS, &quiet, 1);
    Ok(manifest + "\n")
}

/// The package's manifest with these dependencies only.
fn package_manifest(dependencies: &[&str]) -> Result<String> {
    let text = fs::read_to_string(paths::root().join("userspace/Cargo.toml"))?;
    let mut manifest = String::new();
    let mut in_dependencies = false;
    let mut in_features = false;
    let mut in_target = false;
    for line in text.lines() {
        if line.starts_with('[') {
            in_dependencies = line.contains("dependencies");
            in_features = line == "[features]";
            // `[[test]]`: of files that the copy has not.
            in_target = line.starts_with("[[");
        }
        if in_target {
            continue;
        }
        // A feature that brings dependencies is of modules that the copy has not.
        if in_features && !line.starts_with('[') && !line.ends_with("= []") {
            continue;
        }
        let name = line.split(['.', ' ', '=']).next().unwrap_or_default();
        if !in_dependencies || line.starts_with('[') || dependencies.contains(&name) {
            manifest += line;
            manifest += "\n";
        }
    }
    Ok(manifest)
}

/// The main file of the tests without the modules that the copy has not.
fn tests() -> Result<String> {
    let text = fs::read_to_string(paths::root().join(TESTS))?;
    let is_left_out = |line: &str| LEFT_OUT.iter().any(|name| line == format!("mod {name};"));
    let lines = text.lines().filter(|line| !is_left_out(line));
    Ok(lines.map(|line| format!("{line}\n")).collect())
}
