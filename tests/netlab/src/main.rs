//! `netlab`: emulated links for people. See the README beside it.

#[cfg(target_os = "linux")]
mod cli;

#[cfg(target_os = "linux")]
fn main() -> std::process::ExitCode {
    cli::main()
}

#[cfg(not(target_os = "linux"))]
fn main() -> std::process::ExitCode {
    eprintln!("netlab needs Linux: it joins network namespaces through TUN devices");
    std::process::ExitCode::from(69)
}
