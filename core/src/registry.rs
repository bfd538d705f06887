// SPDX-License-Identifier: GPL-2.0

//! Registry: the enabled patches, their order, and their lifecycle.
//!
//! C counterpart: the lifecycle in `kernel/livepatch/core.c`.

use super::{
    dispatch::Redirections,
    patch::{
        Object,
        Patch,
        Sites,
        Which, //
    },
    settle::settle,
    state,
    symbol::{
        object_text,
        Name,
        Text, //
    },
    transition::{
        change_check,
        Direction, //
    },
    Kernel,
};
use kernel::prelude::*;

/// The state of the livepatch core. One lock (`klp_mutex`) protects all of it.
pub struct Core<K: Kernel> {
    /// The patches that are enabled or in transition, oldest first. At most one is in transition.
    patches: KVec<Patch<K>>,
    /// The patched functions.
    sites: Sites<K>,
}

/// Why a patch could not be enabled.
#[derive(Debug)]
pub enum NotEnabled<P> {
    /// The patch was refused before anything was done.
    Refused(Error),
    /// Enabling failed and was undone. The caller has to release the directory of the patch, which
    /// it gets back, and then the reference to its module, without the core's lock.
    Undone(Error, P),
}

/// One of the patches, and what an operation on it may change.
pub(crate) struct Selected<'a, K: Kernel> {
    pub(crate) older: &'a mut [Patch<K>],
    pub(crate) patch: &'a mut Patch<K>,
    pub(crate) newer: &'a mut [Patch<K>],
    pub(crate) sites: &'a mut Sites<K>,
}

impl<K: Kernel> Core<K> {
    /// Creates a core without patches.
    pub const fn new() -> Self {
        Self {
            patches: KVec::new(),
            sites: Redirections::new(),
        }
    }

    /// Returns the patches that are enabled or in transition, oldest first.
    pub fn patches(&self) -> &[Patch<K>] {
        &self.patches
    }

    /// Returns the patched functions, for tests on the host.
    #[cfg(not(CONFIG_LIVEPATCH))]
    pub fn sites(&self) -> &Sites<K> {
        &self.sites
    }

    /// Whether `patch` is in transition, for tests on the host.
    #[cfg(not(CONFIG_LIVEPATCH))]
    pub fn is_in_transition(&self, patch: K::PatchId) -> bool {
        self.find(patch).is_some_and(Patch::is_in_transition)
    }

    /// Whether any patch is in transition.
    fn is_busy(&self) -> bool {
        self.patches.iter().any(Patch::is_in_transition)
    }

    /// Returns the position of `patch` among the patches, counted from 1.
    ///
    /// For a patch that is not listed this is the number of patches, as in the C core.
    pub fn stack_order(&self, patch: K::PatchId) -> usize {
        match self.patches.iter().position(|own| own.id() == patch) {
            Some(index) => index.saturating_add(1),
            None => self.patches.len(),
        }
    }

    pub(crate) fn find(&self, patch: K::PatchId) -> Option<&Patch<K>> {
        self.patches.iter().find(|own| own.id() == patch)
    }

