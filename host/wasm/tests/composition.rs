//! Modules that call each other, written by hand: what fits is called, what does not is said when they are loaded, and what
//! breaks is told by name.

mod common;

use std::{collections::BTreeMap, fs, path::PathBuf, sync::Arc, time::Duration};

use wharf_manifest::{Composition, Edge, Origin, Part, Rights};
use wharf_wasm::{CallContext, CallError, Given, Limits, LoadError, Module, Runtime, Value};

use common::Nowhere;

/// Functions of the component itself.
const CALLED: &str = r#"
(component
  (core module $code
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "breaks") (result i32) (unreachable))
    (func (export "spins") (result i32) (loop $again (br $again)) (unreachable)))
  (core instance $main (instantiate $code))
  (func (export "add") (param "left" u32) (param "right" u32) (result u32) (canon lift (core func $main "add")))
  (func (export "breaks") (result u32) (canon lift (core func $main "breaks")))
  (func (export "spins") (result u32) (canon lift (core func $main "spins"))))
"#;

/// A component that exports `run`, which calls the function of this name and type in another module.
fn caller(import: &str, function: &str, params: &str, arguments: &str) -> String {
    format!(
        r#"
(component
  (import "{import}" (instance $other (export "{function}" (func {params} (result u32)))))
  (core func $callee (canon lower (func $other "{function}")))
  (core module $code
    (import "other" "callee" (func $callee {core} (result i32)))
    (func (export "run") (result i32) {arguments} (call $callee)))
  (core instance $main (instantiate $code (with "other" (instance (export "callee" (func $callee))))))
  (func (export "run") (result u32) (canon lift (core func $main "run"))))
"#,
        core = if arguments.is_empty() {
            ""
        } else {
            "(param i32 i32)"
        },
    )
}

/// Modules in files, ready to be composed.
struct Bench {
    directory: tempfile::TempDir,
    runtime: Runtime,
    parts: Vec<Part>,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(&directory.path().join("cache")).unwrap();
        Self {
            directory,
            runtime,
            parts: Vec::new(),
        }
    }

    /// Adds a module, which calls these others.
    fn with(mut self, name: &str, text: &str, calls: &[(&str, usize)]) -> Self {
        let component = self.directory.path().join(format!("{}.wasm", self.parts.len()));
        let bytes = wat::parse_str(text).unwrap();
        fs::write(&component, &bytes).unwrap();
        let edges = calls.iter().map(|(name, to)| Edge {
            name: name.parse().unwrap(),
            to: *to,
            grants: Rights::none(),
            explicit: Rights::none(),
        });
        self.parts.push(Part {
            name: name.to_owned(),
            version: None,
            digest: wharf_digest::Digest::of(&bytes),
            origin: Origin::Path(component.clone()),
            component,
            size: bytes.len() as u64,
            docs: Vec::new(),
            asks: Rights::none(),
            edges: edges.collect(),
        });
        self
    }

    /// Writes something else where the first of the modules is.
    fn changes(&self) {
        fs::write(&self.parts[0].component, wat::parse_str("(component)").unwrap()).unwrap();
    }

    fn load(&self) -> Result<Arc<Module>, LoadError> {
        let composition = Composition::new(self.parts.clone(), &BTreeMap::new()).unwrap();
        self.runtime.load(&composition)
    }

    fn refused(&self) -> String {
        self.load().err().expect("refused").to_string()
    }

    async fn run(&self, time: Duration) -> Result<Value, CallError> {
        call_first(&self.load().unwrap(), time).await
    }
}

async fn call_first(module: &Module, time: Duration) -> Result<Value, CallError> {
    let context = CallContext {
        pipeline: Arc::new(Nowhere),
        project: PathBuf::from("/"),
        scope: "test".to_owned(),
        source: None,
        given: Given::own(),
        limits: Limits {
            time,
            ..Limits::default()
        },
    };
    module.call(&module.functions()[0], Vec::new(), context).await
}

const LONG: Duration = Duration::from_secs(60);
const ADD: &str = r#"(param "left" u32) (param "right" u32)"#;
const TWO_AND_THREE: &str = "(i32.const 2) (i32.const 3)";

fn pair(function: &str, params: &str, arguments: &str) -> Bench {
    Bench::new()
        .with(
            "a:a",
            &caller("a:b/functions", function, params, arguments),
            &[("a:b", 1)],
        )
        .with("a:b", CALLED, &[])
}

