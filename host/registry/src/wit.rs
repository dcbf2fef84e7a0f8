//! A component's interface as WIT text, and whether two texts say the same.

use wit_component::WitPrinter;
use wit_parser::{
    PackageId, Resolve, WorldId,
    decoding::{DecodedWasm, decode},
};

/// Texts that are longer are not passed on: nobody would read them.
const LONGEST: usize = 512 << 10;
/// Types that are nested deeper are not read: their reader goes as deep as they do.
const DEEPEST: usize = 64;

/// What a component exports and imports, and both as text.
pub(crate) struct Interface {
    pub(crate) exports: Vec<String>,
    pub(crate) imports: Vec<String>,
    /// Stands on its own: it has all packages that it names. None when it is too long for anybody.
    pub(crate) text: Option<String>,
}

/// Reads a component's interface.
///
/// # Errors
/// When it is no component that can be read; in words.
pub(crate) fn of_component(bytes: &[u8]) -> Result<Interface, String> {
    let decoded = decode(bytes).map_err(|error| format!("it does not hold together ({error:#})"))?;
    let DecodedWasm::Component(resolve, world) = decoded else {
        return Err("it is a package of interfaces, not a component".to_owned());
    };
    let names = |items: Vec<&wit_parser::WorldKey>| -> Vec<String> {
        items.into_iter().map(|key| resolve.name_world_key(key)).collect()
    };
    let own = &resolve.worlds[world];
    Ok(Interface {
        exports: names(own.exports.keys().collect()),
        imports: names(own.imports.keys().collect()),
        text: text(&resolve, world),
    })
}

fn text(resolve: &Resolve, world: WorldId) -> Option<String> {
    let main = resolve.worlds[world].package?;
    let text = print(resolve, main)?;
    (text.len() <= LONGEST).then_some(text)
}

/// A package and all others that it needs, these in the order of their names.
fn print(resolve: &Resolve, main: PackageId) -> Option<String> {
    let mut others: Vec<PackageId> = resolve
        .packages
        .iter()
        .map(|(id, _)| id)
        .filter(|id| *id != main)
        .collect();
    others.sort_by_key(|id| resolve.packages[*id].name.to_string());
    let mut printer = WitPrinter::default();
    printer.print(resolve, main, &others).ok()?;
    Some(printer.output.to_string())
}

/// Do two texts describe the same interface? They may have been written by different versions of the printer.
pub(crate) fn same(one: &str, other: &str) -> bool {
    one == other || normal(one).is_some_and(|one| normal(other).is_some_and(|other| one == other))
}

/// A text as this printer would write it.
fn normal(text: &str) -> Option<String> {
    if text.len() > LONGEST || depth(text) > DEEPEST {
        return None;
    }
    let mut resolve = Resolve::default();
    let main = resolve.push_str("interface.wit", text).ok()?;
    print(&resolve, main)
}

fn depth(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    for letter in text.bytes() {
        match letter {
            b'<' | b'{' | b'(' => depth += 1,
            b'>' | b'}' | b')' => depth = depth.saturating_sub(1),
            _ => {}
        }
        deepest = deepest.max(depth);
    }
    deepest
}

#[cfg(test)]
mod tests {
    use super::*;

    const COMPONENT: &str = r#"(component
        (type $types (instance
            (type $r (record (field "level" u8) (field "name" string)))
            (export "report" (type (eq $r)))))
        (import "acme:base/types@1.0.0" (instance $i (type $types)))
        (alias export $i "report" (type $report))
        (import "report" (type $own (eq $report)))
        (core module $m (func (export "f") (result i32) i32.const 1))
        (core instance $m (instantiate $m))
        (func $f (result u32) (canon lift (core func $m "f")))
        (export "count" (func $f)))"#;

    #[test]
    fn an_interface_is_read_and_stands_on_its_own() {
        let read = of_component(&wat::parse_str(COMPONENT).unwrap()).unwrap();
        assert_eq!(read.exports, ["count"]);
        assert!(
            read.imports.contains(&"acme:base/types@1.0.0".to_owned()),
            "{:?}",
            read.imports
        );
        let text = read.text.unwrap();
        assert!(text.contains("export count: func() -> u32;"), "{text}");
        assert!(text.contains("package acme:base@1.0.0"), "{text}");
        assert_eq!(normal(&text).as_deref(), Some(text.as_str()));
    }

    #[test]
    fn texts_are_compared_by_what_they_say() {
        let text = of_component(&wat::parse_str(COMPONENT).unwrap())
            .unwrap()
            .text
            .unwrap();
        assert!(same(&text, &text.replace("  ", "      ")));
        assert!(!same(&text, &text.replace("u32", "u64")));
        assert!(!same(&text, "package a:b; nonsense"));
        assert!(!same(&text, &"list<".repeat(100_000)), "and nothing breaks");
    }

    #[test]
    fn what_is_no_component_is_refused() {
        assert!(of_component(b"\0asm").is_err());
        assert!(of_component(b"component").is_err());
    }
}
