//! Results: rows, JSON and the HTML report.
//!
//! [`row`] is one result, [`fairness`] computes shares of flows, [`summary`] combines the rounds of a cell, and [`page`]
//! is the HTML page, with [`plots`] drawn by [`svg`].

pub(crate) mod fairness;
pub(crate) mod page;
mod plots;
pub(crate) mod row;
mod summary;
mod svg;
