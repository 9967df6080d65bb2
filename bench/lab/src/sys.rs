//! System calls that the standard library has no safe form of. All `unsafe` of the lab is here.

use std::ffi::CString;
use std::fs::File;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd, RawFd};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::Command;

mod packet;

pub use packet::PacketSocket;

fn check(result: libc::c_int) -> io::Result<libc::c_int> {
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result)
    }
}

fn c_path(path: &Path) -> io::Result<CString> {
    CString::new(path.as_os_str().as_bytes())
        .map_err(|_| io::Error::from_raw_os_error(libc::EINVAL))
}

/// Puts the calling thread into a new, empty network namespace.
pub fn unshare_net() -> io::Result<()> {
    // SAFETY: takes no pointer; affects the calling thread only.
    check(unsafe { libc::unshare(libc::CLONE_NEWNET) }).map(drop)
}

/// Moves the calling thread into the network namespace behind `ns`.
pub fn enter_net(ns: &File) -> io::Result<()> {
    // SAFETY: takes no pointer; the descriptor is open for the length of the call.
    check(unsafe { libc::setns(ns.as_raw_fd(), libc::CLONE_NEWNET) }).map(drop)
}

/// Binds `source` onto `target`.
pub fn bind_mount(source: &Path, target: &Path) -> io::Result<()> {
    let (source, target) = (c_path(source)?, c_path(target)?);
    // SAFETY: both strings are NUL-terminated and outlive the call; the other pointers may be null.
    check(unsafe {
        libc::mount(
            source.as_ptr(),
            target.as_ptr(),
            std::ptr::null(),
            libc::MS_BIND,
            std::ptr::null(),
        )
    })
    .map(drop)
}

/// Makes `directory` a mount of its own that propagates, unless it is one.
pub fn share_mount(directory: &Path) -> io::Result<()> {
    let path = c_path(directory)?;
    let change = |flags| {
        // SAFETY: the string is NUL-terminated and outlives the call; a bind and a change of
        // propagation read neither type nor data.
        check(unsafe {
            libc::mount(
                path.as_ptr(),
                path.as_ptr(),
                std::ptr::null(),
                flags,
                std::ptr::null(),
            )
        })
    };
    let share = || change(libc::MS_SHARED | libc::MS_REC);
    match share() {
        Err(error) if error.raw_os_error() == Some(libc::EINVAL) => {
            change(libc::MS_BIND | libc::MS_REC)?;
            share().map(drop)
        }
        other => other.map(drop),
    }
}

/// Takes the mount at `target` out of the tree; it goes away with its last user.
pub fn unmount(target: &Path) -> io::Result<()> {
    let target = c_path(target)?;
    // SAFETY: the string is NUL-terminated and outlives the call.
    check(unsafe { libc::umount2(target.as_ptr(), libc::MNT_DETACH) }).map(drop)
}

/// Makes `command` start in the network namespace `ns` (when given), and die with the thread that
/// started it.
///
/// `ns` has to stay open until the command was spawned.
pub fn start_in(command: &mut Command, ns: Option<RawFd>) {
    let parent = std::process::id();
    let prepare = move || {
        if let Some(ns) = ns {
            // SAFETY: setns is async-signal-safe and takes no pointer.
            check(unsafe { libc::setns(ns, libc::CLONE_NEWNET) })?;
        }
        // SAFETY: prctl with PR_SET_PDEATHSIG takes an integer and is async-signal-safe.
        check(unsafe { libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) })?;
        // SAFETY: getppid has no arguments and cannot fail.
        if unsafe { libc::getppid() } as u32 != parent {
            // The parent died between fork and prctl: its death will not be signalled any more.
            return Err(io::Error::from_raw_os_error(libc::ESRCH));
        }
        Ok(())
    };
    // SAFETY: the closure calls async-signal-safe functions only and does not allocate.
    unsafe { command.pre_exec(prepare) };
}

