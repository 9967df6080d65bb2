//! The terminal while it is drawn on, and as it was before.

use std::io::{self, Stdout, Write};
use std::mem::ManuallyDrop;
use std::panic;
use std::sync::Once;

use ratatui::Terminal;
use ratatui::backend::CrosstermBackend;
use ratatui::crossterm::cursor::{Hide, Show};
use ratatui::crossterm::execute;
use ratatui::crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};

/// The terminal in raw mode and on its alternate screen. Dropped, it is as it was; so it
/// is when any thread panics, before the message is written, which would be lost on the
/// alternate screen.
pub struct Guard {
    /// Never dropped: where its terminal is gone it writes to standard error, and panics
    /// as that is gone, too.
    pub terminal: ManuallyDrop<Terminal<CrosstermBackend<Stdout>>>,
}

impl Guard {
    /// # Errors
    /// Standard output is no terminal, or is closed.
    pub fn enter() -> io::Result<Self> {
        static HOOK: Once = Once::new();
        HOOK.call_once(|| {
            let before = panic::take_hook();
            panic::set_hook(Box::new(move |info| {
                restore();
                before(info);
            }));
        });
        enable_raw_mode()?;
        // From here on it is restored whatever fails.
        let undo = Undo;
        execute!(io::stdout(), EnterAlternateScreen, Hide)?;
        let terminal = Terminal::new(CrosstermBackend::new(io::stdout()))?;
        std::mem::forget(undo);
        Ok(Self {
            terminal: ManuallyDrop::new(terminal),
        })
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        restore();
    }
}

struct Undo;

impl Drop for Undo {
    fn drop(&mut self) {
        restore();
    }
}

/// Does nothing where the terminal is as it was. A terminal that is gone cannot be
/// restored, and nobody sees it.
fn restore() {
    if ratatui::crossterm::terminal::is_raw_mode_enabled().unwrap_or(false) {
        let mut out = io::stdout();
        let _ = execute!(out, LeaveAlternateScreen, Show);
        let _ = out.flush();
        let _ = disable_raw_mode();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::File;
    use std::io::Read as _;
    use std::process::{Command, Stdio};
    use std::thread;

    use nix::pty::{Winsize, openpty};
    use nix::sys::termios::tcgetattr;

    /// Set for the process that the test runs in a terminal.
    const IN_TERMINAL: &str = "RINGTUN_TEST_IN_TERMINAL";

    fn panic_while_it_draws() {
        let mut guard = Guard::enter().unwrap();
        guard.terminal.draw(|_| {}).unwrap();
        // Any thread: not the one that holds the guard.
        thread::spawn(|| panic!("the sky falls"))
            .join()
            .unwrap_err();
        std::process::abort();
    }

    #[test]
    fn after_a_panic_the_terminal_is_as_it_was_and_the_message_is_seen() {
        if std::env::var_os(IN_TERMINAL).is_some() {
            panic_while_it_draws();
        }
        let size = Winsize {
            ws_row: 24,
            ws_col: 80,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "--nocapture"])
            .arg("cli::top::terminal::tests::after_a_panic_the_terminal_is_as_it_was_and_the_message_is_seen")
            .env(IN_TERMINAL, "1")
            .stdin(end())
            .stdout(end())
            .stderr(end())
            .spawn()
            .unwrap();
        let mut master = File::from(pty.master.try_clone().unwrap());
        let reader = thread::spawn(move || {
            let mut all = Vec::new();
            let mut some = [0; 4096];
            // The other end is closed: an error on Linux.
            while let Ok(n @ 1..) = master.read(&mut some) {
                all.extend_from_slice(&some[..n]);
            }
            String::from_utf8_lossy(&all).into_owned()
        });
        child.wait().unwrap();
        assert_eq!(tcgetattr(&pty.slave).unwrap(), before);
        drop(pty);
        let said = reader.join().unwrap();
        let at = |what: &str| {
            said.find(what)
                .unwrap_or_else(|| panic!("{what:?} in {said:?}"))
        };
        let entered = at("\u{1b}[?1049h");
        let left = at("\u{1b}[?1049l");
        let shown = at("\u{1b}[?25h");
        let message = at("the sky falls");
        assert!(
            entered < left && left < message && shown < message,
            "{said:?}"
        );
    }
}
