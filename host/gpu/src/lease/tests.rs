use futures::{FutureExt, future::BoxFuture};

use super::*;

const GIB: u64 = 1 << 30;

/// Devices with so many GiB each, named by their number.
fn devices(gibibytes: &[u64]) -> Arc<Leases> {
    let leases = Arc::<Leases>::default();
    leases.know(known(gibibytes), None);
    leases
}

fn known(gibibytes: &[u64]) -> BTreeMap<String, Known> {
    let known = gibibytes.iter().enumerate().map(|(index, gibibytes)| {
        let known = Known {
            index: index as u32,
            name: "Test".to_owned(),
            memory: gibibytes * GIB,
        };
        (format!("GPU-{index}"), known)
    });
    known.collect()
}

fn alone(count: u32) -> Request {
    Request {
        count,
        minimum_memory: 0,
        sharing: Sharing::Exclusive,
        when_busy: WhenBusy::Wait,
    }
}

fn with(count: u32, gibibytes: u64) -> Request {
    Request {
        minimum_memory: gibibytes * GIB,
        ..alone(count)
    }
}

fn shared(gibibytes: u64) -> Request {
    Request {
        sharing: Sharing::Shared,
        ..with(1, gibibytes)
    }
}

fn at_once(request: Request) -> Request {
    Request {
        when_busy: WhenBusy::Fail,
        ..request
    }
}

fn take(leases: &Arc<Leases>, request: Request) -> Lease {
    let taken = leases.acquire(request).now_or_never();
    taken.expect("nobody has to be waited for").expect("a lease")
}

/// One who waits.
fn wants(leases: &Arc<Leases>, request: Request) -> BoxFuture<'static, Result<Lease, LeaseError>> {
    let leases = Arc::clone(leases);
    let mut wants = async move { leases.acquire(request).await }.boxed();
    // It stands in line from its first poll on.
    assert!((&mut wants).now_or_never().is_none(), "{request} can be had");
    wants
}

fn granted(wants: &mut BoxFuture<'static, Result<Lease, LeaseError>>) -> Option<Lease> {
    wants.now_or_never().map(|lease| lease.expect("a lease"))
}

fn numbers(lease: &Lease) -> Vec<u32> {
    lease.devices().iter().map(|(_, index)| *index).collect()
}

#[test]
fn an_exclusive_lease_is_of_a_whole_device() {
    let leases = devices(&[16, 16]);
    let one = take(&leases, alone(1));
    let other = take(&leases, alone(1));
    assert_ne!(numbers(&one), numbers(&other));
    let mut third = wants(&leases, shared(1));
    drop(one);
    let third = granted(&mut third).expect("what was given back");
    assert_eq!(
        leases.used(&third.devices()[0].0),
        Use::Shared {
            holders: 1,
            memory: GIB
        }
    );
    drop(third);
    assert_eq!(leases.used("GPU-0"), Use::Free);
}

#[test]
fn several_devices_are_had_together_or_not_at_all() {
    let leases = devices(&[16, 16, 16]);
    let one = take(&leases, alone(1));
    let mut three = wants(&leases, alone(3));
    drop(one);
    let three = granted(&mut three).expect("all are free");
    assert_eq!(numbers(&three), [0, 1, 2]);
}

#[test]
fn those_that_share_fill_one_device_before_the_next() {
    let leases = devices(&[16, 16]);
    let held: Vec<_> = [10, 6, 8]
        .map(|gibibytes| take(&leases, shared(gibibytes)))
        .into();
    let places: Vec<_> = held.iter().map(numbers).collect();
    assert_eq!(places, [[0], [0], [1]]);
    assert_eq!(
        leases.used("GPU-0"),
        Use::Shared {
            holders: 2,
            memory: 16 * GIB
        }
    );
    let mut more = wants(&leases, shared(9));
    let full = leases
        .acquire(at_once(shared(9)))
        .now_or_never()
        .expect("an answer");
    assert!(matches!(full, Err(LeaseError::Busy(_))), "{full:?}");
    drop(held);
    assert!(granted(&mut more).is_some());
}

#[test]
fn the_smallest_device_that_does_is_given() {
    let leases = devices(&[80, 24, 40]);
    assert_eq!(numbers(&take(&leases, with(1, 30))), [2]);
    assert_eq!(numbers(&take(&leases, alone(1))), [1]);
    assert_eq!(numbers(&take(&leases, with(2, 40))), [2, 0]);
}

