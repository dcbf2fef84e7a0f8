//! A shell in a container, by name. Whoever writes it wants it: it takes no right.

use wharf_graph::read::{Answer, Question};

use super::{Method, mismatch, read, texts};
use crate::Value;

pub(super) fn terminal() -> Method {
    read(
        "terminal",
        "Open your terminal in it; what is written there is thrown away.",
        vec![texts(
            "command",
            "The program and its arguments, one each, or a JSON list; sh unless given.",
        )],
        None,
        |given| Some(Question::Terminal(given.texts(0)?)),
        |answer| match answer {
            Answer::ExitCode(_) => Ok(Value::Unit),
            _ => mismatch(),
        },
    )
}
