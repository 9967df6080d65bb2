//! The process that takes a tunnel down for a daemon which can no longer do so itself.
//!
//! A daemon that is set up starts no programs ([`crate::confine`]); hooks, `ip`, `nft` and
//! resolvconf are programs. So before it gives that up, it starts this second process,
//! which has the rights that the daemon began with, and waits. It reads one byte from the
//! daemon and nothing from anybody else: which of these things is to be done is all that a
//! daemon taken over by an attacker could tell it. What is done, it reads from the journal.
//!
//! The byte is [`DOWN`] or [`CLEAN`], perhaps after [`QUIET`]; the answer is a zero byte,
//! or the text of an error.
//! When the daemon ends without a word, as by SIGKILL, so does the keeper, and does
//! nothing: what keeps packets from leaving in the clear has to stay.

use std::env;
use std::fs::File;
use std::io::{self, Read, Write};
use std::os::unix::process::{CommandExt as _, parent_id};
use std::path::Path;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use anyhow::{Context, Result, bail};
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};

use super::down::{self, NotUp};
use super::journal::Place;
use crate::control::names::InterfaceName;

/// Holds the device's name in the process that is a keeper.
pub const MARK: &str = "RINGTUN_KEEPER_OF";

/// As `ringtun down`.
const DOWN: u8 = b'd';
/// The device is gone: the rest without hooks.
const CLEAN: u8 = b'c';
/// Lets go of standard error, which is somebody's terminal or pipe. There is no answer.
const QUIET: u8 = b'q';
const DONE: u8 = 0;

/// An error is a few lines; who says more is broken.
const LONGEST: u64 = 64 * 1024;

const GONE: &str = "the process that takes the tunnel down is gone; `ringtun down` does it";

/// The keeper, as its daemon sees it. It ends when this is dropped.
#[derive(Debug)]
pub struct Keeper {
    child: Child,
    orders: Option<ChildStdin>,
    answer: ChildStdout,
}

impl Keeper {
    /// Starts one for `name`.
    ///
    /// # Errors
    /// The program's own file is not to be found, or cannot be started.
    pub fn start(name: &InterfaceName) -> Result<Self> {
        let program = env::current_exe().context("cannot find this program's own file")?;
        let mut child = Command::new(program)
            .arg0(format!("ringtun: keeper of {name}"))
            .env(MARK, name.as_str())
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            // A key that interrupts the daemon is not meant for both.
            .process_group(0)
            .spawn()
            .context("cannot start the process that takes the tunnel down")?;
        let (orders, answer) = (child.stdin.take(), child.stdout.take());
        let answer = answer.context("no pipe")?;
        Ok(Self {
            child,
            orders,
            answer,
        })
    }

    /// Has it let go of standard error.
    ///
    /// # Errors
    /// It is gone.
    pub fn quiet(&mut self) -> Result<()> {
        self.tell(QUIET)
    }

    /// Takes the tunnel down, as `ringtun down`; nothing if somebody else has.
    ///
    /// # Errors
    /// What could not be taken back; the keeper is gone.
    pub fn take_down(mut self) -> Result<()> {
        self.order(DOWN)
    }

    /// Takes back what is left of a tunnel whose device is gone, without hooks.
    ///
    /// # Errors
    /// As [`Keeper::take_down`].
    pub fn clean(mut self) -> Result<()> {
        self.order(CLEAN)
    }

    fn tell(&mut self, order: u8) -> Result<()> {
        let orders = self.orders.as_mut().context(GONE)?;
        orders.write_all(&[order]).context(GONE)
    }

    fn order(&mut self, order: u8) -> Result<()> {
        self.tell(order)?;
        let mut said = Vec::new();
        (&mut self.answer)
            .take(LONGEST)
            .read_to_end(&mut said)
            .context(GONE)?;
        match said.as_slice() {
            [DONE] => Ok(()),
            [] => bail!(GONE),
            error => bail!("{}", String::from_utf8_lossy(error)),
        }
    }
}

impl Drop for Keeper {
    fn drop(&mut self) {
        // The end of its input is what it waits for.
        drop(self.orders.take());
        let _ = self.child.wait();
    }
}

/// The device whose keeper this process is to be.
///
/// # Errors
/// The mark holds no name of a device.
pub fn asked() -> Option<Result<InterfaceName>> {
    let name = env::var_os(MARK)?;
    let name = name.to_string_lossy();
    Some(name.parse().with_context(|| MARK.to_owned()))
}

/// Keeps until the daemon says what to do, or ends.
///
/// # Errors
/// Signals cannot be handled. What the daemon was told is none of this process's errors.
pub fn keep(name: &InterfaceName, uapi: &Path) -> Result<()> {
    // A service manager may end all processes at once: the daemon decides. What hooks
    // run does not inherit this, as it would if the signals were ignored.
    for signal in [SIGHUP, SIGINT, SIGTERM] {
        signal_hook::flag::register(signal, Arc::new(AtomicBool::new(false)))
            .context("cannot handle signals")?;
    }
    let daemon = parent_id();
    let mut order = [0];
    loop {
        if read(&mut order)? == 0 {
            return Ok(());
        }
        if order[0] != QUIET {
            break;
        }
        let null = File::options().write(true).open("/dev/null");
        nix::unistd::dup2_stderr(null.context("/dev/null")?)
            .context("cannot close standard error")?;
    }
    let place = Place::new(name);
    let result = match order[0] {
        DOWN => match down::take_down(&place, name, uapi, daemon) {
            // `ringtun down` may have been faster.
            Err(error) if error.is::<NotUp>() => Ok(()),
            other => other,
        },
        CLEAN => down::clean(&place, name),
        other => bail!("the daemon says {other:#04x}"),
    };
    let mut out = io::stdout().lock();
    // If the daemon has gone there is nobody to tell.
    let _ = match &result {
        Ok(()) => out.write_all(&[DONE]),
        Err(error) => write!(out, "{error:#}"),
    };
    let _ = out.flush();
    Ok(())
}

/// Reads, whatever signals come.
fn read(order: &mut [u8]) -> Result<usize> {
    loop {
        match io::stdin().read(order) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            other => return other.context("cannot hear the daemon"),
        }
    }
}
