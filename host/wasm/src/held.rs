//! What a call may do: the rights of the module in it, and the words for what it may not.

use std::path::PathBuf;

use wharf_graph::{Denial, Error};
use wharf_hosts::Hosts;
use wharf_manifest::{Allowed, Capability, Limit, Rights};

use crate::link::Link;

/// Is this guard taken away, to see that its tests then fail? Only builds that are not released know of it.
pub(crate) fn is_off(guard: &str) -> bool {
    cfg!(debug_assertions) && std::env::var_os("WHARF_TEST_WITHOUT_GUARD").is_some_and(|off| off == guard)
}

/// What a call was given.
#[derive(Clone, Debug, Default)]
pub struct Given {
    /// What the module may do.
    pub rights: Rights,
    /// The most that any module may do in this call, whoever grants it.
    pub limit: Limit,
    /// The wharf.toml whose grants count: that of the module which the user calls, when it has one.
    pub manifest: Option<PathBuf>,
}

impl Given {
    /// What the user's own module is given: all that cargo would let its build script do, but for secrets in plain text and
    /// terminals, which a call gives by name.
    pub fn own() -> Self {
        let by_name = [Capability::Reveal, Capability::Debug];
        Self {
            rights: Rights::all_of(Capability::all().filter(|one| !by_name.contains(one))),
            ..Self::default()
        }
    }

    /// What a module of a registry is given that the user calls by its name: what steps and sources need, and nothing of the
    /// caller's machine or name. More is given by the call.
    pub fn of_registry() -> Self {
        use Capability::{Caches, Git, Http, Images, Network, Secrets};
        Self {
            rights: Rights::all_of([Network, Images, Git, Http, Secrets, Caches]),
            ..Self::default()
        }
    }

    /// The same with more.
    #[must_use]
    pub fn and(mut self, more: &Rights) -> Self {
        self.rights = self.rights.or(more);
        self
    }
}

/// What a module holds while it is called.
#[derive(Clone, Debug)]
pub(crate) struct Held {
    rights: Rights,
    /// What the module asks for; none for the one that the user calls.
    asks: Option<Rights>,
    limit: Limit,
    manifest: Option<PathBuf>,
    /// Who called whom, from the module that the user calls to this one.
    chain: Vec<String>,
}

impl Held {
    /// What the module that the user calls holds.
    pub(crate) fn by_root(given: Given, module: &str) -> Self {
        Self {
            rights: given.rights.within(&given.limit),
            asks: None,
            limit: given.limit,
            manifest: given.manifest,
            chain: vec![module.to_owned()],
        }
    }

    /// What a module holds that this one calls: what it asks for, out of what this one has and its manifest grants, or what
    /// the root's manifest grants whatever this one has.
    pub(crate) fn below(&self, link: &Link) -> Self {
        let granted = self.rights.and(&link.grants).or(&link.explicit);
        let mut chain = self.chain.clone();
        chain.push(link.name.to_string());
        Self {
            rights: granted.and(&link.asks).within(&self.limit),
            asks: Some(link.asks.clone()),
            limit: self.limit.clone(),
            manifest: self.manifest.clone(),
            chain,
        }
    }

    /// How many modules call each other, this one included.
    pub(crate) fn depth(&self) -> usize {
        self.chain.len()
    }

    /// Who called whom.
    pub(crate) fn chain(&self) -> String {
        self.chain.join(" → ")
    }

    /// Nothing when this is allowed; the error that names who asked and what grants it otherwise.
    pub(crate) fn check(&self, capability: Capability, entry: &str) -> Result<(), Error> {
        if self.rights.covers(capability, entry) || is_off(capability.name()) {
            return Ok(());
        }
        Err(self.denied(capability, &format!("[{entry:?}]"), |rights| {
            rights.covers(capability, entry)
        }))
    }

    /// As [`Self::check`], of all of a capability.
    pub(crate) fn check_all(&self, capability: Capability) -> Result<(), Error> {
        if self.rights.covers_all(capability) || is_off(capability.name()) {
            return Ok(());
        }
        Err(self.denied(capability, "true", |rights| rights.covers_all(capability)))
    }

    /// As [`Self::check`], of a host and port that an address names. The list that everything which is asked on the way has to
    /// be in; none where all is allowed.
    pub(crate) fn check_address(&self, capability: Capability, url: &str) -> Result<Option<Hosts>, Error> {
        if self.rights.covers_all(capability) || is_off(capability.name()) {
            return Ok(None);
        }
        // What names no host in one way alone needs all of it.
        let Some((host, port)) = wharf_hosts::host_and_port(url) else {
            return self.check_all(capability).map(|()| None);
        };
        self.check(capability, &format!("{host}:{port}"))?;
        let hosts = match self.rights.of(capability) {
            Some(Allowed::Only(entries)) => Hosts::parse(entries).unwrap_or_default(),
            Some(Allowed::All) | None => Hosts::default(),
        };
        Ok(Some(hosts))
    }

