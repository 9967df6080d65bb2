//! `ringtun run NAME…`, and `ringtun NAME` as wireguard-go is called.

use std::future::Future;
use std::net::SocketAddr;
use std::num::NonZeroUsize;
use std::process::ExitCode;
use std::rc::Rc;

use anyhow::{Context, Result, bail};
use clap::Args;
use ringtun_common::mss::MSS_MIN;

use super::series::SeriesArgs;
use super::{background, logging, service};
use crate::bpf::{self, BpfError};
use crate::confine;
use crate::control::daemon::{self, Devices};
use crate::control::names::InterfaceName;
use crate::control::options::{IoMode, MAX_WORKERS, RunOptions, Steer};
use crate::control::uapi;
use crate::datapath::mss::MssClamp;
use crate::metrics::{MetricsListen, MetricsServer};
use crate::xsk::{BusyPoll, RingSizes};

#[derive(Args)]
#[command(after_help = "\
The program goes to the background once the device is there and `wg` is answered.
It ends when it gets SIGTERM or SIGINT, or when the device or its socket
/var/run/wireguard/NAME.sock is removed.

Environment:
  LOG_LEVEL               silent, error, info or debug, as for wireguard-go; a daemon in
                          the background logs only if this or --log is given
  WG_PROCESS_FOREGROUND   1 is --foreground
  RINGTUN_IO              auto, xdp or udp, where wg-quick gives no --io

Examples:
  ringtun run wg0
  wg setconf wg0 <(wg-quick strip wg0) && ip link set wg0 up
  ringtun run wg0 wg1 --workers 4
  LOG_LEVEL=debug ringtun run --foreground wg0")]
pub struct RunArgs {
    /// The devices to make
    #[arg(value_name = "NAME", required = true)]
    pub names: Vec<String>,

    #[command(flatten)]
    daemon: DaemonArgs,
}

/// What every daemon can be told, that of `ringtun up` too.
#[derive(Args)]
pub struct DaemonArgs {
    /// Stay in the foreground
    #[arg(short, long)]
    pub foreground: bool,

    /// How encrypted packets travel: auto, xdp or udp
    ///
    /// udp: through sockets, with the kernel's offloads. xdp: through AF_XDP rings of the
    /// network card, whichever leads to a peer; nftables, tc and tcpdump of this host do not
    /// see them then. auto: xdp where the card has zero-copy, else udp, which is faster there.
    /// `ringtun show` tells what came of it and why, `ringtun io` changes it.
    #[arg(long, env = "RINGTUN_IO", default_value = "auto", value_name = "MODE", value_parser = mode)]
    io: IoMode,

