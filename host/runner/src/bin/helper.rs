//! The helper by itself, for tests and measurements of this crate; users get it inside `wharf`.

fn main() {
    wharf_runner::helper_main()
}
