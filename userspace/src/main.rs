//! The `ringtun` binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    ringtun::cli::main()
}