    /// Interfaces with clients: an XDP program there tells their TCP connections what fits
    ///
    /// For the maximum segment size of connections into the tunnels (AllowedIPs). It is
    /// clamped in the tunnel in any case; on the network card that is done before the kernel's
    /// firewall and connection tracking see the packet. An interface may come later.
    #[arg(
        long,
        env = "RINGTUN_LAN",
        value_name = "INTERFACE",
        value_delimiter = ','
    )]
    lan: Vec<InterfaceName>,

    /// Forward between the --lan interfaces and the tunnels past the kernel's stack
    ///
    /// Through AF_XDP rings of both network cards, at a third more packets per second or better.
    /// The kernel's routes, rules and net.ipv4/ipv6 forwarding switches decide as before, and what
    /// needs ICMP, ARP or fragments goes by the kernel. But nftables, connection tracking,
    /// rp_filter, tc and tcpdump of this host see nothing of these packets except how TCP
    /// connections begin: do not use it where those have to filter or translate them.
    #[arg(long, env = "RINGTUN_FAST_FORWARD", requires = "lan", value_parser = clap::builder::FalseyValueParser::new())]
    fast_forward: bool,

    /// Spread tunnels of others over CPUs, as in esp=0-3; can be given several times
    ///
    /// Tunnels that this host's kernel terminates or forwards arrive by one queue of a network
    /// card, which tells them apart by addresses alone. The XDP program hands each to one of these
    /// CPUs, by SPI (esp, natt-esp), key or Call ID (gre), receiver index (wireguard) or peer id
    /// (openvpn); the packets of each stay in order. On every card that carries the program:
    /// those that peers are reached by, with --io xdp or zero-copy, and those of --wan. VLAN tags
    /// have to stay in the frames there (ethtool -K CARD rxvlan off).
    #[arg(
        long,
        env = "RINGTUN_STEER",
        value_name = "GROUP=CPUS",
        value_delimiter = ' '
    )]
    steer: Vec<Steer>,

    /// Interfaces that carry the XDP program though no peer is reached by them
    ///
    /// For --steer. An interface may come later.
    #[arg(
        long,
        env = "RINGTUN_WAN",
        value_name = "INTERFACE",
        value_delimiter = ','
    )]
    wan: Vec<InterfaceName>,

    /// Slots of each AF_XDP ring, a power of two up to 65536
    #[arg(long, env = "RINGTUN_RING_SIZE", hide_env = true, value_name = "N", default_value_t = RingSizes::default().rx, value_parser = ring_slots)]
    ring_size: u32,

    /// Let workers poll the network card instead of waiting for its interrupts (AF_XDP)
    ///
    /// Lower latency for a CPU that never sleeps; Linux 5.11 or later.
    #[arg(long)]
    busy_poll: bool,

    /// Attach XDP in generic mode even where the driver has native XDP: slow, for tests
    #[arg(long, hide = true)]
    xdp_generic: bool,

    /// Worker threads; one per CPU, at most 8, without
    #[arg(long, value_name = "N")]
    workers: Option<NonZeroUsize>,

    /// Let TCP connections ask for segments of this many bytes at most
    ///
    /// Without: what fits the MTU of the device, 1380 over IPv4 and 1360 over IPv6 at an
    /// MTU of 1420. A connection that opens and then carries nothing is the sign of too
    /// large a value.
    #[arg(long, value_name = "BYTES", value_parser = clap::value_parser!(u16).range(i64::from(MSS_MIN)..))]
    mss: Option<u16>,

    /// Leave the maximum segment size of TCP connections alone
    #[arg(long, conflicts_with = "mss")]
    no_mss_clamp: bool,

    /// Where to serve metrics for Prometheus: ADDRESS:PORT, or off
    ///
    /// Without: 127.0.0.1:9586, or the next free port. `ringtun show --json` says which.
    #[arg(
        long,
        env = "RINGTUN_METRICS",
        hide_env = true,
        value_name = "ADDRESS|off"
    )]
    metrics: Option<MetricsListen>,

    #[command(flatten)]
    series: SeriesArgs,

    #[command(flatten)]
    pub logs: Logs,
}

/// What is logged, and how.
#[derive(Args)]
pub struct Logs {
    /// What to log: error, warn, info, debug or trace, or module=level,…
    #[arg(long = "log", value_name = "LEVEL")]
    pub level: Option<String>,

    /// Log JSON, one object per line
    #[arg(long = "log-json")]
    pub json: bool,
}

fn mode(text: &str) -> Result<IoMode, &'static str> {
    text.parse()
}

fn ring_slots(text: &str) -> Result<u32, String> {
    let slots: u32 = text.parse().map_err(|_| "wants a number".to_owned())?;
    RingSizes::of(slots).map(|_| slots)
}

/// Makes the devices and serves them until the end.
pub fn run(args: &RunArgs) -> Result<ExitCode> {
    let filter = logging::filter(args.daemon.logs.level.as_deref())?;
    let options = options(names(args)?, &args.daemon)?;
    match background::role(args.daemon.foreground) {
        background::Role::Starter => {
            background::start(logging::is_asked_for(args.daemon.logs.level.as_deref()))
        }
        background::Role::Foreground => {
            logging::start(filter, args.daemon.logs.json);
            serve(&options, || {
                service::ready();
                Ok(())
            })?;
            Ok(ExitCode::SUCCESS)
        }
        background::Role::Daemon => {
            background::detach()?;
            logging::start(filter, args.daemon.logs.json);
            let result = serve(&options, background::ready);
            if let Err(error) = &result {
                background::failed(error);
            }
            result.map(|()| ExitCode::SUCCESS)
        }
    }
}

