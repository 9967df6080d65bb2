//! A pseudo-terminal with a program in it, and an emulator that knows what a person would see.

use std::fs::{self, File};
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::os::fd::{AsFd, OwnedFd};
use std::os::unix::fs::symlink;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

use nix::fcntl::{FcntlArg, FdFlag, fcntl};
use nix::poll::{PollFd, PollFlags, PollTimeout, poll};
use nix::pty::{Winsize, openpty};
use nix::sys::signal::{Signal, kill};
use nix::sys::termios::{Termios, tcgetattr};
use nix::unistd::{Pid, ttyname};
use ringtun_lab::{process, wait};
use tempfile::TempDir;

use crate::{SOON, e2e};

/// Where `top` looks: sockets of this test's devices only, and their files.
pub struct Place {
    directory: TempDir,
}

impl Place {
    pub fn new(devices: &[&str]) -> Self {
        let directory = tempfile::tempdir().unwrap();
        for part in ["sockets", "files"] {
            fs::create_dir(directory.path().join(part)).unwrap();
        }
        let place = Self { directory };
        devices.iter().for_each(|name| place.add(name));
        place
    }

    /// One more device to be seen.
    pub fn add(&self, name: &str) {
        let link = self.path("sockets").join(format!("{name}.sock"));
        symlink(wait::uapi_path(name), link).unwrap();
    }

    /// The file with the names of a device's peers.
    pub fn name_peers(&self, device: &str, text: &str) {
        fs::write(self.path("files").join(format!("{device}.conf")), text).unwrap();
    }

    pub fn path(&self, part: &str) -> std::path::PathBuf {
        self.directory.path().join(part)
    }

    /// `ringtun top` with these arguments, its files in the place of the machine's; it leads a
    /// session of its own, with its standard input as the terminal.
    fn command(&self, arguments: &[&str], environment: &[(&str, &str)]) -> Command {
        let mut command = Command::new("unshare");
        command
            .args(["--mount", "--propagation", "slave", "sh", "-c"])
            .arg("mount --bind \"$0\" /etc/wireguard && exec setsid -c \"$@\"")
            .arg(self.path("files"))
            .arg(e2e::ringtun().program)
            .arg("top")
            .arg("--uapi-directory")
            .arg(self.path("sockets"))
            .args(arguments)
            .env_remove("NO_COLOR")
            .env("LC_ALL", "C.UTF-8")
            .env("TERM", "xterm-256color")
            .envs(environment.iter().copied());
        command
    }
}

/// `top` in a terminal.
pub struct Top {
    child: Child,
    master: File,
    slave: OwnedFd,
    before: Termios,
    pub parser: vt100::Parser,
}

impl Top {
    pub fn start(place: &Place, size: (u16, u16), arguments: &[&str]) -> Self {
        Self::start_with(place, size, arguments, &[])
    }

    pub fn start_with(
        place: &Place,
        (columns, rows): (u16, u16),
        arguments: &[&str],
        environment: &[(&str, &str)],
    ) -> Self {
        let size = Winsize {
            ws_row: rows,
            ws_col: columns,
            ws_xpixel: 0,
            ws_ypixel: 0,
        };
        let pty = openpty(Some(&size), None).unwrap();
        // Or the program has its own terminal's other end, which then never hangs up.
        for end in [&pty.master, &pty.slave] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC)).unwrap();
        }
        let before = tcgetattr(&pty.slave).unwrap();
        let end = || Stdio::from(pty.slave.try_clone().unwrap());
        let mut command = place.command(arguments, environment);
        command.stdin(end()).stdout(end()).stderr(end());
        process::die_with_parent(&mut command);
        Self {
            child: command.spawn().unwrap(),
            master: pty.master.into(),
            slave: pty.slave,
            before,
            parser: vt100::Parser::new(cells(rows), cells(columns), 0),
        }
    }

    /// What a person sees, line by line.
    pub fn text(&self) -> String {
        let screen = self.parser.screen();
        let rows: Vec<_> = screen.rows(0, screen.size().1.get()).collect();
        rows.join("\n")
    }

    /// Has the emulator read what the program wrote, for `at_most` until there is something.
    fn pump(&mut self, at_most: Duration) -> bool {
        let millis = u16::try_from(at_most.as_millis()).unwrap_or(u16::MAX);
        let mut fds = [PollFd::new(self.master.as_fd(), PollFlags::POLLIN)];
        if poll(&mut fds, PollTimeout::from(millis)).unwrap() == 0 {
            return false;
        }
        let mut some = [0; 65536];
        let n = self.master.read(&mut some).unwrap_or(0);
        self.parser.process(&some[..n]);
        n > 0
    }

    /// Waits until what is seen is as expected.
    #[track_caller]
    pub fn until(&mut self, what: &str, seen: impl Fn(&str) -> bool) -> String {
        let end = Instant::now() + SOON;
        loop {
            let text = self.text();
            if seen(&text) {
                return text;
            }
            assert!(Instant::now() < end, "{what} was not seen:\n{text}");
            self.pump(Duration::from_millis(200));
        }
    }

    /// Waits until all of `parts` are seen.
    #[track_caller]
    pub fn sees(&mut self, parts: &[&str]) -> String {
        self.until(&format!("{parts:?}"), |text| {
            parts.iter().all(|part| text.contains(part))
        })
    }

    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Presses, and waits for the first change of what is seen that `done` accepts.
    #[track_caller]
    pub fn timed(&mut self, keys: &str, done: impl Fn(&str) -> bool) -> Duration {
        while self.pump(Duration::ZERO) {}
        let begun = Instant::now();
        self.press(keys);
        self.until("a change", done);
        begun.elapsed()
    }

    pub fn resize(&mut self, columns: u16, rows: u16) {
        let tty = ttyname(&self.slave).unwrap();
        self.parser
            .screen_mut()
            .set_size(cells(rows), cells(columns));
        let status = Command::new("stty")
            .arg("-F")
            .arg(tty)
            .args(["rows", &rows.to_string(), "cols", &columns.to_string()])
            .status()
            .unwrap();
        assert!(status.success());
    }

    pub fn signal(&self, signal: Signal) {
        kill(Pid::from_raw(self.child.id().cast_signed()), signal).unwrap();
    }

    /// Waits for its end; the emulator reads what it wrote last.
    #[track_caller]
    pub fn ended(&mut self) -> ExitStatus {
        let end = Instant::now() + SOON;
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                while self.pump(Duration::ZERO) {}
                return status;
            }
            assert!(Instant::now() < end, "it still runs:\n{}", self.text());
            self.pump(Duration::from_millis(50));
        }
    }

    /// That nothing of it is left: modes, cursor, screen.
    #[track_caller]
    pub fn is_restored(&self) {
        let screen = self.parser.screen();
        assert!(!screen.alternate_screen(), "the alternate screen is left");
        assert!(!screen.hide_cursor(), "the cursor is seen");
        assert_eq!(tcgetattr(&self.slave).unwrap(), self.before);
        assert_eq!(self.text().trim(), "", "what was there is there again");
    }

    /// Closes the terminal as a window that is closed.
    pub fn hang_up(self) -> Child {
        self.child
    }
}

fn cells(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}
