//! Tunnels of wg-quick files in one process, from the first change of the machine to the
//! last: what `ringtun up` and `ringtun gateway` have in common.

use std::cell::Cell;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, Result, anyhow, bail};
use futures_util::future::join_all;

use super::hands::Hands;
use super::run::{self, Logs};
use super::{background, logging, service};
use crate::confine;
use crate::control::daemon::{self, Stop};
use crate::control::names::InterfaceName;
use crate::control::options::RunOptions;
use crate::control::quick::journal::{Journal, Lock};
use crate::control::quick::keeper::{self, Keeper};
use crate::control::quick::up::{self, AlreadyUp, Plan, device_of};
use crate::control::quick::{Place, down, lookup};
use crate::control::uapi::check_free;
use crate::control::uapi::socket::DIRECTORY;
use crate::control::wgquick::{Config, Report, file};

/// Nothing was changed, for it was so already.
const NOTHING_TO_DO: u8 = 3;

/// The file in the working directory of this process, and its device.
pub fn locate(name_or_path: &str) -> Result<(PathBuf, InterfaceName)> {
    let path = file::locate(name_or_path);
    let name = device_of(&path)?;
    let path = std::path::absolute(&path).with_context(|| path.display().to_string())?;
    Ok((path, name))
}

/// The file, if nothing is wrong with it.
pub fn read(path: &Path) -> Result<Config> {
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

/// What the file asks for.
///
/// # Errors
/// Something is wrong with it; the tunnel is up.
pub fn plan(path: PathBuf, name: InterfaceName) -> Result<Plan> {
    let config = read(&path)?;
    if is_up(&name)? {
        bail!(AlreadyUp(name));
    }
    Ok(Plan {
        place: Place::new(&name),
        uapi_directory: PathBuf::from(DIRECTORY),
        file: path,
        config,
        name,
        shared: false,
    })
}

fn is_up(name: &InterfaceName) -> Result<bool> {
    let journal = Place::new(name).load()?;
    Ok(journal.is_some_and(|j| j.complete) && check_free(Path::new(DIRECTORY), name).is_err())
}

/// Tells that there was nothing to do, and why.
pub fn unchanged(error: &anyhow::Error) -> Result<ExitCode> {
    let _ = writeln!(std::io::stderr(), "ringtun: {error:#}");
    Ok(ExitCode::from(NOTHING_TO_DO))
}

/// What is done when all is up.
pub struct Ready<'a> {
    /// Tells whoever waits for it.
    tell: &'a dyn Fn() -> Result<()>,
    /// Standard error is let go of.
    quiet: bool,
}

