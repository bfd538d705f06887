// SPDX-License-Identifier: GPL-2.0
//! The commands, one file each. Their flags are in [`cli`].

pub mod bench;
pub mod boot;
pub mod build;
pub mod clean;
pub mod cli;
pub mod conformance;
pub mod demo;
pub mod doctor;
pub mod env;
pub mod graft;
pub mod lint;
pub mod package;
pub mod parity;
pub mod patch;
pub mod series;
pub mod stress;
pub mod test;
pub mod verify;
