//! The names and words that authors gave to their types. A component's own types have only their form; a section that it
//! carries says which type of the author's each stands for, and is believed where the forms agree.

use serde::Deserialize;

use crate::types::{Case, Field, Named, Type};

/// A record, enum or variant, as the section has it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct TypeDocs {
    name: String,
    docs: String,
    members: Vec<MemberDocs>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct MemberDocs {
    name: String,
    #[serde(rename = "type")]
    ty: Option<String>,
    docs: String,
}

/// A field or a case.
trait Member {
    fn name(&self) -> &str;
    fn ty(&mut self) -> Option<&mut Type>;
    fn docs(&mut self) -> &mut String;
}

impl Member for Field {
    fn name(&self) -> &str {
        &self.name
    }
    fn ty(&mut self) -> Option<&mut Type> {
        Some(&mut self.ty)
    }
    fn docs(&mut self) -> &mut String {
        &mut self.docs
    }
}

impl Member for Case {
    fn name(&self) -> &str {
        &self.name
    }
    fn ty(&mut self) -> Option<&mut Type> {
        self.ty.as_mut()
    }
    fn docs(&mut self) -> &mut String {
        &mut self.docs
    }
}

/// Gives the parts of a type their names, as its author wrote it: `list<report>`.
pub(crate) fn describe(ty: &mut Type, written: &str, types: &[TypeDocs]) {
    let (head, arguments) = arguments(written);
    let all = |parts: Vec<&mut Type>| {
        for (part, written) in parts.into_iter().zip(&arguments) {
            describe(part, written, types);
        }
    };
    match ty {
        Type::List(inner) | Type::Option(inner) => all(vec![inner]),
        Type::Tuple(items) => all(items.iter_mut().collect()),
        Type::Result(ok, error) => {
            // The place of a missing value is taken by `_`.
            let parts = [ok, error];
            for (part, written) in parts.into_iter().zip(&arguments) {
                if let Some(part) = part {
                    describe(part, written, types);
                }
            }
        }
        Type::Record(record) => name(record, head, types),
        Type::Variant(cases) | Type::Enum(cases) => name(cases, head, types),
        _ => {}
    }
}

fn name<M: Member>(named: &mut Named<M>, written: &str, types: &[TypeDocs]) {
    let agrees = |docs: &&TypeDocs| {
        let names = docs.members.iter().map(|member| member.name.as_str());
        docs.name == written && names.eq(named.members.iter().map(Member::name))
    };
    let Some(docs) = types.iter().find(agrees) else {
        return;
    };
    named.name.clone_from(&docs.name);
    named.docs.clone_from(&docs.docs);
    for (member, docs) in named.members.iter_mut().zip(&docs.members) {
        member.docs().clone_from(&docs.docs);
        if let (Some(ty), Some(written)) = (member.ty(), &docs.ty) {
            describe(ty, written, types);
        }
    }
}

/// `result<list<a>, b>` is `result` with `list<a>` and `b`.
fn arguments(written: &str) -> (&str, Vec<&str>) {
    let Some((head, rest)) = written.split_once('<') else {
        return (written, Vec::new());
    };
    let rest = rest.strip_suffix('>').unwrap_or(rest);
    let (mut depth, mut start, mut found) = (0_usize, 0, Vec::new());
    for (at, letter) in rest.char_indices() {
        match letter {
            '<' => depth += 1,
            '>' => depth = depth.saturating_sub(1),
            ',' if depth == 0 => {
                found.push(rest[start..at].trim());
                start = at + 1;
            }
            _ => {}
        }
    }
    found.push(rest[start..].trim());
    (head, found)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn types() -> Vec<TypeDocs> {
        let text = serde_json::json!([
            {"name": "level", "docs": "How hard.", "members": [{"name": "fast", "docs": "Quick."}, {"name": "slow"}]},
            {"name": "report", "docs": "What came out.", "members": [{"name": "level", "type": "option<level>", "docs": "As asked."}]},
        ]);
        serde_json::from_value(text).unwrap()
    }

    fn level() -> Type {
        Type::Enum(vec![Case::plain("fast"), Case::plain("slow")].into())
    }

    #[test]
    fn parts_get_their_names_and_docs() {
        let report = Type::Record(
            vec![Field {
                name: "level".to_owned(),
                ty: Type::Option(Box::new(level())),
                docs: String::new(),
            }]
            .into(),
        );
        let mut ty = Type::Result(
            Some(Box::new(Type::Tuple(vec![Type::String, report]))),
            Some(Box::new(level())),
        );
        describe(&mut ty, "result<tuple<string, report>, level>", &types());
        let Type::Result(Some(ok), Some(error)) = &ty else {
            panic!("{ty:?}")
        };
        assert_eq!(ok.to_string(), "tuple<string, report>");
        assert!(
            matches!(&**error, Type::Enum(cases) if cases.name == "level" && cases.members[0].docs == "Quick.")
        );
        let Type::Tuple(items) = &**ok else {
            panic!("{ok:?}")
        };
        let Type::Record(record) = &items[1] else {
            panic!("{items:?}")
        };
        assert_eq!(record.members[0].docs, "As asked.");
        assert_eq!(record.members[0].ty.to_string(), "option<level>");
    }

    #[test]
    fn a_section_that_does_not_agree_is_not_believed() {
        let mut ty = Type::Enum(vec![Case::plain("other")].into());
        describe(&mut ty, "level", &types());
        assert_eq!(ty.to_string(), "other");
        describe(&mut ty, "result<list<<,>", &types());
        describe(&mut ty, "", &types());
    }
}
