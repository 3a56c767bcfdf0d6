//! Which system calls a container may make.
//!
//! What is not named here answers `EPERM`; numbers newer than this list answer
//! `ENOSYS`, so that programs fall back as they do on an old kernel. Left out on
//! purpose: `io_uring`, userfaultfd, bpf, `perf_event_open`, the key ring, everything
//! that mounts, makes or enters namespaces, ptrace and its relatives, kernel
//! modules, clocks and quotas. The kernel would refuse most of them in a user
//! namespace anyhow; each has had holes, and none is needed.

use super::bpf::{If, Rule, Test};

const EPERM: u16 = 1;
const ENOSYS: u16 = 38;
const EAFNOSUPPORT: u16 = 97;

/// Numbers above the last one known to this list (`lsm_list_modules`, Linux 6.8)
/// are answered with `ENOSYS`, and so are those of the gap below `pidfd_send_signal`.
const NEWEST: u32 = 461;
const GAP: std::ops::RangeInclusive<u32> = 335..=423;
/// `__X32_SYSCALL_BIT`: the x32 ABI's numbers begin here.
const X32: u32 = 0x4000_0000;

/// `CLONE_NEWNS` | NEWCGROUP | NEWUTS | NEWIPC | NEWUSER | NEWPID | NEWNET.
const NAMESPACES: u32 = 0x7e02_0000;
/// `CLONE_NEWTIME`, a flag of unshare(2) only: in clone(2) that bit is a signal's.
const NEW_TIME: u32 = 0x80;

const AF_UNIX: u32 = 1;
const AF_INET: u32 = 2;
const AF_INET6: u32 = 10;
const AF_NETLINK: u32 = 16;
const NETLINK_ROUTE: u32 = 0;
/// ioctls that type into a terminal for somebody else.
const TIOCSTI: u32 = 0x5412;
const TIOCLINUX: u32 = 0x541c;

const DENY: Rule = Rule::Errno(EPERM);
const NO_FAMILY: Rule = Rule::Errno(EAFNOSUPPORT);

/// `if argument == value { then } else { otherwise }` as a static.
macro_rules! when {
    ($argument:literal == $value:expr => $then:expr, else $otherwise:expr) => {
        Rule::If(&If { argument: $argument, test: Test::Equals($value), then: $then, otherwise: $otherwise })
    };
    ($argument:literal & $bits:expr => $then:expr, else $otherwise:expr) => {
        Rule::If(&If { argument: $argument, test: Test::AnyOf($bits), then: $then, otherwise: $otherwise })
    };
}

const CLONE: Rule = when!(0 & NAMESPACES => DENY, else Rule::Allow);
const UNSHARE: Rule = when!(0 & NAMESPACES | NEW_TIME => DENY, else Rule::Allow);
const IOCTL: Rule = when!(1 == TIOCSTI => DENY, else when!(1 == TIOCLINUX => DENY, else Rule::Allow));
const NETLINK: Rule = when!(2 == NETLINK_ROUTE => Rule::Allow, else NO_FAMILY);
const SOCKET: Rule = when!(0 == AF_UNIX => Rule::Allow,
    else when!(0 == AF_INET => Rule::Allow,
    else when!(0 == AF_INET6 => Rule::Allow,
    else when!(0 == AF_NETLINK => NETLINK, else NO_FAMILY))));
const SOCKETPAIR: Rule = when!(0 == AF_UNIX => Rule::Allow, else NO_FAMILY);
/// `PER_LINUX` and `PER_LINUX32`, each with UNAME26 (what Docker allows), and "which am I?".
const PERSONALITY: Rule = when!(0 == 0 => Rule::Allow,
    else when!(0 == 0x8 => Rule::Allow,
    else when!(0 == 0x2_0000 => Rule::Allow,
    else when!(0 == 0x2_0008 => Rule::Allow,
    else when!(0 == 0xffff_ffff => Rule::Allow, else DENY)))));

/// Numbers as `libc` names them, without `SYS_`.
macro_rules! calls {
    ($($name:ident)+ ; $($number:literal)*) => { &[$(libc::$name),+ $(, $number)*] };
}

