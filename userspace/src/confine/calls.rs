//! System calls (seccomp(2)).

use std::collections::BTreeMap;
use std::env::consts::ARCH;

use seccompiler::SeccompAction::{Allow, Errno};
use seccompiler::SeccompCmpArgLen::{Dword, Qword};
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition,
    SeccompFilter, SeccompRule,
};

/// Why the filter is not in force.
#[derive(Debug, thiserror::Error)]
pub enum CallsError {
    /// There is no filter for this architecture.
    #[error("no filter for this architecture: {0}")]
    Backend(#[from] BackendError),
    /// The kernel, or the filter of a service manager, refuses it.
    #[error("the system refuses the filter: {0}")]
    Install(#[from] seccompiler::Error),
}

/// Calls with any arguments.
const ANY: &[libc::c_long] = &[
    // Packets, first of all: the kernel remembers that these need no look at the filter.
    libc::SYS_read,
    libc::SYS_readv,
    libc::SYS_write,
    libc::SYS_writev,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_sendmmsg,
    libc::SYS_recvfrom,
    libc::SYS_recvmsg,
    libc::SYS_recvmmsg,
    libc::SYS_epoll_pwait,
    libc::SYS_epoll_pwait2,
    libc::SYS_futex,
    libc::SYS_clock_gettime,
    // Descriptors.
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_close,
    libc::SYS_connect,
    libc::SYS_dup,
    libc::SYS_dup3,
    libc::SYS_epoll_create1,
    libc::SYS_epoll_ctl,
    libc::SYS_eventfd2,
    libc::SYS_fcntl,
    libc::SYS_getpeername,
    libc::SYS_getsockname,
    libc::SYS_getsockopt,
    libc::SYS_inotify_add_watch,
    libc::SYS_inotify_init1,
    libc::SYS_inotify_rm_watch,
    libc::SYS_listen,
    libc::SYS_pipe2,
    libc::SYS_ppoll,
    libc::SYS_setsockopt,
    libc::SYS_shutdown,
    libc::SYS_timerfd_create,
    libc::SYS_timerfd_gettime,
    libc::SYS_timerfd_settime,
    // Maps, programs and links of XDP; CAP_BPF and CAP_NET_ADMIN say which.
    libc::SYS_bpf,
    // Files: /proc, /sys, /run, the configuration.
    libc::SYS_chdir,
    libc::SYS_faccessat,
    libc::SYS_faccessat2,
    libc::SYS_fchmod,
    libc::SYS_fchmodat,
    libc::SYS_fdatasync,
    libc::SYS_flock,
    libc::SYS_fstat,
    libc::SYS_fstatfs,
    libc::SYS_fsync,
    libc::SYS_ftruncate,
    libc::SYS_getcwd,
    libc::SYS_getdents64,
    libc::SYS_lseek,
    libc::SYS_mkdirat,
    libc::SYS_newfstatat,
    libc::SYS_openat,
    libc::SYS_pread64,
    libc::SYS_pwrite64,
    libc::SYS_readlinkat,
    libc::SYS_renameat,
    libc::SYS_renameat2,
    libc::SYS_statfs,
    libc::SYS_statx,
    libc::SYS_umask,
    libc::SYS_unlinkat,
    // Memory; for mapping it see `ARGUMENTS`.
    libc::SYS_brk,
    libc::SYS_madvise,
    libc::SYS_mremap,
    libc::SYS_munmap,
    // Threads, signals, the end, and what libraries ask of the system.
    libc::SYS_clock_getres,
    libc::SYS_clock_nanosleep,
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_get_robust_list,
    libc::SYS_getcpu,
    libc::SYS_getegid,
    libc::SYS_geteuid,
    libc::SYS_getgid,
    libc::SYS_getpid,
    libc::SYS_getppid,
    libc::SYS_getpriority,
    libc::SYS_getrandom,
    libc::SYS_getrusage,
    libc::SYS_gettid,
    libc::SYS_gettimeofday,
    libc::SYS_getuid,
    libc::SYS_membarrier,
    libc::SYS_nanosleep,
    libc::SYS_restart_syscall,
    libc::SYS_rseq,
    libc::SYS_rt_sigaction,
    libc::SYS_rt_sigpending,
    libc::SYS_rt_sigprocmask,
    libc::SYS_rt_sigreturn,
    libc::SYS_sched_getaffinity,
    libc::SYS_sched_yield,
    libc::SYS_set_robust_list,
    libc::SYS_setpriority,
    libc::SYS_sigaltstack,
    libc::SYS_sysinfo,
    libc::SYS_uname,
    libc::SYS_wait4,
    libc::SYS_waitid,
];

/// Those that newer architectures do not have, as other calls do the same.
#[cfg(target_arch = "x86_64")]
const OLD: &[libc::c_long] = &[
    libc::SYS_access,
    libc::SYS_chmod,
    libc::SYS_dup2,
    libc::SYS_epoll_wait,
    libc::SYS_lstat,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_poll,
    libc::SYS_readlink,
    libc::SYS_rename,
    libc::SYS_stat,
    libc::SYS_time,
    libc::SYS_unlink,
];
#[cfg(not(target_arch = "x86_64"))]
const OLD: &[libc::c_long] = &[];

const FAMILIES: [libc::c_int; 5] = [
    libc::AF_UNIX,
    libc::AF_INET,
    libc::AF_INET6,
    libc::AF_NETLINK,
    libc::AF_XDP,
];

/// Of `clone`, for a thread of this process.
const THREAD: u64 = (libc::CLONE_THREAD | libc::CLONE_VM | libc::CLONE_SIGHAND) as u64;

const EXECUTABLE: u64 = libc::PROT_EXEC as u64;
const WRITABLE: u64 = libc::PROT_WRITE as u64;

/// Requests of `ioctl`: descriptors, links by name, drivers, TUN devices.
const REQUESTS: [u64; 12] = [
    libc::FIONBIO,
    libc::FIOCLEX,
    libc::FIONREAD,
    libc::TCGETS,
    libc::SIOCGIFINDEX,
    libc::SIOCGIFNAME,
    libc::SIOCGIFMTU,
    libc::SIOCGIFFLAGS,
    libc::SIOCETHTOOL,
    libc::SIOCGSKNS,
    libc::TUNGETIFF,
    libc::TUNGETDEVNETNS,
];

/// Options of `prctl`: names of threads.
const OPTIONS: [libc::c_int; 2] = [libc::PR_SET_NAME, libc::PR_GET_NAME];

/// An argument of a call is so.
struct Is(u8, SeccompCmpArgLen, SeccompCmpOp, u64);

impl TryFrom<Is> for SeccompRule {
    type Error = BackendError;

    fn try_from(Is(argument, len, op, value): Is) -> Result<Self, BackendError> {
        Self::new(vec![SeccompCondition::new(argument, len, op, value)?])
    }
}

fn is_any_of(argument: u8, values: impl IntoIterator<Item = u64>) -> Vec<Is> {
    let is = |value| Is(argument, Dword, SeccompCmpOp::Eq, value);
    values.into_iter().map(is).collect()
}

/// Calls with some arguments: one of these has to be so.
fn arguments() -> [(libc::c_long, Vec<Is>); 8] {
    use SeccompCmpOp::{Eq, MaskedEq};
    let both = EXECUTABLE | WRITABLE;
    let number = |n: libc::c_int| u64::from(n.cast_unsigned());
    [
        (libc::SYS_socket, is_any_of(0, FAMILIES.map(number))),
        (libc::SYS_socketpair, is_any_of(0, [number(libc::AF_UNIX)])),
        (
            libc::SYS_clone,
            vec![Is(0, Qword, MaskedEq(THREAD), THREAD)],
        ),
        (libc::SYS_ioctl, is_any_of(1, REQUESTS)),
        (libc::SYS_prctl, is_any_of(0, OPTIONS.map(number))),
        // Memory that can be written is never code. A library that resolves names may be
        // loaded late, and is mapped so; nothing becomes code afterwards.
        (
            libc::SYS_mmap,
            vec![
                Is(2, Dword, MaskedEq(both), 0),
                Is(2, Dword, MaskedEq(both), EXECUTABLE),
                Is(2, Dword, MaskedEq(both), WRITABLE),
            ],
        ),
        (
            libc::SYS_mprotect,
            vec![Is(2, Dword, MaskedEq(EXECUTABLE), 0)],
        ),
        // Limits can be asked for, not set.
        (libc::SYS_prlimit64, vec![Is(2, Qword, Eq, 0)]),
    ]
}

fn rules() -> Result<BTreeMap<libc::c_long, Vec<SeccompRule>>, BackendError> {
    let any = ANY.iter().chain(OLD).map(|call| (*call, Vec::new()));
    let mut rules: BTreeMap<_, _> = any.collect();
    // `clone3`, whose flags a filter cannot see, is for the second filter.
    rules.insert(libc::SYS_clone3, Vec::new());
    // A thread of the process may end it, by an abort; no other process is signalled.
    let own = Is(0, Dword, SeccompCmpOp::Eq, std::process::id().into());
    rules.insert(libc::SYS_tgkill, vec![own.try_into()?]);
    for (call, one_of) in arguments() {
        let one_of: Result<_, _> = one_of.into_iter().map(SeccompRule::try_from).collect();
        rules.insert(call, one_of?);
    }
    Ok(rules)
}

/// What is not in the list is refused, and the rest of the process goes on.
const REFUSED: SeccompAction = Errno(libc::EPERM as u32);

/// In the order in which they are to be installed.
fn filters() -> Result<[BpfProgram; 2], BackendError> {
    let arch = ARCH.try_into()?;
    // Said to be unknown, the C library takes `clone` in its place.
    let clone3 = BTreeMap::from([(libc::SYS_clone3, Vec::new())]);
    let without = SeccompFilter::new(clone3, Allow, Errno(libc::ENOSYS as u32), arch)?;
    let listed = SeccompFilter::new(rules()?, REFUSED, Allow, arch)?;
    Ok([without.try_into()?, listed.try_into()?])
}

/// Refuses, from now on and in every thread, all system calls that a daemon does not
/// need once it is set up; to start a program is one of them. It holds for the rest of
/// the process's life.
///
/// # Errors
/// [`CallsError`]; then nothing is refused.
pub fn system_calls() -> Result<(), CallsError> {
    for filter in filters()? {
        seccompiler::apply_filter_all_threads(&filter)?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::UdpSocket;
    use std::process::Command;
    use std::{fs, io, thread};

    use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

    /// In a thread of its own, which is the only one that the filter holds for.
    fn filtered<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
        let thread = thread::spawn(|| {
            for filter in filters().unwrap() {
                seccompiler::apply_filter(&filter).unwrap();
            }
            work()
        });
        thread.join().unwrap()
    }

    #[test]
    fn a_daemon_does_what_it_has_to() {
        filtered(|| {
            let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
            socket.set_nonblocking(true).unwrap();
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
            assert_eq!(thread::spawn(|| 7).join().unwrap(), 7);
            let file = tempfile::NamedTempFile::new().unwrap();
            fs::write(file.path(), "x").unwrap();
            assert_eq!(fs::read(file.path()).unwrap(), b"x");
            // More than the allocator takes from its heap.
            let large = vec![1_u8; 64 << 20];
            assert_eq!(large.iter().rposition(|b| *b == 1), Some(large.len() - 1));
            let status = fs::read_to_string("/proc/thread-self/status").unwrap();
            assert!(status.contains("NoNewPrivs:\t1\n"), "{status}");
            assert!(status.contains("Seccomp:\t2\n"), "{status}");
        });
    }

    #[test]
    fn nothing_else_is_done() {
        let refused = |error: io::Error| assert_eq!(error.raw_os_error(), Some(libc::EPERM));
        filtered(move || {
            refused(Command::new("true").status().unwrap_err());
            let packet = (AddressFamily::Packet, SockType::Datagram);
            refused(io::Error::from(
                socket(packet.0, packet.1, SockFlag::empty(), None).unwrap_err(),
            ));
            refused(std::os::unix::fs::symlink("/", "/nowhere/link").unwrap_err());
            refused(std::os::unix::fs::chown("/nowhere", None, None).unwrap_err());
            let limit = nix::sys::resource::Resource::RLIMIT_NOFILE;
            let (now, most) = nix::sys::resource::getrlimit(limit).unwrap();
            refused(
                nix::sys::resource::setrlimit(limit, now, most)
                    .unwrap_err()
                    .into(),
            );
        });
    }
}
