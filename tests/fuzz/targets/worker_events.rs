#![no_main]

#[path = "../bodies/mod.rs"]
#[expect(dead_code, reason = "each target has one of the bodies")]
mod bodies;

libfuzzer_sys::fuzz_target!(|data: &[u8]| bodies::worker_events::run(data));