const ALLOWED: &[libc::c_long] = calls![
    // Files and directories.
    SYS_read SYS_write SYS_open SYS_close SYS_stat SYS_fstat SYS_lstat SYS_lseek SYS_pread64
    SYS_pwrite64 SYS_readv SYS_writev SYS_access SYS_dup SYS_dup2 SYS_sendfile SYS_fcntl SYS_flock
    SYS_fsync SYS_fdatasync SYS_truncate SYS_ftruncate SYS_getdents SYS_getcwd SYS_chdir SYS_fchdir
    SYS_rename SYS_mkdir SYS_rmdir SYS_creat SYS_link SYS_unlink SYS_symlink SYS_readlink SYS_chmod
    SYS_fchmod SYS_chown SYS_fchown SYS_lchown SYS_umask SYS_utime SYS_mknod SYS_statfs SYS_fstatfs
    SYS_chroot SYS_sync SYS_readahead SYS_setxattr SYS_lsetxattr SYS_fsetxattr SYS_getxattr
    SYS_lgetxattr SYS_fgetxattr SYS_listxattr SYS_llistxattr SYS_flistxattr SYS_removexattr
    SYS_lremovexattr SYS_fremovexattr SYS_getdents64 SYS_fadvise64 SYS_utimes SYS_openat
    SYS_mkdirat SYS_mknodat SYS_fchownat SYS_futimesat SYS_newfstatat SYS_unlinkat SYS_renameat
    SYS_linkat SYS_symlinkat SYS_readlinkat SYS_fchmodat SYS_faccessat SYS_splice SYS_tee
    SYS_sync_file_range SYS_vmsplice SYS_utimensat SYS_fallocate SYS_dup3 SYS_preadv SYS_pwritev
    SYS_syncfs SYS_renameat2 SYS_copy_file_range SYS_preadv2 SYS_pwritev2 SYS_statx
    SYS_close_range SYS_openat2 SYS_faccessat2 SYS_fchmodat2
    // Memory.
    SYS_mmap SYS_mprotect SYS_munmap SYS_brk SYS_mremap SYS_msync SYS_mincore SYS_madvise
    SYS_mlock SYS_munlock SYS_mlockall SYS_munlockall SYS_remap_file_pages SYS_mlock2
    SYS_memfd_create SYS_pkey_mprotect SYS_pkey_alloc SYS_pkey_free SYS_get_mempolicy
    SYS_membarrier SYS_shmget SYS_shmat SYS_shmctl SYS_shmdt
    // Processes, threads, signals.
    SYS_rt_sigaction SYS_rt_sigprocmask SYS_rt_sigreturn SYS_sched_yield SYS_pause SYS_getpid
    SYS_fork SYS_vfork SYS_execve SYS_exit SYS_wait4 SYS_kill SYS_uname SYS_getrlimit
    SYS_getrusage SYS_sysinfo SYS_times SYS_getuid SYS_getgid SYS_setuid SYS_setgid SYS_geteuid
    SYS_getegid SYS_setpgid SYS_getppid SYS_getpgrp SYS_setsid SYS_setreuid SYS_setregid
    SYS_getgroups SYS_setgroups SYS_setresuid SYS_getresuid SYS_setresgid SYS_getresgid
    SYS_getpgid SYS_setfsuid SYS_setfsgid SYS_getsid SYS_capget SYS_capset SYS_rt_sigpending
    SYS_rt_sigtimedwait SYS_rt_sigqueueinfo SYS_rt_sigsuspend SYS_sigaltstack SYS_getpriority
    SYS_setpriority SYS_sched_setparam SYS_sched_getparam SYS_sched_setscheduler
    SYS_sched_getscheduler SYS_sched_get_priority_max SYS_sched_get_priority_min
    SYS_sched_rr_get_interval SYS_prctl SYS_arch_prctl SYS_setrlimit SYS_gettid SYS_tkill
    SYS_futex SYS_sched_setaffinity SYS_sched_getaffinity SYS_set_thread_area
    SYS_get_thread_area SYS_set_tid_address SYS_restart_syscall SYS_exit_group SYS_tgkill
    SYS_waitid SYS_ioprio_set SYS_ioprio_get SYS_set_robust_list SYS_get_robust_list
    SYS_rt_tgsigqueueinfo SYS_prlimit64 SYS_sched_setattr SYS_sched_getattr SYS_seccomp
    SYS_getrandom SYS_execveat SYS_rseq SYS_pidfd_send_signal SYS_pidfd_open SYS_getcpu
    SYS_futex_waitv
    // Waiting and time.
    SYS_poll SYS_select SYS_nanosleep SYS_getitimer SYS_alarm SYS_setitimer SYS_gettimeofday
    SYS_time SYS_adjtimex SYS_timer_create SYS_timer_settime SYS_timer_gettime
    SYS_timer_getoverrun SYS_timer_delete SYS_clock_gettime SYS_clock_getres SYS_clock_nanosleep
    SYS_epoll_create SYS_epoll_ctl_old SYS_epoll_wait_old SYS_epoll_wait SYS_epoll_ctl
    SYS_pselect6 SYS_ppoll SYS_epoll_pwait SYS_epoll_pwait2 SYS_epoll_create1 SYS_signalfd
    SYS_signalfd4 SYS_timerfd_create SYS_timerfd_settime SYS_timerfd_gettime SYS_eventfd
    SYS_eventfd2 SYS_inotify_init SYS_inotify_init1 SYS_inotify_add_watch SYS_inotify_rm_watch
    // Pipes, sockets, queues, semaphores.
    SYS_pipe SYS_pipe2 SYS_connect SYS_accept SYS_accept4 SYS_sendto SYS_recvfrom SYS_sendmsg
    SYS_recvmsg SYS_shutdown SYS_bind SYS_listen SYS_getsockname SYS_getpeername SYS_setsockopt
    SYS_getsockopt SYS_recvmmsg SYS_sendmmsg SYS_semget SYS_semop SYS_semctl SYS_semtimedop
    SYS_msgget SYS_msgsnd SYS_msgrcv SYS_msgctl SYS_mq_open SYS_mq_unlink SYS_mq_timedsend
    SYS_mq_timedreceive SYS_mq_notify SYS_mq_getsetattr SYS_io_setup SYS_io_destroy
    SYS_io_getevents SYS_io_submit SYS_io_cancel
    // A sandbox within the sandbox.
    SYS_landlock_create_ruleset SYS_landlock_add_rule SYS_landlock_restrict_self
    // io_pgetevents, cachestat, map_shadow_stack, futex_wake, futex_wait,
    // futex_requeue: the libc crate has no names for them.
    ; 333 451 453 454 455 456
];

