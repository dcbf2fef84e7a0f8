//! Docker's default seccomp profile: as data for OCI runtimes, compiled for the built-in one.
//!
//! The compiled filter is a search tree over ranges of call numbers: a list of comparisons takes the kernel half a
//! millisecond to install, which is a fifth of what a step costs.

use std::{collections::BTreeMap, sync::LazyLock};

use libc::sock_filter;
use oci_spec::runtime::{LinuxSeccomp, LinuxSeccompAction, LinuxSeccompOperator, LinuxSyscall};
use serde::{Deserialize, Serialize};
use syscalls::Sysno;

use crate::error::{Error, Result};

/// The profile in the OCI runtime specification's form.
const PROFILE: &str = include_str!("../data/seccomp.json");

/// A compiled filter.
pub(crate) type Program = Vec<sock_filter>;

/// The filter of a step, as it is sent to the helper: the shipped one is compiled there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filter {
    None,
    Standard,
    /// A profile of the specification's own.
    Own(Box<LinuxSeccomp>),
}

impl Filter {
    pub(crate) fn of(profile: Option<&LinuxSeccomp>) -> Self {
        match profile {
            None => Self::None,
            Some(profile) if profile == standard() => Self::Standard,
            Some(profile) => Self::Own(Box::new(profile.clone())),
        }
    }

    pub(crate) fn compile(&self) -> Result<Option<Program>> {
        match self {
            Self::None => Ok(None),
            Self::Standard => compile(standard()).map(Some),
            Self::Own(profile) => compile(profile).map(Some),
        }
    }
}

/// The shipped profile as a specification holds it.
pub(crate) fn standard() -> &'static LinuxSeccomp {
    static STANDARD: LazyLock<LinuxSeccomp> =
        LazyLock::new(|| serde_json::from_str(PROFILE).expect("the shipped profile is JSON"));
    &STANDARD
}

#[cfg(target_arch = "x86_64")]
const ARCHITECTURE: u32 = 0xc000_003e;
#[cfg(target_arch = "aarch64")]
const ARCHITECTURE: u32 = 0xc000_00b7;

/// Where the kernel's description of a call has its parts: the number is first.
const ARCHITECTURE_AT: u32 = 4;
const ARGUMENTS_AT: u32 = 16;

// Instructions of the kernel's older machine, from linux/bpf_common.h.
const LOAD: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
const AND: u16 = (libc::BPF_ALU | libc::BPF_AND | libc::BPF_K) as u16;
const JUMP: u16 = (libc::BPF_JMP | libc::BPF_JA) as u16;
const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
const IF_AT_LEAST: u16 = (libc::BPF_JMP | libc::BPF_JGE | libc::BPF_K) as u16;
const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;

const fn op(code: u16, k: u32) -> sock_filter {
    sock_filter {
        code,
        jt: 0,
        jf: 0,
        k,
    }
}

/// A jump within what follows: so many instructions further when it is so, and when it is not.
const fn branch(code: u16, k: u32, yes: u8, no: u8) -> sock_filter {
    sock_filter {
        code,
        jt: yes,
        jf: no,
        k,
    }
}

/// What is done about a range of calls.
#[derive(Clone, PartialEq)]
enum Decision {
    Always(u32),
    /// Where the arguments fit one of these rules: its action; otherwise the profile's default.
    ByArguments(Vec<LinuxSyscall>),
}

fn unknown(what: impl std::fmt::Display) -> Error {
    Error::Unsupported(format!(
        "the seccomp profile asks for {what}, which is not understood"
    ))
}