/// All is set up: gives up the system calls that are not needed from here on. A kernel
/// without seccomp, or a container that forbids it, is no reason to have no tunnel.
pub fn confine_calls() {
    if let Err(error) = confine::system_calls() {
        tracing::warn!(event = "unconfined", %error, "system calls are not limited");
    }
}

fn serve(options: &RunOptions, ready: impl FnOnce() -> Result<()>) -> Result<()> {
    confine::capabilities()?;
    let made = service::Made::new();
    daemon::run(
        options,
        |devices| {
            let _ = made.set(Rc::clone(&devices));
            metrics(options, devices)
        },
        async |mut stop| {
            confine_calls();
            ready()?;
            tokio::select! {
                () = stop.asked() => {}
                () = service::live(&made) => {}
            }
            service::stopping();
            Ok(())
        },
    )
}

fn names(args: &RunArgs) -> Result<Vec<InterfaceName>> {
    let mut names = Vec::with_capacity(args.names.len());
    for name in &args.names {
        let name: InterfaceName = name.parse()?;
        if names.contains(&name) {
            bail!("the device `{name}` is named twice");
        }
        names.push(name);
    }
    Ok(names)
}

/// What the command line asks for.
pub fn options(names: Vec<InterfaceName>, args: &DaemonArgs) -> Result<RunOptions> {
    if args.workers.is_some_and(|n| n.get() > MAX_WORKERS) {
        bail!("--workers takes at most {MAX_WORKERS}");
    }
    for (at, steer) in args.steer.iter().enumerate() {
        if args.steer[..at].iter().any(|s| s.group == steer.group) {
            bail!("--steer names the group `{}` twice", steer.group.label());
        }
    }
    let mut options = RunOptions::new(names);
    options.workers = args.workers;
    options.mss = match (args.mss, args.no_mss_clamp) {
        (_, true) => MssClamp::Off,
        (Some(mss), false) => MssClamp::Fixed(mss),
        (None, false) => MssClamp::Mtu,
    };
    options.metrics = args.metrics.unwrap_or_default();
    options.series = args.series.series();
    options.io = args.io;
    options.xdp.rings = RingSizes::all(args.ring_size);
    options.xdp.busy_poll = args.busy_poll.then_some(BusyPoll::DEFAULT);
    options.xdp.generic = args.xdp_generic;
    options.xdp.lan.clone_from(&args.lan);
    options.xdp.fast_forward = args.fast_forward;
    options.xdp.wan.clone_from(&args.wan);
    options.xdp.steer.clone_from(&args.steer);
    checked(options)
}

/// What can be found out before anything is changed, and before a process is started for it.
pub fn checked(options: RunOptions) -> Result<RunOptions> {
    let xdp = &options.xdp;
    let by_xdp = |name| options.io_of(name) == IoMode::Xdp;
    let needs_program = options.names.iter().any(by_xdp)
        || !xdp.lan.is_empty()
        || !xdp.wan.is_empty()
        || !xdp.steer.is_empty();
    if needs_program && bpf::embedded().is_none() {
        return Err(BpfError::NotEmbedded.into());
    }
    for name in &options.names {
        uapi::check_free(&options.uapi_directory, name).context("cannot make the device")?;
    }
    Ok(options)
}

/// Starts the metrics endpoint over the devices of the process.
pub fn metrics(
    options: &RunOptions,
    devices: Devices,
) -> Result<Option<(SocketAddr, impl Future<Output = ()> + use<>)>> {
    let listener = match (options.metrics.bind(), options.metrics) {
        (Ok(Some(listener)), _) => listener,
        (Ok(None), _) => return Ok(None),
        // In a namespace whose loopback is down there is nowhere to listen, and
        // nobody asked for it in particular.
        (Err(error), MetricsListen::Automatic) => {
            tracing::warn!(event = "metrics_unavailable", %error, "no metrics");
            return Ok(None);
        }
        (Err(error), _) => return Err(error.into()),
    };
    let server =
        MetricsServer::new(listener, options.series.clone()).context("cannot serve metrics")?;
    let address = server.address();
    tracing::info!(
        event = "metrics_listening",
        "metrics at http://{address}/metrics"
    );
    let serve = async move { match server.serve(devices).await {} };
    Ok(Some((address, serve)))
}
