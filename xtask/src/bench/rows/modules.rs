//! Modules: from the start of a process into the guest, and from an edit to a call.

use std::fs;
use std::time::Instant;

use wharf_testkit::{paths, registry::Registry};

use super::super::data::check;
use super::super::figures::{Budget, Figures, Outcome, Unit};
use super::super::wharf::{follow, milliseconds};
use super::super::{Bench, Failure};
use super::Row;

pub(super) const ROWS: &[Row] = &[
    Row {
        name: "first-call",
        what: "from the start of the process to the answer of a precompiled function that needs no engine",
        unit: Unit::Milliseconds,
        budget: Budget::Median(5.0),
        peer: "",
        measure: |bench| first_call(bench).map(Outcome::from),
    },
    Row {
        name: "cross-module",
        what: "one call of another module, in a store of its own",
        unit: Unit::Milliseconds,
        budget: Budget::Median(0.05),
        peer: "",
        measure: |bench| cross_module(bench).map(Outcome::from),
    },
    Row {
        name: "dependencies",
        what: "resolve and load 100 modules of a registry that a module depends on, all of them on this machine",
        unit: Unit::Milliseconds,
        budget: Budget::Median(50.0),
        peer: "",
        measure: |bench| dependencies(bench).map(Outcome::from),
    },
    Row {
        name: "edit",
        what: "edit a Rust module and call it",
        unit: Unit::Milliseconds,
        budget: Budget::Median(2000.0),
        peer: "",
        measure: |bench| edit(bench).map(Outcome::from),
    },
];

fn first_call(bench: &Bench<'_>) -> Result<Figures, Failure> {
    bench.alone(|nonce| {
        let call = bench.wharf.call(&["hello", "--name", nonce])?;
        check(&call.printed, &format!("Hello, {nonce}!"))?;
        Ok(milliseconds(call.answered))
    })
}

/// What many calls take more than none, for each.
fn cross_module(bench: &Bench<'_>) -> Result<Figures, Failure> {
    const CALLS: u32 = 5000;
    let calls = |count: u32| {
        let count_text = count.to_string();
        let words = ["calls", "--count", &count_text];
        let mut command = bench.wharf.world().command(["call", "--progress", "json", "-m"]);
        command
            .arg(paths::workspace().join("examples/composed"))
            .args(words);
        let call = follow(command, &words)?;
        check(&call.printed, &(2 * count).to_string())?;
        Ok::<_, Failure>(call.milliseconds())
    };
    // What is built is built here.
    calls(0)?;
    bench.alone(|_| Ok((calls(CALLS)? - calls(0)?) / f64::from(CALLS)))
}

/// What a call of a module takes more that depends on a hundred others than the same call of one that depends on none.
fn dependencies(bench: &Bench<'_>) -> Result<Figures, Failure> {
    const COUNT: u32 = 100;
    let world = bench.wharf.world();
    let component = paths::workspace().join("examples/words");
    world
        .wharf(["build", "-q", "-m", &component.display().to_string()])
        .ok();
    // As the compiler has made it: it does not say yet which module it is.
    let component = component.join(".wharf/target/wasm32-wasip2/wharf/words.wasm");
    let manifest = |name: &str| {
        format!(
            "[module]\nname = \"bench:{name}\"\nversion = \"1.0.0\"\nsdk = \"none\"\ncomponent = {component:?}\n"
        )
    };
    let registry = Registry::start(&world.path("registry of modules"))?;
    let mapping = world.path("wharf/config/registries.toml");
    fs::create_dir_all(mapping.parent().unwrap_or(&mapping))?;
    fs::write(
        mapping,
        format!("[namespace_registries]\nbench = \"{}\"\n", registry.address()),
    )?;
    let mut dependent = manifest("dependent") + "\n[dependencies]\n";
    for number in 0..COUNT {
        let name = format!("d{number}");
        world.write(format!("{name}/wharf.toml"), manifest(&name));
        world.wharf(["publish", "-q", "-m", &name]).ok();
        dependent.push_str(&format!("\"bench:{name}\" = \"1\"\n"));
    }
    world.write("alone/wharf.toml", manifest("alone"));
    world.write("dependent/wharf.toml", dependent);
    world.wharf(["update", "-q", "-m", "dependent"]).ok();
    let call = |module: &str, nonce: &str| {
        let words = ["count", "--text", nonce];
        let mut command = world.command([
            "call",
            "--progress",
            "json",
            "--locked",
            "--offline",
            "-m",
            module,
        ]);
        command.args(words);
        let call = follow(command, &words)?;
        check(&call.printed, "2")?;
        Ok::<_, Failure>(call.milliseconds())
    };
    // What is fetched and compiled is that here.
    world
        .wharf(["call", "-q", "-m", "dependent", "count", "--text", "a b"])
        .ok();
    call("alone", "a b")?;
    bench.alone(|nonce| {
        let text = format!("{nonce} again");
        Ok(call("dependent", &text)? - call("alone", &text)?)
    })
}

/// A module as `wharf init` writes it. What its first build compiles is the SDK, once.
fn edit(bench: &Bench<'_>) -> Result<Figures, Failure> {
    let world = bench.wharf.world();
    let run = |words: &[&str]| {
        let done = world.wharf(words);
        if done.code == 0 {
            return Ok(done.text().to_owned());
        }
        Err(format!("`wharf {}` failed:\n{}", words.join(" "), done.stderr))
    };
    let module = world.path("work/edited");
    if !module.exists() {
        run(&["init", "edited"])?;
    }
    let source = module.join("src/lib.rs");
    let written = fs::read_to_string(&source)?;
    let greet = || run(&["call", "-q", "-m", "edited", "hello", "--name", "Ada"]);
    let greeting = greet()?.replace("Ada", "{name}");
    if !written.contains(&greeting) {
        return Err(format!("{} does not have its greeting {greeting:?}", source.display()).into());
    }
    bench.alone(|nonce| {
        let start = Instant::now();
        fs::write(&source, written.replace(&greeting, &format!("{nonce} {{name}}")))?;
        let printed = greet()?;
        let took = start.elapsed();
        check(&printed, &format!("{nonce} Ada"))?;
        Ok(milliseconds(took))
    })
}
