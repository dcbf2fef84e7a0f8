//! Which version of each module is taken, so that all that call it get one that they can work with.
//!
//! What is known is solved; what turns out to be missing is asked for, and it is solved again. So a registry is asked for
//! what is needed and no more, and for many things at once.

use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
};

use futures_util::future::try_join_all;
use pubgrub::{
    Dependencies, DependencyProvider, DerivationTree, External, PackageResolutionStatistics, PubGrubError,
    Ranges,
};
use semver::Version;

use crate::{
    error::{Error, Result},
    name::Wanted,
    ranges,
};

/// That one module calls another.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Need {
    /// The name under which it is called.
    pub(crate) name: String,
    /// Where it comes from: modules with the same place are the same module.
    pub(crate) place: String,
    /// Which versions fit.
    pub(crate) wanted: Wanted,
}

/// What there is.
pub(crate) trait Catalogue {
    /// The versions of a module, in any order.
    async fn versions(&self, place: &str) -> Result<Vec<Version>>;
    /// What a version of a module calls.
    async fn needs(&self, place: &str, version: &Version) -> Result<Vec<Need>>;
}

/// The place of the module that all this is for.
pub(crate) const ROOT: &str = "";

/// Chooses a version for each module that the root calls, directly or through others. Those that were chosen before stay, as
/// long as they fit.
pub(crate) async fn solve(
    root: (String, Vec<Need>),
    before: &BTreeMap<String, Version>,
    catalogue: &impl Catalogue,
) -> Result<BTreeMap<String, Version>> {
    let mut known = Known::new(root.0, before);
    known.learn(ROOT, Version::new(0, 0, 0), root.1);
    loop {
        match pubgrub::resolve(&known, ROOT.to_owned(), Version::new(0, 0, 0)) {
            Ok(solution) => {
                let chosen = solution.into_iter().filter(|(place, _)| place != ROOT);
                return Ok(chosen.collect());
            }
            Err(PubGrubError::NoSolution(tree)) => return Err(Error::Conflict(known.report(&tree))),
            Err(
                PubGrubError::ErrorChoosingVersion { source, .. }
                | PubGrubError::ErrorRetrievingDependencies { source, .. }
                | PubGrubError::ErrorInShouldCancel(source),
            ) => known.ask(source, catalogue).await?,
        }
    }
}

/// What was learned so far.
struct Known {
    root: String,
    before: BTreeMap<String, Version>,
    /// Those that are best come first.
    versions: HashMap<String, Vec<Version>>,
    needs: HashMap<(String, Version), Vec<Need>>,
    /// Who was found first to call a module, and by which name.
    callers: HashMap<String, (String, String)>,
    /// Versions that somebody wants in so many words, pre-releases among them.
    named: HashMap<String, HashSet<Version>>,
}

/// What has to be asked for.
#[derive(Clone, Debug, thiserror::Error)]
#[error("something is not known yet")]
enum Unknown {
    Versions(String),
    Needs(String, Version),
}

impl Known {
    fn new(root: String, before: &BTreeMap<String, Version>) -> Self {
        Self {
            root,
            before: before.clone(),
            versions: HashMap::from([(ROOT.to_owned(), vec![Version::new(0, 0, 0)])]),
            needs: HashMap::new(),
            callers: HashMap::new(),
            named: HashMap::new(),
        }
    }

    fn learn(&mut self, place: &str, version: Version, needs: Vec<Need>) {
        for need in &needs {
            self.callers
                .entry(need.place.clone())
                .or_insert_with(|| (place.to_owned(), need.name.clone()));
            let named = self.named.entry(need.place.clone()).or_default();
            match &need.wanted {
                Wanted::Exactly(version) => {
                    named.insert(version.clone());
                }
                Wanted::Within(requirement) => named.extend(
                    requirement
                        .comparators
                        .iter()
                        .filter(|comparator| !comparator.pre.is_empty())
                        .filter_map(|one| Some(Version::new(one.major, one.minor?, one.patch?)))
                        .collect::<Vec<_>>(),
                ),
                Wanted::Newest => {}
            }
        }
        self.needs.insert((place.to_owned(), version), needs);
    }

    /// May a version be given to who has not named it? A pre-release only where one of the same three numbers was named.
    fn is_offered(&self, place: &str, version: &Version) -> bool {
        let core = Version::new(version.major, version.minor, version.patch);
        version.pre.is_empty()
            || self.before.get(place) == Some(version)
            || self
                .named
                .get(place)
                .is_some_and(|named| named.contains(version) || named.contains(&core))
    }

    /// The best version in a range.
    fn best(&self, place: &str, range: &Ranges<Version>) -> Option<&Version> {
        let mut offered = self
            .versions
            .get(place)?
            .iter()
            .filter(|version| range.contains(version) && self.is_offered(place, version));
        offered.next()
    }

