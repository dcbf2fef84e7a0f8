//! The device allow-list on version 2 of cgroups, where it is a small program that the kernel asks.

use std::{
    io,
    os::fd::{AsRawFd, FromRawFd, OwnedFd},
    path::Path,
};

use oci_spec::runtime::{LinuxDeviceCgroup, LinuxDeviceType};

// What linux/bpf.h names, as far as it is used here.
const PROG_LOAD: libc::c_int = 5;
const PROG_ATTACH: libc::c_int = 8;
const TYPE_CGROUP_DEVICE: u32 = 15;
const ATTACH_CGROUP_DEVICE: u32 = 6;
const ALLOW_MULTI: u32 = 2;
const LOAD_WORD: u8 = 0x61;
const MOVE_REGISTER: u8 = 0xbf;
const MOVE_NUMBER: u8 = 0xb7;
const AND_NUMBER: u8 = 0x57;
const SHIFT_RIGHT_NUMBER: u8 = 0x77;
const SKIP_UNLESS_NUMBER: u8 = 0x55;
const SKIP_UNLESS_REGISTER: u8 = 0x5d;
const SKIP_IF_ANY_OF: u8 = 0x45;
const EXIT: u8 = 0x95;

/// An instruction of the kernel's machine.
#[derive(Clone, Copy)]
#[repr(C)]
struct Instruction {
    code: u8,
    /// Destination in the low half, source in the high one.
    registers: u8,
    offset: i16,
    number: i32,
}

const fn op(code: u8, destination: u8, source: u8, number: i32) -> Instruction {
    Instruction {
        code,
        registers: destination | source << 4,
        offset: 0,
        number,
    }
}

/// The program: the last rule that fits decides, and nothing is allowed that no rule allows.
fn program(rules: &[LinuxDeviceCgroup]) -> Vec<Instruction> {
    // The context holds kind and access in one word, then the numbers. Afterwards: r2 kind, r3 access, r4 major, r5 minor.
    let mut program = vec![
        op(LOAD_WORD, 2, 1, 0),
        op(MOVE_REGISTER, 3, 2, 0),
        op(AND_NUMBER, 2, 0, 0xffff),
        op(SHIFT_RIGHT_NUMBER, 3, 0, 16),
        Instruction {
            offset: 4,
            ..op(LOAD_WORD, 4, 1, 0)
        },
        Instruction {
            offset: 8,
            ..op(LOAD_WORD, 5, 1, 0)
        },
    ];
    for rule in rules.iter().rev() {
        let instructions = one_rule(rule);
        let decides_all = instructions.len() == 2;
        program.extend(instructions);
        if decides_all {
            // The kernel takes no program with a part that is never reached.
            return program;
        }
    }
    program.extend([op(MOVE_NUMBER, 0, 0, 0), op(EXIT, 0, 0, 0)]);
    program
}

fn one_rule(rule: &LinuxDeviceCgroup) -> Vec<Instruction> {
    let mut checks = Vec::new();
    match rule.typ() {
        Some(LinuxDeviceType::B) => checks.push(op(SKIP_UNLESS_NUMBER, 2, 0, 1)),
        Some(LinuxDeviceType::C) => checks.push(op(SKIP_UNLESS_NUMBER, 2, 0, 2)),
        _ => {}
    }
    let bits = rule
        .access()
        .as_deref()
        .unwrap_or("rwm")
        .chars()
        .fold(0, |bits, letter| match letter {
            'm' => bits | 1,
            'r' => bits | 2,
            'w' => bits | 4,
            _ => bits,
        });
    if rule.allow() && bits != 7 {
        // Everything that is asked for has to be in it.
        checks.push(op(MOVE_REGISTER, 6, 3, 0));
        checks.push(op(AND_NUMBER, 6, 0, bits));
        checks.push(op(SKIP_UNLESS_REGISTER, 6, 3, 0));
    } else if !rule.allow() && bits != 7 {
        // One part that is asked for is enough: over the jump to the next rule.
        checks.push(Instruction {
            offset: 1,
            ..op(SKIP_IF_ANY_OF, 3, 0, bits)
        });
        checks.push(op(SKIP_UNLESS_NUMBER, 3, 0, -1));
    }
    for (register, number) in [(4, rule.major()), (5, rule.minor())] {
        if let Some(number) = number {
            checks.push(op(SKIP_UNLESS_NUMBER, register, 0, number as i32));
        }
    }
    checks.extend([op(MOVE_NUMBER, 0, 0, i32::from(rule.allow())), op(EXIT, 0, 0, 0)]);
    let end = checks.len();
    for (at, instruction) in checks.iter_mut().enumerate() {
        if matches!(instruction.code, SKIP_UNLESS_NUMBER | SKIP_UNLESS_REGISTER) {
            instruction.offset = (end - at - 1) as i16;
        }
    }
    checks
}

