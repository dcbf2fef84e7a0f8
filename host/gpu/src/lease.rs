//! Who has which GPU.
//!
//! First come, first served: whoever waits keeps every device that would do for him from those who came later. They may have
//! others meanwhile, so that nobody who wants a small one is stuck behind somebody who waits for a large one. What one has is
//! his until he gives it back.

use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Arc, Mutex},
};

use tokio::sync::oneshot;

use crate::{
    inventory::Use,
    lock,
    request::{LeaseError, Request, Sharing, WhenBusy},
    words,
};

/// What is known of a device, by its UUID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) memory: u64,
}

/// Who has which device, and who waits.
#[derive(Debug, Default)]
pub(crate) struct Leases(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    devices: BTreeMap<String, Known>,
    /// Of devices that somebody has.
    used: BTreeMap<String, Use>,
    /// The one that came first is first.
    waiting: VecDeque<Waiting>,
    next: u64,
    why_none: String,
}

#[derive(Debug)]
struct Waiting {
    number: u64,
    request: Request,
    answer: oneshot::Sender<Result<Lease, LeaseError>>,
}

/// GPUs that one has; given back when it is dropped.
#[derive(Debug)]
pub struct Lease {
    leases: Arc<Leases>,
    request: Request,
    devices: Vec<(String, u32)>,
}

impl Lease {
    /// UUID and index of each device.
    pub fn devices(&self) -> &[(String, u32)] {
        &self.devices
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        lock(&self.leases.0).give_back(self);
        self.leases.give_out();
    }
}

/// A place in the line, left when it is dropped.
struct Place<'l> {
    leases: &'l Arc<Leases>,
    number: u64,
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        let left = {
            let mut state = lock(&self.leases.0);
            let at = state
                .waiting
                .iter()
                .position(|waiting| waiting.number == self.number);
            at.and_then(|at| state.waiting.remove(at))
        };
        if left.is_some() {
            self.leases.give_out();
        }
    }
}

impl Leases {
    /// These are the devices now. Whoever waits for what is no longer there is told.
    pub(crate) fn know(self: &Arc<Self>, devices: BTreeMap<String, Known>, why_none: Option<&str>) {
        let disappointed = {
            let mut state = lock(&self.0);
            state.why_none = why_none.unwrap_or_default().to_owned();
            if state.devices == devices {
                return;
            }
            state.devices = devices;
            let waiting = std::mem::take(&mut state.waiting);
            let (can, cannot): (Vec<_>, Vec<_>) = waiting
                .into_iter()
                .map(|waiting| (state.check(&[waiting.request]), waiting))
                .partition(|(outcome, _)| outcome.is_ok());
            state.waiting = can.into_iter().map(|(_, waiting)| waiting).collect();
            cannot
        };
        for (outcome, waiting) in disappointed {
            if let Err(error) = outcome {
                waiting.answer.send(Err(error)).ok();
            }
        }
        self.give_out();
    }

    /// Who has a device.
    pub(crate) fn used(&self, uuid: &str) -> Use {
        lock(&self.0).used.get(uuid).copied().unwrap_or_default()
    }

    /// Nothing when all of these could be had at once, were nobody else here.
    pub(crate) fn check(&self, requests: &[Request]) -> Result<(), LeaseError> {
        lock(&self.0).check(requests)
    }

    /// Takes devices, now or in turn.
    pub(crate) async fn acquire(self: &Arc<Self>, request: Request) -> Result<Lease, LeaseError> {
        let (answer, answered) = oneshot::channel();
        let number = {
            let mut state = lock(&self.0);
            state.check(&[request])?;
            if request.when_busy == WhenBusy::Fail {
                let kept = state.kept();
                return match state.pick(&request, &kept) {
                    Some(devices) => Ok(state.take(self, request, devices)),
                    None => Err(LeaseError::Busy(state.busy(&request))),
                };
            }
            let number = state.next;
            state.next += 1;
            state.waiting.push_back(Waiting {
                number,
                request,
                answer,
            });
            number
        };
        let _place = Place { leases: self, number };
        self.give_out();
        answered
            .await
            .unwrap_or_else(|_| Err(LeaseError::Driver("a place in the line was lost".to_owned())))
    }

    /// Gives devices to those whose turn it is.
    fn give_out(self: &Arc<Self>) {
        loop {
            let next = lock(&self.0).next(self);
            // Sent without the lock: a lease whose taker is gone meanwhile comes straight back.
            let Some((answer, lease)) = next else { return };
            answer.send(Ok(lease)).ok();
        }
    }
}

impl State {
    /// The first in line who can have what he wants.
    fn next(&mut self, leases: &Arc<Leases>) -> Option<(oneshot::Sender<Result<Lease, LeaseError>>, Lease)> {
        let mut kept = HashSet::new();
        let mut found = None;
        for (at, waiting) in self.waiting.iter().enumerate() {
            if let Some(devices) = self.pick(&waiting.request, &kept) {
                found = Some((at, devices));
                break;
            }
            kept.extend(self.fitting(&waiting.request));
        }
        let (at, devices) = found?;
        let waiting = self.waiting.remove(at)?;
        let lease = self.take(leases, waiting.request, devices);
        Some((waiting.answer, lease))
    }

    /// The devices that are kept for those who wait.
    fn kept(&self) -> HashSet<String> {
        let waiting = self.waiting.iter();
        waiting
            .flat_map(|waiting| self.fitting(&waiting.request))
            .collect()
    }

