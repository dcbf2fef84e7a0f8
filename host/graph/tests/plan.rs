//! What a graph means: keys, folding, mounts and failures.

use std::sync::Arc;

use proptest::prelude::*;
use wharf_digest::Digest;
use wharf_graph::{
    Container, Directory, Error, File, Secret, Volume,
    build::Edit,
    gpu::{GpuRequest, GpuSharing, WhenBusy},
    image::{ImageConfig, Platform},
    op::{
        Configure, CopyOptions, ExecOptions, Expect, FileEdit, Filter, HealthCheckOptions, Limits, Mount,
        Network, Op, SecretId, Sharing,
    },
    plan::{ContainerPlan, ImagePin, Make, Pins, Planned, Planner},
};

fn words(text: &str) -> Vec<String> {
    text.split_whitespace().map(str::to_owned).collect()
}

fn base() -> Container {
    Container::image("base", None)
}

fn pins(node: &Arc<wharf_graph::Node>, content: &str) -> Pins {
    let mut pins = Pins::default();
    for node in node.closure(|_| false) {
        match node.op() {
            Op::Image { .. } => {
                let mut config = ImageConfig {
                    default_args: words("sh -c default"),
                    ..ImageConfig::default()
                };
                config.entrypoint = words("/entry");
                config.set_env("PATH", "/bin".to_owned());
                let pin = ImagePin {
                    manifest: "sha256:1".to_owned(),
                    reference: "base@sha256:1".to_owned(),
                    platform: Platform::host(),
                    config,
                };
                pins.images.insert(node.id(), pin);
            }
            Op::HostDirectory { .. } | Op::HostFile(_) | Op::OnTarget { .. } => {
                pins.uploads.insert(node.id(), Digest::of(content.as_bytes()));
            }
            _ => {}
        }
    }
    pins
}

fn plan_with(container: &Container, content: &str) -> Result<Arc<ContainerPlan>, Error> {
    let mut planner = Planner::new(Platform::host(), 7);
    match planner
        .plan(container.node(), &pins(container.node(), content))
        .unwrap()
    {
        Planned::Container(plan) => Ok(plan),
        Planned::Failed(error) => Err(error),
        other => panic!("{other:?} is no container"),
    }
}

fn plan(container: &Container) -> Arc<ContainerPlan> {
    plan_with(container, "content").unwrap()
}

fn key(container: &Container) -> Digest {
    plan(container).root.key
}

fn run(container: &Container) -> Container {
    container.with_exec(&words("make all"), ExecOptions::default())
}

fn place(directory: &Directory) -> Result<wharf_graph::plan::Location, Error> {
    let mut planner = Planner::new(Platform::host(), 7);
    match planner
        .plan(directory.node(), &pins(directory.node(), "content"))
        .unwrap()
    {
        Planned::Directory(place) => Ok(place),
        Planned::Failed(error) => Err(error),
        other => panic!("{other:?} is no directory"),
    }
}

#[test]
fn b27_where_a_host_directory_lies_is_not_in_the_key_its_content_is() {
    let on = |path: &str| {
        run(&base().edit(Edit::copy_directory(
            "/src",
            &Directory::host(path, Filter::default()),
            CopyOptions::default(),
        )))
    };
    assert_eq!(key(&on("/home/a/src")), key(&on("/builds/7/src")));
    let other_content = plan_with(&on("/home/a/src"), "other").unwrap().root.key;
    assert_ne!(key(&on("/home/a/src")), other_content);
}

#[test]
fn b27_what_a_target_makes_is_its_content_wherever_and_of_whatever_it_is_made() {
    let of = |directory: &Directory| run(&base().with_mounted_directory("/src", directory, None));
    let made = run(&base()).directory("/made");
    let on_box = of(&made.on_target("box"));
    assert_eq!(key(&on_box), key(&of(&Directory::empty().on_target("other"))));
    assert_eq!(
        key(&on_box),
        key(&of(&Directory::host("/home/a/src", Filter::default())))
    );
    let other_content = plan_with(&on_box, "other").unwrap().root.key;
    assert_ne!(key(&on_box), other_content);
    // The engine that is asked for it is not told of what it is made.
    let closure = on_box.node().closure(|_| false);
    let is_told = |node: &Directory| closure.iter().any(|told| told.id() == node.node().id());
    assert!(is_told(&made.on_target("box")) && !is_told(&made));
    assert_eq!(
        made.on_target("box").node().elsewhere().unwrap().id(),
        made.node().id()
    );
}

