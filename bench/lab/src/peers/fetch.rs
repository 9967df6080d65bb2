//! Gets implementations from where they are published, once, into a cache directory.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, ensure};

use super::{Implementation, Prepared};
use crate::netns::finish;
use crate::tools;

/// ringtun itself.
pub(super) fn ringtun(binary: &Path) -> Result<Prepared> {
    ensure!(
        binary.is_file(),
        "{} is missing (cargo build --release -p ringtun)",
        binary.display()
    );
    let version = finish(Command::new(binary).arg("--version").stdin(Stdio::null()))?;
    Ok(Prepared {
        implementation: Implementation::Ringtun(binary.to_owned()),
        version: first_line(&version)
            .trim_start_matches("ringtun ")
            .to_owned(),
        program: binary.to_owned(),
    })
}

/// wireguard-go from Debian unstable: the stable releases have one without offloads (2022).
///
/// Unpacked, not installed.
pub(super) fn wireguard_go(cache: &Path) -> Result<Prepared> {
    let directory = cached(cache, "wireguard-go", |new| {
        let apt = Apt::suite(new, "unstable")?;
        let package = apt.download("wireguard-go")?;
        let version = unpack(&package, new)?;
        fs::write(new.join("VERSION"), version)?;
        apt.remove()
    })?;
    Ok(Prepared {
        implementation: Implementation::WireguardGo,
        version: fs::read_to_string(directory.join("VERSION"))?,
        program: directory.join("usr/bin/wireguard-go"),
    })
}

/// Prometheus' own judge of metrics and rules.
///
/// # Errors
/// As [`prometheus`].
pub fn promtool(cache: &Path) -> Result<PathBuf> {
    Ok(prometheus(cache)?.with_file_name("promtool"))
}

/// Prometheus. Unpacked, not installed: the package would start a server.
///
/// # Errors
/// apt cannot fetch the package.
pub fn prometheus(cache: &Path) -> Result<PathBuf> {
    let directory = cached(cache, "promtool", |new| {
        let apt = Apt::configured(new)?;
        unpack(&apt.download_newest(|| Ok("prometheus".into()))?, new)?;
        apt.remove()
    })?;
    Ok(directory.join("usr/bin/prometheus"))
}

/// boringtun's command line program, built by `cargo install`.
pub(super) fn boringtun(cache: &Path) -> Result<Prepared> {
    let directory = cached(cache, "boringtun", |new| {
        finish(
            Command::new("cargo")
                .args(["install", "boringtun-cli", "--locked", "--quiet", "--root"])
                .arg(new)
                // What a calling cargo says about its own build does not hold for this one.
                .env_remove("CARGO_TARGET_DIR")
                .env_remove("RUSTFLAGS")
                .env_remove("RUSTC")
                .stdin(Stdio::null()),
        )
        .map(drop)
    })?;
    let program = directory.join("bin/boringtun-cli");
    let version = finish(Command::new(&program).arg("--version"))?;
    Ok(Prepared {
        implementation: Implementation::Boringtun,
        version: first_line(&version)
            .rsplit(' ')
            .next()
            .unwrap_or_default()
            .to_owned(),
        program,
    })
}

/// `cache/name`, made by `make` in a directory beside it unless it is there.
///
/// One process makes it while others wait; a half-made one is never seen.
pub(super) fn cached(
    cache: &Path,
    name: &str,
    make: impl FnOnce(&Path) -> Result<()>,
) -> Result<PathBuf> {
    fs::create_dir_all(cache).with_context(|| format!("{}", cache.display()))?;
    let directory = cache.join(name);
    let lock = File::create(cache.join(format!(".{name}.lock")))?;
    lock.lock()?;
    if directory.is_dir() {
        return Ok(directory);
    }
    let new = cache.join(format!(".{name}.new"));
    let _ = fs::remove_dir_all(&new);
    fs::create_dir_all(&new)?;
    eprintln!("fetching {name} into {}", cache.display());
    make(&new).with_context(|| format!("cannot fetch {name}"))?;
    fs::rename(&new, &directory)?;
    Ok(directory)
}

