//! Evaluation: from a tree that is wanted to a snapshot that exists.
//!
//! A tree is looked up by its definition key, from the target backwards: only when it is missing are its inputs made. A step
//! whose inputs are other trees with the same content as before is found by content. What is missing runs once, however
//! many ask, as a task of its own; it is cancelled when the last of those who wait is gone.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Instant,
};

use futures::{
    FutureExt,
    future::{BoxFuture, Shared, WeakShared},
};
use tokio_util::sync::CancellationToken;
use wharf_digest::Digest;
use wharf_graph::{
    Error,
    build::FILE_MODE,
    gpu::GpuRequest,
    op::{Expect, Stream},
    plan::{Location, Make, Step, Tree},
};
use wharf_proto::v1::{Finished, Kind, Outcome, Started, event};
use wharf_store::{ResultRecord, Snapshot, Spent};

use crate::{
    audience::Audience,
    engine::Engine,
    session::{Session, SessionId, lock},
    step::{After, Used},
};

/// A tree that exists.
#[derive(Clone, Debug)]
pub(crate) struct Made {
    /// The layers.
    pub(crate) snapshot: Snapshot,
    /// Of a step: how it ended and what it printed.
    pub(crate) output: Option<StepOutput>,
    /// What it took when it was made.
    pub(crate) spent: Spent,
}

/// How a step ended and what it printed.
#[derive(Clone, Debug)]
pub(crate) struct StepOutput {
    pub(crate) exit_code: i32,
    pub(crate) stdout: Digest,
    pub(crate) stderr: Digest,
    pub(crate) combined: Digest,
}

type Outcomes = Result<Arc<Made>, Error>;
type Flight = Shared<BoxFuture<'static, Outcomes>>;

/// Work under way, by key; sessions that work apart have their own.
#[derive(Default)]
pub(crate) struct Flights(Mutex<HashMap<FlightId, InFlight>>);

/// What is the same work: the key, the session that works apart, what exit codes count as done, and how GPUs are come by.
type FlightId = (Digest, Option<SessionId>, Option<(Expect, Option<GpuRequest>)>);

struct InFlight {
    work: WeakShared<BoxFuture<'static, Outcomes>>,
    audience: Audience,
}

/// Takes work off the list when it has ended or nobody waits for it any more.
struct Landing {
    engine: Arc<Engine>,
    id: FlightId,
    audience: Audience,
}

impl Drop for Landing {
    fn drop(&mut self) {
        let mut flights = lock(&self.engine.flights.0);
        // It may have been begun again since.
        if flights
            .get(&self.id)
            .is_some_and(|flight| flight.audience.is(&self.audience))
        {
            flights.remove(&self.id);
        }
    }
}

impl Engine {
    /// The tree, made when it is not there.
    pub(crate) async fn realize(self: &Arc<Self>, session: &Arc<Session>, tree: &Arc<Tree>) -> Outcomes {
        self.realize_for(&Audience::of(session), tree).await
    }

    /// The tree, for all who wait for something that needs it.
    async fn realize_for(self: &Arc<Self>, audience: &Audience, tree: &Arc<Tree>) -> Outcomes {
        if let Some(made) = audience.made(&tree.key) {
            return Ok(made);
        }
        if let Some(made) = self.look_up(audience, tree)? {
            self.tell_hit(audience, tree, made.spent);
            audience.explain(tree, || {
                "remembered: the same command on the same inputs".to_owned()
            });
            audience.keep(tree.key, &made);
            return Ok(made);
        }
        let made = self.join_flight(audience, tree).await?;
        audience.keep(tree.key, &made);
        Ok(made)
    }

    /// Tells of a remembered tree, and of the steps below it that nobody had to look at.
    fn tell_hit(&self, audience: &Audience, tree: &Arc<Tree>, spent: Spent) {
        // That it cannot be read what they took is no reason to fail: it is not known, then.
        audience.tell_hit(tree, spent, &|keys| {
            self.look(|store| store.spent(keys)).unwrap_or_default()
        });
    }

    /// Many trees at once.
    pub(crate) async fn realize_all(
        self: &Arc<Self>,
        audience: &Audience,
        trees: impl IntoIterator<Item = Arc<Tree>>,
    ) -> Result<Vec<Arc<Made>>, Error> {
        let tasks = trees.into_iter().map(|tree| {
            let (engine, audience) = (Arc::clone(self), audience.clone());
            async move { engine.realize_for(&audience, &tree).await }
        });
        futures::future::try_join_all(tasks).await
    }

