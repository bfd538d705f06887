// SPDX-License-Identifier: GPL-2.0
//! What everything else is made with.
//!
//! | file | concern |
//! |---|---|
//! | [`context`] | paths of checkout, cache and logs; locks |
//! | [`place`] | filling the cache with complete entries |
//! | [`step`] | running one external program: progress, log, deadline |
//! | [`tally`] | counting tests |
//! | [`cargo`] | running cargo on the workspace |
//! | [`git`] | running git in directories of xtask's own |
//! | [`libclang`], [`need`] | what can be needed, and whether it is there |
//! | [`target`] | the table of architectures |
//! | [`apt`], [`provision`], [`prebuilt`], [`tool`], [`herd`], [`sphinx`] | installing what is needed |

pub mod apt;
pub mod cargo;
pub mod context;
pub mod git;
pub mod herd;
pub mod libclang;
pub mod need;
pub mod place;
pub mod prebuilt;
pub mod provision;
pub mod sphinx;
pub mod step;
pub mod tally;
pub mod target;
pub mod tool;
