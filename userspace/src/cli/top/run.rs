//! The threads behind the screen, and the loop that draws it.

use std::io::{self, IsTerminal as _};
use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender, SyncSender};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use clap::Args;
use ratatui::buffer::Buffer;
use ratatui::crossterm::event::{self, Event};
use ratatui::layout::Rect;
use signal_hook::consts::{SIGHUP, SIGINT, SIGQUIT, SIGTERM};
use signal_hook::iterator::Signals;

use super::draw::{Status, draw};
use super::keys::{self, Outcome};
use super::look::Look;
use super::model::Model;
use super::sample::{Sample, Sampler};
use super::terminal::Guard;
use super::view::{Sort, View};
use crate::cli::output::print;
use crate::cli::show;
use crate::control::names::InterfaceName;
use crate::control::uapi::socket::DIRECTORY;

/// Rows of `--once`: more peers than anybody reads.
const ONCE_ROWS: usize = 1000;
/// Looks that may be missing before that is told.
const STALE: u32 = 3;

#[derive(Args)]
#[command(after_help = "\
Keys: ? shows them; q quits.

Colours are left out where NO_COLOR is set, characters beyond ASCII where the locale is
not UTF-8. Rates are bit/s, totals bytes.

Examples:
  ringtun top
  ringtun top wg0 --sort handshake
  ringtun top --once --filter phone     # one screen as text, without a terminal")]
pub struct TopArgs {
    /// The device; all of them without
    name: Option<InterfaceName>,

    /// Seconds between two looks, 0.1 to 3600
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = interval)]
    interval: Duration,

    /// The order of the peers
    #[arg(long, value_enum, default_value_t)]
    sort: Sort,

    /// Only peers with this in name, key, endpoint, network or device
    #[arg(long, value_name = "TEXT", default_value = "")]
    filter: String,

    /// Print one screen as text, after one interval, and end
    #[arg(long)]
    once: bool,

    /// Where the sockets of devices are
    #[arg(long, hide = true, default_value = DIRECTORY)]
    uapi_directory: PathBuf,
}

fn interval(text: &str) -> Result<Duration, &'static str> {
    const WANTED: &str = "a number of seconds from 0.1 to 3600";
    let seconds: f64 = text.parse().map_err(|_| WANTED)?;
    if (0.1..=3600.0).contains(&seconds) {
        Ok(Duration::from_secs_f64(seconds))
    } else {
        Err(WANTED)
    }
}

/// What the loop is woken by.
enum Message {
    Sample(Sample),
    Terminal(Event),
    Signal(i32),
    /// A thread cannot go on: the terminal is closed.
    Closed,
}

/// Shows the devices until it is told to end.
pub fn run(args: &TopArgs) -> Result<ExitCode> {
    if let Some(name) = &args.name {
        // Said before the screen is taken: no such device, or not allowed.
        show::connect(&args.uapi_directory, name)?;
    } else {
        show::list(&args.uapi_directory)?;
    }
    let sampler = Sampler::new(args.uapi_directory.clone(), args.name.clone());
    let mut view = View::default();
    view.sort = args.sort;
    view.set_filter(|text| text.push_str(&args.filter), &Model::default());
    if args.once {
        return once(args, sampler, view);
    }
    usable_terminal()?;
    let (messages, inbox) = mpsc::channel();
    let (next, wanted) = mpsc::sync_channel(1);
    // Before the screen is taken: from here on a signal ends it in order.
    await_signals(messages.clone())?;
    let mut guard = Guard::enter().context("cannot draw on this terminal")?;
    spawn("keys", {
        let messages = messages.clone();
        move || read_keys(&messages)
    })?;
    spawn("sampler", {
        let period = args.interval;
        move || take_samples(sampler, period, &messages, &wanted)
    })?;
    let ended = show_until_told(&mut guard, &inbox, &next, view, args.interval);
    drop(guard);
    ended
}

fn usable_terminal() -> Result<()> {
    const REMEDY: &str = "`ringtun top --once` prints one screen as text";
    if !io::stdout().is_terminal() || !io::stdin().is_terminal() {
        bail!("standard input and output are no terminal; {REMEDY}");
    }
    match std::env::var("TERM").as_deref() {
        Ok("dumb") => bail!("the terminal cannot be drawn on (TERM=dumb); {REMEDY}"),
        Ok("") | Err(_) => bail!("TERM is not set: it names the kind of terminal; {REMEDY}"),
        Ok(_) => Ok(()),
    }
}

