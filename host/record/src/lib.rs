//! What a run did, used and saved, kept after its end.
//!
//! A [`Collector`] is told of a run's work as it begins and ends, and becomes a [`Record`]. [`Records`] keeps the newest of them
//! in a directory of the user's. [`Prices`] turn what was used into money. Nothing here knows the engine's messages or a
//! terminal.

mod collect;
mod keep;
mod prices;
mod record;

pub use collect::{Collector, Ended};
pub use keep::{Listing, RecordError, Records};
pub use prices::{Prices, PricesError};
pub use record::{Amount, FORMAT, Kind, Outcome, Record, Result, Step, Totals, Work};
