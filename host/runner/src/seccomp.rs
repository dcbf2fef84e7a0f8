//! Docker's default seccomp profile: as data for OCI runtimes, compiled for the built-in one.

use std::{collections::BTreeSet, sync::LazyLock};

use oci_spec::runtime::LinuxSeccomp;
use seccompiler::{BpfProgram, TargetArch};
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// The profile in the OCI runtime specification's form.
pub(crate) const PROFILE: &str = include_str!("../data/seccomp.json");

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    syscalls: Vec<Rule>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Rule {
    names: Vec<String>,
    action: String,
    #[serde(default)]
    args: Vec<Condition>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Condition {
    index: u8,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: String,
}

/// The shipped profile as a specification holds it.
pub(crate) fn standard() -> &'static LinuxSeccomp {
    static STANDARD: LazyLock<LinuxSeccomp> =
        LazyLock::new(|| serde_json::from_str(PROFILE).expect("the shipped profile is JSON"));
    &STANDARD
}

/// The filter of a step, as it is sent to the helper: the shipped one is compiled there once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) enum Filter {
    None,
    Standard,
    /// A profile of the specification's own, in JSON.
    Own(String),
}

impl Filter {
    pub(crate) fn of(profile: Option<&LinuxSeccomp>) -> Result<Self> {
        match profile {
            None => Ok(Self::None),
            Some(profile) if profile == standard() => Ok(Self::Standard),
            Some(profile) => serde_json::to_string(profile)
                .map(Self::Own)
                .map_err(|error| failed(&error)),
        }
    }

    pub(crate) fn compile(&self) -> Result<Vec<BpfProgram>> {
        match self {
            Self::None => Ok(Vec::new()),
            Self::Standard => compile(PROFILE),
            Self::Own(profile) => compile(profile),
        }
    }
}

/// The filters of a profile that allows what it names, in the order in which they are installed: what is allowed, and then
/// what answers "no such call" so that programs fall back (`clone3`, whose flags a filter cannot see).
fn compile(profile: &str) -> Result<Vec<BpfProgram>> {
    let profile: Profile = serde_json::from_str(profile).map_err(|error| failed(&error))?;
    if profile.default_action != "SCMP_ACT_ERRNO" {
        return Err(failed(
            &"only profiles that refuse what they do not name are understood",
        ));
    }
    let mut allowed = Vec::new();
    let mut absent = BTreeSet::new();
    for rule in &profile.syscalls {
        for name in &rule.names {
            if rule.action == "SCMP_ACT_ERRNO" {
                absent.insert(name.clone());
            }
            allowed.push(json_rule(name, &rule.args));
        }
    }
    let absent: Vec<_> = absent.iter().map(|name| json_rule(name, &[])).collect();
    Ok(vec![
        program(
            &allowed,
            &serde_json::json!({ "errno": libc::EPERM }),
            &serde_json::json!("allow"),
        )?,
        program(
            &absent,
            &serde_json::json!("allow"),
            &serde_json::json!({ "errno": libc::ENOSYS }),
        )?,
    ])
}

fn json_rule(name: &str, conditions: &[Condition]) -> serde_json::Value {
    if conditions.is_empty() {
        return serde_json::json!({ "syscall": name });
    }
    let args: Vec<_> = conditions
        .iter()
        .map(|condition| {
            let (op, value) = match condition.op.as_str() {
                "SCMP_CMP_NE" => (serde_json::json!("ne"), condition.value),
                "SCMP_CMP_MASKED_EQ" => (
                    serde_json::json!({ "masked_eq": condition.value }),
                    condition.value_two,
                ),
                _ => (serde_json::json!("eq"), condition.value),
            };
            serde_json::json!({ "index": condition.index, "type": "dword", "op": op, "val": value })
        })
        .collect();
    serde_json::json!({ "syscall": name, "args": args })
}

/// Compiles rules; calls that this architecture does not have are left out.
fn program(
    rules: &[serde_json::Value],
    mismatch: &serde_json::Value,
    matched: &serde_json::Value,
) -> Result<BpfProgram> {
    let arch = TargetArch::try_from(std::env::consts::ARCH).map_err(|error| failed(&error))?;
    let compile = |rules: &[serde_json::Value]| {
        let filter = serde_json::json!({ "step": { "mismatch_action": mismatch, "match_action": matched, "filter": rules } });
        seccompiler::compile_from_json(filter.to_string().as_bytes(), arch)
    };
    let take =
        |mut map: std::collections::HashMap<String, BpfProgram>| map.remove("step").unwrap_or_default();
    if let Ok(map) = compile(rules) {
        return Ok(take(map));
    }
    let known: Vec<_> = rules
        .iter()
        .filter(|rule| compile(std::slice::from_ref(rule)).is_ok())
        .cloned()
        .collect();
    compile(&known).map(take).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::fmt::Display) -> Error {
    Error::Unsupported(format!("the seccomp profile does not compile: {error}"))
}

/// Installs a filter without giving up setuid programs; the caller has CAP_SYS_ADMIN.
pub(crate) fn install(program: &BpfProgram) -> std::io::Result<()> {
    let filter = libc::sock_fprog {
        len: program.len() as u16,
        filter: program.as_ptr().cast_mut().cast::<libc::sock_filter>(),
    };
    // SAFETY: `filter` points to `len` instructions that outlive the call, which copies them; seccompiler's instruction has
    // the kernel's layout.
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
    #[test]
    fn the_profile_compiles() {
        let filters = super::Filter::Standard.compile().unwrap();
        assert!(filters[0].len() > 300);
        assert!(!filters[1].is_empty());
    }
}
