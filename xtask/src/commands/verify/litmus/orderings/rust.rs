// SPDX-License-Identifier: GPL-2.0
//! The orderings in Rust.

use crate::commands::verify::litmus::orderings::list::{Orderings, RELAXED};
use anyhow::{anyhow, Result};
use proc_macro2::{TokenStream, TokenTree};
use syn::parse::Parser;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned;
use syn::visit::{self, Visit};
use syn::{Attribute, Expr, ExprCall, ExprMethodCall, Macro, Token, Type};

/// The names of orderings and barriers, as arguments, and their kinds.
const ARGUMENTS: &[(&str, &str)] = &[
    ("Acquire", "acquire"),
    ("Full", "full barrier"),
    ("Read", "read barrier"),
    ("Relaxed", RELAXED),
    ("Release", "release"),
    ("Write", "write barrier"),
];

/// Methods that order something.
const METHODS: &[(&str, &str)] = &[
    ("preemption_off", "preemption off"),
    ("read_volatile", "volatile read"),
    ("synchronize", "wait"),
    ("write_volatile", "volatile write"),
];

/// Functions that order something, by the end of their paths.
const FUNCTIONS: &[(&str, &str)] = &[
    ("preempt::disable_notrace", "preemption off"),
    ("rcu::read_lock", "read lock of RCU"),
    ("bindings::call_rcu", "call_rcu"),
    ("bindings::hlist_add_head_rcu", "hlist_add_head_rcu"),
    ("bindings::hlist_del_rcu", "hlist_del_rcu"),
    (
        "bindings::livepatch_work_on_each_cpu",
        "livepatch_work_on_each_cpu",
    ),
    ("bindings::schedule_on_each_cpu", "schedule_on_each_cpu"),
    ("bindings::task_call_func", "pin"),
    (
        "bindings::test_and_clear_task_patch_pending",
        "full barrier",
    ),
];

/// Adds the orderings and the functions of a file, without its unit tests.
pub fn find(found: &mut Orderings, name: &str, text: &str) -> Result<()> {
    let file = syn::parse_file(text).map_err(|error| {
        let line = error.span().start().line;
        anyhow!("{name}:{line}: cannot find the orderings here: {error}")
    })?;
    let mut search = Search {
        found,
        name,
        owner: None,
        function: String::new(),
        hidden: None,
    };
    search.visit_file(&file);
    search.hidden.map_or(Ok(()), Err)
}

struct Search<'a> {
    found: &'a mut Orderings,
    name: &'a str,
    /// The type or trait that functions belong to here.
    owner: Option<String>,
    /// The function that this is in.
    function: String,
    /// An ordering that can't be told apart.
    hidden: Option<anyhow::Error>,
}

impl Search<'_> {
    fn add(&mut self, kind: &str, place: &impl Spanned) {
        let line = place.span().start().line;
        let at = format!("{}:{line}", self.name);
        self.found.found(&self.function, kind, at);
    }

    fn add_arguments(&mut self, arguments: &Punctuated<Expr, Token![,]>) {
        for argument in arguments {
            let kind = last_segments(argument, 1).and_then(|name| of(ARGUMENTS, &name));
            if let Some(kind) = kind {
                self.add(kind, argument);
            }
        }
    }

    fn within_function(&mut self, name: &syn::Ident, visit: impl FnOnce(&mut Self)) {
        let name = match &self.owner {
            Some(owner) => format!("{owner}::{name}"),
            None => name.to_string(),
        };
        self.found.function(&name);
        let outer = std::mem::replace(&mut self.function, name);
        visit(self);
        self.function = outer;
    }

    fn within_owner(&mut self, name: Option<String>, visit: impl FnOnce(&mut Self)) {
        let outer = std::mem::replace(&mut self.owner, name);
        visit(self);
        self.owner = outer;
    }
}

