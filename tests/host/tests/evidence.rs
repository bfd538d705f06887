// SPDX-License-Identifier: GPL-2.0

//! Evidence of a wait: the simulation refuses evidence that is older than what it is given for.
#![cfg(not(loom))]

use host_tests::simulation::Simulation;
use host_tests::tracer::Hook;
use host_tests::world::World;
use kernel::prelude::*;
use livepatch_core::dispatch::{Addition, Redirections, Tracer, Version};
use livepatch_core::site::{Site, Target, View};
use livepatch_core::stack::{Checks, Range, StackCheck};
use livepatch_core::symbol::{Name, Symbols};
use livepatch_core::task::Tasks;
use livepatch_core::transition::Scheduler;
use std::iter::once;

/// Patches the function `cmdline`.
fn patched(kernel: &Simulation) -> Redirections<u8, Hook> {
    let function = kernel.code.address(None, "cmdline").unwrap();
    let version = Version {
        function: 1,
        target: Target::Original,
        code: Range {
            start: function,
            size: kernel.size_at(function).unwrap(),
        },
        in_transition: false,
    };
    let addition = Addition {
        function,
        location: kernel.location(function),
        name: &Name::new(b"cmdline").unwrap(),
        version,
    };
    let mut sites = Redirections::new();
    sites.push(kernel, once(addition)).unwrap();
    sites
}

#[test]
#[should_panic(expected = "a hook was freed whose handlers may still be running")]
fn of_a_wait_before_the_hook_was_detached() {
    let world = World::new();
    let kernel = &world.kernel;
    let mut sites = patched(kernel);
    sites.remove(kernel, world.function("cmdline"), 1);
    let early = kernel.synchronize();
    sites.detach(kernel);
    sites.reap(kernel, &early);
}

#[test]
#[should_panic(expected = "a hook was freed that is attached")]
fn for_a_hook_that_is_attached() {
    let world = World::new();
    let kernel = &world.kernel;
    let function = world.function("cmdline");
    let location = kernel.location(function).unwrap();
    let site = Site::new(View::Settled(Target::Original));
    let hook = kernel.new_hook(location, site).unwrap();
    kernel.attach(&[&hook]).unwrap();
    let quiesced = kernel.synchronize();
    kernel.free(hook, &quiesced);
}

#[test]
#[should_panic(expected = "a hook was dropped, not freed")]
fn without_it_a_hook_is_lost() {
    let world = World::new();
    drop(patched(&world.kernel));
}

#[test]
#[should_panic(expected = "a stack check was reclaimed that may still be in use")]
fn of_a_wait_before_the_stack_check_was_taken_back() {
    let world = World::new();
    let kernel = &world.kernel;
    let check = StackCheck::new([].into_iter()).unwrap();
    let check = KBox::new(check, GFP_KERNEL).unwrap();
    assert!(kernel.publish_check(Some(check)).is_none());
    let early = kernel.synchronize();
    let retired = kernel.publish_check(None).expect("it was published");
    kernel.reclaim_check(retired, &early);
}

#[test]
#[should_panic(expected = "sleeping with preemption off")]
fn is_not_waited_for_with_preemption_off() {
    let world = World::new();
    let _off = world.kernel.preemption_off();
    world.kernel.synchronize();
}
