//! How the code is put together: which modules use which, and how large files and folders are.

mod layers;
mod limits;
