#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kcp_fuzz::targets::pair_controlled(data));
