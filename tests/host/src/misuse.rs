// SPDX-License-Identifier: GPL-2.0

//! Misuse of the core's traits that does not compile, for any kernel `K`.
//!
//! This is the right use. Each example below differs from it in one way.
//!
//! ```
//! # use host_tests::misuse::*;
//! fn right<K: Kernel>(kernel: &K, patch: K::Patch, object: K::Object, function: K::Function) {
//!     let id = K::patch_id(&patch);
//!     kernel.release_function(function);
//!     kernel.release_object(object);
//!     kernel.list(&patch, false);
//!     kernel.free_later(patch, false);
//!     let again = id;
//!     assert!(id == again);
//! }
//!
//! fn wait<K: Kernel>(kernel: &K, hook: K::Hook, sites: &mut Sites<K>, check: Option<Check>) {
//!     let retired = kernel.publish_check(None);
//!     kernel.detach(&mut [&hook].into_iter());
//!     let quiesced = kernel.synchronize();
//!     kernel.free(hook, &quiesced);
//!     sites.reap(kernel, &quiesced);
//!     let reclaimed = retired.and_then(|retired| kernel.reclaim_check(retired, &quiesced));
//!     kernel.publish_check(reclaimed.or(check));
//! }
//!
//! fn look<K: Kernel>(kernel: &K) -> (bool, Option<usize>, usize) {
//!     let (mut pending, mut inside, mut deepest) = (false, None, 0);
//!     let off = kernel.preemption_off();
//!     kernel.for_each_thread(&mut |task| {
//!         pending |= task.is_pending();
//!         kernel.with_check(&off, &mut |check| {
//!             kernel.pin(task, &mut |pinned| {
//!                 let _ = kernel.stack(pinned, &mut |entries| {
//!                     deepest = deepest.max(entries.len());
//!                     inside = check.and_then(|check| check.find(State::Patched, entries));
//!                 });
//!             });
//!         });
//!     });
//!     (pending, inside, deepest)
//! }
//! ```
//!
//! # What is released is gone
//!
//! An object is released twice:
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, object: K::Object) {
//!     kernel.release_object(object);
//!     kernel.release_object(object);
//! }
//! ```
//!
//! A function is in use after its release:
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, function: K::Function) -> K::FunctionId {
//!     kernel.release_function(function);
//!     K::function_id(&function)
//! }
//! ```
//!
//! A patch is in use after it was handed over to be freed:
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, patch: K::Patch) {
//!     kernel.free_later(patch, false);
//!     kernel.list(&patch, false);
//! }
//! ```
//!
//! An object is released while its owner keeps it:
//!
//! ```compile_fail,E0507
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, object: &Object<K>) {
//!     kernel.release_object(object.handle);
//! }
//! ```
//!
//! An identity is taken for the patch:
//!
//! ```compile_fail,E0308
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, patch: K::PatchId) {
//!     kernel.free_later(patch, false);
//! }
//! ```
//!
//! # What has users is waited for
//!
//! Hooks are reaped without a wait:
//!
//! ```compile_fail,E0061
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, sites: &mut Sites<K>) {
//!     sites.detach(kernel);
//!     sites.reap(kernel);
//! }
//! ```
//!
//! A hook is freed without a wait, with something else as evidence:
//!
//! ```compile_fail,E0308
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, hook: K::Hook) {
//!     kernel.free(hook, &());
//! }
//! ```
//!
//! A hook is in use after it was freed:
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, hook: K::Hook, quiesced: &K::Quiesced) {
//!     kernel.free(hook, quiesced);
//!     kernel.set_settles(&hook, false);
//! }
//! ```
//!
//! The evidence is made up:
//!
//! ```compile_fail,E0423
//! # use host_tests::misuse::*;
//! fn wrong(kernel: &Simulation, hook: Hook) {
//!     kernel.free(hook, &Quiesced(1));
//! }
//! ```
//!
//! A stack check is changed while it is published, and before the wait:
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, mut check: Check) {
//!     kernel.publish_check(Some(check));
//!     check.clear();
//! }
//! ```
//!
//! ```compile_fail,E0599
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K) {
//!     if let Some(mut retired) = kernel.publish_check(None) {
//!         retired.clear();
//!     }
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K) {
//!     let retired = kernel.publish_check(None);
//!     kernel.publish_check(retired);
//! }
//! ```
//!
//! # What is handed out goes back
//!
//! A task is kept beyond the walk:
//!
//! ```compile_fail,E0521
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K) -> bool {
//!     let mut kept: Option<&K::Task> = None;
//!     kernel.for_each_thread(&mut |task| kept = Some(task));
//!     kept.is_some_and(|task| task.is_pending())
//! }
//! ```
//!
//! The stack of a task is read when the task is no longer pinned, or never was:
//!
//! ```compile_fail,E0521
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, task: &K::Task) {
//!     let mut kept: Option<&K::Pinned> = None;
//!     kernel.pin(task, &mut |pinned| kept = Some(pinned));
//!     kept.map(|pinned| kernel.stack(pinned, &mut |_| ()));
//! }
//! ```
//!
//! ```compile_fail,E0308
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, task: &K::Task) {
//!     let _ = kernel.stack(task, &mut |_| ());
//! }
//! ```
//!
//! The stack check is in use outside of the section that has it, or with preemption on:
//!
//! ```compile_fail,E0521
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, entries: &[usize]) -> Option<usize> {
//!     let mut kept: Option<&StackCheck> = None;
//!     let off = kernel.preemption_off();
//!     kernel.with_check(&off, &mut |check| kept = check);
//!     kept?.find(State::Patched, entries)
//! }
//! ```
//!
//! ```compile_fail,E0382
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K) {
//!     let off = kernel.preemption_off();
//!     drop(off);
//!     kernel.with_check(&off, &mut |_| ());
//! }
//! ```
//!
//! The name of a function outlives the stack check:
//!
//! ```compile_fail,E0505
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K, check: Check) -> String {
//!     let name = check.name(0);
//!     kernel.publish_check(Some(check));
//!     name.to_string()
//! }
//! ```
//!
//! # What the core decides
//!
//! A transition is made outside of the core:
//!
//! ```compile_fail,E0603
//! use livepatch_core::transition::Transition;
//! ```
//!
//! A patch is put into a transition outside of the core:
//!
//! ```compile_fail,E0616
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(patch: &mut Patch<K>) {
//!     patch.transition = None;
//! }
//! ```
//!
//! The tasks' target is set outside of the core:
//!
//! ```compile_fail,E0624
//! # use host_tests::misuse::*;
//! fn wrong<K: Kernel>(kernel: &K) {
//!     kernel.shared().set_target(State::Patched);
//! }
//! ```

#[doc(no_inline)]
pub use crate::{simulation::Simulation, tasks::Quiesced, tracer::Hook};
#[doc(no_inline)]
pub use livepatch_core::{
    dispatch::Tracer,
    patch::{Object, Patch, Sites, Structures},
    stack::{Check, Checks, StackCheck},
    task::{State, Task, Tasks},
    transition::Scheduler,
    Kernel,
};
