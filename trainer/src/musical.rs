//! How much generated music is like music, in the terms of the literature.
//!
//! Of each real piece a [segment](segments::Segment) is taken, and a model plays what was asked for in its
//! place. Both are [`Excerpt`](excerpt::Excerpt)s, of which the [`figures`] are taken; the two sets are compared
//! figure by figure ([`comparison`]), by the overlap of the [`density`] of their distances. Beside the music
//! that a model learned from ([`training`]) it is said how much both share with it ([`copies`]), and whether
//! their genres are told apart ([`genres`]).

mod command;
pub mod comparison;
pub mod copies;
pub mod density;
pub mod excerpt;
pub mod figures;
pub mod genres;
mod pitch;
mod report;
mod rhythm;
pub mod segments;
mod texture;
pub mod training;

pub use command::{Error, Options, compare};
pub use report::{Report, Runs, Training};