    pub(crate) fn select(&mut self, wanted: impl Fn(&Patch<K>) -> bool) -> Option<Selected<'_, K>> {
        let Self { patches, sites } = self;
        let index = patches.iter().position(wanted)?;
        let (older, rest) = patches.split_at_mut_checked(index)?;
        let (patch, newer) = rest.split_first_mut()?;
        Some(Selected {
            older,
            patch,
            newer,
            sites,
        })
    }

    /// Enables a patch: creates its directories, resolves its symbols and relocations, redirects
    /// its functions, and then starts the transition.
    ///
    /// C counterpart: the part of `klp_enable_patch()` under the lock.
    pub fn enable(&mut self, kernel: &K, mut patch: Patch<K>) -> Result<(), NotEnabled<K::Patch>> {
        let compatible = self
            .patches
            .iter()
            .all(|old| state::is_compatible(&patch.states, patch.replace, &old.states));
        if !compatible {
            pr_err!(
                "Livepatch patch ({}) is not compatible with the already installed livepatches.\n",
                patch.name
            );
            return Err(NotEnabled::Refused(EINVAL));
        }
        // The structures are in use: a second `prepare` would destroy their contents.
        let id = patch.id();
        if self.find(id).is_some() {
            pr_err!("patch '{}' is enabled already\n", patch.name);
            return Err(NotEnabled::Refused(EEXIST));
        }
        check_tracer(kernel, &patch.name, "enabled").map_err(NotEnabled::Refused)?;
        kernel.prepare(&patch);

        let published = self
            .publish(kernel, &mut patch)
            .and_then(|()| Ok(self.patches.reserve(1, GFP_KERNEL)?));
        if let Err(error) = published {
            patch.release(kernel, Which::All);
            return Err(NotEnabled::Undone(error, patch.handle));
        }
        kernel.list(&patch.handle, true);
        let mut result = if self.is_busy() { Err(EBUSY) } else { Ok(()) };
        if let Err(full) = self.patches.push_within_capacity(patch) {
            // Room was reserved above.
            warn_on_once!(true);
            return Err(NotEnabled::Undone(ENOMEM, give_up(kernel, full.0)));
        }
        if let Some(mut own) = self.select(|own| own.id() == id) {
            result = result.and_then(|()| own.enable(kernel));
        }
        if let Err(error) = result {
            return Err(match self.take_out(|own| own.id() == id) {
                Some(patch) => NotEnabled::Undone(error, give_up(kernel, patch)),
                None => NotEnabled::Refused(error),
            });
        }
        self.free_disabled(kernel);
        Ok(())
    }

    /// Creates the patch's directories, and nops if the patch is cumulative. C: `klp_init_patch()`.
    fn publish(&self, kernel: &K, patch: &mut Patch<K>) -> Result {
        kernel.publish_patch(patch)?;
        if patch.replace {
            for old in &self.patches {
                patch.add_nops(kernel, old)?;
            }
        }
        for object in patch.objects.iter_mut() {
            object.publish(kernel, &patch.handle, &patch.name)?;
        }
        patch.reserve_check()
    }

    /// Disables a patch or reverses its transition, as the administrator asks.
    ///
    /// Errors: `EINVAL` if the patch is in the requested state already, or was disabled and can't
    /// be enabled again; `EBUSY` during the transition of another patch. C counterpart:
    /// `enabled_store()`.
    pub fn set_enabled(&mut self, kernel: &K, patch: K::PatchId, enabled: bool) -> Result {
        let busy = self.is_busy();
        // A patch that is not listed has been disabled and can't be enabled again.
        let Some(mut own) = self.select(|own| own.id() == patch) else {
            return Err(EINVAL);
        };
        if own.patch.enabled == enabled {
            return Err(EINVAL);
        }
        if own.patch.is_in_transition() {
            own.reverse(kernel);
        } else if enabled {
            // A patch that is neither enabled nor in transition is not listed.
            return Err(EINVAL);
        } else if busy {
            return Err(EBUSY);
        } else {
            own.disable(kernel)?;
        }
        self.free_disabled(kernel);
        Ok(())
    }

    /// Makes the attempt that [`Clock::retry_later`](super::transition::Clock::retry_later)
    /// scheduled.
    pub fn retry(&mut self, kernel: &K) {
        if let Some(mut own) = self.select(Patch::is_in_transition) {
            own.attempt(kernel);
        }
        self.free_disabled(kernel);
    }

    /// Forces the patch's transition: moves all tasks at once. Errors: `EINVAL` if the patch is not
    /// in transition.
    pub fn force_transition(&mut self, kernel: &K, patch: K::PatchId) -> Result {
        let own = self.select(|own| own.id() == patch && own.is_in_transition());
        own.ok_or(EINVAL)?.force(kernel);
        Ok(())
    }

    /// Removes the oldest patch that is wanted, if there is one.
    fn take_out(&mut self, wanted: impl Fn(&Patch<K>) -> bool) -> Option<Patch<K>> {
        let index = self.patches.iter().position(wanted)?;
        self.patches.remove(index).ok()
    }

    /// Frees the patches that a transition left disabled, the oldest first.
    ///
    /// C counterparts: `klp_free_patch_async()`, `klp_free_replaced_patches_async()`.
    fn free_disabled(&mut self, kernel: &K) {
        let is_disabled = |own: &Patch<K>| !own.enabled && !own.is_in_transition();
        while let Some(patch) = self.take_out(is_disabled) {
            let forced = patch.forced;
            kernel.free_later(give_up(kernel, patch), forced);
        }
    }

    /// Patches a module that is loading, before its code runs.
    ///
    /// Errors: the error of the first patch that could not be applied. The module must not load
    /// then, and all patches have been taken off it. C counterpart: `klp_module_coming()`.
    pub fn module_coming(&mut self, kernel: &K, module: K::Module, name: &[u8]) -> Result {
        let Self { patches, sites } = self;
        for (index, patch) in patches.iter_mut().enumerate() {
            if let Err(error) = patch.patch_module(kernel, sites, module, name) {
                pr_warn!(
                    "patch '{}' failed for module '{}', refusing to load module '{}'\n",
                    patch.name,
                    Text(name),
                    Text(name)
                );
                self.unpatch_module(kernel, name, index);
                return Err(error);
            }
        }
        settle(kernel, patches, sites);
        Ok(())
    }

    /// Takes all patches off a module that is going. C counterpart: `klp_module_going()`.
    pub fn module_going(&mut self, kernel: &K, name: &[u8]) {
        self.unpatch_module(kernel, name, self.patches.len());
    }

    /// Takes the first `limit` patches off a module.
    ///
    /// C counterpart: `klp_cleanup_module_patches_limited()`.
    fn unpatch_module(&mut self, kernel: &K, name: &[u8], limit: usize) {
        let Self { patches, sites } = self;
        for patch in patches.iter_mut().take(limit) {
            patch.unpatch_module(kernel, sites, name);
        }
        if sites.is_littered() {
            let quiesced = kernel.synchronize();
            sites.reap(kernel, &quiesced);
        }
    }
}

