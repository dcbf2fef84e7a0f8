//! How the author's types become what crosses to the host and back. A type that authors may use in a signature has an
//! implementation of [`Wire`]; types of their own can get one by derive without a change here.

use crate::bindings::wharf::pipeline::{cache, container, filesystem, secret, service, types};
use crate::{CacheVolume, Container, Directory, Error, File, Secret, Service};

/// A type that can cross between a module and its host.
pub trait Wire: Sized {
    /// The generated type in its place.
    type Raw;
    /// From the generated type.
    fn lift(raw: Self::Raw) -> Self;
    /// To the generated type.
    fn lower(self) -> Self::Raw;
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
    f64
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
    Error => types::Error,
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