/// What the kernel is told to do with a call.
fn action(action: LinuxSeccompAction, errno: Option<u32>) -> Result<u32> {
    let errno = errno.unwrap_or(libc::EPERM as u32) & libc::SECCOMP_RET_DATA;
    match action {
        LinuxSeccompAction::ScmpActAllow => Ok(libc::SECCOMP_RET_ALLOW),
        LinuxSeccompAction::ScmpActErrno => Ok(libc::SECCOMP_RET_ERRNO | errno),
        LinuxSeccompAction::ScmpActLog => Ok(libc::SECCOMP_RET_LOG),
        LinuxSeccompAction::ScmpActKillProcess => Ok(libc::SECCOMP_RET_KILL_PROCESS),
        LinuxSeccompAction::ScmpActKill | LinuxSeccompAction::ScmpActKillThread => {
            Ok(libc::SECCOMP_RET_KILL_THREAD)
        }
        other => Err(unknown(format_args!("{other:?}"))),
    }
}

fn compile(profile: &LinuxSeccomp) -> Result<Program> {
    let default = action(profile.default_action(), profile.default_errno_ret())?;
    let mut calls: BTreeMap<u32, Decision> = BTreeMap::new();
    for rule in profile.syscalls().iter().flatten() {
        let has_conditions = rule.args().as_ref().is_some_and(|args| !args.is_empty());
        for name in rule.names() {
            // Calls that this architecture or this list does not know stay at the default.
            let Ok(call) = name.parse::<Sysno>() else { continue };
            let number = call.id() as u32;
            if !has_conditions {
                calls.insert(number, Decision::Always(action(rule.action(), rule.errno_ret())?));
                continue;
            }
            match calls
                .entry(number)
                .or_insert_with(|| Decision::ByArguments(Vec::new()))
            {
                Decision::ByArguments(rules) => rules.push(rule.clone()),
                Decision::Always(_) => {}
            }
        }
    }
    let ranges = ranges(calls, default);
    let mut program = vec![
        op(LOAD, ARCHITECTURE_AT),
        branch(IF_EQUAL, ARCHITECTURE, 1, 0),
        op(RETURN, libc::SECCOMP_RET_KILL_PROCESS),
        op(LOAD, 0),
    ];
    program.extend(search(&ranges, default)?);
    Ok(program)
}

/// Where each range of equal decisions begins; together they hold every number.
fn ranges(calls: BTreeMap<u32, Decision>, default: u32) -> Vec<(u32, Decision)> {
    let mut ranges = vec![(0, Decision::Always(default))];
    let mut next = 0;
    let mut add = |from: u32, decision: Decision| match ranges.last_mut() {
        Some((_, last)) if *last == decision => {}
        Some((begin, last)) if *begin == from => *last = decision,
        _ => ranges.push((from, decision)),
    };
    for (number, decision) in calls {
        if number > next {
            add(next, Decision::Always(default));
        }
        add(number, decision);
        next = number + 1;
    }
    add(next, Decision::Always(default));
    ranges
}

/// Instructions that find the range of a call and do what is decided for it.
fn search(ranges: &[(u32, Decision)], default: u32) -> Result<Program> {
    let (low, high) = ranges.split_at(ranges.len() / 2);
    let (Some((pivot, _)), false) = (high.first(), low.is_empty()) else {
        return ranges
            .first()
            .map_or(Ok(Vec::new()), |(_, decision)| leaf(decision, default));
    };
    let (low, high) = (search(low, default)?, search(high, default)?);
    let mut program = match u8::try_from(low.len()) {
        Ok(distance) => vec![branch(IF_AT_LEAST, *pivot, distance, 0)],
        // Conditional jumps are short.
        Err(_) => vec![branch(IF_AT_LEAST, *pivot, 0, 1), op(JUMP, low.len() as u32)],
    };
    program.extend(low);
    program.extend(high);
    Ok(program)
}