fn show_until_told(
    guard: &mut Guard,
    inbox: &Receiver<Message>,
    next: &SyncSender<()>,
    mut view: View,
    period: Duration,
) -> Result<ExitCode> {
    let look = Look::of_environment();
    let mut model = Model::default();
    let mut heard = Instant::now();
    loop {
        let silent = heard.elapsed();
        let stale = silent > period * STALE + Duration::from_secs(1);
        let status = Status {
            interval: period.as_secs_f64(),
            stale: (stale && !view.paused).then_some(silent.as_secs()),
        };
        let drawn = guard.terminal.draw(|frame| {
            draw(frame.buffer_mut(), look, &model, &mut view, &status);
        });
        if drawn.is_err() {
            // The terminal is gone, and with it whom to tell.
            return Ok(ExitCode::FAILURE);
        }
        let mut message = match inbox.recv_timeout(Duration::from_secs(1)) {
            Ok(message) => Some(message),
            Err(RecvTimeoutError::Timeout) => None,
            Err(RecvTimeoutError::Disconnected) => bail!("the threads of `top` ended"),
        };
        // All that came meanwhile makes one screen: keys that repeat never pile up.
        while let Some(now) = message {
            match now {
                Message::Sample(sample) => {
                    heard = Instant::now();
                    if !view.paused {
                        model.apply(sample);
                        view.refresh(&model);
                    }
                    // One that is not taken yet is enough.
                    let _ = next.try_send(());
                }
                Message::Terminal(event) => {
                    if keys::handle(&event, &mut view, &model) == Outcome::Quit {
                        return Ok(ExitCode::SUCCESS);
                    }
                }
                // As a shell tells of a program that a signal ended.
                Message::Signal(signal) => {
                    return Ok(u8::try_from(128 + signal).map_or(ExitCode::FAILURE, ExitCode::from));
                }
                Message::Closed => return Ok(ExitCode::FAILURE),
            }
            message = inbox.try_recv().ok();
        }
    }
}

/// Tells the loop when its thread ends, also by a panic.
struct Farewell(Sender<Message>);

impl Drop for Farewell {
    fn drop(&mut self) {
        let _ = self.0.send(Message::Closed);
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> io::Result<()> {
    thread::Builder::new()
        .name(name.to_owned())
        .spawn(run)
        .map(drop)
}

fn read_keys(messages: &Sender<Message>) {
    let _farewell = Farewell(messages.clone());
    while let Ok(event) = event::read() {
        if messages.send(Message::Terminal(event)).is_err() {
            return;
        }
    }
}

/// One sample at a time: the next is taken once the last was shown.
fn take_samples(
    mut sampler: Sampler,
    period: Duration,
    messages: &Sender<Message>,
    wanted: &Receiver<()>,
) {
    let _farewell = Farewell(messages.clone());
    loop {
        let begun = Instant::now();
        let sample = sampler.sample();
        if messages.send(Message::Sample(sample)).is_err() || wanted.recv().is_err() {
            return;
        }
        thread::sleep(period.saturating_sub(begun.elapsed()));
    }
}

fn await_signals(messages: Sender<Message>) -> Result<()> {
    let mut signals = Signals::new([SIGTERM, SIGINT, SIGHUP, SIGQUIT])?;
    spawn("signals", move || {
        for signal in signals.forever() {
            let _ = messages.send(Message::Signal(signal));
        }
    })?;
    Ok(())
}

/// One screen as text, long enough for the peers.
fn once(args: &TopArgs, mut sampler: Sampler, mut view: View) -> Result<ExitCode> {
    let mut model = Model::default();
    model.apply(sampler.sample());
    thread::sleep(args.interval);
    model.apply(sampler.sample());
    view.refresh(&model);
    // Nothing is selected on paper.
    view.cursor = usize::MAX;
    let columns = std::env::var("COLUMNS").ok().and_then(|n| n.parse().ok());
    let width = columns.unwrap_or(80_u16).clamp(40, 500);
    let rows = view.rows.len().min(ONCE_ROWS) + 3 * model.devices.len() + 20;
    let area = Rect::new(0, 0, width, u16::try_from(rows).unwrap_or(u16::MAX));
    let mut buffer = Buffer::empty(area);
    let status = Status {
        interval: args.interval.as_secs_f64(),
        stale: None,
    };
    let look = Look {
        colour: false,
        ..Look::of_environment()
    };
    draw(&mut buffer, look, &model, &mut view, &status);
    print(&super::draw::text(&buffer))?;
    Ok(ExitCode::SUCCESS)
}
