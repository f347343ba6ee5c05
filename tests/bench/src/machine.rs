//! What the figures were measured on. No names: only what makes figures comparable.

/// Cores, memory, kernel and processor in one sentence.
pub fn describe() -> String {
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let memory = field("/proc/meminfo", "MemTotal").and_then(|kib| kib.split_whitespace().next()?.parse::<f64>().ok());
    let kernel = std::fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // Only the numbers: what distributions add to them says nothing about speed.
    let kernel: String = kernel.trim().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
    let processor = field("/proc/cpuinfo", "model name").unwrap_or_else(|| std::env::consts::ARCH.to_owned());
    let date = jiff::Zoned::now().date();
    let memory = memory.map_or_else(|| "?".to_owned(), |kib| format!("{:.0}", kib / 1024.0 / 1024.0));
    format!(
        "{cores} cores ({processor}), {memory} GiB of memory, Linux {kernel}; {date}; Lockstep {}.",
        env!("CARGO_PKG_VERSION")
    )
}

/// The value of the first line `NAME: VALUE` of a file.
pub fn field(file: &str, name: &str) -> Option<String> {
    let text = std::fs::read_to_string(file).ok()?;
    let line = text.lines().find(|line| line.split(':').next().is_some_and(|key| key.trim() == name))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

/// The processor time that a process has used, in hundredths of a second at best.
pub fn processor_time(pid: u32) -> std::time::Duration {
    let text = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    // After the name, which may contain anything: the state is field 3, user and system time are fields 14 and 15.
    let fields: Vec<&str> = text.rsplit_once(") ").map_or("", |(_, rest)| rest).split(' ').collect();
    let ticks = |field: usize| fields.get(field - 3).and_then(|ticks| ticks.parse::<u64>().ok()).unwrap_or(0);
    std::time::Duration::from_millis((ticks(14) + ticks(15)) * 10)
}
