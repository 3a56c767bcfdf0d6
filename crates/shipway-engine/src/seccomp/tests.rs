//! The filter, run by an interpreter of our own and by the kernel's.

use super::bpf::{self, ALLOW, ERRNO, Instruction, KILL, Rule, Test, X86_64};
use super::policy;

/// What the kernel shows a filter of a call.
#[derive(Debug, Clone, Copy)]
struct Call {
    arch: u32,
    number: u32,
    arguments: [u64; 6],
}

impl Call {
    fn new(number: libc::c_long, arguments: &[u64]) -> Self {
        let mut all = [0; 6];
        all[..arguments.len()].copy_from_slice(arguments);
        Self { arch: X86_64, number: u32::try_from(number).unwrap(), arguments: all }
    }

    fn word(&self, at: u32) -> u32 {
        match at {
            bpf::NUMBER_AT => self.number,
            bpf::ARCH_AT => self.arch,
            _ => {
                let place = (at - bpf::ARGUMENTS_AT) as usize;
                let bytes = self.arguments[place / 8].to_le_bytes();
                let from = place % 8;
                u32::from_le_bytes(bytes[from..from + 4].try_into().unwrap())
            }
        }
    }
}

/// Runs a program as the kernel does; also counts the steps.
fn run(program: &[Instruction], call: &Call) -> (u32, usize) {
    let (mut at, mut a, mut steps) = (0, 0, 0);
    loop {
        let Instruction { code, if_true, if_false, k } = program[at];
        steps += 1;
        at += 1;
        let answer = match code {
            bpf::LOAD => {
                a = call.word(k);
                continue;
            }
            bpf::RETURN => return (k, steps),
            bpf::JUMP => {
                at += k as usize;
                continue;
            }
            bpf::JUMP_EQUAL => a == k,
            bpf::JUMP_AT_LEAST => a >= k,
            bpf::JUMP_ANY_BIT => a & k != 0,
            other => panic!("unknown instruction {other:#x}"),
        };
        at += usize::from(if answer { if_true } else { if_false });
    }
}

#[track_caller]
fn check(number: libc::c_long, arguments: &[u64], expected: u32) {
    let program = bpf::assemble(&policy::rules());
    let call = Call::new(number, arguments);
    assert_eq!(run(&program, &call).0, expected, "{call:?}");
}

const fn errno(number: i32) -> u32 {
    ERRNO | number.cast_unsigned()
}

#[test]
fn every_number_gets_the_rule_of_the_policy() {
    let program = bpf::assemble(&policy::rules());
    for number in 0..600 {
        let call = Call::new(number, &[]);
        let expected = match policy::rule_of(call.number) {
            Rule::Allow => ALLOW,
            Rule::Errno(value) => ERRNO | u32::from(value),
            Rule::If(_) => continue,
        };
        let (verdict, steps) = run(&program, &call);
        assert_eq!(verdict, expected, "number {number}");
        assert!(steps <= 16, "number {number} took {steps} steps");
    }
}

#[test]
fn the_program_fits_the_kernel() {
    let length = super::program().len() / 8;
    assert!((100..1000).contains(&length), "{length} instructions");
}

#[test]
fn a_long_tree_jumps_as_far_as_it_must() {
    let intervals: Vec<(u32, Rule)> = (0..2000).map(|n| (n, Rule::Errno(u16::try_from(n).unwrap()))).collect();
    let program = bpf::assemble(&intervals);
    for n in 0..2000 {
        assert_eq!(run(&program, &Call::new(n, &[])).0, ERRNO | u32::try_from(n).unwrap());
    }
}

#[test]
fn foreign_architectures_die_and_x32_does_not_exist() {
    let program = bpf::assemble(&policy::rules());
    let mut call = Call::new(libc::SYS_getpid, &[]);
    assert_eq!(run(&program, &call).0, ALLOW);
    call.arch = 0x4000_0003; // AUDIT_ARCH_I386
    assert_eq!(run(&program, &call).0, KILL);
    check(0x4000_0000 | libc::SYS_getpid, &[], errno(libc::ENOSYS));
    check(libc::SYS_clone3, &[], errno(libc::ENOSYS));
    check(500, &[], errno(libc::ENOSYS));
    check(0xffff_ffff, &[], errno(libc::ENOSYS));
}