#[test]
fn b27_secrets_and_caches_are_in_the_key_by_owner_and_source() {
    let secret = |owner: &str, uri: &str| Secret {
        name: "TOKEN".to_owned(),
        id: SecretId {
            owner: owner.to_owned(),
            uri: uri.to_owned(),
        },
    };
    let with = |secret: &Secret| run(&base().with_mounted_secret("/run/token", secret, None, None));
    assert_eq!(
        key(&with(&secret("one", "env:T"))),
        key(&with(&secret("one", "env:T")))
    );
    assert_ne!(
        key(&with(&secret("one", "env:T"))),
        key(&with(&secret("two", "env:T")))
    );
    assert_ne!(
        key(&with(&secret("one", "env:T"))),
        key(&with(&secret("one", "env:U")))
    );
    let cached = |scope: &str| run(&base().with_mounted_cache("/cache", &Volume::new(scope, "pip")));
    assert_ne!(key(&cached("one")), key(&cached("two")));
    // How a volume is shared is not visible to the process, unless it cannot write.
    let shared =
        |sharing| run(&base().with_mounted_cache("/cache", &Volume::new("one", "pip").with_sharing(sharing)));
    assert_eq!(key(&shared(Sharing::Locked)), key(&cached("one")));
    assert_ne!(key(&shared(Sharing::ReadOnly)), key(&cached("one")));
}

#[test]
fn b28_order_of_steps_matters() {
    let one = base()
        .with_exec(&words("a"), ExecOptions::default())
        .with_exec(&words("b"), ExecOptions::default());
    let other = base()
        .with_exec(&words("b"), ExecOptions::default())
        .with_exec(&words("a"), ExecOptions::default());
    assert_ne!(key(&one), key(&other));
}

#[test]
fn b28_what_a_process_cannot_see_is_not_in_its_key() {
    let plain = key(&run(&base()));
    let labelled = base()
        .configure(Configure::Label("a".to_owned(), "b".to_owned()))
        .configure(Configure::Expose("80/tcp".to_owned()))
        .configure(Configure::HealthCheck {
            args: words("curl -f localhost"),
            options: HealthCheckOptions::default(),
        });
    assert_eq!(key(&run(&labelled)), plain);
    let options = ExecOptions {
        expect: Expect::Any,
        limits: Limits {
            memory: Some(1 << 20),
            ..Limits::default()
        },
        reason: Some("why".to_owned()),
        ..ExecOptions::default()
    };
    assert_eq!(key(&base().with_exec(&words("make all"), options)), plain);
    assert_ne!(key(&run(&base().with_network(Network::All))), plain);
    let with_hosts = |hosts: &[&str]| key(&run(&base().with_network(hosts_of(hosts))));
    assert_ne!(with_hosts(&["a.example"]), plain);
    assert_ne!(
        with_hosts(&["a.example"]),
        with_hosts(&["a.example", "b.example"])
    );
    assert_eq!(
        with_hosts(&["b.example", "A.example"]),
        with_hosts(&["a.example", "b.example"])
    );
    let volatile =
        |value: &str| run(&base().configure(Configure::VolatileEnv("B".to_owned(), value.to_owned())));
    assert_eq!(key(&volatile("1")), key(&volatile("2")));
}

#[test]
fn how_many_gpus_a_step_has_is_in_its_key_and_how_it_comes_by_them_is_not() {
    let with = |request: GpuRequest| key(&run(&base().with_gpus(Some(request))));
    let one = GpuRequest::default();
    assert_ne!(with(one), key(&run(&base())));
    assert_ne!(with(GpuRequest { count: 2, ..one }), with(one));
    let other_ways = GpuRequest {
        minimum_memory: 1 << 30,
        sharing: GpuSharing::Shared,
        when_busy: WhenBusy::Fail,
        ..one
    };
    assert_eq!(with(other_ways), with(one));
    let without = base().with_gpus(Some(one)).with_gpus(None);
    assert_eq!(key(&run(&without)), key(&run(&base())));
    let none = base().with_gpus(Some(GpuRequest { count: 0, ..one }));
    let refused = plan_with(&none, "").unwrap_err();
    assert!(refused.to_string().contains("ask for 1 at least"), "{refused}");
}

