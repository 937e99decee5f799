#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| kcp_fuzz::http2::http2_over_kcp(data));