/// apt with lists of its own, so that the machine's configuration stays as it is.
pub(super) struct Apt {
    directory: PathBuf,
    options: Vec<String>,
}

impl Apt {
    /// Looks at one suite of Debian, on the mirror that this machine uses.
    pub(super) fn suite(near: &Path, suite: &str) -> Result<Apt> {
        let targets = finish(Command::new("apt-get").args([
            "indextargets",
            "--format",
            "$(ORIGIN)|$(LABEL)|$(REPO_URI)",
            "Created-By: Packages",
        ]))?;
        let mirror = targets
            .lines()
            .find_map(|line| line.strip_prefix("Debian|Debian|"))
            .context("apt knows no Debian mirror (apt-get update?)")?;
        let directory = near.join("apt");
        for part in ["lists/partial", "cache/archives/partial"] {
            fs::create_dir_all(directory.join(part))?;
        }
        let list = directory.join("sources.list");
        fs::write(
            &list,
            format!(
                "deb [signed-by=/usr/share/keyrings/debian-archive-keyring.gpg] {mirror} {suite} main\n"
            ),
        )?;
        let shown = directory.display();
        let options = [
            format!("Dir::State::lists={shown}/lists"),
            format!("Dir::Cache={shown}/cache"),
            format!("Dir::Etc::sourcelist={shown}/sources.list"),
            "Dir::Etc::sourceparts=-".into(),
            "Acquire::Languages=none".into(),
            "APT::Sandbox::User=root".into(),
        ];
        let apt = Apt {
            options: options
                .into_iter()
                .flat_map(|option| ["-o".to_owned(), option])
                .collect(),
            directory,
        };
        apt.run(&["update"])?;
        Ok(apt)
    }

    /// Looks where the machine's own apt looks.
    pub(super) fn configured(near: &Path) -> Result<Apt> {
        let directory = near.join("apt");
        fs::create_dir_all(&directory)?;
        Ok(Apt {
            directory,
            options: vec!["-o".into(), "APT::Sandbox::User=root".into()],
        })
    }

    fn run(&self, arguments: &[&str]) -> Result<String> {
        self.call("apt-get", arguments)
    }

    /// Asks `apt-cache`.
    pub(super) fn cache(&self, arguments: &[&str]) -> Result<String> {
        self.call("apt-cache", arguments)
    }

    fn call(&self, program: &str, arguments: &[&str]) -> Result<String> {
        finish(
            Command::new(program)
                .arg("--quiet")
                .args(&self.options)
                .args(arguments)
                .current_dir(&self.directory)
                .stdin(Stdio::null()),
        )
    }

    /// Downloads what the machine's own lists name; where they are missing, or the mirror has moved
    /// on since they were made, after fetching them.
    pub(super) fn download_newest(&self, name: impl Fn() -> Result<String>) -> Result<PathBuf> {
        name().and_then(|name| self.download(&name)).or_else(|_| {
            tools::apt(&["update"])?;
            self.download(&name()?)
        })
    }

    /// Downloads one package; returns its file.
    pub(super) fn download(&self, package: &str) -> Result<PathBuf> {
        self.run(&["download", package])?;
        let prefix = format!("{package}_");
        fs::read_dir(&self.directory)?
            .flatten()
            .map(|entry| entry.path())
            .find(|path| {
                path.file_name()
                    .and_then(|name| name.to_str())
                    .is_some_and(|name| name.starts_with(&prefix) && name.ends_with(".deb"))
            })
            .with_context(|| format!("apt-get download {package} left no file"))
    }

    /// Removes lists and packages.
    pub(super) fn remove(self) -> Result<()> {
        Ok(fs::remove_dir_all(self.directory)?)
    }
}

/// Unpacks a package into `directory` without installing it; returns its version.
pub(super) fn unpack(package: &Path, directory: &Path) -> Result<String> {
    tools::need(&[("dpkg-deb", "dpkg")])?;
    finish(
        Command::new("dpkg-deb")
            .arg("-x")
            .arg(package)
            .arg(directory),
    )?;
    let version = finish(
        Command::new("dpkg-deb")
            .arg("-f")
            .arg(package)
            .arg("Version"),
    )?;
    Ok(version.trim().to_owned())
}

fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default().trim()
}