impl<K: Kernel> Default for Core<K> {
    fn default() -> Self {
        Self::new()
    }
}

impl<K: Kernel> Selected<'_, K> {
    /// Patches the functions and starts the transition. C counterpart: `__klp_enable_patch()`.
    fn enable(&mut self, kernel: &K) -> Result {
        pr_notice!("enabling patch '{}'\n", self.patch.name);
        self.begin(kernel, Direction::Patching)?;
        if let Err(error) = self.patch.patch_objects(kernel, self.sites) {
            pr_warn!("failed to enable patch '{}'\n", self.patch.name);
            self.cancel(kernel);
            return Err(error);
        }
        self.start(kernel);
        self.patch.set_enabled_and_report(kernel, true);
        self.attempt(kernel);
        Ok(())
    }

    /// Starts to disable the patch. C counterpart: `__klp_disable_patch()`.
    ///
    /// Errors: `ENODEV` if the tracer is dead.
    fn disable(&mut self, kernel: &K) -> Result {
        check_tracer(kernel, &self.patch.name, "disabled")?;
        self.begin(kernel, Direction::Unpatching)?;
        for object in self.patch.objects.iter().filter(|object| object.patched) {
            kernel.pre_unpatch(&object.handle);
        }
        self.start(kernel);
        self.patch.set_enabled_and_report(kernel, false);
        self.attempt(kernel);
        Ok(())
    }
}

/// Takes a patch off the list that debuggers read and releases its objects. Returns its structure.
fn give_up<K: Kernel>(kernel: &K, mut patch: Patch<K>) -> K::Patch {
    kernel.list(&patch.handle, false);
    patch.release(kernel, Which::All);
    patch.handle
}

