//! `ringtun report [NAME]`.

use std::fs::{self, File, OpenOptions};
use std::io::{self, Write as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::SystemTime;

use anyhow::{Context as _, Result, bail};
use clap::Args;
use rand_core::Rng as _;
use time::OffsetDateTime;

use super::doctor;
use super::output::print;
use super::tunnels::locate;
use crate::control::report::gathered::TUNNELS_MAX;
use crate::control::report::{Form, Gathered, Made, Show, make};
use crate::crypto::os_rng;

#[derive(Args)]
#[command(after_help = "\
One file with what a maintainer asks for: versions, what doctor finds, the tunnel's file
and state, drops by reason, I/O mode, links, routes, rules, how many rules the firewall
has and where, kernel switches, and the events of the log where it is in the journal. It
changes nothing, sends nothing, and takes at most 10 s.

It is made of numbers, of words that ringtun knows, and of pseudonyms: peer-1, host-1,
tunnel-1, veth-2 and mac-1 mean the same everywhere in one report and nothing beyond it.
No text of the machine gets in: of a hook, a name or a message it says how long it is.
Addresses are replaced by others that share as many bits as the real ones, so that one
still sees what lies in which network; --addresses leaves them as they are. Before it is
written, the report is searched for every key, name and address that was seen; with one
of them in it, it is not written.

The file is for its owner only (mode 0600), and never written over another one or
through a link. Read it before you send it. The default name of the file has the name of
the tunnel in it; the report has not.

Examples:
  sudo ringtun report wg0
  sudo ringtun report --output - | less
  sudo ringtun report wg0 --json --output - | jq '.sections[] | select(.section == \"doctor\")'")]
pub struct ReportArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf; all there are without
    #[arg(value_name = "NAME or FILE")]
    name: Option<String>,

    /// Where to write it; - is standard output [default: ringtun-report-NAME-DATE.txt]
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,

    /// Leave IP addresses as they are
    #[arg(long)]
    addresses: bool,

    /// Write one JSON object
    #[arg(long)]
    json: bool,

    /// Replace a file of that name
    #[arg(long)]
    force: bool,
}

/// Asks, writes, and says what was written.
pub fn run(args: &ReportArgs) -> Result<ExitCode> {
    let tunnels = match &args.name {
        Some(name) => {
            let (path, name) = locate(name)?;
            vec![(name, path)]
        }
        None => doctor::tunnels().into_iter().collect(),
    };
    let path = args.output.clone().unwrap_or_else(|| {
        let name = args.name.as_ref().and(tunnels.first());
        let name = name.map_or_else(String::new, |(name, _)| format!("{name}-"));
        let kind = if args.json { "json" } else { "txt" };
        format!("ringtun-report-{name}{}.{kind}", date(SystemTime::now())).into()
    });
    let to_terminal = path == Path::new("-");
    // Before the work.
    if !to_terminal && !args.force && path.symlink_metadata().is_ok() {
        bail!(there_already(&path));
    }
    let of_file = args.name.as_ref().and(tunnels.first());
    let of_file = of_file.map(|(_, path)| path.to_string_lossy().into_owned());
    let gathered = Gathered::of_this_machine(&tunnels, of_file.as_deref());
    let form = if args.json { Form::Json } else { Form::Text };
    let random = || {
        let mut key = [0; 32];
        os_rng().fill_bytes(&mut key);
        key
    };
    let made = make(&gathered, args.addresses, form, random).context(
        "the report was not written, which is a bug of ringtun: please tell its maintainers \
         which section and what, and send what `ringtun doctor` says as far as you like",
    )?;
    if to_terminal {
        print(&made.text)?;
        return Ok(ExitCode::SUCCESS);
    }
    write(&path, &made.text, args.force)?;
    print(&said(&path, &made, tunnels.len()))?;
    Ok(ExitCode::SUCCESS)
}

