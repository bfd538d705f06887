// SPDX-License-Identifier: GPL-2.0

//! Registry: the enabled patches, their order, and their lifecycle.
//!
//! C counterpart: the lifecycle in `kernel/livepatch/core.c`.

use super::{
    dispatch::{
        Gear,
        Redirections, //
    },
    patch::{
        Object,
        Patch,
        Sites,
        Which, //
    },
    state,
    symbol::{
        object_text,
        Name,
        Text, //
    },
    transition::{
        Ongoing,
        State, //
    },
    Kernel,
};
use kernel::prelude::*;

/// The state of the livepatch core. One lock (`klp_mutex`) protects all of it.
pub struct Core<K: Kernel> {
    /// The patches that are enabled or in transition, oldest first.
    pub(crate) patches: KVec<Patch<K>>,
    /// The transition in progress.
    pub(crate) transition: Option<Ongoing<K::Patch>>,
    /// The patched functions.
    pub(crate) sites: Sites<K>,
}

/// Why a patch could not be enabled.
#[derive(Debug)]
pub enum NotEnabled {
    /// The patch was refused before anything was done. No reference to its module was taken.
    Refused(Error),
    /// Enabling failed and was undone. The caller still has to release the patch's directory and
    /// the reference to its module, without the core's lock.
    Undone(Error),
}

