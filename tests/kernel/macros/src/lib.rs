// SPDX-License-Identifier: GPL-2.0

//! Host stand-in for the kernel's procedural macros: the part that `livepatch_core` uses.

use proc_macro::TokenStream;

/// Marks a module of unit tests. In the kernel they become a KUnit suite of that name. On the host
/// the module stays as it is, and the tests in it are ordinary tests.
#[proc_macro_attribute]
pub fn kunit_tests(_suite: TokenStream, module: TokenStream) -> TokenStream {
    module
}
