//! `ringtun gateway`: several tunnels and the network cards in one process.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use clap::Args;

use super::run::{self, Logs};
use super::tunnels;
use super::up;
use crate::control::gateway::{FILE, Gateway};
use crate::control::quick::up::Plan;

#[derive(Args)]
#[command(after_help = "\
One process holds all tunnels of the file, and the XDP program and rings of every network
card they use: a card belongs to one process. Each tunnel is what its wg-quick file says,
as with `ringtun up`: addresses, routes, DNS, hooks. If one cannot be brought up, none is.
`ringtun down NAME` takes down one of them, `ringtun reload NAME` has one follow its file,
SIGTERM ends all. A changed ringtun.toml is read at the next start.

  [wan]
  interfaces = [\"eth0\"]      # carry the XDP program in any case, for [[steer]]
  xdp = \"auto\"               # auto, native, generic, off
  [lan]
  interfaces = [\"eth1\"]      # clients are here: their TCP connections are clamped
  fast_forward = true        # past the kernel's stack, and past the host's firewall
  [metrics]
  listen = \"127.0.0.1:9586\"
  [tunnel.wg0]               # /etc/wireguard/wg0.conf
  [tunnel.office]
  file = \"/srv/office.conf\"
  io = \"udp\"
  [[steer]]                  # tunnels of others, spread over CPUs
  class = \"esp\"
  cpus = \"0-3\"

Exit status: 0 if all are up now, 3 if one was already, 1 if they could not be brought up.

Examples:
  ringtun gateway --check
  ringtun gateway
  ringtun gateway --config ./test.toml --foreground --log info
  systemctl enable --now ringtun-gateway")]
pub struct GatewayArgs {
    /// Its file
    #[arg(long, env = "RINGTUN_CONFIG", value_name = "FILE", default_value = FILE)]
    config: PathBuf,

    /// Only look for mistakes, in this file and in those of the tunnels
    #[arg(long, conflicts_with_all = ["reload", "foreground"])]
    check: bool,

    /// Have every tunnel of the running gateway follow its file, as `ringtun reload`
    #[arg(long, conflicts_with = "foreground")]
    reload: bool,

    /// Stay in the foreground
    #[arg(short, long)]
    foreground: bool,

    #[command(flatten)]
    logs: Logs,
}

/// Does what the arguments say.
pub fn run(args: &GatewayArgs) -> Result<ExitCode> {
    if args.check {
        return check(args);
    }
    if args.reload {
        return reload(args);
    }
    tunnels::start(
        &args.logs,
        args.foreground,
        || plans(args).map(drop),
        |ready| {
            let (gateway, plans) = plans(args)?;
            tunnels::serve(plans, run::checked(gateway.options)?, ready)
        },
    )
}

fn plans(args: &GatewayArgs) -> Result<(Gateway, Vec<Plan>)> {
    let gateway = Gateway::read(&args.config)?;
    let named = gateway.files.iter().zip(&gateway.options.names);
    let plans = named.map(|(file, name)| {
        let plan = tunnels::plan(file.clone(), name.clone())
            .with_context(|| format!("[tunnel.{name}]"))?;
        Ok(Plan {
            shared: true,
            ..plan
        })
    });
    let plans = plans.collect::<Result<_>>()?;
    Ok((gateway, plans))
}

/// All mistakes of all files, not only the first.
fn check(args: &GatewayArgs) -> Result<ExitCode> {
    let gateway = Gateway::read(&args.config)?;
    let named = gateway.files.iter().zip(&gateway.options.names);
    let wrong = named.filter_map(|(file, name)| {
        let error = tunnels::read(file).err()?;
        Some(format!("[tunnel.{name}]: {error:#}"))
    });
    let wrong: Vec<_> = wrong.collect();
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    println!(
        "{}: nothing wrong, {} tunnels",
        args.config.display(),
        gateway.files.len()
    );
    Ok(ExitCode::SUCCESS)
}

fn reload(args: &GatewayArgs) -> Result<ExitCode> {
    let gateway = Gateway::read(&args.config)?;
    let mut code = ExitCode::SUCCESS;
    let mut wrong = Vec::new();
    for file in &gateway.files {
        match up::follow(&file.to_string_lossy()) {
            Ok(ExitCode::SUCCESS) => {}
            Ok(other) => code = other,
            Err(error) => wrong.push(format!("{error:#}")),
        }
    }
    if !wrong.is_empty() {
        bail!("{}", wrong.join("\n"));
    }
    Ok(code)
}
