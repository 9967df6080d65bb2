//! The socket file `/var/run/wireguard/NAME.sock`: made, watched, removed.

use std::fs::{self, DirBuilder, File, Permissions};
use std::io;
use std::os::fd::{AsRawFd, OwnedFd};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify};
use nix::sys::socket::{self, AddressFamily, Backlog, SockFlag, SockType, UnixAddr};
use tokio::net::unix::pipe;

use crate::control::names::InterfaceName;

/// Where `wg` looks for sockets.
pub const DIRECTORY: &str = "/var/run/wireguard";

/// Connections that wait to be accepted.
const BACKLOG: i32 = 64;

/// The path of a device's socket in `directory`.
#[must_use]
pub fn path(directory: &Path, name: &InterfaceName) -> PathBuf {
    directory.join(format!("{name}.sock"))
}

/// Why there is no socket.
#[derive(Debug, thiserror::Error)]
pub enum SocketError {
    /// Another program answers on it.
    #[error("`{name}` is in use: another process answers on {path} (see `wg show {name}`)",
        path = .path.display())]
    InUse {
        /// The device.
        name: InterfaceName,
        /// Its socket.
        path: PathBuf,
    },
    /// There is something else of that name, which is not ours to remove.
    #[error("{path} is in the way and is no socket; move it elsewhere", path = .0.display())]
    NotASocket(PathBuf),
    /// The system said no.
    #[error("{path}: cannot {action}: {error}", path = .path.display())]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What was tried.
        action: &'static str,
        /// What the system said.
        error: io::Error,
    },
}

/// Fails if a program answers on the device's socket. For asking before
/// anything is changed; [`UapiSocket::bind`] asks again.
///
/// # Errors
/// [`SocketError::InUse`], or the system's.
pub fn check_free(directory: &Path, name: &InterfaceName) -> Result<(), SocketError> {
    let path = path(directory, name);
    probe(&path, name).map(|_| ())
}

/// What lies at the path of a socket.
enum Found {
    Nothing,
    /// A socket that nobody listens on any more.
    Stale,
}

fn probe(path: &Path, name: &InterfaceName) -> Result<Found, SocketError> {
    let io_error = |action| {
        move |error| SocketError::Io {
            path: path.to_owned(),
            action,
            error,
        }
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Found::Nothing),
        Err(error) => return Err(io_error("look at it")(error)),
        Ok(found) if !found.file_type().is_socket() => {
            return Err(SocketError::NotASocket(path.to_owned()));
        }
        Ok(_) => {}
    }
    match UnixStream::connect(path) {
        Ok(_) => Err(SocketError::InUse {
            name: name.clone(),
            path: path.to_owned(),
        }),
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(Found::Stale),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Found::Nothing),
        Err(error) => Err(io_error("test whether it is in use")(error)),
    }
}

/// A listening socket and its file, which goes when this is dropped.
#[derive(Debug)]
pub struct UapiSocket {
    listener: tokio::net::UnixListener,
    file: SocketFile,
    watch: Watch,
}

impl UapiSocket {
    /// Makes the directory (mode 0700) and the socket (mode 0600). A socket
    /// that nobody answers on is replaced. Needs a tokio runtime.
    ///
    /// # Errors
    /// [`SocketError`].
    pub fn bind(directory: &Path, name: &InterfaceName) -> Result<Self, SocketError> {
        let path = path(directory, name);
        let failed = |action| {
            let path = path.clone();
            move |error: io::Error| SocketError::Io {
                path,
                action,
                error,
            }
        };
        DirBuilder::new()
            .recursive(true)
            .mode(0o700)
            .create(directory)
            .map_err(failed("make its directory"))?;
        // Two daemons that start at once must not both find the socket stale,
        // or the slower one unlinks the socket of the faster.
        let lock = File::open(directory).map_err(failed("open its directory"))?;
        lock.lock().map_err(failed("lock its directory"))?;
        if let Found::Stale = probe(&path, name)? {
            fs::remove_file(&path).map_err(failed("remove the stale socket"))?;
        }
        let listener = listen(&path).map_err(failed("make the socket"))?;
        let file = SocketFile::existing(path.clone()).map_err(failed("look at the socket"))?;
        drop(lock);
        let watch = Watch::on(&path).map_err(failed("watch for its removal"))?;
        let listener = listener
            .set_nonblocking(true)
            .and_then(|()| tokio::net::UnixListener::from_std(listener))
            .map_err(failed("listen on the socket"))?;
        Ok(Self {
            listener,
            file,
            watch,
        })
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.file.path
    }