#[tokio::test]
async fn a_module_calls_another_through_the_host() {
    let sum = pair("add", ADD, TWO_AND_THREE).run(LONG).await.unwrap();
    assert!(matches!(sum, Value::Integer(5)), "{sum:?}");
    // Whatever version it was built against.
    let versioned = Bench::new()
        .with(
            "a:a",
            &caller("a:b/functions@0.3.1", "add", ADD, TWO_AND_THREE),
            &[("a:b", 1)],
        )
        .with("a:b", CALLED, &[]);
    assert!(matches!(versioned.run(LONG).await, Ok(Value::Integer(5))));
}

#[test]
fn code_is_loaded_as_it_was_when_it_was_composed() {
    let bench = pair("add", ADD, TWO_AND_THREE);
    // Not yet compiled, its file is read, and is another one.
    bench.changes();
    assert!(bench.refused().contains("changed while it was loaded: run again"));
    let bench = pair("add", ADD, TWO_AND_THREE);
    bench.load().unwrap();
    bench.changes();
    assert_eq!(
        bench.load().unwrap().functions().len(),
        1,
        "its code is kept under its digest"
    );
}

#[test]
fn one_component_under_many_names_is_kept_whole() {
    let names: Vec<String> = (0..32).map(|at| format!("a:b{at}")).collect();
    let calls: Vec<_> = names
        .iter()
        .enumerate()
        .map(|(at, name)| (name.as_str(), at + 1))
        .collect();
    let root = caller("a:b0/functions", "add", ADD, TWO_AND_THREE);
    let bench = names
        .iter()
        .fold(Bench::new().with("a:a", &root, &calls), |bench, name| {
            bench.with(name, CALLED, &[])
        });
    bench.load().unwrap();
    let kept: Vec<_> = fs::read_dir(bench.directory.path())
        .unwrap()
        .flat_map(|entry| walk(&entry.unwrap().path()))
        .collect();
    assert_eq!(
        kept.iter().filter(|name| name.ends_with(".cwasm")).count(),
        2,
        "{kept:?}"
    );
    assert!(kept.iter().all(|name| !name.ends_with(".new")), "{kept:?}");
    bench.load().unwrap();
}

/// The names of the files at and below a path.
fn walk(path: &std::path::Path) -> Vec<String> {
    if path.is_dir() {
        return fs::read_dir(path)
            .unwrap()
            .flat_map(|entry| walk(&entry.unwrap().path()))
            .collect();
    }
    vec![path.display().to_string()]
}

#[tokio::test]
async fn b45_what_breaks_below_is_told_by_its_own_name() {
    let broken = pair("breaks", "", "").run(LONG).await.unwrap_err().to_string();
    assert_eq!(broken, "breaks of a:b gave up without a word (unreachable code)");
}

#[tokio::test]
async fn b45_a_calls_time_is_that_of_all_it_calls() {
    let slow = pair("spins", "", "")
        .run(Duration::from_millis(300))
        .await
        .unwrap_err()
        .to_string();
    assert!(slow.contains("took longer than 0.3 s"), "{slow}");
}

#[tokio::test]
async fn b45_calls_in_a_row_are_bounded() {
    let mut bench = Bench::new();
    for at in 0..40 {
        let next = format!("a:m{}", at + 1);
        let text = caller(&format!("{next}/functions"), "run", "", "");
        bench = bench.with(&format!("a:m{at}"), &text, &[(&next, at + 1)]);
    }
    let bench = bench.with("a:m40", &CALLED.replace("\"breaks\"", "\"run\""), &[]);
    let error = bench.run(LONG).await.unwrap_err().to_string();
    assert!(
        error.contains("a:m32 is not called: 32 modules call each other already (a:m0 → a:m1 →"),
        "{error}"
    );
}

#[tokio::test]
async fn more_calls_at_once_than_have_memories_to_use_again() {
    const MODULES: usize = 30;
    let mut bench = Bench::new();
    for at in 0..MODULES {
        let next = format!("a:m{}", at + 1);
        let text = caller(&format!("{next}/functions"), "run", "", "");
        bench = bench.with(&format!("a:m{at}"), &text, &[(&next, at + 1)]);
    }
    let last = format!("a:m{MODULES}");
    let last = bench.with(&last, REMEMBERS, &[]);
    assert!(matches!(last.run(LONG).await, Ok(Value::Integer(0))));
}