    /// A remembered result that this session may use.
    fn look_up(&self, audience: &Audience, tree: &Arc<Tree>) -> Result<Option<Arc<Made>>, Error> {
        if audience.without_cache().is_some() && tree.step().is_some() {
            return Ok(None);
        }
        let session = audience.sessions().into_iter().next().ok_or(Error::Cancelled)?;
        let record = self.look(|store| store.result_beside(&tree.key, &session.seen))?;
        Ok(record.and_then(|record| usable(tree, &record)))
    }

    /// Waits for the work on this tree, begun when nobody has.
    async fn join_flight(self: &Arc<Self>, audience: &Audience, tree: &Arc<Tree>) -> Outcomes {
        let id = (
            tree.key,
            audience.apart(),
            tree.step().map(|step| (step.expect, step.gpus)),
        );
        let flight = {
            let mut flights = lock(&self.flights.0);
            let under_way = flights
                .get(&id)
                .and_then(|flight| Some((flight.work.upgrade()?, &flight.audience)));
            if let Some((work, theirs)) = under_way {
                audience.wait_for(theirs);
                work
            } else {
                let own = Audience::default();
                audience.wait_for(&own);
                let work = self.begin(id, tree, own.clone());
                if let Some(weak) = work.downgrade() {
                    let flight = InFlight {
                        work: weak,
                        audience: own,
                    };
                    flights.insert(id, flight);
                }
                work
            }
        };
        flight.await
    }

    /// Starts the work in a task of its own: chains of thousands of trees do not nest, and what was begun ends in order
    /// when nobody waits any more.
    fn begin(self: &Arc<Self>, id: FlightId, tree: &Arc<Tree>, audience: Audience) -> Flight {
        let cancel = CancellationToken::new();
        let landing = Landing {
            engine: Arc::clone(self),
            id,
            audience: audience.clone(),
        };
        let (engine, tree) = (Arc::clone(self), Arc::clone(tree));
        let token = cancel.clone();
        let task = tokio::spawn(async move { engine.make(&tree, &audience, &token).await });
        async move {
            let _landing = landing;
            let _cancel_when_dropped = cancel.drop_guard();
            match task.await {
                Ok(outcome) => outcome,
                Err(error) => Err(Error::other(
                    "defect",
                    format!("work on a tree ended badly: {error}"),
                )),
            }
        }
        .boxed()
        .shared()
    }

    async fn make(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        audience: &Audience,
        cancel: &CancellationToken,
    ) -> Outcomes {
        let inputs = {
            let trees: Vec<_> = tree
                .inputs()
                .into_iter()
                .map(|Location { tree, .. }| tree)
                .collect();
            let inputs = async {
                self.check_gpus(tree).await?;
                self.realize_all(audience, trees).await
            };
            tokio::select! {
                inputs = inputs => inputs?,
                () = cancel.cancelled() => return Err(Error::Cancelled),
            }
        };
        let Some(step) = tree.step() else {
            return self.make_quietly(tree, &inputs, audience, cancel).await;
        };
        if let Some(made) = self.look_up_by_content(tree, step, &inputs, audience).await? {
            self.tell_hit(audience, tree, made.spent);
            return Ok(made);
        }
        let session = audience.sessions().into_iter().next().ok_or(Error::Cancelled)?;
        let bound = tokio::select! {
            bound = self.bind(&session, &step.services) => bound?,
            () = cancel.cancelled() => return Err(Error::Cancelled),
        };
        let ready = async {
            let volumes = self.volumes.acquire(step).await;
            let gpus = self.lease_gpus(step).await?;
            Ok::<_, Error>((self.turns.acquire(audience).await, volumes, gpus))
        };
        let (turn, _volumes, gpus) = tokio::select! {
            held = ready => held?,
            () = cancel.cancelled() => return Err(Error::Cancelled),
        };
        let started = Instant::now();
        audience.tell(
            tree.key,
            &event::What::Started(Started {
                title: tree.title(),
                kind: Kind::Step.into(),
            }),
        );
        let mut after = After::default();
        let run = async |cancel: &CancellationToken| {
            self.run_step(tree, step, &inputs, &bound, &gpus, audience, cancel, &mut after)
                .await
        };
        let outcome = bound.while_up(cancel, run).await;
        let microseconds = started.elapsed().as_micros() as u64;
        let finished = finished(&outcome, microseconds, gpus.count(), after.used);
        audience.tell(tree.key, &event::What::Finished(finished));
        if let (Err(error), Some(left)) = (&outcome, after.left) {
            drop(turn);
            // Seldom needed, and large: it is not part of what every waiting step holds.
            Box::pin(self.look_around(step, *left, error, &bound, audience, cancel)).await;
        }
        outcome
    }