    /// The next connection.
    ///
    /// # Errors
    /// As `accept(2)`; out of file descriptors, for example.
    pub async fn accept(&self) -> io::Result<tokio::net::UnixStream> {
        self.listener.accept().await.map(|(stream, _)| stream)
    }

    /// Returns when the socket file was removed, renamed or replaced, which is
    /// how an administrator asks the daemon to end.
    ///
    /// # Errors
    /// Watching failed.
    pub async fn removed(&self) -> io::Result<()> {
        while self.file.is_ours() {
            self.watch.event().await?;
        }
        Ok(())
    }
}

/// Binds with mode 0600 from the first moment: the mode of the unbound socket
/// becomes that of the file, so the process-wide umask need not be touched.
fn listen(path: &Path) -> io::Result<UnixListener> {
    let fd: OwnedFd = socket::socket(
        AddressFamily::Unix,
        SockType::Stream,
        SockFlag::SOCK_CLOEXEC,
        None,
    )?;
    let file = File::from(fd);
    file.set_permissions(Permissions::from_mode(0o600))?;
    socket::bind(file.as_raw_fd(), &UnixAddr::new(path)?)?;
    socket::listen(&file, Backlog::new(BACKLOG)?)?;
    Ok(UnixListener::from(OwnedFd::from(file)))
}

/// A file that is removed on drop, if it is still the one that was made.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl SocketFile {
    fn existing(path: PathBuf) -> io::Result<Self> {
        let identity = identity(&path)?;
        Ok(Self { path, identity })
    }

    fn is_ours(&self) -> bool {
        identity(&self.path).is_ok_and(|found| found == self.identity)
    }
}

fn identity(path: &Path) -> io::Result<(u64, u64)> {
    fs::symlink_metadata(path).map(|m| (m.dev(), m.ino()))
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Nobody puts another socket there between the look and the removal. A
        // directory that cannot be locked is most likely gone, with the file.
        let lock = self.path.parent().map(File::open).and_then(Result::ok);
        let _ = lock.as_ref().map(File::lock);
        if self.is_ours()
            && let Err(error) = fs::remove_file(&self.path)
        {
            tracing::warn!(event = "uapi_socket_stays", path = %self.path.display(), %error, "the UAPI socket stays behind");
        }
    }
}

/// An inotify watch on one file. Tokio's pipe takes any descriptor that can be
/// polled and read, without the unsafe promise that its `AsyncFd` asks for.
#[derive(Debug)]
struct Watch(pipe::Receiver);

impl Watch {
    fn on(path: &Path) -> io::Result<Self> {
        let inotify = Inotify::init(InitFlags::IN_NONBLOCK | InitFlags::IN_CLOEXEC)?;
        // While the socket is open, unlinking it changes its link count and is
        // no deletion: IN_ATTRIB.
        let events =
            AddWatchFlags::IN_ATTRIB | AddWatchFlags::IN_DELETE_SELF | AddWatchFlags::IN_MOVE_SELF;
        inotify.add_watch(path, events)?;
        pipe::Receiver::from_owned_fd_unchecked(inotify.into()).map(Self)
    }

    /// Returns after at least one event; which one does not matter.
    async fn event(&self) -> io::Result<()> {
        let mut events = [0; 4096];
        loop {
            self.0.readable().await?;
            match self.0.try_read(&mut events) {
                Ok(_) => return Ok(()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
    }
}
