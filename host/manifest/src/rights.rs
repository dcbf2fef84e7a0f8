//! Rights: what is allowed, by capability.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use serde::{Deserialize, Serialize};

use crate::capability::Capability;

/// How much of a capability is allowed.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(from = "AllowedFile", into = "AllowedFile")]
pub enum Allowed {
    /// All of it.
    All,
    /// What these entries name, in their normal form. Never empty.
    Only(BTreeSet<String>),
}

/// As it stands in JSON: `true`, or a list.
#[derive(Deserialize, Serialize)]
#[serde(untagged)]
enum AllowedFile {
    All(bool),
    Only(BTreeSet<String>),
}

impl From<AllowedFile> for Allowed {
    fn from(file: AllowedFile) -> Self {
        match file {
            AllowedFile::All(true) => Self::All,
            AllowedFile::All(false) => Self::Only(BTreeSet::new()),
            AllowedFile::Only(entries) => Self::Only(entries),
        }
    }
}

impl From<Allowed> for AllowedFile {
    fn from(allowed: Allowed) -> Self {
        match allowed {
            Allowed::All => Self::All(true),
            Allowed::Only(entries) => Self::Only(entries),
        }
    }
}

/// What is allowed. What is not in it is not.
#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize, Serialize)]
#[serde(try_from = "BTreeMap<Capability, Allowed>")]
pub struct Rights(BTreeMap<Capability, Allowed>);

impl TryFrom<BTreeMap<Capability, Allowed>> for Rights {
    type Error = String;

    fn try_from(written: BTreeMap<Capability, Allowed>) -> Result<Self, String> {
        let normal = written
            .into_iter()
            .map(|(capability, allowed)| Ok((capability, allowed.normal(capability)?)));
        normal.collect::<Result<_, String>>().map(Self::of_normal)
    }
}

impl Allowed {
    /// With its entries in their normal form.
    pub(crate) fn normal(self, capability: Capability) -> Result<Self, String> {
        match self {
            Self::All => Ok(Self::All),
            Self::Only(entries) => {
                let normal = entries.iter().map(|entry| capability.kind().normal(entry));
                normal.collect::<Result<_, _>>().map(Self::Only)
            }
        }
    }

    fn is_nothing(&self) -> bool {
        matches!(self, Self::Only(entries) if entries.is_empty())
    }
}

impl Rights {
    /// Nothing.
    pub fn none() -> Self {
        Self::default()
    }

    /// Of entries in their normal form.
    pub(crate) fn of_normal(mut written: BTreeMap<Capability, Allowed>) -> Self {
        written.retain(|_, allowed| !allowed.is_nothing());
        Self(written)
    }

    /// All of these capabilities.
    pub fn all_of(capabilities: impl IntoIterator<Item = Capability>) -> Self {
        Self(capabilities.into_iter().map(|one| (one, Allowed::All)).collect())
    }

    /// How much of a capability is allowed; none for nothing.
    pub fn of(&self, capability: Capability) -> Option<&Allowed> {
        self.0.get(&capability)
    }

    /// The capabilities of which something is allowed, and how much.
    pub fn iter(&self) -> impl Iterator<Item = (Capability, &Allowed)> {
        self.0.iter().map(|(capability, allowed)| (*capability, allowed))
    }

    /// Is nothing allowed?
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Allows all of a capability.
    pub fn allow_all(&mut self, capability: Capability) {
        self.0.insert(capability, Allowed::All);
    }

    /// Allows what this entry names.
    ///
    /// # Errors
    /// When it names nothing that the capability is about.
    pub fn allow(&mut self, capability: Capability, entry: &str) -> Result<(), String> {
        let entry = capability.kind().normal(entry)?;
        match self
            .0
            .entry(capability)
            .or_insert_with(|| Allowed::Only(BTreeSet::new()))
        {
            Allowed::All => {}
            Allowed::Only(entries) => {
                entries.insert(entry);
            }
        }
        Ok(())
    }

    /// Reads what stands behind `--allow`: `network`, or `network=example.com`.
    ///
    /// # Errors
    /// When there is no such capability, or the value names nothing of its kind.
    pub fn parse(text: &str) -> Result<Self, String> {
        let mut rights = Self::none();
        match text.split_once('=') {
            None => rights.allow_all(capability(text)?),
            Some((name, entry)) => rights.allow(capability(name)?, entry)?,
        }
        Ok(rights)
    }

    /// Is what this entry names allowed? What names nothing is not.
    pub fn covers(&self, capability: Capability, entry: &str) -> bool {
        match self.0.get(&capability) {
            None => false,
            Some(Allowed::All) => true,
            Some(Allowed::Only(entries)) => {
                let kind = capability.kind();
                kind.normal(entry)
                    .is_ok_and(|entry| entries.iter().any(|wide| kind.covers(wide, &entry)))
            }
        }
    }

    /// Is all of a capability allowed?
    pub fn covers_all(&self, capability: Capability) -> bool {
        self.0.get(&capability) == Some(&Allowed::All)
    }

