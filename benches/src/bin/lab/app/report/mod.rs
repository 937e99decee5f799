//! Results: rows, their JSON, and the page that shows them.
//!
//! [`row`] is one result, [`fairness`] how flows share a link, [`summary`] puts the rounds of a cell
//! together, [`page`] is the HTML with its [`plots`] drawn by [`svg`].

pub(crate) mod fairness;
pub(crate) mod page;
mod plots;
pub(crate) mod row;
mod summary;
mod svg;
