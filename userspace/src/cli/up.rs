//! `ringtun up`, `down` and `reload`.

use std::cell::Cell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, bail};
use clap::Args;

use super::run::{self, DaemonArgs};
use super::{background, logging, service};
use crate::control::daemon::{self, Stop};
use crate::control::names::InterfaceName;
use crate::control::quick::down::{self, NotUp};
use crate::control::quick::journal::{Journal, Lock};
use crate::control::quick::up::{AlreadyUp, Plan, device_of};
use crate::control::quick::{Place, lookup, reload};
use crate::control::uapi::socket::DIRECTORY;
use crate::control::wgquick::{Config, Report, file};

/// Nothing was changed, for it was so already.
const NOTHING_TO_DO: u8 = 3;

#[derive(Args)]
#[command(after_help = "\
Does what wg-quick does with the same file: device, addresses, MTU, DNS, routes, policy
routing and firewall rules for a default route, hooks. The program goes to the background
when all is done; if anything fails, all is taken back. `ringtun down`, `wg-quick down` or
SIGTERM end it.

With a default route nothing leaves in the clear even if the process is killed, until
`ringtun down` or the next `ringtun up`. An endpoint's name that is not known
within five seconds is looked up again and again later.

Exit status: 0 if it is up now, 3 if it was already, 1 if it could not be brought up.

Examples:
  ringtun up wg0                 the file /etc/wireguard/wg0.conf
  ringtun up ./office.conf       the device is called after the file: office
  ringtun up wg0 --foreground --log info
  ringtun check wg0 && ringtun up wg0")]
pub struct UpArgs {
    /// A file, or a name that stands for /etc/wireguard/NAME.conf
    #[arg(value_name = "NAME or FILE")]
    file: String,

    #[command(flatten)]
    daemon: DaemonArgs,
}

#[derive(Args)]
#[command(after_help = "\
Runs PreDown, saves the file if it says SaveConfig, takes back what `ringtun up` wrote
down in /run/ringtun/NAME.json, runs PostDown. Works as well when the process was killed,
and when the file has changed or is gone.

Exit status: 0 if it is down now, 3 if it was not up, 1 if something could not be taken
back (what, is printed, and kept for the next try) or a hook failed.

Examples:
  ringtun down wg0
  ringtun down ./office.conf")]
pub struct DownArgs {
    /// As for `ringtun up`
    #[arg(value_name = "NAME or FILE")]
    file: String,
}

#[derive(Args)]
#[command(after_help = "\
As `wg syncconf`: keys, port and peers become those of the file. Sessions of peers that
stay go on, and so do their counters. Addresses, routes, DNS and hooks are those of `up`
until the next one. A file with a mistake is refused as a whole.

Exit status: 0 if the tunnel is as the file says, 3 if it is not up, else 1.

Example:
  ringtun reload wg0")]
pub struct ReloadArgs {
    /// As for `ringtun up`
    #[arg(value_name = "NAME or FILE")]
    file: String,
}

/// The file in the working directory of this process, and its device.
fn locate(name_or_path: &str) -> Result<(PathBuf, InterfaceName)> {
    let path = file::locate(name_or_path);
    let name = device_of(&path)?;
    let path = std::path::absolute(&path).with_context(|| path.display().to_string())?;
    Ok((path, name))
}

/// The file, if nothing is wrong with it.
fn read(path: &Path) -> Result<Config> {
    let (config, report) =
        file::read(path).with_context(|| format!("cannot read {}", path.display()))?;
    if report.errors() == 0 {
        return Ok(config);
    }
    bail!("{}", mistakes(path, &report))
}

fn mistakes(path: &Path, report: &Report) -> String {
    let lines = report.sorted().into_iter();
    let lines = lines.map(|d| format!("{}:{d}\n", path.display()));
    format!(
        "the file cannot be used, nothing was changed:\n{}",
        lines.collect::<String>().trim_end()
    )
}

/// Brings a tunnel up, and serves it.
pub fn up(args: &UpArgs) -> Result<ExitCode> {
    let log = logging::is_asked_for(args.daemon.log.as_deref());
    // On the terminal of whoever calls, only what went wrong.
    let quiet = (!log && !args.daemon.foreground).then_some("warn");
    let filter = logging::filter(args.daemon.log.as_deref().or(quiet))?;
    match background::role(args.daemon.foreground) {
        // Hooks write to the terminal and run in the working directory of whoever calls.
        background::Role::Starter => {
            let (path, name) = locate(&args.file)?;
            read(&path)?;
            if is_up(&name)? {
                return unchanged(&AlreadyUp(name).into());
            }
            background::start_in(".", true)
        }
        background::Role::Foreground => {
            logging::start(filter, args.daemon.log_json);
            let ready = || {
                service::ready();
                Ok(())
            };
            match serve(args, ready) {
                Err(error) if error.is::<AlreadyUp>() => unchanged(&error),
                other => other.map(|()| ExitCode::SUCCESS),
            }
        }
        background::Role::Daemon => {
            background::detach()?;
            logging::start(filter, args.daemon.log_json);
            let ready = || {
                std::env::set_current_dir("/").context("/")?;
                if !log {
                    background::quiet()?;
                }
                background::ready()
            };
            let result = serve(args, ready);
            if let Err(error) = &result {
                background::failed(error);
            }
            result.map(|()| ExitCode::SUCCESS)
        }
    }
}