/// Starts the daemon, or is it. `check` is what can be found out before anything is changed,
/// for the terminal of whoever calls; `serve` is given what to do when all is up.
pub fn start(
    logs: &Logs,
    foreground: bool,
    check: impl FnOnce() -> Result<()>,
    serve: impl FnOnce(Ready<'_>) -> Result<()>,
) -> Result<ExitCode> {
    let log = logging::is_asked_for(logs.level.as_deref());
    // On the terminal of whoever calls, only what went wrong.
    let quiet = (!log && !foreground).then_some("warn");
    let filter = logging::filter(logs.level.as_deref().or(quiet))?;
    match background::role(foreground) {
        // Hooks write to the terminal and run in the working directory of whoever calls.
        background::Role::Starter => match check() {
            Err(error) if error.is::<AlreadyUp>() => unchanged(&error),
            Err(error) => Err(error),
            Ok(()) => background::start_in(".", true),
        },
        background::Role::Foreground => {
            logging::start(filter, logs.json);
            let ready = || {
                service::ready();
                Ok(())
            };
            let ready = Ready {
                tell: &ready,
                quiet: false,
            };
            match serve(ready) {
                Err(error) if error.is::<AlreadyUp>() => unchanged(&error),
                other => other.map(|()| ExitCode::SUCCESS),
            }
        }
        background::Role::Daemon => {
            background::detach()?;
            logging::start(filter, logs.json);
            let ready = || {
                std::env::set_current_dir("/").context("/")?;
                if !log {
                    background::quiet()?;
                }
                background::ready()
            };
            let result = serve(Ready {
                tell: &ready,
                quiet: !log,
            });
            if let Err(error) = &result {
                background::failed(error);
            }
            result.map(|()| ExitCode::SUCCESS)
        }
    }
}

/// Brings the tunnels up and serves them until the process is asked to end, or the last
/// device is gone. If one cannot be brought up, none is.
///
/// # Errors
/// What was refused; what could not be taken back.
pub fn serve(plans: Vec<Plan>, mut options: RunOptions, ready: Ready<'_>) -> Result<()> {
    let files = plans.iter().map(|plan| plan.file.clone());
    options.series.names.extend(files);
    let stop = Arc::new(AtomicBool::new(false));
    // These have the rights that are given up before any other thread is there.
    let hands = Hands::start()?;
    let keepers = plans.iter().map(|plan| Keeper::start(&plan.name));
    let keepers = Cell::new(keepers.collect::<Result<Vec<_>>>()?);
    let begun = Cell::new(Some((begin(plans, &stop)?, hands)));
    let outcome = Outcome::default();
    let made = service::Made::new();
    let serve = || {
        confine::capabilities()?;
        daemon::run(
            &options,
            |devices| {
                let _ = made.set(Rc::clone(&devices));
                run::metrics(&options, devices)
            },
            async |signals| {
                let Some(begun) = begun.take() else {
                    return Ok(());
                };
                let companion = companion(begun, &keepers, &stop, signals, ready, &outcome);
                tokio::select! {
                    result = companion => result,
                    () = service::live(&made) => Ok(()),
                }
            },
        )
    };
    let result = serve();
    end(begun.take(), keepers.take(), &outcome, result)
}

/// What came of setting up or taking down. It happens beside the devices, whose end, that
/// it causes, overtakes it.
type Outcome = Arc<Mutex<Option<Result<()>>>>;

fn tell(outcome: &Outcome, result: Result<()>) {
    *outcome.lock().unwrap_or_else(PoisonError::into_inner) = Some(result);
}

/// A tunnel whose device comes next.
struct Begun {
    plan: Arc<Plan>,
    lock: Lock,
    journal: Journal,
}

fn begin(plans: Vec<Plan>, stop: &AtomicBool) -> Result<Vec<Begun>> {
    let mut begun = Vec::with_capacity(plans.len());
    for plan in plans.into_iter().map(Arc::new) {
        match plan.begin(stop) {
            Ok((lock, journal)) => begun.push(Begun {
                plan,
                lock,
                journal,
            }),
            Err(error) => return Err(undone(begun, error)),
        }
    }
    Ok(begun)
}

/// Takes back what begun, last first.
fn undone(begun: Vec<Begun>, error: anyhow::Error) -> anyhow::Error {
    begun.into_iter().rev().fold(error, |error, begun| {
        let error = begun.plan.undone(begun.journal, error);
        drop(begun.lock);
        error
    })
}

/// With the devices there: all the rest, or nothing.
fn finish(begun: Vec<Begun>, stop: &AtomicBool) -> Result<()> {
    let mut done: Vec<Arc<Plan>> = Vec::with_capacity(begun.len());
    let mut begun = begun.into_iter();
    while let Some(Begun {
        plan,
        lock,
        journal,
    }) = begun.next()
    {
        let result = plan.finish(journal, stop);
        drop(lock);
        let Err(error) = result else {
            done.push(plan);
            continue;
        };
        let error = undone(begun.collect(), error);
        return Err(done.iter().rev().fold(error, |error, plan| {
            let own = std::process::id();
            match down::take_down(&plan.place, &plan.name, &plan.uapi_directory, own) {
                Ok(()) => error,
                Err(more) => {
                    anyhow!(
                        "{error:#}; and {} could not be taken down: {more:#}",
                        plan.name
                    )
                }
            }
        }));
    }
    Ok(())
}

/// Beside the devices: the rest of setting up, then endpoints, then taking down.
async fn companion(
    (begun, hands): (Vec<Begun>, Hands),
    keepers: &Cell<Vec<Keeper>>,
    stop: &Arc<AtomicBool>,
    mut signals: Stop,
    ready: Ready<'_>,
    outcome: &Outcome,
) -> Result<()> {
    let plans: Vec<_> = begun.iter().map(|begun| Arc::clone(&begun.plan)).collect();
    let (flag, told) = (Arc::clone(stop), Arc::clone(outcome));
    // On a thread of its own: it talks to the devices that this one serves.
    let mut set_up = hands.run(move || {
        let result = finish(begun, &flag);
        let good = result.is_ok();
        if !good {
            tell(&told, result);
        }
        good
    });
    let good = tokio::select! {
        good = &mut set_up => good,
        () = signals.asked() => {
            stop.store(true, Relaxed);
            set_up.await
        }
    };
    if !good.context("setting up was broken off")? {
        return Ok(());
    }
    drop(hands);
    run::confine_calls();
    let keep = plans.iter().map(|plan| {
        let (directory, place) = (plan.uapi_directory.clone(), plan.place.clone());
        lookup::keep(directory, place, plan.name.clone(), &plan.config)
    });
    // Whoever asked may have gone: then there is nobody to serve.
    let mut result = Ok(());
    if !stop.load(Relaxed) {
        if ready.quiet {
            let mut all = keepers.take();
            result = all.iter_mut().try_for_each(Keeper::quiet);
            keepers.set(all);
        }
        result = result.and_then(|()| (ready.tell)());
    }
    if result.is_ok() && !stop.load(Relaxed) {
        let keep = async {
            join_all(keep).await;
            std::future::pending().await
        };
        tokio::select! {
            () = keep => {}
            () = signals.asked() => {}
        }
    }
    service::stopping();
    let told = Arc::clone(outcome);
    // Not before: if the last device goes by itself, they are for what is left.
    let keepers = keepers.take();
    tokio::task::spawn_blocking(move || {
        for (plan, keeper) in plans.iter().zip(keepers).rev() {
            let down = if up::exists(&plan.name) {
                keeper.take_down()
            } else {
                keeper.clean()
            };
            result = both(std::mem::replace(&mut result, Ok(())), down);
        }
        tell(&told, result);
    })
    .await?;
    Ok(())
}

/// After the devices: whatever else is still there.
fn end(
    begun: Option<(Vec<Begun>, Hands)>,
    keepers: Vec<Keeper>,
    outcome: &Outcome,
    result: Result<()>,
) -> Result<()> {
    if let Some((begun, hands)) = begun {
        // A device could not be made.
        let error = result.err().unwrap_or_else(|| anyhow!("no device"));
        let undone = hands.run(move || undone(begun, error));
        return Err(undone.blocking_recv()?);
    }
    let told = outcome
        .lock()
        .unwrap_or_else(PoisonError::into_inner)
        .take();
    if let Some(told) = told {
        return result.and(told);
    }
    let cleaned = keepers.into_iter().map(Keeper::clean);
    cleaned.fold(result, both)
}

/// Neither error is lost.
fn both(first: Result<()>, second: Result<()>) -> Result<()> {
    match (first, second) {
        (Err(first), Err(second)) => Err(anyhow!("{first:#}; {second:#}")),
        (first, second) => first.and(second),
    }
}

/// What this process does where it is the keeper of a daemon.
pub fn keeper() -> Option<Result<ExitCode>> {
    let name = keeper::asked()?;
    let kept = name.and_then(|name| keeper::keep(&name, Path::new(DIRECTORY)));
    Some(kept.map(|()| ExitCode::SUCCESS))
}