    /// Asks for what is missing, and for what will be missing next as far as that is seen.
    async fn ask(&mut self, what: Unknown, catalogue: &impl Catalogue) -> Result<()> {
        match what {
            Unknown::Versions(_) => {
                // Whatever is called by something that is known is asked for in one go.
                let mut missing: Vec<String> = self
                    .needs
                    .values()
                    .flatten()
                    .map(|need| need.place.clone())
                    .filter(|place| !self.versions.contains_key(place))
                    .collect();
                missing.sort_unstable();
                missing.dedup();
                let asked = missing.iter().map(async |place| {
                    let versions = catalogue.versions(place).await;
                    versions.map_err(|error| self.through(place, error))
                });
                let answers = try_join_all(asked).await?;
                for (place, mut versions) in missing.into_iter().zip(answers) {
                    versions.sort_unstable_by(|one, other| other.cmp(one));
                    let before = self.before.get(&place);
                    // One that was chosen before is tried first. It is known although the registry may have lost it.
                    versions.retain(|version| Some(version) != before);
                    versions.splice(0..0, before.cloned());
                    self.versions.insert(place, versions);
                }
            }
            Unknown::Needs(place, version) => {
                let mut wanted = vec![(place, version)];
                let all: Vec<Need> = self.needs.values().flatten().cloned().collect();
                for need in &all {
                    let best = self.best(&need.place, &ranges::of(&need.wanted)).cloned();
                    wanted.extend(best.map(|version| (need.place.clone(), version)));
                }
                wanted.retain(|one| !self.needs.contains_key(one));
                wanted.sort_unstable();
                wanted.dedup();
                let asked = wanted.iter().map(async |(place, version)| {
                    let needs = catalogue.needs(place, version).await;
                    needs.map_err(|error| self.through(place, error))
                });
                let answers = try_join_all(asked).await?;
                for ((place, version), needs) in wanted.into_iter().zip(answers) {
                    self.learn(&place, version, needs);
                }
            }
        }
        Ok(())
    }

    /// An error with the chain of modules by which it was come to.
    fn through(&self, place: &str, source: Error) -> Error {
        Error::Through {
            chain: self.chain(place),
            source: Box::new(source),
        }
    }

    /// `my:app → acme:tool → acme:base`.
    fn chain(&self, place: &str) -> String {
        let (mut names, mut at) = (VecDeque::new(), place);
        while let Some((caller, name)) = self.callers.get(at) {
            names.push_front(name.as_str());
            at = caller;
            if names.len() > self.callers.len() {
                break;
            }
        }
        names.push_front(&self.root);
        Vec::from(names).join(" → ")
    }

    fn name(&self, place: &str) -> String {
        self.callers
            .get(place)
            .map_or_else(|| self.root.clone(), |(_, name)| name.clone())
    }

    /// Why there is no solution: who wants what of whom, through which chain, and what there is.
    fn report(&self, tree: &DerivationTree<String, Ranges<Version>, String>) -> String {
        let (mut wishes, mut empty) = (Vec::new(), Vec::new());
        leaves(tree, &mut |leaf| match leaf {
            External::FromDependencyOf(place, versions, on, _) => {
                wishes.push((on.clone(), place.clone(), versions.clone()));
            }
            External::NoVersions(place, _) | External::Custom(place, ..) => empty.push(place.clone()),
            External::NotRoot(..) => {}
        });
        let mut about: Vec<String> = wishes.iter().map(|(on, ..)| on.clone()).collect();
        // What several wish for, or what there is nothing of, is what it fails by.
        about.sort_unstable();
        about.dedup();
        about.retain(|on| empty.contains(on) || wishes.iter().filter(|(other, ..)| other == on).count() > 1);
        // Of those it fails by, the ones that no version suits explain the rest.
        let unsuited: Vec<String> = about
            .iter()
            .filter(|on| self.is_unsuited(on, &wishes))
            .cloned()
            .collect();
        if !unsuited.is_empty() {
            about = unsuited;
        }
        let mut text = String::new();
        for on in about {
            let mut lines = Vec::new();
            for (_, place, versions) in wishes.iter().filter(|(other, ..)| *other == on) {
                lines.extend(self.wishes(&on, place, versions));
            }
            lines.sort_unstable();
            lines.dedup();
            let mut there = self.versions.get(&on).cloned().unwrap_or_default();
            there.sort_unstable_by(|one, other| other.cmp(one));
            let there: Vec<String> = there.iter().take(10).map(Version::to_string).collect();
            text.push_str(&format!(
                "\nno version of {} suits all that call it:\n",
                self.name(&on)
            ));
            lines
                .iter()
                .for_each(|line| text.push_str(&format!("  {line}\n")));
            text.push_str(&match there[..] {
                [] => "  and there is none of it\n".to_owned(),
                _ => format!("  it has {}\n", there.join(", ")),
            });
        }
        text
    }