#[test]
fn gpus_are_the_module_s_that_asked_for_them() {
    let own = base().with_gpus(Some(GpuRequest::default()));
    let gpus = |container: &Container| plan_with(container, "").unwrap().gpus;
    let handed = own.handed_over("one", "two");
    assert_eq!(gpus(&handed), None);
    assert_eq!(
        gpus(&handed.handed_over("two", "one")),
        Some(GpuRequest::default())
    );
}

#[test]
fn a_step_that_is_never_looked_up_has_a_key_of_this_run() {
    let options = || ExecOptions {
        no_cache: true,
        ..ExecOptions::default()
    };
    let container = base().with_exec(&words("date"), options());
    let mut other_run = Planner::new(Platform::host(), 8);
    let Ok(Planned::Container(other)) = other_run.plan(container.node(), &pins(container.node(), "")) else {
        panic!()
    };
    assert_ne!(plan(&container).root.key, other.root.key);
}

#[test]
fn what_is_one_clients_alone_has_keys_of_its_own() {
    let key_of = |container: &Container, scope: Option<&str>| {
        let mut planner = Planner::new(Platform::host(), 7).within(scope.map(str::to_owned));
        let pins = pins(container.node(), "content");
        let Planned::Container(plan) = planner.plan(container.node(), &pins).unwrap() else {
            panic!("no container")
        };
        plan.root.key
    };
    let secret = SecretId {
        owner: "team".to_owned(),
        uri: "env:TOKEN".to_owned(),
    };
    let service = wharf_graph::Service::host(
        "localhost",
        &[wharf_graph::op::HostPort {
            host: 5432,
            service: 5432,
        }],
    );
    for own in [
        base().configure(Configure::SecretEnv("TOKEN".to_owned(), secret)),
        base().configure(Configure::VolatileEnv("BUILD".to_owned(), "7".to_owned())),
        base().with_mounted_cache("/cache", &Volume::new("team", "cache")),
        base().with_service("db", &service),
    ] {
        let keys = [None, Some("ann"), Some("bob")].map(|scope| key_of(&run(&own), scope));
        assert!(keys[0] != keys[1] && keys[1] != keys[2] && keys[0] != keys[2]);
        assert_eq!(keys[1], key_of(&run(&own), Some("ann")));
    }
    // All else is what it is for everybody.
    let shared = run(&base().edit(Edit::copy_directory(
        "/src",
        &Directory::host("/src", Filter::default()),
        CopyOptions::default(),
    )));
    assert_eq!(key_of(&shared, None), key_of(&shared, Some("ann")));
}

#[test]
fn the_operation_key_is_the_same_on_other_inputs() {
    let on = |command: &str| run(&base().with_exec(&words(command), ExecOptions::default()));
    assert_ne!(plan(&on("a")).root.key, plan(&on("b")).root.key);
    assert_eq!(plan(&on("a")).root.op_key, plan(&on("b")).root.op_key);
}

fn step_args(container: &Container) -> Vec<String> {
    plan(container).root.step().expect("a step").args.clone()
}

#[test]
fn b01_entrypoint_is_used_only_when_asked_for_and_resets_default_args() {
    let asked = || ExecOptions {
        use_entrypoint: true,
        ..ExecOptions::default()
    };
    assert_eq!(
        step_args(&base().with_exec(&words("a"), ExecOptions::default())),
        ["a"]
    );
    assert_eq!(
        step_args(&base().with_exec(&words("a"), asked())),
        ["/entry", "a"]
    );
    assert_eq!(
        step_args(&base().with_exec(&[], asked())),
        ["/entry", "sh", "-c", "default"]
    );
    let entrypoint = |keep| Configure::Entrypoint {
        args: words("/other"),
        keep_default_args: keep,
    };
    assert_eq!(
        step_args(&base().configure(entrypoint(false)).with_exec(&[], asked())),
        ["/other"]
    );
    let kept = base().configure(entrypoint(true)).with_exec(&[], asked());
    assert_eq!(step_args(&kept), ["/other", "sh", "-c", "default"]);
}

