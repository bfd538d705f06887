// SPDX-License-Identifier: GPL-2.0
//! Random sequences of an administrator's commands. The same seed gives the same sequences.
//!
//! A small model of what is loaded steers the choice of commands, so that most commands have an
//! effect. It also makes sure that the cause of a stalled transition is known. Otherwise the
//! outcome of a command during the stall would depend on timing.

use std::collections::BTreeMap;
use std::fmt::Write as _;

const PATCHES: &[&str] = &["parity_p1", "parity_p2", "parity_p3", "parity_p4"];
const MODULES: &[&str] = &["parity_target", "parity_other"];
const FUNCTIONS: &[&str] = &["alpha", "beta", "gamma"];

/// Number of commands in one sequence.
const LENGTH: std::ops::RangeInclusive<u64> = 12..=20;

/// Returns the name of a sequence.
pub fn name(index: usize) -> String {
    format!("sequence-{index}")
}

/// Returns `count` sequences as a script.
pub fn script(seed: u64, count: usize) -> String {
    let mut text = String::new();
    for index in 0..count {
        // Each sequence has its own seed, so that the first N do not depend on the number of
        // sequences.
        let seed = seed.wrapping_mul(1_000_003).wrapping_add(index as u64);
        let _ = writeln!(text, "scenario {}", name(index));
        for command in Sequence::new(seed).commands() {
            let _ = writeln!(text, "{command}");
        }
    }
    text
}

/// A splitmix64 generator: small, and the same everywhere.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound.max(1)
    }

    fn percent(&mut self, chance: u64) -> bool {
        self.below(100) < chance
    }

    fn pick<'a>(&mut self, of: &[&'a str]) -> &'a str {
        of[self.below(of.len() as u64) as usize]
    }
}

/// A loaded patch.
#[derive(Default)]
struct Patch {
    enabled: bool,
    /// The module for which its callback fails.
    failing: Option<&'static str>,
}

struct Sequence {
    random: Random,
    /// The loaded patches.
    patches: BTreeMap<&'static str, Patch>,
    /// Whether each module is loaded.
    modules: BTreeMap<&'static str, bool>,
    commands: Vec<String>,
}

impl Sequence {
    fn new(seed: u64) -> Self {
        Self {
            random: Random(seed),
            patches: BTreeMap::new(),
            modules: BTreeMap::new(),
            commands: Vec::new(),
        }
    }

    fn commands(mut self) -> Vec<String> {
        let length = LENGTH.start() + self.random.below(LENGTH.end() - LENGTH.start() + 1);
        while (self.commands.len() as u64) < length {
            match self.random.below(100) {
                0..=29 => self.load_patch(),
                30..=44 => self.disable(),
                45..=56 => self.unload_patch(),
                57..=72 => self.load_module(),
                73..=80 => self.unload_module(),
                81..=83 => self.enable(),
                _ => self.stall(),
            }
        }
        self.commands
    }

    fn say(&mut self, command: String) {
        self.commands.push(command);
    }

