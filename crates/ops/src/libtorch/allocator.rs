//! The C library's allocator, tuned for tensors.

/// Keeps the C library's allocator from returning freed memory to the kernel. Every step allocates
/// the same large tensors again; fetching them from the kernel each time costs page faults and
/// zeroing. The user's own settings (`MALLOC_…`) are left alone.
pub(super) fn keep_freed_memory() {
    let is_set = |name: &std::ffi::OsStr| name.to_string_lossy().starts_with("MALLOC_");
    if std::env::vars_os().any(|(name, _)| is_set(&name)) {
        return;
    }
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    {
        const TOP_PAD_BYTES: libc::c_int = 256 << 20;
        #[expect(
            unsafe_code,
            reason = "mallopt only sets parameters of the allocator, under its own lock"
        )]
        // SAFETY: no pointers are involved and any value is valid.
        unsafe {
            libc::mallopt(libc::M_MMAP_MAX, 0);
            libc::mallopt(libc::M_TRIM_THRESHOLD, libc::c_int::MAX);
            libc::mallopt(libc::M_TOP_PAD, TOP_PAD_BYTES);
        }
    }
}