#[test]
fn a_command_without_words_is_an_error_when_it_is_forced() {
    let container = Container::scratch(None).with_exec(&[], ExecOptions::default());
    assert!(matches!(plan_with(&container, ""), Err(Error::Invalid(_))));
}

#[test]
fn what_is_built_on_a_failure_fails_with_it() {
    let error = Error::Invalid("no such thing".to_owned());
    let container = run(&base().edit(Edit::copy_file(
        "/f",
        &File::failed(error.clone()),
        CopyOptions::default(),
    )));
    assert_eq!(plan_with(&container, "").unwrap_err(), error);
}

#[test]
fn a_path_in_a_mounted_directory_is_that_directorys() {
    let source = Directory::host("/src", Filter::default());
    let container = run(&base().with_mounted_directory("/work/src", &source, None));
    let found = place(&container.directory("/work/src/lib")).unwrap();
    assert!(matches!(found.tree.make, Make::Upload { .. }));
    assert_eq!(found.path, "/lib");
    // What is mounted below a path is seen from there.
    let above = place(&container.directory("/work")).unwrap();
    assert_eq!(above.tree.inputs().len(), 2);
    // The root file system has no mounts.
    assert!(place(&container.rootfs()).unwrap().tree.step().is_some());
}

#[test]
fn a_path_in_a_cache_volume_is_no_part_of_a_snapshot() {
    let container = base().with_mounted_cache("/cache", &Volume::new("scope", "pip"));
    assert!(matches!(
        place(&container.directory("/cache/x")),
        Err(Error::Invalid(_))
    ));
}

#[test]
fn relative_paths_start_at_the_working_directory() {
    let container = base()
        .configure(Configure::Workdir("/a".to_owned()))
        .configure(Configure::Workdir("b".to_owned()));
    assert_eq!(plan(&container).config.workdir, "/a/b");
    let found = place(&container.directory("../c")).unwrap();
    assert_eq!(found.path, "/a/c");
}

#[test]
fn a_renamed_file_keeps_its_content_under_another_name() {
    let file = Directory::host("/src", Filter::default())
        .file("a/b.txt")
        .edit(FileEdit::Rename("c.txt".to_owned()));
    let mut planner = Planner::new(Platform::host(), 7);
    let Ok(Planned::File(place)) = planner.plan(file.node(), &pins(file.node(), "")) else {
        panic!()
    };
    assert_eq!(place.path, "/c.txt");
    let Make::Edit { edit, .. } = &place.tree.make else {
        panic!()
    };
    assert_eq!(edit.sources()[0].path, "/a/b.txt");
}

#[test]
fn a_chain_of_ten_thousand_steps_is_planned_and_dropped() {
    let mut container = base();
    for step in 0..10_000 {
        container = container.with_exec(&[step.to_string()], ExecOptions::default());
    }
    assert!(plan(&container).root.step().is_some());
}

/// Settings that do not interact: each name is set once.
fn settings() -> Vec<Configure> {
    vec![
        Configure::Env {
            name: "A".to_owned(),
            value: "1".to_owned(),
            expand: false,
        },
        Configure::Env {
            name: "B".to_owned(),
            value: String::new(),
            expand: false,
        },
        Configure::Workdir("/w".to_owned()),
        Configure::User("app".to_owned()),
        Configure::Label("l".to_owned(), "v".to_owned()),
        Configure::Expose("80/tcp".to_owned()),
        Configure::HealthCheck {
            args: words("true"),
            options: HealthCheckOptions::default(),
        },
        Configure::VolatileEnv("V".to_owned(), "x".to_owned()),
        Configure::SecretEnv(
            "S".to_owned(),
            SecretId {
                owner: "o".to_owned(),
                uri: "env:S".to_owned(),
            },
        ),
        Configure::Network(Network::All),
    ]
}

fn hosts_of(hosts: &[&str]) -> Network {
    Network::Hosts(wharf_hosts::Hosts::parse(hosts).unwrap())
}