    /// Is there no version of a module that suits all who wish for one?
    fn is_unsuited(&self, on: &str, wishes: &[(String, String, Ranges<Version>)]) -> bool {
        let wanted = wishes
            .iter()
            .filter(|(other, ..)| other == on)
            .flat_map(|(_, place, versions)| {
                let calling = self
                    .needs
                    .iter()
                    .filter(move |((from, version), _)| from == place && versions.contains(version));
                calling
                    .flat_map(|(_, needs)| needs)
                    .filter(|need| need.place == on)
            });
        let all = wanted.fold(Ranges::full(), |all, need| {
            all.intersection(&ranges::of(&need.wanted))
        });
        self.best(on, &all).is_none()
    }

    /// Who of these versions wants which versions of another.
    fn wishes(&self, on: &str, place: &str, versions: &Ranges<Version>) -> Vec<String> {
        let of_place = self
            .needs
            .iter()
            .filter(|((from, version), _)| from == place && versions.contains(version));
        let mut lines = Vec::new();
        for ((_, version), needs) in of_place {
            for need in needs.iter().filter(|need| need.place == on) {
                let chain = self.chain(place);
                let who = if place == ROOT {
                    chain
                } else {
                    format!("{chain} {version}")
                };
                lines.push(format!("{who} wants {} {}", need.name, need.wanted));
            }
        }
        lines
    }
}

fn leaves(
    tree: &DerivationTree<String, Ranges<Version>, String>,
    each: &mut impl FnMut(&External<String, Ranges<Version>, String>),
) {
    match tree {
        DerivationTree::External(leaf) => each(leaf),
        DerivationTree::Derived(derived) => {
            leaves(&derived.cause1, each);
            leaves(&derived.cause2, each);
        }
    }
}

impl DependencyProvider for Known {
    type P = String;
    type V = Version;
    type VS = Ranges<Version>;
    type M = String;
    type Err = Unknown;
    type Priority = (u32, Reverse<usize>);

    fn prioritize(
        &self,
        place: &String,
        range: &Ranges<Version>,
        statistics: &PackageResolutionStatistics,
    ) -> Self::Priority {
        // The fewer there are to choose from, the earlier.
        let fitting = self.versions.get(place).map_or(0, |versions| {
            versions.iter().filter(|version| range.contains(version)).count()
        });
        (statistics.conflict_count(), Reverse(fitting))
    }

    fn choose_version(&self, place: &String, range: &Ranges<Version>) -> Result<Option<Version>, Unknown> {
        if !self.versions.contains_key(place) {
            return Err(Unknown::Versions(place.clone()));
        }
        Ok(self.best(place, range).cloned())
    }

