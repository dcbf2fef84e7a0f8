//! What authors write that cannot cross is refused where it stands, in plain words: a case is a file `ui/x.rs` and what the
//! compiler says of it, `ui/x.stderr`.

#[test]
fn what_cannot_cross_is_refused_where_it_stands() {
    trybuild::TestCases::new().compile_fail("tests/ui/*.rs");
}