fn said(path: &Path, made: &Made, tunnels: usize) -> String {
    let addresses = match made.show {
        Show::Real => "Addresses are REAL.",
        Show::Others => "Addresses are replaced by others.",
        Show::Kinds => "Addresses are told by their kind only.",
    };
    let left_out = match tunnels.checked_sub(TUNNELS_MAX) {
        None | Some(0) => String::new(),
        Some(more) => format!("{more} tunnels are left out: name one.\n"),
    };
    format!(
        "{}: {} bytes, for its owner only.\n\
         In it: {}.\n\
         Keys, names, commands and paths are not. {addresses}\n\
         {left_out}Read it before you send it.\n",
        path.display(),
        made.text.len(),
        made.sections.join(", "),
    )
}

fn there_already(path: &Path) -> String {
    format!(
        "{} is there already; --output names another file, --force replaces it",
        path.display()
    )
}

/// A new file, or, if it may replace one, that in its place: a link is replaced, not
/// followed.
fn write(path: &Path, text: &str, force: bool) -> Result<()> {
    let create = |path: &Path| -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.write(true).create_new(true).mode(0o600).open(path)
    };
    let failed = || format!("cannot write {}", path.display());
    if !force {
        let mut file = match create(path) {
            Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
                bail!(there_already(path))
            }
            other => other.with_context(failed)?,
        };
        let written = file.write_all(text.as_bytes());
        if written.is_err() {
            // Half of one is none. It is ours: it was not there.
            let _ = fs::remove_file(path);
        }
        return written.with_context(failed);
    }
    let mut beside = path.as_os_str().to_owned();
    beside.push(format!(".{}", std::process::id()));
    let beside = PathBuf::from(beside);
    let mut file = create(&beside).with_context(failed)?;
    let written = file.write_all(text.as_bytes());
    let written = written.and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        let _ = fs::remove_file(&beside);
    }
    written.with_context(failed)
}

/// `2026-11-27-103045`, in UTC.
fn date(now: SystemTime) -> String {
    let now = OffsetDateTime::from(now);
    let (year, month, day) = now.to_calendar_date();
    let (hour, minute, second) = now.to_hms();
    let month = u8::from(month);
    format!("{year:04}-{month:02}-{day:02}-{hour:02}{minute:02}{second:02}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::{PermissionsExt as _, symlink};
    use std::time::Duration;

    #[test]
    fn a_date_sorts_as_text() {
        let at = SystemTime::UNIX_EPOCH + Duration::from_secs(1_709_164_805);
        assert_eq!(date(at), "2024-02-29-000005");
    }

    #[test]
    fn a_report_goes_over_no_file_and_through_no_link_and_is_the_owners() {
        let directory = tempfile::tempdir().unwrap();
        let at = |name: &str| directory.path().join(name);
        let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
        fs::write(at("other"), "other").unwrap();
        symlink(at("other"), at("link")).unwrap();
        symlink(at("nowhere"), at("dangling")).unwrap();
        for name in ["other", "link", "dangling"] {
            let error = write(&at(name), "new", false).unwrap_err().to_string();
            assert!(error.contains("--force"), "{error}");
        }
        assert!(!at("nowhere").exists());
        write(&at("new"), "new", false).unwrap();
        assert_eq!(mode(&at("new")), 0o600);
        for name in ["link", "dangling", "new"] {
            write(&at(name), "newer", true).unwrap();
            assert!(!at(name).is_symlink(), "{name}");
            assert_eq!(fs::read_to_string(at(name)).unwrap(), "newer");
            assert_eq!(mode(&at(name)), 0o600);
        }
        assert_eq!(fs::read_to_string(at("other")).unwrap(), "other");
        assert!(!at("nowhere").exists());
        assert!(write(&at("no/such"), "x", false).is_err());
        assert!(write(directory.path(), "x", true).is_err());
        let left = fs::read_dir(directory.path()).unwrap().count();
        assert_eq!(left, 4, "nothing is left beside");
    }
}
