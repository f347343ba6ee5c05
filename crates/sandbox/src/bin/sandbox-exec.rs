//! The sandbox's second half as a program of its own, for tests and measurements. `lockstep` has the same entry.

fn main() -> std::process::ExitCode {
    sandbox::enter_if_asked();
    eprintln!("sandbox-exec: this program is started by others, to confine the programs that they start");
    std::process::ExitCode::from(2)
}