/// Puts the rules in force for a group.
pub(super) fn attach(group: &Path, rules: &[LinuxDeviceCgroup]) -> io::Result<()> {
    let directory = std::fs::File::open(group)?;
    let program = program(rules);
    let loaded = load(&program)?;
    let mut attributes = [0_u8; 128];
    put(&mut attributes, 0, &(directory.as_raw_fd() as u32).to_ne_bytes());
    put(&mut attributes, 4, &(loaded.as_raw_fd() as u32).to_ne_bytes());
    put(&mut attributes, 8, &ATTACH_CGROUP_DEVICE.to_ne_bytes());
    put(&mut attributes, 12, &ALLOW_MULTI.to_ne_bytes());
    bpf(PROG_ATTACH, &attributes).map(drop)
}

fn load(program: &[Instruction]) -> io::Result<OwnedFd> {
    let license = c"Apache-2.0";
    let mut attributes = [0_u8; 128];
    put(&mut attributes, 0, &TYPE_CGROUP_DEVICE.to_ne_bytes());
    put(&mut attributes, 4, &(program.len() as u32).to_ne_bytes());
    put(&mut attributes, 8, &(program.as_ptr() as u64).to_ne_bytes());
    put(&mut attributes, 16, &(license.as_ptr() as u64).to_ne_bytes());
    let descriptor = bpf(PROG_LOAD, &attributes)?;
    // SAFETY: the kernel has just given us this descriptor.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn put(attributes: &mut [u8; 128], at: usize, bytes: &[u8]) {
    attributes[at..at + bytes.len()].copy_from_slice(bytes);
}

fn bpf(command: libc::c_int, attributes: &[u8; 128]) -> io::Result<libc::c_int> {
    // SAFETY: the attributes outlive the call, as does what they point to, which the callers hold; what is beyond the
    // command's own attributes is zero, as the kernel wants it.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, attributes.as_ptr(), attributes.len()) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        Ok(result as libc::c_int)
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, path::Path, process::Command};

    /// Against the kernel: in a group of its own, in whichever place version 2 is mounted.
    #[test]
    fn devices_that_are_not_allowed_cannot_be_opened() {
        let root = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"]
            .map(Path::new)
            .into_iter()
            .find(|root| root.join("cgroup.controllers").exists())
            .expect("version 2 of cgroups is mounted in one of the two usual places");
        let group = root.join(format!("wharf-devices-test-{}", std::process::id()));
        fs::create_dir(&group).expect("this test makes control groups, so it needs root");
        let rules = serde_json::from_value::<Vec<_>>(serde_json::json!([
            { "allow": false, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 3, "access": "rwm" },
            { "allow": true, "type": "c", "major": 1, "minor": 5, "access": "rw" },
            { "allow": false, "type": "c", "major": 1, "minor": 5, "access": "w" },
        ]))
        .unwrap();
        super::attach(&group, &rules).unwrap();
        let script =
            "echo $$ > $0/cgroup.procs; for action in '> /dev/null' '< /dev/zero' '> /dev/zero' '< /dev/full'
            do (eval \"true $action\") 2> /dev/null && printf y || printf n; done";
        // Opened before the group is joined, as /dev/null is not always the first to be asked for.
        let output = Command::new("sh")
            .args(["-c", script])
            .arg(&group)
            .output()
            .unwrap();
        fs::remove_dir(&group).unwrap();
        assert_eq!(String::from_utf8_lossy(&output.stdout), "yynn");
    }
}