#[test]
fn b46_a_container_is_sealed_for_the_next_module_and_open_again_for_its_own() {
    let secret = |name: &str| Secret {
        name: name.to_owned(),
        id: SecretId {
            owner: name.to_owned(),
            uri: format!("env:{name}"),
        },
    };
    let own = base()
        .with_mounted_cache("/cache", &Volume::new("one", "c"))
        .with_mounted_secret("/secret", &secret("A"), None, None)
        .with_mounted_directory("/shared", &Directory::empty(), None)
        .configure(Configure::SecretEnv("A".to_owned(), secret("A").id))
        .configure(Configure::VolatileEnv("V".to_owned(), "1".to_owned()))
        .with_network(hosts_of(&["a.example"]));
    let seen = |container: &Container| {
        let plan = plan_with(container, "").unwrap();
        let mounts = plan.mounts.keys().cloned().collect::<Vec<_>>().join(" ");
        let secrets = plan.secret_env.keys().cloned().collect::<Vec<_>>().join(" ");
        (mounts, secrets, plan.volatile_env.len(), plan.network.clone())
    };
    let all = seen(&own);
    assert_eq!(
        all,
        (
            "/cache /secret /shared".to_owned(),
            "A".to_owned(),
            1,
            hosts_of(&["a.example"])
        )
    );
    let handed = own.handed_over("one", "two");
    assert_eq!(
        seen(&handed),
        ("/shared".to_owned(), String::new(), 0, Network::None)
    );
    let theirs = handed
        .configure(Configure::SecretEnv("B".to_owned(), secret("B").id))
        .with_mounted_cache("/cache", &Volume::new("two", "c"));
    assert_eq!(seen(&theirs.handed_over("two", "one")), all);
    let again = theirs.handed_over("two", "one").handed_over("one", "two");
    assert_eq!(
        seen(&again),
        ("/cache /shared".to_owned(), "B".to_owned(), 0, Network::None)
    );
    // A step keeps what its maker had, whoever forces it.
    let step = run(&own).handed_over("one", "two");
    assert_eq!(key(&step), key(&run(&own)));
}

#[test]
fn a_lent_cache_goes_along_to_the_next_module_and_no_further() {
    let lent = |writable| {
        base()
            .with_mounted_cache("/cache", &Volume::new("one", "c"))
            .with_mounted_cache("/own", &Volume::new("one", "own"))
            .configure(Configure::LendCache("/cache".to_owned(), writable))
    };
    let mounts = |container: &Container| {
        let plan = plan_with(container, "").unwrap();
        let all = plan.mounts.clone().into_iter();
        let caches = all.filter_map(|(path, mount)| match mount {
            Mount::Cache(volume) => Some((path, volume.scope, volume.sharing)),
            _ => None,
        });
        caches.collect::<Vec<_>>()
    };
    let cache = |path: &str, scope: &str, sharing| (path.to_owned(), scope.to_owned(), sharing);
    let read_only = lent(false).handed_over("one", "two");
    assert_eq!(mounts(&read_only), [cache("/cache", "one", Sharing::ReadOnly)]);
    let writable = lent(true).handed_over("one", "two");
    assert_eq!(mounts(&writable), [cache("/cache", "one", Sharing::Shared)]);
    assert_eq!(mounts(&writable.handed_over("two", "three")), []);
    let lend_on = writable.configure(Configure::LendCache("/cache".to_owned(), true));
    assert!(
        plan_with(&lend_on, "")
            .unwrap_err()
            .to_string()
            .contains("/cache to lend")
    );
    // It is what it was when it comes back, whatever the other module has mounted there.
    let over = read_only.with_mounted_cache("/cache", &Volume::new("two", "c"));
    assert_eq!(mounts(&over.handed_over("two", "one")), mounts(&lent(false)));
    let again = over.handed_over("two", "one").handed_over("one", "two");
    assert_eq!(mounts(&again), [cache("/cache", "two", Sharing::Shared)]);
}

proptest! {
    #[test]
    fn b28_order_of_settings_that_do_not_interact_does_not_matter(order in Just(settings()).prop_shuffle()) {
        let set = |settings: Vec<Configure>| settings.into_iter().fold(base(), |all, change| all.configure(change));
        prop_assert_eq!(key(&run(&set(order))), key(&run(&set(settings()))));
    }
}