    /// What no step makes: images, edits, differences, fetched files and what they hold, commits.
    async fn make_quietly(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        inputs: &[Arc<Made>],
        audience: &Audience,
        cancel: &CancellationToken,
    ) -> Outcomes {
        let started = Instant::now();
        let snapshot = match &tree.make {
            Make::Empty => Snapshot::default(),
            Make::Image {
                manifest, reference, ..
            } => {
                let pull = self.pull(tree.key, manifest, reference, audience);
                tokio::select! {
                    snapshot = pull => snapshot?,
                    () = cancel.cancelled() => return Err(Error::Cancelled),
                }
            }
            Make::Upload { path, .. } => {
                let message = format!("what was sent of {path} is no longer in the store: run again");
                return Err(Error::Unavailable(message));
            }
            Make::Edit { edit, .. } => self.edit(tree, edit, inputs).await?,
            Make::Diff { lower, upper } => self.difference(lower, upper, inputs).await?,
            Make::Fetch { request, digest } => {
                let fetch = self.fetch(tree.key, request, digest, audience);
                tokio::select! {
                    snapshot = fetch => snapshot?,
                    () = cancel.cancelled() => return Err(Error::Cancelled),
                }
            }
            Make::Unpack { source } => self.unpack(source, inputs).await?,
            Make::Git {
                repository,
                commit,
                checkout,
            } => {
                let snapshots: Vec<_> = inputs.iter().map(|made| made.snapshot.clone()).collect();
                let work = self.check_out(tree.key, repository, commit, *checkout, &snapshots, audience);
                tokio::select! {
                    snapshot = work => snapshot?,
                    () = cancel.cancelled() => return Err(Error::Cancelled),
                }
            }
            Make::Output { stream, .. } => self.output_tree(&inputs[0], *stream).await?,
            Make::Exec(_) => return Err(Error::other("defect", "a step is not made quietly")),
        };
        let made = Arc::new(Made {
            snapshot,
            output: None,
            spent: Spent {
                duration_us: started.elapsed().as_micros() as u64,
                ..Spent::default()
            },
        });
        if !matches!(tree.make, Make::Empty) {
            self.remember(tree, inputs, &made).await?;
        }
        Ok(made)
    }

    /// A tree of one file: what a step printed.
    async fn output_tree(self: &Arc<Self>, of: &Made, stream: Stream) -> Result<Snapshot, Error> {
        let output = of.output.as_ref();
        let output = output.ok_or_else(|| Error::other("defect", "an output of what is no step"))?;
        let blob = match stream {
            Stream::Stdout => output.stdout,
            Stream::Stderr => output.stderr,
        };
        self.with_store(move |store| {
            let lost = || wharf_store::Error::NotFound("a step's output".to_owned());
            let mut content = store.blob(&blob)?.ok_or_else(lost)?;
            let (empty, path) = (Snapshot::default(), format!("/{}", stream.name()));
            wharf_store::edit::write_file(store, &empty, &path, &mut content, FILE_MODE, (0, 0))
        })
        .await
    }

    /// The result of the same command on inputs that are other trees with the same content.
    async fn look_up_by_content(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        step: &Step,
        inputs: &[Arc<Made>],
        audience: &Audience,
    ) -> Result<Option<Arc<Made>>, Error> {
        let op_key = tree.op_key;
        let ran_before =
            audience.without_cache().is_none() && self.look(|store| store.has_results_with_op(&op_key))?;
        let candidates = if ran_before {
            self.with_store(move |store| store.results_with_op(&op_key))
                .await?
        } else {
            Vec::new()
        };
        if candidates.is_empty() {
            audience.explain(tree, || {
                "not remembered: this command with these settings never ran to its end".to_owned()
            });
            return Ok(None);
        }
        let places: Vec<_> = tree.inputs().into_iter().map(|place| place.path).collect();
        let ours: Vec<Snapshot> = inputs.iter().map(|made| made.snapshot.clone()).collect();
        let compared = {
            let candidates = candidates.clone();
            self.with_store(move |store| compare(store, &places, &ours, &candidates))
                .await?
        };
        let Some(at) = compared.iter().position(Vec::is_empty) else {
            audience.explain(tree, || {
                let names: Vec<_> = compared[0].iter().map(|input| input_name(step, *input)).collect();
                format!("not remembered: {} changed", names.join(" and "))
            });
            return Ok(None);
        };
        let Some(made) = usable(tree, &candidates[at]) else {
            return Ok(None);
        };
        audience.explain(tree, || {
            "remembered: its inputs were made again, with the same content".to_owned()
        });
        self.remember(tree, inputs, &made).await?;
        Ok(Some(made))
    }