    /// What both allow.
    #[must_use]
    pub fn and(&self, other: &Self) -> Self {
        let both = self.0.iter().filter_map(|(capability, allowed)| {
            let common = common(*capability, allowed, other.0.get(capability)?);
            Some((*capability, common))
        });
        Self::of_normal(both.collect())
    }

    /// What either allows.
    #[must_use]
    pub fn or(&self, other: &Self) -> Self {
        let mut either = self.clone();
        for (capability, allowed) in &other.0 {
            let own = either
                .0
                .entry(*capability)
                .or_insert_with(|| Allowed::Only(BTreeSet::new()));
            match (&mut *own, allowed) {
                (Allowed::All, _) => {}
                (own, Allowed::All) => *own = Allowed::All,
                (Allowed::Only(own), Allowed::Only(more)) => own.extend(more.iter().cloned()),
            }
        }
        either
    }

    /// What a limit leaves: a capability that the limit does not name is not limited by it.
    #[must_use]
    pub fn within(&self, limit: &Limit) -> Self {
        let named = self.and(&Self::of_normal(limit.0.clone()));
        let free = self
            .0
            .iter()
            .filter(|(capability, _)| !limit.0.contains_key(capability));
        Self(
            named
                .0
                .into_iter()
                .chain(free.map(|(one, allowed)| (*one, allowed.clone())))
                .collect(),
        )
    }
}

fn capability(name: &str) -> Result<Capability, String> {
    name.parse::<Capability>().map_err(|error| error.to_string())
}

fn common(capability: Capability, one: &Allowed, other: &Allowed) -> Allowed {
    let (Allowed::Only(one), Allowed::Only(other)) = (one, other) else {
        return if *one == Allowed::All {
            other.clone()
        } else {
            one.clone()
        };
    };
    let kind = capability.kind();
    let within = |narrow: &BTreeSet<String>, wide: &BTreeSet<String>| {
        let covered = |entry: &&String| wide.iter().any(|wide| kind.covers(wide, entry));
        narrow.iter().filter(covered).cloned().collect::<BTreeSet<_>>()
    };
    let mut both = within(one, other);
    both.extend(within(other, one));
    Allowed::Only(both)
}

/// A ceiling: for each capability that it names, the most that any module may have.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Limit(pub(crate) BTreeMap<Capability, Allowed>);

impl Limit {
    /// What both allow.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        for (capability, allowed) in other.0 {
            let both = match self.0.get(&capability) {
                Some(own) => common(capability, own, &allowed),
                None => allowed,
            };
            self.0.insert(capability, both);
        }
        self
    }
}

impl fmt::Display for Allowed {
    /// As it stands in wharf.toml: `true` or `["a", "b"]`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::All => f.write_str("true"),
            Self::Only(entries) => {
                let quoted: Vec<_> = entries.iter().map(|entry| format!("{entry:?}")).collect();
                write!(f, "[{}]", quoted.join(", "))
            }
        }
    }
}

impl fmt::Display for Rights {
    /// As it stands in wharf.toml, a line for each capability.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (at, (capability, allowed)) in self.0.iter().enumerate() {
            let line_end = if at > 0 { "\n" } else { "" };
            write!(f, "{line_end}{capability} = {allowed}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rights(texts: &[&str]) -> Rights {
        let parsed = texts.iter().map(|text| Rights::parse(text).unwrap());
        parsed.fold(Rights::none(), |all, one| all.or(&one))
    }

    #[test]
    fn both_allow_what_each_does() {
        let one = rights(&["network=*.hf.co", "network=b.example", "caches=hf", "git"]);
        let other = rights(&["network=a.hf.co", "network=*.example", "http", "git=example.com"]);
        assert_eq!(
            one.and(&other).to_string(),
            "network = [\"a.hf.co\", \"b.example\"]\ngit = [\"example.com\"]"
        );
        assert!(one.and(&Rights::none()).is_empty());
        assert!(one.or(&other).covers(Capability::Http, "any.example"));
        assert!(!one.covers(Capability::Http, "any.example"));
    }

    #[test]
    fn a_limit_leaves_alone_what_it_does_not_name() {
        let limit = Limit([(Capability::Network, Allowed::Only(BTreeSet::new()))].into());
        let limited = rights(&["network", "caches=hf"]).within(&limit);
        assert_eq!(limited.to_string(), "caches = [\"hf\"]");
    }

    #[test]
    fn json_holds_them_and_is_checked() {
        let all = rights(&["network=HF.co", "reveal"]);
        let json = serde_json::to_string(&all).unwrap();
        assert_eq!(json, r#"{"network":["hf.co"],"reveal":true}"#);
        assert_eq!(serde_json::from_str::<Rights>(&json).unwrap(), all);
        assert!(serde_json::from_str::<Rights>(r#"{"network":["http://x"]}"#).is_err());
        assert!(serde_json::from_str::<Rights>(r#"{"sudo":true}"#).is_err());
        assert!(Rights::parse("network=x/y").is_err() && Rights::parse("sudo").is_err());
    }
}
