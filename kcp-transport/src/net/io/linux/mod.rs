//! What Linux and Android have of a socket beyond other systems.

mod cmsg;
mod fragments;
mod offload;
mod refusals;

pub(super) use cmsg::ControlMessages;
pub(super) use fragments::{allow_fragments, forbid_fragments};
pub(super) use offload::Offload;
pub(super) use refusals::Refusals;
