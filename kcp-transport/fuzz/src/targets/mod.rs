//! The fuzz targets: functions of bytes that panic when a property is violated.
//!
//! No target keeps state between calls.

mod arq;
mod controller;
mod crypto;
mod fec;
mod input;
mod network;
mod options;
mod pair;
mod session;
mod stream;
mod wire;

pub use arq::arq_model;
pub use crypto::{cipher_batch, open_each_cipher, replay_filter};
pub use fec::{fec_decode, fec_ratio, fec_roundtrip, field_kernels};
pub use options::config;
pub use pair::{pair, pair_controlled, pair_messages};
pub use session::{session_input, session_input_structured};
pub use stream::{listener, stream_api};
pub use wire::{demux, extension_frames, wire_parse, wire_roundtrip};

/// A function of bytes.
pub type Target = fn(&[u8]);

/// All of them by name.
pub const ALL: &[(&str, Target)] = &[
    ("arq_model", arq_model),
    ("cipher_batch", cipher_batch),
    ("config", config),
    ("demux", demux),
    ("extension_frames", extension_frames),
    ("fec_decode", fec_decode),
    ("fec_ratio", fec_ratio),
    ("fec_roundtrip", fec_roundtrip),
    ("field_kernels", field_kernels),
    ("listener", listener),
    ("open_each_cipher", open_each_cipher),
    ("pair", pair),
    ("pair_controlled", pair_controlled),
    ("pair_messages", pair_messages),
    ("replay_filter", replay_filter),
    ("session_input", session_input),
    ("session_input_structured", session_input_structured),
    ("stream_api", stream_api),
    ("wire_parse", wire_parse),
    ("wire_roundtrip", wire_roundtrip),
];