    /// The devices that would do, used or not.
    fn fitting(&self, request: &Request) -> Vec<String> {
        let fits = |known: &Known| known.memory >= request.minimum_memory;
        let devices = self.devices.iter().filter(|(_, known)| fits(known));
        devices.map(|(uuid, _)| uuid.clone()).collect()
    }

    /// Devices for a request, without those that are kept: those that leave the most to others.
    fn pick(&self, request: &Request, kept: &HashSet<String>) -> Option<Vec<String>> {
        let mut free: Vec<_> = self
            .fitting(request)
            .into_iter()
            .filter(|uuid| !kept.contains(uuid))
            .filter_map(|uuid| Some((self.left_over(&uuid, request)?, uuid)))
            .collect();
        free.sort();
        let count = request.count as usize;
        let devices = free
            .into_iter()
            .take(count)
            .map(|(_, uuid)| uuid)
            .collect::<Vec<_>>();
        (devices.len() == count).then_some(devices)
    }

    /// How good a choice a device is, the least being the best; none when it cannot be had now. Ones that others share
    /// already, then small ones, then by number.
    fn left_over(&self, uuid: &str, request: &Request) -> Option<(bool, u64, u32)> {
        let known = self.devices.get(uuid)?;
        let memory = match (self.used.get(uuid).copied().unwrap_or_default(), request.sharing) {
            (Use::Free, _) => return Some((true, known.memory, known.index)),
            (Use::Shared { memory, .. }, Sharing::Shared) => memory,
            (Use::Shared { .. } | Use::Exclusive, _) => return None,
        };
        let left = known
            .memory
            .checked_sub(memory)?
            .checked_sub(request.minimum_memory)?;
        Some((false, left, known.index))
    }

    fn take(&mut self, leases: &Arc<Leases>, request: Request, devices: Vec<String>) -> Lease {
        let index = |uuid: &String| self.devices.get(uuid).map_or(0, |known| known.index);
        let lease = Lease {
            leases: Arc::clone(leases),
            request,
            devices: devices.iter().map(|uuid| (uuid.clone(), index(uuid))).collect(),
        };
        for uuid in devices {
            let used = self.used.entry(uuid).or_default();
            *used = match (request.sharing, *used) {
                (Sharing::Exclusive, _) => Use::Exclusive,
                (Sharing::Shared, Use::Shared { holders, memory }) => Use::Shared {
                    holders: holders + 1,
                    memory: memory + request.minimum_memory,
                },
                (Sharing::Shared, _) => Use::Shared {
                    holders: 1,
                    memory: request.minimum_memory,
                },
            };
        }
        lease
    }

    fn give_back(&mut self, lease: &Lease) {
        for (uuid, _) in &lease.devices {
            match self.used.get_mut(uuid) {
                Some(Use::Shared { holders, memory }) if *holders > 1 => {
                    *holders -= 1;
                    *memory -= lease.request.minimum_memory;
                }
                _ => {
                    self.used.remove(uuid);
                }
            }
        }
    }

    fn check(&self, requests: &[Request]) -> Result<(), LeaseError> {
        let mut alone = Self {
            devices: self.devices.clone(),
            ..Self::default()
        };
        let leases = Arc::default();
        let mut given = Vec::new();
        // Those who want devices for themselves first: what is left can be shared.
        let mut order: Vec<_> = requests.iter().collect();
        order.sort_by_key(|request| {
            (
                request.sharing == Sharing::Shared,
                std::cmp::Reverse(request.minimum_memory),
            )
        });
        for request in order {
            if request.count == 0 {
                return Err(LeaseError::Never(
                    "a request for no GPU: ask for 1 at least".to_owned(),
                ));
            }
            let devices = alone.pick(request, &HashSet::new());
            let devices = devices.ok_or_else(|| LeaseError::Never(self.never(requests)))?;
            given.push(alone.take(&leases, *request, devices));
        }
        Ok(())
    }

    fn never(&self, requests: &[Request]) -> String {
        let wanted: Vec<_> = requests.iter().map(ToString::to_string).collect();
        let wanted = wanted.join(" and ");
        let wanted = if requests.len() > 1 {
            format!("a step and its services ask for {wanted} at once")
        } else {
            format!("a step asks for {wanted}")
        };
        if !self.devices.is_empty() {
            return format!(
                "{wanted}, and this engine can never give that: it has {}",
                self.there_is()
            );
        }
        let why = if self.why_none.is_empty() {
            "those that are here can be given to no step"
        } else {
            &self.why_none
        };
        format!("{wanted}, and this engine has none to give: {why}")
    }

    fn busy(&self, request: &Request) -> String {
        let waiting = match self.waiting.len() {
            0 => String::new(),
            count => format!(", {count} waiting"),
        };
        format!(
            "a step asks for {request} and will not wait, and what would do is in use: this engine has {}, {} taken{waiting}",
            self.there_is(),
            self.used.len()
        )
    }

    /// The devices in words, those of a kind together.
    fn there_is(&self) -> String {
        let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
        for known in self.devices.values() {
            let kind = format!("{} with {}", known.name, words::memory(known.memory));
            *kinds.entry(kind).or_default() += 1;
        }
        let kinds: Vec<_> = kinds
            .iter()
            .map(|(kind, count)| format!("{count} × {kind}"))
            .collect();
        format!("{} ({})", words::gpus(self.devices.len()), kinds.join(", "))
    }
}

#[cfg(test)]
mod tests;
