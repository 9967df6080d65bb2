//! `ringtun completions`: what a shell needs to complete the command line.

use std::process::ExitCode;

use anyhow::Result;
use clap::{Args, Command, ValueEnum};
use clap_complete::Shell as Generator;

use super::output::print;

#[derive(Args)]
#[command(after_help = "\
A package installs them where each shell looks for them. By hand:

  bash   /usr/share/bash-completion/completions/ringtun
  zsh    /usr/share/zsh/vendor-completions/_ringtun
  fish   /usr/share/fish/vendor_completions.d/ringtun.fish

Examples:
  source <(ringtun completions bash)
  ringtun completions fish > ~/.config/fish/completions/ringtun.fish")]
pub struct CompletionsArgs {
    /// The shell
    shell: Shell,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Shell {
    Bash,
    Zsh,
    Fish,
}

/// Prints the completions of `command` for the shell.
pub fn run(args: &CompletionsArgs, command: Command) -> Result<ExitCode> {
    print(&script(args.shell, command))?;
    Ok(ExitCode::SUCCESS)
}

fn script(shell: Shell, mut command: Command) -> String {
    let generator = match shell {
        Shell::Bash => Generator::Bash,
        Shell::Zsh => Generator::Zsh,
        Shell::Fish => Generator::Fish,
    };
    let mut script = Vec::new();
    clap_complete::generate(generator, &mut command, "ringtun", &mut script);
    String::from_utf8_lossy(&script).into_owned()
}
