//! The chores of ringtun. Each command installs what it lacks, says what it
//! does, and ends with one line that sums it up.
//!
//! * [`commands`]: one file per command.
//! * [`toolchain`]: compilers, packages and tools, found or installed.
//! * [`process`]: child processes that end when this one does.
//! * [`progress`]: a line per step with the time.
//! * [`paths`]: where things are.

mod commands;
mod paths;
mod process;
mod progress;
mod toolchain;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

#[derive(Debug, Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", about, version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Install all that the other commands need
    Setup,
    /// Build the XDP programs and the release binary with them inside
    Build,
    /// Two gateways in network namespaces, a tunnel, real traffic
    Demo(commands::demo::Arguments),
    /// Every test: unit, property, documentation, XDP in the kernel, end to end
    Test(commands::test::Arguments),
    /// Against other WireGuard implementations
    Interop(commands::bench::InteropArguments),
    /// Named network situations: what is expected, and what was seen
    Scenario(commands::bench::ScenarioArguments),
    /// Draw the Grafana dashboard over live data: every query, every panel
    Dashboard(commands::bench::DashboardArguments),
    /// On the kernels of Debian's releases, in QEMU: XDP on veth and on virtio_net
    Kernels(commands::bench::KernelsArguments),
    /// Fuzz targets; prints executions and edges
    Fuzz(commands::fuzz::Arguments),
    /// Measure side by side with other implementations
    Bench(commands::bench::Arguments),
    /// Packages of a release: .deb, tarball, checksums, for amd64 and arm64
    Dist(commands::dist::Arguments),
    /// Break the core in known ways; each must make a test fail
    Mutate(commands::mutate::Arguments),
    /// Everything that must hold before a change is taken
    Ci,
}

fn main() -> ExitCode {
    if let Err(error) = process::end_children_on_signals() {
        eprintln!("xtask: cannot catch signals: {error}");
        return ExitCode::FAILURE;
    }
    let result = match Arguments::parse().command {
        Command::Setup => commands::setup::run(),
        Command::Build => commands::build::run(),
        Command::Demo(arguments) => commands::demo::run(&arguments),
        Command::Test(arguments) => commands::test::run(&arguments),
        Command::Interop(arguments) => commands::bench::interop(&arguments),
        Command::Scenario(arguments) => commands::bench::scenario(&arguments),
        Command::Dashboard(arguments) => commands::bench::dashboard(&arguments),
        Command::Kernels(arguments) => commands::bench::kernels(&arguments),
        Command::Fuzz(arguments) => commands::fuzz::run(&arguments),
        Command::Bench(arguments) => commands::bench::run(&arguments),
        Command::Mutate(arguments) => commands::mutate::run(&arguments),
        Command::Dist(arguments) => commands::dist::run(&arguments),
        Command::Ci => commands::ci::run(),
    };
    process::wait_if_interrupted();
    match result {
        Ok(summary) => {
            println!("{summary}");
            ExitCode::SUCCESS
        }
        Err(error) => {
            eprintln!("FAILED after {}: {error:#}", progress::elapsed());
            ExitCode::FAILURE
        }
    }
}