fn is_up(name: &InterfaceName) -> Result<bool> {
    use crate::control::uapi::check_free;
    let journal = Place::new(name).load()?;
    Ok(journal.is_some_and(|j| j.complete) && check_free(Path::new(DIRECTORY), name).is_err())
}

fn serve(args: &UpArgs, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    let (path, name) = locate(&args.file)?;
    let config = read(&path)?;
    let plan = Arc::new(Plan {
        place: Place::new(&name),
        uapi_directory: PathBuf::from(DIRECTORY),
        file: path,
        config,
        name: name.clone(),
    });
    if is_up(&name)? {
        bail!(AlreadyUp(name));
    }
    let mut options = run::options(vec![name], &args.daemon)?;
    options.series.names.push(plan.file.clone());
    let stop = Arc::new(AtomicBool::new(false));
    let (lock, journal) = plan.begin(&stop)?;
    let begun = Cell::new(Some((lock, journal)));
    let outcome = Outcome::default();
    let made = service::Made::new();
    let result = daemon::run(
        &options,
        |devices| {
            let _ = made.set(Rc::clone(&devices));
            run::metrics(&options, devices)
        },
        async |signals| {
            let Some(begun) = begun.take() else {
                return Ok(());
            };
            let companion = companion(&plan, begun, &stop, signals, ready, &outcome);
            tokio::select! {
                result = companion => result,
                () = service::live(&made) => Ok(()),
            }
        },
    );
    end(&plan, begun.take(), &outcome, result)
}

/// What came of setting up or taking down. It happens on a thread of its own, which
/// the device's end, that it causes, overtakes.
type Outcome = Arc<Mutex<Option<Result<()>>>>;

fn tell(outcome: &Outcome, result: Result<()>) {
    *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
}

/// Beside the device: the rest of `up`, then endpoints, then `down`.
async fn companion(
    plan: &Arc<Plan>,
    (lock, journal): (Lock, Journal),
    stop: &Arc<AtomicBool>,
    mut signals: Stop,
    ready: impl FnOnce() -> Result<()>,
    outcome: &Outcome,
) -> Result<()> {
    let (worker, flag, told) = (Arc::clone(plan), Arc::clone(stop), Arc::clone(outcome));
    // On a thread of its own: it talks to the device that this one serves.
    let mut set_up = tokio::task::spawn_blocking(move || {
        let result = worker.finish(journal, &flag);
        let good = result.is_ok();
        if !good {
            tell(&told, result);
        }
        drop(lock);
        good
    });
    let good = tokio::select! {
        good = &mut set_up => good?,
        () = signals.asked() => {
            stop.store(true, Relaxed);
            set_up.await?
        }
    };
    if !good {
        return Ok(());
    }
    let keep = lookup::keep(
        plan.uapi_directory.clone(),
        plan.place.clone(),
        plan.name.clone(),
    );
    // Whoever asked may have gone: then there is nobody to serve.
    let mut result = if stop.load(Relaxed) { Ok(()) } else { ready() };
    if result.is_ok() && !stop.load(Relaxed) {
        tokio::select! {
            () = keep => {}
            () = signals.asked() => {}
        }
    }
    service::stopping();
    let (worker, told) = (Arc::clone(plan), Arc::clone(outcome));
    tokio::task::spawn_blocking(move || {
        let down = down::take_down(&worker.place, &worker.name, &worker.uapi_directory);
        // `ringtun down` may have been faster.
        result = result.and(down.or_else(|e| if e.is::<NotUp>() { Ok(()) } else { Err(e) }));
        tell(&told, result);
    })
    .await?;
    Ok(())
}

/// After the device: whatever else of `up` is still there.
fn end(
    plan: &Plan,
    begun: Option<(Lock, Journal)>,
    outcome: &Outcome,
    result: Result<()>,
) -> Result<()> {
    if let Some((_lock, journal)) = begun {
        // The device could not be made.
        let error = result.err().unwrap_or_else(|| anyhow::anyhow!("no device"));
        return Err(plan.undone(journal, error));
    }
    let told = outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(told) = told {
        return result.and(told);
    }
    result.and(down::clean(&plan.place, &plan.name))
}

fn unchanged(error: &anyhow::Error) -> Result<ExitCode> {
    let _ = writeln!(std::io::stderr(), "ringtun: {error}");
    Ok(ExitCode::from(NOTHING_TO_DO))
}

/// Takes a tunnel down.
pub fn down(args: &DownArgs) -> Result<ExitCode> {
    let (_, name) = locate(&args.file)?;
    match down::take_down(&Place::new(&name), &name, Path::new(DIRECTORY)) {
        Err(error) if error.is::<NotUp>() => unchanged(&error),
        other => other.map(|()| ExitCode::SUCCESS),
    }
}

/// Has a tunnel follow its file.
pub fn reload(args: &ReloadArgs) -> Result<ExitCode> {
    let (path, name) = locate(&args.file)?;
    let config = read(&path)?;
    let place = Place::new(&name);
    match reload::reload(&place, &name, Path::new(DIRECTORY), &config) {
        Err(error) if error.is::<NotUp>() => unchanged(&error),
        other => other.map(|_| ExitCode::SUCCESS),
    }
}
