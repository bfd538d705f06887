// SPDX-License-Identifier: GPL-2.0
//! How the project's programs work on a host, whatever they make.
//!
//! | module | concern |
//! |---|---|
//! | [`workplace`] | the cache directory and its locks |
//! | [`place`] | filling the cache with complete entries |
//! | [`step`] | running one external program: progress, log, deadline |
//! | [`git`] | running git in directories of the program's own |

#![forbid(unsafe_code)]

pub mod git;
pub mod place;
pub mod step;
pub mod workplace;
