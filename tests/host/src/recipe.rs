// SPDX-License-Identifier: GPL-2.0

//! Recipes: what a livepatch module contains.

/// A function that a patch replaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FunctionRecipe {
    /// The original's name.
    pub name: String,
    /// Its sympos.
    pub position: usize,
    /// Whether the patch has a replacement. A sound patch has one.
    pub replacement: bool,
}

/// An object that a patch changes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ObjectRecipe {
    /// The module's name, `None` for the kernel itself.
    pub name: Option<String>,
    /// Whether it has callbacks.
    pub callbacks: bool,
    /// Its functions.
    pub functions: Vec<FunctionRecipe>,
}

/// A livepatch module.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recipe {
    /// The module's name.
    pub name: String,
    /// Whether it replaces all patches before it.
    pub replace: bool,
    /// The system states that it modifies: identifier and version.
    pub states: Vec<(usize, u32)>,
    /// The objects that it changes.
    pub objects: Vec<ObjectRecipe>,
}

impl Recipe {
    /// Creates a patch without objects.
    pub fn new(name: &str) -> Self {
        Self {
            name: name.to_owned(),
            replace: false,
            states: Vec::new(),
            objects: Vec::new(),
        }
    }

    /// Creates a patch that replaces functions of the kernel.
    pub fn of_kernel(name: &str, functions: &[&str]) -> Self {
        functions
            .iter()
            .fold(Self::new(name).vmlinux(), |recipe, function| {
                recipe.function(function)
            })
    }

    /// Makes the patch replace all patches before it.
    pub fn replacing(mut self) -> Self {
        self.replace = true;
        self
    }

    /// Adds a system state.
    pub fn state(mut self, id: usize, version: u32) -> Self {
        self.states.push((id, version));
        self
    }

    /// Adds the kernel as an object.
    pub fn vmlinux(self) -> Self {
        self.add(None)
    }

    /// Adds a module as an object.
    pub fn module(self, name: &str) -> Self {
        self.add(Some(name.to_owned()))
    }

    fn add(mut self, name: Option<String>) -> Self {
        self.objects.push(ObjectRecipe {
            name,
            callbacks: false,
            functions: Vec::new(),
        });
        self
    }

    /// Adds callbacks to the last object.
    pub fn callbacks(mut self) -> Self {
        self.objects.last_mut().expect("an object").callbacks = true;
        self
    }

    /// Adds a function to the last object.
    pub fn function(self, name: &str) -> Self {
        self.function_at(name, 0)
    }

    /// Adds a function with a sympos to the last object.
    pub fn function_at(mut self, name: &str, position: usize) -> Self {
        let object = self.objects.last_mut().expect("an object");
        object.functions.push(FunctionRecipe {
            name: name.to_owned(),
            position,
            replacement: true,
        });
        self
    }
}
