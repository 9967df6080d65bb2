//! Network namespaces: name one, compare two, run something in one.

use super::sys;
use std::fs::File;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;

/// A network namespace, kept alive by this handle.
#[derive(Debug)]
pub struct Namespace {
    file: File,
    /// Device and inode number: what tells two namespaces apart.
    identity: (u64, u64),
}

impl Namespace {
    /// The namespace of the calling thread.
    ///
    /// # Errors
    /// If `/proc` is not mounted.
    pub fn current() -> io::Result<Self> {
        Self::open(Path::new("/proc/thread-self/ns/net"))
    }

    /// The namespace at a path such as `/run/netns/NAME` or `/proc/PID/ns/net`.
    ///
    /// # Errors
    /// If there is no such file.
    pub fn open(path: &Path) -> io::Result<Self> {
        Self::from_file(File::open(path)?)
    }

    /// The namespace that a socket was created in.
    ///
    /// # Errors
    /// If `fd` is no socket, or without `CAP_NET_ADMIN`.
    pub fn of_socket(fd: impl AsFd) -> io::Result<Self> {
        Self::from_fd(sys::socket_namespace(fd.as_fd())?)
    }

    /// A new namespace without a name, gone with its last handle, socket and
    /// device. Its loopback interface is down.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`.
    pub fn new_unnamed() -> io::Result<Self> {
        in_own_thread(|| {
            sys::unshare_network()?;
            Self::current()
        })?
    }

    /// A second handle on the same namespace.
    ///
    /// # Errors
    /// Out of descriptors.
    pub fn try_clone(&self) -> io::Result<Self> {
        Ok(Self {
            file: self.file.try_clone()?,
            identity: self.identity,
        })
    }

    pub(super) fn from_fd(fd: OwnedFd) -> io::Result<Self> {
        Self::from_file(File::from(fd))
    }

    fn from_file(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let identity = (metadata.dev(), metadata.ino());
        Ok(Self { file, identity })
    }

    /// What tells this namespace from others, without keeping it alive. May be
    /// that of another one once this one has ended.
    #[must_use]
    pub fn identity(&self) -> (u64, u64) {
        self.identity
    }

    /// Runs `work` on a thread of its own inside the namespace, and waits for
    /// it. Sockets made there stay there.
    ///
    /// # Errors
    /// If the namespace cannot be entered (`CAP_SYS_ADMIN`), or no thread can be made.
    pub fn run<T: Send>(&self, work: impl FnOnce() -> T + Send) -> io::Result<T> {
        in_own_thread(|| {
            sys::set_namespace(self.file.as_fd())?;
            Ok(work())
        })?
    }
}

/// The thread's end undoes what was done to its namespace.
fn in_own_thread<T: Send>(work: impl FnOnce() -> T + Send) -> io::Result<T> {
    std::thread::scope(|scope| {
        let thread = std::thread::Builder::new()
            .name("netns".into())
            .spawn_scoped(scope, work)?;
        match thread.join() {
            Ok(result) => Ok(result),
            Err(panic) => std::panic::resume_unwind(panic),
        }
    })
}

impl PartialEq for Namespace {
    fn eq(&self, other: &Self) -> bool {
        self.identity == other.identity
    }
}

impl Eq for Namespace {}

impl AsFd for Namespace {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_current_namespace_is_the_same_each_time() {
        let a = Namespace::current().expect("/proc");
        let b = std::thread::spawn(Namespace::current)
            .join()
            .expect("thread")
            .expect("/proc");
        assert_eq!(a, b);
    }
}
