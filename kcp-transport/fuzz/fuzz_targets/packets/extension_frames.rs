#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kcp_fuzz::targets::extension_frames(data));
