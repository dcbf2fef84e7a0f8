//! What the functions read and plan.

use wharf_sdk::{
    Result,
    testing::{self, Plan, Planner},
};

use super::{
    Candidate, Level,
    functions::{compare, describe, smallest},
};

/// A file's header and how long the file is.
fn file(header: &str, content: u64) -> (Vec<u8>, Vec<u8>, u64) {
    let start = (header.len() as u64).to_le_bytes().to_vec();
    (
        start,
        header.as_bytes().to_vec(),
        8 + header.len() as u64 + content,
    )
}

#[test]
fn headers_are_read_and_nothing_else() {
    let (start, header, size) = file(
        r#"{"a": {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]},
            "b": {"dtype": "BF16", "shape": [4], "data_offsets": [24, 32]}}"#,
        32,
    );
    let plan = Planner::new()
        .answer("glob", ["model.safetensors"])
        .answer("size", size)
        .answer("read", start)
        .answer("read", header)
        .plan(describe(testing::directory("model")));
    let told = plan.returned.as_ref().unwrap();
    assert_eq!((told.parameters, told.bytes, told.files), (10, 32, 1));
    let types: Vec<_> = told
        .types
        .iter()
        .map(|stored| (stored.dtype.as_str(), stored.bytes))
        .collect();
    assert_eq!(types, [("BF16", 8), ("F32", 24)]);
    assert_eq!(plan.to_string().matches(".read(").count(), 2, "{plan}");
}

#[test]
fn a_file_that_promises_more_than_it_has_is_refused() {
    let planner = Planner::new()
        .answer("glob", ["a.safetensors"])
        .answer("size", 20_u64);
    let plan = planner
        .answer("read", u64::MAX.to_le_bytes().to_vec())
        .plan(describe(testing::directory("model")));
    let error = plan.returned.unwrap_err().to_string();
    assert!(
        error.contains("a.safetensors is no whole safetensors file"),
        "{error}"
    );
}

fn scores(planner: Planner, levels: Vec<Level>, threshold: f64) -> Plan<Result<Candidate>> {
    let (model, evaluation) = (testing::directory("model"), testing::directory("evaluation"));
    let (data, python) = (testing::file("data"), testing::container("python"));
    planner.plan(smallest(model, evaluation, data, threshold, levels, python))
}

fn answers() -> Planner {
    Planner::new()
        .answer("stdout", "{\"score\": 0.9}\n")
        .answer("size", 100_u64)
        .answer("stdout", "loading\n{\"score\": 0.88, \"device\": \"cpu\"}\n")
        .answer("size", 25_u64)
}

#[test]
fn levels_are_tried_without_a_network_and_the_smallest_is_taken() {
    let plan = scores(answers(), vec![Level::Int8, Level::Original, Level::Int8], 0.85);
    let chosen = plan.returned.as_ref().ok().unwrap();
    assert_eq!(
        (chosen.level, chosen.bytes, chosen.device.as_str()),
        (Level::Int8, 25, "cpu")
    );
    let text = plan.to_string();
    assert!(
        !text.contains("with_network") && !text.contains("with_gpu"),
        "{text}"
    );
    assert_eq!(text.matches("quantize to int8").count(), 1, "{text}");
}

#[test]
fn a_threshold_that_nothing_reaches_is_an_error_with_all_scores() {
    let error = scores(answers(), vec![Level::Original, Level::Int8], 0.95)
        .returned
        .err()
        .unwrap();
    let text = error.to_string();
    assert!(
        text.contains("no level reaches 0.95") && text.contains("0.8800  fails"),
        "{text}"
    );
}

#[test]
fn what_is_compared_says_which_passes() {
    let (model, evaluation) = (testing::directory("model"), testing::directory("evaluation"));
    let (data, python) = (testing::file("data"), testing::container("python"));
    let levels = vec![Level::Original, Level::Int8];
    let plan = answers().plan(compare(model, evaluation, data, 0.89, levels, python));
    let passed: Vec<_> = plan
        .returned
        .unwrap()
        .iter()
        .map(|candidate| candidate.passed)
        .collect();
    assert_eq!(passed, [true, false]);
}