/// Judged by their arguments, or answered in a way of their own.
const JUDGED: &[(libc::c_long, Rule)] = &[
    (libc::SYS_clone, CLONE),
    (libc::SYS_clone3, Rule::Errno(ENOSYS)),
    (libc::SYS_unshare, UNSHARE),
    (libc::SYS_ioctl, IOCTL),
    (libc::SYS_socket, SOCKET),
    (libc::SYS_socketpair, SOCKETPAIR),
    (libc::SYS_personality, PERSONALITY),
];

/// Returns the policy as intervals: each one's first number, and the rule of all in it.
pub(super) fn rules() -> Vec<(u32, Rule)> {
    let mut intervals: Vec<(u32, Rule)> = Vec::new();
    let numbered = (0..=NEWEST).map(|number| (number, rule_of(number)));
    let ends = [(NEWEST + 1, Rule::Errno(ENOSYS)), (X32, Rule::Errno(ENOSYS))];
    for (number, rule) in numbered.chain(ends) {
        if intervals.last().is_none_or(|(_, last)| *last != rule) {
            intervals.push((number, rule));
        }
    }
    intervals
}

/// Returns the rule of one number.
pub(super) fn rule_of(number: u32) -> Rule {
    let call = libc::c_long::from(number);
    if let Some((_, rule)) = JUDGED.iter().find(|(judged, _)| *judged == call) {
        *rule
    } else if ALLOWED.contains(&call) {
        Rule::Allow
    } else if GAP.contains(&number) || number > NEWEST {
        Rule::Errno(ENOSYS)
    } else {
        DENY
    }
}