impl<'ast> Visit<'ast> for Search<'_> {
    fn visit_item_mod(&mut self, item: &'ast syn::ItemMod) {
        if !item.attrs.iter().any(is_for_tests) {
            visit::visit_item_mod(self, item);
        }
    }

    fn visit_item_impl(&mut self, item: &'ast syn::ItemImpl) {
        let name = match &*item.self_ty {
            Type::Path(path) => path.path.segments.last(),
            _ => None,
        };
        let name = name.map(|segment| segment.ident.to_string());
        self.within_owner(name, |this| visit::visit_item_impl(this, item));
    }

    fn visit_item_trait(&mut self, item: &'ast syn::ItemTrait) {
        let name = Some(item.ident.to_string());
        self.within_owner(name, |this| visit::visit_item_trait(this, item));
    }

    fn visit_item_fn(&mut self, item: &'ast syn::ItemFn) {
        self.within_function(&item.sig.ident, |this| visit::visit_item_fn(this, item));
    }

    fn visit_impl_item_fn(&mut self, item: &'ast syn::ImplItemFn) {
        self.within_function(&item.sig.ident, |this| {
            visit::visit_impl_item_fn(this, item)
        });
    }

    fn visit_trait_item_fn(&mut self, item: &'ast syn::TraitItemFn) {
        self.within_function(&item.sig.ident, |this| {
            visit::visit_trait_item_fn(this, item)
        });
    }

    fn visit_expr_method_call(&mut self, call: &'ast ExprMethodCall) {
        if let Some(kind) = of(METHODS, &call.method.to_string()) {
            self.add(kind, &call.method);
        }
        self.add_arguments(&call.args);
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_call(&mut self, call: &'ast ExprCall) {
        if let Some(kind) = last_segments(&call.func, 2).and_then(|name| of(FUNCTIONS, &name)) {
            self.add(kind, &call.func);
        }
        self.add_arguments(&call.args);
        visit::visit_expr_call(self, call);
    }

    /// Looks into a macro whose arguments are expressions. What is in another one is not understood.
    fn visit_macro(&mut self, item: &'ast Macro) {
        let arguments = Punctuated::<Expr, Token![,]>::parse_terminated;
        match arguments.parse2(item.tokens.clone()) {
            Ok(arguments) => arguments.iter().for_each(|each| self.visit_expr(each)),
            Err(_) => {
                if let Some(line) = names_an_ordering(item.tokens.clone()) {
                    let error = anyhow!(
                        "{}:{line}: the check can't see which function has the ordering in this \
                         macro: move it out",
                        self.name
                    );
                    self.hidden.get_or_insert(error);
                }
            }
        }
    }
}

fn is_for_tests(attribute: &Attribute) -> bool {
    attribute.path().is_ident("cfg")
        && attribute
            .parse_args::<syn::Path>()
            .is_ok_and(|path| path.is_ident("test"))
}

/// Returns the last segments of a path, at most so many.
fn last_segments(expression: &Expr, count: usize) -> Option<String> {
    let Expr::Path(path) = expression else {
        return None;
    };
    let segments = path.path.segments.iter();
    let names: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
    Some(names[names.len().saturating_sub(count)..].join("::"))
}

/// Returns the kind for a name.
fn of(table: &[(&str, &'static str)], name: &str) -> Option<&'static str> {
    let row = table.iter().find(|(known, _)| *known == name);
    row.map(|(_, kind)| *kind)
}

/// Returns the line of the first token that names an ordering stronger than relaxed.
fn names_an_ordering(tokens: TokenStream) -> Option<usize> {
    tokens.into_iter().find_map(|token| match token {
        TokenTree::Ident(name) => ["Acquire", "Release", "Full", "synchronize", "smp_mb"]
            .iter()
            .any(|known| name == known)
            .then(|| name.span().start().line),
        TokenTree::Group(group) => names_an_ordering(group.stream()),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn search(text: &str) -> Result<Vec<(String, String, usize)>> {
        let mut found = Orderings::default();
        find(&mut found, "x.rs", text)?;
        let places = found.places.into_iter();
        Ok(places
            .map(|((function, kind), at)| (function, kind, at.len()))
            .collect())
    }

    #[test]
    fn orderings_are_found_with_the_function_that_has_them() {
        let found = search(
            "use a::{Acquire, Full};
            fn free() { warn!(A.load(Acquire) == 1, \"Release\"); }
            impl<T> Trait for b::Type<T> {
                fn method(&self) {
                    // store(1, Release)
                    self.a.store(1, ordering::Release);
                    let f = || smp_mb(Write);
                    unsafe { bindings::call_rcu(p) };
                    kernel.synchronize();
                    kernel.synchronize();
                }
            }
            trait Other { fn declared(&self); fn given(&self) { self.a.load(Relaxed); } }
            #[cfg(test)]
            mod tests { fn test() { A.load(Acquire); } }",
        )
        .unwrap();
        let found: Vec<_> = found
            .iter()
            .map(|(function, kind, count)| (function.as_str(), kind.as_str(), *count))
            .collect();
        assert_eq!(
            found,
            [
                ("Other::given()", "relaxed", 1),
                ("Type::method()", "call_rcu", 1),
                ("Type::method()", "release", 1),
                ("Type::method()", "wait", 2),
                ("Type::method()", "write barrier", 1),
                ("free()", "acquire", 1),
            ]
        );
    }

    #[test]
    fn an_ordering_that_a_macro_hides_is_an_error() {
        let error = search("make! {\n fn f() { A.load(Acquire) }\n}").unwrap_err();
        let error = error.to_string();
        assert!(error.starts_with("x.rs:2: "), "{error}");
        assert!(error.contains("move it out"), "{error}");
    }

    #[test]
    fn a_file_that_is_not_rust_is_told_with_its_line() {
        let error = search("fn f() {}\nfn {").unwrap_err().to_string();
        assert!(error.starts_with("x.rs:2: "), "{error}");
    }
}