#[test]
fn namespaces_cannot_be_made_or_entered() {
    for flag in [
        libc::CLONE_NEWNS,
        libc::CLONE_NEWCGROUP,
        libc::CLONE_NEWUTS,
        libc::CLONE_NEWIPC,
        libc::CLONE_NEWUSER,
        libc::CLONE_NEWPID,
        libc::CLONE_NEWNET,
    ] {
        let flag = u64::from(flag.cast_unsigned());
        check(libc::SYS_clone, &[flag | 17], errno(libc::EPERM));
        check(libc::SYS_unshare, &[flag], errno(libc::EPERM));
        check(libc::SYS_unshare, &[flag | 1 << 40], errno(libc::EPERM));
    }
    check(libc::SYS_unshare, &[0x80], errno(libc::EPERM));
    check(libc::SYS_unshare, &[0x400], ALLOW);
    check(libc::SYS_clone, &[17], ALLOW);
    check(libc::SYS_clone, &[0x3d0f00], ALLOW);
    check(libc::SYS_setns, &[3, 0], errno(libc::EPERM));
}

#[test]
fn sockets_are_of_the_usual_families() {
    let number = |family: i32| u64::from(family.cast_unsigned());
    for family in [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6] {
        check(libc::SYS_socket, &[number(family), 1, 0], ALLOW);
    }
    let netlink = number(libc::AF_NETLINK);
    check(libc::SYS_socket, &[netlink, 3, 0], ALLOW);
    // NETLINK_AUDIT, NETLINK_NETFILTER
    for protocol in [9, 12] {
        let call = [netlink, 3, protocol];
        check(libc::SYS_socket, &call, errno(libc::EAFNOSUPPORT));
    }
    for family in [libc::AF_ALG, libc::AF_VSOCK, libc::AF_PACKET, libc::AF_BLUETOOTH] {
        check(libc::SYS_socket, &[number(family)], errno(libc::EAFNOSUPPORT));
        // The kernel drops the upper half, and so do we.
        let wide = number(family) | 1 << 32;
        check(libc::SYS_socket, &[wide], errno(libc::EAFNOSUPPORT));
    }
    check(libc::SYS_socketpair, &[number(libc::AF_UNIX)], ALLOW);
    check(libc::SYS_socketpair, &[number(libc::AF_INET)], errno(libc::EAFNOSUPPORT));
}

#[test]
fn nobody_types_for_somebody_else() {
    check(libc::SYS_ioctl, &[0, libc::TIOCSTI], errno(libc::EPERM));
    check(libc::SYS_ioctl, &[0, 0x541c], errno(libc::EPERM));
    check(libc::SYS_ioctl, &[0, libc::TIOCSTI | 1 << 32], errno(libc::EPERM));
    check(libc::SYS_ioctl, &[0, libc::TIOCGWINSZ], ALLOW);
    check(libc::SYS_personality, &[0xffff_ffff], ALLOW);
    // ADDR_NO_RANDOMIZE
    check(libc::SYS_personality, &[0x0004_0000], errno(libc::EPERM));
}

#[test]
fn what_has_had_holes_is_closed() {
    for call in [
        libc::SYS_io_uring_setup,
        libc::SYS_userfaultfd,
        libc::SYS_bpf,
        libc::SYS_perf_event_open,
        libc::SYS_keyctl,
        libc::SYS_add_key,
        libc::SYS_request_key,
        libc::SYS_mount,
        libc::SYS_umount2,
        libc::SYS_move_mount,
        libc::SYS_fsopen,
        libc::SYS_open_tree,
        libc::SYS_mount_setattr,
        libc::SYS_pivot_root,
        libc::SYS_ptrace,
        libc::SYS_process_vm_readv,
        libc::SYS_process_vm_writev,
        libc::SYS_pidfd_getfd,
        libc::SYS_open_by_handle_at,
        libc::SYS_kexec_load,
        libc::SYS_init_module,
        libc::SYS_syslog,
        libc::SYS_reboot,
        libc::SYS_settimeofday,
        libc::SYS_modify_ldt,
        libc::SYS_iopl,
    ] {
        check(call, &[], errno(libc::EPERM));
    }
}

#[test]
fn a_question_of_bits_and_one_of_values_differ() {
    let (yes, no) = (Rule::Allow, Rule::Errno(1));
    let question = |test| Rule::If(Box::leak(Box::new(bpf::If { argument: 5, test, then: yes, otherwise: no })));
    let bits = bpf::assemble(&[(0, question(Test::AnyOf(6)))]);
    let value = bpf::assemble(&[(0, question(Test::Equals(6)))]);
    let call = |v| Call::new(1, &[0, 0, 0, 0, 0, v]);
    assert_eq!(run(&bits, &call(4)).0, ALLOW);
    assert_eq!(run(&bits, &call(9)).0, ERRNO | 1);
    assert_eq!(run(&value, &call(4)).0, ERRNO | 1);
    assert_eq!(run(&value, &call(6)).0, ALLOW);
}
