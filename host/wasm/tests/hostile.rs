//! Guests that misbehave, written by hand: each is ended with an error that names it, and the host goes on.

mod common;

use std::{path::PathBuf, sync::Arc, time::Duration};

use wharf_wasm::{CallContext, CallError, Given, Limits, Module, Runtime, Value};

use common::Nowhere;

/// Functions that misbehave, each in one way, and one that does not.
const GUEST: &str = r#"
(component
  (import "wharf:pipeline/filesystem@0.1.0" (instance $filesystem
    (export "directory" (type $directory (sub resource)))
    (export "[constructor]directory" (func (result (own $directory))))))
  (alias export $filesystem "[constructor]directory" (func $new))
  (core func $new (canon lower (func $new)))
  (core module $code
    (import "host" "new" (func $new (result i32)))
    (memory (export "memory") 1)
    (global $depth (mut i64) (i64.const 0))
    (func (export "realloc") (param i32 i32 i32 i32) (result i32) (unreachable))
    (func (export "add") (param i32 i32) (result i32) (i32.add (local.get 0) (local.get 1)))
    (func (export "spins") (loop $again (br $again)))
    (func (export "breaks") (unreachable))
    (func $recurses (export "recurses") (call $recurses) (global.set $depth (i64.add (global.get $depth) (i64.const 1))))
    (func (export "grows") (loop $again
      (if (i32.eq (memory.grow (i32.const 1024)) (i32.const -1)) (then (unreachable)))
      (br $again)))
    (func (export "holds") (param $count i32) (loop $again
      (drop (call $new))
      (local.set $count (i32.sub (local.get $count) (i32.const 1)))
      (br_if $again (local.get $count))))
    ;; A text of 100 MiB that lies in memory: pointer and length at 0.
    (func (export "talks") (result i32)
      (drop (memory.grow (i32.const 1600)))
      (i32.store (i32.const 0) (i32.const 64))
      (i32.store (i32.const 4) (i32.const 104857600))
      (i32.const 0))
    ;; Says that its text lies outside its memory.
    (func (export "lies") (result i32)
      (i32.store (i32.const 0) (i32.const -16))
      (i32.store (i32.const 4) (i32.const 64))
      (i32.const 0)))
  (core instance $main (instantiate $code (with "host" (instance (export "new" (func $new))))))
  (alias core export $main "memory" (core memory $memory))
  (func (export "add") (param "left" u32) (param "right" u32) (result u32) (canon lift (core func $main "add")))
  (func (export "spins") (canon lift (core func $main "spins")))
  (func (export "breaks") (canon lift (core func $main "breaks")))
  (func (export "recurses") (canon lift (core func $main "recurses")))
  (func (export "grows") (canon lift (core func $main "grows")))
  (func (export "holds") (param "count" u32) (canon lift (core func $main "holds")))
  (func (export "talks") (result string) (canon lift (core func $main "talks") (memory $memory)))
  (func (export "lies") (result string) (canon lift (core func $main "lies") (memory $memory))))
"#;

/// The guest, and where its compiled code is kept.
struct Guest {
    module: Arc<Module>,
    _runtime: Runtime,
    _cache: tempfile::TempDir,
}

impl Guest {
    fn load() -> Self {
        let cache = tempfile::tempdir().unwrap();
        let runtime = Runtime::new(cache.path()).unwrap();
        let module = runtime
            .load_bytes(&wat::parse_str(GUEST).unwrap(), "hostile.wasm")
            .unwrap();
        Self {
            module,
            _runtime: runtime,
            _cache: cache,
        }
    }

    async fn call(&self, name: &str, args: Vec<Value>, limits: Limits) -> Result<Value, CallError> {
        let function = self
            .module
            .functions()
            .iter()
            .find(|function| function.name == name)
            .unwrap();
        let context = CallContext {
            pipeline: Arc::new(Nowhere),
            project: PathBuf::from("/"),
            scope: "test".to_owned(),
            source: None,
            given: Given::own(),
            limits,
        };
        self.module.call(function, args, context).await
    }

    /// What a call that has to break says.
    async fn broken(&self, name: &str, args: Vec<Value>, limits: Limits) -> String {
        let error = self.call(name, args, limits).await.unwrap_err();
        assert!(matches!(error, CallError::Trap { .. }), "{error:?}");
        let text = error.to_string();
        assert!(text.starts_with(&format!("{name} of hostile.wasm ")), "{text}");
        self.goes_on().await;
        text
    }

    /// Other calls work as before.
    async fn goes_on(&self) {
        let sum = self
            .call(
                "add",
                vec![Value::Integer(2), Value::Integer(3)],
                Limits::default(),
            )
            .await
            .unwrap();
        assert!(matches!(sum, Value::Integer(5)), "{sum:?}");
    }
}

fn small() -> Limits {
    Limits {
        memory: 64 << 20,
        handles: 1000,
        time: Duration::from_secs(60),
    }
}

#[tokio::test]
async fn b43_an_endless_loop_is_ended_and_others_run_meanwhile() {
    let guest = Guest::load();
    let limits = Limits {
        time: Duration::from_secs(1),
        ..small()
    };
    // One thread runs both: the loop has to yield for the other call to get through.
    let spinning = guest.call("spins", Vec::new(), limits);
    let adding = async {
        tokio::time::sleep(Duration::from_millis(50)).await;
        guest.goes_on().await;
        "added"
    };
    tokio::pin!(spinning);
    let first = tokio::select! {
        ended = &mut spinning => ended.unwrap_err().to_string(),
        word = adding => word.to_owned(),
    };
    assert_eq!(first, "added");
    let error = spinning.await.unwrap_err().to_string();
    assert_eq!(error, "spins of hostile.wasm took longer than 1 s and was ended");
}

#[tokio::test]
async fn b43_memory_is_bounded() {
    let said = Guest::load().broken("grows", Vec::new(), small()).await;
    assert!(said.contains("needed more than 64 MiB of memory"), "{said}");
}

#[tokio::test]
async fn b43_recursion_is_bounded() {
    let said = Guest::load().broken("recurses", Vec::new(), small()).await;
    assert!(said.contains("recurses too deeply"), "{said}");
}

#[tokio::test]
async fn b43_handles_are_bounded() {
    let guest = Guest::load();
    guest
        .call("holds", vec![Value::Integer(500)], small())
        .await
        .unwrap();
    let said = guest
        .broken("holds", vec![Value::Integer(1_000_000)], small())
        .await;
    assert!(said.contains("more than 1000 handles"), "{said}");
}

#[tokio::test]
async fn b43_a_long_text_is_refused() {
    let limits = Limits {
        memory: 1 << 30,
        ..small()
    };
    let said = Guest::load().broken("talks", Vec::new(), limits).await;
    assert!(said.contains("handed over more than 32 MiB"), "{said}");
}

#[tokio::test]
async fn b43_a_result_outside_its_memory_is_refused() {
    let said = Guest::load().broken("lies", Vec::new(), small()).await;
    assert!(said.contains("out of bounds"), "{said}");
}

#[tokio::test]
async fn b43_a_trap_names_module_and_function() {
    let said = Guest::load().broken("breaks", Vec::new(), small()).await;
    assert_eq!(
        said,
        "breaks of hostile.wasm gave up without a word (unreachable code)"
    );
}