    /// Would calls be allowed that need this: an interface's name, a capability, or `capability=entry`? Interfaces that need
    /// no right are.
    pub(crate) fn holds(&self, wanted: &str) -> bool {
        let Ok(wanted) = Rights::parse(wanted) else {
            let needed = Capability::of_interface(wanted);
            return crate::reflect::meaning(wanted).is_some()
                && needed.iter().all(|one| self.rights.of(*one).is_some());
        };
        wanted.iter().all(|(capability, allowed)| match allowed {
            wharf_manifest::Allowed::All => self.rights.of(capability).is_some(),
            wharf_manifest::Allowed::Only(entries) => {
                entries.iter().all(|entry| self.rights.covers(capability, entry))
            }
        })
    }

    fn denied(&self, capability: Capability, value: &str, allows: impl Fn(&Rights) -> bool) -> Error {
        let own = self.chain.last().cloned().unwrap_or_default();
        let all = Rights::all_of([capability]);
        let grant = if !allows(&all.within(&self.limit)) {
            format!("the operator's limits have to allow it: {capability} = {value} under [limits]")
        } else if self.asks.as_ref().is_some_and(|asks| !allows(asks)) {
            format!("{own} does not ask for it: {capability} = {value} under [asks] of its own wharf.toml")
        } else if let [.., caller, _] = &self.chain[..] {
            let table = if self.chain.len() == 2 {
                format!("[grants.\"{own}\"]")
            } else {
                format!("[grants.\"{caller}\".\"{own}\"]")
            };
            let file = self
                .manifest
                .as_deref()
                .map_or("wharf.toml".to_owned(), |file| file.display().to_string());
            format!("{capability} = {value} under {table} of {file}")
        } else {
            let entry = value.trim_start_matches("[\"").trim_end_matches("\"]");
            match value {
                "true" => format!("--allow {capability}"),
                _ => format!("--allow {capability}={entry}"),
            }
        };
        let callers: Vec<_> = self
            .chain
            .iter()
            .rev()
            .skip(1)
            .map(|caller| format!("called by {caller}"))
            .collect();
        let callers = if callers.is_empty() {
            String::new()
        } else {
            format!(" ({})", callers.join(", "))
        };
        Error::Denied(Denial {
            capability: capability.to_string(),
            module: format!("{own}{callers}"),
            grant,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn root(given: Given) -> Held {
        Held::by_root(given, "acme:deploy")
    }

    #[test]
    fn what_was_not_given_is_denied_by_name() {
        let held = root(Given::own());
        let denied = held.check(Capability::Reveal, "TOKEN").unwrap_err();
        assert_eq!(
            denied.to_string(),
            "acme:deploy may not use reveal: --allow reveal=TOKEN grants it"
        );
        let more = root(Given::own().and(&Rights::parse("reveal=TOKEN").unwrap()));
        assert!(more.check(Capability::Reveal, "TOKEN").is_ok());
        assert!(more.check(Capability::Reveal, "OTHER").is_err());
    }

    #[test]
    fn questions_are_answered_by_interface_and_by_entry() {
        let held = root(Given::own());
        assert!(held.holds("container") && held.holds("network") && held.holds("network=example.com"));
        assert!(!held.holds("reveal") && !held.holds("everything"));
        let none = root(Given::default());
        assert!(none.holds("container") && !none.holds("network") && !none.holds("image"));
    }

    #[test]
    fn an_address_is_allowed_by_its_host_with_the_list_for_what_it_leads_to() {
        let held = root(Given::default().and(&Rights::parse("http=a.example").unwrap()));
        let hosts = held
            .check_address(Capability::Http, "https://a.example/x")
            .unwrap();
        assert_eq!(hosts.unwrap().to_string(), r#"["a.example"]"#);
        let denied = held
            .check_address(Capability::Http, "https://b.example/x")
            .unwrap_err();
        assert!(
            denied.to_string().contains("--allow http=b.example:443"),
            "{denied}"
        );
        let denied = held
            .check_address(Capability::Http, "https:/a.example")
            .unwrap_err();
        assert!(denied.to_string().contains("--allow http "), "{denied}");
        let all = root(Given::own()).check_address(Capability::Http, "https:/a.example");
        assert_eq!(all, Ok(None));
    }

    #[test]
    fn a_limit_holds_for_the_user_too() {
        let limit = wharf_manifest::Manifest::limits("[limits]\nnetwork = false\n").unwrap();
        let held = root(Given {
            limit,
            ..Given::own()
        });
        let denied = held.check_all(Capability::Network).unwrap_err();
        assert!(denied.to_string().contains("the operator's limits"), "{denied}");
    }
}
