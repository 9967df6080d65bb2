//! Which packages a binary needs, by the libraries and symbol versions in its ELF file.

use crate::process;
use anyhow::{Context as _, Result, bail, ensure};
use std::path::Path;

/// Debian 12's: the oldest that packages are for.
const GLIBC_MAX: (u32, u32) = (2, 36);

/// The field `Depends` of a package with this binary.
pub fn of(binary: &Path) -> Result<String> {
    let mut command = process::command("readelf");
    command.args(["-W", "-d", "-V"]).arg(binary);
    from_readelf(&process::output(command)?)
        .with_context(|| format!("what {} needs", binary.display()))
}

fn from_readelf(text: &str) -> Result<String> {
    let mut gcc = false;
    for line in text.lines().filter(|line| line.contains("(NEEDED)")) {
        let library = line
            .split_once('[')
            .and_then(|(_, rest)| rest.split_once(']'));
        let (library, _) = library.with_context(|| format!("readelf says {line:?}"))?;
        match library {
            "libc.so.6" | "libm.so.6" => {}
            "libgcc_s.so.1" => gcc = true,
            loader if loader.starts_with("ld-linux-") => {}
            other => bail!("no package is known for {other}"),
        }
    }
    let newest = text
        .split("Name: GLIBC_")
        .skip(1)
        .filter_map(|rest| version(rest.split_whitespace().next()?))
        .max()
        .context("readelf names no version of glibc")?;
    ensure!(
        newest <= GLIBC_MAX,
        "it needs glibc {}.{}, and Debian 12 has {}.{}: build it on Debian 12",
        newest.0,
        newest.1,
        GLIBC_MAX.0,
        GLIBC_MAX.1
    );
    let gcc = if gcc { ", libgcc-s1 (>= 4.2)" } else { "" };
    Ok(format!(
        "libc6 (>= {}.{}){gcc}, iproute2",
        newest.0, newest.1
    ))
}

/// `2.34` or `2.2.5`; none of `PRIVATE`.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split('.');
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    const GOOD: &str = "\
 0x1 (NEEDED)             Shared library: [libgcc_s.so.1]
 0x1 (NEEDED)             Shared library: [libc.so.6]
 0x1 (NEEDED)             Shared library: [ld-linux-x86-64.so.2]
  0x0010:   Name: GLIBC_2.9  Flags: none  Version: 7
  0x0020:   Name: GLIBC_2.34  Flags: none  Version: 9
  0x0030:   Name: GLIBC_2.2.5  Flags: none  Version: 9
";

    #[test]
    fn the_newest_symbol_decides() {
        assert_eq!(
            from_readelf(GOOD).unwrap(),
            "libc6 (>= 2.34), libgcc-s1 (>= 4.2), iproute2"
        );
    }

    #[test]
    fn what_debian_12_has_not_is_refused() {
        let new = from_readelf(&GOOD.replace("2.34", "2.38")).unwrap_err();
        assert!(new.to_string().contains("needs glibc 2.38"), "{new}");
        let other = from_readelf(&GOOD.replace("libc.so.6", "libssl.so.3")).unwrap_err();
        assert!(other.to_string().contains("libssl.so.3"), "{other}");
        assert!(from_readelf("").is_err());
    }
}