/// Gives `command` a mount namespace of its own in which nothing propagates back, and binds each
/// `(source, target)` there before the program starts.
pub fn private_mounts(command: &mut Command, binds: &[(&Path, &Path)]) -> io::Result<()> {
    let binds = binds
        .iter()
        .map(|(source, target)| Ok((c_path(source)?, c_path(target)?)))
        .collect::<io::Result<Vec<_>>>()?;
    let prepare = move || {
        // SAFETY: takes no pointer; the child has one thread.
        check(unsafe { libc::unshare(libc::CLONE_NEWNS) })?;
        // SAFETY: constant strings; null is allowed for type and data of a propagation change.
        check(unsafe {
            libc::mount(
                std::ptr::null(),
                c"/".as_ptr(),
                std::ptr::null(),
                libc::MS_REC | libc::MS_PRIVATE,
                std::ptr::null(),
            )
        })?;
        for (source, target) in &binds {
            // SAFETY: both strings are NUL-terminated and owned by the closure.
            check(unsafe {
                libc::mount(
                    source.as_ptr(),
                    target.as_ptr(),
                    std::ptr::null(),
                    libc::MS_BIND,
                    std::ptr::null(),
                )
            })?;
        }
        Ok(())
    };
    // SAFETY: the closure makes system calls only and does not allocate.
    unsafe { command.pre_exec(prepare) };
    Ok(())
}

/// Sends `signal` to process `pid`.
pub fn kill(pid: u32, signal: i32) -> io::Result<()> {
    let pid = i32::try_from(pid).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: takes no pointer.
    check(unsafe { libc::kill(pid, signal) }).map(drop)
}

/// Sends `signal` to the process group `group`.
pub fn kill_group(group: u32, signal: i32) -> io::Result<()> {
    let group = i32::try_from(group).map_err(|_| io::Error::from_raw_os_error(libc::ESRCH))?;
    // SAFETY: takes no pointer.
    check(unsafe { libc::killpg(group, signal) }).map(drop)
}

/// Clock ticks per second of the times in `/proc/PID/stat`.
pub fn ticks_per_second() -> u64 {
    // SAFETY: takes no pointer.
    let ticks = unsafe { libc::sysconf(libc::_SC_CLK_TCK) };
    u64::try_from(ticks).unwrap_or(100)
}

/// Keeps the calling thread on this processor.
pub fn pin(processor: usize) -> io::Result<()> {
    // SAFETY: all zeros is the empty set; the macro checks the number against its length.
    let set = unsafe {
        let mut set: libc::cpu_set_t = std::mem::zeroed();
        libc::CPU_SET(processor, &mut set);
        set
    };
    // SAFETY: the pointer is to a whole set that outlives the call; 0 is the calling thread.
    check(unsafe { libc::sched_setaffinity(0, size_of_val(&set), &raw const set) }).map(drop)
}

/// How often the calling thread had to leave a processor that it wanted to keep.
pub fn involuntary_switches() -> io::Result<u64> {
    // SAFETY: all zeros is a value of this structure of numbers.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the pointer is to a whole structure that outlives the call.
    check(unsafe { libc::getrusage(libc::RUSAGE_THREAD, &raw mut usage) })?;
    Ok(usage.ru_nivcsw.unsigned_abs())
}

/// Bytes that the C library's allocator has given out and not got back, its own headers included.
pub fn allocated() -> usize {
    // SAFETY: takes no pointer.
    let info = unsafe { libc::mallinfo2() };
    info.uordblks + info.hblkhd
}

/// An inotify descriptor that watches `directory` for files that appear, grow, move or
/// vanish.
pub fn watch_directory(directory: &Path) -> io::Result<File> {
    let directory = c_path(directory)?;
    // SAFETY: takes no pointer.
    let fd = check(unsafe { libc::inotify_init1(libc::IN_CLOEXEC | libc::IN_NONBLOCK) })?;
    // SAFETY: the descriptor was just made and belongs to nobody else.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let mask = libc::IN_CREATE
        | libc::IN_MOVED_TO
        | libc::IN_DELETE
        | libc::IN_MOVED_FROM
        | libc::IN_MODIFY;
    // SAFETY: the string is NUL-terminated and outlives the call.
    check(unsafe { libc::inotify_add_watch(fd.as_raw_fd(), directory.as_ptr(), mask) })?;
    Ok(File::from(fd))
}

