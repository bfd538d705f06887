// SPDX-License-Identifier: GPL-2.0

//! What CPUs share without a lock, in every order that the memory model allows.
//!
//! | module | what |
//! |---|---|
//! | [`site`] | a [`Site`](livepatch_core::site::Site) alone: calls against a publisher |
//! | [`machine`] | a kernel over loom, just large enough for the core |
//! | [`transition`] | the core enables, disables and reverses, against a task on another CPU |
//!
//! ```text
//! RUSTFLAGS="--cfg loom" CARGO_TARGET_DIR=target/loom \
//!     cargo test --release -p host-tests --test loom -- --nocapture
//! ```
//!
//! `cargo xtask verify weaken` runs these tests once for each ordering in the core, with that one
//! left out (see `kernel::sync::weaken`), and expects a test to fail each time.
#![cfg(loom)]

mod machine;
mod site;
mod transition;

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::Arc;

/// Explores all executions of `run` with at most `preemptions` preemptions, and prints their
/// number.
///
/// `LIVEPATCH_PREEMPTIONS` adds to that limit.
fn explore(name: &str, preemptions: usize, run: impl Fn() + Sync + Send + 'static) {
    let more = std::env::var("LIVEPATCH_PREEMPTIONS").ok();
    let preemptions = preemptions + more.map_or(0, |more| more.parse().expect("a number"));
    let executions = Arc::new(AtomicUsize::new(0));
    let count = executions.clone();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(preemptions);
    builder.max_branches = 10_000;
    builder.check(move || {
        count.fetch_add(1, Ordering::Relaxed);
        run();
    });
    println!(
        "loom: {name}: {} executions, {preemptions} preemptions",
        executions.load(Ordering::Relaxed)
    );
}
