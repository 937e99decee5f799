//! The protocol without sockets: sessions over simulated links, in virtual time.

mod amplification;
mod config_files;
mod extensions;
mod forgery;
mod golden;
mod options;
mod parity;
mod path_mtu;
mod refusals;
mod restart;
mod rotation;
mod runs;
mod simulation;
mod structure;
mod thin_fec;
mod time;