/// Waits until `fd` is readable; false when `timeout_ms` passed first.
pub fn wait_readable(fd: RawFd, timeout_ms: i32) -> io::Result<bool> {
    Ok(wait_for_any(&[fd], timeout_ms)?[0] != 0)
}

/// Waits until one of `fds` can be read or has an error, at most `timeout_ms` (-1: for ever); the
/// `revents` of each (`poll(2)`).
pub fn wait_for_any(fds: &[RawFd], timeout_ms: i32) -> io::Result<Vec<i16>> {
    let polled = |fd: &RawFd| libc::pollfd {
        fd: *fd,
        events: libc::POLLIN,
        revents: 0,
    };
    let mut all: Vec<libc::pollfd> = fds.iter().map(polled).collect();
    loop {
        // SAFETY: the pointer and the count describe `all`, which outlives the call.
        match check(unsafe { libc::poll(all.as_mut_ptr(), all.len() as libc::nfds_t, timeout_ms) })
        {
            Ok(_) => return Ok(all.iter().map(|one| one.revents).collect()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// An AF_XDP socket with a receive ring and nothing else: enough to have a place in an XSKMAP.
pub fn xdp_socket() -> io::Result<OwnedFd> {
    let entries: libc::c_int = 64;
    // SAFETY: a call without pointers; the descriptor it gives is new and owned by nobody else.
    let fd = unsafe {
        let fd = check(libc::socket(
            libc::AF_XDP,
            libc::SOCK_RAW | libc::SOCK_CLOEXEC,
            0,
        ))?;
        OwnedFd::from_raw_fd(fd)
    };
    // SAFETY: the option is a live int of the length given.
    check(unsafe {
        libc::setsockopt(
            fd.as_raw_fd(),
            libc::SOL_XDP,
            libc::XDP_RX_RING,
            (&raw const entries).cast(),
            size_of_val(&entries) as libc::socklen_t,
        )
    })?;
    Ok(fd)
}

/// What [`bpf_ids`] lists.
#[derive(Clone, Copy, Debug)]
pub enum BpfKind {
    /// `BPF_PROG_GET_NEXT_ID`
    Program = 11,
    /// `BPF_LINK_GET_NEXT_ID`
    Link = 31,
}

/// The ids of all BPF objects of a kind on this machine.
pub fn bpf_ids(kind: BpfKind) -> io::Result<Vec<u32>> {
    /// `union bpf_attr`, the part of the GET_NEXT_ID commands.
    #[repr(C)]
    struct NextId {
        start_id: u32,
        next_id: u32,
        open_flags: u32,
    }
    let mut ids = Vec::new();
    let mut attr = NextId {
        start_id: 0,
        next_id: 0,
        open_flags: 0,
    };
    loop {
        // SAFETY: the attribute has the size that is passed and outlives the call.
        let result = unsafe {
            libc::syscall(
                libc::SYS_bpf,
                kind as libc::c_long,
                &raw mut attr,
                size_of::<NextId>(),
            )
        };
        if result < 0 {
            let error = io::Error::last_os_error();
            return match error.raw_os_error() {
                Some(libc::ENOENT) => Ok(ids),
                _ => Err(error),
            };
        }
        ids.push(attr.next_id);
        attr.start_id = attr.next_id;
    }
}

/// Bytes written to a stream socket that its peer has not read yet.
pub fn unread_by_peer(socket: RawFd) -> io::Result<usize> {
    let mut bytes: libc::c_int = 0;
    // SAFETY: TIOCOUTQ (SIOCOUTQ) writes one int, and the pointer is to one.
    check(unsafe { libc::ioctl(socket, libc::TIOCOUTQ, &raw mut bytes) })?;
    Ok(usize::try_from(bytes).unwrap_or(0))
}