    fn get_dependencies(
        &self,
        place: &String,
        version: &Version,
    ) -> Result<Dependencies<String, Ranges<Version>, String>, Unknown> {
        let key = (place.clone(), version.clone());
        let Some(needs) = self.needs.get(&key) else {
            return Err(Unknown::Needs(key.0, key.1));
        };
        let mut all: HashMap<&str, Ranges<Version>> = HashMap::new();
        for need in needs.iter().filter(|need| need.place != *place) {
            let range = ranges::of(&need.wanted);
            let joined = all
                .get(need.place.as_str())
                .map(|other| other.intersection(&range));
            all.insert(&need.place, joined.unwrap_or(range));
        }
        let constraints = all.into_iter().map(|(place, range)| (place.to_owned(), range));
        Ok(Dependencies::Available(constraints.collect()))
    }
}

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use super::*;

    /// `place version: dependency requirement, …`, one a line.
    struct Table {
        lines: Vec<(String, Version, Vec<Need>)>,
        asked: RefCell<Vec<String>>,
    }

    fn needs(text: &str) -> Vec<Need> {
        let all = text.split(';').map(str::trim).filter(|part| !part.is_empty());
        all.map(|part| {
            let (name, wanted) = part.split_once(' ').unwrap();
            Need {
                name: name.to_owned(),
                place: format!("r/{name}"),
                wanted: Wanted::Within(wanted.parse().unwrap()),
            }
        })
        .collect()
    }

    impl Table {
        fn new(text: &str) -> Self {
            let lines = text
                .lines()
                .map(str::trim)
                .filter(|line| !line.is_empty())
                .map(|line| {
                    let (head, tail) = line.split_once('|').unwrap_or((line, ""));
                    let (name, version) = head.trim().split_once(' ').unwrap();
                    (format!("r/{name}"), version.parse().unwrap(), needs(tail))
                });
            Self {
                lines: lines.collect(),
                asked: RefCell::default(),
            }
        }
    }

    impl Catalogue for Table {
        async fn versions(&self, place: &str) -> Result<Vec<Version>> {
            self.asked.borrow_mut().push(place.to_owned());
            let all = self.lines.iter().filter(|(of, ..)| of == place);
            Ok(all.map(|(_, version, _)| version.clone()).collect())
        }

        async fn needs(&self, place: &str, version: &Version) -> Result<Vec<Need>> {
            self.asked.borrow_mut().push(format!("{place} {version}"));
            let found = self
                .lines
                .iter()
                .find(|(of, own, _)| of == place && own == version);
            Ok(found.unwrap().2.clone())
        }
    }

    async fn solved(root: &str, before: &[(&str, &str)], table: &Table) -> Result<String> {
        let before = before
            .iter()
            .map(|(name, version)| (format!("r/{name}"), version.parse().unwrap()));
        let solution = solve(("my:app".to_owned(), needs(root)), &before.collect(), table).await?;
        let parts: Vec<String> = solution
            .iter()
            .map(|(place, version)| format!("{} {version}", &place[2..]))
            .collect();
        Ok(parts.join(", "))
    }

    const DIAMOND: &str = "a:a 1.0.0 | a:c 1
        a:a 1.1.0 | a:c 2
        a:b 1.0.0 | a:c >=1, <2
        a:c 1.0.0
        a:c 1.4.0
        a:c 2.0.0
        a:c 2.1.0-rc.1";

    #[tokio::test]
    async fn the_newest_that_suits_all_is_taken() {
        let table = Table::new(DIAMOND);
        assert_eq!(
            solved("a:a 1; a:b 1", &[], &table).await.unwrap(),
            "a:a 1.0.0, a:b 1.0.0, a:c 1.4.0"
        );
        assert_eq!(
            solved("a:a 1", &[], &table).await.unwrap(),
            "a:a 1.1.0, a:c 2.0.0"
        );
        assert_eq!(
            solved("a:c 2.1.0-rc.1", &[], &table).await.unwrap(),
            "a:c 2.1.0-rc.1"
        );
    }

    #[tokio::test]
    async fn what_was_chosen_before_stays_while_it_fits() {
        let table = Table::new(DIAMOND);
        let before = [("a:c", "1.0.0"), ("a:a", "1.0.0")];
        assert_eq!(
            solved("a:a 1", &before, &table).await.unwrap(),
            "a:a 1.0.0, a:c 1.0.0"
        );
        assert_eq!(solved("a:c 2", &before, &table).await.unwrap(), "a:c 2.0.0");
    }

    #[tokio::test]
    async fn a_conflict_is_told_by_its_chains() {
        let table = Table::new(DIAMOND);
        let error = solved("a:a =1.1.0; a:b 1", &[], &table)
            .await
            .unwrap_err()
            .to_string();
        assert!(
            error.contains("no version of a:c suits all that call it"),
            "{error}"
        );
        assert!(error.contains("my:app → a:a 1.1.0 wants a:c ^2"), "{error}");
        assert!(error.contains("my:app → a:b 1.0.0 wants a:c >=1, <2"), "{error}");
        assert!(
            error.contains("it has 2.1.0-rc.1, 2.0.0, 1.4.0, 1.0.0"),
            "{error}"
        );
        let none = solved("a:b 3", &[], &table).await.unwrap_err().to_string();
        assert!(
            none.contains("my:app wants a:b ^3") && none.contains("it has 1.0.0"),
            "{none}"
        );
        let nothing = solved("a:x 3", &[], &table).await.unwrap_err().to_string();
        assert!(nothing.contains("there is none of it"), "{nothing}");
    }

    #[tokio::test]
    async fn nothing_is_asked_for_twice_or_in_vain() {
        let table = Table::new(DIAMOND);
        solved("a:a 1", &[], &table).await.unwrap();
        let mut asked = table.asked.take();
        let count = asked.len();
        asked.sort();
        asked.dedup();
        assert_eq!(asked.len(), count);
        assert!(!asked.iter().any(|what| what.starts_with("r/a:b")), "{asked:?}");
    }

    #[tokio::test]
    async fn modules_that_call_each_other_are_solved_all_the_same() {
        let table = Table::new("a:a 1.0.0 | a:b 1\na:b 1.0.0 | a:a 1");
        assert_eq!(
            solved("a:a 1", &[], &table).await.unwrap(),
            "a:a 1.0.0, a:b 1.0.0"
        );
    }
}