impl<K: Kernel> Patch<K> {
    fn patch_objects(&mut self, kernel: &K, sites: &mut Sites<K>) -> Result {
        for object in self.objects.iter_mut().filter(|object| object.is_loaded()) {
            object.pre_patch(kernel)?;
            object.patch(kernel, sites).inspect_err(|_| {
                pr_warn!(
                    "failed to patch object '{}'\n",
                    object_text(object.name.as_ref())
                );
            })?;
        }
        Ok(())
    }

    /// Applies all of the patch to a module that is loading, or nothing of it.
    fn patch_module(
        &mut self,
        kernel: &K,
        sites: &mut Sites<K>,
        module: K::Module,
        name: &[u8],
    ) -> Result {
        let in_transition = self.is_in_transition();
        let mut objects = self.objects.iter_mut();
        let Some(object) = objects.find(|object| object.is_module(name)) else {
            return Ok(());
        };
        object.set_module(kernel, Some(module));
        let result = object
            .resolve(kernel, &self.handle, &self.name)
            .inspect_err(|error| {
                pr_warn!(
                    "failed to initialize patch '{}' for module '{}' ({})\n",
                    self.name,
                    Text(name),
                    error.to_errno()
                );
            });
        if result.is_err() {
            object.set_module(kernel, None);
            return result;
        }
        pr_notice!(
            "applying patch '{}' to loading module '{}'\n",
            self.name,
            Text(name)
        );
        let result = object.pre_patch(kernel).and_then(|()| {
            object
                .redirect(kernel, sites, in_transition)
                .inspect_err(|error| {
                    pr_warn!(
                        "failed to apply patch '{}' to module '{}' ({})\n",
                        self.name,
                        Text(name),
                        error.to_errno()
                    );
                    object.post_unpatch(kernel);
                })
        });
        if result.is_err() {
            object.forget_code(kernel, &self.handle);
            object.set_module(kernel, None);
        } else if !in_transition {
            kernel.post_patch(&object.handle);
        }
        result
    }

    /// Takes the patch off a module. The caller must reap the hooks afterwards.
    fn unpatch_module(&mut self, kernel: &K, sites: &mut Sites<K>, name: &[u8]) {
        let in_transition = self.is_in_transition();
        let mut objects = self.objects.iter_mut();
        let object = objects.find(|object| object.is_module(name));
        let Some(object) = object.filter(|object| object.is_loaded()) else {
            return;
        };
        if !in_transition {
            kernel.pre_unpatch(&object.handle);
        }
        pr_notice!(
            "reverting patch '{}' on unloading module '{}'\n",
            self.name,
            Text(name)
        );
        object.unsettle(kernel, sites);
        object.unpatch(kernel, sites, Which::All);
        sites.detach(kernel);
        object.post_unpatch(kernel);
        object.forget_code(kernel, &self.handle);
        object.set_module(kernel, None);
        if in_transition {
            change_check(kernel, sites, |check, _| check.remove(object.numbers()));
        }
    }
}

impl<K: Kernel> Object<K> {
    /// Redirects the functions of a module that is loading. In a transition, the functions are
    /// added to the stack check first.
    fn redirect(&mut self, kernel: &K, sites: &mut Sites<K>, in_transition: bool) -> Result {
        if in_transition {
            change_check(kernel, sites, |check, sites| {
                self.add_to(sites, check);
                check.finish();
            });
        }
        let result = self.patch(kernel, sites);
        if result.is_err() && in_transition {
            // The module's memory may soon be reused, so its code must leave the stack check.
            change_check(kernel, sites, |check, _| check.remove(self.numbers()));
        }
        result
    }
}

/// Refuses to enable or disable a patch if the tracer is dead. A dead tracer could redirect only
/// some of the calls.
///
/// Errors: `ENODEV`, with the reason in the log.
fn check_tracer<K: Kernel>(kernel: &K, patch: &Name, what: &str) -> Result {
    if !kernel.is_dead() {
        return Ok(());
    }
    pr_err!(
        "ftrace has shut itself down: patch '{}' cannot be {}\n",
        patch,
        what
    );
    Err(ENODEV)
}
