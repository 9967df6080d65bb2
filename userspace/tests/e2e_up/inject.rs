//! System calls made by another process, against its will (ptrace(2)). Registers are those
//! of x86-64; the filter itself is tried on every architecture, in `confine::calls`.

use nix::sys::ptrace;
use nix::sys::wait::{WaitStatus, waitpid};
use nix::unistd::Pid;

/// A process whose main thread waits in a system call, and is held there.
pub struct Stopped {
    pid: Pid,
    before: libc::user_regs_struct,
}

impl Stopped {
    pub fn attach(pid: u32) -> Self {
        let pid = Pid::from_raw(pid.try_into().unwrap());
        ptrace::attach(pid).unwrap();
        assert!(matches!(
            waitpid(pid, None).unwrap(),
            WaitStatus::Stopped(..)
        ));
        let before = ptrace::getregs(pid).unwrap();
        Self { pid, before }
    }

    /// Has it make a call; what the kernel answers.
    pub fn call(&mut self, number: libc::c_long, arguments: [u64; 3]) -> i64 {
        const SYSCALL: u64 = 0x050f;
        let at = self.before.rip - 2;
        let code = ptrace::read(self.pid, at as ptrace::AddressType).unwrap();
        assert_eq!(
            code.cast_unsigned() & 0xffff,
            SYSCALL,
            "it is in a system call"
        );
        let mut registers = self.before;
        registers.rip = at;
        registers.rax = number.cast_unsigned();
        [registers.rdi, registers.rsi, registers.rdx] = arguments;
        // Flags and descriptor of `mmap`: private, anonymous.
        (registers.r10, registers.r8, registers.r9) = (0x22, u64::MAX, 0);
        // No call is under way that would be begun again.
        registers.orig_rax = u64::MAX;
        ptrace::setregs(self.pid, registers).unwrap();
        ptrace::step(self.pid, None).unwrap();
        let stop = waitpid(self.pid, None).unwrap();
        assert!(matches!(stop, WaitStatus::Stopped(..)), "{stop:?}");
        let after = ptrace::getregs(self.pid).unwrap();
        assert_eq!(after.rip, at + 2);
        after.rax.cast_signed()
    }
}

impl Drop for Stopped {
    fn drop(&mut self) {
        // As it was; the call in which it waited begins again.
        let _ = ptrace::setregs(self.pid, self.before);
        let _ = ptrace::detach(self.pid, None);
    }
}
