// SPDX-License-Identifier: GPL-2.0
//! `cargo xtask clean`: frees disk space.

use crate::commands::cli;
use crate::tools::context::Context;
use anyhow::{Context as _, Result};
use ignore::WalkBuilder;
use std::fs;
use std::path::{Path, PathBuf};
use steps::place;

/// Runs the command.
pub fn run(cx: &Context, args: &cli::Clean) -> Result<()> {
    // Wait for every run that uses something in the cache. The lock files themselves stay.
    let mut held = Vec::new();
    for entry in fs::read_dir(cx.locks())? {
        held.push(cx.lock(&entry?.file_name().to_string_lossy())?);
    }
    let mut freed = 0;
    for entry in entries(cx, args.cache)? {
        let size = size(&entry);
        place::remove(&entry)?;
        if size > 0 {
            let name = entry.strip_prefix(&cx.cache).unwrap_or(&entry);
            println!("{:>12}  {}", place::human(size), name.display());
        }
        freed += size;
    }
    println!(
        "{:>12}  freed in {}",
        place::human(freed),
        cx.cache.display()
    );
    Ok(())
}

/// Returns the entries to remove: the built kernels, or everything except the locks.
fn entries(cx: &Context, all: bool) -> Result<Vec<PathBuf>> {
    let mut entries = Vec::new();
    for room in fs::read_dir(&cx.cache)? {
        let room = room?.path();
        if room == cx.locks() || !(all || room.ends_with("build")) {
            continue;
        }
        if room.is_dir() {
            // Each entry is removed by itself, so that the space it freed is listed.
            let inner = fs::read_dir(&room).with_context(|| format!("in {}", room.display()))?;
            for entry in inner {
                entries.push(entry?.path());
            }
        }
        if all {
            entries.push(room);
        }
    }
    entries.sort_by_key(|entry| std::cmp::Reverse(entry.components().count()));
    Ok(entries)
}

/// Returns how many bytes are freed by removing `path`.
fn size(path: &Path) -> u64 {
    use std::os::unix::fs::MetadataExt;
    let mut walk = WalkBuilder::new(path);
    let entries = walk.standard_filters(false).build().flatten();
    entries
        .filter_map(|entry| entry.metadata().ok())
        .map(|meta| meta.blocks() * 512)
        .sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cache() -> (tempfile::TempDir, Context) {
        let (dir, cx) = Context::for_test();
        for name in ["build/a", "tree/b", "tools/c"] {
            fs::create_dir_all(cx.cache.join(name)).unwrap();
        }
        (dir, cx)
    }

    #[test]
    fn builds_go_and_the_rest_stays() {
        let (_dir, cx) = cache();
        run(&cx, &cli::Clean { cache: false }).unwrap();
        assert!(!cx.cache.join("build/a").exists());
        assert!(cx.cache.join("tree/b").exists());
    }

    #[test]
    fn the_whole_cache_goes_but_for_the_locks() {
        let (_dir, cx) = cache();
        drop(cx.lock("tools").unwrap());
        run(&cx, &cli::Clean { cache: true }).unwrap();
        let left: Vec<_> = fs::read_dir(&cx.cache)
            .unwrap()
            .map(|e| e.unwrap().path())
            .collect();
        assert_eq!(left, [cx.locks()]);
    }
}
