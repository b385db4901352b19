//! How much memory this program's own code takes.

/// Gives back what is mapped of this program's code and constants so far: what read the settings or shook hands is not needed again
/// for as long as a run lasts. What is needed comes back from the system's page cache at the next touch, a microsecond each; so this
/// comes before anything is timed. Nothing is lost by it: pages that the program has written to stay as they are.
///
/// Elsewhere than on Linux it does nothing.
pub fn release_code() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    linux::release_code();
}

/// Has what is freed go back to the system soon: for a server, whose threads each take and free much.
///
/// The C library keeps what each of many heaps has freed, and heaps are as many as threads meet; large pieces it takes from the system
/// one by one, until the first is freed. With 100,000 agents a node whose data took 160 MB at most had 860 MB; so it has 280, and needs no
/// more processor time. To be called before there are threads. Elsewhere than on Linux it does nothing.
pub fn give_back_soon() {
    #[cfg(all(target_os = "linux", target_env = "gnu"))]
    linux::give_back_soon();
}

#[cfg(all(target_os = "linux", target_env = "gnu"))]
mod linux {
    use std::ptr;

    /// Heaps that threads share.
    const HEAPS: i32 = 2;
    /// Bytes of a piece that is taken from the system and given back by itself.
    const PIECE: i32 = 128 << 10;
    /// Bytes at the end of a heap that are given back.
    const REST: i32 = 1 << 20;

    pub(super) fn give_back_soon() {
        for (what, value) in
            [(libc::M_ARENA_MAX, HEAPS), (libc::M_MMAP_THRESHOLD, PIECE), (libc::M_TRIM_THRESHOLD, REST)]
        {
            // SAFETY: sets a number of the allocator's own; what it does not understand it leaves alone.
            unsafe { libc::mallopt(what, value) };
        }
    }

    const PAGE: usize = 4_096;

    pub(super) fn release_code() {
        // SAFETY: the callback reads what it is handed and lets it go.
        unsafe { libc::dl_iterate_phdr(Some(release), ptr::null_mut()) };
    }

    /// Gives back the read-only segments of one loaded object.
    unsafe extern "C" fn release(
        object: *mut libc::dl_phdr_info,
        _size: libc::size_t,
        _data: *mut libc::c_void,
    ) -> libc::c_int {
        // SAFETY: the loader hands over a valid description, and its headers stay mapped while the object is.
        let (base, headers) = unsafe {
            let object = &*object;
            if object.dlpi_phdr.is_null() {
                return 0;
            }
            (object.dlpi_addr, std::slice::from_raw_parts(object.dlpi_phdr, usize::from(object.dlpi_phnum)))
        };
        for header in headers.iter().filter(|it| it.p_type == libc::PT_LOAD && it.p_flags & libc::PF_W == 0) {
            let (Ok(begin), Ok(length)) =
                (usize::try_from(base.wrapping_add(header.p_vaddr)), usize::try_from(header.p_memsz))
            else {
                continue;
            };
            let first = begin & !(PAGE - 1);
            let last = (begin + length).next_multiple_of(PAGE);
            // SAFETY: pages of a file that are never written to: dropping their mapping changes nothing that can be read there. Where
            // the system does not want it (its own vdso), it says so and nothing happens.
            unsafe { libc::madvise(ptr::without_provenance_mut(first), last - first, libc::MADV_DONTNEED) };
        }
        0
    }
}

#[cfg(all(test, target_os = "linux", target_env = "gnu"))]
mod tests {
    use super::release_code;

    /// Kilobytes of files' pages that this process has mapped.
    fn mapped() -> u64 {
        let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
        let line = status.lines().find_map(|line| line.strip_prefix("RssFile:")).expect("Linux 4.5");
        line.split_whitespace().next().and_then(|number| number.parse().ok()).expect("a number")
    }

    #[test]
    fn code_is_given_back_and_works_on() {
        let words: Vec<&str> = include_str!("footprint.rs").split_whitespace().collect();
        let before = mapped();
        release_code();
        let after = mapped();
        assert!(after < before, "{before} kB before, {after} kB after");
        let again: Vec<&str> = include_str!("footprint.rs").split_whitespace().collect();
        assert_eq!(words, again);
    }
}