    async fn remember(
        self: &Arc<Self>,
        tree: &Arc<Tree>,
        inputs: &[Arc<Made>],
        made: &Arc<Made>,
    ) -> Result<(), Error> {
        let record = record(tree, inputs, made);
        self.with_store(move |store| store.put_result(&record)).await
    }
}

/// What is remembered of a tree that was made of these inputs.
pub(crate) fn record(tree: &Tree, inputs: &[Arc<Made>], made: &Made) -> ResultRecord {
    let output = made.output.as_ref();
    ResultRecord {
        key: tree.key,
        op_key: tree.op_key,
        inputs: if output.is_some() {
            inputs.iter().map(|made| made.snapshot.clone()).collect()
        } else {
            Vec::new()
        },
        output: made.snapshot.clone(),
        exit_code: output.map(|output| output.exit_code),
        stdout: output.map(|output| output.stdout),
        stderr: output.map(|output| output.stderr),
        log: output.map(|output| output.combined),
        spent: made.spent,
    }
}

/// A remembered result as this tree's, when its exit code is one that the tree expects: failures are judged on read, and
/// one that is not accepted runs again.
fn usable(tree: &Tree, record: &ResultRecord) -> Option<Arc<Made>> {
    let output = match tree.step() {
        None => None,
        Some(step) => {
            let exit_code = record.exit_code?;
            if !step.expect.accepts(exit_code) {
                return None;
            }
            Some(StepOutput {
                exit_code,
                stdout: record.stdout?,
                stderr: record.stderr?,
                combined: record.log?,
            })
        }
    };
    Some(Arc::new(Made {
        snapshot: record.output.clone(),
        output,
        spent: record.spent,
    }))
}

/// For each candidate the inputs whose content differs from ours. Shapes are compared first: what was changed has another
/// size, mostly, and then nothing is read of trees that may be large.
fn compare(
    store: &wharf_store::Store,
    places: &[String],
    ours: &[Snapshot],
    candidates: &[ResultRecord],
) -> Result<Vec<Vec<usize>>, wharf_store::Error> {
    let is_same = |own: &Snapshot, other: &Snapshot, place: &str| -> Result<bool, wharf_store::Error> {
        // What was evicted since cannot be compared.
        let shape = store.shape_digest_at(own, place)?;
        if store.shape_digest_at(other, place).ok() != Some(shape) {
            return Ok(false);
        }
        let own = store.content_digest_at(own, place)?;
        Ok(store
            .content_digest_at(other, place)
            .is_ok_and(|other| other == own))
    };
    let differing = |candidate: &ResultRecord| -> Result<Vec<usize>, wharf_store::Error> {
        let mut differing = Vec::new();
        for (at, place) in places.iter().enumerate() {
            let same = match candidate.inputs.get(at) {
                Some(theirs) if *theirs == ours[at] => true,
                Some(theirs) => is_same(&ours[at], theirs, place)?,
                None => false,
            };
            if !same {
                differing.push(at);
            }
        }
        Ok(differing)
    };
    candidates.iter().map(differing).collect()
}

/// What people call a step's input.
fn input_name(step: &Step, input: usize) -> String {
    match input.checked_sub(1) {
        None => "the root file system".to_owned(),
        Some(at) => {
            let mounts = step.mounts.iter().filter(|(_, mount)| mount.source().is_some());
            let mounts = mounts.map(|(path, _)| format!("what is mounted on {path}"));
            let services = step.services.iter().flat_map(|(name, service)| {
                let of_service = format!("what the service {name} is made of");
                service.inputs().into_iter().map(move |_| of_service.clone())
            });
            mounts.chain(services).nth(at).unwrap_or_default()
        }
    }
}

fn finished<T>(outcome: &Result<T, Error>, microseconds: u64, gpus: u32, used: Used) -> Finished {
    let (word, error) = match outcome {
        Ok(_) => (Outcome::Done, String::new()),
        Err(Error::Cancelled) => (Outcome::Cancelled, String::new()),
        Err(error) => (Outcome::Failed, error.to_string()),
    };
    Finished {
        outcome: word.into(),
        microseconds,
        error,
        gpus,
        cpu_microseconds: used.cpu_us,
        peak_memory: used.peak_memory,
    }
}