impl<K: Kernel> Core<K> {
    /// Creates a core without patches.
    pub const fn new() -> Self {
        Self {
            patches: KVec::new(),
            transition: None,
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

    /// Whether `patch` is in transition.
    pub fn is_in_transition(&self, patch: K::Patch) -> bool {
        self.transition
            .as_ref()
            .is_some_and(|transition| transition.patch == patch)
    }

    /// Returns the position of `patch` among the patches, counted from 1.
    ///
    /// For a patch that is not listed this is the number of patches, as in the C core.
    pub fn stack_order(&self, patch: K::Patch) -> usize {
        match self.patches.iter().position(|own| own.handle == patch) {
            Some(index) => index.saturating_add(1),
            None => self.patches.len(),
        }
    }

    pub(crate) fn find(&self, patch: K::Patch) -> Option<&Patch<K>> {
        self.patches.iter().find(|own| own.handle == patch)
    }

    pub(crate) fn find_mut(&mut self, patch: K::Patch) -> Option<&mut Patch<K>> {
        self.patches.iter_mut().find(|own| own.handle == patch)
    }

    /// Enables a patch: creates its directories, resolves its symbols and relocations, redirects
    /// its functions, and then starts the transition.
    ///
    /// C counterpart: the part of `klp_enable_patch()` under the lock.
    pub fn enable(&mut self, kernel: &K, mut patch: Patch<K>) -> Result<(), NotEnabled> {
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
        if self.find(patch.handle).is_some() {
            pr_err!("patch '{}' is enabled already\n", patch.name);
            return Err(NotEnabled::Refused(EEXIST));
        }
        check_tracer(kernel, &patch.name, "enabled").map_err(NotEnabled::Refused)?;
        kernel
            .get_module(patch.handle)
            .map_err(NotEnabled::Refused)?;
        kernel.prepare(&patch);

        let handle = patch.handle;
        let published = self
            .publish(kernel, &mut patch)
            .and_then(|()| Ok(self.patches.reserve(1, GFP_KERNEL)?));
        if let Err(error) = published {
            patch.release(kernel, Which::All);
            return Err(NotEnabled::Undone(error));
        }
        if self.patches.push_within_capacity(patch).is_err() {
            // Room was reserved above.
            warn_on_once!(true);
            return Err(NotEnabled::Undone(ENOMEM));
        }
        kernel.list(handle, true);

        self.apply(kernel, handle).map_err(|error| {
            self.take_out(kernel, handle);
            NotEnabled::Undone(error)
        })
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
            object.publish(kernel, patch.handle, &patch.name)?;
        }
        patch.reserve_check()
    }

    /// Patches the functions and starts the transition. C counterpart: `__klp_enable_patch()`.
    fn apply(&mut self, kernel: &K, handle: K::Patch) -> Result {
        if self.transition.is_some() {
            return Err(EBUSY);
        }
        if let Some(patch) = self.find(handle) {
            pr_notice!("enabling patch '{}'\n", patch.name);
        }
        self.begin(kernel, handle, State::Patched)?;
        if let Err(error) = self.patch_objects(kernel, handle) {
            if let Some(patch) = self.find(handle) {
                pr_warn!("failed to enable patch '{}'\n", patch.name);
            }
            self.cancel(kernel);
            return Err(error);
        }
        self.start(kernel);
        if let Some(patch) = self.find_mut(handle) {
            patch.set_enabled(kernel, true);
        }
        self.try_complete(kernel);
        Ok(())
    }

    fn patch_objects(&mut self, kernel: &K, handle: K::Patch) -> Result {
        let Self { patches, sites, .. } = self;
        let Some(patch) = patches.iter_mut().find(|patch| patch.handle == handle) else {
            return Err(EINVAL);
        };
        for object in patch.objects.iter_mut().filter(|object| object.is_loaded()) {
            object.pre_patch(kernel).inspect_err(|_| {
                warn_pre_patch(object.name.as_ref());
            })?;
            object.patch(kernel, sites).inspect_err(|_| {
                pr_warn!(
                    "failed to patch object '{}'\n",
                    object_text(object.name.as_ref())
                );
            })?;
        }
        Ok(())
    }

    /// Starts to disable a patch. C counterpart: `__klp_disable_patch()`.
    ///
    /// Errors: `EINVAL` if the patch is not enabled, `EBUSY` during a transition, `ENODEV` if the
    /// tracer is dead.
    fn disable(&mut self, kernel: &K, handle: K::Patch) -> Result {
        if kernel::warn_on!(!self.find(handle).is_some_and(|patch| patch.enabled)) {
            return Err(EINVAL);
        }
        if self.transition.is_some() {
            return Err(EBUSY);
        }
        if let Some(patch) = self.find(handle) {
            check_tracer(kernel, &patch.name, "disabled")?;
        }
        self.begin(kernel, handle, State::Unpatched)?;
        if let Some(patch) = self.find(handle) {
            for object in patch.objects.iter().filter(|object| object.patched) {
                kernel.pre_unpatch(object.handle);
            }
        }
        self.start(kernel);
        if let Some(patch) = self.find_mut(handle) {
            patch.set_enabled(kernel, false);
        }
        self.try_complete(kernel);
        Ok(())
    }

    /// Disables a patch or reverses its transition, as the administrator asks.
    ///
    /// Errors: `EINVAL` if the patch is in the requested state already, or was disabled and can't
    /// be enabled again; `EBUSY` during the transition of another patch. C counterpart:
    /// `enabled_store()`.
    pub fn set_enabled(&mut self, kernel: &K, handle: K::Patch, enabled: bool) -> Result {
        // A patch that is not listed has been disabled and can't be enabled again.
        let current = self.find(handle).is_some_and(|patch| patch.enabled);
        if current == enabled {
            return Err(EINVAL);
        }
        if self.is_in_transition(handle) {
            self.reverse(kernel);
            Ok(())
        } else if !enabled {
            self.disable(kernel, handle)
        } else {
            Err(EINVAL)
        }
    }

    /// Forces the patch's transition: moves all tasks at once. Errors: `EINVAL` if the patch is not
    /// in transition.
    pub fn force_transition(&mut self, kernel: &K, handle: K::Patch) -> Result {
        if !self.is_in_transition(handle) {
            return Err(EINVAL);
        }
        self.force(kernel);
        Ok(())
    }

    /// Returns the gear of `patch`: how calls reach its functions. `None` if the patch is in
    /// transition or not listed.
    pub fn gear(&self, patch: K::Patch) -> Option<Gear> {
        let own = self.find(patch).filter(|_| !self.is_in_transition(patch));
        own.map(|own| own.gear)
    }

    /// Sets the gear of `patch`: how calls reach its functions while no transition needs the
    /// handler.
    ///
    /// Errors: `ENODEV` if the tracer is dead, `EINVAL` if the patch is not listed, or the tracer's
    /// error.
    pub fn set_gear(&mut self, kernel: &K, patch: K::Patch, gear: Gear) -> Result {
        if kernel.is_dead() {
            return Err(ENODEV);
        }
        let own = self.find_mut(patch).ok_or(EINVAL)?;
        let before = core::mem::replace(&mut own.gear, gear);
        if gear == Gear::Handler {
            if let Err(error) = self.unsettle(kernel, patch) {
                if let Some(own) = self.find_mut(patch) {
                    own.gear = before;
                }
                return Err(error);
            }
        }
        self.settle(kernel);
        Ok(())
    }

    /// Lets calls of a function go straight to its newest version where the patch of that version
    /// asks for it and no transition of that version is in progress.
    pub(crate) fn settle(&self, kernel: &K) {
        // Use loops: chained iterators would produce symbol names that are too long for kallsyms.
        for patch in &self.patches {
            if patch.gear != Gear::Settled {
                continue;
            }
            for function in patch.objects.iter().flat_map(|object| &object.functions) {
                if function.patched && !function.transition {
                    let start = function.old.start;
                    self.sites.may_settle(kernel, start, function.handle);
                }
            }
        }
        kernel.settle();
    }

    /// Makes all calls of the patch's functions go through the handler, so that their sites can
    /// change.
    pub(crate) fn unsettle(&self, kernel: &K, patch: K::Patch) -> Result {
        for object in &self.find(patch).ok_or(EINVAL)?.objects {
            object.must_not_settle(kernel, &self.sites);
        }
        kernel.unsettle()
    }

    /// Unpatches all patches before `new`, which has a version of each of their functions.
    ///
    /// C counterpart: `klp_unpatch_replaced_patches()`.
    pub(crate) fn unpatch_replaced(&mut self, kernel: &K, new: K::Patch) {
        let Self { patches, sites, .. } = self;
        for old in patches.iter_mut().take_while(|patch| patch.handle != new) {
            old.set_enabled(kernel, false);
            old.unpatch(kernel, sites, Which::All);
        }
    }

    /// Unpatches the nops of `new`. Without the replaced patches, those functions run their
    /// original anyway.
    ///
    /// With [`Self::release_nops`], the C counterpart is `klp_discard_nops()`.
    pub(crate) fn unpatch_nops(&mut self, kernel: &K, new: K::Patch) {
        let Self { patches, sites, .. } = self;
        if let Some(patch) = patches.iter_mut().find(|patch| patch.handle == new) {
            patch.unpatch(kernel, sites, Which::Nops);
        }
    }

    /// Releases the nops of `new`. The caller has waited until they are no longer in use.
    pub(crate) fn release_nops(&mut self, kernel: &K, new: K::Patch) {
        if let Some(patch) = self.find_mut(new) {
            patch.release(kernel, Which::Nops);
        }
    }

    /// Removes a patch from the list and releases its objects. Returns whether it was forced.
    fn take_out(&mut self, kernel: &K, handle: K::Patch) -> bool {
        let Some(index) = self.patches.iter().position(|own| own.handle == handle) else {
            return false;
        };
        kernel.list(handle, false);
        self.patches.remove(index).is_ok_and(|mut patch| {
            patch.release(kernel, Which::All);
            patch.forced
        })
    }

    /// Frees a patch that is no longer enabled. C counterpart: `klp_free_patch_async()`.
    pub(crate) fn free(&mut self, kernel: &K, handle: K::Patch) {
        let forced = self.take_out(kernel, handle);
        kernel.free_later(handle, forced);
    }

    /// Frees all patches before `new`. C: `klp_free_replaced_patches_async()`.
    pub(crate) fn free_replaced(&mut self, kernel: &K, new: K::Patch) {
        while let Some(oldest) = self.patches.first().map(|patch| patch.handle) {
            if oldest == new {
                return;
            }
            self.free(kernel, oldest);
        }
    }

    /// Patches a module that is loading, before its code runs.
    ///
    /// Errors: the error of the first patch that could not be applied. The module must not load
    /// then, and all patches have been taken off it. C counterpart: `klp_module_coming()`.
    pub fn module_coming(&mut self, kernel: &K, module: K::Module, name: &[u8]) -> Result {
        // From here on, a patch that is being enabled patches the module itself.
        kernel.set_alive(module, true);
        for index in 0..self.patches.len() {
            if let Err(error) = self.patch_module(kernel, index, module, name) {
                if let Some(patch) = self.patches.get(index) {
                    pr_warn!(
                        "patch '{}' failed for module '{}', refusing to load module '{}'\n",
                        patch.name,
                        Text(name),
                        Text(name)
                    );
                }
                kernel.set_alive(module, false);
                self.unpatch_module(kernel, name, index);
                return Err(error);
            }
        }
        self.settle(kernel);
        Ok(())
    }

    /// Takes all patches off a module that is going. C counterpart: `klp_module_going()`.
    pub fn module_going(&mut self, kernel: &K, module: K::Module, name: &[u8]) {
        kernel.set_alive(module, false);
        self.unpatch_module(kernel, name, self.patches.len());
    }

    /// Applies all of the `index`-th patch to a module that is loading, or nothing of it.
    fn patch_module(&mut self, kernel: &K, index: usize, module: K::Module, name: &[u8]) -> Result {
        let Some(patch) = self.patches.get_mut(index) else {
            return Ok(());
        };
        let handle = patch.handle;
        let Some(object) = patch
            .objects
            .iter_mut()
            .find(|object| object.is_module(name))
        else {
            return Ok(());
        };
        object.set_module(kernel, Some(module));
        if let Err(error) = object.resolve(kernel, handle, &patch.name) {
            pr_warn!(
                "failed to initialize patch '{}' for module '{}' ({})\n",
                patch.name,
                Text(name),
                error.to_errno()
            );
            object.set_module(kernel, None);
            return Err(error);
        }
        pr_notice!(
            "applying patch '{}' to loading module '{}'\n",
            patch.name,
            Text(name)
        );
        let result = self.patch_loaded_module(kernel, index, name);
        if result.is_err() {
            if let Some(object) = self.module_object(index, name) {
                object.forget_code(kernel, handle);
                object.set_module(kernel, None);
            }
        }
        result
    }

    /// Returns the object of the `index`-th patch that stands for the module `name`.
    fn module_object(&mut self, index: usize, name: &[u8]) -> Option<&mut Object<K>> {
        self.patches
            .get_mut(index)?
            .objects
            .iter_mut()
            .find(|object| object.is_module(name))
    }

    /// Runs the callbacks and redirects the functions for [`Self::patch_module`].
    fn patch_loaded_module(&mut self, kernel: &K, index: usize, name: &[u8]) -> Result {
        let Some(handle) = self.patches.get(index).map(|patch| patch.handle) else {
            return Ok(());
        };
        let in_transition = self.is_in_transition(handle);
        let Some(object) = self.module_object(index, name) else {
            return Ok(());
        };
        object.pre_patch(kernel).inspect_err(|_| {
            warn_pre_patch(object.name.as_ref());
        })?;
        if let Err(error) = self.redirect_module(kernel, index, name, in_transition) {
            if let Some(patch) = self.patches.get(index) {
                pr_warn!(
                    "failed to apply patch '{}' to module '{}' ({})\n",
                    patch.name,
                    Text(name),
                    error.to_errno()
                );
            }
            if let Some(object) = self.module_object(index, name) {
                object.post_unpatch(kernel);
            }
            return Err(error);
        }
        if !in_transition {
            if let Some(object) = self.module_object(index, name) {
                kernel.post_patch(object.handle);
            }
        }
        Ok(())
    }

    /// Redirects the functions of a module that is loading. In a transition, the functions are
    /// added to the stack check first.
    fn redirect_module(
        &mut self,
        kernel: &K,
        index: usize,
        name: &[u8],
        in_transition: bool,
    ) -> Result {
        if in_transition {
            self.renew_stack_check(kernel, &|object| object.is_module(name));
        }
        let Self { patches, sites, .. } = self;
        let result = match patches.get_mut(index).and_then(|patch| {
            patch
                .objects
                .iter_mut()
                .find(|object| object.is_module(name))
        }) {
            Some(object) => object.patch(kernel, sites),
            None => Ok(()),
        };
        if result.is_err() && in_transition {
            // The module's memory may soon be reused, so its code must leave the stack check.
            self.renew_stack_check(kernel, &|_| false);
        }
        result
    }

    /// Takes the first `limit` patches off a module.
    ///
    /// C counterpart: `klp_cleanup_module_patches_limited()`.
    fn unpatch_module(&mut self, kernel: &K, name: &[u8], limit: usize) {
        let transition = self.transition.as_ref().map(|transition| transition.patch);
        let Self { patches, sites, .. } = self;
        let mut renew = false;
        for patch in patches.iter_mut().take(limit) {
            let in_transition = transition == Some(patch.handle);
            let Some(object) = patch
                .objects
                .iter_mut()
                .find(|object| object.is_module(name))
            else {
                continue;
            };
            if !object.is_loaded() {
                continue;
            }
            if !in_transition {
                kernel.pre_unpatch(object.handle);
            }
            pr_notice!(
                "reverting patch '{}' on unloading module '{}'\n",
                patch.name,
                Text(name)
            );
            object.must_not_settle(kernel, sites);
            let unsettled = kernel.unsettle();
            // A dead tracer keeps sending calls to the old targets. That is harmless here: the
            // module's code is going and is not called any more.
            kernel::warn_on!(unsettled.is_err() && !kernel.is_dead());
            object.unpatch(kernel, sites, Which::All);
            sites.detach(kernel);
            object.post_unpatch(kernel);
            object.forget_code(kernel, patch.handle);
            object.set_module(kernel, None);
            renew |= in_transition;
        }
        if renew {
            self.renew_stack_check(kernel, &|_| false);
        } else if self.sites.is_littered() {
            kernel.synchronize();
            self.sites.reap();
        }
    }
}

impl<K: Kernel> Default for Core<K> {
    fn default() -> Self {
        Self::new()
    }
}

/// Refuses to enable or disable a patch if the tracer is dead. A dead tracer could redirect only
/// some of the calls, whichever gear they are in.
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

/// Warns that the pre-patch callback of an object failed.
fn warn_pre_patch(object: Option<&Name>) {
    pr_warn!(
        "pre-patch callback failed for object '{}'\n",
        object_text(object)
    );
}
