#![no_main]

#[allow(dead_code, reason = "each target uses a part")]
#[path = "../entries.rs"]
mod entries;

libfuzzer_sys::fuzz_target!(|data: &[u8]| {
    entries::name(data);
});
