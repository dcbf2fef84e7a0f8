//! How the author's types become what crosses to the host and back. A type that authors may use in a signature has an
//! implementation of [`Wire`]; types of their own get one by derive. So do the types that the module macro generates for
//! those: what is equal in form is then made of each other by [`cross`], and neither side names the other.

use std::convert::Infallible;

use crate::bindings::wharf::pipeline::{cache, container, filesystem, secret, service, types};
use crate::{CacheVolume, Changeset, Container, Directory, Error, File, Secret, Service};

/// A type that can cross between a module and its host.
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot cross between a module and its callers",
    label = "has no place in the interface",
    note = "plain types (bool, numbers, char, String, Vec, Option, tuples), Container, Directory, File, Secret, CacheVolume, \
            Service and Changeset can cross, and structs and enums of the author's own with `#[derive(wharf_sdk::Type)]`"
)]
pub trait Wire: Sized {
    /// Its parts, in a form without names of its own.
    type Raw;
    /// From its parts.
    fn lift(raw: Self::Raw) -> Self;
    /// To its parts.
    fn lower(self) -> Self::Raw;
}

/// From one type to another of the same parts.
pub fn cross<From: Wire, To: Wire<Raw = From::Raw>>(from: From) -> To {
    To::lift(from.lower())
}

/// A handle that can be lent to another module for the time of a call.
pub trait Lent {
    /// What is lent.
    type Raw;
    /// Lends it.
    fn lend(&self) -> &Self::Raw;
}

/// Lends a handle.
pub fn lend<T: Lent>(handle: &T) -> &T::Raw {
    handle.lend()
}

/// What calling another module comes to where there is no host to carry the call.
#[allow(
    clippy::result_large_err,
    reason = "it is what every function of a module returns"
)]
pub fn without_host<T>(module: &str) -> crate::Result<T> {
    Err(Error::with_code(
        "no-host",
        format!("{module} can be called by a host alone: this is not one"),
    ))
}

/// Which case of an enum, counted from 0.
#[derive(Clone, Copy, Debug)]
pub struct Number(pub u32);

/// What the first case of a variant carries, or one of the others.
#[derive(Debug)]
pub enum Choice<First, Others> {
    /// The first case.
    This(First),
    /// A case behind it.
    Next(Others),
}

macro_rules! itself {
    ($($name:ty),*) => {$(
        impl Wire for $name {
            type Raw = Self;
            fn lift(raw: Self) -> Self {
                raw
            }
            fn lower(self) -> Self {
                self
            }
        }
    )*};
}

itself!(
    (),
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
    Infallible,
    container::Container,
    filesystem::Directory,
    filesystem::File,
    secret::Secret,
    cache::Volume,
    service::Service,
    filesystem::Changeset,
    types::Error
);

macro_rules! converted {
    ($($name:ty => $raw:ty),* $(,)?) => {$(
        impl Wire for $name {
            type Raw = $raw;
            fn lift(raw: $raw) -> Self {
                Self::from(raw)
            }
            fn lower(self) -> $raw {
                self.into()
            }
        }
    )*};
}

converted!(
    Container => container::Container,
    Directory => filesystem::Directory,
    File => filesystem::File,
    Secret => secret::Secret,
    CacheVolume => cache::Volume,
    Service => service::Service,
    Changeset => filesystem::Changeset,
    Error => types::Error,
);

macro_rules! lent {
    ($($name:ty => $raw:ty),* $(,)?) => {$(
        impl Lent for $name {
            type Raw = $raw;
            fn lend(&self) -> &$raw {
                &self.0
            }
        }
    )*};
}

lent!(
    Container => container::Container,
    Directory => filesystem::Directory,
    File => filesystem::File,
    Secret => secret::Secret,
    CacheVolume => cache::Volume,
    Service => service::Service,
    Changeset => filesystem::Changeset,
);

impl<T: Wire> Wire for Vec<T> {
    type Raw = Vec<T::Raw>;
    fn lift(raw: Self::Raw) -> Self {
        raw.into_iter().map(T::lift).collect()
    }
    fn lower(self) -> Self::Raw {
        self.into_iter().map(T::lower).collect()
    }
}

impl<T: Wire> Wire for Option<T> {
    type Raw = Option<T::Raw>;
    fn lift(raw: Self::Raw) -> Self {
        raw.map(T::lift)
    }
    fn lower(self) -> Self::Raw {
        self.map(T::lower)
    }
}

impl<T: Wire, E: Wire> Wire for Result<T, E> {
    type Raw = Result<T::Raw, E::Raw>;
    fn lift(raw: Self::Raw) -> Self {
        raw.map(T::lift).map_err(E::lift)
    }
    fn lower(self) -> Self::Raw {
        self.map(T::lower).map_err(E::lower)
    }
}

macro_rules! tuples {
    ($(($($name:ident)+))*) => {$(
        #[allow(non_snake_case)]
        impl<$($name: Wire),+> Wire for ($($name,)+) {
            type Raw = ($($name::Raw,)+);
            fn lift(($($name,)+): Self::Raw) -> Self {
                ($($name::lift($name),)+)
            }
            fn lower(self) -> Self::Raw {
                let ($($name,)+) = self;
                ($($name.lower(),)+)
            }
        }
    )*};
}

tuples!((A)(A B)(A B C)(A B C D)(A B C D E)(A B C D E F)(A B C D E F G)(A B C D E F G H));
