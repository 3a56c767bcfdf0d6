//! A small assembler for classic BPF as seccomp(2) uses it.
//!
//! Input is a list of intervals over the call's number, each with a [`Rule`];
//! output is a balanced tree of comparisons with the rules as its leaves.

/// What happens to a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    /// It is made.
    Allow,
    /// It fails with this `errno`, without being made.
    Errno(u16),
    /// Its arguments decide.
    If(&'static If),
}

/// A question about one argument.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct If {
    /// Which argument, from 0. Its low 32 bits are looked at: every argument we
    /// ask about is an `int` to the kernel, which drops the rest as well.
    pub(super) argument: u8,
    /// The question.
    pub(super) test: Test,
    /// The rule when the answer is yes.
    pub(super) then: Rule,
    /// The rule when it is no.
    pub(super) otherwise: Rule,
}

/// A question.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Test {
    /// Is it exactly this?
    Equals(u32),
    /// Is any of these bits set?
    AnyOf(u32),
}

/// One `struct sock_filter`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Instruction {
    pub(super) code: u16,
    pub(super) if_true: u8,
    pub(super) if_false: u8,
    pub(super) k: u32,
}

/// `BPF_LD` | `BPF_W` | `BPF_ABS`.
pub(super) const LOAD: u16 = 0x20;
/// `BPF_JMP` | `BPF_JA`.
pub(super) const JUMP: u16 = 0x05;
/// `BPF_JMP` | `BPF_JEQ` | `BPF_K`.
pub(super) const JUMP_EQUAL: u16 = 0x15;
/// `BPF_JMP` | `BPF_JGE` | `BPF_K`.
pub(super) const JUMP_AT_LEAST: u16 = 0x35;
/// `BPF_JMP` | `BPF_JSET` | `BPF_K`.
pub(super) const JUMP_ANY_BIT: u16 = 0x45;
/// `BPF_RET` | `BPF_K`.
pub(super) const RETURN: u16 = 0x06;

/// `SECCOMP_RET_ALLOW`.
pub(super) const ALLOW: u32 = 0x7fff_0000;
/// `SECCOMP_RET_ERRNO`, with the number in the low half.
pub(super) const ERRNO: u32 = 0x0005_0000;
/// `SECCOMP_RET_KILL_PROCESS`.
pub(super) const KILL: u32 = 0x8000_0000;

/// `AUDIT_ARCH_X86_64`.
pub(super) const X86_64: u32 = 0xc000_003e;
/// Offsets in `struct seccomp_data`.
pub(super) const NUMBER_AT: u32 = 0;
pub(super) const ARCH_AT: u32 = 4;
pub(super) const ARGUMENTS_AT: u32 = 16;

impl Instruction {
    const fn new(code: u16, if_true: u8, if_false: u8, k: u32) -> Self {
        Self { code, if_true, if_false, k }
    }

    /// As it lies in memory.
    pub(super) fn bytes(self) -> [u8; 8] {
        let [c0, c1] = self.code.to_ne_bytes();
        let [k0, k1, k2, k3] = self.k.to_ne_bytes();
        [c0, c1, self.if_true, self.if_false, k0, k1, k2, k3]
    }
}

/// Assembles the whole filter: the architecture first, then the tree.
///
/// `intervals` holds the first number of each interval with its rule, rising, the
/// first at 0; the last one reaches to the end of the numbers.
pub(super) fn assemble(intervals: &[(u32, Rule)]) -> Vec<Instruction> {
    let mut program = vec![
        Instruction::new(LOAD, 0, 0, ARCH_AT),
        Instruction::new(JUMP_EQUAL, 1, 0, X86_64),
        Instruction::new(RETURN, 0, 0, KILL),
        Instruction::new(LOAD, 0, 0, NUMBER_AT),
    ];
    program.extend(tree(intervals));
    program
}

fn tree(intervals: &[(u32, Rule)]) -> Vec<Instruction> {
    if let [(_, rule)] = intervals {
        return leaf(*rule);
    }
    let (low, high) = intervals.split_at(intervals.len() / 2);
    let (below, above) = (tree(low), tree(high));
    let mut program = Vec::with_capacity(below.len() + above.len() + 2);
    match u8::try_from(below.len()) {
        Ok(skip) => program.push(Instruction::new(JUMP_AT_LEAST, skip, 0, high[0].0)),
        // Conditional jumps reach 255 instructions; a plain one reaches all.
        Err(_) => program
            .extend([Instruction::new(JUMP_AT_LEAST, 0, 1, high[0].0), Instruction::new(JUMP, 0, 0, length(&below))]),
    }
    program.extend(below);
    program.extend(above);
    program
}

fn leaf(rule: Rule) -> Vec<Instruction> {
    let question = match rule {
        Rule::Allow => return vec![Instruction::new(RETURN, 0, 0, ALLOW)],
        Rule::Errno(errno) => {
            return vec![Instruction::new(RETURN, 0, 0, ERRNO | u32::from(errno))];
        }
        Rule::If(question) => question,
    };
    let (then, otherwise) = (leaf(question.then), leaf(question.otherwise));
    let (code, k) = match question.test {
        Test::Equals(value) => (JUMP_EQUAL, value),
        Test::AnyOf(bits) => (JUMP_ANY_BIT, bits),
    };
    // The low half of a little-endian 64-bit argument comes first.
    let place = ARGUMENTS_AT + 8 * u32::from(question.argument);
    let skip = u8::try_from(then.len()).expect("the questions of the policy are short");
    let mut program = vec![Instruction::new(LOAD, 0, 0, place), Instruction::new(code, 0, skip, k)];
    program.extend(then);
    program.extend(otherwise);
    program
}

fn length(program: &[Instruction]) -> u32 {
    u32::try_from(program.len()).expect("a filter has at most 4096 instructions")
}