/// Adds what it finds in its memory, its table's size and its global, and leaves something in each of them.
const REMEMBERS: &str = r#"
(component
  (core module $code
    (memory 17)
    (table $table 1 funcref)
    (global $global (mut i32) (i32.const 0))
    (func (export "run") (result i32)
      (local $found i32)
      (local.set $found (i32.add (global.get $global) (i32.sub (table.size $table) (i32.const 1))))
      (local.set $found (i32.add (local.get $found) (i32.load (i32.const 0))))
      (local.set $found (i32.add (local.get $found) (i32.load (i32.const 1048572))))
      (drop (memory.grow (i32.const 200)))
      (local.set $found (i32.add (local.get $found) (i32.load (i32.const 14000000))))
      (i32.store (i32.const 0) (i32.const 1))
      (i32.store (i32.const 1048572) (i32.const 1))
      (memory.fill (i32.const 2000000) (i32.const 1) (i32.const 12100000))
      (global.set $global (i32.const 1))
      (drop (table.grow $table (ref.null func) (i32.const 5)))
      (local.get $found)))
  (core instance $main (instantiate $code))
  (func (export "run") (result u32) (canon lift (core func $main "run"))))
"#;

#[tokio::test]
async fn b42_nothing_is_left_of_an_earlier_call() {
    let bench = Bench::new().with("a:a", REMEMBERS, &[]);
    for call in 0..40 {
        let found = bench.run(LONG).await;
        assert!(matches!(found, Ok(Value::Integer(0))), "call {call}: {found:?}");
    }
    let bench = Bench::new()
        .with("a:a", &caller("a:b/functions", "run", "", ""), &[("a:b", 1)])
        .with("a:b", REMEMBERS, &[]);
    let module = bench.load().unwrap();
    for call in 0..40 {
        let found = call_first(&module, LONG).await;
        assert!(matches!(found, Ok(Value::Integer(0))), "call {call}: {found:?}");
    }
}

#[test]
fn a_module_that_is_not_called_is_not_loaded() {
    let bench = pair("add", ADD, TWO_AND_THREE);
    bench.load().unwrap();
    let kept: Vec<_> = walk(&bench.directory.path().join("cache"));
    let called = wharf_digest::Digest::of(&wat::parse_str(CALLED).unwrap())
        .to_hex()
        .to_string();
    let code = kept
        .iter()
        .find(|name| name.contains(&called) && name.ends_with(".cwasm"));
    fs::write(code.unwrap(), b"no code").unwrap();
    // What fits is known without the code, which nobody has read.
    bench.load().unwrap();
    assert_eq!(fs::read(code.unwrap()).unwrap(), b"no code");
}

#[tokio::test]
async fn code_that_is_damaged_is_compiled_again() {
    let bench = pair("add", ADD, TWO_AND_THREE);
    bench.load().unwrap();
    for file in walk(&bench.directory.path().join("cache")) {
        fs::write(file, b"damaged").unwrap();
    }
    assert!(matches!(bench.run(LONG).await, Ok(Value::Integer(5))));
}

#[test]
fn what_does_not_fit_is_said_when_modules_are_loaded() {
    let said = Bench::new()
        .with(
            "a:a",
            &caller(
                "a:b/functions",
                "add",
                r#"(param "left" s32) (param "right" u32)"#,
                TWO_AND_THREE,
            ),
            &[("a:b", 1)],
        )
        .with("a:b", CALLED, &[])
        .refused();
    assert!(
        said.contains(
            "a:a cannot call a:b/functions: add of a:b takes (u32, u32) and is imported with (s32, u32)"
        ),
        "{said}"
    );
    let said = pair("subtract", ADD, TWO_AND_THREE).refused();
    assert!(said.contains("a:b has no function subtract there"), "{said}");
    let said = Bench::new()
        .with("a:a", &caller("a:b/functions", "add", ADD, TWO_AND_THREE), &[])
        .refused();
    assert!(
        said.contains("a:a imports a:b/functions, and a:b is no dependency of it")
            && said.contains("\"a:b\" = { path"),
        "{said}"
    );
}
