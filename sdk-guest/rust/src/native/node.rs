//! Nodes of the graph that builders make, and what they were called with.

use std::{
    convert::Infallible,
    fmt,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use crate::{
    Platform,
    bindings::wharf::pipeline::{
        cache::Sharing, gpu, host::Forward, network::Mode, publishing::Compression, types,
    },
    wire::{Choice, Number},
};

/// The value that a builder returned.
pub struct Node {
    /// When it was made; no two nodes have the same.
    pub(crate) order: u64,
    /// "container", "directory" and so on.
    pub(crate) kind: &'static str,
    /// The builder, as Rust writes it; the name of a value that a test made up.
    pub(crate) call: String,
    /// Whether a test made it up.
    pub(crate) is_stand_in: bool,
    /// What the builder was called on.
    pub(crate) receiver: Option<Arc<Node>>,
    /// What it was called with.
    pub(crate) arguments: Vec<(&'static str, Argument)>,
}

/// What a builder or a read was called with.
#[derive(Clone)]
pub enum Argument {
    /// As Rust would write it.
    Text(String),
    /// Another value.
    Node(Arc<Node>),
    /// Several.
    List(Vec<Argument>),
    /// Options, as far as they were set.
    Settings(Vec<(&'static str, Argument)>),
    /// One that has a usual value, and another here.
    Labelled(Box<Argument>),
    /// The usual value.
    Usual,
}

impl Argument {
    /// The values in it.
    pub(crate) fn nodes(&self) -> Vec<&Arc<Node>> {
        match self {
            Self::Node(node) => vec![node],
            Self::List(items) => items.iter().flat_map(Self::nodes).collect(),
            Self::Settings(settings) => settings.iter().flat_map(|(_, value)| value.nodes()).collect(),
            Self::Labelled(inner) => inner.nodes(),
            Self::Text(_) | Self::Usual => Vec::new(),
        }
    }
}

impl Node {
    pub(crate) fn new(
        kind: &'static str,
        call: impl Into<String>,
        receiver: Option<&Arc<Node>>,
        arguments: Vec<(&'static str, Argument)>,
    ) -> Arc<Self> {
        static MADE: AtomicU64 = AtomicU64::new(0);
        Arc::new(Self {
            order: MADE.fetch_add(1, Ordering::Relaxed),
            kind,
            call: call.into(),
            is_stand_in: false,
            receiver: receiver.cloned(),
            arguments,
        })
    }

    /// A value that a test made up.
    pub(crate) fn stand_in(kind: &'static str, name: &str) -> Arc<Self> {
        let mut node = Self::new(kind, name, None, Vec::new());
        if let Some(node) = Arc::get_mut(&mut node) {
            node.is_stand_in = true;
        }
        node
    }

    /// The values that it was made of.
    pub(crate) fn inputs(&self) -> impl Iterator<Item = &Arc<Node>> {
        let arguments = self.arguments.iter().flat_map(|(_, argument)| argument.nodes());
        self.receiver.iter().chain(arguments)
    }
}

impl fmt::Debug for Node {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.call)
    }
}

/// A handle of the contract.
pub trait Handle {
    /// What it is, in a word.
    const KIND: &'static str;
    fn of(node: Arc<Node>) -> Self;
    fn node(&self) -> &Arc<Node>;
}

/// What can be an argument.
pub trait Shown {
    fn shown(&self) -> Argument;
    /// The same, where it is set rather than passed.
    fn set(&self) -> Argument {
        self.shown()
    }
}

impl<T: Shown + ?Sized> Shown for &T {
    fn shown(&self) -> Argument {
        (**self).shown()
    }
    fn set(&self) -> Argument {
        (**self).set()
    }
}

impl<T: Shown> Shown for [T] {
    fn shown(&self) -> Argument {
        Argument::List(self.iter().map(Shown::shown).collect())
    }
}

impl<T: Shown> Shown for Option<T> {
    fn shown(&self) -> Argument {
        match self {
            Some(value) => match value.shown() {
                Argument::Settings(settings) if settings.is_empty() => Argument::Usual,
                shown => Argument::Labelled(Box::new(shown)),
            },
            None => Argument::Usual,
        }
    }
}

impl Shown for bool {
    fn shown(&self) -> Argument {
        if *self {
            Argument::Labelled(Box::new(self.set()))
        } else {
            Argument::Usual
        }
    }
    fn set(&self) -> Argument {
        Argument::Text(self.to_string())
    }
}

impl Shown for Platform {
    fn shown(&self) -> Argument {
        let cpu = self.cpu.as_ref().map(|cpu| format!("/{cpu}")).unwrap_or_default();
        Argument::Text(format!("{}/{}{cpu}", self.os, self.architecture))
    }
}

impl Shown for Forward {
    fn shown(&self) -> Argument {
        Argument::Text(format!("{}:{}", self.host, self.service))
    }
}

impl Shown for gpu::Sharing {
    fn shown(&self) -> Argument {
        let name = match self {
            Self::Exclusive => "Exclusive",
            Self::Shared => "Shared",
        };
        Argument::Text(name.to_owned())
    }
}

macro_rules! shown_as_in_rust {
    ($($ty:ty),*) => {$(
        impl Shown for $ty {
            fn shown(&self) -> Argument {
                let text = format!("{self:?}");
                // Of an enum's case, the name alone.
                let name = text.strip_prefix(concat!(stringify!($ty), "::")).unwrap_or(&text);
                Argument::Text(name.to_owned())
            }
        }
    )*};
}

use gpu::WhenBusy;
use types::ExitExpectation;

shown_as_in_rust!(
    str,
    String,
    u16,
    u32,
    u64,
    Sharing,
    Mode,
    Compression,
    WhenBusy,
    ExitExpectation
);

/// What handles are in it: the parts of what functions take and return.
pub trait Handles {
    /// Adds the nodes of its handles.
    fn handles(&self, found: &mut Vec<Arc<Node>>);
}

macro_rules! without_handles {
    ($($ty:ty),*) => {$(
        impl Handles for $ty {
            fn handles(&self, _: &mut Vec<Arc<Node>>) {}
        }
    )*};
}

without_handles!(
    bool,
    char,
    String,
    u8,
    u16,
    u32,
    u64,
    i8,
    i16,
    i32,
    i64,
    f32,
    f64,
    Number,
    Infallible,
    types::Error
);

impl<T: Handles> Handles for Vec<T> {
    fn handles(&self, found: &mut Vec<Arc<Node>>) {
        self.iter().for_each(|item| item.handles(found));
    }
}

impl<T: Handles> Handles for Option<T> {
    fn handles(&self, found: &mut Vec<Arc<Node>>) {
        self.iter().for_each(|item| item.handles(found));
    }
}

impl<T: Handles, E> Handles for Result<T, E> {
    fn handles(&self, found: &mut Vec<Arc<Node>>) {
        self.iter().for_each(|item| item.handles(found));
    }
}

impl<A: Handles, B: Handles> Handles for Choice<A, B> {
    fn handles(&self, found: &mut Vec<Arc<Node>>) {
        match self {
            Self::This(first) => first.handles(found),
            Self::Next(others) => others.handles(found),
        }
    }
}

macro_rules! tuples {
    ($(($($name:ident)*))*) => {$(
        #[allow(non_snake_case, unused_variables)]
        impl<$($name: Handles),*> Handles for ($($name,)*) {
            fn handles(&self, found: &mut Vec<Arc<Node>>) {
                let ($($name,)*) = self;
                $($name.handles(found);)*
            }
        }
    )*};
}

tuples!(()(A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F)(A B C D E F G)(A B C D E F G H));
