//! The command line: one file per subcommand.

mod background;
mod capture;
mod capture_copy;
mod check;
mod completions;
mod doctor;
mod gateway;
mod hands;
mod io;
mod keys;
mod log;
mod logging;
mod names;
mod output;
mod pages;
mod pages_help;
mod pages_text;
mod peer;
mod qr;
mod report;
mod run;
mod series;
mod service;
mod show;
mod show_json;
mod show_text;
mod top;
mod tunnels;
mod up;

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Args, CommandFactory as _, Parser, Subcommand};

/// A WireGuard tunnel gateway for Linux.
#[derive(Parser)]
#[command(
    name = "ringtun",
    version,
    about,
    args_conflicts_with_subcommands = true,
    subcommand_negates_reqs = true,
    arg_required_else_help = true,
    after_help = EXAMPLES
)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,

    #[command(flatten)]
    run: run::RunArgs,
}

const EXAMPLES: &str = "\
Examples:
  ringtun check wg0            look for mistakes in /etc/wireguard/wg0.conf
  ringtun up wg0               all that wg-quick does with that file; and `down`
  ringtun peer add wg0 phone --endpoint vpn.example.org --qr
  ringtun run wg0              make the device wg0; configure it with `wg`
  ringtun wg0                  the same, as wireguard-go is called
  ringtun doctor wg0           what is wrong, and what mends it
  ringtun show wg0             peers, traffic, and what was dropped and why
  ringtun top                  the same live, with rates
  ringtun io wg0 xdp           encrypted packets through AF_XDP from now on
  ringtun capture wg0 | tcpdump -r - -n
  ringtun report wg0           what a bug report needs, without keys and names
  ringtun genkey | tee private.key | ringtun pubkey

With an unmodified wg-quick:
  WG_QUICK_USERSPACE_IMPLEMENTATION=ringtun wg-quick up wg0";

#[derive(Subcommand)]
enum Command {
    /// Bring a tunnel up as its wg-quick file says
    Up(up::UpArgs),
    /// Take a tunnel down, also after a crash
    Down(up::DownArgs),
    /// Have a tunnel follow its changed file, without losing a session
    Reload(up::ReloadArgs),
    /// Hold several tunnels and the network cards in one process, as ringtun.toml says
    Gateway(gateway::GatewayArgs),
    /// Add a client to a tunnel, with its keys, addresses, file and QR code; or remove it
    Peer(peer::PeerArgs),
    /// Make tunnel devices, to be configured with `wg`
    Run(run::RunArgs),
    /// Show devices and peers as `wg show`, and what was dropped and why
    Show(show::ShowArgs),
    /// Watch devices and peers live: rates, handshakes, drops, rings, threads
    Top(top::TopArgs),
    /// Switch how encrypted packets travel: AF_XDP or sockets
    Io(io::IoArgs),
    /// Change what a running process logs
    Log(log::LogArgs),
    /// Write encrypted and plaintext packets of a device to a file or pipe
    Capture(capture::CaptureArgs),
    /// Look for mistakes in a wg-quick file
    Check(check::CheckArgs),
    /// Find out what is wrong with the machine and its tunnels, and what mends it
    Doctor(doctor::DoctorArgs),
    /// Write what a bug report needs to one file, without keys, names and addresses
    Report(report::ReportArgs),
    /// Print a new private key
    #[command(
        after_help = "Example:\n  umask 077; ringtun genkey | tee private.key | ringtun pubkey > public.key"
    )]
    Genkey(NoArgs),
    /// Print a new preshared key
    #[command(after_help = "Example:\n  umask 077; ringtun genpsk > preshared.key")]
    Genpsk(NoArgs),
    /// Read a private key and print its public key
    #[command(after_help = "Example:\n  ringtun pubkey < private.key > public.key")]
    Pubkey(NoArgs),
    /// Print completions for a shell
    Completions(completions::CompletionsArgs),
    /// Write the manual pages into a directory
    ManPages(pages::PagesArgs),
}

#[derive(Args)]
struct NoArgs {}

/// What `main` does.
#[must_use]
pub fn main() -> ExitCode {
    if let Some(keeper) = tunnels::keeper() {
        return finish(keeper);
    }
    let cli = Cli::parse();
    let result = match cli.command {
        Some(Command::Up(args)) => up::up(&args),
        Some(Command::Down(args)) => up::down(&args),
        Some(Command::Reload(args)) => up::reload(&args),
        Some(Command::Gateway(args)) => gateway::run(&args),
        Some(Command::Peer(args)) => peer::run(&args),
        Some(Command::Run(args)) => run::run(&args),
        Some(Command::Show(args)) => show::run(&args),
        Some(Command::Top(args)) => top::run(&args),
        Some(Command::Io(args)) => io::run(&args),
        Some(Command::Log(args)) => log::run(&args),
        Some(Command::Capture(args)) => capture::run(&args),
        Some(Command::Check(args)) => check::run(&args),
        Some(Command::Doctor(args)) => doctor::run(&args),
        Some(Command::Report(args)) => report::run(&args),
        Some(Command::Genkey(_)) => keys::genkey(),
        Some(Command::Genpsk(_)) => keys::genpsk(),
        Some(Command::Pubkey(_)) => keys::pubkey(),
        Some(Command::Completions(args)) => completions::run(&args, Cli::command()),
        Some(Command::ManPages(args)) => pages::run(&args, Cli::command()),
        None => {
            let by_wg_quick = std::env::var_os("WG_QUICK_USERSPACE_IMPLEMENTATION").is_some();
            names::not_a_subcommand(&cli.run.names, by_wg_quick).and_then(|()| run::run(&cli.run))
        }
    };
    logging::finish();
    finish(result)
}

fn finish(result: anyhow::Result<ExitCode>) -> ExitCode {
    result.unwrap_or_else(|error| {
        // Not eprintln!, which panics where standard error is closed.
        let _ = writeln!(std::io::stderr(), "ringtun: {error:#}");
        ExitCode::FAILURE
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Cli::command().debug_assert();
    }

    #[test]
    fn names_of_subcommands_are_those_that_typos_are_looked_for_in() {
        for command in Cli::command().get_subcommands() {
            let name = command.get_name();
            assert!(
                names::not_a_subcommand(&[name.to_owned()], false).is_err(),
                "{name}"
            );
        }
    }
}