    /// Picks a patch, most of the time one for which `likely` holds. A command for any other patch
    /// mostly tests the shell.
    fn pick(&mut self, likely: impl Fn(Option<&Patch>) -> bool) -> &'static str {
        let holds = |name: &&str| likely(self.patches.get(name));
        let fit: Vec<&'static str> = PATCHES.iter().copied().filter(holds).collect();
        if fit.is_empty() || self.random.percent(15) {
            self.random.pick(PATCHES)
        } else {
            self.random.pick(&fit)
        }
    }

    /// Picks functions of one object, and sometimes none.
    fn functions(&mut self) -> String {
        let chosen: Vec<&str> = FUNCTIONS
            .iter()
            .copied()
            .filter(|_| self.random.percent(50))
            .collect();
        if chosen.is_empty() {
            "-".into()
        } else {
            chosen.join(",")
        }
    }

    /// Picks the parameters of a patch, and the module for which its callback fails.
    fn parameters(&mut self) -> (String, Option<&'static str>) {
        let mut text = String::new();
        if self.random.percent(40) {
            text.push_str(" vmlinux=cmdline");
        }
        for (parameter, chance) in [("target", 80), ("other", 40)] {
            if self.random.percent(chance) {
                let functions = self.functions();
                let _ = write!(text, " {parameter}={functions}");
            }
        }
        if text.is_empty() {
            text.push_str(" vmlinux=-");
        }
        if self.random.percent(30) {
            text.push_str(" replace=1");
        }
        let mut failing = None;
        if self.random.percent(50) {
            text.push_str(" callbacks=1");
            if self.random.percent(15) {
                let module = self.random.pick(MODULES);
                let _ = write!(text, " pre_fail={module}");
                let parameter = module.trim_start_matches("parity_");
                failing = text.contains(&format!(" {parameter}=")).then_some(module);
            }
        }
        (text, failing)
    }

    fn load_patch(&mut self) {
        let patch = self.pick(|patch| patch.is_none());
        let (parameters, failing) = self.parameters();
        self.say(format!("load {patch}{parameters}"));
        let fails = failing.is_some_and(|module| self.is_loaded(module));
        if fails || self.patches.contains_key(patch) {
            return;
        }
        if parameters.contains("replace=1") {
            self.disable_all();
        }
        let enabled = true;
        self.patches.insert(patch, Patch { enabled, failing });
    }

    fn disable_all(&mut self) {
        self.patches
            .values_mut()
            .for_each(|patch| patch.enabled = false);
    }

    fn disable(&mut self) {
        let patch = self.pick(|patch| patch.is_some_and(|patch| patch.enabled));
        self.say(format!("write {patch}/enabled 0"));
        if let Some(patch) = self.patches.get_mut(patch) {
            patch.enabled = false;
        }
    }

    fn enable(&mut self) {
        let patch = self.pick(|patch| patch.is_some());
        self.say(format!("write {patch}/enabled 1"));
    }

    fn unload_patch(&mut self) {
        let patch = self.pick(|patch| patch.is_some_and(|patch| !patch.enabled));
        self.say(format!("unload {patch}"));
        self.patches
            .retain(|name, loaded| *name != patch || loaded.enabled);
    }

    fn load_module(&mut self) {
        let missing = MODULES.iter().find(|module| !self.is_loaded(module));
        let module = match missing {
            Some(module) if self.random.percent(70) => module,
            _ => self.random.pick(MODULES),
        };
        let fails = if self.random.percent(10) {
            " fail_init=1"
        } else {
            ""
        };
        self.say(format!("load {module}{fails}"));
        if fails.is_empty() {
            self.loads(module);
        }
    }

    /// Notes that a module is loaded, unless a callback refuses it.
    fn loads(&mut self, module: &'static str) {
        let refuses = |patch: &Patch| patch.enabled && patch.failing == Some(module);
        if !self.patches.values().any(refuses) {
            self.modules.insert(module, true);
        }
    }

    fn unload_module(&mut self) {
        let module = self.random.pick(MODULES);
        self.say(format!("unload {module}"));
        self.modules.insert(module, false);
    }

    fn is_loaded(&self, module: &str) -> bool {
        self.modules.get(module).copied().unwrap_or(false)
    }

    /// Adds a transition that a held task keeps from completing, and commands to try meanwhile.
    fn stall(&mut self) {
        let free = PATCHES
            .iter()
            .find(|patch| !self.patches.contains_key(*patch));
        let (Some(&patch), true) = (free, self.is_loaded("parity_target")) else {
            return;
        };
        let replace = self.random.percent(30);
        let extra = if replace { " replace=1" } else { "" };
        // One task stays in the old version and one in the new, so neither direction completes.
        self.say("hold parity_target".into());
        self.say(format!(
            "- load {patch} target=hold,alpha other=beta stay=1{extra}"
        ));
        self.say(format!("- hold parity_target {patch}"));
        let mut enabled = true;
        for _ in 0..self.random.below(4) {
            match self.random.below(4) {
                0 => {
                    enabled = !enabled;
                    self.say(format!("- write {patch}/enabled {}", u8::from(enabled)));
                }
                1 => {
                    let another = self.random.pick(PATCHES);
                    self.say(format!("- load {another} target=gamma"));
                }
                2 => {
                    self.say("- load parity_other".into());
                    self.loads("parity_other");
                }
                _ => {
                    self.say("- unload parity_other".into());
                    self.modules.insert("parity_other", false);
                }
            }
        }
        // Release the task that blocks the transition first: the next command waits for the
        // transition to complete.
        let (first, second) = if enabled {
            ("parity_target", patch)
        } else {
            (patch, "parity_target")
        };
        self.say(format!("release {first}"));
        self.say(format!("release {second}"));
        if enabled && replace {
            self.disable_all();
        }
        // After a reversed transition, the patch is disabled and its module stays loaded.
        let failing = None;
        self.patches.insert(patch, Patch { enabled, failing });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_makes_the_same_script() {
        assert_eq!(script(7, 20), script(7, 20));
        assert_ne!(script(7, 20), script(8, 20));
        assert!(script(7, 20).starts_with(&script(7, 10)));
    }

    #[test]
    fn every_kind_of_command_occurs() {
        let script = script(1, 200);
        for part in [
            "load parity_p1",
            "replace=1",
            "pre_fail=",
            "fail_init=1",
            "unload parity_p2",
            "unload parity_target",
            "enabled 0",
            "enabled 1",
            "hold parity_target",
            "- load",
        ] {
            assert!(script.contains(part), "{part}");
        }
    }

    #[test]
    fn what_is_held_is_released() {
        let script = script(3, 100);
        let count = |part: &str| {
            let commands = script.lines().map(|line| line.trim_start_matches("- "));
            commands.filter(|line| line.starts_with(part)).count()
        };
        assert_eq!(count("hold "), count("release "));
    }
}