#[test]
fn who_comes_first_is_served_first_and_nobody_goes_without() {
    let leases = devices(&[16, 16]);
    let (one, other) = (take(&leases, alone(1)), take(&leases, alone(1)));
    let mut both = wants(&leases, alone(2));
    let mut small = wants(&leases, alone(1));
    drop(one);
    // One is free, and kept for the one who wants two.
    assert!(granted(&mut small).is_none());
    let refused = leases
        .acquire(at_once(alone(1)))
        .now_or_never()
        .expect("an answer");
    let LeaseError::Busy(words) = refused.unwrap_err() else {
        panic!("it could never be had")
    };
    assert_eq!(
        words,
        "a step asks for 1 GPU and will not wait, and what would do is in use: this engine has 2 GPUs (2 × Test with 16.0 \
         GiB), 1 taken, 2 waiting"
    );
    drop(other);
    let both = granted(&mut both).expect("two are free");
    assert!(granted(&mut small).is_none());
    drop(both);
    assert!(granted(&mut small).is_some());
}

#[test]
fn who_waits_for_a_large_device_holds_nobody_up_who_takes_a_small_one() {
    let leases = devices(&[80, 8]);
    let large = take(&leases, with(1, 40));
    let mut next = wants(&leases, with(1, 40));
    let small = take(&leases, with(1, 4));
    assert_eq!(numbers(&small), [1]);
    drop(large);
    assert_eq!(numbers(&granted(&mut next).expect("it is free")), [0]);
}

#[test]
fn who_gives_up_leaves_the_line() {
    let leases = devices(&[16, 16]);
    let one = take(&leases, alone(1));
    let both = wants(&leases, alone(2));
    let mut small = wants(&leases, alone(1));
    drop(both);
    let small = granted(&mut small).expect("nobody keeps the other one");
    drop(small);
    // Granted and dropped before it was taken: it comes back.
    let all = wants(&leases, alone(2));
    drop(one);
    drop(all);
    assert_eq!(numbers(&take(&leases, alone(2))), [0, 1]);
}

#[test]
fn what_can_never_be_had_fails_at_once_and_says_what_there_is() {
    let leases = devices(&[16, 16, 80]);
    let _held = take(&leases, alone(3));
    for (request, words) in [
        (
            alone(4),
            "a step asks for 4 GPUs, and this engine can never give that",
        ),
        (
            with(2, 40),
            "a step asks for 2 GPUs with at least 40.0 GiB of memory each, and this engine can never give that: it has 3 GPUs \
             (2 × Test with 16.0 GiB, 1 × Test with 80.0 GiB)",
        ),
        (alone(0), "ask for 1 at least"),
    ] {
        let refused = leases.acquire(request).now_or_never().expect("an answer at once");
        let LeaseError::Never(said) = refused.unwrap_err() else {
            panic!("it may be had later")
        };
        assert!(said.contains(words), "{said}");
    }
    // Each could be had, but not all at once.
    assert!(leases.check(&[alone(2), shared(60)]).is_ok());
    assert!(leases.check(&[alone(3), shared(1)]).is_err());
    assert!(leases.check(&[shared(50), shared(30)]).is_ok());
    assert!(leases.check(&[shared(50), shared(31)]).is_err());
}

#[test]
fn who_waits_for_a_device_that_goes_is_told() {
    let leases = devices(&[16, 80]);
    let large = take(&leases, with(1, 80));
    let mut waiting = wants(&leases, with(1, 80));
    leases.know(known(&[16]), None);
    let told = (&mut waiting).now_or_never().expect("an answer");
    assert!(matches!(told, Err(LeaseError::Never(_))), "{told:?}");
    drop(large);
    leases.know(BTreeMap::new(), Some("the driver is gone"));
    let none = leases.acquire(alone(1)).now_or_never().expect("an answer");
    assert_eq!(
        none.unwrap_err().to_string(),
        "a step asks for 1 GPU, and this engine has none to give: the driver is gone"
    );
}

/// Sixteen at once, over and over: nobody ever has what another one has.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_device_is_ever_had_twice() {
    let leases = devices(&[16, 16, 16, 16]);
    let held = Arc::<Mutex<HashSet<u32>>>::default();
    let clients = (0..16_u32).map(|client| {
        let (leases, held) = (Arc::clone(&leases), Arc::clone(&held));
        tokio::spawn(async move {
            for turn in 0..50 {
                let lease = leases
                    .acquire(alone(1 + (client + turn) % 4))
                    .await
                    .expect("a lease");
                let numbers = numbers(&lease);
                assert!(numbers.iter().all(|number| lock(&held).insert(*number)));
                tokio::task::yield_now().await;
                numbers.iter().for_each(|number| {
                    lock(&held).remove(number);
                });
            }
        })
    });
    for client in futures::future::join_all(clients).await {
        client.expect("nobody has another one's device");
    }
    assert!(lock(&leases.0).used.is_empty() && lock(&leases.0).waiting.is_empty());
}
