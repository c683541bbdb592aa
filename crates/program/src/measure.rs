//! Measuring programs: medians, and the memory of a process.

/// Returns the median, the mean of the two middle values where their number is even; `None` of no
/// values.
pub fn median(values: &[f64]) -> Option<f64> {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let upper = *sorted.get(sorted.len() / 2)?;
    let lower = sorted[(sorted.len() - 1) / 2];
    Some(f64::midpoint(lower, upper))
}

/// A figure of a process's memory.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Memory {
    /// The resident set.
    Resident,
    /// The largest resident set so far.
    Peak,
}

impl Memory {
    /// Returns the figure of the process with this id, in bytes; 0 where the system does not say.
    pub fn of(self, process: u32) -> u64 {
        let path = format!("/proc/{process}/status");
        let status = fs_err::read_to_string(path).unwrap_or_default();
        self.find(&status).unwrap_or(0)
    }

    /// Returns the figure of this process, as [`Memory::of`].
    pub fn of_this_process(self) -> u64 {
        self.of(std::process::id())
    }

    fn find(self, status: &str) -> Option<u64> {
        let key = match self {
            Self::Resident => "VmRSS:",
            Self::Peak => "VmHWM:",
        };
        let value = status.lines().find_map(|line| line.strip_prefix(key))?;
        let kibibytes: u64 = value.split_whitespace().next()?.parse().ok()?;
        Some(kibibytes * 1024)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn median_cases() {
        assert_eq!(median(&[]), None);
        assert_eq!(median(&[0.5]), Some(0.5));
        assert_eq!(median(&[0.9, 0.6]), Some(0.75));
        assert_eq!(median(&[0.9, 0.6, 0.7]), Some(0.7));
    }

    #[test]
    fn memory_is_read_from_proc() {
        let status = "Name:\tbench\nVmHWM:\t    2048 kB\nVmRSS:\t    1024 kB\n";
        assert_eq!(Memory::Peak.find(status), Some(2 << 20));
        assert_eq!(Memory::Resident.find(status), Some(1 << 20));
        assert_eq!(Memory::Peak.find("Name:\tbench\n"), None);
    }
}