fn leaf(decision: &Decision, default: u32) -> Result<Program> {
    let rules = match decision {
        Decision::Always(action) => return Ok(vec![op(RETURN, *action)]),
        Decision::ByArguments(rules) => rules,
    };
    let mut program = Vec::new();
    for rule in rules {
        let mut checks = Vec::new();
        for argument in rule.args().iter().flatten() {
            // The lower half: what the kernel itself reads of the arguments that profiles look at.
            checks.push(op(LOAD, ARGUMENTS_AT + 8 * argument.index() as u32));
            match argument.op() {
                LinuxSeccompOperator::ScmpCmpEq => {
                    checks.push(branch(IF_EQUAL, argument.value() as u32, 0, 1));
                }
                LinuxSeccompOperator::ScmpCmpNe => {
                    checks.push(branch(IF_EQUAL, argument.value() as u32, 1, 0));
                }
                LinuxSeccompOperator::ScmpCmpMaskedEq => {
                    checks.push(op(AND, argument.value() as u32));
                    checks.push(branch(
                        IF_EQUAL,
                        argument.value_two().unwrap_or_default() as u32,
                        0,
                        1,
                    ));
                }
                other => return Err(unknown(format_args!("{other:?}"))),
            }
        }
        checks.push(op(RETURN, action(rule.action(), rule.errno_ret())?));
        // One that does not fit goes to the next rule.
        let end = checks.len();
        for (at, check) in checks
            .iter_mut()
            .enumerate()
            .filter(|(_, check)| check.code == IF_EQUAL)
        {
            let further = (end - at - 1) as u8;
            check.jt *= further;
            check.jf *= further;
        }
        program.extend(checks);
    }
    program.push(op(RETURN, default));
    Ok(program)
}

/// Installs a filter without giving up setuid programs; the caller has CAP_SYS_ADMIN.
pub(crate) fn install(program: &Program) -> std::io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut(),
    };
    // SAFETY: `filter` points to `len` instructions that outlive the call, which copies them.
    let result = unsafe {
        libc::syscall(
            libc::SYS_seccomp,
            libc::SECCOMP_SET_MODE_FILTER,
            0,
            &raw const filter,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(std::io::Error::last_os_error())
    }
}

#[cfg(test)]
mod tests {
    use super::{AND, Filter, IF_AT_LEAST, IF_EQUAL, JUMP, LOAD, Program, RETURN};

    /// What the kernel would answer, by its own rules.
    fn run(program: &Program, call: libc::c_long, argument: u32) -> u32 {
        let mut accumulator = 0;
        let mut at = 0;
        loop {
            let step = program[at];
            at += 1;
            match step.code {
                LOAD => {
                    accumulator = match step.k {
                        0 => call as u32,
                        super::ARCHITECTURE_AT => super::ARCHITECTURE,
                        _ => argument,
                    }
                }
                AND => accumulator &= step.k,
                JUMP => at += step.k as usize,
                IF_EQUAL => at += usize::from(if accumulator == step.k { step.jt } else { step.jf }),
                IF_AT_LEAST => at += usize::from(if accumulator >= step.k { step.jt } else { step.jf }),
                RETURN => return step.k,
                other => panic!("instruction {other}"),
            }
        }
    }

    #[test]
    fn the_filter_decides_as_the_profile_says() {
        let program = Filter::Standard.compile().unwrap().unwrap();
        assert!(program.len() < 400, "{}", program.len());
        let refused = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
        let absent = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;
        let allowed = libc::SECCOMP_RET_ALLOW;
        for (call, argument, expected) in [
            (libc::SYS_read, 0, allowed),
            (libc::SYS_execve, 0, allowed),
            (libc::SYS_mount, 0, refused),
            (libc::SYS_unshare, 0, refused),
            (libc::SYS_bpf, 0, refused),
            (libc::SYS_clone3, 0, absent),
            (libc::SYS_clone, libc::SIGCHLD as u32, allowed),
            (libc::SYS_clone, libc::CLONE_NEWUSER as u32, refused),
            (libc::SYS_socket, libc::AF_INET as u32, allowed),
            (libc::SYS_socket, libc::AF_VSOCK as u32, refused),
            (libc::SYS_personality, 0x0008, allowed),
            (libc::SYS_personality, 0x1234, refused),
            (100_000, 0, refused),
            (0x4000_0000, 0, refused),
        ] {
            assert_eq!(run(&program, call, argument), expected, "{call} {argument}");
        }
    }
}
