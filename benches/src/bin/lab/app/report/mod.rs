//! Results: rows, their JSON, and how they are shown.

pub(crate) mod row;
